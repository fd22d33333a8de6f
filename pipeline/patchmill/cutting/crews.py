"""Who cuts: threads of this process, Dask's threads where a Dask array brings its own graph, or a Dask cluster."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, cast

from patchmill.cutting.graphs import wave_of
from patchmill.cutting.job import Job
from patchmill.cutting.tasks import Done, cut_shards
from patchmill.planning import Key, Wave
from patchmill.storage.heap import ease

Task: TypeAlias = Key | tuple[Wave, frozenset[Key]]
"""A shard to read and cut; or a wave of blocks, with those of its shards that are not done."""


class Crew(Protocol):
    """Who does tasks.

    Parameters
    ----------
    inflight : int
        Tasks to keep under way: enough that nobody waits for the next.
    """

    inflight: int

    def begin(self, tasks: Iterator[Task]) -> Future[list[Done]] | None:
        """Take a task, or few, from those that are left, and begin them as one; None where none is left."""

    def look(self) -> None:
        """Raise where nobody is left to work; asked about twice a second."""

    def stop(self) -> None:
        """Tasks that did not begin need not; those under way end soon."""

    def close(self) -> None:
        """No more tasks come; those under way are left to end."""


@dataclass(slots=True, eq=False)
class Threads:
    """Threads of this process, each of which reads a shard's pixels and cuts them."""

    job: Job
    inflight: int
    _pool: ThreadPoolExecutor = field(init=False)

    def __post_init__(self) -> None:
        self._pool = ThreadPoolExecutor(self.inflight, thread_name_prefix="patchmill")

    def begin(self, tasks: Iterator[Task]) -> Future[list[Done]] | None:
        """Begin a shard."""
        key = next(tasks, None)
        return None if key is None else self._pool.submit(cut_shards, self.job, [cast(Key, key)])

    def look(self) -> None:
        """Threads do not go away."""

    def stop(self) -> None:
        """Tasks that did not begin are cancelled one by one."""

    def close(self) -> None:
        """No more tasks come."""
        _end(self._pool)


@dataclass(slots=True, eq=False)
class DaskThreads:
    """Dask's threaded scheduler: two waves under way, so that cores do not idle where one ends."""

    job: Job
    workers: int
    inflight: int = 2
    _waves: ThreadPoolExecutor = field(init=False)
    _workers: ThreadPoolExecutor = field(init=False)

    def __post_init__(self) -> None:
        self._waves = ThreadPoolExecutor(self.inflight, thread_name_prefix="patchmill-wave")
        self._workers = ThreadPoolExecutor(self.workers, thread_name_prefix="patchmill")

    def begin(self, tasks: Iterator[Task]) -> Future[list[Done]] | None:
        """Begin a wave."""
        task = next(tasks, None)
        return None if task is None else self._waves.submit(self._compute, *task)

    def _compute(self, wave: Any, todo: Any) -> list[Done]:
        cut = wave_of(self.job, wave, todo).compute(scheduler="threads", pool=self._workers)
        return [done for block in cut.ravel() for done in block]

    def look(self) -> None:
        """Threads do not go away."""

    def stop(self) -> None:
        """Waves that did not begin are cancelled one by one."""

    def close(self) -> None:
        """No more tasks come."""
        for pool in (self._waves, self._workers):
            _end(pool)


_JOIN_SECONDS = 0.2


def _end(pool: ThreadPoolExecutor) -> None:
    """End the threads of a pool: at once where they have nothing to do, else without waiting for what they do."""
    pool.shutdown(wait=False, cancel_futures=True)
    until = time.monotonic() + _JOIN_SECONDS
    for thread in list(pool._threads):  # noqa: SLF001 - the executor waits for all of them, or for none
        thread.join(max(0.0, until - time.monotonic()))


def local_crew(job: Job, read: str, inflight: int) -> Crew:
    """The threads of this process that fit how pixels are read."""
    ease(job.crowded)  # of what a larger run has left here
    return Threads(job, inflight) if read == "region" else DaskThreads(job, inflight)
