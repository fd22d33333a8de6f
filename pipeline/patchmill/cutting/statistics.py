"""What is in each patch: share of valid values, mean, standard deviation, least and greatest, by channel.

Overlapping patches share most of their pixels, so nothing is summed twice that need not be. One axis at a time, pixels
are first gathered into cells as wide as the greatest common divisor of step and patch, then cells into patches::

    patch 6, step 4      cells of 2      a a b b c c d d e e
                                         |- patch 0-|
                                                 |- patch 1-|

Every sum runs in an order that depends on the grid alone, so no block size can change a byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchmill.grid import Axis

FIELDS = ("valid", "mean", "std", "min", "max")


@dataclass(frozen=True, slots=True)
class Along:
    """Positions [start, stop) of an axis, seen by a tile whose first pixel is `begin`."""

    axis: Axis
    start: int
    stop: int
    begin: int

    def origins(self) -> list[int]:
        """First pixels in the tile's own frame."""
        return [self.axis[position] - self.begin for position in range(self.start, self.stop)]

    def inner(self) -> int:
        """How many of the positions lie on the lattice and wholly inside the image; they come first."""
        axis, stop = self.axis, self.stop
        if not axis.is_regular:
            stop = min(stop, len(axis) - 1)
        whole = max(0, (axis.n - axis.span) // axis.step + 1) if axis.n >= axis.span else 0
        return max(0, min(stop, whole) - self.start)


def patch_statistics(tile: NDArray[Any], along: Sequence[Along], nodata: Any) -> dict[str, NDArray[np.float64]]:
    """Statistics of patches.

    Parameters
    ----------
    tile : ndarray, shape (image, channel, y, x)
        Pixels of the image that the patches reach over; it may go on beyond them.
    along : sequence of Along
        The positions, one an axis: y, x.
    nodata : number or None
        Value that stands for "nothing measured"; NaN is always taken for that.

    Returns
    -------
    dict of ndarray, shape (image, channel, grid_y, grid_x)
        ``valid`` is the share of the patch's values inside the image and measured; the others are over those values,
        NaN where there is none. For complex numbers there is ``valid`` only, since they have no order.
    """
    size = along[0].axis.patch * along[1].axis.patch
    measured = _measured(tile, nodata)
    if measured is None:
        inside = [_gather(np.ones((side.axis.n - side.begin, 1)), np.add, side, np.float64)[:, 0] for side in along]
        count = np.multiply.outer(inside[0], inside[1])
        count = np.broadcast_to(count, (*tile.shape[:2], *count.shape))
    else:
        count = _over(measured.view(np.uint8), np.add, along, np.int64).astype(np.float64)
    found = {"valid": count / size}
    if tile.dtype.kind == "c":
        return found
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        mean, std = _moments(tile, measured, along, count)
    least, greatest = _bounds(tile, measured, along)
    empty = count == 0
    return found | {
        name: np.where(empty, np.nan, values.astype(np.float64))
        for name, values in (("mean", mean), ("std", std), ("min", least), ("max", greatest))
    }


def _measured(tile: NDArray[Any], nodata: Any) -> NDArray[np.bool_] | None:
    """Which values count; None where all do."""
    floating = tile.dtype.kind in "fc"
    absent = np.isnan(tile) if floating else None
    if nodata is not None and nodata == nodata:  # a NaN is found above
        same = tile == nodata
        absent = same if absent is None else absent | same
    return None if absent is None or not absent.any() else ~absent


def _moments(
    tile: NDArray[Any], measured: NDArray[np.bool_] | None, along: Sequence[Along], count: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    values = tile.view(np.uint8) if tile.dtype == bool else tile
    if measured is not None:
        values = np.where(measured, values, values.dtype.type(0))
    exact = values.dtype.kind in "ui" and values.dtype.itemsize <= 2  # squares and their sums fit 64 bits
    if exact:
        wide: Any = np.uint32 if values.dtype.kind == "u" else np.int32
        squares = np.multiply(values, values, dtype=wide)
    else:
        values = values.astype(np.float64)
        squares = values * values
    kind = np.int64 if exact else np.float64
    mean = _over(values, np.add, along, kind) / count
    square = _over(squares, np.add, along, kind) / count
    return mean, np.sqrt(np.maximum(square - mean * mean, 0))


def _bounds(
    tile: NDArray[Any], measured: NDArray[np.bool_] | None, along: Sequence[Along]
) -> tuple[NDArray[Any], NDArray[Any]]:
    values = tile.view(np.uint8) if tile.dtype == bool else tile
    low = high = values
    if measured is not None:
        info: Any = np.finfo(values.dtype) if values.dtype.kind == "f" else np.iinfo(values.dtype)
        low, high = (np.where(measured, values, values.dtype.type(other)) for other in (info.max, info.min))
    kind = values.dtype
    return _over(low, np.minimum, along, kind), _over(high, np.maximum, along, kind)


def _over(values: NDArray[Any], combine: Any, along: Sequence[Along], kind: Any) -> NDArray[Any]:
    """`combine` over the pixels of each patch: (..., y, x) -> (..., grid_y, grid_x)."""
    rows = _gather(values, combine, along[0], kind)
    turned = np.ascontiguousarray(np.swapaxes(rows, -1, -2))
    return np.swapaxes(_gather(turned, combine, along[1], kind), -1, -2)


def _gather(values: NDArray[Any], combine: Any, side: Along, kind: Any) -> NDArray[Any]:
    """`combine` along axis -2 over the pixels of each position: (..., n, m) -> (..., positions, m)."""
    axis, inner, origins = side.axis, side.inner(), side.origins()
    shape = (*values.shape[:-2], len(origins), values.shape[-1])
    result = np.empty(shape, kind)
    if inner:
        result[..., :inner, :] = _lattice(values[..., origins[0] :, :], combine, axis, inner, kind)
    for at in range(inner, len(origins)):
        stop = min(origins[at] + axis.span, axis.n - side.begin)
        pixels = values[..., origins[at] : stop : axis.dilation, :]
        result[..., at, :] = combine.reduce(pixels, axis=-2, dtype=kind)
    return result


def _lattice(values: NDArray[Any], combine: Any, axis: Axis, count: int, kind: Any) -> NDArray[Any]:
    width = gcd(axis.step, axis.patch) if axis.dilation == 1 else 1
    if width > 1:
        cells = ((count - 1) * axis.step + axis.patch) // width
        parts = values[..., : cells * width, :].reshape(*values.shape[:-2], cells, width, values.shape[-1])
        values = combine.reduce(parts, axis=-2, dtype=kind)
    step, apart = axis.step // width, axis.dilation
    reach = (count - 1) * step + 1
    result = values[..., :reach:step, :].astype(kind)
    for k in range(1, axis.patch // width):
        combine(result, values[..., k * apart : k * apart + reach : step, :], out=result)
    return result
