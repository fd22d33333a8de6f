"""Which run is meant: the one that began last, of a config, of a folder of records, or of what lies around."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from patchmill.errors import ConfigError, PatchmillError
from patchmill.stages.declared import nearest
from patchmill.stages.finding import last_of, runs_in
from patchmill.stages.packaged import PACKAGED
from patchmill.stages.records import STATUS, Run, read_status

_AROUND = ("configs", ".", os.path.join("..", "configs"), "..")
"""Where configs are looked for: from the folder of a project, from its notebooks, from beside a config."""

_ROOTS = ("runs", os.path.join("..", "runs"))
"""Where `patchmill run patchmill:demo` and the configs that come along put their roots."""

_MOST = 20
"""Records that are opened, of the many that years of nights leave; their names begin with the time."""


@dataclass(frozen=True, slots=True)
class Records:
    """A folder of records."""

    folder: str
    name: str = ""
    """Of the pipeline whose records count; empty for all that lie there."""


def run_meant(place: str = "") -> Run:
    """The run that began last.

    Parameters
    ----------
    place : str
        A config, a folder of records, the root in which that lies, or one record; by default whatever configs and
        roots lie around the current folder.

    Raises
    ------
    ConfigError
        If `place` is a config that can't be read.
    PatchmillError
        If there is no run yet.
    """
    place = os.path.expanduser(place)
    if place and os.path.isfile(os.path.join(place, STATUS)):
        return read_status(os.path.abspath(place))
    if place:
        check_place(place)
    known = [_records_at(place)] if place else list(_records_around())
    runs = [run for records in known for run in runs_in(records.folder, records.name, _MOST)]
    if not runs:
        raise PatchmillError(_none_yet(place, known))
    return last_of(runs)


def configs_around() -> list[str]:
    """Configs that lie around the current folder, the nearest first."""
    paths = [path for folder in _AROUND for path in sorted(glob.glob(os.path.join(folder, "*.y*ml")))]
    return [os.path.normpath(path) for path in paths if _looks_like_config(path)]


def check_place(place: str) -> None:
    """Refuse a config or folder that is not there, and name those that are.

    Raises
    ------
    ConfigError
        With the nearest config, or all that lie around.
    """
    if place.startswith(PACKAGED) or os.path.exists(os.path.expanduser(place)):
        return
    known = configs_around()
    around = f"; around here are {', '.join(known)}" if known else "; no config lies around here"
    raise ConfigError(f"there is no {place}{nearest(place, known) or around}")


def _records_at(place: str) -> Records:
    if os.path.isdir(place):
        inner = os.path.join(place, "records")
        return Records(os.path.abspath(inner if os.path.isdir(inner) else place))
    from patchmill.stages.config import read_config
    from patchmill.stages.pipelines import runs_folder

    # What else is wrong with the config by now does not matter: its runs were before.
    config = read_config(place)
    folder = runs_folder(config)
    if not folder:
        config.problems.check()
    return Records(folder, config.model.name)


def _records_around() -> Iterator[Records]:
    for path in configs_around():
        with suppress(ConfigError):
            yield _records_at(path)
    for root in _ROOTS:
        yield from (Records(os.path.abspath(folder)) for folder in glob.glob(os.path.join(root, "*", "records")))


def _looks_like_config(path: str) -> bool:
    try:
        with open(path, encoding="utf-8") as file:
            return re.search(r"^stages:", file.read(), re.MULTILINE) is not None
    except (OSError, UnicodeDecodeError):
        return False


def _none_yet(place: str, known: list[Records]) -> str:
    if not place:
        return (
            f"no run is to be found from {os.getcwd()}, in whose configs and ../configs configs are looked for; "
            "name a config or a folder of records, such as %patchmill status configs/demo.yaml"
        )
    begin = f"; begin one with: patchmill run {place}" if known[0].name else ""
    return f"there is no run yet of {place}: {known[0].folder} holds no record that can be read{begin}"
