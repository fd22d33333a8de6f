"""Whether stored objects are what was written: lengths, indexes, and the crc32c of every chunk, without decoding any.

::

    shard   | chunk | crc | chunk | crc | ... | index: offset and length of each chunk | crc |
            0                                 no gap, nothing beside                      end

The checksums are of the bytes as they are stored, so to compare them finds every wrong byte, at the speed of the disk.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from typing import Any, Protocol

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from patchmill.storage.locations import Location

Flags = NDArray[np.bool_]

ABSENT = np.uint64(2**64 - 1)
"""The offset of a chunk that a shard does not hold."""
_RIGHT = google_crc32c.value(google_crc32c.value(b"").to_bytes(4, "little"))
"""The crc32c of any bytes with their own crc32c behind them: no copy is needed to leave the last four out."""

_TOGETHER = 4 * 2**20
"""Small chunks that lie one behind the other are read in pieces of so many bytes."""


@dataclass(frozen=True, slots=True)
class ObjectFormat:
    """How an array is cut into objects, and these into chunks.

    Parameters
    ----------
    shape : tuple of int
        Of the array.
    unit : tuple of int
        Elements of an object along each axis.
    chunk : tuple of int
        Elements of a chunk; those of the object where it is one.
    sharded : bool
        Whether an object is a shard.
    separator : str
        What stands between the numbers in its key.
    nbytes : int, optional
        Of a chunk before compression, where blosc tells it in what it packed; None where that can't be compared.
    """

    shape: tuple[int, ...]
    unit: tuple[int, ...]
    chunk: tuple[int, ...]
    sharded: bool
    separator: str = "/"
    nbytes: int | None = None

    @classmethod
    def of(cls, metadata: Mapping[str, Any]) -> ObjectFormat:
        """From an array's metadata document, version 3."""
        unit = tuple(metadata["chunk_grid"]["configuration"]["chunk_shape"])
        first = metadata["codecs"][0]
        sharded = first["name"] == "sharding_indexed"
        chunk = tuple(first["configuration"]["chunk_shape"]) if sharded else unit
        separator = metadata["chunk_key_encoding"].get("configuration", {}).get("separator", "/")
        codecs = first["configuration"]["codecs"] if sharded else metadata["codecs"]
        nbytes = _raw_bytes(metadata["data_type"], chunk) if any(each["name"] == "blosc" for each in codecs) else None
        return cls(tuple(metadata["shape"]), unit, chunk, sharded, separator, nbytes)

    @property
    def counts(self) -> tuple[int, ...]:
        """Objects along each axis."""
        return tuple(-(-n // size) for n, size in zip(self.shape, self.unit, strict=True))

    @property
    def inside(self) -> tuple[int, ...]:
        """Chunks of an object along each axis."""
        return tuple(n // size for n, size in zip(self.unit, self.chunk, strict=True))

    def region(self, index: tuple[int, ...], chunk: int | None = None) -> tuple[tuple[int, int], ...]:
        """What an object holds, or one chunk of it: half-open intervals, one an axis, cut off at the array's end."""
        start = [at * size for at, size in zip(index, self.unit, strict=True)]
        size = self.unit
        if chunk is not None and self.sharded:
            inner = np.unravel_index(chunk, self.inside)
            start = [a + int(at) * n for a, at, n in zip(start, inner, self.chunk, strict=True)]
            size = self.chunk
        return tuple((a, min(a + n, end)) for a, n, end in zip(start, size, self.shape, strict=True))

    def key(self, index: tuple[int, ...]) -> str:
        """Key of an object, inside the array's folder."""
        return self.separator.join(["c", *map(str, index)])

    def index_of(self, key: str) -> tuple[int, ...] | None:
        """The object that has this key; None where none of the array can."""
        index = self.numbers_of(key)
        inside = index is not None and all(at < n for at, n in zip(index, self.counts, strict=True))
        return index if inside else None

    def numbers_of(self, key: str) -> tuple[int, ...] | None:
        """The same of an array of any length, as this one may have been, or may come to be."""
        head, *rest = key.split(self.separator)
        if head != "c" or len(rest) != len(self.shape) or not all(part.isascii() and part.isdigit() for part in rest):
            return None
        index = tuple(int(part) for part in rest)
        return index if self.key(index) == key else None


def _raw_bytes(name: Any, chunk: tuple[int, ...]) -> int | None:
    """Bytes of a chunk of elements of one size; texts have none."""
    try:
        return int(np.dtype(name).itemsize) * prod(chunk)
    except TypeError:
        return None


@dataclass(slots=True)
class Look:
    """What was found out about one object.

    Parameters
    ----------
    nbytes : int
        Stored bytes; -1 where there is none.
    whole : str
        What is wrong with it as a whole; empty where nothing is.
    chunks : dict of str
        Number of a chunk, row-major inside the object, to what is wrong with it.
    """

    nbytes: int = -1
    whole: str = ""
    chunks: dict[int, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether all is as it was written."""
        return self.nbytes >= 0 and not self.whole and not self.chunks


class Blob(Protocol):
    """Stored bytes."""

    @property
    def size(self) -> int:
        """How many."""

    def read(self, start: int, stop: int) -> bytes:
        """Some of them."""


@dataclass(slots=True)
class Held:
    """An object that was read as a whole, as object stores give it."""

    data: bytes

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.data)

    def read(self, start: int, stop: int) -> bytes:
        """Some of them."""
        return self.data[start:stop]


@dataclass(slots=True)
class OpenFile:
    """A file of which nothing is held but what is looked at."""

    descriptor: int
    size: int

    def read(self, start: int, stop: int) -> bytes:
        """Some of it; less where it was cut off meanwhile."""
        return os.pread(self.descriptor, stop - start, start)


def is_right(data: bytes) -> bool:
    """Whether the last four bytes are the crc32c of those before."""
    return len(data) >= 4 and google_crc32c.value(data) == _RIGHT


@contextmanager
def opened(place: Location, key: str) -> Iterator[Blob | None]:
    """The object `key`; None where there is none."""
    if not place.is_local:
        data = place.read(key)
        yield None if data is None else Held(data)
        return
    try:
        descriptor = os.open(place.path / key, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        yield None
        return
    try:
        yield OpenFile(descriptor, os.fstat(descriptor).st_size)
    finally:
        os.close(descriptor)


def look_at(place: Location, key: str, form: ObjectFormat, expected: Flags | None, *, growing: bool = False) -> Look:
    """Check one object.

    Parameters
    ----------
    place : Location
        Folder of the array.
    key : str
    form : ObjectFormat
    expected : ndarray of bool, or None
        Which chunks of a shard must be there, row-major; all others must not. None where that can't be told.
    growing : bool
        Whether others may be there too, of images that are just being added.
    """
    try:
        with opened(place, key) as blob:
            return Look() if blob is None else check(blob, form, expected, growing=growing)
    except OSError as error:  # a folder in its place, or a disk that does not give it
        return Look(0, f"it can't be read: {error.strerror or error}")


def check(blob: Blob, form: ObjectFormat, expected: Flags | None, *, growing: bool = False) -> Look:
    """The same for stored bytes that are open."""
    look = Look(blob.size)
    if not form.sharded:
        look.whole = _trouble(blob.read(0, blob.size), form)
        return look
    index = read_index(blob, form)
    if index is None:
        look.whole = "its index does not have its crc32c, as of a shard that was cut off, or is none"
        return look
    there = index[:, 0] != ABSENT
    if expected is not None:
        wrong = expected & ~there if growing else expected != there
        for number in np.flatnonzero(wrong).tolist():
            look.chunks[number] = "must not be there" if there[number] else "is missing"
    look.whole = _gaps(index[there], blob.size - 16 * len(index) - 4)
    if not look.whole:
        look.chunks |= _wrong(blob, index, np.flatnonzero(there), form)
    return look


def _trouble(chunk: bytes, form: ObjectFormat) -> str:
    """What is wrong with the stored bytes of a chunk; empty where nothing is."""
    if not is_right(chunk):
        return "does not have its crc32c"
    held = int.from_bytes(chunk[4:8], "little")  # blosc's header
    if form.nbytes is not None and held != form.nbytes:
        return f"holds {held:,} bytes of pixels or numbers where {form.nbytes:,} belong, as of another array"
    return ""


def read_index(blob: Blob, form: ObjectFormat) -> NDArray[np.uint64] | None:
    """Offset and length of each chunk of a shard, shape (chunk, 2); None where that can't be trusted."""
    length = 16 * prod(form.inside) + 4
    data = blob.read(blob.size - length, blob.size) if blob.size >= length else b""
    if len(data) != length or not is_right(data):
        return None
    return np.frombuffer(data, "<u8", count=length // 8).reshape(-1, 2)


def _gaps(index: NDArray[np.uint64], end: int) -> str:
    """What is wrong with where chunks lie: one must begin where another ends, from the first byte to the last."""
    ordered = index[np.argsort(index[:, 0], kind="stable")].astype(object)
    at = 0
    for offset, length in ordered.tolist():
        if offset != at or length < 4:
            return f"its chunks do not lie one behind the other: one begins at byte {offset}, and {at} is next"
        at += length
    return "" if at == end else f"it holds {end - at:,} bytes that belong to no chunk"


def _wrong(blob: Blob, index: NDArray[np.uint64], numbers: NDArray[np.int64], form: ObjectFormat) -> dict[int, str]:
    """What is wrong with chunks, by their numbers; they are read in the order in which they lie."""
    found: dict[int, str] = {}
    order = numbers[np.argsort(index[numbers, 0], kind="stable")]
    places = [(number, int(index[number, 0]), int(index[number, 0] + index[number, 1])) for number in order.tolist()]
    for group in _groups(places):
        start, stop = group[0][1], group[-1][2]
        data = blob.read(start, stop)
        for number, a, b in group:
            chunk = data if len(group) == 1 else data[a - start : b - start]
            trouble = _trouble(chunk, form) if len(chunk) == b - a else "does not have its crc32c"
            if trouble:
                found[number] = trouble
    return found


def _groups(places: list[tuple[int, int, int]]) -> Iterator[list[tuple[int, int, int]]]:
    """Chunks that are read in one go."""
    group: list[tuple[int, int, int]] = []
    for place in places:
        if group and place[2] - group[0][1] > _TOGETHER:
            yield group
            group = []
        group.append(place)
    if group:
        yield group
