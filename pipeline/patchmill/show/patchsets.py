"""A patch set as HTML."""

from __future__ import annotations

from typing import TYPE_CHECKING

from patchmill.show.drawing import card_html, grid_svg
from patchmill.types import shown_bytes, shown_shape

if TYPE_CHECKING:
    from patchmill.reading import PatchSet


def patchset_html(ps: PatchSet) -> str:
    """The figures of a patch set beside its grid over the chunks of the largest image; reads no pixel."""
    return card_html("PatchSet", rows_of(ps), grid_svg(ps.grid, ps.variables[0].source_chunk))


def _listed(names: list[str]) -> str:
    """The first few names, and how many there are."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5:,} more" if len(names) > 5 else "")


def rows_of(ps: PatchSet) -> list[tuple[str, str]]:
    """The figures of a patch set, a label and a text each."""
    grid = ps.grid
    dilation = [] if set(grid.dilation) == {1} else [("dilation", shown_shape(grid.dilation))]
    arrays = [
        f"{each.name}: {each.dtype}" + (f", {each.channels} channels" if each.channels else "") for each in ps.variables
    ]
    return [
        ("patches", f"{len(ps):,} of {shown_shape(grid.patch_shape)} pixels"),
        ("images", f"{len(ps.sizes):,}, up to {shown_shape(grid.shape)} pixels"),
        *([("too small", _listed(ps.too_small))] if len(ps.grids.too_small) else []),
        ("step", shown_shape(grid.step)),
        *dilation,
        ("edge", grid.edge),
        ("variables", "; ".join(arrays)),
        ("size", f"{shown_bytes(ps.nbytes)} raw, layout {ps.layout}"),
        ("place", ps.url),
    ]
