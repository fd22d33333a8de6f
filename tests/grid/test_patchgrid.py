"""A grid is the product of its axes, and its blocks tile it."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import time
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchmill.grid import Axis, PatchGrid


@st.composite
def grids(draw: st.DrawFn) -> PatchGrid:
    axes = draw(st.lists(st.from_type(Axis), min_size=1, max_size=3))
    # fewer pixels for more axes: every pixel of the image is visited below
    shape = [min(axis.n, (30, 12, 7)[len(axes) - 1]) for axis in axes]
    edge = axes[0].edge
    return PatchGrid(shape, [a.patch for a in axes], [a.step for a in axes], [a.dilation for a in axes], edge)


def holders(grid: PatchGrid) -> np.ndarray:
    """How many patches hold each pixel."""
    count = np.zeros(grid.shape, int)
    for pixels in grid:
        count[pixels] += 1
    return count


@given(grids())
def test_enumerations_agree(grid: PatchGrid):
    indices = list(grid.indices())
    assert indices == list(product(*(range(n) for n in grid.counts)))
    assert len(grid) == len(indices) == len(list(grid))
    assert [grid.index(i) for i in range(len(grid))] == indices
    assert [grid.index(i - len(grid)) for i in range(len(grid))] == indices
    assert [grid[i] for i in range(len(grid))] == list(grid) == [grid.pixels(index) for index in indices]
    assert [grid.origin(index) for index in indices] == [tuple(part.start for part in pixels) for pixels in grid]


@given(grids())
def test_numbers_outside_are_refused(grid: PatchGrid):
    for number in (len(grid), -len(grid) - 1):
        with pytest.raises(IndexError, match=f"patch {number} is outside a grid of {len(grid)} patches"):
            grid[number]


@given(grids())
def test_coverage_is_a_count(grid: PatchGrid):
    count = holders(grid)
    assert grid.covered == int((count > 0).sum())
    assert grid.uncovered == int((count == 0).sum())
    assert grid.overlaps == bool((count > 1).any())
    if count.size:
        assert grid.overlap_factor == len(grid) * np.prod(grid.patch_shape) / count.size


@given(grids(), st.data())
def test_locate_is_the_search(grid: PatchGrid, data: st.DataObject):
    pixel = tuple(data.draw(st.integers(0, max(0, n - 1))) for n in grid.shape)
    expected = [
        index
        for index in grid.indices()
        if all(p in range(*part.indices(n)) for p, part, n in zip(pixel, grid.pixels(index), grid.shape, strict=True))
    ]
    assert grid.locate(pixel) == expected


@given(grids(), st.data())
def test_touching_is_the_search(grid: PatchGrid, data: st.DataObject):
    start = tuple(data.draw(st.integers(0, n)) for n in grid.shape)
    stop = tuple(data.draw(st.integers(a, n)) for a, n in zip(start, grid.shape, strict=True))
    expected = [
        index
        for index in grid.indices()
        if all(
            a < b and origin < b and origin + span > a
            for origin, span, a, b in zip(grid.origin(index), grid.span, start, stop, strict=True)
        )
    ]
    assert list(product(*grid.touching(start, stop))) == expected


@given(grids(), st.data())
def test_blocks_tile_the_grid(grid: PatchGrid, data: st.DataObject):
    size = [data.draw(st.integers(1, 4)) for _ in grid.shape]
    visited = np.zeros(grid.counts, int)
    for start, stop in grid.blocks(size):
        part = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        assert visited[part].size > 0
        assert all(b - a <= n for a, b, n in zip(start, stop, size, strict=True))
        visited[part] += 1
    assert (visited == 1).all()


@given(grids(), st.integers(1, 3))
def test_the_source_of_a_block_is_all_that_its_patches_hold(grid: PatchGrid, size: int):
    """And it lies in the block's own pixels and its halo."""
    for start, stop in grid.blocks(size):
        region = grid.source(start, stop)
        patches = [grid.pixels(index) for index in product(*map(range, start, stop))]
        for number, part in enumerate(region):
            assert part.start == min(pixels[number].start for pixels in patches)
            axis, halo = grid.axes[number], grid.halo()[number]
            assert part.stop == min(
                max(grid.origin(i)[number] for i in product(*map(range, start, stop))) + axis.span, axis.n
            )
            assert part.start >= start[number] * axis.step - halo.before
            assert part.stop <= stop[number] * axis.step + halo.after


@given(grids())
def test_plain_data_and_pickle_give_the_same_grid(grid: PatchGrid):
    again = PatchGrid(**json.loads(json.dumps(grid.to_dict())))
    assert again == grid == pickle.loads(pickle.dumps(grid))
    assert hash(again) == hash(grid)
    assert grid.resized(grid.shape) == grid


def test_permissive_in_exact_out():
    grid = PatchGrid([np.int64(9), 12], np.array([3, 4]), step=None, dilation=1)
    assert grid == PatchGrid((9, 12), (3, 4), (3, 4))
    assert (grid.shape, grid.patch_shape, grid.step, grid.dilation, grid.edge) == (
        (9, 12),
        (3, 4),
        (3, 4),
        (1, 1),
        "drop",
    )
    assert all(type(n) is int for n in grid.shape + grid.patch_shape + grid.step)
    assert PatchGrid(7, 2).ndim == 1
    with pytest.raises(AttributeError):
        grid.axes = ()


def test_repr_is_one_line_of_numbers():
    grid = PatchGrid((900, 1600), 256, 128, edge="shift")
    expected = "PatchGrid(7 x 12 patches of 256 x 256, step 128 x 128, edge 'shift', over 900 x 1600 pixels)"
    assert repr(grid) == expected
    assert "dilation 2 x 2" in repr(PatchGrid((9, 9), 2, 1, 2))


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (((9, 9), 0), ValueError, r"patch_shape must be at least 1, got 0"),
        (((9, 9), (2, 2, 2)), ValueError, r"patch_shape must have one number for each of the 2 spatial axes, got 3"),
        (((9, 9), 2, 0), ValueError, r"step must be at least 1, got 0"),
        (((9, 9), 2, 2**63), ValueError, r"step must be at most 9,007,199,254,740,992, got a number of 64 bits"),
        (((9, 9), 2, 10**5000), ValueError, r"step must be at most"),
        (((9, 9), np.array(2.5)), TypeError, r"patch_shape must be a whole number"),
        (((9, 9), 2, (1, -1)), ValueError, r"step\[1\] must be at least 1, got -1"),
        (((9, 9), 2, 1.5), TypeError, r"step must be a whole number of pixels, got 1.5"),
        (((9, 9), 2, True), TypeError, r"step must be a whole number of pixels, got True"),
        (((9, 9), 2, 1, 0), ValueError, r"dilation must be at least 1, got 0"),
        (((9, 9), 2, 1, 1, "wrap"), ValueError, r"edge must be one of 'drop', 'pad', 'shift', got 'wrap'"),
        (((9, 9), 2, 1, 1, np.array(["a", "b"])), ValueError, r"edge must be one of .*, got array\("),
        (((9, 9), 2, 1, 1, ["drop"]), ValueError, r"edge must be one of .*, got \['drop'\]"),
        (((9, -1), 2), ValueError, r"shape\[1\] must be at least 0, got -1"),
        (((), 2), ValueError, r"shape must have at least one axis"),
        (("99", 2), TypeError, r"shape\[0\] must be a whole number of pixels, got '99'"),
    ],
)
def test_wrong_numbers_are_named(arguments, error, words):
    with pytest.raises(error, match=words):
        PatchGrid(*arguments)


@pytest.mark.parametrize("edge", ["drop", "pad", "shift"])
def test_ten_to_the_twelve_patches_cost_nothing(edge):
    begun = time.perf_counter()
    grid = PatchGrid((10**6 + 255,) * 2, 256, 1, edge=edge)
    assert len(grid) == 10**12
    assert grid.index(-1) == (10**6 - 1,) * 2
    assert grid[10**11] == (slice(10**5, 10**5 + 256, 1), slice(0, 256, 1))
    assert grid.touching((500, 500), (501, 502)) == (range(245, 501), range(245, 502))
    assert len(grid.locate((500, 500))) == 256**2
    assert grid.covered == (10**6 + 255) ** 2
    assert grid.overlaps
    assert next(grid.blocks(1000)) == ((0, 0), (1000, 1000))
    assert time.perf_counter() - begun < 1


@pytest.mark.parametrize(
    ("shape", "edge", "counts"),
    [
        ((844, 1280), "drop", (5, 9)),
        ((844, 1280), "pad", (6, 9)),
        ((844, 1280), "shift", (6, 9)),
        ((900, 1600), "drop", (6, 11)),
        ((900, 1600), "pad", (7, 12)),
        ((900, 1600), "shift", (7, 12)),
    ],
)
def test_shapes_where_other_tools_fail(shape, edge, counts):
    grid = PatchGrid(shape, 256, 128, edge=edge)
    assert grid.counts == counts
    assert (grid.uncovered == 0) == (edge != "drop")


def test_geometry_loads_nothing_heavy():
    code = (
        "import sys, patchmill.grid; "
        "heavy = {'dask', 'xarray', 'zarr', 'tensorstore', 'papermill', 'pandas', 'torch'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
