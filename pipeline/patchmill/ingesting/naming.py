"""Names of images: those of their files, made longer only where two would be the same."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence


def image_names(files: Sequence[tuple[str, str]], given: Sequence[str] = ()) -> list[str]:
    """One name an image, no two the same.

    Parameters
    ----------
    files : sequence of (path, label)
        Absolute path of the file, and what tells the image from others in it.
    given : sequence of str
        Names that the first of these have already, and keep, whoever comes later.

    Returns
    -------
    list of str
        The file's name without its ending, and the label; where two files share that, as much of the path as tells them
        apart; where only the ending does, with it.

    Examples
    --------
    >>> image_names([("/d/a/001.png", ""), ("/d/b/001.png", ""), ("/d/b/002.tif", "[page=0]")])
    ['a/001', 'b/001', '002[page=0]']
    """
    paths = list(dict.fromkeys(path for path, _ in files))
    short = {path: os.path.splitext(os.path.basename(path))[0] for path in paths}
    for group in _same(short):
        root = os.path.commonpath([os.path.dirname(path) for path in group])
        short |= {path: os.path.splitext(os.path.relpath(path, root))[0].replace(os.sep, "/") for path in group}
    for group in _same(short):
        short |= {path: short[path] + os.path.splitext(path)[1] for path in group}
    return [*given, *_numbered([short[path] + label for path, label in files[len(given) :]], given)]


def _same(names: Mapping[str, str]) -> list[list[str]]:
    """Groups of paths with one name."""
    groups: dict[str, list[str]] = {}
    for path, name in names.items():
        groups.setdefault(name, []).append(path)
    return [group for group in groups.values() if len(group) > 1]


def _numbered(names: Sequence[str], taken_before: Sequence[str]) -> list[str]:
    """Names with numbers where some are still the same."""
    taken, result = set(taken_before), []
    given = set(names)
    for name in names:
        number, free = 1, name
        while free in taken or (free != name and free in given):
            number += 1
            free = f"{name}#{number}"
        taken.add(free)
        result.append(free)
    return result
