"""The report of a run: one HTML file that needs no server and no script."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import quote

from patchmill.show.executed import Excerpt, markdown_html
from patchmill.show.progress import shown_moment, shown_seconds
from patchmill.types import shown_value


@dataclass(frozen=True, slots=True)
class StagePage:
    """What the report says about one stage. Paths are absolute; an empty one is not linked."""

    name: str
    state: str
    seconds: float | None
    error: str
    """Empty, unless it ended badly."""
    where: str
    """The cell in which it did."""
    parameters: Mapping[str, Any]
    executed: str
    html: str
    log: str
    excerpt: Excerpt | None


@dataclass(frozen=True, slots=True)
class RunPage:
    """What the report says about a run."""

    name: str
    state: str
    seconds: float
    began: str
    version: str
    config: str
    folder: str
    outputs: Mapping[str, str]
    """What was written: path by stage and parameter."""
    stages: Sequence[StagePage]


def report_html(page: RunPage, place: str) -> str:
    """The report, with links relative to the folder `place` in which it will lie. Whatever comes from data is escaped.

    Parameters
    ----------
    page : RunPage
        What to report.
    place : str
        Folder of the report.
    """

    def link(path: str) -> str:
        return quote(os.path.relpath(path, place))

    began = shown_moment(page.began)
    return str(
        _template().render(
            run=page, began=began, link=link, shown=shown_value, seconds=shown_seconds, markdown=_markdown
        )
    )


@cache
def _template() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("patchmill.show"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("report.html.j2")


def _markdown(text: str) -> Any:
    from markupsafe import Markup

    return Markup(markdown_html(text))  # noqa: S704 - cleaned by `markdown_html`
