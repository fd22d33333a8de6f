"""Where the pixels of an image go: windows of shards, and groups of shards that are read together.

::

    +-----------------+-----------------+     canvas, cut into shards
    | +---+---+       |                 |
    | |   | . |       |                 |     .  the image's last chunk along x: written whole, filled beyond the extent
    | +---+---+ . . . | . chunks beyond the extent are never written
    +-----------------+-----------------+
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchmill.ingesting.agreeing import Layout
from patchmill.ingesting.scenes import Scene
from patchmill.storage import Part

Window = tuple[slice, slice, slice]
"""Half-open intervals of (channel, y, x) of one image."""


def windows(extent: Sequence[int], tile: Sequence[int], start: Sequence[int] = (0, 0, 0)) -> Iterator[Window]:
    """Tiles that cover `extent`, cut off where it ends; all are (channel, y, x).

    Parameters
    ----------
    extent : sequence of int
        Where the last tile ends along each axis.
    tile : sequence of int
        Lengths of a whole tile.
    start : sequence of int
        Where the first tile begins.
    """
    axes = [range(a, n, size) for a, n, size in zip(start, extent, tile, strict=True)]
    for c, y, x in product(*axes):
        a, b, d = (slice(at, min(at + size, n)) for at, size, n in zip((c, y, x), tile, extent, strict=True))
        yield a, b, d


def group_shape(layout: Layout, scene: Scene, limit: int) -> tuple[int, int, int]:
    """Lengths along (channel, y, x) of what is read together: whole shards, as many as a block of the file spans.

    So each strip, tile and pixel is decoded about once, as far as `limit` bytes allow; one shard is the least.
    """
    shard = layout.shapes.shard[1:]
    spans = (scene.shape[0] if scene.interleaved else 1, *scene.block)
    counts = [-(-min(span, n) // size) for span, n, size in zip(spans, scene.shape, shard, strict=True)]
    one = prod(min(size, n) for size, n in zip(shard, scene.shape, strict=True)) * layout.dtype.itemsize
    for axis in (2, 1, 0):
        others = prod(counts) // counts[axis]
        counts[axis] = max(1, min(counts[axis], limit // (one * others)))
    c, y, x = (n * size for n, size in zip(counts, shard, strict=True))
    return c, y, x


def parts_of(
    layout: Layout, first: int, pixels: Sequence[NDArray[Any]], origin: Sequence[int], bound: int
) -> list[Part]:
    """What to write into one shard.

    Chunks that hold several images are as large as the canvas was at first, so the rectangle around their extents is
    exact; an image that ends before this shard, which has room for a canvas that grew, has no part in it.

    Parameters
    ----------
    layout : Layout
    first : int
        Number of the first image.
    pixels : sequence of ndarray
        Of each image, what lies in this shard, shape (channel, y, x).
    origin : sequence of int
        Where they begin, (channel, y, x).
    bound : int
        Images in the array.
    """
    together, *chunk = layout.shapes.chunk
    ends = (layout.channels or 1, layout.height, layout.width)
    parts: list[Part] = []
    for at in range(0, len(pixels), together):
        group = pixels[at : at + together]
        inside = [part for part in group if part.size]
        if not inside:
            continue
        extent = [max(part.shape[axis] for part in inside) for axis in range(3)]
        stored = [
            min(-(-n // size) * size, end - a) for n, size, end, a in zip(extent, chunk, ends, origin, strict=True)
        ]
        images = slice(first + at, min(first + at + together, bound))
        values = _filled((images.stop - images.start, *stored), group, layout.dtype)
        region = tuple(slice(a, a + n) for a, n in zip(origin, stored, strict=True))
        parts.append(
            ((images, *region), values) if layout.channels is not None else ((images, *region[1:]), values[:, 0])
        )
    return parts


def _filled(shape: tuple[int, ...], group: Sequence[NDArray[Any]], dtype: np.dtype[Any]) -> NDArray[Any]:
    """The images of `group` in one array of `shape`, and 0 beyond them."""
    if len(group) == 1 and shape == (1, *group[0].shape):
        return np.ascontiguousarray(group[0], dtype)[None]
    values = np.zeros(shape, dtype)
    for image, part in enumerate(group):
        channels, height, width = part.shape
        values[image, :channels, :height, :width] = part
    return values
