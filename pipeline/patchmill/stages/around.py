"""What lies around the current folder: configs, and the roots in which their runs are."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from pathlib import PurePath

from patchmill.errors import ConfigError
from patchmill.stages.declared import nearest
from patchmill.stages.packaged import PACKAGED, packaged_configs

_CONFIGS = ("configs", ".", os.path.join("..", "configs"), "..")
"""Where configs are looked for: from the folder of a project, from its notebooks, from beside a config."""

_ROOTS = ("runs", os.path.join("..", "runs"))
"""Where `patchmill run patchmill:demo` and the configs that come along put their roots."""


def configs_around() -> list[str]:
    """Configs that lie around the current folder, the nearest first; relative to it."""
    paths = [path for folder in _CONFIGS for path in sorted(glob.glob(os.path.join(folder, "*.y*ml")))]
    return [os.path.normpath(path) for path in paths if _looks_like_config(path)]


def records_around() -> list[str]:
    """Folders with records around the current folder, and those that could be; absolute."""
    found = [os.curdir, "records", *(each for root in _ROOTS for each in glob.glob(os.path.join(root, "*", "records")))]
    return [os.path.abspath(folder) for folder in found]


def check_place(place: str) -> None:
    """Refuse a config or folder that is not there, and name those that are.

    Raises
    ------
    ConfigError
        With the config that is probably meant, or all that lie around.
    """
    if not place.startswith(PACKAGED) and os.path.exists(os.path.expanduser(place)):
        return
    along = packaged_configs()
    if place in along:
        return
    raise ConfigError(f"there is no {place}{_meant(place, configs_around(), along)}")


def check_file(path: str) -> None:
    """Refuse a folder where a config is wanted, and name the configs in it.

    Raises
    ------
    ConfigError
        With the paths that may be meant.
    """
    if not os.path.isdir(os.path.expanduser(path)):
        return
    found = [name for folder in (path, os.path.join(path, "configs")) for name in _configs_in(folder)]
    way = f"name {' or '.join(found)}" if found else "it holds none, nor does a folder configs in it"
    raise ConfigError(f"a config is a file, and {path} is a folder: {way}")


def _configs_in(folder: str) -> list[str]:
    paths = glob.glob(os.path.join(glob.escape(os.path.expanduser(folder)), "*.y*ml"))
    return [os.path.join(folder, os.path.basename(path)) for path in sorted(paths) if _looks_like_config(path)]


def _meant(place: str, around: Sequence[str], along: Sequence[str]) -> str:
    """The end of a sentence that says what there is instead."""
    if place.startswith(PACKAGED):
        near = nearest(place.removeprefix(PACKAGED), [name.removeprefix(PACKAGED) for name in along])
        return near.replace("mean ", f"mean {PACKAGED}") or f"; there are {', '.join(along)}"
    for each in (*around, *along):
        if place in {PurePath(each).stem, each.removeprefix(PACKAGED)}:
            return f"; did you mean {each}?"
    beside = [f"{os.path.splitext(place)[0]}{suffix}" for suffix in (".yaml", ".yml")]
    for each in beside:
        if os.path.isfile(os.path.expanduser(each)):
            return f"; did you mean {each}?"
    there = f"; around here are {', '.join(around)}" if around else "; no config lies around here"
    return nearest(place, around) or there


def _looks_like_config(path: str) -> bool:
    try:
        with open(path, encoding="utf-8") as file:
            return re.search(r"^stages:", file.read(), re.MULTILINE) is not None
    except (OSError, UnicodeDecodeError):
        return False
