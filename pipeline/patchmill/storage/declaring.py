"""Arrays and groups declared with zarr-python: from a description to the objects that make up the metadata.

Everything is declared in memory; whoever stores the objects decides when, so a group can appear last and whole.
"""

from __future__ import annotations

import hashlib
import json
import threading
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchmill.storage.seals import sealed, with_room

_ROWS = 4096
"""Images whose values share a chunk of a small array, however many there are: one that grows keeps its chunks."""

_MOST = 1 << 20
"""Values in a chunk of a small array."""


_WARNINGS = threading.Lock()
"""Of two threads that set warnings aside, the one that ends first would bring back what the other has set aside."""


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
    separator : str
        What stands between the numbers in the key of an object.
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
    separator: str = "/"

    @classmethod
    def of(cls, name: str, dims: tuple[str, ...], data: Any, attributes: Mapping[str, Any] | None = None) -> ArraySpec:
        """A small array with its values, in chunks of up to a million of them.

        With an axis of images the number of images has no say in the chunk: what is appended goes behind what is there,
        and whoever still reads by the old metadata finds all it knows. So one that may have got that axis by what was
        appended has keys such as ``c.0.0``, which leave ``c/0`` where it is.
        """
        values = np.asarray(data)
        text = values.dtype.kind in "UTO"
        if text:
            values = values.astype(object)
        dtype = "string" if text else values.dtype.newbyteorder("=")
        fill = "" if text else values.dtype.type(0)
        chunk = _small_chunk(dims, values.shape)
        separator = "." if "image" in dims and any(dim.startswith("grid_") for dim in dims) else "/"
        return cls(
            name,
            dims,
            values.shape,
            dtype,
            chunk,
            fill=fill,
            attributes=attributes or {},
            data=values,
            separator=separator,
        )


def _small_chunk(dims: tuple[str, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Whole along all axes but one, which is that of images, or the first where there is none."""
    if not shape:
        return ()
    chunk = [max(1, n) for n in shape]
    at = dims.index("image") if "image" in dims else 0
    rows = max(1, _MOST // (prod(chunk) // chunk[at]))
    chunk[at] = min(rows, _ROWS if "image" in dims else chunk[at])
    return tuple(chunk)


def declare(
    arrays: Iterable[ArraySpec], attributes: Mapping[str, Any], known: Mapping[str, bytes] | None = None
) -> dict[str, bytes]:
    """All metadata objects of a group, and the values of its text arrays.

    Parameters
    ----------
    arrays : iterable of ArraySpec
    attributes : mapping
        Of the group; plain JSON. Where patchmill's own are among them, the root gets a seal: see `seals`.
    known : mapping, optional
        What `declare_arrays` returned for some of them, which are then not declared once more.

    Returns
    -------
    dict of bytes
        Key to object. ``"zarr.json"`` is the root with consolidated metadata: storing it last is the commit.
    """
    import zarr

    store = _store(known or {})
    memory = zarr.storage.MemoryStore(store)
    zarr.create_group(memory, attributes=with_room(attributes))
    for spec in arrays:
        if f"{spec.name}/zarr.json" not in store:
            _declare_array(memory, spec)
    with _WARNINGS, warnings.catch_warnings():
        # zarr-python warns that consolidated metadata is not in the v3 text yet; xarray warns where it is missing.
        warnings.filterwarnings("ignore", message="Consolidated metadata", category=UserWarning)
        zarr.consolidate_metadata(memory)
    objects = _objects(store)
    objects["zarr.json"] = sealed(objects["zarr.json"])
    return objects


def declare_arrays(arrays: Iterable[ArraySpec]) -> dict[str, bytes]:
    """The metadata objects of arrays, and the values of those of text, before there is a group: key to object."""
    import zarr

    store: dict[str, Any] = {}
    memory = zarr.storage.MemoryStore(store)
    for spec in arrays:
        _declare_array(memory, spec)
    return {key: data for key, data in _objects(store).items() if key != "zarr.json"}


def _store(objects: Mapping[str, bytes]) -> dict[str, Any]:
    """What zarr-python keeps in memory, with some objects in it."""
    from zarr.core.buffer import default_buffer_prototype

    buffer = default_buffer_prototype().buffer
    return {key: buffer.from_bytes(data) for key, data in objects.items()}


def _objects(store: Mapping[str, Any]) -> dict[str, bytes]:
    """All objects of a store, metadata of arrays as `encoded` has them."""
    found = {key: value.to_bytes() for key, value in store.items()}
    return {key: encoded(json.loads(data)) if key.endswith("/zarr.json") else data for key, data in found.items()}


def root_of(objects: Mapping[str, bytes], attributes: Mapping[str, Any]) -> bytes:
    """The root ``zarr.json`` among the objects of `declare`, with other attributes, sealed.

    What they say of the arrays, such as their digests, is known only once these are declared.
    """
    root = json.loads(objects["zarr.json"]) | {"attributes": with_room(attributes)}
    return sealed(json.dumps(root, indent=2).encode())


def encoded(metadata: Mapping[str, Any]) -> bytes:
    """An array's own ``zarr.json``, byte for byte, from its entry in the root's consolidated metadata.

    zarr-python writes the same; that it is written from the entry makes it a rule, on which `digest` is compared.
    """
    return json.dumps(metadata, indent=2).encode()


def _declare_array(store: Any, spec: ArraySpec) -> None:
    import zarr
    from zarr.codecs import BloscCodec, Crc32cCodec

    text = isinstance(spec.dtype, str)
    # By its text: zarr-python has no type for C's long long, which NumPy takes for the same as int64.
    dtype = spec.dtype if isinstance(spec.dtype, str) else np.dtype(spec.dtype.str)
    size = 1 if isinstance(dtype, str) else dtype.itemsize
    blosc = BloscCodec(cname="lz4", clevel=5, shuffle="shuffle" if size > 1 else "noshuffle", typesize=size)
    array = zarr.create_array(
        store,
        name=spec.name,
        shape=spec.shape,
        dtype=dtype,
        chunks=spec.chunk,
        shards=spec.shard,
        compressors=[blosc, Crc32cCodec()],
        fill_value=spec.fill,
        attributes=dict(spec.attributes),
        dimension_names=spec.dims,
        chunk_key_encoding={"name": "default", "separator": spec.separator},
        config={"write_empty_chunks": True},
    )
    if text and spec.data is not None and spec.data.size:
        # Only texts go through zarr-python: tensorstore has no codec for them. See `groups.write_small` for numbers.
        array[...] = spec.data


def digest(data: bytes) -> str:
    """SHA-256 of an object, as stored in a group's attributes to notice changed metadata."""
    return hashlib.sha256(data).hexdigest()
