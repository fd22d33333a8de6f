"""Runs found again by their records: of a config, of a folder, or of what lies around; and whether they still run."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from patchmill.errors import ConfigError, PatchmillError
from patchmill.stages.around import check_place, configs_around, records_around
from patchmill.stages.records import LATEST, STATUS, Run, read_status
from patchmill.stages.refusals import refused_since

SILENT_SECONDS = 30.0
"""A runner that has not told for so long that it lives is looked for."""

_MOST = 20
"""Records of one folder that are opened for the latest, of the many that years of nights leave."""


@dataclass(frozen=True, slots=True)
class Condition:
    """What a run's own record can't know."""

    trouble: str
    """See `trouble`."""
    remarks: list[str]
    """Sentences: that it stalls, that a later run was refused, that records of later ones can't be read."""

    @property
    def sentences(self) -> list[str]:
        """All that there is to tell."""
        return [sentence for sentence in (self.trouble, *self.remarks) if sentence]


@dataclass(frozen=True, slots=True)
class _Records:
    """A folder of records."""

    folder: str
    name: str = ""
    """Of the pipeline whose records count; empty for all that lie there."""


def find_runs(where: str | None = None, *, most: int | None = None) -> list[Run]:
    """Runs by their records, in the order in which they began; of one folder the last is what its pointer points to.

    Parameters
    ----------
    where : str, optional
        A config: runs of its name in its folder of records. Or a folder: one record, a folder of records, a `root` with
        ``records`` in it. Without, whatever lies around the current folder: itself, ``runs/*``, and the runs of configs
        in it and in ``configs``, the same from the folder above.
    most : int, optional
        Of each folder only so many records: what its pointer points to, and the last by their names, which begin with
        the time.

    Raises
    ------
    FileNotFoundError
        If there are none.
    ConfigError
        If `where` is a config that can't be read, or is not there.
    PatchmillError
        If `where` is a record that can't be read, or there are no others.
    """
    place = os.path.expanduser(where or os.curdir)
    if os.path.isfile(os.path.join(place, STATUS)):
        return [read_status(os.path.realpath(place))]
    if where:
        check_place(place)
    known = [_records_of(place)] if where else list(_records_around())
    found = {run.folder: run for each in known for run in runs_in(each.folder, each.name, most)}
    if not found:
        damaged = next((text for each in known if (text := _unreadable(each.folder, each.name))), "")
        if damaged:
            raise PatchmillError(damaged)
        raise FileNotFoundError(_none_yet(where, known))
    return _in_time(list(found.values()))


def latest_run(where: str | None = None) -> Run:
    """Of `find_runs`, the last."""
    return find_runs(where, most=_MOST)[-1]


def condition(run: Run) -> Condition:
    """How a run really is, for whoever shows its record."""
    gone = trouble(run)
    folder, behind = os.path.split(run.folder)
    remarks = ["" if gone else stall(run), refused_since(run), _unreadable(folder, run.name, behind)]
    return Condition(gone, [sentence for sentence in remarks if sentence])


def trouble(run: Run) -> str:
    """A sentence, if a run says that it is running and is not; else ""."""
    from patchmill.cutting.identity import is_gone, this_place
    from patchmill.show.progress import shown_seconds

    runner = run.runner
    if run.state != "running" or not runner.pid:
        return ""
    silent = silence(run)
    if runner.place and runner.place == this_place():
        # It may have ended in order since its record was read.
        gone = is_gone(runner.pid, runner.began) and read_status(run.folder).state == "running"
        return f"the runner ({runner}) is gone: it was killed, or could not write its record" if gone else ""
    if silent < SILENT_SECONDS:
        return ""
    return (
        f"the runner ({runner}) has not been heard of for {shown_seconds(silent)}: "
        "it was killed, or its machine stopped, or the clocks differ; look there"
    )


def stall(run: Run) -> str:
    """A sentence, if a run without `trouble` has not told for long that it lives; else ""."""
    from patchmill.show.progress import shown_seconds

    silent = silence(run)
    if run.state != "running" or silent < SILENT_SECONDS:
        return ""
    return f"the runner ({run.runner}) has not told for {shown_seconds(silent)} that it lives: it was stopped, or hangs"


def runs_in(folder: str, name: str = "", most: int | None = None) -> list[Run]:
    """Runs whose records lie in a folder; what points to one is not one more, and what can't be read is none.

    Parameters
    ----------
    folder : str
    name : str
        Of the pipeline whose runs count; empty for all.
    most : int, optional
        Only so many: what the pointer points to, and the last by the names of their records, which begin with the time.
    """
    found: list[Run] = []
    for path in _last_first(folder):
        with suppress(PatchmillError):
            run = read_status(path)
            found += [run] if name in {"", run.name} else []
        if len(found) == most:
            break
    return found


def _last_first(folder: str) -> Iterator[str]:
    """What is or was a record in a folder: first what the pointer points to, whatever its name."""
    folder = os.path.realpath(folder)
    pointed = _pointed(folder)
    if os.path.dirname(pointed) == folder and os.path.isfile(os.path.join(pointed, STATUS)):
        yield pointed
    yield from (path for path in _paths(folder) if path != pointed)


def _paths(folder: str) -> Iterator[str]:
    """What is or was a record in a folder, the last by its name first."""
    folder = os.path.realpath(folder)
    for inside in sorted(os.listdir(folder), reverse=True) if os.path.isdir(folder) else []:
        path = os.path.join(folder, inside)
        if not os.path.islink(path) and os.path.isfile(os.path.join(path, STATUS)):
            yield path


def _unreadable(folder: str, name: str, behind: str = "") -> str:
    """A sentence, if records of a pipeline can't be read, of those whose names come behind `behind`; else ""."""
    sentences = []
    for path in _paths(folder):
        inside = os.path.basename(path)
        if inside <= behind:
            break
        if name and not re.fullmatch(rf"\d+-\d+-{re.escape(name)}(-\d+)?", inside):  # all that tells whose it is
            continue
        try:
            read_status(path)
        except PatchmillError as error:
            sentences.append(str(error))
    more = f"; nor can {len(sentences) - 1} more in {folder}" if len(sentences) > 1 else ""
    return f"{sentences[0]}{more}" if sentences else ""


def silence(run: Run) -> float:
    """Seconds since a run told that it lives; by how much the clocks differ, if that is still to come."""
    return abs(_since(run.beat or run.began))


def seconds_since(moment: str) -> float:
    """Seconds since a moment, ISO 8601; none since one that is still to come."""
    return max(0.0, _since(moment))


def _since(moment: str) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()


def _in_time(runs: Sequence[Run]) -> list[Run]:
    """Runs in the order in which they began; in its folder, none after the one that the pointer points to."""
    # Where a record says that it did, the clock was wrong.
    pointers = {folder: _pointed(folder) for folder in {os.path.dirname(run.folder) for run in runs}}
    lasts = {os.path.dirname(run.folder): run for run in runs if run.folder in pointers.values()}

    def when(run: Run) -> tuple[str, bool, float]:
        last = lasts.get(os.path.dirname(run.folder), run)
        return min(run.began, last.began), run is last, os.path.getmtime(run.folder)

    return sorted(runs, key=when)


def _records_of(place: str) -> _Records:
    if os.path.isdir(place):
        inner = os.path.join(place, "records")
        return _Records(os.path.abspath(inner if os.path.isdir(inner) else place))
    from patchmill.stages.config import read_config
    from patchmill.stages.pipelines import runs_folder

    # What else is wrong with the config by now does not matter: its runs were before.
    config = read_config(place)
    folder = runs_folder(config)
    if not folder:
        config.problems.check()
    return _Records(folder, config.model.name)


def _records_around() -> Iterator[_Records]:
    yield from map(_Records, records_around())
    for path in configs_around():
        with suppress(ConfigError):
            yield _records_of(path)


def _none_yet(where: str | None, known: Sequence[_Records]) -> str:
    if not where:
        return (
            f"no run is to be found from {os.getcwd()}: there are no records in it or in runs, and none of configs in "
            "it, in configs or in ../configs; name a config, or a folder of records"
        )
    begin = f"; begin one with: patchmill run {where}" if known[0].name else ""
    return f"there is no run yet of {where}: {known[0].folder} holds no record{begin}"


def _pointed(runs: str) -> str:
    link = os.path.join(runs, LATEST)
    if os.path.islink(link):
        return os.path.realpath(link)
    try:
        with open(f"{link}.txt", encoding="utf-8") as file:
            return os.path.join(runs, file.read().strip())
    except OSError:
        return ""
