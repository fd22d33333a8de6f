"""What happens inside the processes of a cluster: one run's tasks, so many at a time, until the run is stopped."""

from __future__ import annotations

import os
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from patchmill.cutting.identity import this_place
from patchmill.cutting.job import Job
from patchmill.cutting.tasks import Done, cut_shards
from patchmill.planning import Key
from patchmill.storage.objects import THREADS

_KNOWN = 64
"""Runs that a process remembers. More only while they are busy, or where nobody told it that they ended."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """What every task of a run is told.

    Parameters
    ----------
    token : str
        Names the run.
    at_a_time : int
        Tasks of the run that may work in one process at a time, however many threads it has: the plan's memory is for
        so many.
    """

    token: str
    at_a_time: int

    @property
    def stopped(self) -> bool:
        """Whether this process was told to do no more for the run."""
        return self.token in _STOPPED

    def run(self, work: Callable[[], Iterator[Done]]) -> list[Done]:
        """Do `work`, shard by shard, as soon as fewer than `at_a_time` others are at it; none of a run that is stopped.

        Not in the thread that calls, but in one of as many as may work: glibc keeps what each thread freed, so eight
        threads that take turns hold eight times what one does.
        """
        if self.stopped:
            return []
        with _counted_in(self) as pool:
            return pool.submit(_until_stopped, self, work).result()


def _until_stopped(ticket: Ticket, work: Callable[[], Iterator[Done]]) -> list[Done]:
    done: list[Done] = []
    shards = work()
    while not ticket.stopped and (each := next(shards, None)) is not None:
        done.append(each)
    return done


@dataclass(frozen=True, slots=True)
class Sent:
    """A job on its way to other processes, small, which each of them unpacks once.

    The scheduler unpacks every graph that it is given; a job in it would open the source there.
    """

    data: bytes
    ticket: Ticket

    @classmethod
    def of(cls, job: Job, ticket: Ticket) -> Sent:
        """Packed; the extents of many images of one size take no room."""
        return cls(zlib.compress(packed(job), 1), ticket)

    def job(self) -> Job:
        """The job."""
        return _unpacked(self.data)


def packed(job: Job) -> bytes:
    """A job as bytes; functions of a notebook included."""
    import cloudpickle

    data: bytes = cloudpickle.dumps(job)
    return data


def unpacked(data: bytes) -> Job:
    """The reverse, in the process that got it."""
    import cloudpickle

    job: Job = cloudpickle.loads(data)
    return job


@lru_cache(maxsize=4)
def _unpacked(data: bytes) -> Job:
    return unpacked(zlib.decompress(data))


def tasks_at_a_time(ticket: Ticket, threads: int) -> int:
    """Tasks that a worker with so many threads works on at a time."""
    return min(threads + 1, ticket.at_a_time)


def cut_batch(job: Job, ticket: Ticket, keys: Sequence[Key]) -> list[Done]:
    """Cut shards one after the other; of a run that is stopped only those that were begun.

    The worker's thread is given back meanwhile, so that one task more than it has threads can be under way: its CPUs
    are kept busy while shards go to the disk.
    """
    from distributed import get_worker, secede

    secede()
    mine = replace(ticket, at_a_time=tasks_at_a_time(ticket, get_worker().state.nthreads))
    return mine.run(lambda: (done for key in keys for done in cut_shards(job, [key])))


# -- this process ------------------------------------------------------------------------------------------------------

_LOCK = threading.Lock()
_POOLS: dict[str, ThreadPoolExecutor] = {}
_STOPPED: dict[str, None] = {}
_BUSY: Counter[str] = Counter()


@contextmanager
def _counted_in(ticket: Ticket) -> Iterator[ThreadPoolExecutor]:
    """The threads of a run, which nobody ends meanwhile."""
    with _LOCK:
        if ticket.token not in _POOLS:
            _end_idle()
            _POOLS[ticket.token] = ThreadPoolExecutor(ticket.at_a_time, thread_name_prefix="patchmill")
        pool = _POOLS[ticket.token]
        _BUSY[ticket.token] += 1
    try:
        yield pool
    finally:
        with _LOCK:
            _BUSY[ticket.token] -= 1
            if not _BUSY[ticket.token]:
                del _BUSY[ticket.token]


def _end_idle() -> None:
    """Make room for one more pool: the oldest ones that nobody uses, whose clients are gone, or between two tasks."""
    idle = [token for token in _POOLS if not _BUSY[token]]
    for token in idle[: max(0, len(_POOLS) - _KNOWN + 1)]:
        _POOLS.pop(token).shutdown(wait=False)


def stop(token: str) -> None:
    """Do no more for a run: tasks under way end with the shard they are at."""
    with _LOCK:
        while len(_STOPPED) >= _KNOWN:
            _STOPPED.pop(next(iter(_STOPPED)))
        _STOPPED[token] = None


def end(token: str) -> None:
    """A run is over: its threads go, once they have done what they are at."""
    stop(token)
    with _LOCK:
        pool = _POOLS.pop(token, None)
    if pool is not None:
        pool.shutdown(wait=False)  # what still waits begins, and sees that the run is stopped


def busy(token: str) -> int:
    """Tasks of a run that work in this process, or wait for their turn."""
    with _LOCK:
        return _BUSY[token]


def share(pid: int, place: str, dask_worker: Any) -> None:
    """Pack and unpack with as many threads as this worker has: its share of the machine.

    Parameters
    ----------
    pid, place : int, str
        Of the process that asks, which goes on as it is where the worker lives in it.
    dask_worker : distributed.Worker
        This one; Dask fills it in.
    """
    if (pid, place) != (os.getpid(), this_place()):
        os.environ.setdefault(THREADS, str(dask_worker.state.nthreads))


def trimming() -> int | None:
    """glibc's threshold for giving freed memory back, in bytes, as the environment of this process sets it."""
    text = os.environ.get("MALLOC_TRIM_THRESHOLD_", "")
    return int(text) if text.isdigit() else None
