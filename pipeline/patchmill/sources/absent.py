"""Chunks that are not there: some never were, and read as the fill value; some have just vanished, and are an error.

Both readers of Zarr take every missing chunk for fill. A source whose chunks are deleted while it is cut would so give
zeros, silently. Metadata can't tell the two apart, but folders can: removing a file changes the folder that held it.

::

    image/                 nearest folder that still exists: its time of change is later than
      c/0/1/2   missing    the moment the source was opened -> the chunk, or a folder around it, vanished
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from patchmill.errors import MissingChunkError
from patchmill.sources.model import vanished
from patchmill.sources.parallel import in_parallel
from patchmill.storage import Region, TensorStoreArray
from patchmill.storage.chunkkeys import keys_of


@dataclass(frozen=True, slots=True, eq=False)
class SparseArray:
    """A local array that somebody else wrote, in which any chunk may be absent.

    Parameters
    ----------
    strict : TensorStoreArray
        Fails where a chunk is missing.
    lenient : TensorStoreArray
        The same array; gives fill there.
    opened : int
        When the source was opened, in nanoseconds of the clock by which the disk dates its folders.
    known : list of bool
        One flag, whether a chunk was found legitimately absent: the strict way is not tried again then, and nothing is
        read twice.
    """

    strict: TensorStoreArray
    lenient: TensorStoreArray
    opened: int
    known: list[bool] = field(default_factory=lambda: [False])

    def read(self, region: Region) -> NDArray[Any]:
        """The values of `region`.

        Raises
        ------
        SourceError
            If a chunk of it vanished since the source was opened.
        CorruptChunkError
            If a chunk is damaged.
        """
        if not self.known[0]:
            try:
                return self.strict.read(region)
            except MissingChunkError:
                pass
        values = self.lenient.read(region)
        self._refuse_vanished(
            tuple(_around(side) for side in region)
        )  # after the read: what vanishes during it is seen too
        self.known[0] = True
        return values

    def read_each(self, regions: Sequence[Region]) -> Iterator[NDArray[Any]]:
        """The values of many regions, in parallel as far as no chunk is absent."""
        read = 0
        if not self.known[0]:
            try:
                for values in self.strict.read_each(regions):
                    yield values
                    read += 1
            except MissingChunkError:
                pass
        yield from in_parallel(self.read, regions[read:])

    def cached(self, nbytes: int, crowded: int) -> SparseArray:
        """The same, with decoded chunks kept."""
        strict, lenient = (each.reopened(cache_bytes=nbytes, crowded=crowded) for each in (self.strict, self.lenient))
        return SparseArray(strict, lenient, self.opened, self.known)

    def _refuse_vanished(self, region: Region) -> None:
        folder = str(self.strict.location.path)
        for key in keys_of(self.strict, region):
            path = os.path.join(folder, key)
            if not os.path.lexists(path) and changed_since(path, folder, self.opened):
                raise vanished(self.strict.place)


def _around(side: Any) -> slice:
    """An interval that holds `side`, which may also be an array of ascending numbers."""
    return side if isinstance(side, slice) else slice(int(side[0]), int(side[-1]) + 1)


def sparse(array: TensorStoreArray, opened: int | None = None) -> SparseArray:
    """`array`, opened strictly, as one in which chunks may be absent that were at the moment `opened`: now, if None."""
    return SparseArray(array, array.reopened(missing_is_error=False), disk_clock() if opened is None else opened)


def changed_since(path: str, folder: str, moment: int) -> bool:
    """Whether the nearest folder around `path` that exists changed at or after `moment`; also if `folder` is gone.

    The nearest one is enough: whatever vanished was taken out of it, or out of a folder that was made anew since.
    Folders farther up change too when something else is added, as by an append.
    """
    while True:
        path = os.path.dirname(path)
        if len(path) < len(folder):
            return True
        try:
            return os.stat(path).st_mtime_ns >= moment
        except FileNotFoundError:
            continue
        except NotADirectoryError:
            return True


def disk_clock() -> int:
    """Now, by the clock that dates files, later than anything that was dated before.

    Linux dates by the clock of the last tick, up to 10 ms behind, or exactly, so the next tick is waited for.

    ::

        tick             tick
        |    w     o     m         w is written, and dated by the tick before; o, the source is opened; m is the moment

    A disk of another machine is dated by that machine's clock; one that is behind by more than a source is open hides
    what vanished early.
    """
    if sys.platform != "linux":
        return time.time_ns()
    now, late = time.time_ns(), time.monotonic() + _TICKS
    while (moment := time.clock_gettime_ns(_REALTIME_COARSE)) <= now and time.monotonic() < late:
        time.sleep(0.001)
    return moment


_TICKS = 0.1
"""Seconds in which the clock of the last tick has surely gone on, unless somebody sets it back."""

_REALTIME_COARSE = 5
"""Linux's number for CLOCK_REALTIME_COARSE, which Python has no name for."""
