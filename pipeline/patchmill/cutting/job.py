"""What the tasks of a run share, and what one task does: from pixels of a block to shards on disk."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchmill.cutting.journal import Journal, Key
from patchmill.cutting.statistics import Along, patch_statistics
from patchmill.grid import ImageGrids, PatchGrid
from patchmill.patches.views import Padding, cut
from patchmill.planning import Block, PlannedVariable
from patchmill.sources import Source
from patchmill.storage import BulkArray, Part

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Piece:
    """Patches of one shard that lie on one grid: images of one size, and a rectangle of positions that exist."""

    images: tuple[int, int]
    start: tuple[int, ...]
    stop: tuple[int, ...]
    grid: PatchGrid

    @property
    def patches(self) -> int:
        """Number of patches."""
        intervals = [self.images, *zip(self.start, self.stop, strict=True)]
        return prod(b - a for a, b in intervals)


@dataclass(slots=True, eq=False)
class Tally:
    """What a run has written so far; counted by all threads, told to whoever watches."""

    total: int
    watch: Callable[[int, int, int], None] | None
    done: int = 0
    nbytes: int = 0
    fresh: list[Key] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, key: Key, patches: int, nbytes: int) -> None:
        """One more shard is on disk."""
        with self._lock:
            self.done += patches
            self.nbytes += nbytes
            self.fresh.append(key)
            if self.watch is not None:
                self.watch(self.done, self.total, self.nbytes)


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """Everything a task needs.

    Parameters
    ----------
    source : Source
    grids : ImageGrids
    planned : tuple of PlannedVariable
        In the order of the source's variables.
    shard : tuple of int
        (image, grid_y, grid_x) of a shard, in images and positions.
    paddings : tuple of Padding
        What continues each variable beyond the border.
    targets : tuple of BulkArray
        The arrays to write.
    journal : Journal
    done : frozenset of Key
        Shards that earlier runs finished.
    tally : Tally
    """

    source: Source
    grids: ImageGrids
    planned: tuple[PlannedVariable, ...]
    shard: tuple[int, ...]
    paddings: tuple[Padding, ...]
    targets: tuple[BulkArray, ...]
    journal: Journal
    done: frozenset[Key]
    tally: Tally

    def pending(self, block: Block) -> list[Key]:
        """Shards of `block` that hold patches and are not done."""
        return [key for key in shards_of(block, self.shard) if key not in self.done and any(self.pieces(key))]

    def pieces(self, key: Key) -> Iterator[Piece]:
        """What a shard holds, by runs of images of one size."""
        first = key[0] * self.shard[0]
        sizes = self.grids.sizes[first : first + self.shard[0]]
        changes = np.flatnonzero((sizes[1:] != sizes[:-1]).any(axis=1)) + 1
        edges = [0, *changes.tolist(), len(sizes)]
        for a, b in pairwise(edges):
            grid = self.grids.of(first + a)
            start = tuple(at * size for at, size in zip(key[1:], self.shard[1:], strict=True))
            stop = tuple(min(at + n, count) for at, n, count in zip(start, self.shard[1:], grid.counts, strict=True))
            if all(low < high for low, high in zip(start, stop, strict=True)):
                yield Piece((first + a, first + b), start, stop, grid)


def shards_of(block: Block, shard: tuple[int, ...]) -> Iterator[Key]:
    """Shards that `block` owns, row-major; it begins where a shard does."""
    spans = (block.images, *block.positions)
    return product(*(range(low // size, -(-high // size)) for (low, high), size in zip(spans, shard, strict=True)))


def cut_block(job: Job, block: Block, tiles: Sequence[Array], first: int, low: tuple[int, ...]) -> None:
    """Cut the pending shards of `block`: statistics first, durable, then the shards one after the other.

    Parameters
    ----------
    job : Job
    block : Block
    tiles : sequence of ndarray, shape (image, channel, y, x)
        Pixels of each variable.
    first : int
        Number of the first image in `tiles`.
    low : tuple of int
        First pixel of `tiles`: y, x.
    """
    shards = {key: list(job.pieces(key)) for key in job.pending(block)}
    # Anew for every shard that is not done: an earlier record may be of pixels that vanished. The last one counts.
    if shards:
        job.journal.append({key: _record(job, pieces, tiles, first, low) for key, pieces in shards.items()})
    for key, pieces in shards.items():
        nbytes = sum(_write(job, at, pieces, tile, first, low) for at, tile in enumerate(tiles))
        job.tally.add(key, sum(piece.patches for piece in pieces), nbytes)


def _write(job: Job, at: int, pieces: Sequence[Piece], tile: Array, first: int, low: tuple[int, ...]) -> int:
    """Write the shards of one variable, one object each; returns raw bytes."""
    planned, target = job.planned[at], job.targets[at]
    shapes, axes = planned.shapes, len(low)
    together = shapes.shard[1] if planned.channels is not None else 1
    alone = set(shapes.chunk[: -2 * axes][:1] + shapes.chunk[-2 * axes : -axes]) == {1}
    nbytes = 0
    for channel in range(0, tile.shape[1], together):
        parts: list[Part] = []
        for piece in pieces:
            pixels = _held(piece, tile, first, low)[:, channel : channel + together]
            patches = cut(pixels, piece.grid, start=piece.start, stop=piece.stop, low=low, padding=job.paddings[at])
            nbytes += patches.nbytes
            parts.append((_region(planned, piece, channel, together), _axes_of(planned, patches)))
        # A view may be read in place only where a chunk is one patch: see `TensorStoreArray.write`.
        target.write(parts if alone else [(region, np.ascontiguousarray(v)) for region, v in parts], reference=alone)
    return nbytes


def _held(piece: Piece, tile: Array, first: int, low: tuple[int, ...]) -> Array:
    """What a tile holds of a piece's images, up to their own border: a tile of several is as large as the largest."""
    rows, columns = (n - begin for n, begin in zip(piece.grid.shape, low, strict=True))
    return tile[piece.images[0] - first : piece.images[1] - first, :, :rows, :columns]


def _region(planned: PlannedVariable, piece: Piece, channel: int, together: int) -> tuple[slice, ...]:
    channels = () if planned.channels is None else (slice(channel, min(channel + together, planned.channels)),)
    positions = (slice(a, b) for a, b in zip(piece.start, piece.stop, strict=True))
    return (slice(*piece.images), *channels, *positions, *(slice(0, n) for n in piece.grid.patch_shape))


def _axes_of(planned: PlannedVariable, patches: Array) -> Array:
    """Without the channel axis, for a variable that has none."""
    return patches[:, 0] if planned.channels is None else patches


def _record(
    job: Job, pieces: Sequence[Piece], tiles: Sequence[Array], first: int, low: tuple[int, ...]
) -> dict[str, Array]:
    """Statistics of a shard: ``<variable>:<field>``, shape (image, channel, grid_y, grid_x), NaN where no patch is."""
    start, images = pieces[0].start, (pieces[0].images[0] // job.shard[0]) * job.shard[0]
    shape = tuple(max(piece.stop[axis] for piece in pieces) - start[axis] for axis in range(len(start)))
    last = pieces[-1].images[1]
    record: dict[str, Array] = {}
    for planned, variable, tile in zip(job.planned, job.source.variables, tiles, strict=True):
        for piece in pieces:
            region = piece.grid.source(piece.start, piece.stop)
            begin = [side.start for side in region]
            along = [Along(*sides) for sides in zip(piece.grid.axes, piece.start, piece.stop, begin, strict=True)]
            inside = tuple(slice(side.start - at, side.stop - at) for side, at in zip(region, low, strict=True))
            rows, columns = inside
            pixels = _held(piece, tile, first, low)[:, :, rows, columns]
            for field_, values in patch_statistics(pixels, along, variable.nodata).items():
                name = f"{planned.name}:{field_}"
                if name not in record:
                    record[name] = np.full((last - images, tile.shape[1], *shape), np.nan)
                where = (slice(piece.images[0] - images, piece.images[1] - images), slice(None))
                within = tuple(slice(0, b - a) for a, b in zip(piece.start, piece.stop, strict=True))
                record[name][where + within] = values
    return record
