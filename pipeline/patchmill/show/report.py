"""The report of a run: one HTML file that needs no server and no script."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any
from urllib.parse import quote

from patchmill.show import accounts
from patchmill.show.cleaning import markdown_html
from patchmill.show.executed import Excerpt, FailedCell
from patchmill.show.flow import Box, flow_svg, kind, leaves_out, sign_svg
from patchmill.show.pages import POLICY
from patchmill.show.progress import shown_moment, shown_seconds, shown_why
from patchmill.types import shown_bytes, shown_value

_LISTED = 200
"""Rows of a list of what was skipped."""


@dataclass(frozen=True, slots=True)
class Placed:
    """Something that a stage reads or writes, and what lies there.

    Parameters
    ----------
    name : str
        Of the parameter.
    path : str
    nbytes : int or None
        None where nothing lies there, or it is not known.
    sha256 : str
        Digest; may be empty.
    """

    name: str
    path: str
    nbytes: int | None = None
    sha256: str = ""


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
    needs: Sequence[str] = ()
    why: str = ""
    """Why it ran, or why it was skipped."""
    cell: FailedCell | None = None
    """That in which it ended badly."""
    began: str = ""
    attempt: int = 1
    cpu_seconds: float | None = None
    peak_bytes: int | None = None
    memory: int | None = None
    """Bytes that each of its processes that work may hold."""
    limit: float | None = None
    """Seconds that it may take."""
    inputs: Sequence[Placed] = ()
    outputs: Sequence[Placed] = ()


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
    provenance: Sequence[tuple[str, str]] = ()
    """With what it was made, a label and a text each."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Of the record, by what they are."""


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
        return quote(os.path.relpath(path, place)) if path else ""  # what was never begun has no log

    def box(number: int, stage: StagePage) -> Box:
        told = shown_why(stage.state, stage.why) or stage.error
        return Box(stage.name, stage.state, stage.seconds, stage.needs, f"#stage-{number}", told)

    boxes = [box(number, stage) for number, stage in enumerate(page.stages, 1)]
    return str(
        _template().render(
            run=page,
            policy=POLICY,
            moment=shown_moment,
            link=link,
            shown=shown_value,
            seconds=shown_seconds,
            size=shown_bytes,
            kind=kind,
            why=shown_why,
            sign=lambda state: _markup(sign_svg(state)),
            markdown=lambda text: _markup(markdown_html(text)),
            table=lambda table: _markup(table.html),
            flow=_markup(flow_svg(boxes)),
            narrow_flow=_markup(flow_svg(boxes, narrow=True)),
            leaves_out=leaves_out(boxes),
            counts=_counts(page.stages),
            spans=_spans(page),
            written=_written(page),
            accounts=accounts,
            listed=_LISTED,
        )
    )


def _counts(stages: Sequence[StagePage]) -> str:
    """How many stages ended how: ``"2 done, 1 failed"``."""
    counted: dict[str, int] = {}
    for stage in stages:
        counted[stage.state] = counted.get(stage.state, 0) + 1
    return ", ".join(f"{count} {state}" for state, count in counted.items())


def _written(page: RunPage) -> list[tuple[str, str]]:
    sizes = {f"{stage.name}.{each.name}": each.nbytes for stage in page.stages for each in stage.outputs}
    rows = [(name, path, sizes.get(name)) for name, path in page.outputs.items()]
    return [(name, path if size is None else f"{path}, {shown_bytes(size)}") for name, path, size in rows]


def _spans(page: RunPage) -> list[tuple[float, float] | None]:
    """When each stage ran, as percent of the run: from, and how long. None for one that did not."""
    total = max(page.seconds, 1e-9)
    spans: list[tuple[float, float] | None] = []
    for stage in page.stages:
        if not stage.began or stage.seconds is None or not page.began:
            spans.append(None)
            continue
        since = (datetime.fromisoformat(stage.began) - datetime.fromisoformat(page.began)).total_seconds()
        first = min(max(100 * since / total, 0.0), 100.0)
        spans.append((round(first, 2), round(min(max(100 * stage.seconds / total, 0.5), 100 - first), 2)))
    return spans


@cache
def _template() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("patchmill.show"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("report.html.j2")


def _markup(text: str) -> Any:
    from markupsafe import Markup

    return Markup(text)  # noqa: S704 - made here of escaped text, or cleaned by `cleaning`
