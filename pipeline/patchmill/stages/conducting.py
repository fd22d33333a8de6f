"""Runs stages as soon as all that they need is done, several at a time; all from one thread, where signals arrive.

::

    skipped <-- (nothing has changed)
       |
    waiting --> running --> done
       ^           |
       |           +------> failed, killed: nothing new begins, what runs is let end, the rest is "not run"
       +-- later --+        (if it may be tried again)
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace

from patchmill.errors import EXIT_FAILED, EXIT_HELD, HeldError, PatchmillError
from patchmill.show.progress import shown_seconds
from patchmill.stages import attempts
from patchmill.stages.deciding import Decision, before, decide, left_by, unwritten
from patchmill.stages.graph import width
from patchmill.stages.holding import hold
from patchmill.stages.ledger import Ledger
from patchmill.stages.measuring import file_digest
from patchmill.stages.memos import Memos, Work
from patchmill.stages.owning import foreign
from patchmill.stages.pipelines import Pipeline, Stage
from patchmill.stages.processes import Child, Signals, end_all
from patchmill.stages.records import (
    EXIT_LATE,
    Failure,
    StageRecord,
    State,
    now,
    written_to,
)
from patchmill.stages.reporting import write_notebook_html
from patchmill.types import as_bytes

_POLL_SECONDS = 0.05

_LOOK_SECONDS = 1.0
"""Between two looks at the memory of what runs."""

_CHECK_SECONDS = 3.0
"""Between two looks at whether the config is still ours to run."""

_STAGE, _ANEW = "DASK_PATCHMILL__STAGE", "DASK_PATCHMILL__ANEW"
"""Tell the library, by Dask's configuration, for which stage it works: `patchmill.storage.makers`."""

_PAUSE_SECONDS = 10.0
"""Before a stage is tried for the second time; before the third time twice as long, and so on."""

_LONGEST_PAUSE = 600.0

_FRESH_SECONDS = 0.5
"""A stage that begins so soon after it was looked at is not looked at again; its kernel takes longer to start."""

_MEMORY = "DASK_PATCHMILL__MEMORY"
"""By Dask's configuration it reaches whatever a notebook calls."""


@dataclass(slots=True)
class _Attempt:
    """A stage that runs."""

    stage: Stage
    child: Child
    work: Work
    began: float
    """By the monotonic clock, as `looked`."""
    looked: float
    leases: ExitStack = field(default_factory=ExitStack)
    """Of what it writes."""


@dataclass(frozen=True, slots=True)
class _Look:
    """What a look at a stage told."""

    decision: Decision
    sha256: str
    """Of its notebook."""
    ended: float
    """When the look did, by the monotonic clock."""


class _LateError(Exception):
    """The run has taken too long before a stage could begin."""


class Conductor:
    """Begins stages, looks after them, and notes how they end.

    Parameters
    ----------
    ledger : Ledger
    pipeline : Pipeline
        Of the ledger's run; of several of its stages that can begin, the first does.
    memos : Memos
        What is known of earlier runs; what the stages do is noted there.
    jobs : int
        So many run at a time, at most.
    forced : collection of str
        Stages that run though nothing has changed.
    environment : callable
        Returns that of each stage's process; called when one begins, with what it is to call while it waits for more.
    signals : Signals
    check : callable
        Called every few seconds; raises `LeaseLostError` where the config is no longer ours to run.
    """

    def __init__(
        self,
        ledger: Ledger,
        pipeline: Pipeline,
        memos: Memos,
        jobs: int,
        forced: Collection[str],
        environment: Callable[[Callable[[], None]], Mapping[str, str]],
        signals: Signals,
        check: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._pipeline = pipeline
        self._memos = memos
        self._jobs = jobs
        self._forced = forced
        self._looks: dict[str, _Look] = {}
        """The last one at each stage that can begin, or has begun."""
        self._began = time.monotonic()
        self._environment = environment
        self._signals = signals
        self._check = check
        self._checked = self._began
        self._active: dict[str, _Attempt] = {}
        self._again: dict[str, tuple[float, StageRecord, int]] = {}
        """When a stage is tried again, how it ended the last time, and the exit code for that."""
        self._undrawn: list[StageRecord] = []
        """Those that have ended, and are not yet to be seen as HTML, which takes a second: others begin before it."""

    def conduct(self) -> None:
        """Run the stages, to the end or to the first that fails. On an interruption, all processes are gone."""
        try:
            while self._is_going():
                self._stay()  # first: after a long sleep nothing is begun, or called done, that is somebody else's
                self._skip()
                while len(self._active) < self._jobs and (ready := self._ready()):
                    self._begin(ready[0])
                    self._skip()
                self._draw()
                for attempt in list(self._active.values()):
                    self._look_after(attempt)
                self._keep_to_limit()
                self._ledger.beat()
                if self._is_going():
                    time.sleep(_POLL_SECONDS)
        except BaseException:
            with ExitStack() as leases:
                for attempt in self._active.values():
                    leases.enter_context(attempt.leases)
                end_all(attempt.child for attempt in self._active.values())
            with suppress(PatchmillError):  # the first reason is the one to tell
                self._ledger.put(*map(self._measured, self._active.values()))
            raise
        finally:
            self._draw()
            for _, ended, code in self._again.values():
                self._ledger.put(ended, exit_code=self._ledger.record.exit_code or code)

    def _stay(self) -> None:
        """Look, if it is time to, whether the config is still ours to run; raises where it is not."""
        if time.monotonic() - self._checked >= _CHECK_SECONDS:
            self._check()
            self._checked = time.monotonic()

    def _is_going(self) -> bool:
        waits = any(stage.state == "waiting" for stage in self._ledger.record.stages)
        return bool(self._active) or (waits and self._ledger.record.failed is None)

    def _ready(self) -> list[Stage]:
        if self._ledger.record.failed is not None or self._is_late():
            return []
        states = {stage.name: stage.state for stage in self._ledger.record.stages}
        return [
            stage
            for stage in self._pipeline.stages
            if states[stage.name] == "waiting"
            and all(states[need] in {"done", "skipped"} for need in stage.needs)
            and (stage.name not in self._again or self._again[stage.name][0] <= time.monotonic())
        ]

    def _skip(self) -> None:
        """Skip the stages that could begin and need not, and those that can then begin and need not."""
        while spared := self._spared():
            for name in spared:
                self._spare(name)

    def _spared(self) -> list[str]:
        ready = self._ready()
        seen = all(stage.name in self._looks or self._look_at(stage) for stage in ready)
        return [stage.name for stage in ready if seen and not self._looks[stage.name].decision.runs]

    def _spare(self, name: str) -> None:
        look = self._looks[name]
        skipped = replace(self._ledger.stage(name), state="skipped", why=look.decision.why, sha256=look.sha256)
        self._memos.give(skipped)
        if not os.path.isfile(skipped.html):
            self._undrawn.append(skipped)
        self._ledger.note(skipped)

    def _look_at(self, stage: Stage) -> bool:
        """Whether it could be told if a stage runs; else, as where its notebook was removed meanwhile, it failed."""
        try:
            decision = decide(stage, self._memos, forced=stage.name in self._forced)
            self._looks[stage.name] = _Look(decision, file_digest(stage.notebook), time.monotonic())
        except (OSError, ValueError) as error:
            failure = Failure(f"{stage.notebook}, or what it reads, can't be looked at any more: {error}")
            failed = replace(self._ledger.stage(stage.name), state="failed", failure=failure)
            self._ledger.note(failed, exit_code=EXIT_FAILED)
            return False
        return True

    def _begin(self, stage: Stage) -> None:
        """Begin a stage, unless another run writes to its outputs, or something has come to one of them meanwhile."""
        with ExitStack() as leases:
            refusal = self._hold(stage, leases)
            if refusal is not None:
                self._refuse(stage, *refusal)
                return
            try:
                environment = dict(self._environment(self._refuse_late))
            except _LateError:  # it goes on waiting, and the run ends with its limit
                return
            if self._still_runs(stage):
                self._start(stage, environment)
                self._active[stage.name].leases = leases.pop_all()

    def _still_runs(self, stage: Stage) -> bool:
        """Whether a stage runs as things are now: what it works on may be another since it could begin."""
        self._again.pop(stage.name, None)
        if time.monotonic() - self._looks[stage.name].ended > _FRESH_SECONDS and not self._look_at(stage):
            return False
        runs = self._looks[stage.name].decision.runs
        if not runs:
            self._spare(stage.name)
        return runs

    def _hold(self, stage: Stage, leases: ExitStack) -> tuple[Failure, int] | None:
        """Take the leases of what a stage writes; else why not, and the exit code that this gives the run."""
        try:
            leases.enter_context(
                hold([path for _, path in stage.local_outputs], self._pipeline.root, self._ledger.beat)
            )
        except PatchmillError as error:
            code = EXIT_HELD if isinstance(error, HeldError) else EXIT_FAILED
            return Failure(str(error), type(error).__name__), code
        pipeline, forced = self._pipeline, stage.name in self._forced
        strange = foreign(stage, pipeline.name, self._memos[stage.name], pipeline.runs, forced=forced)
        return (Failure("; ".join(strange)), EXIT_FAILED) if strange else None

    def _refuse(self, stage: Stage, failure: Failure, code: int) -> None:
        """Let a stage fail that is not begun; who was only held up may be tried again."""
        record = self._ledger.stage(stage.name)
        tried = replace(record, state="failed", failure=failure, attempt=record.attempt + 1)
        self._again.pop(stage.name, None)
        if code == EXIT_HELD and self._may_try_again(tried, stage.retries):
            self._try_again(tried, failure, code)
        else:
            self._ledger.put(tried, exit_code=self._ledger.record.exit_code or code)
        self._ledger.note()

    def _start(self, stage: Stage, environment: Mapping[str, str]) -> None:
        record, look = self._ledger.stage(stage.name), self._looks[stage.name]
        decision = look.decision
        begun = replace(
            record,
            state="running",
            why=record.why or decision.why,  # of another attempt the reason for the first
            sha256=look.sha256,
            seconds=None,
            began=now(),
            ended="",
            attempt=record.attempt + 1,
        )
        run = os.path.basename(self._ledger.record.folder)
        task = decision.task(run)
        work = Work(run, decision.basis, task, decision.anew, before(stage, self._memos[stage.name], task))
        told = {_STAGE: f"{self._pipeline.name}/{stage.name}@{work.task}", _ANEW: str(work.anew)}
        # A process that nobody knows of would be left behind.
        with self._signals.held():
            self._memos.begin(stage.name, work)
            self._ledger.put(replace(begun, memory=_memory_of(environment)))
            child = attempts.begin(begun, self._ledger.record.folder, {**environment, **told})
            began = time.monotonic()
            self._active[stage.name] = _Attempt(stage, child, work, began, began)
        self._ledger.note()

    def _look_after(self, attempt: _Attempt) -> None:
        status = attempt.child.poll()
        moment = time.monotonic()
        limit = attempt.stage.limit
        if status is not None:
            attempt.child.sweep()
            record, folder = self._ledger.stage(attempt.stage.name), self._ledger.record.folder
            missing = unwritten(attempt.stage, attempt.work.outputs)
            self._end(attempt, *attempts.judged(record, folder, status, missing=missing))
        elif limit is not None and moment - attempt.began > limit:
            self._end_late(attempt, limit)
        elif moment - attempt.looked >= _LOOK_SECONDS:
            attempt.child.look()
            attempt.looked = moment

    def _end_late(self, attempt: _Attempt, limit: float) -> None:
        end_all([attempt.child])
        self._fail(
            attempt, f"it took longer than its limit of {shown_seconds(limit)}; `limit` in the config sets another"
        )

    def _fail(self, attempt: _Attempt, sentence: str) -> None:
        failure = attempts.stopped(self._ledger.stage(attempt.stage.name), self._ledger.record.folder, sentence)
        self._end(attempt, "failed", failure, EXIT_LATE)

    def _is_late(self) -> bool:
        limit = self._pipeline.limit
        return limit is not None and time.monotonic() - self._began > limit

    def _refuse_late(self) -> None:
        if self._is_late():
            raise _LateError

    def _keep_to_limit(self) -> None:
        """End everything, if the whole run has taken too long; nothing is tried again."""
        if not self._is_late():
            return
        sentence = f"the run took longer than its limit of {shown_seconds(self._pipeline.limit or 0)}"
        end_all(attempt.child for attempt in self._active.values())
        for attempt in list(self._active.values()):
            self._fail(attempt, f"{sentence}; `limit` at the top of the config sets another")
        waiting = [stage for stage in self._ledger.record.stages if stage.state == "waiting"]
        if waiting and self._ledger.record.failed is None:
            self._ledger.put(self._out_of_time(waiting[0], sentence), exit_code=EXIT_LATE)

    def _out_of_time(self, stage: StageRecord, sentence: str) -> StageRecord:
        """A stage for which the run has no time left: one that waited for another attempt ends as its last one did."""
        _, ended, _ = self._again.pop(stage.name, (0.0, stage, 0))
        if ended.failure is None:
            return replace(stage, state="failed", failure=Failure(f"{sentence} before this stage could run"))
        told = f"{ended.failure.sentence}; {sentence} before it could be tried again"
        return replace(ended, failure=replace(ended.failure, sentence=told))

    def _end(self, attempt: _Attempt, state: State, failure: Failure | None, code: int) -> None:
        ended = replace(self._measured(attempt), state=state, failure=failure)
        if state == "done":
            self._memos.keep(ended)  # before anybody can skip it; its HTML follows
            self._memos.end(attempt.stage.name, replace(attempt.work, outputs=left_by(attempt.stage)))
        attempt.leases.close()  # not before: what somebody else wrote there is not what it left
        with self._signals.held():
            del self._active[attempt.stage.name]
            if failure is not None and self._may_try_again(ended, attempt.stage.retries):
                self._try_again(ended, failure, code)
            else:
                self._ledger.put(ended, exit_code=self._ledger.record.exit_code or code)
        self._undrawn.append(ended)
        self._ledger.note()

    def _measured(self, attempt: _Attempt) -> StageRecord:
        """The stage of an attempt that has just ended, with what that took."""
        return replace(
            self._ledger.stage(attempt.stage.name),
            ended=now(),
            seconds=round(time.monotonic() - attempt.began, 2),
            cpu_seconds=attempt.child.cpu_seconds,
            peak_bytes=attempt.child.peak_bytes or None,
        )

    def _may_try_again(self, ended: StageRecord, retries: int) -> bool:
        return ended.attempt <= retries and self._ledger.record.failed is None and not self._is_late()

    def _draw(self) -> None:
        while self._undrawn:
            ended = self._undrawn.pop()
            write_notebook_html(ended)
            if ended.state in {"done", "skipped"}:
                self._memos.keep(ended)

    def _try_again(self, ended: StageRecord, failure: Failure, code: int) -> None:
        pause = min(_PAUSE_SECONDS * 2 ** (ended.attempt - 1), _LONGEST_PAUSE)
        self._again[ended.name] = (time.monotonic() + pause, ended, code)
        told = f"attempt {ended.attempt} {ended.state} {failure.at}: {failure}"
        with written_to(self._ledger.record.folder), open(ended.log, "a", encoding="utf-8") as log:
            log.write(f"{told}; it is tried again in {shown_seconds(pause)}\n")
        self._ledger.put(replace(ended, state="waiting", failure=None))


def environment_of(pipeline: Pipeline, jobs: int) -> dict[str, str]:
    """The environment of each stage's process: its share of memory and workers, if several can run at a time.

    Dask's configuration carries the limits into the notebook, whatever it calls.
    """
    memory, workers = pipeline.memory, pipeline.workers
    at_once = min(jobs, width({stage.name: stage.needs for stage in pipeline.stages}))
    if at_once > 1:
        from patchmill.planning.memory import memory_limit, worker_count

        memory = memory_limit(memory) // at_once
        workers = max(1, worker_count(workers) // at_once)
    limits = {_MEMORY: memory, "DASK_PATCHMILL__WORKERS": workers}
    return os.environ | {name: str(value) for name, value in limits.items() if value is not None}


def _memory_of(environment: Mapping[str, str]) -> int | None:
    """Bytes that a stage with this environment may hold in each process that works; None where it does not tell."""
    with suppress(ValueError):  # the notebook will say so
        return as_bytes(environment[_MEMORY], _MEMORY) if _MEMORY in environment else None
    return None
