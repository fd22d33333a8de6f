"""How work is cut: one shard after the other by region, or blocks of shards that get their halos from neighbors.

::

    by region   every task reads the pixels of its shard, halo included. Tasks go down a band of few shards, so that a
                small cache of decoded source chunks gives each chunk to all that need it

                 band 0    band 1
                +----+----+----+----+
                | 1  | 2  | 7  | 8  |
                | 3  | 4  | 9  | 10 |
                | 5  | 6  | 11 | 12 |
                +----+----+----+----+

    overlap     blocks of whole shards, at least as wide as their halo, tiles of a wave joined by `map_overlap`: for
                Dask arrays, whose chunks would be computed anew for every region

Neither changes a byte of the result.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, product
from math import prod
from typing import Literal

from patchmill.grid import Axis, ImageGrids, PatchGrid
from patchmill.planning.units import Interval, PixelUnits, PositionUnits, Units
from patchmill.types import Layout

Key = tuple[int, ...]
"""Which shard rectangle: (image, y, x), counted in shards."""


@dataclass(frozen=True, slots=True)
class Work:
    """How a run is cut into tasks, chosen from memory and cores; it changes no byte of the result.

    Parameters
    ----------
    read : {"region", "overlap"}
        Whether tasks read their pixels themselves, or Dask's `map_overlap` brings them.
    shard : tuple of int
        (image, y, x) of a shard: images, then positions in layout "patches", pixels in layout "canvas".
    block : tuple of int
        Shards of a task along each spatial axis.
    band : int
        Blocks side by side in a band, or in a wave's row.
    rows : int
        Rows of a wave; 1 where tasks read by region.
    stack : int
        Shards along image that are cut before the next place is: as many as one source chunk reaches over, so that it
        is decoded for all its images at once.
    inflight : int
        Tasks that are under way at a time.
    cache : int
        Bytes of decoded source chunks that each process keeps.
    """

    read: Literal["region", "overlap"]
    shard: tuple[int, ...]
    block: tuple[int, ...]
    band: int
    rows: int
    stack: int
    inflight: int
    cache: int


def units_of(grid: PatchGrid, layout: Layout, shard: Sequence[int], *, whole: bool) -> tuple[Units, ...]:
    """The shards of one image, axis by axis.

    Parameters
    ----------
    grid : PatchGrid
        Of that image.
    layout : str
    shard : sequence of int
        Positions or pixels of a shard along each spatial axis.
    whole : bool
        Whether patches are looked at while they are cut.
    """
    return tuple(units_along(axis, layout, size, whole=whole) for axis, size in zip(grid.axes, shard, strict=True))


def units_along(axis: Axis, layout: Layout, size: int, *, whole: bool) -> Units:
    """The same along one axis."""
    return PositionUnits(axis, size) if layout == "patches" else PixelUnits(axis, size, whole)


@dataclass(frozen=True, eq=False)
class Shards:
    """All shard rectangles of a patch set, numbered row-major over (image, y, x) on the canvas.

    Parameters
    ----------
    grids : ImageGrids
    layout : str
    size : tuple of int
        (image, y, x) of a shard.
    whole : bool
        As for `units_of`.
    """

    grids: ImageGrids
    layout: Layout
    size: tuple[int, ...]
    whole: bool

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """Shard rectangles along (image, y, x)."""
        along = (len(units) for units in units_of(self.grids.canvas, self.layout, self.size[1:], whole=self.whole))
        return (-(-len(self.grids.sizes) // self.size[0]), *along)

    def number(self, key: Key) -> int:
        """Place of `key` in the row-major order of the canvas."""
        number = 0
        for at, count in zip(key, self.counts, strict=True):
            number = number * count + at
        return number

    def __len__(self) -> int:
        return prod(self.counts)

    def runs(self, first: int = 0) -> Iterator[tuple[Interval, PatchGrid]]:
        """Consecutive shards along image whose images have one size, with their grid; from shard `first` on.

        Where shards hold several images the canvas stands for all of them: each has its own part of it.
        """
        if self.size[0] > 1 or not self.grids.differ:
            if first < self.counts[0]:
                yield (first, self.counts[0]), self.grids.canvas
            return
        for low, high in self.grids.intervals(first):
            yield (low, high), self.grids.of(low)

    def walk(self, work: Work, first: int = 0) -> Iterator[Key]:
        """Every shard that an image reaches, in the order of the bands; what lies behind costs nothing."""
        for (low, high), grid in self.runs(first):
            down, across = (len(units) for units in units_of(grid, self.layout, self.size[1:], whole=self.whole))
            for first_image in range(low, high, work.stack):
                images = range(first_image, min(first_image + work.stack, high))
                for band in range(0, across, work.band):
                    columns = range(band, min(band + work.band, across))
                    yield from ((image, y, x) for y in range(down) for x in columns for image in images)


# -- blocks with halos -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wave:
    """Blocks that go to Dask together.

    Parameters
    ----------
    images : Interval
        Shards along image, all of one size.
    cuts : tuple of tuple of int
        For each spatial axis the first shards of the blocks, and the end: one more number than blocks.
    """

    images: Interval
    cuts: tuple[tuple[int, ...], ...]

    def keys(self, image: int, place: Sequence[int]) -> Iterator[Key]:
        """Shards of the block at `place` of `image`, row-major."""
        along = (range(cuts[at], cuts[at + 1]) for cuts, at in zip(self.cuts, place, strict=True))
        return product((image,), *along)


def block_size(units: Sequence[Units]) -> tuple[int, ...]:
    """Shards of a block: as many as make it at least as wide as its halo."""
    return tuple(_wide_enough(side) for side in units)


def _wide_enough(side: Units) -> int:
    own = side.begins(1) - side.begins(0)
    return min(max(1, len(side)), max(1, -(-halo_of(side) // own)))


def halo_of(side: Units) -> int:
    """Pixels that a unit takes beyond where the next begins, at most; a lone one has no neighbor."""
    if len(side) < 2:
        return 0
    if isinstance(side, PositionUnits):
        return side.axis.halo().after
    return max(side.source(unit)[1] - side.begins(unit + 1) for unit in _sample(len(side) - 1))


def _sample(count: int) -> Iterable[int]:
    """All of few; of many the first, which repeat themselves, and the last, where "shift" moves a position back."""
    return range(count) if count <= 2048 else chain(range(1024), range(count - 1024, count))


def cuts_of(side: Units, size: int) -> tuple[int, ...]:
    """First shards of the blocks along an axis, and the end.

    The last block takes in what would be too small a one: a tile narrower than the halo that its neighbor needs of it
    or than the pixels that reflected padding repeats, or a lone position that "shift" moved back into the tile before.
    """
    count, axis = len(side), side.axis
    starts = list(range(0, count, size))
    least = halo_of(side)
    if not isinstance(side, PixelUnits) or side.whole:
        least = max(least, axis.reach - axis.n + 1)
    while len(starts) > 1:
        narrow = axis.n - side.begins(starts[-1]) < least
        start, stop = side.positions(starts[-1])
        moved = isinstance(side, PositionUnits) and start == stop - 1 and stop == len(axis) and not axis.is_regular
        if not (narrow or moved):
            break
        starts.pop()
    return (*starts, count)


def tiles_of(side: Units, cuts: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    """Source pixels of consecutive blocks: where the first tile begins, and the width of each.

    The last tile holds its own halo; the others get theirs from the tile that follows.
    """
    begins = [side.begins(unit) for unit in cuts[:-1]]
    end = max(side.source(unit)[1] for unit in (cuts[-1] - 1, max(cuts[-2], cuts[-1] - 2)))
    return begins[0], tuple(b - a for a, b in zip(begins, [*begins[1:], end], strict=True))


def waves(shards: Shards, work: Work, first: int = 0) -> Iterator[Wave]:
    """All shards in waves of neighboring blocks, a few blocks wide, since halos pin tiles along a wave's row."""
    for (low, high), grid in shards.runs(first):
        units = units_of(grid, shards.layout, shards.size[1:], whole=shards.whole)
        if not all(len(side) for side in units):
            continue
        cuts = [cuts_of(side, size) for side, size in zip(units, work.block, strict=True)]
        most = (work.rows, work.band)
        pieces = [list(_pieces(along, n)) for along, n in zip(cuts, most, strict=True)]
        together = max(1, prod(most) // prod(len(along) - 1 for along in cuts))
        for image in range(low, high, together):
            for chosen in product(*pieces):
                yield Wave((image, min(image + together, high)), chosen)


def _pieces(cuts: tuple[int, ...], most: int) -> Iterator[tuple[int, ...]]:
    for start in range(0, len(cuts) - 1, most):
        yield cuts[start : start + most + 1]
