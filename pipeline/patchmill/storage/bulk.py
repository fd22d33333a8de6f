"""Bulk bytes: a protocol of two verbs, and tensorstore behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from patchmill.errors import CorruptChunkError, PatchmillError, SourceError
from patchmill.storage.locations import Location, unwritable

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


@dataclass(frozen=True, slots=True, eq=False)
class TensorStoreArray:
    """A Zarr array, moved by tensorstore.

    Chunks equal to the fill value are stored, and a chunk that is missing is an error rather than fill, so that
    "exists" means "done".
    """

    handle: Any
    place: str

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
        """The values of `region`."""
        return self.read_many([region])[0]

    def read_many(self, regions: Sequence[tuple[slice | int, ...]]) -> list[NDArray[Any]]:
        """The values of many regions, read in parallel as one batch."""
        import tensorstore as ts

        with ts.Batch() as batch:
            futures = [self.handle[region].read(batch=batch) for region in regions]
        try:
            return [np.asarray(future.result()) for future in futures]
        except ValueError as error:
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
            raise unwritable(self.place, _first_line(error)) from error


@cache
def _context() -> Any:
    """One for the process: caches nothing, since every chunk is moved once."""
    import tensorstore as ts

    return ts.Context({"cache_pool": {"total_bytes_limit": 0}})


def open_bulk(place: Location, *, zarr_format: int = 3, missing_is_error: bool = True) -> TensorStoreArray:
    """The array stored at `place`.

    Parameters
    ----------
    place : Location
        Folder that holds the array's metadata.
    zarr_format : {2, 3}
    missing_is_error : bool
        Whether reading a chunk that is not there fails; only for arrays that store every chunk.

    Raises
    ------
    SourceError
        If there is no array, or its metadata can't be understood.
    """
    import tensorstore as ts

    spec: dict[str, Any] = {"driver": "zarr3" if zarr_format == 3 else "zarr", "kvstore": place.kvstore}
    if missing_is_error:
        spec |= {"store_data_equal_to_fill_value": True, "fill_missing_data_reads": False}
    try:
        return TensorStoreArray(ts.open(spec, open=True, context=_context()).result(), place.url)
    except ValueError as error:
        raise SourceError(f"{place.url} can't be opened as a Zarr array: {_first_line(error)}") from error


_DAMAGE = ("DATA_LOSS", "FAILED_PRECONDITION", "INVALID_ARGUMENT", "OUT_OF_RANGE")
"""What tensorstore calls bytes that do not decode; a disk or a network that fails has other words."""


def _readable(error: ValueError, place: str) -> PatchmillError:
    text = _first_line(error)
    if "NOT_FOUND" in text:
        return CorruptChunkError(f"a chunk of {place} is missing, although it must be there: {text}")
    if text.startswith(_DAMAGE):
        return CorruptChunkError(f"a chunk of {place} is damaged: {text}")
    return SourceError(f"{place} can't be read: {text}")


def _first_line(error: Exception) -> str:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return text.split(" [source locations")[0].split(" [tensorstore_spec")[0]
