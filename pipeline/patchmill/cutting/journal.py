"""The journal of a run: statistics of shards, durable before the shards are.

An append-only file of records. Each carries its length and checksum, so what a crash cut short is seen and ignored; a
shard counts as done when it exists *and* has a record here.
"""

from __future__ import annotations

import io
import json
import os
import struct
import threading
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Key = tuple[int, ...]
"""Which shard rectangle: (image, grid_y, grid_x), counted in shards."""

_HEAD = struct.Struct("<4sII")
_MAGIC = b"pmj1"


@dataclass(slots=True)
class Journal:
    """Records in one file; safe for the threads of one process.

    Parameters
    ----------
    path : Path
        The file; its folder must exist.
    """

    path: Path
    _places: dict[Key, tuple[int, int]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        end = 0
        for key, start, length in self._scan():
            self._places[key] = (start, length)
            end = start + length
        if self.path.exists():
            os.truncate(self.path, end)  # what follows was cut short by a crash

    def __contains__(self, key: Key) -> bool:
        return key in self._places

    def append(self, records: Mapping[Key, Mapping[str, NDArray[Any]]]) -> None:
        """Add records and return once they are on the disk."""
        packed = {key: _packed(key, values) for key, values in records.items()}
        with self._lock, open(self.path, "ab") as file:
            for key, data in packed.items():
                self._places[key] = (file.tell() + _HEAD.size, len(data))
                file.write(_HEAD.pack(_MAGIC, len(data), zlib.crc32(data)))
                file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def read(self, key: Key) -> dict[str, NDArray[Any]]:
        """The record of `key`."""
        start, length = self._places[key]
        with open(self.path, "rb") as file:
            file.seek(start)
            return _unpacked(file.read(length))[1]

    def _scan(self) -> Iterator[tuple[Key, int, int]]:
        if not self.path.exists():
            return
        with open(self.path, "rb") as file:
            while len(head := file.read(_HEAD.size)) == _HEAD.size:
                magic, length, checksum = _HEAD.unpack(head)
                start, data = file.tell(), file.read(length)
                if magic != _MAGIC or len(data) < length or zlib.crc32(data) != checksum:
                    return
                yield _unpacked(data)[0], start, length


def _packed(key: Key, values: Mapping[str, NDArray[Any]]) -> bytes:
    buffer = io.BytesIO()
    buffer.write(json.dumps({"key": key, "names": list(values)}).encode() + b"\n")
    for value in values.values():
        np.lib.format.write_array(buffer, np.ascontiguousarray(value), allow_pickle=False)
    return buffer.getvalue()


def _unpacked(data: bytes) -> tuple[Key, dict[str, NDArray[Any]]]:
    buffer = io.BytesIO(data)
    head = json.loads(buffer.readline())
    values = {name: np.lib.format.read_array(buffer, allow_pickle=False) for name in head["names"]}
    return tuple(head["key"]), values
