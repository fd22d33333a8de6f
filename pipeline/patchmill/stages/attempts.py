"""One attempt at a stage: begun in a process of its own, and judged by what that left behind."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from patchmill.errors import EXIT_FAILED, EXIT_HELD
from patchmill.stages.executing import Job
from patchmill.stages.processes import Child, signal_name
from patchmill.stages.records import (
    EXIT_KILLED,
    Failure,
    StageRecord,
    State,
    write_whole,
    written_to,
)
from patchmill.stages.telling import read_notebook

_LONGEST = 10_000
"""Characters of an error that a record keeps; the notebook and the log have all of it."""


def begin(stage: StageRecord, folder: str, environment: Mapping[str, str]) -> Child:
    """Begin to execute the notebook of a stage, for the run whose record is in `folder`."""
    work = _work(stage, folder)
    cwd = os.path.join(work, "cwd")
    job = Job(
        notebook=stage.source,
        executed=stage.executed,
        parameters=stage.parameters,
        cwd=cwd,
        imports=os.path.dirname(stage.source),
        answer=os.path.join(work, "answer.json"),
    )
    path = os.path.join(work, "job.json")
    with written_to(folder):
        os.makedirs(cwd)
        write_whole(path, json.dumps(asdict(job)))
    return Child("patchmill.stages.executing", path, log=stage.log, environment=environment)


def judged(stage: StageRecord, folder: str, status: int, *, missing: str = "") -> tuple[State, Failure | None, int]:
    """How an attempt that ended with `status` went, and the exit code that it gives the run.

    `missing` says which output it should have written and did not, if there is one.
    """
    # The process has the last word: an answer says "done" only where nothing came after it.
    answer = _read(stage, folder)
    if status == 0 and answer.get("state") == "done":
        return ("failed", _failure(stage, answer, missing), EXIT_FAILED) if missing else ("done", None, 0)
    if status < 0:
        sentence = f"its process was killed by signal {-status} ({signal_name(-status)})"
        return "killed", _failure(stage, answer, sentence), EXIT_KILLED
    if answer.get("state") == "killed":
        return "killed", _failure(stage, answer, answer["sentence"]), EXIT_KILLED
    otherwise = f"its process ended with exit code {status}; the log {stage.log} says more"
    sentence = answer.get("sentence") or ("(without a message)" if answer.get("kind") else otherwise)
    code = EXIT_HELD if answer.get("kind") == "HeldError" else EXIT_FAILED
    return "failed", _failure(stage, answer, sentence), code


def stopped(stage: StageRecord, folder: str, sentence: str) -> Failure:
    """Why, and in which cell, an attempt ended that somebody put an end to."""
    return _failure(stage, {**_read(stage, folder), "kind": ""}, sentence)


def drop_work(folder: str) -> None:
    """Tidy up in the record `folder` behind all attempts."""
    # What a notebook left in its current folder is kept; without anything, the folder only hides what matters.
    work = os.path.join(folder, "work")
    for name in os.listdir(work) if os.path.isdir(work) else []:
        cwd = os.path.join(work, name, "cwd")
        if not os.path.isdir(cwd) or not os.listdir(cwd):
            shutil.rmtree(os.path.join(work, name))
    if os.path.isdir(work) and not os.listdir(work):
        os.rmdir(work)


def _work(stage: StageRecord, folder: str) -> str:
    # No name of a stage has a dot.
    again = f".{stage.attempt}" if stage.attempt > 1 else ""
    return os.path.join(folder, "work", stage.name + again)


def _read(stage: StageRecord, folder: str) -> dict[str, Any]:
    try:
        with open(os.path.join(_work(stage, folder), "answer.json"), encoding="utf-8") as file:
            answer: dict[str, Any] = json.load(file)
            return answer
    except FileNotFoundError:
        return {}


def _failure(stage: StageRecord, answer: Mapping[str, Any], sentence: str) -> Failure:
    sentence = _printable(sentence)
    index, notebook = answer.get("index"), read_notebook(stage.executed)
    if index is None or notebook is None:
        return Failure(sentence, answer.get("kind", ""))
    from patchmill.show.executed import cell_number

    number, heading = cell_number(notebook, index)
    return Failure(sentence, answer.get("kind", ""), number, heading)


def _printable(text: str) -> str:
    """A text that does nothing on a terminal but stand there."""
    short = text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ... ({len(text):,} characters)"
    return "".join(each if each.isprintable() or each in "\n\t" else repr(each)[1:-1] for each in short)
