"""There and back is the identity, gaps are filled, and neither tiles nor memory show in the result."""

from __future__ import annotations

import tracemalloc
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchmill.grid import PatchGrid
from patchmill.patches import assembly, patchify, unpatchify
from patchmill.patches.assembly import assemble, moves, tiles

WINDOWS = ("uniform", "hann", "triangle")
leads = st.sampled_from([(), (3,), (2, 2), (0,)])


def same(grid: PatchGrid) -> dict:
    return {"patch_shape": grid.patch_shape, "step": grid.step, "dilation": grid.dilation, "edge": grid.edge}


def quietly(patches, grid, **options):
    """Without the warning of gaps, which has tests of its own."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*lie in no patch", UserWarning)
        return unpatchify(patches, grid, **options)


def held(grid: PatchGrid) -> np.ndarray:
    mask = np.zeros(grid.shape, bool)
    for pixels in grid:
        mask[pixels] = True
    return mask


@given(st.from_type(PatchGrid), leads.filter(all), st.sampled_from(WINDOWS))
def test_there_and_back_is_the_image_and_gaps_are_filled(grid: PatchGrid, lead: tuple[int, ...], window: str):
    image = np.arange(np.prod((*lead, *grid.shape))).reshape(*lead, *grid.shape)
    back = quietly(patchify(image, **same(grid), pad_mode="reflect"), grid, window=window, fill_value=-7)
    np.testing.assert_array_equal(back, np.where(held(grid), image, -7), strict=True)
    assert back.flags.writeable
    assert back.flags.c_contiguous


@given(st.from_type(PatchGrid))
def test_gaps_are_announced_exactly_where_there_are_some(grid: PatchGrid):
    patches = np.zeros((*grid.counts, *grid.patch_shape), np.uint8)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        unpatchify(patches, grid)
    missing = int((~held(grid)).sum())
    texts = [f"{missing} of {held(grid).size} pixels lie in no patch and hold fill_value 0; "] if missing else []
    assert [str(warning.message)[: len(text)] for warning, text in zip(caught, texts, strict=True)] == texts


@pytest.mark.parametrize("shape", [(844, 1280), (900, 1600)])
@pytest.mark.parametrize("edge", ["pad", "shift"])
@pytest.mark.parametrize("window", WINDOWS)
def test_shapes_where_other_tools_fail(shape, edge, window):
    image = np.random.default_rng(0).integers(0, 60_000, shape, np.uint16)
    back = unpatchify(patchify(image, 256, 128, edge=edge), PatchGrid(shape, 256, 128, edge=edge), window=window)
    np.testing.assert_array_equal(back, image, strict=True)


RECORD = np.dtype([("height", "<f4"), ("name", "U3"), ("pair", ">i2", (2,))])
DTYPES = ["?", "i1", "u1", ">i2", "u2", "i4", "u4", ">i8", "i8", "u8", ">u8", "f2", ">f4", "f4", "f8", ">f8", "F", ">D"]
OTHERS = ["M8[ns]", ">M8[D]", "m8[s]", "U4", "S4", "V5", RECORD]


def any_bytes(dtype, *shape: int) -> np.ndarray:
    """Every bit pattern: NaN with payloads, subnormals, infinities, NaT, the largest integers."""
    dtype = np.dtype(dtype)
    size = int(np.prod(shape))
    data = np.random.default_rng(0).integers(0, 256, size * dtype.itemsize, np.uint8).tobytes()
    out = np.frombuffer(data, dtype).reshape(shape).copy()
    if dtype.kind == "b":
        return np.frombuffer(data, np.uint8).reshape(shape) > 127
    if dtype.kind == "U" or dtype == RECORD:
        out = np.zeros(shape, dtype)
        out[...] = "é" if dtype.kind == "U" else (np.nan, "ab", 5)
        out.ravel()[::3] = np.zeros((), dtype)
    if dtype.kind in "fc":
        parts = out.reshape(-1).view(out.real.dtype)
        special = [np.nan, np.inf, -np.inf, 0.0, -0.0, np.finfo(parts.dtype).max, np.finfo(parts.dtype).min]
        parts[: 5 * len(special)] = np.repeat(special, 5)
    if dtype.kind in "iu":
        out.ravel()[:2] = np.iinfo(dtype).min, np.iinfo(dtype).max
    if dtype.kind in "mM":
        out.ravel()[::5] = np.array("NaT", dtype)
    return out


@pytest.mark.parametrize("dtype", DTYPES + OTHERS, ids=str)
@pytest.mark.parametrize("edge", ["pad", "shift"])
@pytest.mark.parametrize("window", WINDOWS)
def test_there_and_back_is_byte_for_byte(dtype, edge, window):
    image = any_bytes(dtype, 2, 13, 14)
    grid = PatchGrid((13, 14), (5, 4), (2, 3), edge=edge)
    back = unpatchify(patchify(image, **same(grid)), grid, window=window)
    assert back.dtype == image.dtype
    assert back.tobytes() == image.tobytes()


@pytest.mark.parametrize("dtype", ["O", "g", "G", np.dtypes.StringDType()], ids=str)
def test_there_and_back_of_what_has_other_bytes(dtype):
    image = np.array([[str(n) for n in range(8)] for _ in range(6)], object if dtype == "O" else None).astype(dtype)
    grid = PatchGrid((6, 8), 3, 2, edge="shift")
    back = unpatchify(patchify(image, 3, 2, edge="shift"), grid)
    assert back.dtype == image.dtype
    assert back.tolist() == image.tolist()


@pytest.mark.parametrize(
    ("dtype", "fill"), [("f4", np.nan), ("M8[s]", 0), ("U2", "no"), ("O", [1]), (RECORD, (1, "a", 2))]
)
def test_gaps_of_every_dtype(dtype, fill):
    grid = PatchGrid(5, 1, 4)
    patches = np.zeros((2, 1), dtype)
    back = quietly(patches, grid, fill_value=fill)
    expected = {"M": "NaT"}.get(np.dtype(dtype).kind, str(np.array(fill, dtype)[()]) if dtype != "O" else "[1]")
    if dtype != RECORD:
        assert [str(item) for item in back[1:4]] == [expected] * 3
    else:
        assert back[2]["pair"].tolist() == [2, 2]
    assert back.dtype == np.dtype(dtype)


def test_an_empty_batch_stays_empty():
    assert unpatchify(np.zeros((0, 2, 3), np.uint8), PatchGrid(4, 3)).shape == (0, 4)


# -- nothing but the patches that hold a pixel decides about it --------------------------------------------------------


def different(grid: PatchGrid, *lead: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(*lead, *grid.counts, *grid.patch_shape))


@given(st.from_type(PatchGrid), leads, st.sampled_from([1, 5, 40]), st.sampled_from(WINDOWS))
def test_tiles_do_not_show(grid: PatchGrid, lead: tuple[int, ...], size: int, window: str):
    patches = different(grid, *lead)
    expected = quietly(patches, grid, window=window)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assembly, "_TILE", size)
        patch.setattr(assembly, "_LEAST", size)
        found = quietly(patches, grid, window=window)
    assert found.tobytes() == expected.tobytes()


@given(st.from_type(PatchGrid), st.data())
def test_a_box_of_pixels_needs_only_the_patches_that_touch_it(grid: PatchGrid, data: st.DataObject):
    patches, fill = different(grid), np.array(0.5)
    low = [data.draw(st.integers(0, n - 1)) for n in grid.shape]
    high = [data.draw(st.integers(a + 1, n)) for a, n in zip(low, grid.shape, strict=True)]
    touching = grid.touching(low, high)
    begin = [along.start for along in touching]
    part = patches[tuple(slice(along.start, along.stop) for along in touching)]
    box = assemble(part, grid, begin=begin, low=low, high=high, weights=None, fill=fill)
    whole = quietly(patches, grid, fill_value=0.5)
    assert box.tobytes() == whole[tuple(map(slice, low, high))].tobytes()


@given(st.from_type(PatchGrid).flatmap(lambda grid: st.sampled_from(grid.axes)), st.data())
def test_moves_visit_every_pair_of_pixel_and_position_once_and_in_order(axis, data):
    low = data.draw(st.integers(0, axis.n - 1))
    high = data.draw(st.integers(low + 1, axis.n))
    begin = axis.touching(low, high).start
    visited: dict[int, list[int]] = {pixel: [] for pixel in range(low, high)}
    found = moves(axis, low, high, begin)
    assert len(found) <= 2 * min(len(axis.touching(low, high)), axis.patch)  # of two ways about the shorter
    for move in found:
        pixels = range(low, high)[move.pixels]
        assert len(pixels) > 0
        for number, pixel in enumerate(pixels):
            if isinstance(move.position, int):
                position, within = move.position, move.within.start + number
            else:
                position, within = move.position.start + number, move.within
            assert pixel == axis[begin + position] + within * axis.dilation
            visited[pixel].append(begin + position)
    assert visited == {pixel: axis.locate(pixel) for pixel in range(low, high)}


@given(st.lists(st.integers(0, 7), min_size=1, max_size=4), st.integers(1, 30))
def test_tiles_cover_each_item_once(shape: list[int], limit: int):
    visited = np.zeros(shape, int)
    for box in tiles(shape, limit):
        assert visited[box].size <= limit
        visited[box] += 1
    assert (visited == 1).all()


# -- cost --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", ["uniform", "hann"])
@pytest.mark.parametrize("differ", [False, True])
def test_patches_of_a_view_are_never_copied(window, differ):
    """225 x 225 patches of 32 x 32 are 52 MB; as floats they would be 415 MB."""
    grid = PatchGrid((256, 256), 32, 1)
    patches = patchify(np.random.default_rng(0).integers(0, 255, (256, 256), np.uint8), 32)
    if differ:  # all patches are the first: a view too, and nowhere alike
        patches = np.broadcast_to(patches[:1, :1], patches.shape)
    tracemalloc.start()
    unpatchify(patches, grid, window=window)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8e6


@pytest.mark.parametrize("window", ["uniform", "hann"])
def test_sums_are_never_as_large_as_the_image(window):
    """An image of 9 MB would need 144 MB for the sums of values and weights."""
    grid = PatchGrid((3000, 3000), 100, 50)
    marks = np.arange(len(grid), dtype=np.uint16).astype(np.uint8).reshape(*grid.counts, 1, 1)
    patches = np.broadcast_to(marks, grid.counts + grid.patch_shape)
    tracemalloc.start()
    unpatchify(patches, grid, window=window)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 9e6 + 20e6
