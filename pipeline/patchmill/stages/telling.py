"""What executed notebooks tell: read from their files, which somebody may have touched since, or taken away."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

Notebook = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Told:
    """What a notebook handed over as data.

    Parameters
    ----------
    figures : mapping
        By what they are of, such as "plan", "cutting", "result".
    skipped : list of (str, str)
        What was left out, each with the reason.
    """

    figures: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    skipped: list[tuple[str, str]] = field(default_factory=list)


def read_notebook(path: str) -> Notebook | None:
    """An executed notebook; None where there is none, or what is there is none."""
    try:
        with open(path, encoding="utf-8") as file:
            notebook = json.load(file)
    except (OSError, ValueError):
        return None
    is_one = isinstance(notebook, dict) and isinstance(notebook.get("cells"), list)
    return notebook if is_one else None


def told_by(path: str) -> Told:
    """What the executed notebook at `path` handed over; nothing where there is none."""
    from patchmill.show.executed import handed, skipped

    notebook = read_notebook(path)
    with suppress(LookupError, TypeError, ValueError, AttributeError):
        return Told() if notebook is None else Told(handed(notebook), skipped(notebook))
    return Told()
