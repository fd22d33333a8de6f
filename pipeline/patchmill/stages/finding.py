"""Records of runs, found again: from a config, or from a folder in which they lie."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime

from patchmill.errors import ConfigError, PatchmillError
from patchmill.stages.packaged import PACKAGED
from patchmill.stages.records import LATEST, STATUS, Run, read_status

SILENT_SECONDS = 30.0
"""A runner that has not told for so long that it lives is looked for."""


def find_runs(where: str | None = None) -> list[Run]:
    """Runs by their records, the one that began last at the end.

    Parameters
    ----------
    where : str, optional
        A config: runs of its name in its folder of records. Or a folder: one record, a folder of records, a `root` with
        ``records`` in it. Without, the current folder, or else ``runs/*`` in it.

    Raises
    ------
    FileNotFoundError
        If there are none.
    """
    if where is not None and _is_config(where):
        runs, name = _of_config(where)
        found = runs_in(runs, name)
        place = f"{runs} of runs of {name}"
    else:
        place = os.path.abspath(os.path.expanduser(where or os.curdir))
        found = _below(place, ("",) if where else ("", "runs/*"))
    if not found:
        raise FileNotFoundError(f"there are no records in {place}: run a config first, or name it or its root")
    return sorted(found, key=_in_time)


def latest_run(where: str | None = None) -> Run:
    """Of `find_runs`, the one that began last."""
    return last_of(find_runs(where))


def last_of(runs: Sequence[Run]) -> Run:
    """The run that began last, of at least one; of several that began in one second the pointer knows which."""
    last = max(runs, key=_in_time)
    pointed = _pointed(os.path.dirname(last.folder))
    return next((run for run in runs if run.folder == pointed and run.began == last.began), last)


def trouble(run: Run) -> str:
    """A sentence, if a run says that it is running and is not; else ""."""
    from patchmill.cutting.identity import is_gone, this_place

    runner = run.runner
    if run.state != "running" or not runner.pid:
        return ""
    silent = silence(run)
    if runner.place and runner.place == this_place():
        # It may have ended in order since its record was read.
        gone = is_gone(runner.pid, runner.began) and read_status(run.folder).state == "running"
        return f"the runner ({runner}) is gone, it was killed" if gone else ""
    if silent < SILENT_SECONDS:
        return ""
    from patchmill.show.progress import shown_seconds

    return (
        f"the runner ({runner}) has not been heard of for {shown_seconds(silent)}: "
        "it was killed, or its machine stopped, or the clocks differ; look there"
    )


def runs_in(folder: str, name: str = "", most: int | None = None) -> list[Run]:
    """Runs whose records lie in a folder; what points to one is not one more, and what can't be read is none.

    Parameters
    ----------
    folder : str
    name : str
        Of the pipeline whose runs count; empty for all.
    most : int, optional
        Only so many, the last by the names of their records, which begin with the time.
    """
    found: list[Run] = []
    folder = os.path.realpath(folder)
    for inside in sorted(os.listdir(folder), reverse=True) if os.path.isdir(folder) else []:
        path = os.path.join(folder, inside)
        if os.path.islink(path) or not os.path.isfile(os.path.join(path, STATUS)):
            continue
        with suppress(PatchmillError):
            run = read_status(path)
            found += [run] if name in {"", run.name} else []
        if len(found) == most:
            break
    return found


def silence(run: Run) -> float:
    """Seconds since a run told that it lives."""
    return seconds_since(run.beat or run.began)


def seconds_since(moment: str) -> float:
    """Seconds since a moment, ISO 8601."""
    return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds())


def _in_time(run: Run) -> tuple[str, float]:
    return run.began, os.path.getmtime(run.folder)


def _is_config(where: str) -> bool:
    return where.startswith(PACKAGED) or os.path.isfile(where)


def _of_config(path: str) -> tuple[str, str]:
    """Folder of records and name of a config, which need not be one that can run by now."""
    from patchmill.stages.config import read_config
    from patchmill.stages.pipelines import runs_folder

    config = read_config(path)
    runs = runs_folder(config)
    if not runs:
        raise ConfigError(f"{path} does not tell where its records lie: name the folder instead")
    return runs, config.model.name


def _below(place: str, patterns: Sequence[str]) -> list[Run]:
    if os.path.isfile(os.path.join(place, STATUS)):
        return [read_status(os.path.realpath(place))]
    for pattern in patterns:
        for inside in ("", "records"):
            folders = sorted(glob.glob(os.path.join(glob.escape(place), pattern, inside)))
            found = [run for folder in folders for run in runs_in(folder)]
            if found:
                return found
    return []


def _pointed(runs: str) -> str:
    link = os.path.join(runs, LATEST)
    if os.path.islink(link):
        return os.path.realpath(link)
    try:
        with open(f"{link}.txt", encoding="utf-8") as file:
            return os.path.join(runs, file.read().strip())
    except OSError:
        return ""
