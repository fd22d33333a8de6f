"""Small pictures of geometry as SVG: numbers in, text out, no pixel read."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from patchmill.types import shown_shape

if TYPE_CHECKING:
    from patchmill.grid import Axis, PatchGrid

_SIDE = 300.0
"""Longer side of the picture, in CSS pixels."""

_LINES = 60
"""Most lines along an axis; of more, evenly spread ones are drawn."""

_BLUE, _ORANGE, _GRAY = "#0072b2", "#d55e00", "#b8b8b8"


def grid_svg(grid: PatchGrid, chunk: tuple[int, ...]) -> str:
    """The patches of one image over the chunks it is stored in.

    Parameters
    ----------
    grid : PatchGrid
        Two axes: y, x.
    chunk : tuple of int
        Pixels of a chunk of the source: y, x.

    Returns
    -------
    str
        An ``<svg>`` element, below 20 kB: gray dashes are chunks, blue ticks at the sides are origins; the first patch
        is filled, its neighbors and the last one are outlined.
    """
    reach = tuple(max(axis.n, axis.reach) for axis in grid.axes)
    scale = _SIDE / max(reach)
    height, width = (n * scale for n in reach)
    image = _rectangle((0, 0), grid.shape, scale, 'fill="#f7f7f7" stroke="#444"')
    chunks = _grid_lines(grid, chunk, scale)
    ticks = _ticks(grid, scale)
    patches = "".join(_patch(grid, index, scale) for index in reversed(_shown(grid)))
    text = escape(
        f"{shown_shape(grid.counts)} patches over {shown_shape(grid.shape)} pixels, chunks of {shown_shape(chunk)}"
    )
    return (
        f'<svg viewBox="-9 -9 {width + 18:.0f} {height + 18:.0f}" width="{width + 18:.0f}" height="{height + 18:.0f}" '
        f'role="img" aria-label="{text}"><title>{text}</title>{image}{chunks}{ticks}{patches}</svg>'
    )


def grid_figure(grid: PatchGrid, chunk: tuple[int, ...]) -> str:
    """The same with a line that says what is what, as markup."""
    dashes = "; dashes: chunks of the source" if _grid_lines(grid, chunk, 1.0) else ""
    says = f"orange: the first patch; blue: its neighbors, and the last; ticks: where patches begin{dashes}"
    return (
        f'<figure style="margin:0;max-width:{_SIDE + 18}px">{grid_svg(grid, chunk)}'
        f'<figcaption style="font-size:smaller">{says}</figcaption></figure>'
    )


def _shown(grid: PatchGrid) -> list[tuple[int, ...]]:
    """The first patch, its neighbors along each axis, and the last."""
    first = (0,) * grid.ndim
    next_ones = [tuple(int(at == axis) for at in range(grid.ndim)) for axis, n in enumerate(grid.counts) if n > 1]
    last = tuple(n - 1 for n in grid.counts)
    return list(dict.fromkeys([first, *next_ones, last])) if len(grid) else []


def _patch(grid: PatchGrid, index: tuple[int, ...], scale: float) -> str:
    style = (
        f'fill="{_ORANGE}" fill-opacity="0.35" stroke="{_ORANGE}"'
        if not any(index)
        else f'fill="none" stroke="{_BLUE}"'
    )
    return _rectangle(grid.origin(index), grid.span, scale, f'{style} stroke-width="1.5"')


def _rectangle(origin: tuple[int, ...], size: tuple[int, ...], scale: float, style: str) -> str:
    y, x, height, width = (n * scale for n in (*origin, *size))
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" {style}/>'


def _grid_lines(grid: PatchGrid, chunk: tuple[int, ...], scale: float) -> str:
    (rows, columns), (height, width) = grid.shape, (n * scale for n in grid.shape)
    if min(chunk) * scale < 2:  # as good as no chunks: an array in memory, or tiles too fine to draw
        return ""
    down = "".join(f"M0 {y * scale:.1f}H{width:.1f}" for y in _spread(range(chunk[0], rows, chunk[0])))
    across = "".join(f"M{x * scale:.1f} 0V{height:.1f}" for x in _spread(range(chunk[1], columns, chunk[1])))
    return f'<path d="{down}{across}" stroke="{_GRAY}" stroke-dasharray="4 3" fill="none"/>'


def _ticks(grid: PatchGrid, scale: float) -> str:
    left = "".join(f"M-8 {y * scale:.1f}h6" for y in _origins(grid.axes[0]))
    top = "".join(f"M{x * scale:.1f} -8v6" for x in _origins(grid.axes[1]))
    return f'<path d="{left}{top}" stroke="{_BLUE}" fill="none"/>'


def _origins(axis: Axis) -> list[int]:
    return [axis[position] for position in _spread(range(len(axis)))]


def _spread(numbers: range) -> range:
    return numbers[:: max(1, -(-len(numbers) // _LINES))]


def table_html(rows: list[tuple[str, str]]) -> str:
    """Labels and texts as a table; both are escaped."""
    cells = "".join(
        f'<tr><th style="text-align:left;padding-right:1em">{escape(label)}</th>'
        f'<td style="text-align:left">{escape(text)}</td></tr>'
        for label, text in rows
    )
    return f"<table>{cells}</table>"


def card_html(title: str, rows: list[tuple[str, str]], picture: str) -> str:
    """A title over a table beside a picture; title and rows are escaped, the picture is markup."""
    return (
        f"<div><strong>{escape(title)}</strong>"
        '<div style="display:flex;gap:1.5em;align-items:flex-start;flex-wrap:wrap">'
        f"{table_html(rows)}{picture}</div></div>"
    )
