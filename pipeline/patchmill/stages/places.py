"""Paths that notebooks and configs name, made absolute. URLs, the sample and temporary places stay what they are."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from typing import Any

SAMPLE = "sample:"
"""Stands for the photographs that come along."""

TEMPORARY = "temp:"
"""Begins a path below a new temporary folder: ``temp:source.zarr``."""


def is_local(path: str) -> bool:
    """Whether `path` is one of a local disk: no URL, not the sample, not temporary.

    Examples
    --------
    >>> [is_local(path) for path in ("data/x.zarr", "~/x", "s3://bucket/x", "sample:", "temp:x.zarr")]
    [True, True, False, False, False]
    """
    return "://" not in path and not path.startswith((SAMPLE, TEMPORARY))


def is_within(path: str, folder: str) -> bool:
    """Whether `path` is `folder`, or lies in it.

    Examples
    --------
    >>> [is_within(path, "/a/b") for path in ("/a/b", "/a/b/c", "/a/bc")]
    [True, True, False]
    """
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def absolute(path: str, base: str) -> str:
    """`path` below the folder `base`, if it is local and relative; ``~`` is the user's home.

    Examples
    --------
    >>> absolute("../data/*.tif", "/project/configs"), absolute("s3://bucket/x", "/project")
    ('/project/data/*.tif', 's3://bucket/x')
    """
    if not path or not is_local(path):
        return path
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


class TemporaryFolder:
    """A folder that is made, and told of, when the first place in it is asked for. It stays: it holds results."""

    def __init__(self) -> None:
        self.path: str | None = None

    def place(self, path: str) -> str:
        """`path`, or where it lies if it begins with ``temp:``."""
        if not path.startswith(TEMPORARY):
            return path
        if self.path is None:
            self.path = tempfile.mkdtemp(prefix="patchmill-")
            print(f"Working in the temporary folder {self.path}")  # noqa: T201 - what a notebook has no other word for
        return os.path.join(self.path, path.removeprefix(TEMPORARY).lstrip("/") or "out")
