"""Statistics of patches against NumPy's, patch by patch."""

from __future__ import annotations

import math
import tracemalloc
import warnings
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from patchmill.cutting import compiled, statistics
from patchmill.cutting.statistics import (
    FIELDS,
    Along,
    patch_statistics,
    patch_statistics_of,
    precision,
)
from patchmill.grid import Axis
from patchmill.planning import choosing

DTYPES = ["?", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"]

# Patches that are long enough for dot products, cells of every kind, and trees with an odd node.
LONG = [
    Axis(150, 64, 32, 1, "drop"),
    Axis(170, 64, 32, 1, "pad"),
    Axis(210, 100, 37, 1, "shift"),
    Axis(140, 96, 5, 1, "drop"),
    Axis(200, 40, 25, 3, "pad"),
    Axis(200, 48, 32, 2, "shift"),
    Axis(150, 33, 40, 1, "pad"),
    Axis(80, 61, 1, 1, "drop"),
    Axis(40, 64, 16, 1, "pad"),
]

AXES = st.builds(
    Axis,
    n=st.integers(1, 40),
    patch=st.integers(1, 17),
    step=st.integers(1, 9),
    dilation=st.integers(1, 3),
    edge=st.sampled_from(["drop", "pad", "shift"]),
) | st.sampled_from(LONG)


@st.composite
def parts(draw):
    """A rectangle of positions, and a tile that begins anywhere before it."""
    sides = []
    for _ in range(2):
        axis = draw(AXES)
        assume(len(axis) > 0)
        start = draw(st.integers(0, len(axis) - 1))
        stop = draw(st.integers(start + 1, len(axis)))
        sides.append(Along(axis, start, stop, draw(st.integers(0, min(axis[start], axis[stop - 1])))))
    return sides


@pytest.fixture(params=[100, statistics.STRIP], autouse=True, scope="module")
def strip(request):
    """Strips of a few pixels, and of many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "STRIP", request.param)
        yield request.param


def image_of(sides, dtype, holes, offset=0):
    random = np.random.default_rng(1)
    signed = np.dtype(dtype).kind in "if"
    image = random.random((2, 2, *(side.axis.n for side in sides))) * 100 - 50 * signed + offset
    image = image > 50 if dtype == "?" else image.astype(dtype)
    if holes and image.dtype.kind == "f":
        image[random.random(image.shape) < 0.4] = np.nan
        image[:, :, : image.shape[2] // 2, : image.shape[3] // 2] = np.nan
    return image


def seen(image, sides):
    return image[:, :, sides[0].begin :, sides[1].begin :]


def patches_of(image, sides):
    """Each patch, as far as it is inside: where in the result, and its pixels."""
    for i in range(sides[0].start, sides[0].stop):
        for j in range(sides[1].start, sides[1].stop):
            pixels = image[:, :, sides[0].axis.pixels(i), sides[1].axis.pixels(j)]
            yield (slice(None), slice(None), i - sides[0].start, j - sides[1].start), pixels


def assert_same_bytes(one, other):
    assert one.keys() == other.keys()
    for name, values in one.items():
        assert values.dtype == other[name].dtype
        same = np.array_equal(values.view("u1"), np.ascontiguousarray(other[name]).view("u1"))
        assert same, (name, values, other[name])


@given(
    sides=parts(),
    dtype=st.sampled_from(DTYPES),
    nodata=st.sampled_from([None, 5, 0, float("nan")]),
    holes=st.booleans(),
)
def test_they_are_numpys(sides, dtype, nodata, holes):
    image = image_of(sides, dtype, holes)
    nodata = None if dtype == "?" else nodata
    found = patch_statistics(seen(image, sides), sides, nodata)
    assert {name: values.dtype for name, values in found.items()} == {
        name: "f8" if name == "valid" else precision(image.dtype) for name in FIELDS
    }
    for at, pixels in patches_of(image, sides):
        patch = pixels.astype("f8")
        patch[patch == (np.nan if nodata is None else nodata)] = np.nan
        share = (~np.isnan(patch)).sum((2, 3)) / (sides[0].axis.patch * sides[1].axis.patch)
        np.testing.assert_allclose(found["valid"][at], share)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # numpy's, where all is NaN
            for name in ("mean", "std", "min", "max"):
                expected = getattr(np, f"nan{name}")(patch, (2, 3))
                np.testing.assert_allclose(found[name][at], expected, rtol=1e-6, atol=1e-6)


@given(
    sides=parts(),
    dtype=st.sampled_from(DTYPES),
    holes=st.booleans(),
    nodata=st.sampled_from([None, 3, 0.1, -1, 1e9, float("nan"), float("inf")]),
    values=st.sampled_from(["plain", "constant", "infinite", "huge", "strided", "turned"]),
)
def test_compiled_kernels_give_the_same_bytes(sides, dtype, holes, nodata, values):
    pytest.importorskip("numba", reason="the extra fast is not installed")
    image = image_of(sides, dtype, holes)
    if values == "constant":
        image[...] = image[0, 0, 0, 0]
    elif values in {"infinite", "huge"} and image.dtype.kind == "f":
        places = np.random.default_rng(2).random(image.shape)
        far = np.inf if values == "infinite" else np.finfo(dtype).max / 2
        image[places < 0.01], image[places > 0.99] = far, -far
    elif values == "strided":
        image = np.repeat(image, 2, axis=-1)[..., ::2]
    elif values == "turned":
        image = np.ascontiguousarray(image[..., ::-1, :])[..., ::-1, :]
    tile = seen(image, sides)
    results = []
    for loaded in ([], [compiled._kernels()]):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(compiled, "_LOADED", loaded)
            results.append(patch_statistics(tile, sides, nodata))
    assert_same_bytes(*results)


@given(sides=parts(), dtype=st.sampled_from(DTYPES), holes=st.booleans(), nodata=st.sampled_from([None, 3]))
def test_the_tile_does_not_change_a_bit(sides, dtype, holes, nodata):
    """Any smaller rectangle of the positions, by a tile that begins elsewhere and ends where they do."""
    image = image_of(sides, dtype, holes)
    together = patch_statistics(seen(image, sides), sides, nodata)
    random = np.random.default_rng(len(image.tobytes()))
    for _ in range(3):
        few, ends, where = [], [], []
        for side in sides:
            low = int(random.integers(side.start, side.stop))
            high = int(random.integers(low + 1, side.stop + 1))
            region = side.axis.source(low, high)
            few.append(Along(side.axis, low, high, int(random.integers(0, region[0] + 1))))
            ends.append(region[1])
            where.append(slice(low - side.start, high - side.start))
        alone = patch_statistics(seen(image[:, :, : ends[0], : ends[1]], few), few, nodata)
        assert_same_bytes(alone, {name: values[:, :, *where] for name, values in together.items()})


@given(sides=parts(), dtype=st.sampled_from(DTYPES), holes=st.booleans(), nodata=st.sampled_from([None, 3]))
def test_patches_that_are_cut_already_say_the_same(sides, dtype, holes, nodata):
    image = image_of(sides, dtype, holes)
    by_tile = patch_statistics(seen(image, sides), sides, nodata)
    axes = [side.axis for side in sides]
    for at, pixels in patches_of(image, sides):
        patch = np.full((*pixels.shape[:2], axes[0].patch, axes[1].patch), 77, image.dtype)
        inside = np.zeros(patch.shape, bool)
        for array, values in ((patch, pixels), (inside, True)):
            array[:, :, : pixels.shape[2], : pixels.shape[3]] = values
        alone = patch_statistics_of(patch, None if inside.all() else inside, nodata, axes=axes)
        assert_same_bytes(alone, {name: values[at] for name, values in by_tile.items()})


@given(sides=parts(), dtype=st.sampled_from([*DTYPES, "c8"]), nodata=st.sampled_from([None, 3]))
def test_fields_can_be_left_out(sides, dtype, nodata):
    image = image_of(sides, dtype, holes=True)
    whole = patch_statistics(seen(image, sides), sides, nodata)
    for fields in (["valid"], ["min", "std"], []):
        some = patch_statistics(seen(image, sides), sides, nodata, fields=fields)
        assert_same_bytes(some, {name: values for name, values in whole.items() if name in fields})


@given(sides=parts(), dtype=st.sampled_from(["u1", "i1", "u2", "i2"]), base=st.sampled_from([0, 100, 65000]))
def test_whole_numbers_are_exact(sides, dtype, base):
    """To the last digit that single precision has: one value off among many is seen."""
    info = np.iinfo(dtype)
    image = np.full((1, 1, *(side.axis.n for side in sides)), min(base, info.max - 1), dtype)
    image[0, 0, ::7, ::5] += 1
    found = patch_statistics(seen(image, sides), sides, None)
    for at, pixels in patches_of(image, sides):
        values, number = [int(value) for value in pixels.ravel()], pixels.size
        variance = Fraction(number * sum(v * v for v in values) - sum(values) ** 2, number**2)
        assert found["mean"][at] == np.float32(sum(values) / number)
        np.testing.assert_allclose(found["std"][at], math.sqrt(variance), rtol=1e-7)


@given(sides=parts(), dtype=st.sampled_from(["f8", "i4", "u4", "i8"]))
def test_a_great_offset_does_not_hide_small_deviations(sides, dtype):
    image = image_of(sides, dtype, holes=False, offset=2e9)
    found = patch_statistics(seen(image, sides), sides, None)
    for at, pixels in patches_of(image, sides):
        np.testing.assert_allclose(found["std"][at], (pixels - 2e9).std((2, 3)), rtol=1e-6, atol=1e-6)


def whole(axis):
    return Along(axis, 0, len(axis), 0)


@pytest.mark.parametrize("nodata", [None, 1.0])
def test_what_is_not_finite_spreads_to_its_own_patches(nodata):
    sides = [whole(Axis(12, 4, 4, 1, "drop"))] * 2
    image = np.arange(144.0).reshape(1, 1, 12, 12)
    image[0, 0, 1, 1], image[0, 0, 1, 5], image[0, 0, 2, 6], image[0, 0, 4:8, 4:8] = np.inf, -np.inf, np.inf, np.nan
    image[0, 0, 5, 9] = -np.inf
    found = {name: values[0, 0] for name, values in patch_statistics(image, sides, nodata).items()}
    assert found["mean"][0, 0] == np.inf
    assert found["mean"][1, 2] == -np.inf
    assert np.isnan(found["mean"][0, 1])
    assert found["max"][0, 0] == np.inf
    assert found["min"][0, 1] == -np.inf
    assert np.isnan([found["std"][at] for at in ((0, 0), (0, 1), (1, 2), (1, 1))]).all()
    assert found["valid"][1, 1] == 0
    assert np.isfinite(found["std"][2]).all()


def test_there_is_no_negative_zero():
    sides = [whole(Axis(8, 4, 2, 1, "drop"))] * 2
    found = patch_statistics(np.full((1, 1, 8, 8), -0.0, "f4"), sides, None)
    assert not any(np.signbit(values).any() for values in found.values())


def test_values_near_the_greatest_do_not_overflow_in_between():
    sides = [whole(Axis(4, 2, 2, 1, "drop"))] * 2
    image = np.where(np.arange(16).reshape(1, 1, 4, 4) % 2, 4e307, -4e307)
    np.testing.assert_array_equal(patch_statistics(image, sides, None)["mean"], 0)


def test_complex_numbers_have_no_order():
    sides = [whole(Axis(4, 2, 2, 1, "drop"))] * 2
    image = np.zeros((1, 1, 4, 4), "complex64")
    image[0, 0, 0, 0], image[0, 0, 3, 3] = complex(0, np.nan), np.nan
    for pixels in (image, image[:, :, ::-1, ::-1]):
        found = patch_statistics(pixels, sides, None)
        assert set(found) == {"valid"}
        np.testing.assert_array_equal(found["valid"][0, 0], [[0.75, 1], [1, 0.75]])


def test_a_share_that_is_known_beforehand_costs_nothing():
    sides = [whole(Axis(1000, 64, 32, 1, "pad"))] * 2
    found = patch_statistics(np.zeros((1, 5, 1000, 1000), "u2"), sides, None, fields=["valid"])
    assert found["valid"].strides[:2] == (0, 0)
    assert found["valid"][0, 0, -1, 0] < found["valid"][0, 0, 0, 0] == 1


def test_no_patches_have_no_statistics():
    axes = [Axis(8, 4, 4, 1, "drop")] * 2
    assert patch_statistics_of(np.zeros((0, 3, 4, 4)), None, None, axes=axes)["mean"].shape == (0, 3)


@pytest.mark.parametrize("dtype", ["u2", *(pytest.param(each, marks=pytest.mark.slow) for each in ("u1", "f4", "f8"))])
@pytest.mark.parametrize(
    ("axis", "channels"),
    [
        (Axis(1152, 256, 128, 1, "drop"), 4),
        (Axis(700, 224, 100, 1, "shift"), 4),
        (Axis(1031, 8, 1, 1, "drop"), 1),
        (Axis(1279, 256, 1, 1, "drop"), 1),
        (Axis(1500, 5, 3, 2, "pad"), 2),
    ],
    ids=str,
)
def test_memory_is_that_of_strips_and_of_what_is_found(dtype, axis, channels):
    """As `planning.choosing` counts it."""
    tile, sides = np.ones((1, channels, axis.n, axis.n), dtype), [whole(axis)] * 2
    tracemalloc.start()
    try:
        found = patch_statistics(tile, sides, None)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < choosing._WORKING + sum(values.nbytes for values in found.values())
