"""Bins of powers of two: exact, and those of parts make those of the whole."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from patchmill.inspecting.histograms import BINS, Bins, Histogram, bins_of, exponent_for, joined, number_of

FLOATS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(-1, 1),
    st.sampled_from([0.0, -0.0, 5e-324, -5e-324, 2.0**-1022, 1.7976931348623157e308, -1.7976931348623157e308]),
)


def integers(dtype: str) -> st.SearchStrategy[int]:
    limits = np.iinfo(dtype)
    return st.one_of(st.integers(int(limits.min), int(limits.max)), st.sampled_from([limits.min, limits.max]).map(int))


VALUES = st.one_of(
    st.lists(FLOATS, min_size=1, max_size=20).map(lambda v: np.array(v, "float64")),
    *(
        st.lists(integers(dtype), min_size=1, max_size=20).map(lambda v, dtype=dtype: np.array(v, dtype))
        for dtype in ("uint8", "int8", "uint16", "int32", "int64", "uint64")
    ),
)


def made(values: np.ndarray) -> Bins:
    return bins_of(values, values.min().item(), values.max().item())


def plain(bins: Bins) -> tuple[int, int, list[int]]:
    return bins.exponent, bins.first, bins.counts.tolist()


@given(VALUES)
@example(np.array([5e-324]))
@example(np.array([-5e-324, 1e300]))
def test_each_value_is_in_its_bin(values):
    exponent, first, counts = plain(made(values))
    width = Fraction(2) ** exponent
    slow = [0] * len(counts)
    for value in values.tolist():
        slow[floor(Fraction(value) / width) - first] += 1
    assert counts == slow
    assert len(counts) <= BINS
    assert counts[0] > 0
    assert counts[-1] > 0


@given(VALUES, st.data())
def test_bins_of_parts_are_those_of_the_whole(values, data):
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(values) - 1)), max_size=3)))
    parts = [part for part in np.split(values, cuts) if part.size]
    order = data.draw(st.permutations(parts))
    whole = made(order[0])
    for part in order[1:]:
        whole = joined(whole, made(part))
    assert plain(whole) == plain(made(values))


@given(VALUES)
def test_the_exponent_grows_with_what_is_reached(values):
    low, high = values.min().item(), values.max().item()
    exponent = exponent_for(low, high)
    assert number_of(high, exponent) - number_of(low, exponent) < BINS
    for value in values.tolist():
        assert exponent_for(min(value, high), high) <= exponent


def test_bytes_have_a_bin_each():
    assert plain(made(np.arange(256, dtype="uint8"))) == (0, 0, [1] * 256)


@pytest.mark.parametrize("value", [0.0, -0.0])
def test_bins_of_zeros_alone_are_of_width_one(value):
    assert made(np.array([value])).finished() == Histogram(0, 0, (1,))


def test_edges_and_coarser_bins():
    histogram = made(np.array([-3, -1, 0, 4])).finished()
    assert histogram == Histogram(0, -3, (1, 0, 1, 1, 0, 0, 0, 1))
    assert histogram.coarser(2) == Histogram(2, -1, (2, 1, 1))
    assert histogram.coarser(2).edges == (-4.0, 0.0, 4.0, 8.0)
    assert histogram.coarser(-1) is histogram
