"""Loops over pixels, compiled. To import this loads Numba, and the first call for a dtype compiles: see `compiled`.

Pixels come as the stretch of memory that they lie in, `flat`, since a loop over what is known to lie side by side is
vectorized. No operation is left to the compiler's choice of order, so results are NumPy's to the last bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.lib.stride_tricks import as_strided

from patchmill.cutting.gathering import Array, Cells


def exact_cells(pixels: Array, nodata: Any, down: Cells, across: Cells) -> dict[str, Array]:
    """Whole numbers of up to 16 bits, reduced to cells along y and x at once.

    Parameters
    ----------
    pixels : ndarray of an integer dtype, shape (plane, y, x)
    nodata : number or None
    down, across : Cells
        Along y and x.

    Returns
    -------
    dict of ndarray, shape (plane, group y, cell y, group x * cell x)
        ``sum`` and ``square``, int64, ``low`` and ``high``; and ``count`` where not every pixel counts.
    """
    flat, strides = _flat(pixels)
    rows, columns = _numbers(down, pixels.shape[1]), _numbers(across, pixels.shape[2])
    shape = (len(pixels), rows[0], down.several, columns[0] * across.several)
    low, high = np.empty(shape, pixels.dtype), np.empty(shape, pixels.dtype)
    total, square = np.empty(shape, np.int64), np.empty(shape, np.int64)
    known = {"low": low, "high": high, "sum": total, "square": square}
    absent = _as_pixels(nodata, pixels.dtype)
    if absent is None or not absent.size:
        _exact(flat, strides, rows, columns, low, high, total, square)
        return known
    count = np.empty(shape, np.int64)
    info = np.iinfo(pixels.dtype)
    bounds = np.asarray([info.max, info.min, absent[0]], pixels.dtype)
    _exact_but(flat, strides, rows, columns, bounds, low, high, total, square, count)
    everything = bool((count == down.length * across.length).all())
    return known if everything else known | {"count": count}


def float_cells(pixels: Array, nodata: Any, down: Cells) -> dict[str, Array] | None:
    """Sums and squared deviations of each cell along y, as `cells.float_cells` has them.

    Parameters
    ----------
    pixels : ndarray, shape (plane, y, x)
    nodata : number or None
    down : Cells

    Returns
    -------
    dict of ndarray, shape (plane, group, cell, x); or None for pixels that these kernels do not take
    """
    absent = _as_pixels(nodata, pixels.dtype)
    if absent is None or pixels.dtype == np.float16:  # Numba has no half precision
        return None
    flat, strides = _flat(pixels)
    numbers = _numbers(down, pixels.shape[1])
    shape = (len(pixels), numbers[0], down.several, pixels.shape[2])
    low, high, total, square = (np.empty(shape, np.float64) for _ in range(4))
    count = np.empty(shape, np.int64)
    known = {"low": low, "high": high, "sum": total, "square": square}
    every = _floats(flat, strides, numbers, absent, low, high, total, square, count)
    return known if every else known | {"count": count}


def _flat(pixels: Array) -> tuple[Array, tuple[int, int]]:
    """The memory from the first pixel to the last, and how many pixels apart planes and rows are."""
    size = pixels.itemsize
    if pixels.strides[2] != size or any(stride < 0 or stride % size for stride in pixels.strides):
        pixels = np.ascontiguousarray(pixels)
    planes, rows = (stride // size for stride in pixels.strides[:2])
    reach = (pixels.shape[0] - 1) * planes + (pixels.shape[1] - 1) * rows + pixels.shape[2]
    return as_strided(pixels, (reach,), (size,), writeable=False), (planes, rows)


def _as_pixels(nodata: Any, dtype: np.dtype[Any]) -> Array | None:
    """`nodata` as a pixel holds it; empty where none can, None where that is a matter of rounding."""
    nothing = np.empty(0, dtype)
    if nodata is None or nodata != nodata:
        return nothing
    if dtype.kind in "ui":
        info = np.iinfo(dtype)
        return np.full(1, int(nodata), dtype) if info.min <= nodata <= info.max and nodata == int(nodata) else nothing
    rounded = np.asarray([nodata]).astype(dtype)
    return rounded if rounded[0] == float(nodata) else None


def _numbers(cells: Cells, length: int) -> tuple[int, int, int, int, int, int]:
    """A cell's numbers, of as many groups as fit."""
    return (length - cells.reach) // cells.every + 1, cells.every, cells.several, cells.each, cells.length, cells.apart


def _exact(flat: Any, strides: Any, down: Any, across: Any, low: Any, high: Any, total: Any, square: Any) -> None:
    groups, every, several, each, length, apart = down
    for plane in range(low.shape[0]):
        for group in range(groups):
            for cell in range(several):
                begin, at = plane * strides[0] + (group * every + cell * each) * strides[1], (plane, group, cell)
                total[at][:] = 0
                square[at][:] = 0
                for row in range(length):  # whole rows: memory is read from front to back
                    first = begin + row * apart * strides[1]
                    _exact_row(flat, first, row == 0, across, low[at], high[at], total[at], square[at])


def _exact_row(flat: Any, first: Any, fresh: Any, across: Any, low: Any, high: Any, total: Any, square: Any) -> None:
    _, every, several, each, length, _ = across
    for line in range(low.shape[0]):
        begin = first + line // several * every + line % several * each
        run = flat[begin : begin + length]
        least, most = (run[0], run[0]) if fresh else (low[line], high[line])
        part, squares = np.int32(0), np.int64(0)  # of at most 2**13 values of 16 bits
        for pixel in range(length):
            value = run[pixel]
            least, most = min(least, value), max(most, value)
            part += np.int32(value)
            squares += np.int64(value) * np.int64(value)
        low[line], high[line] = least, most
        total[line] += np.int64(part)
        square[line] += squares


def _exact_but(
    flat: Any, strides: Any, down: Any, across: Any, bounds: Any, low: Any, high: Any, total: Any, square: Any,
    count: Any,
) -> None:  # fmt: skip
    groups, every, several, each, length, apart = down
    for plane in range(low.shape[0]):
        for group in range(groups):
            for cell in range(several):
                begin, at = plane * strides[0] + (group * every + cell * each) * strides[1], (plane, group, cell)
                low[at][:], high[at][:] = bounds[0], bounds[1]
                total[at][:], square[at][:], count[at][:] = 0, 0, 0
                for row in range(length):
                    first = begin + row * apart * strides[1]
                    _exact_row_but(flat, first, across, bounds, low[at], high[at], total[at], square[at], count[at])


def _exact_row_but(
    flat: Any, first: Any, across: Any, bounds: Any, low: Any, high: Any, total: Any, square: Any, count: Any
) -> None:
    _, every, several, each, length, _ = across
    farthest, nearest, absent = bounds[0], bounds[1], bounds[2]
    for line in range(low.shape[0]):
        begin = first + line // several * every + line % several * each
        run = flat[begin : begin + length]
        least, most = low[line], high[line]
        part, many, squares = np.int32(0), np.int32(0), np.int64(0)
        for pixel in range(length):
            value = run[pixel]
            missing = value == absent
            least = min(least, farthest if missing else value)
            most = max(most, nearest if missing else value)
            many += np.int32(0) if missing else np.int32(1)
            counted = np.int32(0) if missing else np.int32(value)
            part += counted
            squares += np.int64(counted) * np.int64(counted)
        low[line], high[line] = least, most
        total[line] += np.int64(part)
        square[line] += squares
        count[line] += np.int64(many)


def _floats(
    flat: Any, strides: Any, down: Any, absent: Any, low: Any, high: Any, total: Any, square: Any, count: Any
) -> Any:
    groups, every, several, each, length, apart = down
    width = low.shape[3]
    everything, some = True, absent.size > 0
    for plane in range(low.shape[0]):
        for group in range(groups):
            for cell in range(several):
                begin = plane * strides[0] + (group * every + cell * each) * strides[1]
                rows = (begin, apart * strides[1], length, width)
                at = (plane, group, cell)
                count[at][:] = length
                if (some and _any_is(flat, rows, absent[0])) or not _moments(
                    flat, rows, low[at], high[at], total[at], square[at]
                ):
                    _moments_but(flat, rows, absent, low[at], high[at], total[at], square[at], count[at])
                    for x in range(width):
                        everything &= count[at][x] == length
    return everything


def _any_is(flat: Any, rows: Any, absent: Any) -> Any:
    begin, stride, length, width = rows
    found = 0
    for row in range(length):
        run = flat[begin + row * stride : begin + row * stride + width]
        for x in range(width):
            found |= run[x] == absent
    return found != 0


def _moments(flat: Any, rows: Any, low: Any, high: Any, total: Any, square: Any) -> Any:
    """Fill in; false where a sum is not a number, then bounds and sums are without meaning."""
    begin, stride, length, width = rows
    lows = flat[begin : begin + width].copy()
    highs = lows.copy()
    for row in range(1, length):
        run = flat[begin + row * stride : begin + row * stride + width]
        for x in range(width):
            lows[x] = run[x] if run[x] < lows[x] else lows[x]  # noqa: FURB136 - one instruction; min minds NaN
            highs[x] = run[x] if run[x] > highs[x] else highs[x]  # noqa: FURB136
    least = np.empty(width, np.float64)
    for x in range(width):
        low[x], high[x] = lows[x], highs[x]
        total[x] = square[x] = 0.0
        least[x] = low[x] if length > 1 and abs(low[x]) < 1e150 else 0.0  # else differences may overflow
    for row in range(0, length - 3, 4):  # sums are fetched and put back once for four rows, in the same order
        at = begin + row * stride
        run, second = flat[at : at + width], flat[at + stride : at + stride + width]
        third, fourth = flat[at + 2 * stride : at + 2 * stride + width], flat[at + 3 * stride : at + 3 * stride + width]
        for x in range(width):
            a, b = np.float64(run[x]) - least[x], np.float64(second[x]) - least[x]
            c, d = np.float64(third[x]) - least[x], np.float64(fourth[x]) - least[x]
            total[x] = (((total[x] + a) + b) + c) + d
            square[x] = (((square[x] + a * a) + b * b) + c * c) + d * d
    for row in range(length // 4 * 4, length):
        run = flat[begin + row * stride : begin + row * stride + width]
        for x in range(width):
            value = np.float64(run[x]) - least[x]
            total[x] += value
            square[x] += value * value
    finite = True
    for x in range(width):
        finite &= total[x] == total[x]
        _deviate(total, square, x, least[x], length, length)
    return finite


def _moments_but(flat: Any, rows: Any, absent: Any, low: Any, high: Any, total: Any, square: Any, count: Any) -> None:
    """The same of what is neither NaN nor `absent`."""
    begin, stride, length, width = rows
    some = absent.size > 0
    lost = absent[0] if some else flat[begin]
    low[:], high[:], total[:], square[:], count[:] = np.inf, -np.inf, 0.0, 0.0, 0
    for row in range(length):
        run = flat[begin + row * stride : begin + row * stride + width]
        for x in range(width):
            value = np.float64(run[x])
            measured = value == value and not (some and run[x] == lost)
            low[x] = value if measured and value < low[x] else low[x]
            high[x] = value if measured and value > high[x] else high[x]
            count[x] += 1 if measured else 0
    least = np.empty(width, np.float64)
    for x in range(width):
        if count[x] == 0:
            low[x] = high[x] = np.nan
        least[x] = low[x] if length > 1 and abs(low[x]) < 1e150 else 0.0
    for row in range(length):
        run = flat[begin + row * stride : begin + row * stride + width]
        for x in range(width):
            value = np.float64(run[x])
            measured = value == value and not (some and run[x] == lost)
            above = value - least[x] if measured else 0.0
            total[x] += above
            square[x] += above * above
    for x in range(width):
        _deviate(total, square, x, least[x], count[x], length)


def _deviate(total: Any, square: Any, x: Any, least: Any, count: Any, length: Any) -> None:
    """From sums of what is above the least value to the sum and the squared deviations."""
    if length == 1:
        square[x] = 0.0
        return
    rest = square[x] - total[x] * total[x] / max(count, 1)
    square[x] = 0.0 if rest < 0.0 else rest  # noqa: FURB136 - a NaN stays one
    total[x] = total[x] + least * count


def _compile(function: Any) -> Any:
    try:
        return njit(function, nogil=True, error_model="numpy", cache=True)
    except RuntimeError:  # nowhere to keep it: compiled in each process again
        return njit(function, nogil=True, error_model="numpy")


_any_is, _deviate = _compile(_any_is), _compile(_deviate)
_moments, _moments_but = _compile(_moments), _compile(_moments_but)
_exact_row, _exact_row_but = _compile(_exact_row), _compile(_exact_row_but)
_exact, _exact_but, _floats = _compile(_exact), _compile(_exact_but), _compile(_floats)
