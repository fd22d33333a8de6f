"""Loops that a careful programmer writes for one case: the bounds that patchmill is held against.

They take chunks, shards and codecs from the metadata of the array that patchmill wrote, and fsync as it does; they know
no catalog, no statistics, no resume, no memory limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import numpy as np
import tensorstore as ts
from numpy.lib.stride_tricks import as_strided


def opened(place: Path, cache: int = 0, **more: object) -> ts.TensorStore:
    """A stored array, for reading through a cache of `cache` bytes of decoded chunks."""
    context = ts.Context({"cache_pool": {"total_bytes_limit": cache}})
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{place}/"}, **more}
    if cache:
        spec["recheck_cached_data"] = "open"
    return ts.open(spec, open=True, context=context).result()


def created(place: Path, metadata: dict) -> ts.TensorStore:
    """A new array like the one that `metadata` describes."""
    kept = ("shape", "data_type", "chunk_grid", "chunk_key_encoding", "codecs", "fill_value")
    spec = {
        "driver": "zarr3",
        "kvstore": {"driver": "file", "path": f"{place}/"},
        "metadata": {name: metadata[name] for name in kept},
        "store_data_equal_to_fill_value": True,
        "create": True,
        "delete_existing": True,
    }
    return ts.open(spec, context=ts.Context({"cache_pool": {"total_bytes_limit": 0}})).result()


def shards(shape: Sequence[int], shard: Sequence[int], band: int) -> list[tuple[int, int]]:
    """Corners of shards over the last two axes, in bands of `band` shards that are walked from top to bottom."""
    (down, across), (height, width) = shape, shard
    return [
        (y, x)
        for left in range(0, across, band * width)
        for y in range(0, down, height)
        for x in range(left, min(left + band * width, across), width)
    ]


def windows(pixels: np.ndarray, sizes: Sequence[int], patch: int, step: int) -> np.ndarray:
    """The strided view (..., grid_y, grid_x, patch_y, patch_x) of (..., y, x)."""
    h, w = pixels.strides[-2:]
    shape, strides = (*pixels.shape[:-2], *sizes, patch, patch), (*pixels.strides[:-2], h * step, w * step, h, w)
    return as_strided(pixels, shape, strides, writeable=False)


def write_patches(
    source: Path,
    target: Path,
    metadata: dict,
    patch: int,
    step: int,
    *,
    threads: int = 2,
    cache: int = 0,
    band: int = 1,
) -> None:
    """Layout "patches": regions in, strided views out; with more threads and a cache it is the better of two loops."""
    array, out = opened(source, cache), created(target, metadata)
    shape, (images, together, *_) = out.shape, out.chunk_layout.write_chunk.shape
    high, wide = out.chunk_layout.write_chunk.shape[2:4]
    alone = out.chunk_layout.read_chunk.shape[2:4] == (1, 1)
    if images > 1 and shape[0] > 1:
        raise ValueError("this loop is for one image, or for images that have shards of their own")

    def shard(what: tuple[int, int, tuple[int, int]]) -> None:
        image, first, corner = what
        sizes = [min(n, count - at) for n, at, count in zip((high, wide), corner, shape[2:4], strict=True)]
        rows, columns = (slice(at * step, (at + n - 1) * step + patch) for at, n in zip(corner, sizes, strict=True))
        channels = slice(first, min(first + together, shape[1]))
        view = windows(array[image, channels, rows, columns].read().result(), sizes, patch, step)
        (y, x), (a, b) = corner, sizes
        region = out[image, channels, y : y + a, x : x + b]
        if alone:
            region.write(view, can_reference_source_data_indefinitely=True).result()
        else:
            region.write(np.ascontiguousarray(view)).result()

    corners = shards(shape[2:4], (high, wide), band)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(shard, product(range(shape[0]), range(0, shape[1], together), corners)))


def write_canvas(
    source: Path, target: Path, metadata: dict, *, threads: int = 2, cache: int = 0, band: int = 1
) -> None:
    """Layout "canvas": every pixel copied once, shard by shard."""
    array, out = opened(source, cache), created(target, metadata)
    shape, (_, together, high, wide) = out.shape, out.chunk_layout.write_chunk.shape

    def shard(what: tuple[int, int, tuple[int, int]]) -> None:
        image, first, (y, x) = what
        channels = slice(first, min(first + together, shape[1]))
        region = (image, channels, slice(y, min(y + high, shape[2])), slice(x, min(x + wide, shape[3])))
        out[region].write(array[region].read().result(), can_reference_source_data_indefinitely=True).result()

    corners = shards(shape[2:], (high, wide), band)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(shard, product(range(shape[0]), range(0, shape[1], together), corners)))


def write_small(source: Path, target: Path, metadata: dict, patch: int, step: int, *, threads: int = 2) -> None:
    """Layout "patches" of images (image, y, x) so small that a shard holds thousands of them."""
    array, out = opened(source), created(target, metadata)
    counts, together = out.shape[1:3], out.chunk_layout.write_chunk.shape[0]

    def shard(first: int) -> None:
        images = slice(first, min(first + together, out.shape[0]))
        view = windows(array[images].read().result(), counts, patch, step)
        out[images].write(np.ascontiguousarray(view)).result()

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(shard, range(0, out.shape[0], together)))


def zarr_loop(source: Path, target: Path, patch: int, step: int) -> None:
    """zarr-python over patches of one image, a chunk each, the same compressor."""
    import zarr

    image = zarr.open_array(source, mode="r")
    _, channels, rows, columns = image.shape
    counts = [(n - patch) // step + 1 for n in (rows, columns)]
    shape, chunk = (1, channels, *counts, patch, patch), (1, channels, 1, 1, patch, patch)
    out = zarr.create_array(target, shape=shape, chunks=chunk, dtype=image.dtype, compressors=compressor(image.dtype))

    def row(at: int) -> None:
        pixels = image[0, :, at * step : at * step + patch]
        for x in range(counts[1]):
            out[0, :, at, x] = pixels[:, :, x * step : x * step + patch]

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(row, range(counts[0])))


def zarr_small(source: Path, target: Path, metadata: dict, patch: int, step: int) -> None:
    """zarr-python over whole shards of small images: one thread, since its shards lose data to two."""
    import zarr

    array = zarr.open_array(source, mode="r")
    shard = metadata["chunk_grid"]["configuration"]["chunk_shape"]
    chunk = metadata["codecs"][0]["configuration"]["chunk_shape"]
    out = zarr.create_array(
        target,
        shape=metadata["shape"],
        chunks=chunk,
        shards=shard,
        dtype=array.dtype,
        compressors=compressor(array.dtype),
    )
    for first in range(0, array.shape[0], shard[0]):
        images = array[first : first + shard[0]]
        out[first : first + shard[0]] = np.ascontiguousarray(windows(images, out.shape[1:3], patch, step))


def dask_windows(source: Path, target: Path, patch: int, step: int) -> None:
    """Dask's sliding_window_view, thinned out, and `to_zarr`."""
    import dask
    import dask.array as da
    import zarr

    image = da.from_zarr(zarr.open_array(source, mode="r"))
    found = da.lib.stride_tricks.sliding_window_view(image, (patch, patch), axis=(2, 3))[:, :, ::step, ::step]
    found = found.rechunk((1, -1, 8, 8, -1, -1))
    with dask.config.set(scheduler="threads", num_workers=2):
        found.to_zarr(str(target), compute=True)


def compressor(dtype: np.dtype) -> object:
    """The codec of patch sets, for zarr-python."""
    from zarr.codecs import BloscCodec

    return BloscCodec(typesize=np.dtype(dtype).itemsize, cname="lz4", clevel=5, shuffle="shuffle")
