"""Integers of at most 16 bits: how often each value occurs tells all that is asked, exactly, and is counted fast."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchmill.inspecting.histograms import Bins, exponent_for, number_of
from patchmill.inspecting.moments import Moments


def is_countable(dtype: np.dtype[Any]) -> bool:
    """Whether a table of all values is small."""
    return dtype.kind in "ui" and dtype.itemsize <= 2


def counts_of(pieces: Iterable[NDArray[Any]], dtype: np.dtype[Any]) -> NDArray[np.int64]:
    """How often each value of `dtype` occurs, from the least that it can hold to the greatest.

    Parameters
    ----------
    pieces : iterable of ndarray, shape (n,)
        Contiguous.
    dtype : dtype
        An integer of 8 or 16 bits.
    """
    counts = np.zeros(2 ** (8 * dtype.itemsize), np.int64)
    for piece in pieces:
        bits = piece.view(f"u{dtype.itemsize}")
        counts += _pairs(bits) if dtype.itemsize == 1 else np.bincount(bits, minlength=len(counts))
    # The bits of negative numbers come behind those of the others.
    return np.roll(counts, len(counts) // 2) if dtype.kind == "i" else counts


def _pairs(values: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Counts of bytes, which are counted two by two, as if they were one number, in half the time."""
    even = len(values) // 2 * 2
    table = np.bincount(values[:even].view(np.uint16), minlength=2**16).reshape(256, 256)
    counts: NDArray[np.int64] = table.sum(axis=0) + table.sum(axis=1)
    if even < len(values):
        counts[values[-1]] += 1
    return counts


def moments_of_counts(counts: NDArray[np.int64], low: int) -> Moments:
    """The moments of values `low`, `low` + 1, ... that occur so often; the first does."""
    above = np.arange(len(counts), dtype=np.int64)
    number = int(counts.sum())
    total, squares = int(counts @ above), int(counts @ (above * above))
    return Moments(number, low, total / number, (number * squares - total * total) / number)


def bins_of_counts(counts: NDArray[np.int64], low: int) -> Bins:
    """The bins of the same values; the last of `counts` is not 0 either."""
    exponent = exponent_for(low, low + len(counts) - 1)
    first = number_of(low, exponent)
    places = ((low + np.arange(len(counts))) >> exponent) - first
    return Bins(exponent, first, np.add.reduceat(counts, np.flatnonzero(np.diff(places, prepend=-1))))
