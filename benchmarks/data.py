"""Generated scenes that compress like real ones: smooth structure, texture and sensor noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorstore as ts


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


def write_source(place: Path, images: int, channels: int, side: int, chunk: int) -> None:
    """A Zarr v3 source of `images` scenes, chunks (1, channels, chunk, chunk), codec as patch sets have it."""
    spec = {
        "driver": "zarr3",
        "kvstore": {"driver": "file", "path": f"{place}/"},
        "metadata": {
            "shape": [images, channels, side, side],
            "data_type": "uint16",
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1, channels, chunk, chunk]}},
            "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, blosc(2)],
            "dimension_names": ["image", "channel", "y", "x"],
        },
        "create": True,
        "delete_existing": True,
    }
    array = ts.open(spec).result()
    for image in range(images):
        array[image].write(scene((channels, side, side), image)).result()


def blosc(typesize: int) -> dict:
    """The codec of patch sets."""
    settings = {"cname": "lz4", "clevel": 5, "shuffle": "shuffle", "typesize": typesize, "blocksize": 0}
    return {"name": "blosc", "configuration": settings}
