"""What lies at a place of a local disk, summed up so that it is known again: bytes, number of files, a digest.

==================  ======================================================================
a file              of its bytes; of a large one, of its name, size and time
a Zarr store        of its metadata, whole, and of the names and sizes of all other objects
a folder, a glob    of the names, sizes and times of its files
==================  ======================================================================

So bytes that change in a store behind a size that stays are not seen; its checksums are `patchmill verify`'s matter.
"""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

_WHOLE = 32 * 2**20
"""Bytes of a file that is read for its digest."""

_MOST_FILES = 50_000
"""A second or two on a disk; a run shall not wait for its own manifest."""

_METADATA = {"zarr.json", ".zgroup", ".zarray", ".zattrs", ".zmetadata"}


@dataclass(frozen=True, slots=True)
class Content:
    """What lies at a place.

    Parameters
    ----------
    nbytes : int
    files : int
    sha256 : str or None
        None where there are too many files to look at; the other two are of those that were.
    of : str
        Of what the digest is.
    """

    nbytes: int
    files: int
    sha256: str | None
    of: str


def content_at(path: str) -> Content | None:
    """What lies at a path, a glob, or a path with {names} to fill in, links within not followed; None if nothing does.

    Examples
    --------
    >>> content_at("/nowhere") is None
    True
    """
    # A pattern such as masks/{stem}.tif stands for files whose names the stage works out.
    pattern = re.sub(r"\{[^{}]*\}", "*", path)
    if not os.path.lexists(path) and glob.has_magic(pattern):
        found = sorted(glob.glob(pattern, recursive=True))
        return _sum(((each, each) for each in found if os.path.isfile(each)), store=False) if found else None
    # And file.nc:variable for one variable of a file.
    path = path if os.path.exists(path) else path.rpartition(":")[0]
    if os.path.isfile(path):
        return _of_file(path)
    if not os.path.isdir(path):
        return None
    return _sum(_below(path), store=any(os.path.isfile(os.path.join(path, name)) for name in _METADATA))


def _of_file(path: str) -> Content:
    size = os.stat(path).st_size
    if size > _WHOLE:
        return _sum(iter([(path, os.path.basename(path))]), store=False)
    with open(path, "rb") as file:
        return Content(size, 1, hashlib.file_digest(file, "sha256").hexdigest(), "bytes")


def _sum(files: Iterator[tuple[str, str]], *, store: bool) -> Content:
    lines: list[str] = []
    nbytes = 0
    for path, name in files:
        if len(lines) == _MOST_FILES:
            return Content(nbytes, len(lines), None, f"the first {_MOST_FILES:,} files")
        with suppress(OSError):  # it went while we looked
            found = os.stat(path, follow_symlinks=False)
            nbytes += found.st_size
            lines.append(f"{name}\t{found.st_size}\t{_told(path, found.st_mtime_ns, store=store)}")
    # Sorted: no disk promises an order.
    digest = hashlib.sha256("\n".join(sorted(lines)).encode("utf-8", "surrogateescape")).hexdigest()
    return Content(nbytes, len(lines), digest, "metadata, names, sizes" if store else "names, sizes, times")


def _told(path: str, changed: int, *, store: bool) -> str:
    if not store:
        return str(changed)
    if os.path.basename(path) not in _METADATA:
        return ""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _below(folder: str) -> Iterator[tuple[str, str]]:
    waiting = [folder]
    while waiting:
        with suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                else:
                    yield entry.path, os.path.relpath(entry.path, folder)
