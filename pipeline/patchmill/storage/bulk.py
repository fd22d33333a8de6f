"""Bulk bytes: a protocol of two verbs, and tensorstore behind it."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise, product
from math import prod
from typing import Any, Protocol
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from patchmill.errors import CorruptChunkError, MissingChunkError, PatchmillError, SourceError
from patchmill.planning.memory import READING, SMALL
from patchmill.storage.empty import empty_shard
from patchmill.storage.heap import ease
from patchmill.storage.local import unwritable
from patchmill.storage.locations import Location
from patchmill.storage.objects import reason, shared_context

Region = tuple[slice, ...]
Part = tuple[Region, NDArray[Any]]
"""A region of an array, and the values for it."""


class BulkArray(Protocol):
    """What a store must do; the real one is `TensorStoreArray`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """NumPy's type of an element."""

    def read(self, region: Region) -> NDArray[Any]:
        """The values of `region`."""

    def write(self, parts: Sequence[Part], *, reference: bool = False) -> None:
        """Put `parts`, which lie in one shard, as one object."""

    def replace(self, key: str, parts: Sequence[Part], *, reference: bool = False) -> None:
        """Put `parts` as the object `key`; nothing of what was there stays."""

    def write_empty(self, key: str) -> None:
        """Put the object `key` as a shard without chunks."""


@dataclass(frozen=True, slots=True, eq=False)
class TensorStoreArray:
    """A Zarr array, moved by tensorstore.

    Chunks equal to the fill value are stored, and a chunk that is missing is an error rather than fill, so that
    "exists" means "done". Another process gets the arguments, its metadata among them, and opens it anew without
    reading any object.

    Parameters
    ----------
    handle : tensorstore.TensorStore
    location : Location
    zarr_format : {2, 3}
    missing_is_error : bool
    cache_bytes : int
        Decoded chunks that are kept, 0 for none.
    pool : tensorstore.Context, optional
        Where they are kept, for as long as some array holds it.
    crowded : int or None
        Resident bytes from which on what a long read has freed goes back before it goes on; None for never.
    """

    handle: Any
    location: Location
    zarr_format: int = 3
    missing_is_error: bool = True
    cache_bytes: int = 0
    pool: Any = None
    crowded: int | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        metadata = json.dumps(self.metadata, sort_keys=True)
        return (
            _again,
            (self.location, self.zarr_format, self.missing_is_error, metadata, self.cache_bytes, self.crowded),
        )

    def reopened(
        self, *, missing_is_error: bool | None = None, cache_bytes: int | None = None, crowded: int | None = None
    ) -> TensorStoreArray:
        """The same array, opened otherwise; what is None stays as it is."""
        return open_bulk(
            self.location,
            zarr_format=self.zarr_format,
            missing_is_error=self.missing_is_error if missing_is_error is None else missing_is_error,
            metadata=self.metadata,
            cache_bytes=self.cache_bytes if cache_bytes is None else cache_bytes,
            crowded=self.crowded if crowded is None else crowded,
        )

    @property
    def place(self) -> str:
        """Its location, for people."""
        return self.location.url

    @property
    def metadata(self) -> dict[str, Any]:
        """The array's metadata document, as tensorstore understood it."""
        return dict(self.handle.spec().to_json()["metadata"])

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return tuple(self.handle.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """NumPy's type of an element."""
        dtype: np.dtype[Any] = np.dtype(self.handle.dtype.numpy_dtype)
        return dtype

    @property
    def chunk(self) -> tuple[int, ...]:
        """Unit of decoding."""
        return tuple(self.handle.chunk_layout.read_chunk.shape)

    @property
    def shard(self) -> tuple[int, ...]:
        """Unit of storage; the chunk where chunks are objects of their own."""
        return tuple(self.handle.chunk_layout.write_chunk.shape)

    def read(self, region: Region) -> NDArray[Any]:
        """The values of `region`; chunks that hold far more than it are unpacked few at a time.

        An axis may also be an array of numbers.
        """
        whole = _intervals(region, self.shape)
        if whole is None:
            return self.read_many([region])[0]
        parts = list(parts_of(whole, self.chunk, READING // self.dtype.itemsize))
        return self._joined(parts) if len(parts) > 1 else self.read_many([region])[0]

    def _joined(self, parts: Sequence[tuple[Interval, ...]]) -> NDArray[Any]:
        """The values of consecutive `parts`, the last of which ends where all do, read into one array."""
        import tensorstore as ts

        low, high = [a for a, _ in parts[0]], [b for _, b in parts[-1]]
        values = np.empty([b - a for a, b in zip(low, high, strict=True)], self.dtype)
        small = prod(self.chunk) * self.dtype.itemsize <= SMALL
        above = 0 if small and self.crowded is None else self.crowded
        for part in parts:
            inside = tuple(slice(a - first, b - first) for (a, b), first in zip(part, low, strict=True))
            try:
                ts.array(values[inside]).write(self.handle[tuple(slice(*side) for side in part)]).result()
                if above is not None:
                    ease(above)
            except _UNREADABLE as error:
                raise _readable(error, self.place) from error
        return values

    def read_many(self, regions: Sequence[tuple[slice | int, ...]]) -> list[NDArray[Any]]:
        """The values of many regions, read in parallel as one batch."""
        return list(self.read_each(regions))

    def read_each(self, regions: Sequence[tuple[slice | int, ...]]) -> Iterator[NDArray[Any]]:
        """The same one after the other, so that the first can be used while others are read."""
        import tensorstore as ts

        with ts.Batch() as batch:
            futures = [self.handle[region].read(batch=batch) for region in regions]
        for at, future in enumerate(futures):
            try:
                yield np.asarray(future.result())
            except _UNREADABLE as error:
                raise _readable(error, self.place) from error
            futures[at] = None  # what was used is freed before the last one comes

    def read_at(self, *index: slice | NDArray[np.int64]) -> NDArray[Any]:
        """Values at index arrays, as NumPy's ``array[index]`` has them, in one read that decodes each chunk once."""
        try:
            return np.asarray(self.handle[index].read().result())
        except _UNREADABLE as error:
            raise _readable(error, self.place) from error

    def write(self, parts: Sequence[Part], *, reference: bool = False) -> None:
        """Put `parts`, which lie in one shard, as one object.

        `reference` lets tensorstore read the values in place instead of copying them. That is safe only where no
        chunk holds two patches of one self-overlapping view: tensorstore 0.1.86 writes zeros there, silently.
        """
        import tensorstore as ts

        try:
            with ts.Transaction() as transaction:
                target = self.handle.with_transaction(transaction)
                copies = [
                    target[region].write(values, can_reference_source_data_indefinitely=reference).copy
                    for region, values in parts
                ]
                for copy in copies:
                    copy.result()
        except ValueError as error:
            raise unwritable(self.place, reason(error)) from error

    def replace(self, key: str, parts: Sequence[Part], *, reference: bool = False) -> None:
        """Put `parts` as the object `key`; of what was there nothing stays, as chunks beside them do with `write`.

        One at a time, since the object is in memory twice.
        """
        with _REPLACING:
            aside = Location.parse(f"memory://patchmill-replace-{uuid.uuid4().hex}/array")
            try:
                array = open_bulk(aside, zarr_format=self.zarr_format, metadata=self.metadata)
                array.write(parts, reference=reference)
                data = aside.read(key)
            finally:
                aside.remove()
        if data is None:
            raise ValueError(f"these parts are not of {key}")
        self.location.write(key, data)

    def write_empty(self, key: str) -> None:
        """Put the object `key` as a shard of which no chunk is kept: readers take it for fill."""
        self.location.write(key, empty_shard(prod(n // m for n, m in zip(self.shard, self.chunk, strict=True))))


_REPLACING = threading.Lock()


def open_bulk(
    place: Location,
    *,
    zarr_format: int = 3,
    missing_is_error: bool = True,
    metadata: Mapping[str, Any] | None = None,
    cache_bytes: int = 0,
    crowded: int | None = None,
) -> TensorStoreArray:
    """The array stored at `place`.

    Parameters
    ----------
    place : Location
        Folder that holds the array's metadata.
    zarr_format : {2, 3}
    missing_is_error : bool
        Whether reading a chunk that is not there fails; only for arrays that store every chunk.
    metadata : mapping, optional
        The array's metadata document, such as its entry in the root's consolidated metadata: it is taken as it is, and
        nothing is read to open the array.
    cache_bytes : int
        Decoded chunks that are kept for later reads, shared by all arrays of this process that are opened with the same
        number. What is kept since this call is not looked up again, even if the store changes.
    crowded : int or None
        See `TensorStoreArray`.

    Raises
    ------
    SourceError
        If there is no array, or its metadata can't be understood.
    """
    import tensorstore as ts

    spec: dict[str, Any] = {"driver": "zarr3" if zarr_format == 3 else "zarr", "kvstore": place.kvstore}
    if missing_is_error:
        spec |= {"store_data_equal_to_fill_value": True, "fill_missing_data_reads": False}
    if metadata is not None:
        spec |= {"metadata": dict(metadata)}
    if cache_bytes:
        spec |= {"recheck_cached_data": "open"}  # what was cached before is looked up again; "False" never would
    assumed, pool = metadata is not None, _context(cache_bytes)
    try:
        handle = ts.open(spec, open=True, assume_metadata=assumed, context=pool).result()
    except ValueError as error:
        raise SourceError(
            f"{place.url} can't be opened as a Zarr array, {reason(error)}: if xarray can, open it so and pass that"
        ) from error
    return TensorStoreArray(handle, place, zarr_format, missing_is_error, cache_bytes, pool, crowded)


_pools: WeakValueDictionary[int, Any] = WeakValueDictionary()
"""Contexts by the size of their cache: shared by the arrays of a run, and gone with the last of them."""


def _context(cache_bytes: int) -> Any:
    """One for each size of cache: what is moved once needs none."""
    import tensorstore as ts

    if not cache_bytes:
        return shared_context()
    found = _pools.get(cache_bytes)
    if found is None:
        found = ts.Context({"cache_pool": {"total_bytes_limit": cache_bytes}}, parent=shared_context())
        _pools[cache_bytes] = found
    return found


@lru_cache(maxsize=128)
def _again(
    place: Location,
    zarr_format: int,
    missing_is_error: bool,  # noqa: FBT001 - arguments of a pickle have no names
    metadata: str,
    cache_bytes: int,
    crowded: int | None,
) -> TensorStoreArray:
    """Of an array that came from another process: opened once here, however many tasks bring it.

    Its metadata is among the arguments, so an array that took its place since is another one.
    """
    return open_bulk(
        place,
        zarr_format=zarr_format,
        missing_is_error=missing_is_error,
        metadata=json.loads(metadata),
        cache_bytes=cache_bytes,
        crowded=crowded,
    )


# -- large chunks ------------------------------------------------------------------------------------------------------

Interval = tuple[int, int]


def _intervals(region: Sequence[slice | int], shape: tuple[int, ...]) -> tuple[Interval, ...] | None:
    """`region` as intervals; None where it is not made of plain slices."""
    sides = [side for side in region if isinstance(side, slice) and side.step in (None, 1)]
    if len(sides) < len(shape):
        return None
    return tuple(side.indices(n)[:2] for side, n in zip(sides, shape, strict=True))


def parts_of(region: tuple[Interval, ...], chunk: tuple[int, ...], most: int) -> Iterator[tuple[Interval, ...]]:
    """`region` cut where chunks meet, row-major: the chunks of a part hold `most` elements, or are a single one."""
    counts = [max(1, -(-b // n) - a // n) for (a, b), n in zip(region, chunk, strict=True)]
    room = max(1, most // prod(chunk))
    together = [1] * len(counts)
    for axis in reversed(range(len(counts))):  # whole rows before several rows
        together[axis] = min(counts[axis], room)
        room //= together[axis]
    edges = (
        [a, *range((a // n + each) * n, b, each * n), b]
        for (a, b), n, each in zip(region, chunk, together, strict=True)
    )
    yield from product(*(list(pairwise(along)) for along in edges))


_DAMAGE = ("DATA_LOSS", "FAILED_PRECONDITION", "INVALID_ARGUMENT", "OUT_OF_RANGE")
"""What tensorstore calls bytes that do not decode; a disk or a network that fails has other words."""


_UNREADABLE = (ValueError, NotImplementedError)
"""What tensorstore raises where it can't read; the latter where damaged bytes lead it to where it can't go."""


def _readable(error: ValueError | NotImplementedError, place: str) -> PatchmillError:
    text = reason(error)
    if isinstance(error, NotImplementedError):
        return CorruptChunkError(f"a chunk of {place} is damaged: {text}")
    if "NOT_FOUND" in text:
        return MissingChunkError(f"a chunk of {place} is missing, although it must be there: {text}")
    if text.startswith(_DAMAGE):
        return CorruptChunkError(f"a chunk of {place} is damaged: {text}")
    return SourceError(f"{place} can't be read: {text}")
