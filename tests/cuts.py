"""Small cuts for the tests of several rooms: strategies, and the slow loop's answer."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from hypothesis import strategies as st

from patchmill.planning import shapes
from slow_loops import cut as slow_cut

DTYPES = ["bool", "uint8", "int16", "uint16", "int32", "uint64", "float16", "float32", "float64", "complex64"]


def pair(low, high):
    return st.tuples(st.integers(low, high), st.integers(low, high))


CUTS = st.fixed_dictionaries(
    {
        "patch_shape": pair(1, 5),
        "step": pair(1, 7),
        "dilation": pair(1, 3),
        "edge": st.sampled_from(["drop", "pad", "shift"]),
        "pad_mode": st.sampled_from(["constant", "edge", "reflect", "symmetric"]),
    }
)
CASES = st.tuples(
    st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 24), st.integers(1, 24)), st.sampled_from(DTYPES)
)


def stored_image(place, image):
    """A Zarr array of `image`, shape (image, channel, y, x), in chunks that patches do not keep to."""
    array = zarr.create_array(
        place, shape=image.shape, chunks=(1, image.shape[1], 32, 32), dtype=image.dtype,
        dimension_names=["image", "channel", "y", "x"],
    )  # fmt: skip
    array[...] = image
    return place


@pytest.fixture
def tiny_shards(monkeypatch):
    """Shards of some hundred bytes, so that small images have many, with blocks and waves among them."""
    monkeypatch.setattr(shapes, "_SHARD", 600)
    monkeypatch.setattr(shapes, "_SMALL", 60)
    monkeypatch.setattr(shapes, "_CHUNK", 200)
    monkeypatch.setattr(shapes, "_ROWS", 64)


def pixels(shape, dtype, seed=0):
    """Values that are all over the range of `dtype`."""
    raw = np.random.default_rng(seed).integers(0, 256, (*shape, np.dtype(dtype).itemsize), "u1")
    if dtype == "bool":
        return raw[..., 0] > 127
    if np.dtype(dtype).kind in "fc":
        return np.random.default_rng(seed).normal(size=shape).astype(dtype)
    return raw.view(dtype)[..., 0]


def expected_patches(image, arguments):
    """Every patch of (image, channel, y, x), by the slow loop: (n, channel, y, x)."""
    names = ("patch_shape", "step", "dilation", "edge")
    found = [
        patch
        for one in image
        for patch in slow_cut(one, *(arguments[name] for name in names), mode=arguments["pad_mode"]).values()
    ]
    return np.stack(found) if found else np.empty((0, image.shape[1], *arguments["patch_shape"]), image.dtype)


def array_objects(place):
    """Every object of a set but its root, whose times differ: key to bytes."""
    return {
        str(path.relative_to(place)): path.read_bytes()
        for path in sorted(place.rglob("*"))
        if path.is_file() and path != place / "zarr.json"
    }
