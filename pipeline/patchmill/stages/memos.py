"""What the stages of a pipeline last did, beside the records of its runs.

::

    <runs>/demo.stages/
      stages.json        of each stage: what it worked on, and what it left
      ingest.ipynb       of its last run that was done, with ingest.html and ingest.log: shown again where it is skipped

A stage has up to two entries: `done`, the last time that it came to its end, and `begun`, where it has been begun since
and has not. So what was written half is never taken for a result, whatever became of the process that wrote it. The
folder is no record, and `patchmill clean` leaves it alone; its pages and logs are links to those of records
where the disk has such. Paths in stages.json are absolute; it says where it lies itself, so that where a project was
moved, or is reached by another path, they are read as those of now, but for what did not move along.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from patchmill.stages.measuring import is_there
from patchmill.stages.places import moved
from patchmill.stages.records import StageRecord, checked, write_whole, written_to
from patchmill.stages.traces import Trace, is_trace

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Basis:
    """All that decides what a stage does."""

    code: str
    """Digest of the notebook's code."""
    modules: Mapping[str, str]
    """Digests of what it imports from beside it, by file."""
    parameters: Mapping[str, Any]
    version: str
    """Of patchmill."""
    inputs: Mapping[str, Trace]
    """By path."""
    after: Mapping[str, str]
    """Of stages that it comes after and whose output it does not name as its input: their last run."""

    @property
    def digest(self) -> str:
        """Equal for those that are."""
        text = json.dumps(asdict(self), sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Work:
    """One execution of a stage."""

    run: str
    """Name of its record."""
    basis: Basis
    task: str = ""
    """What the stage calls this piece of its work: who goes on with it has the same."""
    anew: bool = False
    """Whether it was told that what earlier ones had written is out of date."""
    outputs: Mapping[str, Trace] = field(default_factory=dict)
    """By path, as it left them; of one that was only begun, the stamps of those that it may touch, from before."""


@dataclass(frozen=True, slots=True)
class Memo:
    """What is known of a stage."""

    done: Work | None = None
    begun: Work | None = None


def memory_folder(runs: str, name: str) -> str:
    """Where what is known of a pipeline lies, beside the records of its runs."""
    return os.path.join(runs, f"{name}.stages")


class Memos:
    """What is known of all stages of a pipeline; each change is on disk when the call returns.

    Parameters
    ----------
    runs : str
        The folder of its records.
    name : str
        The pipeline's. Where there is no such folder, or it can't be read, nothing is known.
    """

    def __init__(self, runs: str, name: str) -> None:
        self._folder = memory_folder(runs, name)
        self._path = os.path.join(self._folder, "stages.json")
        self._known = _read(self._path)

    def __getitem__(self, stage: str) -> Memo:
        """What is known of a stage."""
        return self._known.get(stage, Memo())

    def begin(self, stage: str, work: Work) -> None:
        """Note that a stage begins."""
        self._put(stage, replace(self[stage], begun=work))

    def end(self, stage: str, work: Work) -> None:
        """Note that a stage came to its end."""
        self._put(stage, Memo(done=work))

    def keep(self, record: StageRecord) -> None:
        """Keep what a stage left in a record, for runs in which it will be skipped, and nothing of an earlier run."""
        for kept, path in self._files(record):
            if not _copy(path, kept):
                with suppress(FileNotFoundError):
                    os.remove(kept)

    def give(self, record: StageRecord) -> None:
        """Put what a stage's last run left into the record of one in which it is skipped."""
        for kept, path in self._files(record):
            _copy(kept, path)

    def _files(self, record: StageRecord) -> list[tuple[str, str]]:
        paths = (record.executed, record.html, record.log)
        return [(os.path.join(self._folder, os.path.basename(path)), path) for path in paths]

    def _put(self, stage: str, memo: Memo) -> None:
        self._known[stage] = memo
        stages = {name: asdict(each) for name, each in self._known.items()}
        told = {"format": _FORMAT, "at": os.path.abspath(self._folder), "stages": stages}
        text = json.dumps(told, indent=1, default=str)
        with written_to(self._folder):
            os.makedirs(self._folder, exist_ok=True)
            write_whole(self._path, f"{text}\n", durable=True)


def writers_known(runs: str, path: str) -> Iterator[tuple[str, str, Trace]]:
    """Of all pipelines whose records lie in `runs`: pipeline, stage and trace of each that left something at `path`."""
    for folder in sorted(glob.glob(memory_folder(glob.escape(runs), "*"))):
        for stage, memo in _read(os.path.join(folder, "stages.json")).items():
            if memo.done is not None and path in memo.done.outputs:
                yield os.path.basename(folder).removesuffix(".stages"), stage, memo.done.outputs[path]


def _copy(path: str, to: str) -> bool:
    """Make `to` the same file as `path`, or a copy of it, unless that is not there, or the disk has no room.

    A notebook is always copied: whoever opens one and saves it writes into the file.
    """
    if not os.path.isfile(path):
        return False
    aside, copied = f"{to}.{os.getpid()}.tmp", False
    with suppress(OSError):
        _link_or_copy(path, aside)
        os.replace(aside, to)
        copied = True
    # Between two names of one file a rename does nothing, and leaves both.
    with suppress(FileNotFoundError):
        os.remove(aside)
    return copied


def _link_or_copy(path: str, to: str) -> None:
    if not path.endswith(".ipynb"):
        with suppress(OSError):
            os.link(path, to)
            return
    shutil.copyfile(path, to)


def _read(path: str) -> dict[str, Memo]:
    folder = os.path.abspath(os.path.dirname(path))
    try:
        with open(path, encoding="utf-8") as file:
            told = json.load(file)
        if told["format"] != _FORMAT:
            return {}
        stages = dict(_moved(told["stages"], *_apart(told.get("at", folder), folder)))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}
    known = {}
    for name, memo in stages.items():
        with suppress(ValueError):  # of a stage that can't be read nothing is known, and it runs
            known[name] = _with_traces(checked(Memo, memo))
    return known


def _apart(before: str, now: str) -> tuple[str, str]:
    """The folders in which two paths differ: of /a/x/y and /b/x/y these are /a and /b.

    Examples
    --------
    >>> _apart("/old/out/records", "/new/out/records"), _apart("/old/out", "/old/out")
    (('/old', '/new'), ('/', '/'))
    """
    while os.path.basename(before) == os.path.basename(now) and before != "/" and now != "/":
        before, now = os.path.dirname(before), os.path.dirname(now)
    return before, now


def _moved(told: Any, before: str, now: str) -> Any:
    """`told`, plain JSON, with all paths below one folder as those below another, unless they did not move along."""
    if before == now:
        return told
    if isinstance(told, str):
        there = moved(told, before, now)
        return told if there != told and is_there(told) and not is_there(there) else there
    if isinstance(told, list):
        return [_moved(each, before, now) for each in told]
    if isinstance(told, dict):
        return {_moved(name, before, now): _moved(each, before, now) for name, each in told.items()}
    return told


def _with_traces(memo: Memo) -> Memo:
    """`memo`; a `ValueError` where what it says of an input or output is no trace."""
    for work in (memo.done, memo.begun):
        for seen in [] if work is None else [*work.basis.inputs.values(), *work.outputs.values()]:
            if seen and not is_trace(seen):  # of what was only begun nothing is known
                raise ValueError(f"{seen} is no trace")
    return memo
