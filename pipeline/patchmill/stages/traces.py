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

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, TypeAlias

from patchmill.stages.asking import answer_of
from patchmill.stages.measuring import file_digest, files_below, listing, matching, place_at, store_root
from patchmill.stages.places import SAMPLE, TEMPORARY, is_local

Trace: TypeAlias = dict[str, Any]
"""Plain JSON; two that are equal are of the same content."""

_SMALL = 64 * 2**20
"""Bytes of which the content is looked at: a tenth of a second."""


_FIELDS = {"kind": str, "files": int, "bytes": int, "digest": str, "root": str, "content": str}


def is_trace(told: Trace) -> bool:
    """Whether plain JSON has the fields of a trace, of their types."""
    right = all(isinstance(told[name], kind) for name, kind in _FIELDS.items() if name in told)
    lineage = told.get("lineage", [None, 0])
    return "kind" in told and right and isinstance(lineage, list) and len(lineage) == 2


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


def stamp(path: str) -> Trace:
    """What of a local output is another once anybody has written there, be it the same bytes.

    ``{}`` where there is no file, and where patchmill wrote a store: that says itself for what it was made, and may be
    found to be right.
    """
    place = place_at(path)
    if any(_is_own_root(file) for file in _files(path, place)):
        return {}
    # The folder itself too: it may be touched.
    inside, itself = (
        listing(((file, file) for file in files), says=_stamped) for files in (_files(path, place), [place or path])
    )
    if not inside.files:
        return {}
    digest = hashlib.sha256(f"{inside.sha256} {itself.sha256}".encode()).hexdigest()
    return {"kind": "stamp", "files": inside.files, "digest": digest}


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
        return "is gone, or holds no file"
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
    place = place_at(path)
    if place is None:
        listed = _listed((os.path.relpath(file, path), file) for file in matching(path))
        return {"kind": "files", **listed} if listed["files"] else {"kind": "nothing"}
    return _folder(place) if os.path.isdir(place) else {"kind": "file", **_listed([(os.path.basename(place), place)])}


def _files(path: str, place: str | None) -> Iterable[str]:
    if place is None:
        return matching(path)
    return files_below(place) if os.path.isdir(place) else [place]


def _is_own_root(path: str) -> bool:
    if os.path.basename(path) != "zarr.json":
        return False
    with suppress(OSError), open(path, "rb") as file:
        return own_attributes(file.read()) is not None
    return False


def _stamped(path: str, found: os.stat_result) -> str:
    # Times of content are copied along, that of the last change (ctime) can't be set; and of a link that is made again
    # what it leads to may stay.
    return " ".join(f"{each.st_mtime_ns} {each.st_ctime_ns} {each.st_ino}" for each in (found, os.lstat(path)))


def _folder(path: str) -> Trace:
    root = store_root(path)
    listed = _listed((os.path.relpath(file, path), file) for file in files_below(path))
    if root is None:
        return {"kind": "folder" if listed["files"] else "nothing", **listed}
    with open(os.path.join(path, root), "rb") as file:
        return {"kind": "store", **listed, **_of_root(file.read())}


def _listed(files: Iterable[tuple[str, str]]) -> Trace:
    found = listing(files)
    return {"files": found.files, "bytes": found.nbytes, "digest": found.sha256}


def _content(path: str) -> str:
    digest = hashlib.sha256()
    for name, file in sorted((os.path.relpath(file, path), file) for file in _files(path, place_at(path))):
        with suppress(OSError):
            digest.update(f"{name}\0{file_digest(file)}\n".encode(errors="replace"))
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
        root = answer_of(url, lambda: place.read("zarr.json"))
        if root is None:
            return {"kind": "unknown" if place.exists() else "nothing"}
        if own_attributes(root) is None:
            return {"kind": "unknown"}
        names = sorted(place.keys())
    except (PatchmillError, ValueError, TypeError, OSError):
        return {"kind": "unknown"}
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
    return {"kind": "store", "files": len(names), "digest": digest, **_of_root(root)}
