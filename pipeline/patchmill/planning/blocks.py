"""Units of work: blocks of grid positions, and waves of blocks.

::

    one axis: positions of blocks, and the pixels their tasks see (step 2, span 4, blocks of 4 positions)

    positions   0 1 2 3 | 4 5 6 7 | 8 9
    tiles       [0      |8        |16   ...n)     a block's own pixels begin at its first origin
    halo               +--2          +--2         and it needs span - step pixels of the next tile

A block owns whole shards, so no two tasks ever write one object.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, product
from math import prod

import numpy as np

from patchmill.grid import Axis, ImageGrids, PatchGrid

Interval = tuple[int, int]
"""Half-open interval."""


@dataclass(frozen=True, slots=True)
class Block:
    """A rectangle of grid positions of some images, all channels: one task.

    Parameters
    ----------
    images : Interval
        Image numbers.
    positions : tuple of Span
        Grid positions along each spatial axis, multiples of the shard's except where the grid ends.
    """

    images: Interval
    positions: tuple[Interval, ...]


@dataclass(frozen=True, slots=True)
class Wave:
    """Blocks that go to Dask together.

    Parameters
    ----------
    images : Interval
        Image numbers, all of one size; one image a block where `cuts` is given.
    cuts : tuple of tuple of int
        For each spatial axis the first positions of the blocks, and the end: one more number than blocks.
    """

    images: Interval
    cuts: tuple[tuple[int, ...], ...]

    @property
    def blocks(self) -> list[Block]:
        """Every block, row-major."""
        along = [list(pairwise(cuts)) for cuts in self.cuts]
        return [Block((image, image + 1), positions) for image in range(*self.images) for positions in product(*along)]


@dataclass(frozen=True, slots=True)
class Shape:
    """How work is cut, chosen from memory and cores; it changes no byte of the result.

    Parameters
    ----------
    shard : tuple of int
        (image, grid_y, grid_x) of a shard, in images and positions.
    block : tuple of int
        Positions of a block along each spatial axis, a multiple of the shard's.
    wave : tuple of int
        Most blocks of a wave: rows, then columns, which are few, since halos keep the tiles of a wave's row in memory.
    """

    shard: tuple[int, ...]
    block: tuple[int, ...]
    wave: tuple[int, ...]


def block_size(grid: PatchGrid, shard: tuple[int, ...]) -> tuple[int, ...]:
    """Positions of a block: as many shards as make it at least as wide as its halo."""
    return tuple(
        size * max(1, -(-axis.halo().after // (size * axis.step))) for axis, size in zip(grid.axes, shard, strict=True)
    )


def cuts_of(axis: Axis, size: int) -> tuple[int, ...]:
    """First positions of the blocks along `axis`, and the end.

    The last block takes in what would be too small a one: a tile narrower than the halo that its neighbor needs of it
    or than the pixels that reflected padding repeats, or a lone position that "shift" moved back into the tile before.
    """
    count = len(axis)
    starts = list(range(0, count, size))
    least = max(axis.halo().after, axis.reach - axis.n + 1)
    while len(starts) > 1:
        narrow = axis.n - starts[-1] * axis.step < least
        moved = starts[-1] == count - 1 and not axis.is_regular
        if not (narrow or moved):
            break
        starts.pop()
    return (*starts, count)


def tiles_of(axis: Axis, cuts: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    """Source pixels of consecutive blocks: where the first tile begins, and the width of each.

    The last tile holds its own halo; the others get theirs from the tile that follows.
    """
    begins = [position * axis.step for position in cuts[:-1]]
    _, end = axis.source(cuts[-2], cuts[-1])
    return begins[0], tuple(b - a for a, b in zip(begins, [*begins[1:], end], strict=True))


def waves(grids: ImageGrids, shape: Shape) -> Iterator[Wave | Block]:
    """All work in order: lone blocks where one block holds all that an image has, else waves of neighbors.

    Lazy, and its cost does not grow with the number of patches.
    """
    together, images = shape.shard[0], len(grids.sizes)
    if together > 1:  # images share shards only where the whole grid lies in one, so no block has a neighbor
        whole = tuple((0, count) for count in grids.canvas.counts)
        yield from (Block((a, min(a + together, images)), whole) for a in range(0, images, together))
        return
    for first, last in _runs(grids):
        grid = grids.of(first)
        if len(grid) == 0:
            continue
        cuts = [cuts_of(axis, size) for axis, size in zip(grid.axes, shape.block, strict=True)]
        if all(len(along) == 2 for along in cuts):
            everything = tuple((0, along[1]) for along in cuts)
            yield from (Block((image, image + 1), everything) for image in range(first, last))
        else:
            yield from _neighbors((first, last), cuts, shape)


def _runs(grids: ImageGrids) -> Iterator[Interval]:
    """Consecutive images of one size."""
    changes = np.flatnonzero((grids.sizes[1:] != grids.sizes[:-1]).any(axis=1)) + 1
    edges = [0, *changes.tolist(), len(grids.sizes)]
    yield from pairwise(edges)


def _neighbors(images: Interval, cuts: list[tuple[int, ...]], shape: Shape) -> Iterator[Wave]:
    pieces = [list(_pieces(along, most)) for along, most in zip(cuts, shape.wave, strict=True)]
    together = max(1, prod(shape.wave) // prod(len(along) - 1 for along in cuts))
    for first in range(*images, together):
        for chosen in product(*pieces):
            yield Wave((first, min(first + together, images[1])), chosen)


def _pieces(cuts: tuple[int, ...], most: int) -> Iterator[tuple[int, ...]]:
    for start in range(0, len(cuts) - 1, most):
        yield cuts[start : start + most + 1]
