"""`patchmill.run`: a config's notebooks, each in a process of its own, as they depend on each other; and the report."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING

from patchmill.errors import (
    EXIT_FAILED,
    EXIT_HELD,
    ConfigError,
    HeldError,
    Interrupted,
    LeaseLostError,
    PatchmillError,
    StageError,
    TargetExistsError,
)
from patchmill.stages import attempts
from patchmill.stages.clusters import SharedCluster
from patchmill.stages.ledger import Ledger, Watch
from patchmill.stages.manifest import Provenance, provenance, write_manifest
from patchmill.stages.memos import Memos
from patchmill.stages.needed import require_libraries
from patchmill.stages.owning import checked_pipeline
from patchmill.stages.places import is_local
from patchmill.stages.processes import signals_raise, signals_wait
from patchmill.stages.records import (
    Failure,
    Run,
    StageRecord,
    State,
    new_folder,
    now,
    point_to,
    this_runner,
    whole_or_none,
    write_status,
    write_whole,
)
from patchmill.stages.refusals import note, note_refusal
from patchmill.stages.reporting import write_notebook_html, write_reports
from patchmill.stages.selecting import Names, selection
from patchmill.stages.sockets import remove_left
from patchmill.types import as_int, shown_bytes

if TYPE_CHECKING:
    from patchmill.stages.pipelines import Pipeline, Stage


def run(
    config: str | os.PathLike[str],
    overrides: Sequence[str] = (),
    *,
    jobs: int = 1,
    from_stages: Names = (),
    until_stages: Names = (),
    only_stages: Names = (),
    force: bool | Names = False,
    check: bool = True,
    watch: Watch | None = None,
) -> Run:
    """Run a config: each stage as soon as all that it refers to is done, until one fails. Leaves a record and a report.

    A stage is skipped whose code, parameters, inputs and version of patchmill are what they were when it was last done,
    and whose outputs are as it left them. One that runs replaces what it wrote itself, or adds to it where its inputs
    have only grown; what anybody else wrote is left alone, and nothing runs then.

    When a stage fails, those that run are let end, and no other is begun.

    Parameters
    ----------
    config : path
        A YAML file; it is checked, with the notebooks and inputs it names, before anything runs or is written.
    overrides : sequence of str
        ``"STAGE.PARAM=value"`` or ``"root=value"``; values are YAML.
    jobs : int
        So many stages run at a time, at most; one after the other where not given. Those that can run at a time share
        ``compute.memory`` and ``compute.workers``.
    from_stages, until_stages, only_stages : str or sequence of str
        Which stages run: these and all that depend on them; these and all that they depend on; these alone. What they
        read of stages that are left out must be there.
    force : bool, str or sequence of str
        Stages that run even if nothing has changed; True for all.
    check : bool
        Whether a stage that fails raises; without, the record says so.
    watch : callable, optional
        Called with the `Run` as it stands, whenever a stage begins or ends.

    Returns
    -------
    Run
        How it went, where the record and the report are.

    Raises
    ------
    ConfigError
        If the config can't be run; the text has a sentence for each problem.
    StageError
        If a stage failed, unless `check` is false; the text names stage, cell and executed notebook.
    TargetExistsError
        If a stage would write where something is that it did not write.
    HeldError
        If this config is being run already, or another machine took it over while this process was silent; the text
        says by whom.
    KeyboardInterrupt
        If the run was interrupted, unless `check` is false; no process is left.

    Examples
    --------
    >>> record = patchmill.run("configs/demo.yaml", ["patchify.step=64"])  # doctest: +SKIP
    >>> record.report  # doctest: +SKIP
    '/project/runs/demo/report.html'
    """
    require_libraries()
    jobs = as_int(jobs, "jobs", least=1, unit="")
    chosen = selection(from_stages, until_stages, only_stages, force=force)
    try:
        pipeline, forced = checked_pipeline(os.fspath(config), overrides, chosen)
    except (ConfigError, TargetExistsError) as error:
        note_refusal(os.fspath(config), overrides, str(error))
        raise
    record = _execute(pipeline, jobs, forced, watch or (lambda _: None))
    if check and record.state == "interrupted":
        raise KeyboardInterrupt
    if check and record.failed is not None:
        raise StageError(failure_text(record.failed))
    return record


def failure_text(stage: StageRecord) -> str:
    """What failed, in which cell, why, and what to open."""
    failure = stage.failure
    if failure is None:
        return ""
    seen = next((f"\nopen {path}" for path in (stage.executed, stage.log) if os.path.isfile(path)), "")
    tries = f" (attempt {stage.attempt})" if stage.attempt > 1 else ""
    return f"stage {stage.name} {stage.state}{tries} {failure.at}\n{failure}{_memory_of(stage)}{seen}"


def _memory_of(stage: StageRecord) -> str:
    """Of what was killed, how much memory it had."""
    if stage.state != "killed" or not stage.peak_bytes:
        return ""
    allowed = "" if stage.memory is None else f", {shown_bytes(stage.memory)} allowed"
    return f"; its processes held {shown_bytes(stage.peak_bytes)} at the most{allowed}"


def _execute(pipeline: Pipeline, jobs: int, forced: Collection[str], watch: Watch) -> Run:
    from patchmill.stages.conducting import Conductor, environment_of

    with _held(pipeline) as check:
        remove_left()
        # Not those that were looked at before: another run may have ended meanwhile.
        memos = Memos(pipeline.runs, pipeline.name)
        with_what = provenance(pipeline, jobs)
        with _told_if_unrecorded(pipeline):
            ledger = Ledger(_begin(pipeline), watch)
        environment = cache(partial(environment_of, pipeline, jobs))
        cluster = SharedCluster(pipeline.cluster, ledger.record.folder, environment, ledger.beat)
        try:
            with signals_raise() as signals, closing(cluster):
                ledger.note()
                Conductor(ledger, pipeline, memos, jobs, forced, cluster.environment, signals, check).conduct()
        except KeyboardInterrupt as error:
            number = error.signal if isinstance(error, Interrupted) else signal.SIGINT
            _note_stop(ledger, f"interrupted by {signal.Signals(number).name}", 128 + number)
        except BaseException as error:
            # Not a stage's fault, and the record shall not say for ever that it runs.
            with suppress(OSError, PatchmillError):  # the first reason is the one to tell
                code = EXIT_HELD if isinstance(error, HeldError) else EXIT_FAILED
                _note_stop(ledger, f"the runner stopped: {_told(error)}", code)
                _conclude(ledger, with_what)
            raise
        _conclude(ledger, with_what)
        watch(ledger.record)
        return ledger.record


@contextmanager
def _held(pipeline: Pipeline) -> Iterator[Callable[[], None]]:
    """Inside, nobody else runs this config: two runs would replace each other's data.

    What is given raises `LeaseLostError` where that is no longer so.
    """
    from patchmill.cutting.holders import holders
    from patchmill.cutting.lease import take
    from patchmill.storage.locations import Location

    with _told_if_unrecorded(pipeline):
        os.makedirs(pipeline.runs, exist_ok=True)
        work = Location.local(os.path.join(pipeline.runs, pipeline.name)).workshop
        try:
            lease = take(work, patient=True)
        except HeldError as error:
            who = ", ".join(str(holder) for holder in holders(work)) or "somebody else"
            raise HeldError(
                f"{pipeline.path} is being run by {who}: wait until that has ended, or end it there, then call again"
            ) from error

    def check() -> None:
        if not os.path.isdir(pipeline.runs):
            return  # nobody took over: what is missing is told by whoever writes the record next
        try:
            lease.check()
        except LeaseLostError as error:
            raise LeaseLostError(str(error).replace(work.url.removesuffix(".patchmill"), pipeline.path)) from None
        except (OSError, PatchmillError):
            pass  # a disk that can't be read for a moment ends no run

    with lease:
        yield check


@contextmanager
def _told_if_unrecorded(pipeline: Pipeline) -> Iterator[None]:
    """Inside, a run gets its record. Where the disk does not take that, the error says so, and so does `status`."""
    try:
        yield
    except HeldError:
        raise
    except (OSError, PatchmillError) as error:
        sentence = f"the run could not begin, and nothing is recorded of it: {error}"
        note(pipeline.runs, pipeline.name, sentence)
        raise PatchmillError(sentence) from error


def _begin(pipeline: Pipeline) -> Run:
    from patchmill import __version__
    from patchmill.stages.pipelines import config_text

    if is_local(pipeline.root):
        os.makedirs(pipeline.root, exist_ok=True)
    folder = new_folder(pipeline.runs, pipeline.name)
    place = pipeline.root if is_local(pipeline.root) else folder
    run = Run(
        name=pipeline.name,
        config=pipeline.path,
        root=pipeline.root,
        folder=folder,
        report=os.path.join(place, "report.html"),
        version=__version__,
        began=now(),
        state="running",
        stages=tuple(_waiting(stage, folder) for stage in pipeline.stages),
        runner=this_runner(),
    )
    with whole_or_none(folder):
        write_whole(os.path.join(folder, "config.yaml"), config_text(pipeline))
        write_status(run)
        point_to(folder)
    return run


def _waiting(stage: Stage, folder: str) -> StageRecord:
    return StageRecord(
        name=stage.name,
        source=stage.notebook,
        executed=os.path.join(folder, "notebooks", f"{stage.name}.ipynb"),
        html=os.path.join(folder, "notebooks", f"{stage.name}.html"),
        log=os.path.join(folder, "logs", f"{stage.name}.log"),
        parameters=dict(stage.params),
        outputs=stage.outputs,
        needs=tuple(sorted(stage.needs)),
        limit=stage.limit,
    )


def _note_stop(ledger: Ledger, sentence: str, code: int) -> None:
    """Note that all that ran was put an end to; where nothing did, that the next stage was not begun."""
    with signals_wait():  # a second Ctrl-C shall not leave a stage that runs for ever
        stages = ledger.record.stages
        hit = [stage for stage in stages if stage.state == "running"]
        failures = [attempts.stopped(stage, ledger.record.folder, sentence) for stage in hit]
        ended = [replace(each, state="interrupted", failure=why) for each, why in zip(hit, failures, strict=True)]
        waiting = [stage for stage in stages if stage.state == "waiting"]
        if waiting and not hit and ledger.record.failed is None:
            ended = [replace(waiting[0], state="interrupted", failure=Failure(sentence))]
        ledger.put(*ended, state="interrupted", exit_code=code)
        for stage in hit:
            write_notebook_html(stage)


def _told(error: BaseException) -> str:
    return str(error) if isinstance(error, PatchmillError) else f"{type(error).__name__}: {error}"


def _conclude(ledger: Ledger, with_what: Provenance) -> None:
    """Note that the run has ended, and write what is written at the end."""
    with signals_wait():  # a record without its end would be half a record
        attempts.drop_work(ledger.record.folder)
        record = ledger.record
        unreached = [replace(stage, state="not run") for stage in record.stages if stage.state == "waiting"]
        ended: State = record.state
        if ended == "running":
            ended = "done" if record.failed is None else record.failed.state
        ledger.put(*unreached, state=ended, exit_code=record.exit_code or 0)
        try:
            write_manifest(ledger.record, with_what)
            write_reports(ledger.record)
        except OSError as error:  # what the stages did is done all the same
            warnings.warn(f"the manifest or the report of {record.folder} could not be written: {error}", stacklevel=2)
