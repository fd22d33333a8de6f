"""What is at a place, known again by looking at names, sizes and times: nothing that is large is read.

::

    file                    its size and time
    folder, pattern         of all files below, or of all that match: name, size, time
    Zarr store              the same, and its root; of one that patchmill wrote also when it was begun and has grown
    s3://, gs://            of a store that patchmill wrote: its root, which every commit changes, and all names
    other URLs              can't be known again

A file that is rewritten with as many bytes within the clock's resolution, or whose time is set back, is not seen.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, TypeAlias

from patchmill.stages.places import SAMPLE, TEMPORARY, is_local

Trace: TypeAlias = dict[str, Any]
"""Plain JSON; two that are equal are of the same content."""

_SMALL = 64 * 2**20
"""Bytes of which the content is looked at: a tenth of a second."""

_ROOTS = ("zarr.json", ".zmetadata", ".zgroup", ".zarray")

_UNFINISHED = (".__tmp", ".__lock")


def trace(path: str, options: Mapping[str, Any] | None = None) -> Trace:
    """What is at a path, a pattern or a URL.

    Parameters
    ----------
    path : str
        Absolute where it is local.
    options : mapping, optional
        Storage options, where it is a URL.
    """
    if path.startswith(SAMPLE):
        return {"kind": "sample"}
    if path.startswith(TEMPORARY):
        return {"kind": "temporary"}
    if not is_local(path):
        return _remote(path, options)
    try:
        return _local(path)
    except OSError:  # it may not be read, or went while we looked
        return {"kind": "unknown"}


def left_at(path: str, options: Mapping[str, Any] | None = None) -> Trace:
    """What a stage left at an output; of what says nothing about its maker, and is not large, the content too."""
    found = trace(path, options)
    small = found.get("bytes", _SMALL + 1) <= _SMALL and "made" not in found
    return {**found, "content": _content(path)} if small and is_local(path) else found


def is_left(path: str, found: Trace, left: Trace) -> bool:
    """Whether what is found at an output is what a stage left there, be it that only times have changed since."""
    if found == {name: value for name, value in left.items() if name != "content"}:
        return True
    totals = ("kind", "files", "bytes", "root")
    alike = all(found.get(name) == left.get(name) for name in totals)
    return alike and "content" in left and _content(path) == left["content"]


def is_known(found: Trace) -> bool:
    """Whether another look tells if it is still the same."""
    return found["kind"] not in {"temporary", "unknown"}


def only_grew(before: Trace, now: Trace) -> bool:
    """Whether all that was there is still there, or whoever reads it sees by itself what is not.

    Of files the stage remembers each one. Of a store it knows the metadata, so there the store itself must say that it
    is the one that was begun then, and has been appended to since.
    """
    if not (is_known(before) and is_known(now)):
        return False
    if before == now or "store" not in {before["kind"], now["kind"]}:
        return True
    begun, at = before.get("lineage", [None, 0])
    begun_now, at_now = now.get("lineage", [None, 0])
    return begun is not None and begun == begun_now and at < at_now


def difference(before: Trace, now: Trace) -> str:
    """How two looks at one place differ, as the end of a sentence about it."""
    if now["kind"] == "nothing":
        return "is gone"
    if "store" in {before["kind"], now["kind"]}:
        return "has grown" if only_grew(before, now) else "changed"
    counts = [found.get("files") for found in (before, now)]
    if None not in counts and counts[0] != counts[1]:
        return f"changed ({counts[1]:,} files, {counts[0]:,} before)"
    return "changed"


def own_attributes(root: bytes | None) -> Mapping[str, Any] | None:
    """What patchmill keeps in the root ``zarr.json`` of a store that it wrote; None of any other."""
    try:
        own = json.loads(root or b"null")["attributes"]["patchmill"]
    except (ValueError, TypeError, KeyError):
        return None
    return own if isinstance(own, dict) else None


# -- local disks -------------------------------------------------------------------------------------------------------


def _local(path: str) -> Trace:
    if os.path.isdir(path):
        return _folder(path)
    if os.path.exists(path):
        return {"kind": "file", **_listed([(path, path)])}
    inside = path.rpartition(":")[0]
    if os.path.exists(inside):  # file.nc:variable
        return {"kind": "file", **_listed([(inside, inside)])}
    # A pattern such as masks/{stem}.tif stands for files whose names the stage works out.
    pattern = re.sub(r"\{[^{}]*\}", "*", path)
    if not glob.has_magic(pattern):
        return {"kind": "nothing"}
    found = sorted(glob.glob(pattern, recursive=True))
    inner = [each for match in found for each in (_below(match) if os.path.isdir(match) else [(match, match)])]
    return {"kind": "files" if found else "nothing", **_listed(inner)}


def _folder(path: str) -> Trace:
    root = next((name for name in _ROOTS if os.path.isfile(os.path.join(path, name))), None)
    listed = _listed((os.path.relpath(file, path), file) for _, file in _below(path))
    if root is None:
        return {"kind": "folder" if listed["files"] else "nothing", **listed}
    with open(os.path.join(path, root), "rb") as file:
        return {"kind": "store", **listed, **_of_root(file.read())}


def _below(folder: str) -> Iterator[tuple[str, str]]:
    """Files below a folder, links followed, what is hidden or unfinished left out."""
    waiting, seen = [folder], {os.path.realpath(folder)}
    while waiting:
        with suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if _is_aside(entry.name):
                    continue
                if not entry.is_dir():
                    yield entry.path, entry.path
                elif not entry.is_symlink() or os.path.realpath(entry.path) not in seen:
                    seen |= {os.path.realpath(entry.path)} if entry.is_symlink() else set()
                    waiting.append(entry.path)


def _is_aside(name: str) -> bool:
    # What is hidden is no input of ours, and comes and goes; but Zarr 2 calls its metadata so.
    hidden = name.startswith(".") and not name.startswith(".z")
    return hidden or any(mark in name for mark in _UNFINISHED)


def _listed(files: Iterable[tuple[str, str]]) -> Trace:
    """Of files, each by what it is called and where it lies: a digest of all names, sizes and times, and totals."""
    lines, total = [], 0
    for name, path in files:
        with suppress(OSError):  # it went while we looked
            found = os.stat(path)
            lines.append(f"{name}\0{found.st_size}\0{found.st_mtime_ns}\n")
            total += found.st_size
    text = "".join(sorted(lines)).encode(errors="surrogateescape")
    return {"files": len(lines), "bytes": total, "digest": hashlib.sha256(text).hexdigest()}


def _content(path: str) -> str:
    files = [(path, path)] if os.path.isfile(path) else _below(path)
    digest = hashlib.sha256()
    for name, file in sorted((os.path.relpath(file, path), file) for _, file in files):
        with suppress(OSError), open(file, "rb") as opened:
            digest.update(f"{name}\0{hashlib.file_digest(opened, 'sha256').hexdigest()}\n".encode(errors="replace"))
    return digest.hexdigest()


def _of_root(root: bytes) -> Trace:
    found: Trace = {"root": hashlib.sha256(root).hexdigest()}
    own = own_attributes(root)
    made = {} if own is None else own.get("provenance", {})
    if own is not None:
        found["made"] = made.get("stage", "")
    if own is not None and own.get("kind") == "source" and "generation" in own and "created" in made:
        found["lineage"] = [made["created"], own["generation"]]
    return found


# -- object stores -----------------------------------------------------------------------------------------------------


def _remote(url: str, options: Mapping[str, Any] | None) -> Trace:
    from patchmill.errors import PatchmillError
    from patchmill.storage.locations import Location

    try:
        place = Location.parse(url, options=options)
        if place.in_process or url.startswith("http"):
            return {"kind": "unknown"}
        root = place.read("zarr.json")
        if root is None:
            return {"kind": "unknown" if place.exists() else "nothing"}
        if own_attributes(root) is None:
            return {"kind": "unknown"}
        names = sorted(place.keys())
    except (PatchmillError, ValueError, TypeError, OSError):
        return {"kind": "unknown"}
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
    return {"kind": "store", "files": len(names), "digest": digest, **_of_root(root)}
