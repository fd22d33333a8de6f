"""A source in regions along its chunks, each read once; as few as are worth a task each.

::

    chunks   +--+--+--+--+        a region is made of whole chunks: along x first, then along y,
             |  |  |  |  |        then channels, then images, until it has `REGION` bytes
             +--+--+--+--+
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import prod

from patchmill.sources import Region4, Source, Variable

REGION = 8 * 2**20
"""Bytes of a region of small chunks. A constant too: what pieces there are decides the order of sums."""


def shape_of_regions(variable: Variable) -> tuple[int, int, int, int]:
    """(image, channel, y, x) of a region: chunks of `variable`, put together along the last axes first.

    Returns
    -------
    tuple of int
        No longer than the variable along any axis.
    """
    cell = [min(n, chunk) for n, chunk in zip(variable.shape, variable.chunks, strict=True)]
    for axis in (3, 2, 1, 0):
        room = max(1, REGION // (prod(cell) * variable.dtype.itemsize))
        cell[axis] = min(variable.shape[axis], cell[axis] * room)
    image, channel, y, x = cell
    return image, channel, y, x


def regions_of(source: Source, variable: Variable) -> Iterator[Region4]:
    """The regions of `variable` in which some image has pixels, row-major."""
    images, channel, y, x = shape_of_regions(variable)
    for first in range(0, source.images, images):
        last = min(source.images, first + images)
        height, width = source.sizes[first:last].max(axis=0).tolist()
        steps = ((variable.shape[1], channel), (height, y), (width, x))
        for starts in product(*(range(0, n, step) for n, step in steps)):
            sides = [slice(at, min(at + step, n)) for at, (n, step) in zip(starts, steps, strict=True)]
            region = (slice(first, last), sides[0], sides[1], sides[2])
            if any(rows and columns for rows, columns in extents_in(source, region)):
                yield region


def extents_in(source: Source, region: Region4) -> list[tuple[int, int]]:
    """For each image of `region`, how many rows and columns of it lie there, in pixels."""
    images, _, ys, xs = region
    inside = (source.sizes[images] - (ys.start, xs.start)).clip(0, (ys.stop - ys.start, xs.stop - xs.start))
    return [(height, width) for height, width in inside.tolist()]


def pixels_of(source: Source, variable: Variable) -> int:
    """Pixels of all images of `variable`, each channel's counted."""
    return int(source.sizes.prod(axis=1).sum()) * variable.shape[1]
