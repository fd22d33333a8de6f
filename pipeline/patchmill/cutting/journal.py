"""The journal of a run: what was found out about shards, durable before the shards are.

A folder of files of records, one for each process of each run, since no two may append to one file. A record carries
its length and checksum, so what a crash cut short is seen and ignored. Runs are numbered, since clocks of two machines
are never compared, and the last record of a shard counts. Object stores can't append: there every call of `append`
makes an object.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from patchmill.planning import Key, Shards
from patchmill.storage import Location
from patchmill.storage.local import unwritable

_HEAD = struct.Struct("<4sII")
_MAGIC = b"pmj2"
_FOLDER = "journal"
_NAME = re.compile(rf"{_FOLDER}/(\d+)-")

Record = Mapping[str, NDArray[Any]]
Bytes = bytes | memoryview


@dataclass(frozen=True, slots=True)
class Journal:
    """Records beside a target; small, and the same in every process.

    Parameters
    ----------
    work : Location
        The workshop of the target.
    run : int
        Number of the run that writes; of two records of a shard that of the later run counts.
    """

    work: Location
    run: int = field(default=0, kw_only=True)

    def next(self) -> Journal:
        """The same for a run that begins now: what it writes comes after all that is there."""
        runs = (_NAME.match(name) for name in self.names())
        return replace(self, run=1 + max((int(found[1]) for found in runs if found), default=0))

    def append(self, records: Mapping[Key, Record]) -> None:
        """Add records and return once they are on the disk."""
        _writer(self.work, self.run).append([part for key, values in records.items() for part in _framed(key, values)])

    def names(self) -> list[str]:
        """The files, oldest first."""
        return sorted(self.work.keys(_FOLDER))

    def known(self, shards: Shards) -> NDArray[np.bool_]:
        """Which shards have a record, by their numbers."""
        found = np.zeros(len(shards), bool)
        for file in _each(self.work, self.names()):
            for number, _, _ in _scan(file, shards):
                found[number] = True
        return found

    def index(self, shards: Shards) -> Index:
        """Where the last record of each shard is, to read them in any order."""
        names = self.names()
        file = np.full(len(shards), -1, np.int32)
        place, length = np.zeros(len(shards), np.int64), np.zeros(len(shards), np.int64)
        for at, each in enumerate(_each(self.work, names)):
            for number, start, size in _scan(each, shards):
                file[number], place[number], length[number] = at, start, size
        return Index(self.work, shards, names, file, place, length)


@dataclass(frozen=True, slots=True, eq=False)
class Index:
    """Records by shard; holds twenty bytes a shard."""

    work: Location
    shards: Shards
    names: list[str]
    file: NDArray[np.int32]
    place: NDArray[np.int64]
    length: NDArray[np.int64]
    _open: dict[int, Any] = field(default_factory=dict)

    def read(self, key: Key) -> dict[str, NDArray[Any]] | None:
        """The record of `key`, None where there is none."""
        number = self.shards.number(key)
        at = int(self.file[number])
        if at < 0:
            return None
        if at not in self._open:
            self._open_from(at)
        file = self._open[at]
        file.seek(int(self.place[number]))
        return _unpacked(file.read(int(self.length[number])))

    def _open_from(self, at: int) -> None:
        """Open a file; of a store that takes requests also those that come after it, which most likely are next."""
        while len(self._open) >= _OPEN:
            self._open.pop(next(iter(self._open))).close()
        if self.work.is_local:
            self._open[at] = open(self.work.path / self.names[at], "rb")  # noqa: SIM115 - see `close`
            return
        few = self.names[at : at + _TOGETHER]
        self._open.update(enumerate(map(io.BytesIO, _bytes_of(self.work, few)), at))

    def close(self) -> None:
        """Close the files."""
        for file in self._open.values():
            file.close()
        self._open.clear()


# -- files -------------------------------------------------------------------------------------------------------------


_OPEN = 64
"""Files that are open at a time, while records are read in another order than they were written in."""

_TOGETHER = 16
"""Objects that are read at a time, where each is a request."""


def _each(work: Location, names: Sequence[str]) -> Iterator[BinaryIO]:
    """Files of records, one after the other."""
    if work.is_local:
        for name in names:
            with open(work.path / name, "rb") as file:
                yield file
        return
    for at in range(0, len(names), _TOGETHER):
        yield from map(io.BytesIO, _bytes_of(work, names[at : at + _TOGETHER]))


def _bytes_of(work: Location, names: Sequence[str]) -> list[bytes]:
    """What the objects hold; nothing where one has gone meanwhile."""
    return [data or b"" for data in work.read_many(names)]


def _scan(file: BinaryIO, shards: Shards) -> Iterator[tuple[int, int, int]]:
    """Number of the shard, place and length of the records in one file, up to where a crash cut it short."""
    while len(head := file.read(_HEAD.size)) == _HEAD.size:
        magic, length, checksum = _HEAD.unpack(head)
        start, data = file.tell(), file.read(length)
        if magic != _MAGIC or len(data) < length or zlib.crc32(data) != checksum:
            return
        key = tuple(json.loads(data[: data.index(b"\n")])["key"])
        if len(key) == len(shards.counts) and all(0 <= at < n for at, n in zip(key, shards.counts, strict=True)):
            yield shards.number(key), start, length


def _fresh_token(run: int) -> str:
    """A name that no other process has, nor this one before; those of a run come after those of earlier runs."""
    return f"{run:08d}-{time.time_ns():020d}-{socket.gethostname()}-{os.getpid()}"


@dataclass(slots=True)
class _Writer:
    """What this process writes in a run: one file, or an object a call. Nothing stays open between two calls."""

    work: Location
    run: int
    _count: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _token: str = field(init=False)

    def __post_init__(self) -> None:
        self._token = _fresh_token(self.run)

    def append(self, parts: Sequence[Bytes]) -> None:
        with self._lock:
            if not self.work.is_local:
                self._count += 1
                self.work.write(f"{_FOLDER}/{self._token}-{self._count:08d}", b"".join(parts))
                return
            path = self.work.path / _FOLDER / self._token
            if not path.exists():
                self.work.write(f"{_FOLDER}/{self._token}", b"")  # durable as a name, folder included
            try:
                with open(path, "ab") as file:
                    file.writelines(parts)
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:
                self._token = _fresh_token(self.run)  # behind half a record nothing would be found
                raise unwritable(self.work.url, error.strerror or str(error)) from error


_writer = lru_cache(maxsize=64)(_Writer)


# -- records -----------------------------------------------------------------------------------------------------------


def fingerprint(key: Key, values: Record) -> bytes:
    """The same for records that are the same to the byte."""
    digest = hashlib.sha256()
    for part in _framed(key, values):
        digest.update(part)
    return digest.digest()


def _framed(key: Key, values: Record) -> list[Bytes]:
    """A record in parts, the values among them where they lie: they may be many."""
    parts: list[Bytes] = [json.dumps({"key": key, "names": list(values)}).encode() + b"\n"]
    for value in map(np.ascontiguousarray, values.values()):
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(head, np.lib.format.header_data_from_array_1_0(value))
        parts += [head.getvalue(), value.reshape(-1).view(np.uint8).data]
    length = checksum = 0
    for part in parts:
        length, checksum = length + len(part), zlib.crc32(part, checksum)
    return [_HEAD.pack(_MAGIC, length, checksum), *parts]


def _unpacked(data: bytes) -> dict[str, NDArray[Any]]:
    buffer = io.BytesIO(data)
    head = json.loads(buffer.readline())
    return {name: np.lib.format.read_array(buffer, allow_pickle=False) for name in head["names"]}
