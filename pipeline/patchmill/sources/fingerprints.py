"""How a source that is an object of this process is known again: by what it holds, or by the file behind it.

::

    NumPy, xarray in memory      all values                       one pass, when a cut asks for it
    Dask                         its name, which is its token
    numpy.memmap, mode="r"       file: name, size, time           and some of its values
    xarray that is not loaded    file: name, size, time           and what was cut out of it
                                 Zarr array: place, metadata      likewise
                                 neither is known: all values
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchmill.sources.model import vanished

_BLOCK = 2**20
"""Bytes that are hashed at a time: what lies crosswise is copied, and stays in the cache of a core."""

_READ = 32
"""Blocks that are read at a time of what is not loaded: the fewer reads, the fewer chunks are decoded twice."""

_ROWS = 16
"""Rows that are looked at of a variable that does not say itself which file it is of."""

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


def fingerprint(array: Any, source: Any = None) -> Any:
    """Tells a NumPy, Dask or xarray array apart from others of its shape and dtype; plain JSON.

    Dask's own token; of a DataArray that is not loaded the file or Zarr array, and what was cut out of it; where
    neither is known, as for any other, all values. `source` is what the DataArray's Dataset says that it is of.
    """
    if hasattr(array, "dask"):
        return str(array.name)
    variable = getattr(array, "variable", None)
    if variable is None:
        return digest_of_values(array)
    if variable._in_memory:  # noqa: SLF001 - xarray has no public word for it
        return digest_of_values(array.values)
    origin = _origin(array, source)
    if origin is None:
        return _digest_unloaded(variable)
    decoded = {key: str(array.encoding[key]) for key in _DECODED if array.encoding.get(key) is not None}
    return [origin, *_indexes(variable._data), *([decoded] if decoded else [])]  # noqa: SLF001


_DECODED = ("scale_factor", "add_offset", "_FillValue", "missing_value", "_Unsigned", "units", "calendar")
"""What xarray moves to the encoding of an array whose values it decodes: raw ones are other values."""


def _origin(array: Any, source: Any) -> dict[str, Any] | None:
    """What a DataArray that is not loaded is read from; None where that has no name, such as an ``io.BytesIO``."""
    named = array.encoding.get("source")
    if isinstance(named, str | os.PathLike) and not os.fspath(named).startswith("<"):
        name = bare_name(os.fspath(named))
        found = {**_file(name), **_inside(array)}
        if name == os.fspath(named):
            return found
        # What was left out, such as a query, may have told one file from another, so the values have a say.
        return {**found, "content": _digest_of_rows(array.variable)}
    kept = _zarr_array(array.variable._data)  # noqa: SLF001 - only this knows
    if kept is not None:
        return _of_zarr(kept)
    if isinstance(source, str | os.PathLike) and os.path.isfile(source):
        # A variable may have come into the Dataset from another file, so its values have a say.
        return {**_file(os.fspath(source)), "content": _digest_of_rows(array.variable)}
    return None


def digest_of_values(array: NDArray[Any]) -> str:
    """A digest of all values, equal for equal arrays of one dtype, however they lie in memory.

    crc32c of each block, 4 GB/s where SHA-256 has 0.4; the latter only of what comes out.
    """
    return _digest([np.asarray(array)])


def _digest(parts: Iterable[NDArray[Any]]) -> str:
    """One of all values of `parts`, which are whole blocks one behind the other."""
    import google_crc32c

    digest = hashlib.sha256()
    for part in parts:
        for region in blocks(part.shape, itemsize=part.dtype.itemsize):
            block = np.ascontiguousarray(part[region]).reshape(-1).view(np.uint8)
            digest.update(int(google_crc32c.value(block)).to_bytes(4, "little"))
    return digest.hexdigest()


def _digest_unloaded(variable: Any) -> str:
    """The digest that the values of a variable would have if it were loaded; some are in memory at a time."""
    regions = blocks(variable.shape, itemsize=variable.dtype.itemsize, together=_READ)
    return _digest(np.asarray(variable[region].values) for region in regions)


def _digest_of_rows(variable: Any) -> str:
    """A digest of `_ROWS` rows along the last axis, spread evenly; the first and the last are among them."""
    outer = variable.shape[:-1]
    places = np.unique(np.linspace(0, max(0, prod(outer) - 1), _ROWS).astype(np.int64))
    rows = (tuple(int(n) for n in np.unravel_index(place, outer)) if outer else () for place in places)
    return _digest(np.asarray(variable[row].values) for row in rows)


def blocks(shape: tuple[int, ...], *, itemsize: int, together: int = 1) -> Iterator[tuple[slice | int, ...]]:
    """Regions of up to `_BLOCK` bytes, or single values, row-major: in C order each lies in one piece.

    `together` so many of them, where that is one region: its own blocks are then these.
    """
    axis = 0
    while axis < len(shape) and prod(shape[axis + 1 :]) * itemsize > _BLOCK * together:
        axis += 1
    if axis >= len(shape):
        yield from np.ndindex(shape)
        return
    row = max(1, prod(shape[axis + 1 :]) * itemsize)
    length = _BLOCK // row * together or max(1, _BLOCK * together // row)
    for outer in np.ndindex(shape[:axis]):
        yield from ((*outer, slice(a, a + length)) for a in range(0, shape[axis], length))


def digest_of_samples(array: NDArray[Any]) -> str:
    """A digest of `_SAMPLES` pages of an array in C order, spread evenly; both ends are among them."""
    flat, together = array.reshape(-1), max(1, _PAGE // array.dtype.itemsize)
    places = np.linspace(0, max(0, len(flat) - together), _SAMPLES).astype(np.int64)
    return digest_of_values(np.concatenate([flat[a : a + together] for a in places.tolist()]))


def _file(name: str) -> dict[str, Any]:
    """The file, by its name, and as it is now where it is one on a local disk."""
    return FileState.of(name).to_dict() if os.path.isfile(name) else {"file": name}


_USER = re.compile(
    r"\b(?!(?:abfss?|wasbs?|adl)://)([a-z][a-z0-9+.-]*://)(?:[^/\s?#]*@|[^/\s?#@]*:(?!\d*[/?#])[^\s@]*@)", re.IGNORECASE
)
"""A user and a password in a URL; a secret key of AWS may have slashes in it, what follows a port is none. In the URLs
of Azure a container stands there."""


def bare_name(name: str) -> str:
    """A file's name without what opens it: of a URL neither user, password and query nor fragment, which may sign it.

    Examples
    --------
    >>> bare_name("https://ann:secret@host:8080/a@b.nc?X-Amz-Signature=1f#mode=bytes")
    'https://host:8080/a@b.nc'
    >>> bare_name("/data/what?#1.nc")
    '/data/what?#1.nc'
    """
    if "://" not in name or name.startswith("file://"):
        return name
    return re.split("[?#]", _USER.sub(r"\1", name), maxsplit=1)[0]


_REMOTE = {"s3", "gs", "http", "https", "az", "abfs"}
"""Kinds of stores in which a path means the same to everybody, as fsspec calls them."""


def _inside(array: Any) -> dict[str, str]:
    """Where in its file a DataArray lies: its group, and its name there, unless that is still its name."""
    read = _innermost(array.variable._data)  # noqa: SLF001 - only this knows
    name, group = getattr(read, "variable_name", None), getattr(getattr(read, "datastore", None), "_group", None)
    found = {} if name in (None, array.name) else {"variable": str(name)}
    return found if group in (None, "", "/") else {**found, "group": str(group)}


def _innermost(data: Any) -> Any:
    """What reads behind xarray's lazy arrays."""
    while hasattr(data, "array"):
        data = data.array
    return data


def _zarr_array(data: Any) -> Any:
    """The zarr-python array that xarray reads lazily; None where another library reads."""
    found, zarr = getattr(_innermost(data), "_array", None), sys.modules.get("zarr")
    return found if zarr is not None and isinstance(found, zarr.Array) else None


def _of_zarr(array: Any) -> dict[str, Any] | None:
    """Its place, its metadata, and which ingest made it, as a path to it is known; None where its store has no name."""
    from zarr.core.buffer import default_buffer_prototype

    place = _place(array.store)
    if place is None:
        return None
    objects = array.metadata.to_buffer_dict(default_buffer_prototype())
    documents = json.dumps([json.loads(objects[key].to_bytes()) for key in sorted(objects)], sort_keys=True)
    digest = hashlib.sha256(documents.encode()).hexdigest()
    return {**place, "array": array.path, "metadata": digest, **_ingest(array, place["file"])}


def _place(store: Any) -> dict[str, Any] | None:
    """A Zarr store by its name; a folder has no size and time of its own."""
    from zarr.storage import FsspecStore, LocalStore, ZipStore

    if isinstance(store, LocalStore):
        return {"file": os.path.abspath(store.root)}
    if isinstance(store, ZipStore):
        return _file(os.path.abspath(store.path))
    if isinstance(store, FsspecStore):
        kinds = store.fs.protocol
        kind = kinds if isinstance(kinds, str) else kinds[0]
        url = store.path if "://" in store.path else f"{kind}://{store.path}"
        return {"file": bare_name(url)} if kind in _REMOTE else None
    return None


def _ingest(array: Any, name: str) -> dict[str, str]:
    """Which ingest made the group of an array: another one may have put other pixels under the same metadata."""
    import zarr

    try:
        group = zarr.open_group(array.store, path=array.path.rpartition("/")[0], mode="r")
    except FileNotFoundError:
        raise vanished(name) from None
    own: Any = group.attrs.get("patchmill")
    made = own.get("provenance", {}).get("id") if isinstance(own, dict) else None
    return {} if made is None else {"ingest": str(made)}


def _indexes(data: Any) -> list[Any]:
    """What was cut out of a file that xarray has not loaded, outermost first: the keys that its lazy arrays hold."""
    found = []
    while data is not None:
        key = getattr(getattr(data, "key", None), "tuple", ())
        found += [digest_of_values(each) if isinstance(each, np.ndarray) else repr(each) for each in key]
        data = getattr(data, "array", None)
    return found
