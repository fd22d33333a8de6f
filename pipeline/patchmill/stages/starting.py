"""`patchmill init`: the folder of a new project, which runs as it is."""

from __future__ import annotations

import os
import re
import shutil

from patchmill.errors import TargetExistsError

_STARTER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "starter")

_STANDS_FOR_NAME = "PROJECT_NAME"

_FILES = {
    "README.md": "README.md",
    "gitignore.txt": ".gitignore",
    "config.yaml": "configs/{name}.yaml",
    "data.md": "data/README.md",
    "measure.ipynb": "notebooks/measure.ipynb",
    "test_measure.txt": "tests/test_measure.py",
}
"""What is copied, and what it is called in the project."""


def start_project(name: str, folder: str = "") -> list[str]:
    """Write the folder of a new project, all of it or nothing.

    Parameters
    ----------
    name : str
        Of the project, its folder and its config: letters, digits, - and _, a letter first.
    folder : str
        Where the project's folder goes; by default the current one.

    Returns
    -------
    list of str
        The files, relative to the project's folder.

    Raises
    ------
    ValueError
        If the name can't be.
    TargetExistsError
        If there is something of that name that is not an empty folder.

    Examples
    --------
    >>> start_project("2 coasts")
    Traceback (most recent call last):
        ...
    ValueError: a project's name is a letter and up to 99 more, digits, - or _, got '2 coasts'; coasts would do
    """
    _check_name(name)
    target = os.path.join(folder, name)
    _check_free(target)
    aside = f"{target}.{os.getpid()}.tmp"
    written = [_place(given, name) for given in _FILES]
    try:
        for given in _FILES:
            _copy(given, os.path.join(aside, _place(given, name)), name)
        # Onto an empty folder too; onto one that has been filled meanwhile it fails.
        os.rename(aside, target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return written


def _check_name(name: str) -> None:
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,99}", name):
        return
    better = re.sub(r"^[^A-Za-z]+", "", re.sub(r"[^A-Za-z0-9_-]+", "_", os.path.basename(name.rstrip("/")))).strip("_")
    hint = f"; {better} would do" if better else ""
    raise ValueError(f"a project's name is a letter and up to 99 more, digits, - or _, got {name!r}{hint}")


def _check_free(target: str) -> None:
    if not os.path.lexists(target):
        return
    if os.path.islink(target) or not os.path.isdir(target):
        raise TargetExistsError(f"{target} is there and no folder; choose another name, or move it away")
    if os.listdir(target):
        raise TargetExistsError(
            f"the folder {target} is not empty, and a project begins in an empty one; choose another name"
        )


def _place(given: str, name: str) -> str:
    return _FILES[given].format(name=name)


def _copy(given: str, target: str, name: str) -> None:
    with open(os.path.join(_STARTER, given), encoding="utf-8") as file:
        text = file.read()
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with open(target, "w", encoding="utf-8") as file:
        file.write(text.replace(_STANDS_FOR_NAME, name))
