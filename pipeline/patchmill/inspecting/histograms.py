"""Histograms in one pass, of values whose range nobody knows beforehand, and still exact.

A bin is as wide as a power of two, and begins at a multiple of its width. So two neighbors make one bin of the next
width, nothing is ever split, and histograms of parts add up to that of the whole, in any order::

    width 1   |0|1|2|3|4|5|6|7|       of a part
    width 2   |0,1|2,3|4,5|6,7|       as soon as another part reaches so far that `BINS` of width 1 do not

The law: with ``bins_of(values)`` for the bins of some values, ``joined(bins_of(a), bins_of(b)) == bins_of(a and b)``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

BINS = 256
"""At most; where there is room for twice as many, as there is for floats, more than half of them."""

_DIGITS = 40
"""Binary digits that tell the largest value apart from its neighbors: numbers of bins stay far below 2**53."""

_LEAST = -1074
"""Exponent of the least float that is not zero: each float is a multiple of it."""

Value = int | float


@dataclass(frozen=True, slots=True)
class Histogram:
    """How often values occur: bin i holds those from ``(first + i) * 2**exponent`` on, below the begin of the next.

    Parameters
    ----------
    exponent : int
        Bins are 2**exponent wide, in units of the values; not negative for integers.
    first : int
        Number of the first bin, counted from 0.
    counts : tuple of int
        Values in each bin; the first and the last hold some.

    Examples
    --------
    >>> Histogram(exponent=1, first=2, counts=(3, 0, 1)).edges
    (4.0, 6.0, 8.0, 10.0)
    """

    exponent: int
    first: int
    counts: tuple[int, ...]

    @property
    def edges(self) -> tuple[float, ...]:
        """Where bins begin, and where the last one ends."""
        with np.errstate(all="ignore"):  # the end of the last one may be infinite
            numbers = [float(self.first + i) for i in range(len(self.counts) + 1)]
            return tuple(np.ldexp(numbers, self.exponent).tolist())

    def coarser(self, exponent: int) -> Histogram:
        """The same in bins of width 2**exponent; itself where they are that wide or wider.

        Examples
        --------
        >>> Histogram(0, 3, (1, 2, 4)).coarser(1)
        Histogram(exponent=1, first=1, counts=(1, 6))
        """
        if exponent <= self.exponent:
            return self
        bins = _coarser(Bins(self.exponent, self.first, np.array(self.counts)), exponent)
        return Histogram(bins.exponent, bins.first, tuple(bins.counts.tolist()))


class Bins(NamedTuple):
    """A histogram that is being made; as `Histogram`, counts are an array of int64."""

    exponent: int
    first: int
    counts: NDArray[np.int64]

    def finished(self) -> Histogram:
        """For people; bins of nothing but zeros, which may be as narrow as floats get, become one of width 1."""
        if self.exponent == _LEAST and self.first == 0 and len(self.counts) == 1:
            return Histogram(0, 0, tuple(self.counts.tolist()))
        return Histogram(self.exponent, self.first, tuple(self.counts.tolist()))


def bins_of(values: NDArray[Any], low: Value, high: Value) -> Bins:
    """The bins of some integers, or finite float64, at least one, of which `low` and `high` are least and greatest."""
    exponent = exponent_for(low, high)
    first = number_of(low, exponent)
    places: NDArray[Any]
    if values.dtype.kind == "f":
        places = (_numbers(values, exponent, negative=low < 0) - first).astype(np.intp)
    elif values.dtype == np.uint64:
        places = ((values >> np.uint64(exponent)) - np.uint64(first)).astype(np.intp)
    else:
        places = (values >> exponent).astype(np.int64) - first
    return Bins(exponent, first, np.bincount(places.ravel()).astype(np.int64))


def joined(one: Bins, other: Bins) -> Bins:
    """The bins of what is in either."""
    one, other = _shared(one, other)
    first = min(one.first, other.first)
    counts = np.zeros(max(each.first + len(each.counts) for each in (one, other)) - first, np.int64)
    for each in (one, other):
        counts[each.first - first :][: len(each.counts)] += each.counts
    return Bins(one.exponent, first, counts)


def exponent_for(low: Value, high: Value) -> int:
    """The least exponent of bins of which at most `BINS` reach from `low` to `high`. It grows with them, never shrinks.

    Examples
    --------
    >>> exponent_for(0, 255), exponent_for(0, 256), exponent_for(0.0, 1.0)
    (0, 1, -7)
    """
    if isinstance(low, int) and isinstance(high, int):
        exponent = max(0, (high - low).bit_length() - BINS.bit_length())
    else:
        largest = max(abs(low), abs(high))
        finest = max(_LEAST, math.frexp(largest)[1] - _DIGITS) if largest else _LEAST
        half = high / 2 - low / 2  # the difference itself may be larger than any float
        exponent = max(finest, math.frexp(half)[1] - BINS.bit_length()) if half else finest
    while number_of(high, exponent) - number_of(low, exponent) >= BINS:
        exponent += 1
    return exponent


def number_of(value: Value, exponent: int) -> int:
    """Number of the bin that holds `value`: ``floor(value / 2**exponent)``, exactly."""
    if isinstance(value, int):
        return value >> exponent
    number = math.floor(math.ldexp(value, -exponent))
    return -1 if number == 0 and value < 0 else number  # what is so small that it becomes zero stays below


def _numbers(values: NDArray[np.float64], exponent: int, *, negative: bool) -> NDArray[np.float64]:
    """The same of many floats."""
    # A product is several times faster, and 2**-exponent is a float down to there.
    scaled = values * 2.0**-exponent if exponent > -_NORMAL else np.ldexp(values, -exponent)
    numbers: NDArray[np.float64] = np.floor(scaled)
    if negative and exponent > 0:
        numbers[(numbers == 0) & (values < 0)] = -1
    return numbers


_NORMAL = 1000


def _shared(one: Bins, other: Bins) -> tuple[Bins, Bins]:
    """Both in bins so wide that `BINS` hold what is in either."""
    exponent = max(one.exponent, other.exponent)
    low = min(each.first >> (exponent - each.exponent) for each in (one, other))
    high = max((each.first + len(each.counts) - 1) >> (exponent - each.exponent) for each in (one, other))
    while high - low >= BINS:
        low, high, exponent = low >> 1, high >> 1, exponent + 1
    return _coarser(one, exponent), _coarser(other, exponent)


def _coarser(bins: Bins, exponent: int) -> Bins:
    """`bins` in bins of width 2**exponent, no narrower than they are."""
    wider = exponent - bins.exponent
    if wider == 0:
        return bins
    first = bins.first >> wider
    # Python's own integers: numbers of bins of uint64 go beyond int64, and shifts beyond 64.
    places = [((bins.first + i) >> wider) - first for i in range(len(bins.counts))]
    counts = np.zeros(places[-1] + 1, np.int64)
    np.add.at(counts, places, bins.counts)
    return Bins(exponent, first, counts)
