"""What is there at a place of a local disk: which files, how many bytes, and a digest of the list of them."""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

ROOTS = ("zarr.json", ".zmetadata", ".zgroup", ".zarray")
"""One of them makes a folder a Zarr store."""

_UNFINISHED = (".__tmp", ".__lock")


@dataclass(frozen=True, slots=True)
class Listing:
    """Files, summed up."""

    files: int
    nbytes: int
    sha256: str | None
    """Of the list in order, as `listing` says; None where there are more files than were to be looked at."""


def place_at(path: str) -> str | None:
    """The file or folder that a local path names, be it with a variable in it behind a colon; None if there is none.

    Examples
    --------
    >>> place_at("/"), place_at("/:variable"), place_at("/nowhere/*.tif")
    ('/', '/', None)
    """
    return next((place for place in (path, path.rpartition(":")[0]) if os.path.exists(place)), None)


def is_there(path: str) -> bool:
    """Whether there is anything at a local path, or any file that matches it as a pattern.

    Examples
    --------
    >>> is_there("/"), is_there("/nowhere/*.tif")
    (True, False)
    """
    return place_at(path) is not None or any(True for _ in matching(path))


def matching(path: str) -> Iterator[str]:
    """Files that match a pattern, and those below folders that do, each once, in no order; ``{stem}`` is any name."""
    # Of masks/{stem}.tif the stage works out the names.
    pattern = re.sub(r"\{[^{}]*\}", "*", path)
    seen: set[str] = set()
    for match in glob.iglob(pattern, recursive=True) if glob.has_magic(pattern) else ():
        for file in files_below(match) if os.path.isdir(match) else [match]:
            name = os.path.normpath(file)
            if name not in seen:
                seen.add(name)
                yield file


def files_below(folder: str, *, everything: bool = False) -> Iterator[str]:
    """Files below a folder, in no order.

    Parameters
    ----------
    folder : str
    everything : bool
        What takes room in the folder: links are not followed, and are files themselves. Without, what a reader finds:
        links are followed, and what is hidden or unfinished is left out.
    """
    waiting, seen = [folder], {os.path.realpath(folder)}
    while waiting:
        with suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if not everything and _is_aside(entry.name):
                    continue
                if not entry.is_dir(follow_symlinks=not everything):
                    yield entry.path
                elif not entry.is_symlink() or os.path.realpath(entry.path) not in seen:
                    seen |= {os.path.realpath(entry.path)} if entry.is_symlink() else set()
                    waiting.append(entry.path)


def listing(
    files: Iterable[tuple[str, str]],
    *,
    says: Callable[[str, os.stat_result], str] = lambda _, found: str(found.st_mtime_ns),
    most: int | None = None,
) -> Listing:
    """Files summed up.

    Parameters
    ----------
    files : iterable of (str, str)
        Each by what it is called and where it lies.
    says : callable
        What is known of a file beside its name and size; its time where not given.
    most : int, optional
        So many are looked at.
    """
    lines: list[str] = []
    nbytes = 0
    for name, path in files:
        if len(lines) == most:
            return Listing(len(lines), nbytes, None)
        with suppress(OSError):  # it went while we looked
            found = os.stat(path)
            lines.append(f"{name}\0{found.st_size}\0{says(path, found)}\n")
            nbytes += found.st_size
    # Sorted: no disk promises an order.
    text = "".join(sorted(lines)).encode(errors="surrogateescape")
    return Listing(len(lines), nbytes, hashlib.sha256(text).hexdigest())


def file_digest(path: str) -> str:
    """SHA-256 of the bytes of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def store_root(folder: str) -> str | None:
    """Name of the file that makes a folder a Zarr store; None where it is none."""
    return next((name for name in ROOTS if os.path.isfile(os.path.join(folder, name))), None)


def bytes_at(path: str) -> int | None:
    """Bytes of a file, or of all that is below a folder, links not followed; None where there is nothing.

    Examples
    --------
    >>> bytes_at("/nowhere") is None
    True
    """
    try:
        if not os.path.isdir(path):
            return os.stat(path).st_size
    except OSError:
        return None
    total = 0
    for file in files_below(path, everything=True):
        with suppress(OSError):  # it went while we looked
            total += os.lstat(file).st_size
    return total


def _is_aside(name: str) -> bool:
    # What is hidden is no input of ours, and comes and goes; but Zarr 2 calls its metadata so.
    hidden = name.startswith(".") and not name.startswith(".z")
    return hidden or any(mark in name for mark in _UNFINISHED)
