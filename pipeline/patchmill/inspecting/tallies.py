"""What is known of the pixels of one channel: counts, range, moments, bins. Of parts, and of what these make up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchmill.inspecting.counting import bins_of_counts, counts_of, is_countable, moments_of_counts
from patchmill.inspecting.histograms import Bins, Value, bins_of, joined
from patchmill.inspecting.moments import Moments, joined_moments, moments_of
from patchmill.sources.model import comparable_nodata

PIECE = 2**17
"""Values that are looked at together: copies of them in double precision stay in a core's cache. A constant, so that
sums are made in one order everywhere, and the last digit is the same with any memory and number of workers."""

_COUNTED = 2**20
"""The same of integers that are counted, in any order: many for each table of all values that they may have."""

WORKING = 8 * PIECE * 8
"""Bytes that one look takes at most."""

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Measured:
    """What is known of values that are measured and finite, at least one.

    Parameters
    ----------
    low, high : int or float
        Least and greatest.
    moments : Moments
    bins : Bins
    """

    low: Value
    high: Value
    moments: Moments
    bins: Bins

    def __add__(self, other: Measured) -> Measured:
        """Of both."""
        return Measured(
            min(self.low, other.low),
            max(self.high, other.high),
            joined_moments(self.moments, other.moments),
            joined(self.bins, other.bins),
        )


@dataclass(frozen=True, slots=True)
class Tally:
    """What is known of some pixels of one channel.

    Parameters
    ----------
    pixels : int
        How many there are.
    nodata, nan, infinite : int
        How many of them are nodata, NaN, infinite, each counted once, as the first of these that it is.
    measured : Measured or None
        The rest, if any.
    """

    pixels: int = 0
    nodata: int = 0
    nan: int = 0
    infinite: int = 0
    measured: Measured | None = None

    def __add__(self, other: Tally) -> Tally:
        """Of both."""
        known = [each.measured for each in (self, other) if each.measured is not None]
        return Tally(
            self.pixels + other.pixels,
            self.nodata + other.nodata,
            self.nan + other.nan,
            self.infinite + other.infinite,
            known[0] + known[1] if len(known) == 2 else next(iter(known), None),
        )


def tallies_of(values: Array, extents: Sequence[tuple[int, int]], nodata: Any) -> list[Tally]:
    """A tally for each channel of a region.

    Parameters
    ----------
    values : ndarray, shape (image, channel, y, x)
    extents : sequence of (int, int)
        For each image, how many rows and columns of it lie in the region; what is beyond does not count.
    nodata : number or None
        The value that stands for "nothing measured".
    """
    native = values.astype(values.dtype.newbyteorder("="), copy=False)
    plain = native.view(np.uint8) if native.dtype == bool else native
    absent = comparable_nodata(nodata, plain.dtype)
    if is_countable(plain.dtype):
        return [_counted(plain[:, at], extents, absent) for at in range(plain.shape[1])]
    return [
        reduce(Tally.__add__, (tally_of(piece, absent) for piece in _pieces(plain[:, at], extents)), Tally())
        for at in range(plain.shape[1])
    ]


def _counted(values: Array, extents: Sequence[tuple[int, int]], nodata: Any) -> Tally:
    """The tally of one channel of integers of few bits."""
    counts = counts_of(_pieces(values, extents, _COUNTED), values.dtype)
    least, pixels, absent = int(np.iinfo(values.dtype).min), int(counts.sum()), 0
    if nodata is not None:
        absent = int(counts[nodata - least])
        counts[nodata - least] = 0
    if pixels == absent:
        return Tally(pixels, absent)
    there = np.flatnonzero(counts)
    first, last = int(there[0]), int(there[-1])
    counts, low = counts[first : last + 1], least + first
    return Tally(
        pixels,
        absent,
        measured=Measured(low, least + last, moments_of_counts(counts, low), bins_of_counts(counts, low)),
    )


def tally_of(values: Array, nodata: Any) -> Tally:
    """The tally of some values; those of complex numbers are their magnitudes."""
    nan = np.isnan(values) if values.dtype.kind in "fc" else None
    same = None if nodata is None or nodata != nodata else values == nodata
    absent = [each for each in (nan, same) if each is not None and each.any()]
    finite, infinite = _finite(values[~np.logical_or.reduce(absent)] if absent else values)
    nans, sames = (0 if each is None else int(np.count_nonzero(each)) for each in (nan, same))
    if nodata is not None and nodata != nodata:
        nans, sames = 0, nans
    return Tally(values.size, sames, nans, infinite, _measured(finite) if finite.size else None)


def _finite(values: Array) -> tuple[Array, int]:
    """Integers as they are; of floats those that are finite, in double precision, and how many are not."""
    if values.dtype.kind not in "fc":
        return values, 0
    with np.errstate(over="ignore"):
        real = np.abs(values) if values.dtype.kind == "c" else values
    finite = np.isfinite(real)
    infinite = real.size - int(np.count_nonzero(finite))
    return (real[finite] if infinite else real).astype(np.float64, copy=False), infinite


def _measured(values: Array) -> Measured:
    low, high = values.min().item(), values.max().item()
    return Measured(low, high, moments_of(values, low), bins_of(values, low, high))


def _pieces(values: Array, extents: Sequence[tuple[int, int]], most: int = PIECE) -> Iterator[Array]:
    """All values of one channel, shape (image, y, x), inside their images' extents, as flat pieces."""
    if len(set(extents)) == 1:
        height, width = extents[0]
        yield from _flat(values[:, :height, :width], most)
        return
    for image, (height, width) in zip(values, extents, strict=True):
        yield from _flat(image[:height, :width], most)


def _flat(values: Array, most: int) -> Iterator[Array]:
    """Pieces of at most so many values, row-major."""
    if 0 < values.size <= most:
        yield values.ravel()
    elif values.size:
        if len(values) == 1:
            yield from _flat(values[0], most)
        else:
            step = max(1, most * len(values) // values.size)
            for start in range(0, len(values), step):
                yield from _flat(values[start : start + step], most)
