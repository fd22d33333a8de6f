"""Casts against a slow loop of exact fractions, over all pairs of dtypes."""

from __future__ import annotations

import math
import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from patchmill.errors import DoesNotFitError, PatchmillError
from patchmill.transforms import as_transform, cast, casting

INTEGERS = ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"]
REALS = ["?", *INTEGERS, "f2", "f4", "f8"]
COMPLEX = ["c8", "c16"]


def as_float(value, dtype):
    """The value of `dtype` next to an exact fraction, of two the even one; None beyond the greatest."""
    kind = np.dtype(dtype).type
    if value == 0:
        return kind(0)
    info = np.finfo(kind)
    exponent = max(math.floor(math.log2(abs(value.numerator))) - math.floor(math.log2(value.denominator)), -1100)
    while Fraction(2) ** exponent > abs(value):
        exponent -= 1
    while Fraction(2) ** (exponent + 1) <= abs(value):
        exponent += 1
    unit = Fraction(2) ** (max(exponent, info.minexp) - info.nmant)
    rounded = round(value / unit) * unit  # Python rounds half to even
    return None if abs(rounded) > Fraction(float(info.max)) else kind(float(rounded))


@pytest.mark.parametrize("dtype", [*REALS, *COMPLEX])
def test_the_order_of_bytes_is_no_matter(dtype):
    values = np.array([0, 1, 1], dtype)
    for each in (values, values.astype(values.dtype.newbyteorder("S"))):
        for wanted in ("c16", *([] if dtype in COMPLEX else ["f4", "u1"])):
            assert cast(each, wanted, "here").tolist() == [0, 1, 1]


def slow(value, dtype):
    """One value as `dtype`; None where it can't be."""
    wanted = np.dtype(dtype)
    number = value.item()
    if not math.isfinite(number):
        return wanted.type(number) if wanted.kind == "f" else None
    exact = Fraction(number)
    if wanted.kind == "b":
        return np.bool_(exact) if exact in {0, 1} else None
    if wanted.kind == "f":
        return as_float(exact, dtype)
    whole, limits = round(exact), np.iinfo(wanted)
    return wanted.type(whole) if limits.min <= whole <= limits.max else None


def interesting(dtype):
    """Any values, and more of those next to a border of some dtype."""
    kind = np.dtype(dtype)
    borders = [0, 1, -1]
    for other in INTEGERS:
        limits = np.iinfo(other)
        borders += [at + d for at in (limits.min, limits.max) for d in (-1, 0, 1)]
    if kind.kind == "f":
        borders += [0.5, 1.5, 2.5, -0.5, 254.5, 255.5, 65519.9, 65520.0, 3.4028235e38, 3.4028236e38, 1e-45, 1e-320]
        borders += [float("nan"), float("inf"), float("-inf"), 0.1, 9.3e18, 1.9e19]
        with np.errstate(all="ignore"):
            near = [kind.type(each) for each in borders]
    elif kind.kind == "b":
        near = [False, True]
    else:
        near = [each for each in borders if np.iinfo(kind).min <= each <= np.iinfo(kind).max]
    return hnp.from_dtype(kind) | st.sampled_from(near)


@st.composite
def arrays(draw):
    dtype = draw(st.sampled_from(REALS))
    values = draw(st.lists(interesting(dtype), min_size=1, max_size=6))
    return np.array(values, dtype)


@given(values=arrays(), dtype=st.sampled_from(REALS))
def test_fast_is_slow(values, dtype):
    expected = [slow(value, dtype) for value in values]
    if any(each is None for each in expected):
        with pytest.raises(DoesNotFitError, match=r"can't hold"):
            cast(values, dtype, "here")
        return
    found = cast(values, dtype, "here")
    np.testing.assert_array_equal(found, np.array(expected, dtype), strict=True)


@pytest.mark.parametrize("source", REALS)
@pytest.mark.parametrize("dtype", REALS)
def test_every_pair_one_value_at_a_time(source, dtype):
    """What is refused among many is refused alone; what fits is the loop's, sign of zero apart."""

    @settings(max_examples=settings().max_examples // 3)
    @given(value=interesting(source))
    def check(value):
        values = np.array([value], source)
        expected = slow(values[0], dtype)
        try:
            found = cast(values, dtype, "here")[0]
        except DoesNotFitError:
            found = None
        assert (found is None) == (expected is None)
        np.testing.assert_array_equal(found, expected)

    check()


@given(values=arrays(), imaginary=arrays(), dtype=st.sampled_from(COMPLEX), source=st.sampled_from(COMPLEX))
def test_complex_is_its_two_parts(values, imaginary, dtype, source):
    part = np.zeros(0, dtype).real.dtype

    def parts(array):
        return [slow(value, part) for value in array]

    expected = parts(values)
    if None in expected:
        with pytest.raises(DoesNotFitError):
            cast(values, dtype, "here")
    else:
        found = cast(values, dtype, "here")
        np.testing.assert_array_equal(found.real, np.array(expected, part), strict=True)
        assert not found.imag.any()
    with np.errstate(all="ignore"):
        both = np.empty(min(len(values), len(imaginary)), source)
        both.real, both.imag = values[: len(both)], imaginary[: len(both)]
    expected = parts(both.real), parts(both.imag)
    if source != dtype and None in (*expected[0], *expected[1]):
        with pytest.raises(DoesNotFitError):
            cast(both, dtype, "here")
    else:
        found = cast(both, dtype, "here")
        assert found.dtype == dtype
        np.testing.assert_array_equal(found.real, np.array(expected[0], part))
        np.testing.assert_array_equal(found.imag, np.array(expected[1], part))


@pytest.mark.parametrize("source", COMPLEX)
@pytest.mark.parametrize("dtype", REALS)
def test_complex_never_becomes_real(source, dtype):
    with pytest.raises(ValueError, match="imaginary part"):
        cast(np.zeros(2, source), dtype, "here")


@pytest.mark.parametrize("slab", [1, 5, 7, 1000])
@pytest.mark.parametrize("shape", [(), (0, 3), (7,), (3, 2, 4, 5), (1, 1, 9, 2)])
def test_slabs_change_nothing(monkeypatch, slab, shape):
    monkeypatch.setattr(casting, "_SLAB", slab)
    values = np.random.default_rng(0).uniform(-100, 100, (*shape, 2))[..., 0]
    np.testing.assert_array_equal(cast(values, "int8", "here"), np.rint(values).astype("int8"), strict=True)
    np.testing.assert_array_equal(cast(values, "c8", "here"), values.astype("c8"), strict=True)
    if values.size:
        at = tuple(np.unravel_index(values.size - 1, shape))
        values[at] = 1000
        with pytest.raises(DoesNotFitError) as caught:
            cast(values, "int8", "here")
        assert f"at {tuple(map(int, at))}" in str(caught.value)


def test_the_error_names_the_value_and_the_way_out():
    values = np.zeros((2, 3, 4, 4), "int32")
    values[1, 2, 3, 0] = -7
    with pytest.raises(DoesNotFitError) as caught:
        cast(values, "uint16", "image 'a'")
    assert "image 'a' holds -7 at (1, 2, 3, 0), which uint16 can't hold" in str(caught.value)
    assert 'transform="clip(0, 65535)"' in str(caught.value)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, PatchmillError)
    with pytest.raises(DoesNotFitError, match=r"nan at .* fill it"):
        cast(np.array([np.nan]), "uint8", "here")


@pytest.mark.parametrize("source", REALS[1:])
@pytest.mark.parametrize("dtype", REALS[1:])
def test_the_way_out_leads_out(source, dtype):
    info = np.finfo(source) if source[0] == "f" else np.iinfo(source)
    for value in (info.min, info.max):
        values = np.full((1, 1, 1, 1), value, source)
        try:
            cast(values, dtype, "here")
        except DoesNotFitError as error:
            clip = as_transform(re.search(r'transform="(.*)"', str(error))[1])
            cast(clip(values), dtype, "here")


@pytest.mark.parametrize(
    ("value", "dtype", "held", "advised"),
    [
        (np.float32(3e9), "int32", "-2147483648 to 2147483647", "-2147483648, 2147483520"),
        (np.float64(2**63), "int64", f"{-(2**63)} to {2**63 - 1}", f"{-(2**63)}, {2**63 - 1024}"),
        (np.float64(2**64), "uint64", f"0 to {2**64 - 1}", f"0, {2**64 - 2048}"),
        (np.float64(300), "uint8", "0 to 255", "0, 255"),
        (np.int64(65520), "float16", "-65504 to 65504", "-65504, 65504"),
        (
            np.float64(1e39),
            "float32",
            "-3.4028234663852886e+38 to 3.4028234663852886e+38",
            "-3.4028234663852886e+38, 3.4028234663852886e+38",
        ),
    ],
)
def test_the_error_names_bounds_that_both_dtypes_hold(value, dtype, held, advised):
    with pytest.raises(DoesNotFitError) as caught:
        cast(np.array([value]), dtype, "here")
    assert str(caught.value).endswith(f'({held}): clip first, transform="clip({advised})", or take a wider dtype')


def test_same_dtype_is_the_same_array_and_odd_ones_are_refused():
    values = np.zeros(3)
    assert cast(values, "f8", "here") is values
    for dtype in ("M8[s]", "O", "U3", np.longdouble):
        with pytest.raises(ValueError, match="can't be stored"):
            cast(values, dtype, "here")
    assert cast(np.array([1, 258], ">u2"), "u2", "here").tolist() == [1, 258]
