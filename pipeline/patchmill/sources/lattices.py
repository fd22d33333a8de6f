"""The grids that a source is cut by: one an image, by its own extent."""

from __future__ import annotations

import numpy as np

from patchmill.grid import ImageGrids, PatchGrid
from patchmill.sources.model import Source
from patchmill.types import Edge, PerAxis, shown_shape

_MOST_CHANNELS = 4
"""A last axis no longer than that is rather red, green, blue and alpha than x."""


def image_grids(
    source: Source, patch_shape: PerAxis, step: PerAxis | None, *, dilation: PerAxis, edge: Edge
) -> ImageGrids:
    """One grid an image of `source`; None as `step` stands for patches side by side.

    Raises
    ------
    ValueError
        If every image is smaller than a patch.
    """
    grids = ImageGrids(PatchGrid(source.canvas, patch_shape, step, dilation, edge), source.sizes)
    if len(grids) == 0:
        largest = shown_shape(source.sizes[np.prod(source.sizes, axis=1).argmax()].tolist())
        way = "a smaller patch" if edge == "pad" else 'a smaller patch or edge="pad"'
        raise ValueError(
            f"a patch must fit into an image: patch_shape {shown_shape(grids.canvas.patch_shape)} reaches over "
            f"{shown_shape(grids.canvas.span)} pixels, and the largest of {source.images} images has {largest}: "
            f"use {way}{_hint(source)}"
        )
    return grids


def _hint(source: Source) -> str:
    """For an array without names that looks as if its channels came last, which was read as (channel, y, x)."""
    first = source.variables[0]
    channel, (y, x) = first.shape[1], source.canvas
    if source.dims or not first.has_channel or x > _MOST_CHANNELS or min(channel, y) <= _MOST_CHANNELS:
        return ""
    image = '"image", ' if source.images > 1 else ""
    return f'; if channels come last, say dims=({image}"y", "x", "channel")'
