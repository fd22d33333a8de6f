"""The mean of overlapping patches against one in fractions, pixel by pixel."""

from __future__ import annotations

import warnings
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchmill.grid import PatchGrid
from patchmill.patches import unpatchify
from patchmill.patches.averages import moved
from patchmill.patches.windows import weights

# 9 pixels, of which most lie in two or three patches
GRID = PatchGrid(9, 5, 2)
PLANE = PatchGrid((6, 5), (3, 2), (2, 1), edge="shift")


def held_by(grid: PatchGrid, pixel: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Where in the array of patches a pixel is held, in row-major order of positions."""
    found = []
    for index in grid.locate(pixel):
        offset = (p - o for p, o in zip(pixel, grid.origin(index), strict=True))
        found.append((*index, *(n // d for n, d in zip(offset, grid.dilation, strict=True))))
    return found


def means(patches: np.ndarray, grid: PatchGrid, window: str = "uniform") -> dict[tuple[int, ...], Fraction]:
    """Exact means of the pixels that any patch holds."""
    weight = weights(window, grid.patch_shape)
    if weight is None:
        weight = np.ones(grid.patch_shape)
    out = {}
    for pixel in np.ndindex(grid.shape):
        where = held_by(grid, pixel)
        parts = [(Fraction(weight[at[grid.ndim :]]), Fraction(*patches[at].item().as_integer_ratio())) for at in where]
        if parts:
            out[pixel] = sum(w * v for w, v in parts) / sum(w for w, _ in parts)
    return out


def patches_of(elements, grid: PatchGrid, dtype):
    size = int(np.prod(grid.counts + grid.patch_shape))
    values = st.lists(elements, min_size=size, max_size=size)
    return values.map(lambda numbers: np.array(numbers, dtype).reshape(grid.counts + grid.patch_shape))


def integers(dtype: str):
    limits = np.iinfo(dtype)
    near = st.sampled_from([int(limits.min), int(limits.max), 0, 1, 2, 3, int(limits.max) - 1])
    return near | st.integers(int(limits.min), int(limits.max))


@pytest.mark.parametrize(
    ("grid", "dtype"), [(GRID, "i1"), (GRID, "u2"), (GRID, "i4"), (GRID, "u4"), (PLANE, "u1"), (PLANE, ">i2")]
)
@given(data=st.data())
def test_means_of_integers_are_rounded_half_to_even(grid, dtype, data):
    patches = data.draw(patches_of(integers(dtype), grid, dtype))
    back = unpatchify(patches, grid)
    assert back.dtype == patches.dtype
    for pixel, mean in means(patches, grid).items():
        assert back[pixel] == round(mean)


@pytest.mark.parametrize("dtype", ["i8", ">i8", "u8", ">u8"])
@given(data=st.data())
def test_means_of_large_integers(dtype, data):
    """Differences below 2**53 are exact wherever they lie; larger ones to 53 bits, and never beyond the range."""
    limits = np.iinfo(dtype)
    base = data.draw(integers(dtype))
    near = st.integers(max(int(limits.min), base - 2**40), min(int(limits.max), base + 2**40))
    for elements, exact in ((near, True), (integers(dtype), False)):
        patches = data.draw(patches_of(elements, GRID, dtype))
        back = unpatchify(patches, GRID)
        for pixel, mean in means(patches, GRID).items():
            found = int(back[pixel])
            if exact:
                assert found == round(mean)
            else:
                assert abs(found - mean) <= 2**13
                assert limits.min <= found <= limits.max


@given(patches_of(st.integers(0, 255), PLANE, "u1"), st.sampled_from(["hann", "triangle"]))
def test_weighted_means_of_integers(patches, window):
    back = unpatchify(patches, PLANE, window=window)
    for pixel, mean in means(patches, PLANE, window).items():
        assert abs(back[pixel] - mean) <= Fraction(1, 2) + Fraction(1, 10**9)


@pytest.mark.parametrize("dtype", ["f2", "f4", ">f4", "f8", "g"])
@given(data=st.data())
def test_means_of_floats(dtype, data):
    values = st.floats(-1000, 1000, width=16)
    patches = data.draw(patches_of(values, PLANE, dtype))
    window = data.draw(st.sampled_from(["uniform", "hann", "triangle"]))
    back = unpatchify(patches, PLANE, window=window)
    assert back.dtype == patches.dtype
    precision = float(np.finfo(min(patches.dtype, np.dtype("f8"), key=lambda d: d.itemsize)).eps)
    for pixel, mean in means(patches, PLANE, window).items():
        assert abs(float(back[pixel]) - float(mean)) <= 2000 * precision


@given(patches_of(st.floats(-1e3, 1e3, width=16), GRID, "f8"))
def test_low_bits_survive_a_large_offset(patches):
    """Differences are summed, not values: a thousand fractions of a micron on top of a large coordinate."""
    patches = 2.0**40 + patches
    for pixel, mean in means(patches, GRID).items():
        assert unpatchify(patches, GRID)[pixel] == pytest.approx(float(mean), abs=2.0**-11)


def test_equal_values_come_back_exactly_whatever_the_weights():
    patches = np.full((*PLANE.counts, *PLANE.patch_shape), 0.1)
    own = np.random.default_rng(0).uniform(0.01, 1, PLANE.patch_shape)
    assert (unpatchify(patches, PLANE, window=own) == 0.1).all()


def both(a, b, dtype) -> np.ndarray:
    """The pixel that two patches of one pixel each share, by way of a second pixel of their own."""
    grid = PatchGrid(3, 2)
    return unpatchify(np.array([[a, a], [b, b]], dtype), grid)[1]


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "g", "F", "D"])
def test_infinities_and_nan_are_as_in_a_plain_mean(dtype):
    inf, nan = np.inf, np.nan
    assert both(inf, inf, dtype) == inf
    assert both(inf, 5, dtype) == inf
    assert both(5, -inf, dtype) == -inf
    assert np.isnan(both(inf, -inf, dtype))
    assert np.isnan(both(nan, 5, dtype))
    assert np.isnan(both(5, nan, dtype))
    assert np.isnan(both(nan, inf, dtype))
    three = unpatchify(np.array([[inf] * 3, [inf] * 3, [1.0] * 3], dtype), PatchGrid(5, 3))
    assert three[2] == inf


def test_parts_of_complex_numbers_are_apart():
    assert both(complex(np.inf, 1), complex(np.inf, 3), "D") == complex(np.inf, 2)
    assert both(1 + 2j, 3 - 4j, "F") == 2 - 1j
    found = both(complex(np.nan, 1), complex(2, 3), "D")
    assert np.isnan(found.real)
    assert found.imag == 2


@pytest.mark.parametrize("dtype", ["f8", "D"])
def test_the_largest_floats_do_not_overflow(dtype):
    most = np.finfo("f8").max
    assert both(-most, most, dtype) == 0
    assert both(most, most / 2, dtype) == pytest.approx(most * 0.75)
    assert both(most, np.inf, dtype) == np.inf
    many = unpatchify(np.array([[-most] * 8] + [[most] * 8] * 7, dtype), PatchGrid(15, 8))
    assert many[7] == pytest.approx(most * 0.75)


def test_bool_is_a_majority_and_the_same_as_zero_and_one():
    grid = PatchGrid(5, 3)
    for votes, expected in [((1, 1, 0), True), ((1, 0, 0), False), ((0, 1, 1), True)]:
        patches = np.repeat(np.array(votes, bool)[:, None], 3, axis=1)
        assert unpatchify(patches, grid)[2] == expected
        assert (unpatchify(patches, grid) == unpatchify(patches.view(np.uint8), grid).view(bool)).all()
    assert not both(True, False, bool)  # a tie is False
    assert not both(False, True, bool)
    heavy = np.array([0.1, 1.0])  # the pixel is the last of the first patch, the first of the second
    assert unpatchify(np.array([[1, 1], [0, 0]], bool), PatchGrid(3, 2), window=heavy)[1]


def test_times_are_averaged_and_missing_ones_stay_missing():
    early, late = np.datetime64("2020-01-01"), np.datetime64("2020-01-04")
    assert both(early, late, "M8[s]") == np.datetime64("2020-01-02T12:00:00")
    assert both(early, late, ">M8[h]") == np.datetime64("2020-01-02T12")
    assert both(np.timedelta64(1, "s"), np.timedelta64(4, "s"), "m8[s]") == np.timedelta64(2, "s")
    assert both(np.timedelta64(2, "s"), np.timedelta64(5, "s"), "m8[s]") == np.timedelta64(4, "s")
    for pair in (("NaT", early), (early, "NaT"), ("NaT", "NaT")):
        assert np.isnat(both(*pair, "M8[s]"))


@pytest.mark.parametrize("dtype", ["U3", "S3", "O", "V3", [("a", "i4"), ("b", "U2")], np.dtypes.StringDType()], ids=str)
def test_of_everything_else_the_first_patch_is_taken(dtype):
    """Row-major over positions: the patch above and left of the others."""
    numbers = [str(n) for n in range(len(PLANE))]
    if dtype == "V3":
        marks = np.array(numbers, "S3").view("V3")
    elif isinstance(dtype, list):
        marks = np.array([(n, n) for n in numbers], dtype)
    else:
        marks = np.array(numbers, dtype)
    marks = marks.reshape(*PLANE.counts, 1, 1)
    patches = np.broadcast_to(marks, PLANE.counts + PLANE.patch_shape)
    back = unpatchify(patches, PLANE)
    for pixel in np.ndindex(PLANE.shape):
        assert back[pixel] == patches[held_by(PLANE, pixel)[0]]


# -- rounding ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u4", "i8", "u8"])
@given(data=st.data())
def test_moving_an_integer_is_exact_and_stays_in_range(dtype, data):
    limits = np.iinfo(dtype)
    first = data.draw(integers(dtype))
    delta = data.draw(st.integers(-600, 600).map(lambda n: n / 2) | st.floats(-1e20, 1e20))
    found = int(moved(np.array([first], dtype), np.array([delta]))[0])
    exact = min(max(round(first + Fraction(delta)), int(limits.min)), int(limits.max))
    if abs(delta) < 2**63:
        assert found == exact
    else:
        assert abs(found - exact) <= 2**11


def test_no_warning_escapes():
    """The arithmetic of NaN, infinities and empty sums is meant."""
    patches = np.array([[np.nan, np.inf, 1], [-np.inf, 2, np.finfo("f8").max]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        unpatchify(patches, PatchGrid(4, 3))
