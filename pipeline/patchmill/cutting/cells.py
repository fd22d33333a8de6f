"""What is known of cells and of the nodes above them, and how to reduce pixels to it.

Two kinds. Of integers of at most 16 bits, sums and sums of squares are whole numbers, in any order. Everything else is
summed in double precision, in one order, as (sum, squared deviations from the mean); two neighbors join as Chan, Golub
and LeVeque have it (Algorithms for computing the sample variance, 1983), so values around 1e9 with deviations around 1
keep them.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchmill.cutting.compiled import kernels
from patchmill.cutting.gathering import Array, Cells, Join, Lattice, Nodes, cheapest

Missing = NDArray[np.bool_] | None

Known = dict[str, Array]
"""By name: "count", only where not every pixel is measured, "sum", "square", "low", "high"; each (..., cell, line)."""


class Scratch:
    """Memory that strips use one after the other: pages that were touched once are not asked for again."""

    def __init__(self) -> None:
        self._flat: dict[str, Array] = {}

    def __call__(self, name: str, shape: tuple[int, ...], dtype: Any) -> Array:
        """An array that holds anything; it counts until the next of that name."""
        size, dtype = prod(shape), np.dtype(dtype)
        flat = self._flat.get(name)
        if flat is None or flat.dtype != dtype or flat.size < size:
            flat = self._flat[name] = np.empty(size, dtype)
        return flat[:size].reshape(shape)


class Strip(NamedTuple):
    """Some rows of some planes.

    Parameters
    ----------
    pixels : ndarray, shape (plane, y, x)
    absent : ndarray of bool, shape (plane, y, x), or None
        What is beyond the border, or does not count for other reasons.
    nodata : number or None
    down : Cells
        Along y.
    across : Cells or None
        Along x, where cells are formed before rows are added.
    scratch : Scratch
    """

    pixels: Array
    absent: Missing
    nodata: Any
    down: Cells
    across: Cells | None
    scratch: Scratch

    def missing(self) -> Missing:
        """What does not count; None where all does. A NaN is not looked for."""
        found = self.absent if self.absent is not None and self.absent.any() else None
        if self.nodata is not None and self.nodata == self.nodata:
            same = self.pixels == self.nodata
            if same.any():
                found = same if found is None else found | same
        return found

    def reduce(self, combine: np.ufunc, values: Array, dtype: Any = None) -> Array:
        """(plane, y, x) -> (plane, group, cell, x)."""
        return np.asarray(combine.reduce(self.down.view(values, 1), axis=-2, dtype=dtype))

    def measured(self, missing: Array) -> Array:
        """How many values of each cell count; a cell has few enough pixels for 16 bits."""
        count = self.reduce(np.add, missing.view(np.uint8), np.uint16)
        return np.subtract(self.down.length, count, dtype=np.int64)


def is_exact(dtype: np.dtype[Any]) -> bool:
    """Whether sums and squares are kept as whole numbers."""
    return dtype.kind in "bui" and dtype.itemsize <= 2


def count_cells(strip: Strip) -> Known:
    """How much is measured, nothing else."""
    missing = strip.missing()
    if strip.pixels.dtype.kind in "fc":
        nan = _is_nan(strip.pixels)
        if nan is not None:
            missing = nan if missing is None else nan | missing
    return {} if missing is None else {"count": strip.measured(missing)}


def _is_nan(pixels: Array) -> Missing:
    """Where NaN is; None for nowhere."""
    if pixels.dtype.kind == "c" and pixels.strides[-1] == pixels.itemsize:  # many times as fast
        parts = np.isnan(pixels.view(pixels.real.dtype))
        return parts.reshape(*pixels.shape, 2).any(axis=-1) if parts.any() else None
    found = np.isnan(pixels)
    return found if found.any() else None


# -- whole numbers of up to 16 bits ------------------------------------------------------------------------------------


def dot_cells(lattice: Lattice, dtype: np.dtype[Any], *, compiled: bool) -> Cells | None:
    """Pixels along x whose sums are dot products, before rows are added; None where patches overlap too much.

    Both double and single precision are exact there, so neither the order nor the routine matters: 2**13 squares below
    2**32, and 128 rows of them, stay below 2**53; 256 squares of 8 bits, at most 255**2, stay below 2**24. A call costs
    as much as 20 pixels, a turn of a compiled loop as much as 8.
    """
    if lattice.apart > 1:
        return None
    length, cost = cheapest(lattice, 256 if dtype.itemsize == 1 else 2**13, 8 if compiled else 20)
    return Cells.of(lattice, length) if cost < 3.5 else None


def exact_cells(strip: Strip) -> Known:
    """Sums and sums of squares, of each cell along y; of cells along x too, where these come first."""
    missing, pixels, across = strip.missing(), strip.pixels, strip.across
    known: Known = {}
    if missing is None:
        known["low"], known["high"] = strip.reduce(np.minimum, pixels), strip.reduce(np.maximum, pixels)
    else:
        known["count"] = strip.measured(missing)
        mask, kept, bound = (strip.scratch(name, pixels.shape, pixels.dtype) for name in ("mask", "kept", "bound"))
        signed = mask.view(f"i{pixels.itemsize}")
        np.negative(missing.view(np.int8), out=signed)  # all ones where nothing was measured
        np.bitwise_and(pixels, ~mask, out=kept)
        info = np.iinfo(pixels.dtype)
        for name, combine, farthest in (("low", np.minimum, info.max), ("high", np.maximum, info.min)):
            np.bitwise_and(mask, farthest, out=bound)
            bound |= kept
            known[name] = strip.reduce(combine, bound)
        pixels = kept
    if across is not None:
        lanes = strip.scratch("lanes", pixels.shape, np.float32 if pixels.itemsize == 1 else np.float64)
        np.copyto(lanes, pixels)
        runs = across.view(lanes, 2)
        ones = np.ones(across.length, lanes.dtype)
        sums, squares = (np.vecdot(runs, by).reshape(*pixels.shape[:2], -1) for by in (ones, runs))
        wide: Any = np.float64
    elif pixels.itemsize == 1:
        sums = pixels.astype(f"{pixels.dtype.kind}2")
        squares = sums * sums  # up to 255**2 = 65025, or 128**2
        wide = f"{pixels.dtype.kind}4"
    else:
        sums, squares = (strip.scratch(name, pixels.shape, np.float64) for name in ("sums", "squares"))
        np.copyto(sums, pixels)
        np.multiply(sums, sums, out=squares)
        wide = np.float64
    known["sum"], known["square"] = strip.reduce(np.add, sums, wide), strip.reduce(np.add, squares, wide)
    return known


def whole(known: Known, across: Cells | None) -> Known:
    """What exact cells are known by, in whole numbers; along x in the cells that sums are in already."""
    found = dict(known)
    for name, combine in (("count", np.add), ("low", np.minimum), ("high", np.maximum)):
        if across is not None and name in known:
            values = combine.reduce(across.view(known[name], 3), axis=-1)
            found[name] = values.reshape(*values.shape[:3], -1)
    for name in ("sum", "square"):
        found[name] = known[name].astype(np.int64)
    return found


def join_by(combine: Sequence[np.ufunc]) -> Join:
    """Join nodes, whatever their size, each array in its own way."""

    def join(a: Nodes, b: Nodes, _a: int, _b: int) -> Nodes:
        return [ufunc(left, right) for ufunc, left, right in zip(combine, a, b, strict=True)]

    return join


def exact_moments(known: Known, size: int) -> tuple[Array, Array]:
    """Mean and standard deviation, correct to the last digits.

    Of up to 2**16 values of 16 bits, n * (sum of squares) - sum**2 is at most n**2 * 2**30, and so fits 64 bits, though
    its terms may go once around. Of more, deviations are taken from m, the whole number nearest to the mean: of x - m
    the sum r and the sum of squares d are whole, and in d / n - (r / n)**2 the second term is at most about half of the
    first.
    """
    count = np.maximum(known["count"], 1) if "count" in known else np.int64(size)
    total, squares = known["sum"], known["square"]
    mean = total / count
    if size <= 2**16:
        return mean, np.sqrt(count * squares - total * total) / count
    middle = np.rint(mean).astype(np.int64)
    off = (total - count * middle) / count
    return mean, np.sqrt(np.maximum((squares - 2 * middle * total + count * middle * middle) / count - off * off, 0))


# -- everything else ---------------------------------------------------------------------------------------------------


def float_cells(strip: Strip) -> Known:
    """Sums and squared deviations of each cell, taken from its own least value."""
    if strip.pixels.shape[-1] == 1:  # NumPy sums a single column in another order than several
        twice = strip._replace(
            pixels=np.repeat(strip.pixels, 2, axis=-1),
            absent=None if strip.absent is None else np.repeat(strip.absent, 2, axis=-1),
        )
        return {name: values[..., :1] for name, values in float_cells(twice).items()}
    quick = kernels() if strip.absent is None else None
    known: Known | None = None if quick is None else quick.float_cells(strip.pixels, strip.nodata, strip.down)
    if known is not None:
        return known
    missing = strip.missing()
    pixels = strip.down.view(strip.pixels, 1)
    values = strip.scratch("values", pixels.shape, np.float64)
    np.copyto(values, pixels)
    if missing is not None:
        bits = values.view(np.int64)
        bits |= -strip.down.view(missing, 1).astype(np.int64)  # all ones is a NaN
    bounded = pixels if missing is None and pixels.dtype == np.float32 else values  # the narrower is read faster
    low, high = (_over(reduce, bounded).astype(np.float64) for reduce in (np.fmin, np.fmax))
    known = {"low": low, "high": high}
    if strip.down.length == 1:
        least: Any = 0.0
    else:
        least = np.where(np.abs(low) < 1e150, low, 0)  # neither NaN nor infinite, nor may differences overflow
        values -= least[..., None, :]
    total = _over(np.add, values)
    count: Any = np.int64(strip.down.length)
    if np.isnan(total).any() and (holes := np.isnan(values)).any():
        known["count"] = count - np.add.reduce(holes.view(np.uint8), axis=-2, dtype=np.uint16)
        _clear(values, holes, nonnegative=bool(((least == low) | np.isnan(low)).all()))
        total, count = _over(np.add, values), np.maximum(known["count"], 1)
    if strip.down.length == 1:
        return known | {"sum": total, "square": np.zeros_like(total)}
    values *= values
    known["square"] = np.maximum(_over(np.add, values) - total * total / count, 0)
    known["sum"] = total + least * known.get("count", count)
    return known


def _over(combine: np.ufunc, values: Array) -> Array:
    """(..., pixel, x) -> (..., x)."""
    return values[..., 0, :].copy() if values.shape[-2] == 1 else np.asarray(combine.reduce(values, axis=-2))


def _clear(values: Array, holes: Array, *, nonnegative: bool) -> None:
    """Put 0 where nothing was measured; by means that do not branch, which take a tenth of the time."""
    if nonnegative:
        np.fmax(values, 0, out=values)
    else:
        bits = values.view(np.int64)
        bits &= holes.astype(np.int64) - 1


def join_moments(a: Nodes, b: Nodes, size_a: int, size_b: int) -> Nodes:
    """(sum, squared deviations) of two neighbors, every pixel of them measured.

    With d the difference of the means, deviations grow by d**2 n m / (n + m). Written so that it is the same, to the
    last bit, as `join_measured` where all is measured.
    """
    (sum_a, square_a), (sum_b, square_b) = a, b
    apart = sum_a - sum_b if size_a == size_b else sum_a * (size_b / size_a) - sum_b
    gain = apart * (size_a / (size_b * (size_a + size_b)))
    gain *= apart
    gain += square_a
    gain += square_b
    return [sum_a + sum_b, gain]


def join_measured(a: Nodes, b: Nodes, _a: int, _b: int) -> Nodes:
    """(sum, squared deviations, count) of two neighbors, some pixels of which are missing, perhaps all."""
    (sum_a, square_a, count_a), (sum_b, square_b, count_b) = a, b
    count = count_a + count_b
    apart = sum_a * (count_b / np.maximum(count_a, 1)) - sum_b
    gain = apart * (count_a / np.maximum(count_b * count, 1))
    gain *= apart
    gain += square_a
    gain += square_b
    return [sum_a + sum_b, gain, count]


def join_floats(moments: Join, bounds: Join) -> Join:
    """The last two arrays are bounds, those before them moments."""

    def join(a: Nodes, b: Nodes, size_a: int, size_b: int) -> Nodes:
        return [*moments(a[:-2], b[:-2], size_a, size_b), *bounds(a[-2:], b[-2:], size_a, size_b)]

    return join


def float_moments(known: Known, size: int) -> tuple[Array, Array]:
    """Mean and standard deviation; the latter of values that are not all finite is not a number."""
    count = np.maximum(known.get("count", size), 1)
    mean = known["sum"] / count
    return mean, np.where(np.isfinite(mean), np.sqrt(known["square"] / count), np.nan)
