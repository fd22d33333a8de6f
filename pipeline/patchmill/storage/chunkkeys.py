"""Which object holds which chunk: keys of an array's shards, or of its chunks where these are objects of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

from patchmill.storage.bulk import Region, TensorStoreArray


def grid_shape(array: TensorStoreArray) -> tuple[int, ...]:
    """Number of objects along each axis, were they all there."""
    return tuple(-(-n // size) for n, size in zip(array.shape, array.shard, strict=True))


def keys_of(array: TensorStoreArray, region: Region) -> Iterator[str]:
    """Keys, in the array's own folder, of the objects that `region` touches; slices are literal, their step 1."""
    sides = [side.indices(n) for side, n in zip(region, array.shape, strict=True)]
    if any(start >= stop for start, stop, _ in sides):
        return
    metadata, version = array.metadata, array.zarr_format
    ranges = (
        range(start // size, (stop - 1) // size + 1) for (start, stop, _), size in zip(sides, array.shard, strict=True)
    )
    for index in product(*ranges):
        yield chunk_key(metadata, version, index)


def chunk_key(metadata: dict[str, Any], zarr_format: int, index: Sequence[int]) -> str:
    """Key of the object at `index` of the grid of objects.

    Examples
    --------
    >>> chunk_key({"chunk_key_encoding": {"name": "default"}}, 3, (0, 2))
    'c/0/2'
    >>> chunk_key({"dimension_separator": "."}, 2, (0, 2))
    '0.2'
    """
    if zarr_format == 2:
        return str(metadata.get("dimension_separator", ".")).join(map(str, index)) or "0"
    encoding = metadata["chunk_key_encoding"]
    settings = encoding.get("configuration", {})
    if encoding["name"] == "default":
        return str(settings.get("separator", "/")).join(["c", *map(str, index)])
    return str(settings.get("separator", ".")).join(map(str, index)) or "0"
