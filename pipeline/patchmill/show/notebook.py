"""What a notebook shows: pictures with captions, and its result as a table, which the report of a run reads too."""

from __future__ import annotations

import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from patchmill.show.drawing import table_html
from patchmill.show.handed import figures_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RESULT = "application/vnd.patchmill.result+json"
"""The media type under which an executed notebook carries its result."""

_DPI = 110

_MOST_ROWS = 100


def line(function: str, place: str, **options: Any) -> str:
    """A line of Python, for `Result`: `function` of a place, with those options that were given.

    Examples
    --------
    >>> line("patchmill.open_patches", "s3://tiles/p.zarr", storage_options={"anon": True}, dims=None)
    "patchmill.open_patches('s3://tiles/p.zarr', storage_options={'anon': True})"
    """
    given = (f", {name}={value!r}" for name, value in options.items() if value)
    return f"{function}({place!r}{''.join(given)})"


@dataclass(frozen=True, slots=True)
class Result:
    """What came out of a stage. As the last expression of a cell it is a table; the report of a run reads it too.

    Parameters
    ----------
    figures : mapping
        Few key figures, by what they are: ``{"patches": 172}``.
    skipped : sequence of (str, str)
        What was left out, each with the reason.
    opens : str
        One line of Python that opens what was written.
    more : mapping
        Further figures, which are not shown: numbers, texts, or lists and mappings of them. With `figures` they are in
        the ``manifest.json`` of a run, as data.

    Examples
    --------
    >>> Result({"images": 8}, skipped=[("notes.txt", "no image")])
    Result(images: 8; 1 skipped)
    """

    figures: Mapping[str, Any]
    skipped: Sequence[tuple[str, str]] = field(default=())
    opens: str = ""
    more: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        figures = ", ".join(f"{name}: {_shown(value)}" for name, value in self.figures.items())
        return f"Result({figures}{f'; {len(self.skipped)} skipped' if self.skipped else ''})"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        data = {
            # A list: whoever saves a notebook sorts the keys of mappings.
            "figures": [[str(name), _shown(value)] for name, value in self.figures.items()],
            "skipped": [[str(name), str(reason)] for name, reason in self.skipped],
            "opens": self.opens,
        }
        handed = figures_of("result", {**self.figures, **self.more})
        return {RESULT: data, **handed, "text/html": self._repr_html_(), "text/plain": repr(self)}

    def _repr_html_(self) -> str:
        parts = [table_html([(str(name), _shown(value)) for name, value in self.figures.items()])]
        if self.skipped:
            rows = [(str(name), str(reason)) for name, reason in self.skipped[:_MOST_ROWS]]
            rest = f" (the first {len(rows)} are listed)" if len(rows) < len(self.skipped) else ""
            parts += [f"<p><b>Skipped: {len(self.skipped):,}</b>{rest}</p>", table_html(rows)]
        if self.opens:
            parts.append(f"<p>To go on: <code>{html.escape(self.opens)}</code></p>")
        return "".join(parts)


def show_figure(figure: Figure, caption: str = "") -> None:
    """Display a caption and below it a figure, as a PNG image that carries the caption as its description.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        Needs no pyplot and no backend.
    caption : str
        Markdown, a sentence or two.
    """
    from IPython.display import Image

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    if caption:
        say(caption)
    width = round(figure.get_figwidth() * 72 * 1.25)
    _display(Image(data=buffer.getvalue(), format="png", alt=caption or "figure", width=width))  # type: ignore[no-untyped-call]


def say(markdown: str) -> None:
    """Display a sentence, for readers who do not see the code."""
    from IPython.display import Markdown

    _display(Markdown(markdown))  # type: ignore[no-untyped-call]


def show_bundle(bundle: Mapping[str, Any], *, replaces: Any = None) -> Any:
    """Display one thing in several media types, in the place of an earlier one; the handle replaces it in turn."""
    from IPython.display import display

    if replaces is None:
        return display(dict(bundle), raw=True, display_id=True)  # type: ignore[no-untyped-call]
    replaces.update(dict(bundle), raw=True)
    return replaces


def _display(thing: Any) -> None:
    from IPython.display import display

    display(thing)  # type: ignore[no-untyped-call]


def _shown(value: Any) -> str:
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
