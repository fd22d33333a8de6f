"""An executed notebook, read: what it shows to somebody who does not look at code."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from patchmill.show.notebook import RESULT

_MARKER = "papermill-error-cell-tag"
"""Tag of the cells that papermill puts in where an error was."""

_PLAIN = re.compile(r"(?!\d+[.)])[A-Za-z0-9](?:[A-Za-z0-9,.:;()%]| (?! ))*(?<! )")
"""Text in which Markdown and HTML see nothing but words."""

_IMAGES = ("image/png", "image/jpeg", "image/svg+xml")


@dataclass(frozen=True, slots=True)
class Picture:
    """An image of a notebook, as a ``data:`` URL."""

    url: str
    alt: str


@dataclass
class Section:
    """What a notebook shows under one heading."""

    heading: str
    pieces: list[str | Picture] = field(default_factory=list)
    """In order: captions, in Markdown, and pictures."""

    @property
    def has_pictures(self) -> bool:
        """Whether there is more than text."""
        return any(isinstance(piece, Picture) for piece in self.pieces)


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Key figures and pictures of a notebook."""

    sections: list[Section]
    figures: Mapping[str, str]
    skipped: list[tuple[str, str]] | None
    """None where the notebook shows no result."""
    opens: str


def excerpt(notebook: Mapping[str, Any]) -> Excerpt:
    """Key figures, what was skipped, and pictures with their captions, of an executed notebook.

    Parameters
    ----------
    notebook : mapping
        As JSON has it, or as nbformat reads it.
    """
    sections = [section for section in _sections(notebook) if section.has_pictures]
    results = [output["data"][RESULT] for output in _outputs(notebook) if RESULT in output.get("data", {})]
    result = results[-1] if results and isinstance(results[-1], Mapping) else {}
    return Excerpt(
        sections=sections,
        figures={str(name): str(value) for name, value in result.get("figures", [])},
        skipped=[(str(name), str(reason)) for name, reason in result.get("skipped", [])] if result else None,
        opens=str(result.get("opens", "")),
    )


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


def notebook_html(path: str) -> str:
    """A notebook as one HTML file with its pictures in it, which loads nothing."""
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(embed_images=True)
    exporter.mathjax_url = ""
    exporter.require_js_url = ""
    exporter.jquery_url = ""
    body, _ = exporter.from_filename(path)
    return str(body)


def markdown_html(text: str) -> str:
    """Markdown as HTML of nothing but text: tags that stand in it are shown, not obeyed, links and images are words.

    Examples
    --------
    >>> markdown_html("*<b>*").strip()
    '<p><em>&lt;b&gt;</em></p>'
    """
    if _PLAIN.fullmatch(text):  # as most captions are; nbconvert takes a second to load
        return f"<p>{text}</p>\n"
    from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

    class TextRenderer(IPythonRenderer):
        """A link of a caption may come from data, and would lead anywhere."""

        def link(self, text: str, *_: Any, **__: Any) -> str:
            return text

        def image(self, text: str, *_: Any, **__: Any) -> str:
            return text

    return str(MarkdownWithMath(renderer=TextRenderer(escape=True)).render(text))


def _sections(notebook: Mapping[str, Any]) -> Iterator[Section]:
    section = Section("")
    for cell in notebook["cells"]:
        heading = _heading(_text(cell)) if cell["cell_type"] == "markdown" else ""
        if heading:
            yield section
            section = Section(heading)
        for output in cell.get("outputs", []):
            _add(section, output.get("data", {}), output.get("metadata", {}))
    yield section


def _add(section: Section, data: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
    kind = next((kind for kind in _IMAGES if kind in data), None)
    if kind is not None:
        alt = metadata.get(kind, {}).get("alt") or data.get("text/plain", "")
        section.pieces.append(Picture(_data_url(kind, _joined(data[kind])), _joined(alt)))
    elif "text/markdown" in data:
        section.pieces.append(_joined(data["text/markdown"]))


def _data_url(kind: str, content: str) -> str:
    # As an image, even an SVG can't run a script.
    import base64

    if kind == "image/svg+xml":
        content = base64.b64encode(content.encode()).decode()
    return f"data:{kind};base64,{re.sub(r'[^A-Za-z0-9+/=]', '', content)}"


def _outputs(notebook: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for cell in notebook["cells"]:
        yield from cell.get("outputs", [])


def _heading(text: str) -> str:
    found = re.search(r"^#{1,6}\s+(.+?)\s*#*\s*$", text, flags=re.MULTILINE)
    return found[1] if found else ""


def _text(cell: Mapping[str, Any]) -> str:
    return _joined(cell["source"])


def _joined(text: Any) -> str:
    return "".join(text) if isinstance(text, list) else str(text)
