"""`patchmill.run`: a config's notebooks, one after the other, each in a process of its own; then the report."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from patchmill.errors import Interrupted, PatchmillError, StageError
from patchmill.stages.executing import Job
from patchmill.stages.places import is_local
from patchmill.stages.processes import signals_raise, wait_for
from patchmill.stages.records import (
    EXIT_FAILED,
    EXIT_KILLED,
    Failure,
    Run,
    StageRecord,
    State,
    new_folder,
    now,
    write_status,
    write_whole,
)
from patchmill.stages.reporting import write_notebook_html, write_reports

if TYPE_CHECKING:
    from patchmill.stages.pipelines import Pipeline, Stage

Watch: TypeAlias = Callable[[Run], None]

_NEEDED = ("omegaconf", "pydantic", "papermill", "nbconvert", "ipykernel", "psutil")


def run(
    config: str | os.PathLike[str], overrides: Sequence[str] = (), *, check: bool = True, watch: Watch | None = None
) -> Run:
    """Run a config: its stages in order, until one fails. Leaves a record of the run, and a report.

    Parameters
    ----------
    config : path
        A YAML file; it is checked, with the notebooks and inputs it names, before anything runs or is written.
    overrides : sequence of str
        ``"STAGE.PARAM=value"`` or ``"root=value"``; values are YAML.
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
    KeyboardInterrupt
        If the run was interrupted, unless `check` is false; no process is left.

    Examples
    --------
    >>> record = patchmill.run("configs/demo.yaml", ["patchify.step=64"])  # doctest: +SKIP
    >>> record.report  # doctest: +SKIP
    '/project/runs/demo/report.html'
    """
    _require_libraries()
    from patchmill.stages.pipelines import read_pipeline

    pipeline = read_pipeline(os.fspath(config), overrides)
    record = _execute(pipeline, watch or (lambda _: None))
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
    seen = stage.executed if os.path.isfile(stage.executed) else stage.log
    return f"stage {stage.name} {stage.state} in {failure.where}\n{failure}\nopen {seen}"


def _require_libraries() -> None:
    from importlib.util import find_spec

    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise PatchmillError(f"running notebooks needs {', '.join(missing)}: pip install 'patchmill[notebooks]'")


class _Ledger:
    """The run as it stands; each change is on disk before anybody is told."""

    def __init__(self, record: Run, watch: Watch) -> None:
        self.record = record
        self._watch = watch
        self._began = time.monotonic()

    def note(self, *stages: StageRecord, **changes: Any) -> None:
        """Take changed stages and fields into the record."""
        self.record = replace(self.record, seconds=round(time.monotonic() - self._began, 2), **changes)
        for stage in stages:
            self.record = self.record.with_stage(stage)
        write_status(self.record)
        self._watch(self.record)


def _execute(pipeline: Pipeline, watch: Watch) -> Run:
    ledger = _Ledger(_begin(pipeline), watch)
    environment = _environment(pipeline)
    try:
        with signals_raise():
            ledger.note()
            for stage in ledger.record.stages:
                _run_stage(ledger, stage, environment)
                if ledger.record.failed is not None:
                    break
    except KeyboardInterrupt as error:
        _note_interruption(ledger, error.signal if isinstance(error, Interrupted) else signal.SIGINT)
    _note_end(ledger)
    write_reports(ledger.record)
    return ledger.record


def _begin(pipeline: Pipeline) -> Run:
    from patchmill import __version__
    from patchmill.stages.pipelines import config_text

    folder = new_folder(pipeline.runs, pipeline.name)
    write_whole(os.path.join(folder, "config.yaml"), config_text(pipeline))
    place = pipeline.root if is_local(pipeline.root) else folder
    return Run(
        name=pipeline.name,
        config=pipeline.path,
        root=pipeline.root,
        folder=folder,
        report=os.path.join(place, "report.html"),
        version=__version__,
        began=now(),
        state="running",
        stages=tuple(_waiting(stage, folder) for stage in pipeline.stages),
    )


def _waiting(stage: Stage, folder: str) -> StageRecord:
    return StageRecord(
        name=stage.name,
        source=stage.notebook,
        executed=os.path.join(folder, "notebooks", f"{stage.name}.ipynb"),
        html=os.path.join(folder, "notebooks", f"{stage.name}.html"),
        log=os.path.join(folder, "logs", f"{stage.name}.log"),
        parameters=dict(stage.params),
        outputs=stage.outputs,
    )


def _environment(pipeline: Pipeline) -> dict[str, str]:
    # Dask's configuration carries the limits into the notebook, whatever it calls.
    limits = {"DASK_PATCHMILL__MEMORY": pipeline.memory, "DASK_PATCHMILL__WORKERS": pipeline.workers}
    return os.environ | {name: str(value) for name, value in limits.items() if value is not None}


def _run_stage(ledger: _Ledger, stage: StageRecord, environment: dict[str, str]) -> None:
    began = time.monotonic()
    ledger.note(replace(stage, state="running"))
    answer, status = _run_process(stage, _work(ledger.record, stage), environment)
    state, failure, code = _judged(stage, answer, status)
    ended = replace(stage, state=state, failure=failure, seconds=round(time.monotonic() - began, 2))
    ledger.note(ended, exit_code=code)
    write_notebook_html(ended)


def _work(record: Run, stage: StageRecord) -> str:
    return os.path.join(record.folder, "work", stage.name)


def _run_process(stage: StageRecord, work: str, environment: dict[str, str]) -> tuple[dict[str, Any], int]:
    cwd = os.path.join(work, "cwd")
    os.makedirs(cwd)
    job = Job(
        notebook=stage.source,
        executed=stage.executed,
        parameters=stage.parameters,
        cwd=cwd,
        imports=os.path.dirname(stage.source),
        answer=os.path.join(work, "answer.json"),
    )
    path = os.path.join(work, "job.json")
    write_whole(path, json.dumps(asdict(job)))
    status = wait_for("patchmill.stages.executing", path, log=stage.log, environment=environment)
    return _read(work), status


def _read(work: str) -> dict[str, Any]:
    try:
        with open(os.path.join(work, "answer.json"), encoding="utf-8") as file:
            answer: dict[str, Any] = json.load(file)
            return answer
    except FileNotFoundError:
        return {}


def _judged(stage: StageRecord, answer: dict[str, Any], status: int) -> tuple[State, Failure | None, int]:
    # The process has the last word: an answer says "done" only where nothing came after it.
    if status == 0 and answer.get("state") == "done":
        return "done", None, 0
    if status < 0:
        name = signal.Signals(-status).name
        return "killed", _failure(stage, answer, f"its process was killed by signal {-status} ({name})"), EXIT_KILLED
    if answer.get("state") == "killed":
        return "killed", _failure(stage, answer, answer["sentence"]), EXIT_KILLED
    sentence = answer.get("sentence") or f"its process ended with exit code {status}; the log {stage.log} says more"
    return "failed", _failure(stage, answer, sentence), EXIT_FAILED


def _failure(stage: StageRecord, answer: dict[str, Any], sentence: str) -> Failure:
    index = answer.get("index")
    if index is None or not os.path.isfile(stage.executed):
        return Failure(sentence, answer.get("kind", ""))
    from patchmill.show.executed import cell_number

    with open(stage.executed, encoding="utf-8") as file:
        number, heading = cell_number(json.load(file), index)
    return Failure(sentence, answer.get("kind", ""), number, heading)


def _note_interruption(ledger: _Ledger, number: int) -> None:
    stages = ledger.record.stages
    ledger.note(exit_code=128 + number)
    hit = next((stage for stage in stages if stage.state in {"running", "waiting"}), None)
    if hit is None:
        return
    failure = Failure(f"interrupted by {signal.Signals(number).name}")
    if hit.state == "running":
        failure = _failure(hit, _read(_work(ledger.record, hit)), failure.sentence)
        write_notebook_html(hit)
    ledger.note(replace(hit, state="interrupted", failure=failure))


def _note_end(ledger: _Ledger) -> None:
    _drop_work(ledger.record.folder)
    record = ledger.record
    unreached = [replace(stage, state="not run") for stage in record.stages if stage.state == "waiting"]
    ended: State = "done" if record.exit_code == 0 else "interrupted" if record.failed is None else record.failed.state
    ledger.note(*unreached, state=ended)


def _drop_work(folder: str) -> None:
    # What a notebook left in its current folder is kept; without anything, the folder only hides what matters.
    work = os.path.join(folder, "work")
    for name in os.listdir(work) if os.path.isdir(work) else []:
        if not os.listdir(os.path.join(work, name, "cwd")):
            shutil.rmtree(os.path.join(work, name))
    if os.path.isdir(work) and not os.listdir(work):
        os.rmdir(work)
