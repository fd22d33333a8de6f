"""How a source that is an object of this process is known again: by what it holds, or by the file behind it.

::

    NumPy, xarray in memory      all values                       one pass, when a cut asks for it
    Dask                         its name, which is its token
    numpy.memmap, mode="r"       file: name, size, time           and some of its values
    xarray that is not loaded    file: name, size, time           and what was cut out of it
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchmill.sources.model import vanished

_BLOCK = 2**20
"""Bytes that are hashed at a time: what lies crosswise is copied, and stays in the cache of a core."""

_SAMPLES, _PAGE = 64, 2**12
"""Places at which a file that is mapped into memory is looked at, and bytes that are read at each."""


class Identity(Mapping[str, Any]):
    """What a resume compares, found out by `find` when it is first asked for: looking at an array does not read it."""

    def __init__(self, find: Callable[[], Mapping[str, Any]]) -> None:
        self._find = find

    @cached_property
    def _found(self) -> dict[str, Any]:
        return dict(self._find())

    def __getitem__(self, key: str) -> Any:
        return self._found[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def __reduce__(self) -> tuple[Any, ...]:
        return (dict, (self._found,))


@dataclass(frozen=True, slots=True)
class FileState:
    """What tells whether a file is still the one that was opened: called, it raises if not.

    Parameters
    ----------
    path : str
        Absolute.
    size : int
        Bytes.
    changed : int
        Time of its last change, in nanoseconds.
    """

    path: str
    size: int
    changed: int

    @classmethod
    def of(cls, path: str) -> FileState:
        """Of the file `path`, as it is now."""
        path = os.path.abspath(path)
        found = os.stat(path)
        return cls(path, found.st_size, found.st_mtime_ns)

    def to_dict(self) -> dict[str, Any]:
        """As part of an identity."""
        return {"file": self.path, "size": self.size, "changed": self.changed}

    def __call__(self) -> None:
        """Look again.

        Raises
        ------
        SourceError
            If the file is gone or is another one.
        """
        try:
            now = FileState.of(self.path)
        except OSError:
            raise vanished(self.path) from None
        if now != self:
            raise vanished(self.path)


def fingerprint(array: Any) -> Any:
    """Tells a NumPy, Dask or xarray array apart from others of its shape and dtype; plain JSON.

    Dask's own token; of a DataArray that is not loaded the file and what was cut out of it; else all values.
    """
    if hasattr(array, "dask"):
        return str(array.name)
    variable = getattr(array, "variable", None)
    if variable is None:
        return digest_of_values(array)
    if variable._in_memory:  # noqa: SLF001 - xarray has no public word for it
        return digest_of_values(array.values)
    return [_file(array.encoding.get("source")), *_indexes(variable._data)]  # noqa: SLF001 - the same


def digest_of_values(array: NDArray[Any]) -> str:
    """A digest of all values, equal for equal arrays of one dtype, however they lie in memory.

    crc32c of each block, 4 GB/s where SHA-256 has 0.4; the latter only of what comes out.
    """
    import google_crc32c

    array = np.asarray(array)
    digest = hashlib.sha256()
    for region in blocks(array.shape, itemsize=array.dtype.itemsize):
        block = np.ascontiguousarray(array[region]).reshape(-1).view(np.uint8)
        digest.update(int(google_crc32c.value(block)).to_bytes(4, "little"))
    return digest.hexdigest()


def blocks(shape: tuple[int, ...], *, itemsize: int) -> Iterator[tuple[slice | int, ...]]:
    """Regions of up to `_BLOCK` bytes, or single values, row-major: in C order each lies in one piece."""
    axis = 0
    while axis < len(shape) and prod(shape[axis + 1 :]) * itemsize > _BLOCK:
        axis += 1
    if axis >= len(shape):
        yield from np.ndindex(shape)
        return
    together = max(1, _BLOCK // max(1, prod(shape[axis + 1 :]) * itemsize))
    for outer in np.ndindex(shape[:axis]):
        yield from ((*outer, slice(a, a + together)) for a in range(0, shape[axis], together))


def digest_of_samples(array: NDArray[Any]) -> str:
    """A digest of `_SAMPLES` pages of an array in C order, spread evenly; both ends are among them."""
    flat, together = array.reshape(-1), max(1, _PAGE // array.dtype.itemsize)
    places = np.linspace(0, max(0, len(flat) - together), _SAMPLES).astype(np.int64)
    return digest_of_values(np.concatenate([flat[a : a + together] for a in places.tolist()]))


def _file(source: Any) -> dict[str, Any]:
    """The file, by its name, and as it is now where it is one on a local disk."""
    name = "not loaded" if source is None else os.fspath(source)
    return FileState.of(name).to_dict() if os.path.isfile(name) else {"file": name}


def _indexes(data: Any) -> list[Any]:
    """What was cut out of a file that xarray has not loaded, outermost first: the keys that its lazy arrays hold."""
    found = []
    while data is not None:
        key = getattr(getattr(data, "key", None), "tuple", ())
        found += [digest_of_values(each) if isinstance(each, np.ndarray) else repr(each) for each in key]
        data = getattr(data, "array", None)
    return found
