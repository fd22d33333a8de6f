"""Files that were met before: told from new ones by little more than a look at the folder.

A mark is what is kept of a file. The same size and the same time of change are taken for the same file. Where only the
time differs, the content decides for a small file; of a large one, of which only samples are kept, nobody can tell what
was written again, so it counts as changed. Of a Zarr store the metadata are kept, and how much there is and since when.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import chain
from typing import Any

from patchmill.ingesting.finding import File

_SAMPLES, _SAMPLE = 16, 4096
"""Pieces of a file that its digest is made of, and their bytes; a smaller file goes in whole."""

_METADATA = ("zarr.json", ".zgroup", ".zarray", ".zattrs", ".zmetadata")

VANISHED = "is no longer there"

Key = tuple[str, str]
"""Path of a file, and the variable of several that is taken of it."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What a file is known by.

    Parameters
    ----------
    path : str
        Absolute, as it was found.
    variable : str
        Which variable of several; empty where none was named.
    nbytes : int
        Its size; of a Zarr store, that of all its objects.
    modified : int
        Nanoseconds since 1970; of a Zarr store, of the object that was written last.
    digest : int
        64 bits of the SHA-256 of samples of its content; of a Zarr store, of its metadata.
    """

    path: str
    variable: str
    nbytes: int
    modified: int
    digest: int

    @property
    def key(self) -> Key:
        """What tells it from other files."""
        return self.path, self.variable


def mark_of(file: File) -> Mark:
    """The mark of a file as it is now.

    Raises
    ------
    OSError
        If it can't be read.
    """
    if os.path.isdir(file.path):
        content = [_content(path) for path in _metadata(file.path)]
        return Mark(file.path, file.variable, *_extent(file.path), _digest(content))
    nbytes, modified = _size_and_time(os.stat(file.path))
    return Mark(file.path, file.variable, nbytes, modified, _digest(_samples(file.path, nbytes)))


def _size_and_time(about: os.stat_result) -> tuple[int, int]:
    return about.st_size, about.st_mtime_ns


def _extent(store: str) -> tuple[int, int]:
    """Bytes of all objects, and when the last of them was written."""
    nbytes, modified = 0, os.stat(store).st_mtime_ns
    for folder, _, names in os.walk(store):
        for name in names:
            about = os.stat(os.path.join(folder, name))
            nbytes, modified = nbytes + about.st_size, max(modified, about.st_mtime_ns)
    return nbytes, modified


def _metadata(folder: str) -> Iterator[str]:
    """Metadata of a Zarr store: its own, and that of what lies in it."""
    for inside in ("", *sorted(each.name for each in os.scandir(folder) if each.is_dir())):
        paths = (os.path.join(folder, inside, name) for name in _METADATA)
        yield from (path for path in paths if os.path.isfile(path))


def _content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _samples(path: str, size: int) -> Iterator[bytes]:
    if size <= _SAMPLES * _SAMPLE:
        yield _content(path)
        return
    with open(path, "rb") as file:
        for number in range(_SAMPLES):
            file.seek(number * (size - _SAMPLE) // (_SAMPLES - 1))
            yield file.read(_SAMPLE)


def _digest(parts: Iterable[bytes]) -> int:
    summed = hashlib.sha256()
    for part in parts:
        summed.update(part)
    return int.from_bytes(summed.digest()[:8], "big")


def difference(mark: Mark) -> str | None:
    """How a file differs from its mark, None where it does not; the text continues a sentence."""
    try:
        is_folder = os.path.isdir(mark.path)
        nbytes, modified = _extent(mark.path) if is_folder else _size_and_time(os.stat(mark.path))
        if (nbytes, modified) == (mark.nbytes, mark.modified):
            return None
        if nbytes != mark.nbytes:
            return f"had {mark.nbytes:,} bytes and has {nbytes:,}"
        now = mark_of(File(mark.path, mark.path, mark.variable))
    except (FileNotFoundError, NotADirectoryError):
        return VANISHED
    except OSError as error:
        return f"can't be read any more: {error.strerror}"
    if now.digest != mark.digest:
        return "has other content"
    whole = not is_folder and mark.nbytes <= _SAMPLES * _SAMPLE
    return None if whole else "was written again since, with the same size"


@dataclass(frozen=True, slots=True)
class Recognized:
    """What of the files on offer is new, and what became of those that were met before.

    Parameters
    ----------
    new : list of File
        To be opened: never met, or not all of their images could be taken.
    changed : tuple of (str, str)
        Files that are not what they were, and how they differ.
    vanished : tuple of str
        Files that are no longer there.
    moved : int
        Files that are no longer there, and offered under another path.
    """

    new: list[File]
    changed: tuple[tuple[str, str], ...]
    vanished: tuple[str, ...]
    moved: int


def recognize(
    files: Sequence[File], known: Mapping[Key, Sequence[Mark]], partly: frozenset[Key], pool: Executor
) -> Recognized:
    """Tell new files from known ones.

    Parameters
    ----------
    files : sequence of File
        On offer, in their order.
    known : mapping
        Marks of all files of a store, partners of the images included; the latest last.
    partly : frozenset
        Of these, the files of which some images could not be taken: they are tried again.
    pool : Executor
    """
    marks = list(chain.from_iterable(known.values()))
    groups = [marks[at : at + 1000] for at in range(0, len(marks), 1000)]
    found = chain.from_iterable(pool.map(_differences, groups))
    differs = {mark.key: reason for mark, reason in zip(marks, found, strict=True) if reason is not None}
    gone = {key for key, reason in differs.items() if reason == VANISHED}
    moved = _moved(files, {key: known[key][-1] for key in gone}, known)
    new = [
        file
        for file in files
        if file not in moved
        and ((file.path, file.variable) not in known or (file.path, file.variable) in partly - differs.keys())
    ]
    return Recognized(
        new,
        tuple(dict.fromkeys((path, reason) for (path, _), reason in differs.items() if reason != VANISHED)),
        tuple(dict.fromkeys(path for path, variable in known if (path, variable) in gone - set(moved.values()))),
        len(moved),
    )


def _differences(marks: Iterable[Mark]) -> list[str | None]:
    return [difference(mark) for mark in marks]


def _moved(files: Sequence[File], gone: Mapping[Key, Mark], known: Collection[Key]) -> dict[File, Key]:
    """Files on offer that are vanished ones at another path: same name, size, time of change and samples.

    A vanished file is the first on offer that could be it; all others, its copies, are new.
    """
    lost: dict[tuple[Any, ...], list[Key]] = {}
    for key, mark in gone.items():
        lost.setdefault((os.path.basename(mark.path), *_traits(mark)), []).append(key)
    names = {name for name, *_ in lost}
    moved = {}
    for file in files:
        name = os.path.basename(file.path)
        if name not in names or (file.path, file.variable) in known:
            continue
        try:
            keys = lost.get((name, *_traits(mark_of(file))))
        except OSError:
            continue
        if keys:
            moved[file] = keys.pop(0)
    return moved


def _traits(mark: Mark) -> tuple[str, int, int, int]:
    return mark.variable, mark.nbytes, mark.modified, mark.digest
