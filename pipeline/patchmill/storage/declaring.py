"""Arrays and groups declared with zarr-python: from a description to the objects that make up the metadata.

Everything is declared in memory; whoever stores the objects decides when, so a group can appear last and whole.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class ArraySpec:
    """An array before it exists.

    Parameters
    ----------
    name : str
        Key in its group.
    dims : tuple of str
        Dimension names, one an axis.
    shape : tuple of int
    dtype : numpy.dtype or "string"
    chunk : tuple of int
        Unit of decoding.
    shard : tuple of int, optional
        Unit of storage, a multiple of `chunk`; None stores every chunk as an object.
    fill : Any
        Value of chunks that are not there.
    attributes : dict
    data : ndarray, optional
        All values, for small arrays.
    """

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any] | str
    chunk: tuple[int, ...]
    shard: tuple[int, ...] | None = None
    fill: Any = 0
    attributes: Mapping[str, Any] = field(default_factory=dict)
    data: NDArray[Any] | None = None

    @classmethod
    def of(cls, name: str, dims: tuple[str, ...], data: Any, attributes: Mapping[str, Any] | None = None) -> ArraySpec:
        """A small array with its values, in chunks of up to a million of them."""
        values = np.asarray(data)
        text = values.dtype.kind in "UTO"
        if text:
            values = values.astype(object)
        row = prod(values.shape[1:]) if values.size else 1
        chunk = tuple(max(1, n) for n in values.shape)
        chunk = (min(chunk[0], max(1, (1 << 20) // row)), *chunk[1:]) if chunk else ()
        dtype = "string" if text else values.dtype.newbyteorder("=")
        return cls(
            name, dims, values.shape, dtype, chunk, fill="" if text else 0, attributes=attributes or {}, data=values
        )


def declare(arrays: Iterable[ArraySpec], attributes: Mapping[str, Any]) -> dict[str, bytes]:
    """All metadata objects of a group, and the values of its text arrays.

    Parameters
    ----------
    arrays : iterable of ArraySpec
    attributes : mapping
        Of the group; plain JSON.

    Returns
    -------
    dict of bytes
        Key to object. ``"zarr.json"`` is the root with consolidated metadata: storing it last is the commit.
    """
    import zarr

    store: dict[str, Any] = {}
    memory = zarr.storage.MemoryStore(store)
    zarr.create_group(memory, attributes=dict(attributes))
    for spec in arrays:
        _declare_array(memory, spec)
    with warnings.catch_warnings():
        # zarr-python warns that consolidated metadata is not in the v3 text yet; xarray warns where it is missing.
        warnings.filterwarnings("ignore", message="Consolidated metadata", category=UserWarning)
        zarr.consolidate_metadata(memory)
    return {key: value.to_bytes() for key, value in store.items()}


def _declare_array(store: Any, spec: ArraySpec) -> None:
    import zarr
    from zarr.codecs import BloscCodec, Crc32cCodec

    text = isinstance(spec.dtype, str)
    size = 1 if isinstance(spec.dtype, str) else spec.dtype.itemsize
    blosc = BloscCodec(cname="lz4", clevel=5, shuffle="shuffle" if size > 1 else "noshuffle", typesize=size)
    array = zarr.create_array(
        store,
        name=spec.name,
        shape=spec.shape,
        dtype=spec.dtype,
        chunks=spec.chunk,
        shards=spec.shard,
        compressors=[blosc, Crc32cCodec()],
        fill_value=spec.fill,
        attributes=dict(spec.attributes),
        dimension_names=spec.dims,
        config={"write_empty_chunks": True},
    )
    if text and spec.data is not None and spec.data.size:
        # Only texts go through zarr-python: tensorstore has no codec for them. See `groups.write_small` for numbers.
        array[...] = spec.data


def digest(data: bytes) -> str:
    """SHA-256 of an object, as stored in a group's attributes to notice changed metadata."""
    return hashlib.sha256(data).hexdigest()
