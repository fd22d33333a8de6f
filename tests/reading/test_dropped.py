"""Sets of which some patches were dropped: numbers, pixels, and what may be missing on disk."""

from __future__ import annotations

import pickle

import cloudpickle
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import patchmill
from handmade_sets import patches_of, write_set
from patchmill.grid import ImageGrids, PatchGrid

RANDOM = np.random.default_rng(0)
SIZES = {"same": [(20, 24)] * 4, "different": [(20, 24), (20, 9), (4, 4), (7, 24)]}
GRID = PatchGrid((20, 24), 5, 4)


def make(place, layout, sizes, share, chunk=(1, 1, 1)):
    """A set, its existing positions, and its patches in order of their numbers."""
    images = [RANDOM.integers(1, 1000, (2, *size)).astype("uint16") for size in sizes]
    here = ImageGrids(GRID, np.array(sizes)).exists(*(slice(None),) * 3)
    dropped = here & (RANDOM.random(here.shape) < share)
    dropped[0, 0] = here[0, 0]
    write_set(place, {"image": images}, GRID, layout=layout, dropped=dropped, chunk=chunk)
    exists = here & ~dropped
    return patchmill.open_patches(place), exists, patches_of(images, GRID, exists)


@pytest.fixture(
    scope="module", params=[(a, b, c) for a in ("patches", "canvas") for b in SIZES for c in (0.5, 1)], ids=str
)
def case(request, tmp_path_factory):
    layout, sizes, share = request.param
    chunk = (1, 1, 1) if layout == "patches" else (1, 6, 6)
    return make(tmp_path_factory.mktemp("dropped") / "set", layout, SIZES[sizes], share, chunk)


@given(data=st.data())
def test_numbers_are_those_of_existing_patches(case, data):
    ps, exists, expected = case
    assert len(ps) == len(expected)
    if len(ps):
        numbers = data.draw(st.lists(st.integers(-len(ps), len(ps) - 1), max_size=20))
        np.testing.assert_array_equal(ps.read(np.array(numbers, int)), expected[np.array(numbers, int)])
        image, origin = ps.locate(np.array(numbers, int))
        rows = np.argwhere(exists)[np.array(numbers, int)]
        np.testing.assert_array_equal(image, rows[:, 0])
        np.testing.assert_array_equal(origin, rows[:, 1:] * 4)
    with pytest.raises(IndexError, match=f"set of {len(ps)} patches"):
        ps.read([len(ps)])


def test_dropped_positions_are_zero(case):
    ps, exists, expected = case
    full = np.zeros((*exists.shape, *expected.shape[1:]), np.uint16)
    full[exists] = expected
    full = full.transpose(0, 3, 1, 2, 4, 5)
    np.testing.assert_array_equal(ps.to_dask().compute(), full)
    np.testing.assert_array_equal(ps.to_dask()[1:3, 1, :2, 1:].compute(), full[1:3, 1, :2, 1:])
    np.testing.assert_array_equal(ps.to_xarray()["exists"], exists)
    assert str(len(ps)) in repr(ps)


def test_small_patches_that_share_chunks(tmp_path):
    ps, exists, expected = make(tmp_path / "set", "patches", SIZES["same"], 0.5, (2, 2, 4))
    np.testing.assert_array_equal(ps.read(np.arange(len(ps))), expected)
    full = np.zeros((*exists.shape, *expected.shape[1:]), np.uint16)
    full[exists] = expected
    np.testing.assert_array_equal(ps.to_dask().compute(), full.transpose(0, 3, 1, 2, 4, 5))


def test_an_existing_patch_that_is_missing_is_damage(tmp_path):
    ps, exists, _ = make(tmp_path / "set", "patches", SIZES["same"], 0.5)
    image, y, x = np.argwhere(exists)[7].tolist()  # shards hold two images
    (tmp_path / "set" / "patches" / "c" / f"{image // 2}/0/{y // 2}/{x // 2}/0/0").unlink()
    for read in (lambda: ps[7], lambda: ps.read([0, 7]), lambda: ps.to_dask().compute()):
        with pytest.raises(patchmill.errors.CorruptChunkError, match="missing"):
            read()


@pytest.mark.parametrize("library", [pickle, cloudpickle])
def test_a_set_travels_after_a_read(case, library):
    ps, _, expected = case
    numbers = np.arange(len(ps))
    ps.read(numbers)
    np.testing.assert_array_equal(library.loads(library.dumps(ps)).read(numbers), expected)
