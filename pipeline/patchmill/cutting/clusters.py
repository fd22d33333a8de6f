"""A Dask cluster as a crew.

::

    this process                  scheduler             workers
    job, packed  --submit-->  one task, `unpacked`  --> the job, once in each process
    shards       --submit-->  `cut_batch`           --> done: keys and counts

The job is a task of its own, so it survives every worker: whoever lacks it gets it from a neighbor, or runs the task.
Each worker goes along a run of consecutive shards, which read the same source chunks (`lanes`). Where one dies, others
do its tasks; where one is late, the rest of its run. A task that is done twice, because a worker died after it, writes
the same bytes and is counted when its answer arrives, once.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, cast

from patchmill.cutting.clients import TRIMMING, Wanted, find_client
from patchmill.cutting.crews import Crew, Task, local_crew
from patchmill.cutting.graphs import wave_of
from patchmill.cutting.identity import this_place
from patchmill.cutting.job import Job
from patchmill.cutting.lanes import Lanes
from patchmill.cutting.tasks import Done
from patchmill.cutting.workers import (
    Sent,
    Ticket,
    busy,
    cut_batch,
    end,
    packed,
    share,
    stop,
    tasks_at_a_time,
    trimming,
    unpacked,
)
from patchmill.errors import PatchmillError
from patchmill.patches.notices import caller_level
from patchmill.planning import Key, Plan, Wave
from patchmill.types import shown_bytes

_LOOK = 3.0
"""Seconds between looks at the workers; asking the scheduler is a round trip."""

_PATIENCE = 300.0
"""Seconds without any worker before it is an error; Dask's configuration ``patchmill.worker-timeout`` comes first."""

_DRAIN = 3.0
"""Seconds that workers get, after those that `running` gave them, to end the shards they are at."""


def crew_for(job: Job, plan: Plan, cluster: Wanted, stack: ExitStack) -> Crew:
    """Who cuts `job`, until `stack` ends: a cluster where there is one, else the threads of this process."""
    client = find_client(cluster, stack)
    crew = local_crew(job, plan.work.read, plan.work.inflight) if client is None else Cluster(job, plan, client)
    stack.callback(crew.close)
    return crew


@dataclass(slots=True, eq=False)
class Cluster:
    """The workers of a Dask cluster; they may come and go.

    Parameters
    ----------
    job : Job
    plan : Plan
        Its memory and its tasks at a time are each worker process's.
    client : distributed.Client
    """

    job: Job
    plan: Plan
    client: Any
    inflight: int = field(init=False, default=1)
    _sent: Any = field(init=False)
    _ticket: Ticket = field(init=False)
    _lanes: Lanes = field(init=False)
    _at_a_time: dict[str, int] = field(init=False, default_factory=dict)
    _busy: Counter[str] = field(init=False, default_factory=Counter)
    _counting: threading.Lock = field(init=False, default_factory=threading.Lock)
    _under_way: dict[Any, Any] = field(init=False, default_factory=dict)
    _numbers: Iterator[int] = field(init=False, default_factory=count)
    _looked: float = field(init=False, default=0.0)
    _seen: float = field(init=False, default_factory=time.monotonic)
    _checked: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self._refuse_memory()
        self._lanes = Lanes(len(self.job.shards))
        self._ticket = Ticket(uuid.uuid4().hex, self.plan.work.inflight)
        self.look()  # workers learn their share of the machine before they open anything
        if self.plan.work.read == "overlap":
            self._sent = Sent.of(_without_pixels(self.job), self._ticket)
        else:
            self._sent = self._put(self._name("job"), unpacked, packed(self.job))

    def _refuse_memory(self) -> None:
        for place in (self.job.journal.work, *(getattr(target, "location", None) for target in self.job.targets)):
            if place is not None and place.in_process:
                raise PatchmillError(
                    f"{place.url.partition('.patchmill')[0]} lies in the memory of this process, which the workers at "
                    f"{self._address} do not reach: choose a target that they reach, or cluster=False for threads"
                )

    @property
    def _address(self) -> str:
        return str(self.client.scheduler.address)

    def _name(self, what: str) -> str:
        return f"patchmill-{what}-{self._ticket.token}-{next(self._numbers)}"

    def _put(self, name: str, function: Callable[..., Any], *arguments: Any, **where: Any) -> Any:
        """Submit."""
        with _quiet():
            return self.client.submit(function, *arguments, key=name, pure=False, **where)

    # -- tasks ---------------------------------------------------------------------------------------------------------

    def begin(self, tasks: Iterator[Task]) -> Future[list[Done]] | None:
        """Begin shards, as one task of the worker that has least to do; or a wave."""
        return self._begin_wave(tasks) if self.plan.work.read == "overlap" else self._begin_shards(tasks)

    def _begin_wave(self, tasks: Iterator[Task]) -> Future[list[Done]] | None:
        task = cast(tuple[Wave, frozenset[Key]] | None, next(tasks, None))
        if task is None:
            return None
        with _quiet():
            computing = self.client.compute(wave_of(self.job, *task, self._sent))
        return self._bridged(computing, lambda cut: [done for block in cut.ravel() for done in block])

    def _begin_shards(self, tasks: Iterator[Task]) -> Future[list[Done]] | None:
        worker = min(self._at_a_time, key=lambda each: self._busy[each] / self._at_a_time[each], default="")
        keys = self._lanes.take(worker, cast(Iterator[Key], tasks), self._at_a_time)
        if not keys:
            return None
        where = {"workers": [worker], "allow_other_workers": True} if worker else {}
        self._count(worker, 1)
        begun = self._bridged(self._put(self._name("cut"), cut_batch, self._sent, self._ticket, keys, **where), list)
        begun.add_done_callback(lambda _: self._count(worker, -1))
        return begun

    def _count(self, worker: str, change: int) -> None:
        """Tasks that a worker has; they end in another thread than they begin in."""
        with self._counting:
            self._busy[worker] += change

    def _bridged(self, computing: Any, read: Callable[[Any], list[Done]]) -> Future[list[Done]]:
        """A task of the cluster as a future that `running` waits for; begun ones are never cancelled but stopped."""
        future: Future[list[Done]] = Future()
        future.set_running_or_notify_cancel()
        self._under_way[future] = computing

        def end(ended: Any) -> None:
            try:
                found, error = read(self._answer(ended)), None
            except BaseException as raised:  # noqa: BLE001 - handed to whoever waits
                found, error = [], raised
            self._under_way.pop(future, None)
            ended.release()  # whoever keeps the error keeps its frames, and with them this
            if error is None:
                future.set_result(found)
            else:
                future.set_exception(error)

        computing.add_done_callback(end)
        return future

    def _answer(self, ended: Any) -> Any:
        """What a task returned; what it raised, as itself."""
        if ended.status == "error":
            error = ended.exception()
            raise _died(self._address) if type(error).__name__ == "KilledWorker" else error
        try:
            return ended.result()
        except Exception as error:
            raise PatchmillError(
                f"the cluster at {self._address} gave up what it was cutting ({type(error).__name__}): "
                "see whether its scheduler lives, then call again to go on from here"
            ) from error

    # -- workers -------------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """See who is there, every few seconds.

        Raises
        ------
        PatchmillError
            If nobody has been for long, or a worker may hold less memory than the plan takes.
        """
        now = time.monotonic()
        if now - self._looked < _LOOK:
            return
        self._looked = now
        try:
            threads = self.client.nthreads()
        except Exception as error:
            raise PatchmillError(
                f"the scheduler at {self._address} does not answer ({error}): "
                "start it, then call again to go on from here"
            ) from error
        if threads:
            self._seen = now
            come = [each for each in threads if each not in self._at_a_time]
            self._tell_share(come)
            self._expect({each: tasks_at_a_time(self._ticket, n) for each, n in threads.items()})
            self._check_memory(come)
            self._check_trimming(next(iter(threads)))
        elif now - self._seen > _patience():
            raise PatchmillError(
                f"no worker of the cluster at {self._address} has been there for {now - self._seen:.0f} s: "
                "start some, or set patchmill.worker-timeout in Dask's configuration to wait longer, then call again "
                "to go on from here"
            )

    def _tell_share(self, workers: list[str]) -> None:
        """Tell workers that have come how much of their machine is theirs."""
        if workers:
            self.client.run(share, os.getpid(), this_place(), workers=workers, on_error="ignore")

    def _expect(self, at_a_time: dict[str, int]) -> None:
        """Tasks to keep under way: those that workers work on at a time, and one more each that waits behind them."""
        self._at_a_time, work = at_a_time, self.plan.work
        wanted = sum(at_a_time.values()) + len(at_a_time)
        self.inflight = 1 + -(-wanted // (work.rows * work.band)) if work.read == "overlap" else wanted

    def _check_memory(self, workers: list[str]) -> None:
        """Whether workers that have come may hold what the plan takes."""
        known = self.client.scheduler_info(n_workers=-1)["workers"] if workers else {}
        limits = [known[each]["memory_limit"] for each in workers if known.get(each, {}).get("memory_limit")]
        if limits and min(limits) < self.plan.memory:
            raise PatchmillError(
                f"cutting takes {shown_bytes(self.plan.memory)} of each worker process, and one may hold "
                f"{shown_bytes(min(limits))}: pass a memory= below that, or give workers more"
            )

    def _check_trimming(self, address: str) -> None:
        """Once: whether workers give memory back all the time."""
        if self._checked:
            return
        self._checked = True
        threshold = self.client.run(trimming, workers=[address], on_error="ignore").get(address)
        if isinstance(threshold, int) and threshold < 2**20:
            _warn_of_trimming(threshold)

    # -- the end -------------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Tell all workers to do no more: tasks end with the shard they are at, and say which are done."""
        with suppress(Exception):  # whoever is gone does no more anyway
            self.client.run(stop, self._ticket.token, on_error="ignore")

    def close(self) -> None:
        """No more tasks come; those that are left are taken back, and none works any more."""
        left = list(self._under_way.values())
        if left:
            self.stop()
            with suppress(Exception):
                self.client.cancel(left)
                self._drain()
            for each in left:
                each.release()
        self._end()
        if not isinstance(self._sent, Sent):
            with suppress(Exception):  # a client that was closed in the meantime has released it
                self._sent.release()

    def _end(self) -> None:
        """Let the workers end the threads of this run; where nobody answers they have ended with their processes."""
        if self.client.status == "running":
            with suppress(Exception):
                self.client.run(end, self._ticket.token, on_error="ignore")

    def _drain(self) -> None:
        until = time.monotonic() + _DRAIN
        while time.monotonic() < until:
            answers = self.client.run(busy, self._ticket.token, on_error="ignore")
            if not any(n for n in answers.values() if isinstance(n, int)):
                return
            time.sleep(0.1)


def _quiet() -> Any:
    """Inside, nobody warns of large graphs: an array in memory travels once."""
    from dask import config

    return config.set({"distributed.admin.large-graph-warning-threshold": "1 TiB"})


def _without_pixels(job: Job) -> Job:
    """For tasks that get their pixels from Dask: without a source in memory, which would travel with each of them."""
    source = job.source
    if source.recipe is not None:
        return job
    variables = tuple(replace(each, read=cast(Any, None), lazy=None) for each in source.variables)
    return replace(job, source=replace(source, variables=variables))


def _patience() -> float:
    from dask import config
    from dask.utils import parse_timedelta

    return float(parse_timedelta(config.get("patchmill.worker-timeout", _PATIENCE), "s"))


def _died(address: str) -> PatchmillError:
    return PatchmillError(
        f"several workers at {address} died, one after the other, while they cut the same shards: "
        "give them more memory, or pass a smaller memory=, then call again to go on from here"
    )


def _warn_of_trimming(threshold: int) -> None:
    from dask.array import PerformanceWarning

    warnings.warn(
        f"workers run with MALLOC_TRIM_THRESHOLD_={threshold}, which can halve their speed: set {TRIMMING} to null in "
        "Dask's configuration before they start",
        PerformanceWarning,
        stacklevel=caller_level(),
    )
