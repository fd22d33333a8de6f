"""What is known about a run, as frozen values, and the folder it is kept in.

::

    <runs>/latest               points to the record of the run that began last
    <runs>/20250131-221500-demo/
      config.yaml               as it was run: interpolated, paths absolute
      status.json               the truth about the run and each of its stages, at any time
      manifest.json             at the end: with what it was run, what it took, what it wrote
      report.html
      notebooks/ingest.ipynb    executed, and the same as .html
      logs/ingest.log           what the stage's process said
    <runs>/demo.stages/         no record: what the stages last did, see `memos`

Of a stage that was skipped, the notebook and the log are those of its last run.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeAlias, TypeVar, cast

from patchmill.errors import PatchmillError
from patchmill.show.handed import plain
from patchmill.stages.places import moved
from patchmill.storage.local import sync_folder

T = TypeVar("T")

State: TypeAlias = Literal["waiting", "running", "done", "skipped", "failed", "killed", "interrupted", "not run"]

EXIT_LATE = 124
EXIT_KILLED = 137

LATEST = "latest"
STATUS = "status.json"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a stage did not end well."""

    sentence: str
    """The error's own text, or what happened to the process."""
    kind: str = ""
    """Name of the exception, where there was one."""
    cell: int | None = None
    """Execution count of the cell that ran: 4 for In [4]."""
    heading: str = ""
    """The nearest heading above that cell."""

    @property
    def where(self) -> str:
        """The cell, for people."""
        if self.cell is None:
            return "before its first cell"
        return f"cell In [{self.cell}]" + (f' under "{self.heading}"' if self.heading else "")

    @property
    def at(self) -> str:
        """The same, behind a verb."""
        return self.where if self.cell is None else f"in {self.where}"

    def __str__(self) -> str:
        return f"{self.kind}: {self.sentence}" if self.kind else self.sentence


@dataclass(frozen=True, slots=True)
class StageRecord:
    """One stage of a run."""

    name: str
    source: str
    """Path of the notebook that is executed."""
    executed: str
    """Path of the notebook with its outputs, once there is one; that of its last run where it was skipped."""
    html: str
    log: str
    parameters: dict[str, Any]
    outputs: dict[str, str]
    """Local paths that it writes, by parameter."""
    state: State = "waiting"
    seconds: float | None = None
    """Of its last attempt."""
    failure: Failure | None = None
    began: str = ""
    """When its last attempt did: ISO 8601, UTC."""
    attempt: int = 0
    """How often it has been begun."""
    cpu_seconds: float | None = None
    """Of its process and all that this waited for, as the system counts them."""
    peak_bytes: int | None = None
    """Resident memory of its processes together, the most seen by looking once a second."""
    why: str = ""
    """Why it runs, or why it is skipped, in words."""
    needs: tuple[str, ...] = ()
    """Names of the stages that must be done before."""
    memory: int | None = None
    """Bytes that each of its processes that work may hold: ``compute.memory``, or its share of it; None if not told."""
    limit: float | None = None
    """Seconds that one attempt may take."""
    ended: str = ""
    """When its last attempt did: ISO 8601, UTC."""
    sha256: str = ""
    """Of its notebook, when its last attempt began or it was skipped."""


@dataclass(frozen=True, slots=True)
class Runner:
    """The process that runs a config."""

    pid: int = 0
    host: str = "an unknown machine"
    place: str = ""
    """Equal for those that share a table of processes; "" where unknown."""
    began: str = ""
    """When the process began, in the system's words."""

    def __str__(self) -> str:
        return f"pid {self.pid} on host {self.host}"


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of a whole config: what `patchmill.run` returns."""

    name: str
    config: str
    root: str
    folder: str
    """The record: everything about this run that is not data."""
    report: str
    """Path of the report."""
    version: str
    began: str
    """ISO 8601, UTC."""
    state: State = "waiting"
    seconds: float = 0.0
    exit_code: int | None = None
    """None until the run has ended."""
    stages: tuple[StageRecord, ...] = field(default_factory=tuple)
    beat: str = ""
    """When the runner last told that it lives, which it does every few seconds; ISO 8601, UTC."""
    runner: Runner = Runner()

    @property
    def failed(self) -> StageRecord | None:
        """The first of the stages that ended the run, if any did."""
        return next((stage for stage in self.stages if stage.failure is not None), None)

    def with_stage(self, changed: StageRecord) -> Run:
        """The run with one stage replaced by what it is now."""
        stages = tuple(changed if stage.name == changed.name else stage for stage in self.stages)
        return replace(self, stages=stages)

    def __repr__(self) -> str:
        stages = ", ".join(f"{stage.name}: {stage.state}" for stage in self.stages)
        return f"<Run {self.name} {self.state} in {self.seconds:.1f} s ({stages}), report {self.report}>"


def new_folder(runs: str, name: str) -> str:
    """Make the folder of a run, named after the time and the pipeline; two runs of one second get two folders."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    os.makedirs(runs, exist_ok=True)
    count = 1
    while True:
        folder = os.path.join(runs, f"{stamp}-{name}" + (f"-{count}" if count > 1 else ""))
        try:
            os.mkdir(folder)
        except FileExistsError:
            count += 1
            continue
        with whole_or_none(folder):
            for part in ("notebooks", "logs"):
                os.mkdir(os.path.join(folder, part))
        return folder


@contextmanager
def whole_or_none(folder: str) -> Iterator[None]:
    """Inside, a new folder is filled; where that fails it goes."""
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def this_runner() -> Runner:
    """The process that asks."""
    from patchmill.cutting.identity import started, this_place

    return Runner(os.getpid(), socket.gethostname(), this_place(), started(os.getpid()))


def point_to(folder: str) -> None:
    """Make `latest` point to a record: a link, or where the disk has none a file with its name, ``latest.txt``."""
    runs, name = os.path.split(folder)
    aside = os.path.join(runs, f".{LATEST}.{os.getpid()}.tmp")
    with suppress(FileNotFoundError):
        os.remove(aside)
    try:
        os.symlink(name, aside)
        os.replace(aside, os.path.join(runs, LATEST))
    except OSError:
        write_whole(os.path.join(runs, f"{LATEST}.txt"), f"{name}\n")
    finally:
        with suppress(FileNotFoundError):
            os.remove(aside)


def write_status(run: Run) -> None:
    """Write `status.json` of a run, whole or not at all.

    Raises
    ------
    PatchmillError
        If the disk does not take it, or the record is gone.
    """
    with written_to(run.folder):
        write_whole(os.path.join(run.folder, STATUS), json.dumps(plain(asdict(run)), indent=2) + "\n")


@contextmanager
def written_to(folder: str) -> Iterator[None]:
    """Inside, a record is written; where the disk does not take that, a `PatchmillError` says so."""
    try:
        yield
    except OSError as error:
        raise PatchmillError(
            f"the record {folder} can't be written ({error.strerror or error}): free space, or let it be there "
            "until the run has ended; then run again, and what was done is skipped"
        ) from error


def read_status(folder: str) -> Run:
    """The run whose record is `folder`, as `write_status` left it; what an earlier version did not tell is empty.

    Where the record was moved since, its files are looked for where it lies now.

    Raises
    ------
    PatchmillError
        If there is no record, or none that this version can read.
    """
    path = os.path.join(folder, STATUS)
    try:
        with open(path, encoding="utf-8") as file:
            told = json.load(file, parse_constant=_no_number)
        run = checked(Run, {**told, "folder": folder})
        return _sensible(_moved(run, str(told.get("folder", folder))))
    except OSError as error:
        raise PatchmillError(f"the record {folder} can't be read: {error.strerror or error}") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise PatchmillError(
            f"{path} is no record that this version of patchmill can read ({error}); the report beside it may tell more"
        ) from None


def _moved(run: Run, before: str) -> Run:
    """`run`, whose record lay at `before` when it was written, with what lies in it where that is now."""
    if before == run.folder:
        return run
    now = partial(moved, before=before, now=run.folder)
    stages = [
        replace(
            stage,
            executed=now(stage.executed),
            html=now(stage.html),
            log=now(stage.log),
            outputs={name: now(path) for name, path in stage.outputs.items()},
        )
        for stage in run.stages
    ]
    return replace(run, stages=tuple(stages))


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _sensible(run: Run) -> Run:
    """`run`, unless it says what can't be of moments and processes."""
    for name, moment in (("began", run.began), ("beat", run.beat or run.began)):
        if datetime.fromisoformat(moment).tzinfo is None:
            raise ValueError(f"{name}: {moment!r} says no zone")
    if not 0 <= run.runner.pid < _PIDS:
        raise ValueError(f"runner.pid: there is no process {run.runner.pid}")
    return run


_PIDS = 2**31


def checked(kind: type[T], told: Any) -> T:
    """`told`, plain JSON, as a frozen value of this package; what a later version added says nothing to this one.

    Raises
    ------
    ValueError
        If something is of another type than the value's fields.
    """
    from pydantic import ValidationError

    try:
        value: T = _adapter(cast(Any, kind)).validate_python(told)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "it"
        raise ValueError(f"{place}: {first['msg']}") from None
    return value


@cache
def _adapter(kind: type) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def write_whole(path: str, text: str, *, durable: bool = False) -> None:
    """Write a text file that nobody ever sees half-written; `durable`, not even after the power failed."""
    aside = f"{path}.{os.getpid()}.tmp"
    try:
        with open(aside, "w", encoding="utf-8") as file:
            file.write(text)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(aside, path)
        if durable:
            sync_folder(Path(path).parent)
    finally:
        if os.path.exists(aside):
            os.remove(aside)


def now() -> str:
    """The time, ISO 8601, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
