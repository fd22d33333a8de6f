"""How well a source is packed, from a few of its objects: an estimate for disks, not a measurement."""

from __future__ import annotations

import os
from math import prod

import numpy as np

from patchmill.storage import TensorStoreArray
from patchmill.storage.chunkkeys import chunk_key, grid_shape

_LOOKS = 16
"""Objects looked at, spread over the array."""

_FETCHED = 32 << 20
"""Raw bytes of the objects that are fetched at most where only reading an object tells its size."""


def stored_ratio(array: TensorStoreArray) -> float | None:
    """Stored bytes / raw bytes of a few objects of `array`; those that are absent don't count.

    Returns
    -------
    float or None
        None where no object is found, or where one would be too large to fetch for that.
    """
    grid, raw = grid_shape(array), prod(array.shard) * array.dtype.itemsize
    looks = _LOOKS if array.location.is_local else min(_LOOKS, _FETCHED // max(raw, 1))
    if not looks or 0 in array.shape:
        return None
    metadata = array.metadata
    stored = held = 0
    for number in np.unique(np.linspace(0, prod(grid) - 1, looks).astype(np.int64)).tolist():
        index = np.unravel_index(number, grid) if grid else ()
        size = _size(array, chunk_key(metadata, array.zarr_format, [int(at) for at in index]))
        if size is not None:
            stored += size
            inside = (min(n - at * side, side) for at, side, n in zip(index, array.shard, array.shape, strict=True))
            held += int(prod(int(n) for n in inside)) * array.dtype.itemsize
    return stored / held if held else None


def _size(array: TensorStoreArray, key: str) -> int | None:
    if not array.location.is_local:
        data = array.location.read(key)
        return None if data is None else len(data)
    try:
        return os.stat(array.location.path / key).st_size
    except OSError:
        return None
