"""Paths that notebooks and configs name, made absolute. URLs, the sample and temporary places stay what they are."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

from patchmill.stages.packaged import PACKAGED

SAMPLE = "sample:"
"""Stands for the photographs that come along."""

TEMPORARY = "temp:"
"""Begins a path below a new temporary folder: ``temp:source.zarr``."""


PARENT = "{parent}"
"""Begins a pattern of files that lie beside those of another parameter: ``{parent}/{stem}_mask.tif``."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_FILE = re.compile(r"file://", re.IGNORECASE)


def is_local(path: str) -> bool:
    """Whether `path` is one of a local disk: no URL but ``file://``, not the sample, not temporary, not packaged.

    Examples
    --------
    >>> [is_local(path) for path in ("data/x.zarr", "~/x", "file:///x", "s3://bucket/x", "sample:", "temp:x.zarr")]
    [True, True, True, False, False, False]
    """
    if path.startswith((SAMPLE, TEMPORARY, PACKAGED)):
        return False
    return _URL.match(path) is None or _FILE.match(path) is not None


def absolute(path: str, base: str) -> str:
    """`path` below the folder `base`, if it is local and relative; ``~`` is the user's home, ``file://`` goes.

    What begins with ``{parent}`` is relative to other files, and stays.

    Examples
    --------
    >>> absolute("../data/*.tif", "/project/configs"), absolute("s3://bucket/x", "/project")
    ('/project/data/*.tif', 's3://bucket/x')
    """
    if not path or not is_local(path) or path.startswith(PARENT):
        return path
    if _FILE.match(path):
        path = unquote(urlsplit(path).path)
    return os.path.normpath(os.path.join(base, os.path.expanduser(path)))


def each_path(value: Any, change: Callable[[str], str]) -> Any:
    """`value` with `change` applied to every text in it: a path, a list or a mapping of paths.

    Examples
    --------
    >>> each_path({"mask": ["a", "b"]}, str.upper)
    {'mask': ['A', 'B']}
    """
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [each_path(item, change) for item in value]
    if isinstance(value, dict):
        return {key: each_path(item, change) for key, item in value.items()}
    return value


def beside(pattern: str, paths: Iterable[str]) -> Iterator[str]:
    """A pattern that begins with ``{parent}``, for the folders of local paths and patterns.

    Examples
    --------
    >>> list(beside("{parent}/{stem}_mask.png", ["/nowhere/*.png", "sample:"]))
    ['/nowhere/{stem}_mask.png']
    """
    rest = pattern.removeprefix(PARENT)
    for path in filter(is_local, paths):
        yield (os.path.join(path, "**") if os.path.isdir(path) else os.path.dirname(path)) + rest


def moved(path: str, before: str, now: str) -> str:
    """`path`; where it is the folder `before`, or lies in it, the same in the folder `now`.

    Examples
    --------
    >>> moved("/old/a", "/old", "/new"), moved("/older/a", "/old", "/new")
    ('/new/a', '/older/a')
    """
    return now + path[len(before) :] if path == before or path.startswith(f"{before}/") else path


def is_within(path: str, folder: str) -> bool:
    """Whether `path` is `folder` or lies in it; on a local disk once all links are followed, as far as they are there.

    Examples
    --------
    >>> is_within("/a/b/c", "/a/b"), is_within("/a/bc", "/a/b"), is_within("s3://a/b/c", "s3://a/b")
    (True, False, True)
    """
    return real_place(folder) in folders(real_place(path))


def real_place(path: str) -> str:
    """`path` without a slash at its end; on a local disk once all links are followed, as far as they are there."""
    return (os.path.realpath(path) if is_local(path) else path).rstrip("/")


def folders(path: str) -> Iterator[str]:
    """A path as `real_place` gives it, and each that it lies in.

    Examples
    --------
    >>> list(folders("/a/b")), list(folders("s3://a/b"))[:2]
    (['/a/b', '/a', ''], ['s3://a/b', 's3://a'])
    """
    yield path
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def check_temporary(path: str) -> str:
    """`path`, unless it begins with ``temp:`` and leads out of a temporary folder.

    Raises
    ------
    ValueError
        If it does.
    """
    if path.startswith(TEMPORARY) and ".." in path.removeprefix(TEMPORARY).split("/"):
        raise ValueError(f"what begins with {TEMPORARY} lies in a new folder and can't lead out of it, got {path!r}")
    return path


class TemporaryFolder:
    """A folder that is made, and told of, when the first place in it is asked for. It stays: it holds results."""

    def __init__(self) -> None:
        self.path: str | None = None

    def place(self, path: str) -> str:
        """`path`, or where it lies if it begins with ``temp:``; a `ValueError` where that is outside."""
        if not check_temporary(path).startswith(TEMPORARY):
            return path
        if self.path is None:
            self.path = tempfile.mkdtemp(prefix="patchmill-")
            print(f"Working in the temporary folder {self.path}")  # noqa: T201 - what a notebook has no other word for
        return os.path.join(self.path, path.removeprefix(TEMPORARY).lstrip("/") or "out")
