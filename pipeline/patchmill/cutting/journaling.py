"""What the journal keeps of a shard, and the catalog will hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchmill.cutting.job import Job, Piece
from patchmill.cutting.parts import Cut
from patchmill.cutting.statistics import FIELDS

Array = NDArray[Any]


def valid_fraction(cuts: Sequence[Cut]) -> Array:
    """Share of the values of each patch that count: averaged over channels, the least over variables."""
    shares = [np.asarray(each.found["valid"], np.float64).mean(axis=1) for each in cuts]
    return np.asarray(np.minimum.reduce(shares), np.float32)


@dataclass(frozen=True, slots=True)
class _Filling:
    """A record while it is filled: arrays on (image, channel, grid_y, grid_x) of a shard's own positions."""

    first: int
    lengths: tuple[int, ...]
    arrays: dict[str, Array]

    def put(self, name: str, piece: Piece, values: Array, blank: Any) -> None:
        """What was found of a piece; `blank` stands where a shard's other images have no position."""
        if name not in self.arrays:
            shape = (self.lengths[0], *values.shape[1:-2], *self.lengths[1:])
            self.arrays[name] = np.full(shape, blank, values.dtype)
        images = slice(piece.images[0] - self.first, piece.images[1] - self.first)
        where: tuple[Any, ...] = (images, ..., *(slice(0, n) for n in piece.counts))
        self.arrays[name][where] = values


def record_of(
    job: Job, pieces: Sequence[Piece], cuts: Sequence[Sequence[Cut]], kept: Sequence[Array | None]
) -> dict[str, Array]:
    """What the catalog will hold of a shard."""
    start = [a for a, _ in pieces[0].positions]
    first, last = pieces[0].images[0], pieces[-1].images[1]
    shape = tuple(max(piece.positions[axis][1] for piece in pieces) - start[axis] for axis in range(len(start)))
    filling = _Filling(first, (last - first, *shape), {"start": np.asarray([first, *start], np.int64)})
    for n, piece in enumerate(pieces):
        if piece.patches:
            _enter(job, filling, piece, [along[n] for along in cuts], kept[n])
    return filling.arrays


def _enter(job: Job, filling: _Filling, piece: Piece, cuts: Sequence[Cut], kept: Array | None) -> None:
    if any(each.missing for each in job.planned):
        filling.put("valid_fraction", piece, valid_fraction(cuts), blank=0)
    if kept is not None:
        filling.put("kept", piece, kept, blank=False)
    for planned, each in zip(job.planned, cuts, strict=True) if job.statistics else ():
        for field in FIELDS[1:]:
            if field in each.found:
                filling.put(f"{planned.name}:{field}", piece, each.found[field], blank=np.nan)
