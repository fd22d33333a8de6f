"""An executed notebook, read: what it shows to somebody who does not look at code."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import unescape
from typing import Any, TypeAlias

from patchmill.show.handed import Handed, handed_over
from patchmill.show.notebook import RESULT

_MARKER = "papermill-error-cell-tag"
"""Tag of the cells that papermill puts in where an error was."""

_IMAGES = ("image/png", "image/jpeg", "image/svg+xml")

_MOST_PIECES = 60
"""Pictures, and tables, of one notebook: a report is sent around, and the notebook has the rest."""

_MOST_CHARACTERS = 6_000_000
"""Of all pictures of one notebook, as they stand in a page."""

_LONGEST_TABLE = 100_000
"""Characters; of a longer one the notebook has it."""

_LINES = 60
"""Shown of a cell, and of where an error came from."""

_COLORS = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class Picture:
    """An image of a notebook, as a ``data:`` URL."""

    url: str
    alt: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table that a notebook displays."""

    title: str
    html: str
    """As `cleaning.report_html` leaves it."""


Piece: TypeAlias = str | Picture
"""A caption, in Markdown, or what it stands over."""


@dataclass
class Section:
    """What a notebook shows under one heading."""

    heading: str
    pieces: list[Piece] = field(default_factory=list)
    """In order."""

    @property
    def has_pictures(self) -> bool:
        """Whether there is more than text."""
        return any(isinstance(piece, Picture) for piece in self.pieces)


@dataclass(frozen=True, slots=True)
class FailedCell:
    """The cell in which a notebook stopped."""

    source: str
    error: str
    """Where the error came from, as the notebook shows it; may be empty."""


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Key figures and pictures of a notebook."""

    sections: list[Section]
    figures: Mapping[str, str]
    skipped: list[tuple[str, str]] | None
    """None where the notebook shows no result."""
    opens: str
    tables: list[Table] = field(default_factory=list)
    handed: Handed = field(default_factory=dict)
    """What it handed over as data."""
    left_out: int = 0
    """Pictures and tables that it shows beyond those in `sections` and `tables`."""
    began: str = ""
    """When it was executed, as papermill noted: ISO 8601."""
    seconds: float | None = None
    """How long that took, by the same."""


def uncolored(text: str) -> str:
    r"""A text without the marks that color it on a terminal.

    Examples
    --------
    >>> uncolored("\x1b[31mred\x1b[0m")
    'red'
    """
    return _COLORS.sub("", text)


def excerpt(notebook: Mapping[str, Any]) -> Excerpt:
    """Key figures, what was skipped, and pictures and tables with their captions, of an executed notebook.

    Parameters
    ----------
    notebook : mapping
        As JSON has it, or as nbformat reads it.
    """
    tables = list(_tables(notebook))
    sections, left_out = _affordable(list(_sections(notebook)))
    skipped, opens, figures = _result(notebook)
    noted = notebook.get("metadata", {}).get("papermill", {})
    seconds = noted.get("duration")
    return Excerpt(
        sections=sections,
        figures=figures,
        skipped=skipped,
        opens=opens,
        tables=tables[:_MOST_PIECES],
        handed=handed(notebook),
        left_out=left_out + len(tables[_MOST_PIECES:]),
        began=re.sub(r"\.\d+", "", str(noted.get("start_time") or "")),
        seconds=float(seconds) if isinstance(seconds, int | float) else None,
    )


def handed(notebook: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The figures that an executed notebook hands over as data, by what they are of."""
    return handed_over(output.get("data", {}) for output in _outputs(notebook))


def skipped(notebook: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What an executed notebook says that it left out, each with the reason."""
    return _result(notebook)[0] or []


def failed_cell(notebook: Mapping[str, Any]) -> FailedCell | None:
    """The cell in which a notebook stopped; None where no cell says so."""
    for cell in reversed(notebook["cells"]):
        errors = [output for output in cell.get("outputs", []) if output.get("output_type") == "error"]
        if errors or cell["metadata"].get("papermill", {}).get("status") == "running":
            lines = [uncolored(line) for line in errors[-1].get("traceback", [])] if errors else []
            return FailedCell(_first_lines(_text(cell)), _last_lines("\n".join(lines)))
    return None


def cell_number(notebook: Mapping[str, Any], index: int) -> tuple[int, str]:
    """What a person calls a cell: its execution count, and the nearest heading above it.

    Parameters
    ----------
    notebook : mapping
        An executed notebook.
    index : int
        Which of its cells, cells that papermill put in to mark an error not counted.
    """
    cells = [cell for cell in notebook["cells"] if _MARKER not in cell["metadata"].get("tags", [])][: index + 1]
    number = sum(cell["cell_type"] == "code" and bool(_text(cell).strip()) for cell in cells)
    headings = [_heading(_text(cell)) for cell in cells if cell["cell_type"] == "markdown"]
    return number, next((heading for heading in reversed(headings) if heading), "")


def _result(notebook: Mapping[str, Any]) -> tuple[list[tuple[str, str]] | None, str, dict[str, str]]:
    """Of the last `Result` that a notebook shows: what was skipped, what opens it, its figures."""
    results = [output["data"][RESULT] for output in _outputs(notebook) if RESULT in output.get("data", {})]
    result = results[-1] if results and isinstance(results[-1], Mapping) else {}
    skipped = [(str(name), str(reason)) for name, reason in result.get("skipped", [])] if result else None
    figures = {str(name): str(value) for name, value in result.get("figures", [])}
    return skipped, str(result.get("opens", "")), figures


# -- pictures and tables -----------------------------------------------------------------------------------------------


def _sections(notebook: Mapping[str, Any]) -> Iterator[Section]:
    section = Section("")
    for cell in notebook["cells"]:
        heading = _heading(_text(cell)) if cell["cell_type"] == "markdown" else ""
        if heading:
            yield section
            section = Section(heading)
        for output in cell.get("outputs", []):
            section.pieces.extend(_pieces(output.get("data", {}), output.get("metadata", {})))
    yield section


def _pieces(data: Mapping[str, Any], metadata: Mapping[str, Any]) -> Iterator[Piece]:
    kind = next((kind for kind in _IMAGES if kind in data), None)
    if kind is not None:
        alt = metadata.get(kind, {}).get("alt") or data.get("text/plain", "")
        yield Picture(_data_url(kind, _joined(data[kind])), _joined(alt))
    elif "text/markdown" in data:
        yield _joined(data["text/markdown"])


def _tables(notebook: Mapping[str, Any]) -> Iterator[Table]:
    for cell in notebook["cells"]:
        if "patchmill.parameters(" in _text(cell):  # the report has a table of them
            continue
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "text/html" in data and RESULT not in data:
                yield from _table(_joined(data["text/html"]))


def _table(text: str) -> Iterator[Table]:
    # What folds and unfolds, as xarray's arrays do, is no table once it lies flat.
    if "<table" not in text or "<input" in text or len(text) > _LONGEST_TABLE:
        return
    from patchmill.show.cleaning import report_html

    cleaned = report_html(text)
    title = re.search(r"<(strong|b|caption)>([^<]+)</\1>", cleaned)
    is_title = title is not None and title.start() < cleaned.find("<table")
    yield Table(unescape(title[2]) if title and is_title else "Table", cleaned)


def _affordable(sections: list[Section]) -> tuple[list[Section], int]:
    """Those with pictures, as many as a page bears, and how many pictures more there are."""
    shown: list[Section] = []
    count = characters = left_out = 0
    for section in sections:
        kept = Section(section.heading)
        for piece in section.pieces:
            if isinstance(piece, Picture):
                if count >= _MOST_PIECES or characters + len(piece.url) > _MOST_CHARACTERS:
                    left_out += 1
                    continue
                count, characters = count + 1, characters + len(piece.url)
            kept.pieces.append(piece)
        shown += [kept] if kept.has_pictures else []
    return shown, left_out


def _data_url(kind: str, content: str) -> str:
    # As an image, even an SVG can't run a script.
    import base64

    if kind == "image/svg+xml":
        content = base64.b64encode(content.encode()).decode()
    return f"data:{kind};base64,{re.sub(r'[^A-Za-z0-9+/=]', '', content)}"


def _outputs(notebook: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for cell in notebook["cells"]:
        yield from cell.get("outputs", [])


# -- text --------------------------------------------------------------------------------------------------------------


def _first_lines(text: str) -> str:
    lines = text.splitlines()
    return "\n".join(lines if len(lines) <= _LINES else [*lines[:_LINES], "…"])


def _last_lines(text: str) -> str:
    lines = text.splitlines()
    return "\n".join(lines if len(lines) <= _LINES else ["…", *lines[-_LINES:]])


def _heading(text: str) -> str:
    found = re.search(r"^#{1,6}\s+(.+?)\s*#*\s*$", text, flags=re.MULTILINE)
    return found[1] if found else ""


def _text(cell: Mapping[str, Any]) -> str:
    return _joined(cell["source"])


def _joined(text: Any) -> str:
    return "".join(text) if isinstance(text, list) else str(text)
