"""Blocks as Dask graphs: `map_overlap` brings the halos, one wave at a time.

::

    source --read--> tiles --map_overlap--> tiles with halo --cut_block--> shards
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchmill.cutting.job import Job, cut_block
from patchmill.planning import Block, Wave, tiles_of
from patchmill.sources import Source, Variable

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """A region of a variable that reads like an array, for Dask to take tiles from: (image, channel, y, x)."""

    source: Source
    variable: Variable
    start: tuple[int, ...]
    shape: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of an element."""
        return self.variable.dtype

    @property
    def ndim(self) -> int:
        """Four."""
        return len(self.shape)

    def __getitem__(self, wanted: tuple[slice, ...]) -> Array:
        image, channel, y, x = (
            slice(first + side.start, first + side.stop) for first, side in zip(self.start, wanted, strict=True)
        )
        return np.asarray(self.source.read(self.variable, (image, channel, y, x)), self.variable.dtype)


def tasks_of(job: Job, work: Iterator[Wave | Block], together: int) -> Iterator[list[Any]]:
    """Delayed tasks, by waves: neighbors share a graph, lone blocks are gathered `together` at a time."""
    lone: list[Any] = []
    for item in work:
        if isinstance(item, Wave):
            yield _wave(job, item)
        elif job.pending(item):
            lone.append(_alone(job, item))
            if len(lone) == together:
                yield lone
                lone = []
    yield lone


def _alone(job: Job, block: Block) -> Any:
    from dask.delayed import delayed

    # Bound, not passed: Dask would look for collections in every field of the arguments.
    return delayed(partial(_cut_alone, job, block), pure=False, traverse=False)()


def _cut_alone(job: Job, block: Block) -> None:
    """Read what a block without neighbors needs, and cut it."""
    images = slice(*block.images)
    height, width = _reach(job, images)
    tiles = []
    for variable in job.source.variables:
        shape = (images.stop - images.start, variable.shape[1], height, width)
        region = Region(job.source, variable, (images.start, 0, 0, 0), shape)
        tiles.append(region[tuple(slice(0, n) for n in shape)])
    cut_block(job, block, tiles, images.start, (0, 0))


def _reach(job: Job, images: slice) -> tuple[int, ...]:
    """Pixels from the first on that the patches of `images` reach over: with "drop" less than the images hold."""
    largest = job.grids.sizes[images].max(axis=0).tolist()
    grid = job.grids.canvas if images.stop - images.start > 1 else job.grids.of(images.start)
    needed = (axis.source(0, len(axis))[1] for axis in grid.axes)
    return tuple(min(n, m) for n, m in zip(largest, needed, strict=True))


def _wave(job: Job, wave: Wave) -> list[Any]:
    """Tasks of the blocks of `wave` that have anything left to do."""
    import dask.array as da

    pending = np.array([bool(job.pending(block)) for block in wave.blocks])
    if not pending.any():
        return []
    grid = job.grids.of(wave.images[0])
    low, widths = zip(*(tiles_of(axis, cuts) for axis, cuts in zip(grid.axes, wave.cuts, strict=True)), strict=True)
    # Nothing before: `cuts_of` lets no block begin with a position that "shift" moved back. Nothing after a lone tile.
    after = (axis.halo().after if len(cuts) > 2 else 0 for axis, cuts in zip(grid.axes, wave.cuts, strict=True))
    depth = dict(enumerate([(0, 0), (0, 0), *((0, n) for n in after)]))
    tiles = [_tiles(job.source, variable, wave, low, widths) for variable in job.source.variables]
    blocks = tuple((1,) * len(side) for side in ((0,) * (wave.images[1] - wave.images[0]), (0,), *widths))
    cut = da.map_overlap(
        partial(_cut_overlapped, job, wave),
        *tiles,
        depth=[depth] * len(tiles),
        boundary="none",
        trim=False,
        align_arrays=False,
        allow_rechunk=False,
        chunks=blocks,
        dtype=object,
        meta=np.empty((0,) * 4, object),
        name=f"cut-{uuid.uuid4().hex}",
    )
    return list(cut.to_delayed().ravel()[pending])


def _tiles(
    source: Source, variable: Variable, wave: Wave, low: Sequence[int], widths: Sequence[tuple[int, ...]]
) -> Any:
    """The source under a wave as a Dask array, a chunk for each block."""
    import dask.array as da

    start = (wave.images[0], 0, *low)
    shape = (wave.images[1] - wave.images[0], variable.shape[1], *(sum(along) for along in widths))
    chunks = ((1,) * shape[0], (shape[1],), *widths)
    if variable.lazy is not None:
        region = tuple(slice(first, first + n) for first, n in zip(start, shape, strict=True))
        return variable.lazy[region].rechunk(chunks)
    region_ = Region(source, variable, start, shape)
    return da.from_array(
        region_,
        chunks=chunks,
        name=f"tiles-{uuid.uuid4().hex}",
        asarray=False,
        fancy=False,
        meta=np.empty((0,) * 4, variable.dtype),
    )


def _cut_overlapped(job: Job, wave: Wave, *tiles: Array, block_id: tuple[int, ...] | None = None) -> Array:
    """The block function: tiles with their halo, cut where `block_id` says they lie."""
    image, _, *place = block_id or ()
    first = wave.images[0] + image
    positions = tuple((cuts[at], cuts[at + 1]) for cuts, at in zip(wave.cuts, place, strict=True))
    grid = job.grids.of(first)
    begin = tuple(axis.step * start for axis, (start, _) in zip(grid.axes, positions, strict=True))
    held = [np.asarray(tile, variable.dtype) for tile, variable in zip(tiles, job.source.variables, strict=True)]
    cut_block(job, Block((first, first + 1), positions), held, first, begin)
    return np.full((1, 1, 1, 1), None, object)
