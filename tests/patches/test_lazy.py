"""The Dask way: the bytes of NumPy's for any chunks, nothing computed, few tasks, the caller's chunks."""

from __future__ import annotations

import pickle
import warnings
from itertools import accumulate, pairwise
from math import prod

import dask
import dask.array as da
import numpy as np
import pytest
from dask.array import PerformanceWarning
from hypothesis import given
from hypothesis import strategies as st

from patchmill.grid import PatchGrid
from patchmill.patches import patchify, unpatchify
from patchmill.patches.chunks import Chunks
from patchmill.patches.lazy import cut_block
from patchmill.patches.views import Padding

MODES = ("reflect", "constant", "symmetric", "edge")


@pytest.fixture(autouse=True, scope="module")
def in_this_thread():
    with dask.config.set(scheduler="synchronous"):
        yield


def refuse(*arguments, **kwargs):
    raise AssertionError("something was computed")


def numbered(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape, dtype=int)).reshape(shape)


def same(grid: PatchGrid) -> dict:
    return {"patch_shape": grid.patch_shape, "step": grid.step, "dilation": grid.dilation, "edge": grid.edge}


@st.composite
def chunks(draw: st.DrawFn, shape: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Any chunks: uniform with a tail, single rows, irregular, empty ones among them."""

    def along(n: int) -> tuple[int, ...]:
        if draw(st.booleans()):
            size = draw(st.integers(1, n))
            return tuple(min(size, n - start) for start in range(0, n, size))
        edges = sorted(draw(st.lists(st.integers(0, n), max_size=4)))
        return tuple(b - a for a, b in pairwise([0, *edges, n]))

    return tuple(along(n) for n in shape)


def quietly(function, *arguments, **kwargs):
    """The result, and the warnings of merged chunks."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = function(*arguments, **kwargs)
    assert all(warning.category is PerformanceWarning for warning in caught)
    return result, caught


def is_coarser(found: tuple[int, ...], given_sizes: tuple[int, ...]) -> bool:
    """Whether chunks were merged only: no boundary is new."""
    return set(accumulate(found)) <= set(accumulate(given_sizes))


# -- patchify ----------------------------------------------------------------------------------------------------------


@given(st.data(), st.from_type(PatchGrid), st.sampled_from([(), (3,), (2, 2)]), st.sampled_from(MODES))
def test_patches_are_numpys_for_any_chunks(data, grid: PatchGrid, lead: tuple[int, ...], mode: str):
    image = numbered(*lead, *grid.shape)
    options = same(grid) | {"pad_mode": mode, "pad_value": -1}
    array = da.from_array(image, data.draw(chunks(image.shape)))
    with dask.config.set(scheduler=refuse):
        result, _ = quietly(patchify, array, **options)
    expected = patchify(image, **options)
    assert result.dtype == expected.dtype
    assert result.chunks[: len(lead)] == array.chunks[: len(lead)]
    assert result.chunks[len(lead) + grid.ndim :] == tuple((n,) for n in grid.patch_shape)
    assert all(0 not in sizes for sizes in result.chunks[len(lead) :])
    np.testing.assert_array_equal(result.compute(), expected, strict=True)
    for block in np.ndindex(result.numblocks):
        found = result.blocks[block].compute()
        assert found.shape == tuple(sizes[number] for sizes, number in zip(result.chunks, block, strict=True))


@given(st.data(), st.from_type(PatchGrid), st.sampled_from(MODES))
def test_wide_chunks_are_kept_without_a_warning(data, grid: PatchGrid, mode: str):
    """A chunk as wide as any patch reaches over, mirrored pixels included, needs no merge."""
    least = [2 * span for span in grid.span]
    shape = [n + 3 * size for n, size in zip(grid.shape, least, strict=True)]
    grid = grid.resized(shape)
    edges = [sorted({data.draw(st.integers(size, n - size)), n}) for n, size in zip(shape, least, strict=True)]
    given_chunks = tuple(tuple(b - a for a, b in pairwise([0, *along])) for along in edges)
    result = patchify(da.zeros(shape, chunks=given_chunks), **same(grid), pad_mode=mode)
    begins = [
        tuple(len(axis.begins_in(a, b)) for a, b in pairwise([0, *along]))
        for axis, along in zip(grid.axes, edges, strict=True)
    ]
    assert result.chunks[: grid.ndim] == tuple(tuple(filter(None, along)) for along in begins)


def test_the_chunks_of_the_caller_hold_the_positions_that_begin_in_them():
    array = da.zeros((3, 2000, 1500), chunks=(2, 500, 500), dtype=np.uint8)
    result = patchify(array, 256, 128)
    assert result.chunks == ((2, 1), (4, 4, 4, 2), (4, 4, 2), (256,), (256,))


def test_a_short_tail_is_merged_and_named():
    array = da.from_array(numbered(844, 1280), chunks=256)
    with pytest.warns(PerformanceWarning) as caught:
        result = patchify(array, 256, 128, edge="shift")
    texts = [str(warning.message) for warning in caught]
    assert len(texts) == 1
    assert texts[0].startswith("axis 0: chunks of (256, 256, 256, 76) are merged to (256, 256, 332), because")
    assert "128 pixels" in texts[0]
    assert caught[0].filename == __file__
    assert result.chunks[:2] == ((2, 2, 2), (2, 2, 2, 2, 1))
    np.testing.assert_array_equal(result, patchify(numbered(844, 1280), 256, 128, edge="shift"))


def test_single_rows_are_merged_to_one_step():
    with pytest.warns(
        PerformanceWarning, match=r"axis 0: .*\(1, 1, 1, ..., 1; 1024 chunks\) are merged to \(128, 128,"
    ):
        result = patchify(da.zeros((1024, 512), chunks=(1, 512)), 256, 128)
    assert result.chunks[:2] == ((1,) * 7, (3,))


@pytest.mark.parametrize("edge", ["drop", "pad", "shift"])
@pytest.mark.parametrize("mode", ["constant", "reflect"])
@pytest.mark.parametrize(
    ("shape", "size", "patch", "step"),
    [((900, 1600), 500, 256, 128), ((844, 1280), 400, 256, 128), ((100, 100), 50, 30, 40), ((900, 1600), 256, 64, 64)],
)
def test_shapes_where_other_tools_fail(shape, size, patch, step, edge, mode):
    image = np.random.default_rng(0).integers(0, 60_000, shape, np.uint16)
    array = da.from_array(image, chunks=size)
    result, _ = quietly(patchify, array, patch, step, edge=edge, pad_mode=mode)
    np.testing.assert_array_equal(result, patchify(image, patch, step, edge=edge, pad_mode=mode), strict=True)


@pytest.mark.parametrize(("ndim", "most"), [(1, 5), (2, 7), (3, 10)])
@pytest.mark.parametrize("edge", ["drop", "pad", "shift"])
@pytest.mark.parametrize("mode", ["constant", "reflect"])
@pytest.mark.parametrize("tail", [0, 9, 24, 5])
def test_tasks_are_few(ndim, most, edge, mode, tail):
    """For each chunk of the caller; a tail of 9 holds the origin of no patch, one of 5 is narrower than the halo."""
    array = da.zeros(((10 if ndim < 3 else 6) * 32 + tail,) * ndim, chunks=32, dtype=np.uint8)
    result, caught = quietly(patchify, array, (16,) * ndim, 8, edge=edge, pad_mode=mode)
    assert bool(caught) == (tail == 5)
    assert len(dict(dask.optimize(result)[0].__dask_graph__())) <= (most + bool(caught)) * array.npartitions
    dropped = prod(result.numblocks) < array.npartitions
    assert len(dict(result.__dask_graph__())) <= (most + dropped * ndim) * array.npartitions


def test_no_halo_no_exchange():
    """Patches side by side, aligned with the chunks: one task to make a block and one to cut it."""
    array = da.zeros((64, 64), chunks=16)
    result = patchify(array, 8, 8)
    assert len(dict(result.__dask_graph__())) <= 2 * 16 + 1
    assert result.chunks[:2] == ((2,) * 4, (2,) * 4)


def test_tasks_stay_small():
    """What travels with a task does not grow with the number of chunks."""
    sizes = []
    for number in (10, 1000):
        table = (Chunks.of((512,) * number), Chunks.of((512,) * number))
        grid = PatchGrid((512 * number,) * 2, 256, 128)
        sizes.append(len(pickle.dumps((cut_block, grid, table, Padding("edge", np.array(0, np.uint8))))))
    assert sizes[1] < 1.1 * sizes[0] < 2000


def test_names_say_what_is_computed():
    """The same call is the same graph; another one is another."""
    array = da.zeros((64, 64), chunks=16)
    names = [patchify(array, 8, 8).name, patchify(array, 8, 8).name, patchify(array, 8, 8, edge="pad").name]
    assert names[0] == names[1]
    assert len({*names, patchify(array, 8, 4).name}) == 3


@pytest.mark.parametrize("dtype", ["?", ">u2", "c8", "M8[s]", "U3", "O", [("a", "i4"), ("b", "f8")]], ids=str)
def test_every_dtype(dtype):
    image = np.zeros((9, 10), dtype)
    image[::2] = np.ones((), dtype) if np.dtype(dtype).kind not in "UO" else "x"
    options = {"patch_shape": 3, "step": 2, "edge": "pad"}
    result = patchify(da.from_array(image, chunks=4), **options)
    assert result.dtype == image.dtype
    np.testing.assert_array_equal(result.compute(), patchify(image, **options))


def test_a_block_is_a_view_of_its_chunk_and_halo():
    """Not one copy for each patch."""
    block = np.zeros((24, 24), np.uint8)
    grid = PatchGrid((100, 100), 9, 1)
    table = (Chunks.of((16,) * 6 + (4,)),) * 2
    padding = Padding("constant", np.array(0, np.uint8))
    patches = cut_block(block, grid=grid, table=table, before=(0, 0), padding=padding, block_id=(1, 1, 0, 0))
    assert patches.shape == (16, 16, 9, 9)
    assert np.shares_memory(patches, block)


def test_unknown_chunks_are_refused():
    array = da.from_array(numbered(10, 4), chunks=5)
    array = array[array[:, 0] > 3]
    with pytest.raises(ValueError, match=r"known shape, got \(nan, 4\): call array.compute_chunk_sizes"):
        patchify(array, 2)
    assert patchify(array.compute_chunk_sizes(), 2).shape == (8, 3, 2, 2)


def test_masked_chunks_are_refused():
    array = da.ma.masked_greater(da.from_array(numbered(4, 4)), 3)
    with pytest.raises(TypeError, match=r"chunks of numpy.ndarray, got MaskedArray: .*filled"):
        patchify(array, 2)


# -- unpatchify --------------------------------------------------------------------------------------------------------


@given(
    st.data(), st.from_type(PatchGrid), st.sampled_from([(), (3,), (2, 2)]), st.sampled_from(["uniform", "hann", "own"])
)
def test_images_are_numpys_for_any_chunks(data, grid: PatchGrid, lead: tuple[int, ...], window: str):
    """The same bytes, of patches that differ, so that any other order of summing would show."""
    rng = np.random.default_rng(0)
    patches = rng.normal(size=(*lead, *grid.counts, *grid.patch_shape)).astype(data.draw(st.sampled_from(["f4", "f8"])))
    weights = rng.uniform(0.1, 1, grid.patch_shape) if window == "own" else window
    array = da.from_array(patches, data.draw(chunks(patches.shape)))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*lie in no patch", UserWarning)
        expected = unpatchify(patches, grid, window=weights, fill_value=np.nan)
        warnings.simplefilter("ignore", PerformanceWarning)
        with dask.config.set(scheduler=refuse):
            result = unpatchify(array, grid, window=weights, fill_value=np.nan)
    assert result.chunks[: len(lead)] == array.chunks[: len(lead)]
    assert all(0 not in sizes for sizes in result.chunks[len(lead) :])
    np.testing.assert_array_equal(result.compute().view(np.uint8), expected.view(np.uint8), strict=True)


@given(st.data(), st.from_type(PatchGrid).filter(lambda grid: grid.uncovered == 0))
def test_there_and_back_is_the_image(data, grid: PatchGrid):
    image = numbered(2, *grid.shape)
    array = da.from_array(image, data.draw(chunks(image.shape)))
    patches, _ = quietly(patchify, array, **same(grid))
    back, _ = quietly(unpatchify, patches, grid)
    np.testing.assert_array_equal(back.compute(), image, strict=True)


def test_chunks_of_patches_become_the_pixels_up_to_the_next():
    grid = PatchGrid((900, 1600), 256, 128, edge="shift")
    patches = da.zeros((3, *grid.counts, 256, 256), chunks=(1, 4, 3, -1, -1), dtype=np.uint8)
    result = unpatchify(patches, grid)
    assert result.chunks == ((1, 1, 1), (512, 388), (384, 384, 384, 448))


def test_patches_in_pieces_and_thin_chunks_are_merged_and_named():
    grid = PatchGrid((64, 64), 8, 2)
    image = numbered(64, 64)
    patches = patchify(da.from_array(image, chunks=64), 8, 2).rechunk((1, -1, -1, 4))
    with pytest.warns(PerformanceWarning) as caught:
        result = unpatchify(patches, grid)
    texts = [str(warning.message) for warning in caught]
    assert texts[0].startswith("axis 3: chunks of (4, 4) are merged to (8,), because a patch must lie in one chunk")
    assert texts[1].startswith(
        "axis 0: chunks of (1, 1, 1, ..., 1; 29 chunks) are merged to (3, 3, 3, ..., 5; 9 chunks)"
    )
    assert "3 positions" in texts[1]
    np.testing.assert_array_equal(result, image)


def test_gaps_warn_once_when_the_graph_is_built():
    grid = PatchGrid((100, 100), 30, 40)
    patches = patchify(da.ones((100, 100), chunks=50, dtype=np.uint8), 30, 40)
    with pytest.warns(UserWarning, match="6400 of 10000 pixels") as caught:
        result = unpatchify(patches, grid, fill_value=9)
    assert len(caught) == 1
    assert int((result == 9).sum()) == 6400


def test_own_weights_are_stored_once():
    grid = PatchGrid((640, 640), 64, 32)
    patches = patchify(da.zeros((640, 640), chunks=64), 64, 32)
    by_name, by_weights = (
        len(dict(unpatchify(patches, grid, window=w).__dask_graph__())) for w in ("hann", np.ones((64, 64)))
    )
    assert by_weights == by_name + 1


@pytest.mark.parametrize(("ndim", "most"), [(1, 5), (2, 7), (3, 10)])
def test_tasks_of_the_way_back_are_few(ndim, most):
    grid = PatchGrid((10 * 32,) * ndim if ndim < 3 else (6 * 32,) * 3, 16, 8, edge="pad")
    patches = da.zeros((*grid.counts, *grid.patch_shape), chunks=(*(4,) * ndim, *(-1,) * ndim), dtype=np.uint8)
    result, _ = quietly(unpatchify, patches, grid)
    blocks = prod(result.numblocks)
    assert len(dict(dask.optimize(result)[0].__dask_graph__())) <= most * blocks


def test_processes_can_take_the_work(tmp_path):
    """Whatever a task holds can be pickled."""
    image = numbered(40, 40)
    patches = patchify(da.from_array(image, chunks=20), 8, 4, edge="pad", pad_mode="reflect")
    back = unpatchify(patches, PatchGrid((40, 40), 8, 4, edge="pad"), window=np.ones((8, 8)))
    again = pickle.loads(pickle.dumps(back))
    np.testing.assert_array_equal(again.compute(), image)
