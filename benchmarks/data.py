"""Generated scenes that compress like real ones: smooth structure, texture and sensor noise."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tensorstore as ts

TILE = 1024
"""Side of the piece of scene that large sources repeat, each time with another brightness, so that none packs away."""


def scene(shape: tuple[int, int, int], seed: int) -> np.ndarray:
    """One uint16 image, shape (channel, y, x); blosc lz4 shuffle packs it to about three fifths."""
    random = np.random.default_rng(seed)
    channels, rows, columns = shape
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
    waves = sum(
        np.sin(y / period + phase) * np.cos(x / (period * 1.3) - phase) * period
        for period, phase in zip((11, 53, 210, 900), random.uniform(0, 6, 4), strict=True)
    )
    image = np.empty(shape, np.uint16)
    for channel in range(channels):
        noise = random.normal(0, 6, (rows, columns)).astype(np.float32)
        image[channel] = np.clip(4000 + 2 * waves + 150 * channel + noise, 0, 65535)
    return image


def as_dtype(image: np.ndarray, dtype: str) -> np.ndarray:
    """A scene as cameras of other kinds would have it: 8 bits of it, or reflectances in steps of 0.0001."""
    if dtype == "uint8":
        return (image >> 3).astype(np.uint8)
    return (image * np.float32(1e-4)).astype(np.float32) if dtype == "float32" else image.astype(dtype)


def _bands(shape: tuple[int, int, int], height: int, seed: int) -> Iterator[tuple[int, np.ndarray]]:
    """A scene of any size from top to bottom, `height` rows at a time: first row, (channel, y, x) of uint16."""
    channels, rows, columns = shape
    tile = scene((channels, TILE, TILE), seed)
    across = -(-columns // TILE)
    for first in range(0, rows, height):
        stop = min(first + height, rows)
        band = np.empty((channels, stop - first, columns), np.uint16)
        for row in range(first // TILE, -(-stop // TILE)):
            top, bottom = max(row * TILE, first), min((row + 1) * TILE, stop)
            for column in range(across):
                left, right = column * TILE, min((column + 1) * TILE, columns)
                brightness = np.uint16(37 * ((row * 7 + column) % 61))
                piece = tile[:, top - row * TILE : bottom - row * TILE, : right - left]
                band[:, top - first : bottom - first, left:right] = piece + brightness
        yield first, band


def write_source(
    place: Path, shape: tuple[int, int, int, int], chunk: Sequence[int], dtype: str = "uint16", seed: int = 0
) -> None:
    """A Zarr v3 source of scenes, codec as patch sets have it, without checksums.

    Parameters
    ----------
    place : Path
    shape : tuple of int
        (image, channel, y, x).
    chunk : sequence of int
        The same axes.
    dtype : {"uint16", "uint8", "float32"}
    seed : int
    """
    images, channels, rows, columns = shape
    spec = {
        "driver": "zarr3",
        "kvstore": {"driver": "file", "path": f"{place}/"},
        "metadata": {
            "shape": list(shape),
            "data_type": dtype,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunk)}},
            "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, blosc(np.dtype(dtype).itemsize)],
            "dimension_names": ["image", "channel", "y", "x"],
        },
        "create": True,
        "delete_existing": True,
    }
    array = ts.open(spec).result()
    height = -(-256 // chunk[2]) * chunk[2]
    for image in range(images):
        for first, band in _bands((channels, rows, columns), height, seed + image):
            array[image, :, first : first + band.shape[1]].write(as_dtype(band, dtype)).result()


def write_digits(place: Path, images: int) -> np.ndarray:
    """Very many tiny images, 28 x 28 of uint8: strokes on black. Returns them, shape (image, y, x)."""
    import zarr

    random = np.random.default_rng(0)
    y, x = np.mgrid[0:28, 0:28].astype(np.float32)
    kinds = np.empty((256, 28, 28), np.float32)
    for at, (a, b, c, d) in enumerate(random.uniform(6, 22, (256, 4))):
        line = np.abs((d - b) * (x - a) - (c - a) * (y - b)) / np.hypot(d - b, c - a)
        kinds[at] = 255 * np.exp(-((line / 1.6) ** 2)) * (np.hypot(x - (a + c) / 2, y - (b + d) / 2) < 9)
    values = np.empty((images, 28, 28), np.uint8)
    for first in range(0, images, 10_000):
        chosen = kinds[random.integers(0, 256, min(10_000, images - first))]
        noise = random.normal(0, 5, chosen.shape).astype(np.float32)
        values[first : first + len(chosen)] = np.clip(np.where(chosen > 8, chosen + noise, 0), 0, 255)
    shard = -(-min(images, 20_000) // 64) * 64
    zarr.create_array(
        place, data=values, chunks=(64, 28, 28), shards=(shard, 28, 28), dimension_names=["image", "y", "x"]
    )
    return values


def blosc(typesize: int) -> dict:
    """The codec of patch sets."""
    settings = {"cname": "lz4", "clevel": 5, "shuffle": "shuffle", "typesize": typesize, "blocksize": 0}
    return {"name": "blosc", "configuration": settings}


def metadata_of(array: Path) -> dict:
    """The metadata document of a stored Zarr array."""
    return json.loads((array / "zarr.json").read_text())
