"""What is known about a run, as frozen values, and the folder it is kept in.

::

    <runs>/20250131-221500-demo/
      config.yaml               as it was run: interpolated, paths absolute
      status.json               the truth about the run and each of its stages, at any time
      report.html
      notebooks/ingest.ipynb    executed, and the same as .html
      logs/ingest.log           what the stage's process said
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

from patchmill.errors import PatchmillError

State: TypeAlias = Literal["waiting", "running", "done", "failed", "killed", "interrupted", "not run"]

EXIT_FAILED = 1
EXIT_KILLED = 137


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

    def __str__(self) -> str:
        return f"{self.kind}: {self.sentence}" if self.kind else self.sentence


@dataclass(frozen=True, slots=True)
class StageRecord:
    """One stage of a run."""

    name: str
    source: str
    """Path of the notebook that is executed."""
    executed: str
    """Path of the notebook with its outputs, once there is one."""
    html: str
    log: str
    parameters: dict[str, Any]
    outputs: dict[str, str]
    """Local paths that it writes, by parameter."""
    state: State = "waiting"
    seconds: float | None = None
    failure: Failure | None = None


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
    exit_code: int = 0
    stages: tuple[StageRecord, ...] = field(default_factory=tuple)

    @property
    def failed(self) -> StageRecord | None:
        """The stage that ended the run, if one did."""
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
        for part in ("notebooks", "logs"):
            os.mkdir(os.path.join(folder, part))
        return folder


def write_status(run: Run) -> None:
    """Write `status.json` of a run, whole or not at all."""
    write_whole(os.path.join(run.folder, "status.json"), json.dumps(asdict(run), indent=2, default=str) + "\n")


def read_status(folder: str) -> Run:
    """The run whose record is `folder`, as `write_status` left it.

    Raises
    ------
    PatchmillError
        If there is no record, or none that this version can read.
    """
    path = os.path.join(folder, "status.json")
    try:
        with open(path, encoding="utf-8") as file:
            told = json.load(file)
        stages = tuple(_stage(each) for each in told["stages"])
        return Run(**{**_known(Run, told), "stages": stages})
    except OSError as error:
        raise PatchmillError(f"the record {folder} can't be read: {error.strerror or error}") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise PatchmillError(
            f"{path} is no record that this version of patchmill can read ({type(error).__name__}: {error}); "
            "the report beside it may tell more"
        ) from None


def _stage(told: dict[str, Any]) -> StageRecord:
    failure = told["failure"] and Failure(**_known(Failure, told["failure"]))
    return StageRecord(**{**_known(StageRecord, told), "failure": failure or None})


def _known(kind: type, told: dict[str, Any]) -> dict[str, Any]:
    # What a later version added says nothing to this one.
    names = {each.name for each in fields(kind)}
    return {name: value for name, value in told.items() if name in names}


def write_whole(path: str, text: str) -> None:
    """Write a text file that nobody ever sees half-written."""
    aside = f"{path}.{os.getpid()}.tmp"
    try:
        with open(aside, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(aside, path)
    finally:
        if os.path.exists(aside):
            os.remove(aside)


def now() -> str:
    """The time, ISO 8601, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
