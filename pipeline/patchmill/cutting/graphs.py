"""Dask sources: blocks of shards in waves, whose halos `map_overlap` brings, so that no chunk is computed twice.

::

    dask chunks --rechunk--> tiles --map_overlap--> tiles with halo --write_shard--> shards
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchmill.cutting.job import Job
from patchmill.cutting.tasks import Done, Frame, write_shard
from patchmill.cutting.workers import Sent
from patchmill.planning import Key, Units, Wave, halo_of, tiles_of, units_of

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """A region of a variable that reads like an array, for Dask to take tiles from: (image, channel, y, x)."""

    job: Job | Sent
    at: int
    start: tuple[int, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def ndim(self) -> int:
        """Four."""
        return len(self.shape)

    def __getitem__(self, wanted: tuple[slice, ...]) -> Array:
        image, channel, y, x = (
            slice(first + side.start, first + side.stop) for first, side in zip(self.start, wanted, strict=True)
        )
        job = _opened(self.job)
        job.halt.check()
        source = job.source
        return np.asarray(source.read(source.variables[self.at], (image, channel, y, x)), self.dtype)


def _opened(job: Job | Sent) -> Job:
    return job.job() if isinstance(job, Sent) else job


def wave_of(job: Job, wave: Wave, todo: frozenset[Key], sent: Sent | None = None) -> Any:
    """The tasks of a wave as one Dask collection, which computes to an array of lists of `Done`.

    Parameters
    ----------
    job : Job
    wave : Wave
    todo : frozenset of Key
        Shards of the wave that are not done.
    sent : Sent, optional
        The job for other processes, where they are to compute it.
    """
    import dask.array as da

    together = job.shards.size[0]
    units = _units(job, wave)
    low, widths = zip(*(tiles_of(side, cuts) for side, cuts in zip(units, wave.cuts, strict=True)), strict=True)
    # Nothing before: `cuts_of` lets no block begin with a position that "shift" moved back. Nothing after a lone tile.
    after = (halo_of(side) if len(cuts) > 2 else 0 for side, cuts in zip(units, wave.cuts, strict=True))
    depth = dict(enumerate([(0, 0), (0, 0), *((0, n) for n in after)]))
    images = _image_chunks(wave, together, len(job.shards.grids.sizes))
    tiles = [_tiles(job, sent, at, wave, low, images, widths) for at in range(len(job.source.variables))]
    return da.map_overlap(
        partial(_cut_overlapped, job if sent is None else sent, wave, todo),
        *tiles,
        depth=[depth] * len(tiles),
        boundary="none",
        trim=False,
        align_arrays=False,
        allow_rechunk=False,
        chunks=((1,) * len(images), (1,), *((1,) * len(along) for along in widths)),
        dtype=object,
        meta=np.empty((0,) * 4, object),
        name=f"cut-{uuid.uuid4().hex}",
    )


def _units(job: Job, wave: Wave) -> tuple[Units, ...]:
    shards = job.shards
    grid = shards.grids.of(wave.images[0]) if shards.size[0] == 1 else shards.grids.canvas
    return units_of(grid, shards.layout, shards.size[1:], whole=shards.whole)


def _image_chunks(wave: Wave, together: int, images: int) -> tuple[int, ...]:
    """Images of each shard along image."""
    return tuple(min(together, images - at * together) for at in range(*wave.images))


def _tiles(
    job: Job,
    sent: Sent | None,
    at: int,
    wave: Wave,
    low: Sequence[int],
    images: tuple[int, ...],
    widths: Sequence[tuple[int, ...]],
) -> Any:
    """The source under a wave as a Dask array, a chunk for each block."""
    import dask.array as da

    variable = job.source.variables[at]
    start = (wave.images[0] * job.shards.size[0], 0, *low)
    chunks = (images, (variable.shape[1],), *widths)
    shape = tuple(sum(along) for along in chunks)
    if variable.lazy is not None:
        taken = tuple(slice(first, first + n) for first, n in zip(start, shape, strict=True))
        return variable.lazy[taken].rechunk(chunks)
    region = Region(sent or job, at, start, shape, variable.dtype)
    if sent is not None and job.source.recipe is None:
        return da.from_array(Region(job, at, start, shape, variable.dtype)[tuple(slice(0, n) for n in shape)], chunks)
    return da.from_array(
        region,
        chunks=chunks,
        name=f"tiles-{uuid.uuid4().hex}",
        asarray=False,
        fancy=False,
        meta=np.empty((0,) * 4, variable.dtype),
    )


def _cut_overlapped(
    job: Job | Sent, wave: Wave, todo: frozenset[Key], *tiles: Array, block_id: tuple[int, ...] | None = None
) -> Array:
    """The block function: tiles with their halo, cut shard by shard where `block_id` says they lie."""
    result = np.empty((1, 1, 1, 1), object)
    if isinstance(job, Job):
        result[0, 0, 0, 0] = list(_cut_block(job, wave, todo, tiles, block_id or ()))
    else:
        opened = job.job()
        result[0, 0, 0, 0] = job.ticket.run(lambda: _cut_block(opened, wave, todo, tiles, block_id or ()))
    return result


def _cut_block(
    job: Job, wave: Wave, todo: frozenset[Key], tiles: Sequence[Array], block_id: tuple[int, ...]
) -> Iterator[Done]:
    job.halt.check()
    image, _, *place = block_id
    shard = wave.images[0] + image
    low = tuple(side.begins(cuts[at]) for side, cuts, at in zip(_units(job, wave), wave.cuts, place, strict=True))
    frame = Frame(shard * job.shards.size[0], low)
    held = [np.asarray(tile, variable.dtype) for tile, variable in zip(tiles, job.source.variables, strict=True)]
    job.source.check()
    for key in wave.keys(shard, place):
        if key in todo and not job.halt.begin_nothing:
            pieces = list(job.pieces(key))
            if pieces:
                yield write_shard(job, key, pieces, held, frame)
