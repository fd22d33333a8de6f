"""The loop over all tasks: a few under way at a time, no barrier between them, stopped and looked after in between.

Who works is a crew: threads of this process, or a Dask cluster. Memory and the cost of a task do not grow with their
number: shards are walked lazily, and what is done is one byte each.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from patchmill.cutting.crews import Crew, Task
from patchmill.cutting.job import Job
from patchmill.cutting.tasks import Done
from patchmill.errors import LeaseLostError
from patchmill.types import Progress, Watch

_LOOK = 0.5
"""Seconds between looks at whether somebody asked to stop, and whether the target is still ours."""

_PATIENCE = 5.0
"""Seconds that tasks under way get to end: of the eight that the command line gives, one goes by until a signal is
noticed, and the lease is let go, and how far it came is said, before the time is over."""

Flags = NDArray[np.bool_]
Running = set[Future[list[Done]]]


@dataclass(slots=True, eq=False)
class Tally:
    """How far a run is, told to whoever watches.

    Parameters
    ----------
    positions, shards : int
        In all.
    watch : callable or None
    """

    positions: int
    shards: int
    watch: Watch | None
    done: int = 0
    nbytes: int = 0
    shards_done: int = 0
    stopped: bool = False

    def add(self, found: Sequence[Done]) -> None:
        """Some more shards are on the disk."""
        for each in found:
            self.done += each.positions
            self.nbytes += each.nbytes
            self.shards_done += 1
        self.tell()

    def tell(self) -> None:
        """Say how far it is."""
        if self.watch is not None:
            self.watch(Progress(self.done, self.positions, self.nbytes, self.shards_done, self.shards))


@dataclass(slots=True)
class Clock:
    """Calls `pause` about twice a second, however often it is asked.

    Parameters
    ----------
    pause : callable
        Returns whether to stop; raises where the target is no longer ours.
    """

    pause: Callable[[], bool]
    _looked: float = field(default_factory=time.monotonic)

    def stops(self) -> bool:
        """Whether to stop."""
        now = time.monotonic()
        if now - self._looked < _LOOK:
            return False
        self._looked = now
        return self.pause()


def run(job: Job, tasks: Iterator[Task], done: Flags, crew: Crew, tally: Tally, pause: Callable[[], bool]) -> bool:
    """Do every task.

    Parameters
    ----------
    job : Job
    tasks : iterator
        Shards or waves that are not done, in the order of cutting.
    done : ndarray of bool
        By number of shard; marked as shards come to be.
    crew : Crew
    tally : Tally
    pause : callable
        As for `Clock`.

    Returns
    -------
    bool
        Whether everything is done; False where it was stopped.
    """
    under_way: Running = set()

    def look() -> bool:
        crew.look()
        return pause()

    clock = Clock(look)

    def collect(wanted: int) -> bool:
        """Wait until fewer than `wanted` tasks are under way; False where it is to stop."""
        nonlocal under_way
        while len(under_way) >= wanted:
            under_way = _collected(under_way, job, done, tally)
            if clock.stops():
                return False
        return True

    try:
        while (begun := crew.begin(tasks)) is not None:
            under_way.add(begun)
            if not collect(crew.inflight):
                break
        else:
            if collect(1):
                return True
        crew.stop()
        under_way = _end(under_way, job, done, tally)
    except BaseException as error:
        crew.stop()
        job.halt.begin_nothing = True
        under_way = {future for future in under_way if not future.cancel()}
        if not isinstance(error, KeyboardInterrupt | LeaseLostError):  # a second Ctrl-C; or it is somebody else's now
            ended, under_way = wait(under_way, timeout=_PATIENCE)
            _mark(ended, job, done)
        raise
    finally:
        job.halt.write_nothing = True  # by what is left behind: the target is no longer ours
        _leave(job, under_way)
    return False


_LEFT: dict[str, Running] = {}
"""Tasks that had not ended when their run did, by the workshop of their target: each may be writing one last object."""


def _leave(job: Job, under_way: Running) -> None:
    left = {future for future in under_way if not future.done()}
    if left:
        _LEFT.setdefault(job.journal.work.url, set()).update(left)


def left_behind(workshop: str) -> int:
    """How many tasks of earlier runs in this process may still be writing."""
    left = {future for future in _LEFT.pop(workshop, ()) if not future.done()}
    if left:
        _LEFT[workshop] = left
    return len(left)


def _collected(under_way: Running, job: Job, done: Flags, tally: Tally) -> Running:
    """Wait a moment for some task to end, and count what it did; returns those still under way."""
    ended, left = wait(under_way, timeout=_LOOK, return_when=FIRST_COMPLETED)
    _mark(ended, job, done)
    for future in ended:
        tally.add(future.result())
    return left


def _mark(ended: Running, job: Job, done: Flags) -> None:
    """Note which shards came to be, by tasks that ended well; those beside them may have failed."""
    for future in ended:
        if not future.cancelled() and future.exception() is None:
            for each in future.result():
                done[job.shards.number(each.key)] = True


def _end(under_way: Running, job: Job, done: Flags, tally: Tally) -> Running:
    """Give tasks under way time to end, begin no others; returns those that do not."""
    until = time.monotonic() + _PATIENCE
    job.halt.begin_nothing = True
    left = {future for future in under_way if not future.cancel()}
    while left and time.monotonic() < until:
        left = _collected(left, job, done, tally)
    return left
