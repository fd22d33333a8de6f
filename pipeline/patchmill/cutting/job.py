"""What the tasks of a run share, and which shard holds what. Plain data, the same in every process that works."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

from patchmill.cutting.journal import Journal, Record, fingerprint
from patchmill.cutting.keeping import Keep
from patchmill.cutting.request import Change
from patchmill.errors import PatchmillError
from patchmill.grid import PatchGrid
from patchmill.planning import Interval, Key, PlannedVariable, Shards, looked_back, units_of
from patchmill.sources import Source
from patchmill.storage import BulkArray


@dataclass(frozen=True, slots=True)
class Piece:
    """What one shard holds of consecutive images of one size.

    Parameters
    ----------
    images : Interval
    grid : PatchGrid
        Of these images.
    positions : tuple of Interval
        Grid positions that the shard owns; empty ones where no patch begins in its pixels.
    stored : tuple of Interval
        What its array holds: positions, or pixels in layout "canvas".
    source : tuple of Interval
        Pixels of the images that it takes.
    """

    images: Interval
    grid: PatchGrid
    positions: tuple[Interval, ...]
    stored: tuple[Interval, ...]
    source: tuple[Interval, ...]

    @property
    def counts(self) -> tuple[int, ...]:
        """Positions along each axis."""
        return tuple(stop - start for start, stop in self.positions)

    @property
    def patches(self) -> int:
        """Number of patches."""
        return (self.images[1] - self.images[0]) * prod(self.counts)


_CONFIRMED = 2.0
"""Seconds for which a target stays ours without asking. Where a cluster's client was killed, others may take over at
once, and workers learn it by asking."""


@dataclass(slots=True, eq=False)
class Halt:
    """What tasks of this process look at while they work; another process has its own, with the same to `confirm`.

    Parameters
    ----------
    begin_nothing : bool
        A task under way ends after the shard that it is at.
    write_nothing : bool
        Whoever began the task is gone, and the target may be somebody else's: no further object is written.
    confirm : callable or None
        Raises where the target is no longer ours, which a process that was stopped for a while learns only by asking.
    confirmed : float
        When that was last asked, by `time.monotonic`.
    """

    begin_nothing: bool = False
    write_nothing: bool = False
    confirm: Callable[[], None] | None = None
    confirmed: float = field(default_factory=time.monotonic)

    def __reduce__(self) -> tuple[Any, ...]:
        return (Halt, (False, False, self.confirm))

    def check(self) -> None:
        """Raise where nobody waits for the result any more, or the target is somebody else's by now."""
        if self.write_nothing:
            raise PatchmillError(
                "whoever began this task has ended, so it writes nothing: call again to go on from here"
            )
        now = time.monotonic()
        if self.confirm is not None and now - self.confirmed > _CONFIRMED:
            self.confirm()
            self.confirmed = now


@dataclass(frozen=True, slots=True)
class Left:
    """Objects of a shard that a killed run did not finish.

    Parameters
    ----------
    objects : frozenset of (int, str)
        Each by the number of its array in `Job.targets`, and its key inside it.
    record : bytes or None
        Fingerprint of what was found out about the shard when they were written; None where nothing is.
    """

    objects: frozenset[tuple[int, str]]
    record: bytes | None


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """Everything a task needs.

    Parameters
    ----------
    source : Source
    shards : Shards
    planned : tuple of PlannedVariable
        In the order of the source's variables.
    changes : tuple of Change
        What becomes of each variable's values.
    keep : Keep or None
        Which patches to keep; None keeps all.
    statistics : bool
        Whether the catalog holds statistics.
    targets : tuple of BulkArray
        The arrays to write.
    journal : Journal
    labels : mapping
        Labels of the channels of each variable that has them, for conditions that name one.
    crowded : int
        Resident bytes from which on a process gives back what was freed.
    compiled : bool
        Whether statistics are computed by compiled kernels.
    old : int
        Images that the set holds already: where they share a shard with new ones, they must be what they were.
    exists : BulkArray or None
        Which patches of these the set holds, shape (image, grid_y, grid_x); None where it holds all.
    left : mapping of Key to Left
        What an earlier run left of shards that it did not finish.
    halt : Halt
    """

    source: Source
    shards: Shards
    planned: tuple[PlannedVariable, ...]
    changes: tuple[Change, ...]
    keep: Keep | None
    statistics: bool
    targets: tuple[BulkArray, ...]
    journal: Journal
    labels: Mapping[str, Sequence[str]]
    crowded: int
    compiled: bool = False
    old: int = 0
    exists: BulkArray | None = None
    left: Mapping[Key, Left] = field(default_factory=dict)
    halt: Halt = field(default_factory=Halt)

    @property
    def journaled(self) -> bool:
        """Whether shards have records: where the catalog holds more than what follows from the grid."""
        return self.statistics or self.keep is not None or any(each.missing for each in self.planned)

    @property
    def objects(self) -> int:
        """Objects that a shard rectangle has, over all variables."""
        return sum(each.channel_shards for each in self.planned)

    def there(self, key: Key, record: Record | None) -> frozenset[tuple[int, str]]:
        """Objects of a shard that are there and need not be written again: `record` says what they were written by."""
        left = self.left.get(key)
        same = left is not None and (record is None or left.record == fingerprint(key, record))
        return left.objects if left is not None and same else frozenset()

    def is_shared(self, key: Key) -> bool:
        """Whether a shard holds images that the set has already beside new ones."""
        together = self.shards.size[0]
        return self.old % together > 0 and key[0] == self.old // together

    @property
    def _pads(self) -> bool:
        """Whether patches are continued beyond the border, to be stored or handed to a function."""
        return self.shards.layout == "patches" or (self.keep is not None and self.keep.needs_patches)

    def pieces(self, key: Key) -> Iterator[Piece]:
        """What a shard holds, by runs of images of one size."""
        grids, (together, *size) = self.shards.grids, self.shards.size
        first = key[0] * together
        for images in grids.intervals(first, first + together):
            piece = self._piece(images, grids.of(images[0]), key[1:], size)
            if piece is not None:
                yield piece

    def _piece(self, images: Interval, grid: PatchGrid, place: Key, size: list[int]) -> Piece | None:
        units = units_of(grid, self.shards.layout, size, whole=self.shards.whole)
        if any(at >= len(side) for at, side in zip(place, units, strict=True)):
            return None
        positions = tuple(side.positions(at) for at, side in zip(place, units, strict=True))
        source = [side.source(at) for at, side in zip(place, units, strict=True)]
        if self._pads and any(change.padding.looks_back for change in self.changes):
            source = [
                (looked_back(side.axis, along, low), high)
                for side, along, (low, high) in zip(units, positions, source, strict=True)
            ]
        stored = tuple(side.stored(at) for at, side in zip(place, units, strict=True))
        return Piece(images, grid, positions, stored, tuple(source))


def object_keys(shards: Shards, planned: PlannedVariable, key: Key) -> list[str]:
    """Keys of a shard rectangle's objects, inside the array of `planned`."""
    channel = [()] if planned.channels is None else [(n,) for n in range(planned.channel_shards)]
    tail = (0,) * len(shards.size[1:]) if shards.layout == "patches" else ()
    return ["/".join(["c", *map(str, (key[0], *each, *key[1:], *tail))]) for each in channel]


def key_of(index: tuple[int, ...], planned: PlannedVariable, axes: int) -> Key:
    """The shard rectangle that an object of an array belongs to, from its index such as (0, 0, 3, 2, 0, 0)."""
    rest = index[1:] if planned.channels is None else index[2:]
    return (index[0], *rest[:axes])


def channel_groups(planned: PlannedVariable) -> Iterator[slice]:
    """Channels of each object of a shard rectangle; the one of a variable without channels."""
    if planned.channels is None:
        yield slice(0, 1)
        return
    together = planned.shapes.shard[1]
    for first in range(0, planned.channels, together):
        yield slice(first, min(first + together, planned.channels))
