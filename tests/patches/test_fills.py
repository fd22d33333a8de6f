"""A fill value is held exactly, or refused."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchmill.patches.fills import as_fill

RECORD = np.dtype([("height", "f4"), ("name", "U2"), ("pair", "i1", (2,))])


@pytest.mark.parametrize(
    ("value", "dtype", "held"),
    [
        (255, "u1", 255),
        (np.uint64(2**64 - 1), "u8", 2**64 - 1),
        (-(2**63), ">i8", -(2**63)),
        (3.0, "i4", 3),
        (np.float32(7), "u1", 7),
        (2 + 0j, "i2", 2),
        (True, "u1", 1),
        (True, "?", True),
        (1, "?", True),
        (-9999, "f4", -9999.0),
        (0.1, "f4", np.float32(0.1)),
        (1e20, "f4", np.float32(1e20)),
        (np.inf, "f2", np.inf),
        (-np.inf, "f8", -np.inf),
        (1 - 2j, "c8", 1 - 2j),
        (np.array(4), "i4", 4),
        (np.longdouble(1) / 3, "g", np.longdouble(1) / 3),
        ("ab", "U2", "ab"),
        (0, "U2", ""),
        (b"ab", "S4", b"ab"),
        (0, "S4", b""),
        ("any length", np.dtypes.StringDType(), "any length"),
        (np.datetime64("2020-02-03"), "M8[s]", np.datetime64("2020-02-03T00:00:00")),
        (dt.datetime(2020, 2, 3, 4), "M8[ns]", np.datetime64("2020-02-03T04", "ns")),  # noqa: DTZ001
        (dt.date(2020, 2, 3), "M8[D]", np.datetime64("2020-02-03")),
        (pd.Timestamp("2020-02-03T00:00:00.000000001"), "M8[ns]", np.datetime64("2020-02-03T00:00:00.000000001")),
        (dt.timedelta(seconds=3), "m8[ms]", np.timedelta64(3000, "ms")),
        (np.timedelta64(2, "h"), "m8[m]", np.timedelta64(120, "m")),
        (0, "m8[s]", np.timedelta64(0, "s")),
        (None, "O", None),
        ([1, 2], "O", [1, 2]),
        (0, "O", 0),
        (np.void(b"abc"), "V3", np.void(b"abc")),
    ],
)
def test_what_is_held(value, dtype, held):
    found = as_fill(value, np.dtype(dtype), "pad_value")
    assert found.shape == ()
    assert found.dtype == np.dtype(dtype)
    assert found[()] == held


@pytest.mark.parametrize("dtype", ["c8", ">c16", "G"])
@pytest.mark.parametrize("value", [complex(1, np.inf), complex(-np.inf, 0), complex(0, np.nan), complex(np.nan, -0.0)])
def test_both_parts_of_a_complex_number_are_held(value, dtype):
    held = as_fill(value, np.dtype(dtype), "pad_value")
    np.testing.assert_array_equal([held.real, held.imag], [value.real, value.imag])


@pytest.mark.parametrize("dtype", ["f2", ">f4", "f8", "g", "c8", "c16"])
def test_nan_is_held_by_floats(dtype):
    assert np.isnan(as_fill(np.nan, np.dtype(dtype), "pad_value"))


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(0, "M8[D]"), (np.datetime64("NaT"), "M8[D]"), (np.timedelta64("NaT"), "m8[s]"), (pd.NaT, "M8[ns]")],
)
def test_missing_times(value, dtype):
    assert np.isnat(as_fill(value, np.dtype(dtype), "pad_value"))


def test_records():
    assert as_fill(0, RECORD, "pad_value") == np.zeros((), RECORD)
    held = as_fill((1.5, "ab", -3), RECORD, "pad_value")
    assert held["height"] == 1.5
    assert held["name"] == "ab"
    assert held["pair"].tolist() == [-3, -3]
    times = np.dtype([("at", "M8[s]"), ("n", "u1")])
    assert np.isnat(as_fill(0, times, "pad_value")["at"])
    assert as_fill(np.array((np.datetime64("2020-01-01", "s"), 9), times)[()], times, "pad_value")["n"] == 9


@pytest.mark.parametrize(
    ("value", "dtype", "error", "words"),
    [
        (-1, "u1", ValueError, "uint8 holds exactly, got -1: take one from 0 to 255"),
        (256, "u1", ValueError, "got 256"),
        (2**64, "u8", ValueError, "got 18446744073709551616"),
        (1.5, "i4", ValueError, "got 1.5"),
        (np.nan, "i4", ValueError, "got nan"),
        (np.inf, "i4", ValueError, "got inf"),
        (2, "?", ValueError, "bool holds exactly, got 2"),
        (1e39, "f4", ValueError, "got 1e\\+39"),
        (70_000, "f2", ValueError, "got 70000"),
        (-9999, "f2", ValueError, "got -9999"),
        (2**53 + 1, "f8", ValueError, "got 9007199254740993"),
        (10**400, "f8", ValueError, "got 1000"),
        (1j, "f8", ValueError, "got 1j"),
        ("abc", "U2", ValueError, "got 'abc'"),
        ("1", "i4", TypeError, "one number for an array of int32, got '1'"),
        (None, "f8", TypeError, "got None"),
        ([1], "f8", TypeError, r"got \[1\]"),
        (1, "U2", TypeError, "must be text"),
        (b"a", "U2", TypeError, "must be text"),
        ("a", "S2", TypeError, "must be bytes"),
        (1, "M8[s]", TypeError, "must be a date"),
        (np.timedelta64(1, "s"), "M8[s]", TypeError, "must be a date"),
        (np.datetime64("2020-01-01T12"), "M8[D]", ValueError, "datetime64\\[D\\] holds exactly"),
        (dt.date(9999, 12, 31), "M8[ns]", ValueError, "holds exactly"),
        (np.datetime64("1500-01-01"), "M8[ns]", ValueError, "holds exactly"),
        (np.timedelta64(10**6, "D"), "m8[ns]", ValueError, "holds exactly"),
        (1, "m8[s]", TypeError, "must be a duration"),
        (np.timedelta64(1, "ms"), "m8[s]", ValueError, "holds exactly"),
        (1, "V3", TypeError, "must be bytes"),
        ((1, "a"), RECORD, TypeError, "0 or a tuple of 3 values"),
        ((1, "a", 200), RECORD, ValueError, r"pad_value\['pair'\] .* int8 holds exactly, got 200"),
    ],
)
def test_what_is_refused(value, dtype, error, words):
    with pytest.raises(error, match=words):
        as_fill(value, np.dtype(dtype), "pad_value")


@given(st.integers(-(2**70), 2**70), st.sampled_from(["?", "i1", "u1", "i4", "u4", "i8", "u8", "f2", "f4", "f8"]))
def test_an_integer_comes_back_or_is_refused(value: int, dtype: str):
    try:
        held = as_fill(value, np.dtype(dtype), "pad_value")
    except ValueError:
        held = None
    if held is not None:
        assert int(held) == value
    elif np.dtype(dtype).kind in "iu":
        assert not np.iinfo(dtype).min <= value <= np.iinfo(dtype).max
