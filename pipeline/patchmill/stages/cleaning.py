"""Old records of runs, removed. A record is what a run wrote about itself; the data of its stages is never touched."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress

from patchmill.errors import PatchmillError
from patchmill.stages.finding import find_runs, trouble
from patchmill.stages.measuring import bytes_at
from patchmill.stages.places import is_within
from patchmill.stages.records import LATEST, STATUS, Run
from patchmill.types import as_int


def clean(where: str | None = None, *, keep: int) -> list[tuple[str, int]]:
    """Remove old records.

    Parameters
    ----------
    where : str, optional
        As `find_runs` takes it; all the records must lie in one folder. Without, only those below the current folder.
    keep : int
        So many of the latest stay, of each config, among them what ``latest`` points to; and any that runs.

    Returns
    -------
    list of (str, int)
        Records that were removed, with their bytes.

    Raises
    ------
    FileNotFoundError
        If there are no records.
    ValueError
        If `where` is a single record, or has several folders of records.
    """
    keep = as_int(keep, "keep", least=0, unit=" of records")
    runs = find_runs(where) if where else _below(os.getcwd())
    folders = sorted({os.path.dirname(run.folder) for run in runs})
    if len(folders) > 1:
        raise ValueError(f"there are records in {' and '.join(folders)}: name the one that is meant")
    if where is not None and os.path.isfile(os.path.join(where, STATUS)):
        raise ValueError(f"{where} is itself a record; name the folder {folders[0]}, in which it lies")
    removed = [(run.folder, bytes_at(run.folder) or 0) for run in _old(runs, keep)]
    try:
        for folder, _ in removed:
            _remove(folder)
    finally:
        _drop_pointers(folders[0])
    return removed


def _below(folder: str) -> list[Run]:
    # What lies beside it is looked at where no folder is named, and only removed where one is.
    runs = [run for run in find_runs() if is_within(run.folder, folder)]
    if not runs:
        raise FileNotFoundError(f"there are no records below {folder}: name a config, or a folder of records")
    return runs


def _old(runs: Sequence[Run], keep: int) -> list[Run]:
    found = []
    for name in dict.fromkeys(run.name for run in runs):
        same = [run for run in runs if run.name == name]
        found += same[: len(same) - keep] if keep < len(same) else []
    return [run for run in found if not _runs(run) and not _holds_data(run)]


def _runs(run: Run) -> bool:
    return run.state == "running" and not trouble(run)


def _holds_data(run: Run) -> bool:
    # No config of ours puts data there. Should one do, it is not ours to remove.
    within = run.folder + os.sep
    return any(path.startswith(within) for stage in run.stages for path in stage.outputs.values())


def _drop_pointers(folder: str) -> None:
    """Remove what points to a record that is gone: the link, or the file that stands for one."""
    link = os.path.join(folder, LATEST)
    if os.path.islink(link) and not os.path.exists(link):
        os.remove(link)
    with suppress(OSError), open(f"{link}.txt", encoding="utf-8") as file:
        if not os.path.exists(os.path.join(folder, file.read().strip(), STATUS)):
            os.remove(f"{link}.txt")


def _remove(folder: str) -> None:
    # What makes it a record goes last, so that the next call finds what this one, killed, would leave.
    try:
        for name in sorted(os.listdir(folder), key=lambda name: name == STATUS):
            path = os.path.join(folder, name)
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path)
            else:
                os.remove(path)
        os.rmdir(folder)
    except OSError as error:
        raise PatchmillError(f"the record {folder} can't be removed: {error.strerror or error}") from error
