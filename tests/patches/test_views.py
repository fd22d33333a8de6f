"""patchify of NumPy arrays: the cases of the question, a slow loop, NumPy's and torch's own windows, and the memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

from patchmill.grid import Axis, PatchGrid
from patchmill.patches import patchify
from patchmill.patches.views import runs, source_pixels

MODES = ("constant", "edge", "reflect", "symmetric")
leads = st.sampled_from([(), (1,), (2,), (2, 3), (1, 2, 2)])


def numbered(*shape: int) -> np.ndarray:
    """An array in which every pixel has a value of its own."""
    return np.arange(np.prod(shape, dtype=int)).reshape(shape)


def looped(image: np.ndarray, grid: PatchGrid, mode: str = "constant", value: int = 0) -> np.ndarray:
    """One patch after the other, out of `numpy.pad`'s continuation of the whole image."""
    lead = image.shape[: -grid.ndim]
    width = [(0, 0)] * len(lead) + [(0, max(0, axis.reach - axis.n)) for axis in grid.axes]
    padded = np.pad(image, width, mode, **({"constant_values": value} if mode == "constant" else {}))
    out = np.empty(lead + grid.counts + grid.patch_shape, image.dtype)
    for index in grid.indices():
        pixels = (slice(o, o + s, d) for o, s, d in zip(grid.origin(index), grid.span, grid.dilation, strict=True))
        out[(*(slice(None),) * len(lead), *index)] = padded[(..., *pixels)]
    return out


def same(grid: PatchGrid) -> dict:
    return {"patch_shape": grid.patch_shape, "step": grid.step, "dilation": grid.dilation, "edge": grid.edge}


# -- the original question ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("step", "counts"), [((1, 1), (3, 3)), ((2, 2), (2, 2)), ((2, 1), (2, 3))])
def test_the_first_case_of_the_question(step, counts):
    image = np.random.RandomState(0).rand(4, 4)  # the numbers of np.random.seed(0); np.random.rand
    patches = patchify(image, (2, 2), step)
    assert patches.shape == (*counts, 2, 2)
    if step == (2, 2):
        begins = [0.5488135, 0.60276338, 0.96366276, 0.79172504]
        np.testing.assert_allclose(patches[:, :, 0, 0].ravel(), begins, atol=1e-8)


def test_the_second_case_of_the_question():
    image = np.random.RandomState(0).randint(11, 99, (2, 4, 4))
    ones, rows, twos = (patchify(image, (2, 2), step)[0].tolist() for step in (1, (2, 1), (2, 2)))
    assert patchify(image, (2, 2)).shape == (2, 3, 3, 2, 2)
    assert ones[0][0] == [[55, 58], [78, 20]]
    assert ones[2][2] == [[81, 23], [50, 98]]
    assert np.shape(rows) == (2, 3, 2, 2)
    assert [row[0] for row in rows] == [[[55, 58], [78, 20]], [[47, 98], [69, 76]]]
    assert twos == [[[[55, 58], [78, 20]], [[75, 78], [94, 32]]], [[[47, 98], [69, 76]], [[81, 23], [50, 98]]]]


def test_the_strides_of_the_question():
    image = np.zeros((2, 3, 10, 12), np.float32)
    a, b, y, x = image.strides
    assert patchify(image, (4, 5)).strides == (a, b, y, x, y, x)
    assert patchify(image, (4, 5), (2, 3)).strides == (a, b, y * 2, x * 3, y, x)
    assert patchify(image, (4, 5), (2, 3), dilation=(3, 2)).strides == (a, b, y * 2, x * 3, y * 3, x * 2)
    assert patchify(image, (4, 5), (2, 3)).shape == (2, 3, (10 - 4) // 2 + 1, (12 - 5) // 3 + 1, 4, 5)


# -- the same as others ------------------------------------------------------------------------------------------------


@given(st.from_type(PatchGrid), leads, st.sampled_from(MODES), st.integers(-5, 5))
def test_patches_are_those_of_the_loop(grid: PatchGrid, lead: tuple[int, ...], mode: str, value: int):
    image = numbered(*lead, *grid.shape)
    patches = patchify(image, **same(grid), pad_mode=mode, pad_value=value)
    np.testing.assert_array_equal(patches, looped(image, grid, mode, value), strict=True)
    assert not patches.flags.writeable


def dropping() -> st.SearchStrategy[PatchGrid]:
    """Any grid with its edge changed to "drop", mapped instead of filtered: few are so by themselves."""
    grids = st.from_type(PatchGrid).map(
        lambda grid: PatchGrid(grid.shape, grid.patch_shape, grid.step, grid.dilation, "drop")
    )
    return grids.filter(lambda grid: len(grid) > 0)


@given(dropping(), leads)
def test_patches_are_numpys_windows(grid: PatchGrid, lead: tuple[int, ...]):
    image = numbered(*lead, *grid.shape)
    axes = tuple(range(-grid.ndim, 0))
    every = tuple(slice(None, None, n) for n in (*grid.step, *grid.dilation))
    windows = sliding_window_view(image, grid.span, axes)[(..., *every)]
    patches = patchify(image, **same(grid))
    np.testing.assert_array_equal(patches, windows, strict=True)
    assert patches.strides == windows.strides


@given(dropping().map(lambda grid: PatchGrid(grid.shape, grid.patch_shape, grid.step)), leads)
def test_patches_are_torchs_unfold_of_each_axis(grid: PatchGrid, lead: tuple[int, ...]):
    image = numbered(*lead, *grid.shape)
    unfolded = torch.from_numpy(image)
    for axis, (patch, step) in enumerate(zip(grid.patch_shape, grid.step, strict=True), start=len(lead)):
        unfolded = unfolded.unfold(axis, patch, step)
    np.testing.assert_array_equal(patchify(image, **same(grid)), unfolded.numpy(), strict=True)


@given(dropping().filter(lambda grid: grid.ndim == 2), st.integers(1, 3))
def test_patches_are_torchs_unfold_with_dilation(grid: PatchGrid, channels: int):
    image = numbered(2, channels, *grid.shape).astype(np.float64)
    columns = torch.nn.functional.unfold(
        torch.from_numpy(image), grid.patch_shape, dilation=grid.dilation, stride=grid.step
    )
    blocks = columns.numpy().reshape(2, channels, *grid.patch_shape, *grid.counts)
    np.testing.assert_array_equal(patchify(image, **same(grid)), blocks.transpose(0, 1, 4, 5, 2, 3), strict=True)


@pytest.mark.parametrize("shape", [(844, 1280), (900, 1600)])
@pytest.mark.parametrize("edge", ["drop", "pad", "shift"])
def test_shapes_where_other_tools_fail(shape, edge):
    image = np.random.default_rng(0).integers(0, 60_000, shape, np.uint16)
    grid = PatchGrid(shape, 256, 128, edge=edge)
    np.testing.assert_array_equal(patchify(image, 256, 128, edge=edge), looped(image, grid), strict=True)


# -- memory ------------------------------------------------------------------------------------------------------------


def is_copied(grid: PatchGrid) -> bool:
    """What the documentation says about copies."""
    filled = grid.edge == "pad" and any(axis.reach > axis.n for axis in grid.axes)
    uneven = any(len(axis) > 2 and not axis.is_regular for axis in grid.axes)
    return filled or uneven


@given(st.from_type(PatchGrid), leads)
def test_memory_is_shared_but_where_that_is_impossible(grid: PatchGrid, lead: tuple[int, ...]):
    image = numbered(*lead, *grid.shape)
    patches = patchify(image, **same(grid))
    assert np.shares_memory(image, patches) != is_copied(grid)
    with pytest.raises(ValueError, match="read-only"):
        patches[...] = 0


@given(st.from_type(PatchGrid))
def test_a_view_shows_what_is_written_to_the_image(grid: PatchGrid):
    image = numbered(*grid.shape)
    patches = patchify(image, **same(grid))
    image += 1000
    if not is_copied(grid):
        assert patches.min() >= 1000
        assert image.flags.writeable


def test_a_view_of_a_huge_image_costs_nothing():
    image = np.broadcast_to(np.uint8(7), (10**6, 10**6))
    patches = patchify(image, 256)
    assert patches.shape == (10**6 - 255, 10**6 - 255, 256, 256)
    assert patches[-1, -1, -1, -1] == 7


def test_padding_copies_the_image_and_not_the_patches():
    assert patchify(np.zeros((100, 100), np.uint8), 64, 12, edge="pad").strides == (12 * 100, 12, 100, 1)
    width = 4 * 12 + 64  # one padded image behind all patches
    assert patchify(np.zeros((101, 101), np.uint8), 64, 12, edge="pad").strides == (12 * width, 12, width, 1)


@given(st.from_type(PatchGrid).flatmap(lambda grid: st.sampled_from(grid.axes)), st.data())
def test_runs_are_evenly_spaced_and_few(axis: Axis, data: st.DataObject):
    start = data.draw(st.integers(0, len(axis)))
    stop = data.draw(st.integers(start, len(axis)))
    found = runs(axis, start, stop)
    assert [i for a, b in found for i in range(a, b)] == list(range(start, stop))
    for a, b in found:
        assert len(set(np.diff([axis[i] for i in range(a, b)]))) <= 1
    even = len(set(np.diff([axis[i] for i in range(start, stop)]))) <= 1
    assert len(found) == (0 if start == stop else 1 if even else 2)


# -- dtypes and layouts ------------------------------------------------------------------------------------------------

RECORD = np.dtype([("height", "<f4"), ("name", "U3"), ("pair", ">i2", (2,))])
NUMBERS = ["?", "i1", "u1", "<i2", ">u2", "i4", "u4", "i8", "u8", "f2", ">f4", "f8", "g", "F", "D", "G"]
TIMES = ["M8[ns]", "M8[D]", ">m8[s]", "m8[ms]"]
OTHERS = ["U4", "S4", "V5", "O", np.dtypes.StringDType(), RECORD]


def of_dtype(dtype, *shape: int) -> np.ndarray:
    """Distinct values where the dtype has enough of them."""
    dtype = np.dtype(dtype)
    numbers = numbered(*shape)
    if dtype == RECORD:
        out = np.zeros(shape, dtype)
        out["height"], out["name"], out["pair"] = numbers / 4, numbers.astype("U3"), numbers[..., None]
        return out
    if dtype.kind == "V":
        return numbers.astype("S5").view("V5")
    if dtype.kind == "O":
        return np.array([{"n": int(n)} for n in numbers.ravel()], dtype).reshape(shape)
    return (numbers % 120).astype(dtype)


def listed(array: np.ndarray) -> str:
    """As text, in which records with arrays inside can be compared too."""
    return str(array.tolist())


@pytest.mark.parametrize("dtype", NUMBERS + TIMES + OTHERS, ids=str)
@pytest.mark.parametrize("edge", ["drop", "shift"])
def test_every_dtype(dtype, edge):
    image = of_dtype(dtype, 2, 7, 9)
    grid = PatchGrid((7, 9), (3, 2), (3, 2), (1, 2), edge)
    patches = patchify(image, **same(grid))
    assert patches.dtype == image.dtype
    assert listed(patches) == listed(looped(image, grid))
    assert not patches.flags.writeable
    if edge == "drop" and image.dtype.kind != "T":
        assert np.shares_memory(image, patches)


@pytest.mark.parametrize("dtype", NUMBERS + TIMES + OTHERS, ids=str)
@pytest.mark.parametrize("mode", MODES)
def test_every_dtype_is_padded(dtype, mode):
    image = of_dtype(dtype, 5, 4)
    patches = patchify(image, 3, 3, edge="pad", pad_mode=mode)
    if mode == "constant":
        blank = {"M": "NaT", "O": "0"}.get(image.dtype.kind, str(np.zeros((), image.dtype)[()]))
        assert str(patches[1, 1, 2, 2]) == blank
    else:
        numbers = patchify(numbered(5, 4), 3, 3, edge="pad", pad_mode=mode)
        assert listed(patches) == listed(image.ravel()[numbers])
    assert patches.dtype == image.dtype


@pytest.mark.parametrize(
    "layout",
    [
        lambda a: a,
        np.asfortranarray,
        lambda a: a[:, ::-1, ::-1],
        lambda a: np.repeat(a, 2, axis=2)[:, :, ::2],
        lambda a: np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 0, -1)), -1, 0),
        lambda a: np.broadcast_to(a[:, :1], a.shape),
        lambda a: np.frombuffer(b"\0" + a.tobytes(), np.uint8)[1:].view(a.dtype).reshape(a.shape),
    ],
    ids=["C", "Fortran", "reversed", "every second", "channels last", "broadcast", "unaligned"],
)
@pytest.mark.parametrize("edge", ["drop", "pad", "shift"])
def test_every_memory_layout(layout, edge):
    image = layout(numbered(2, 8, 9))
    grid = PatchGrid((8, 9), (3, 4), (2, 3), edge=edge)
    patches = patchify(image, **same(grid))
    np.testing.assert_array_equal(patches, looped(image, grid))
    assert edge != "drop" or np.shares_memory(image, patches)


def test_a_memory_map_is_not_read(tmp_path):
    np.save(tmp_path / "image.npy", numbered(20, 30))
    image = np.load(tmp_path / "image.npy", mmap_mode="r")
    patches = patchify(image, 8, 4)
    assert np.shares_memory(image, patches)
    assert type(patches) is np.ndarray
    np.testing.assert_array_equal(patches, patchify(np.asarray(image), 8, 4))


def test_numbers_for_all_axes_and_for_each():
    image = numbered(3, 6, 7)
    np.testing.assert_array_equal(patchify(image, 2, 3), patchify(image, (2, 2), (3, 3)))
    assert patchify(image, (2,), 2).shape == (3, 6, 3, 2)
    assert patchify(image, (1, 2, 3)).shape == (3, 5, 5, 1, 2, 3)
    assert patchify(image[0, 0], 3).shape == (5, 3)
    np.testing.assert_array_equal(patchify(image, np.array([2, 2]), [3, 3]), patchify(image, 2, 3))


# -- padding -----------------------------------------------------------------------------------------------------------


@given(st.integers(1, 9), st.integers(0, 40), st.sampled_from(MODES))
def test_source_pixels_are_those_of_numpys_padding(n: int, beyond: int, mode: str):
    image = np.arange(n)
    if mode == "constant":
        expected = np.pad(image, (0, beyond), mode, constant_values=-1)
    else:
        expected = np.pad(image, (0, beyond), mode)
    np.testing.assert_array_equal(source_pixels(range(n + beyond), n, mode), expected)
