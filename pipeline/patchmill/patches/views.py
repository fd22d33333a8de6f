r"""The NumPy kernel of patchify: strided views of an image, and the image continued where patches reach beyond it.

::

    one row, patch 3, step 2, dilation 2, item of 4 bytes

    bytes       0   4   8  12  16  20  24  28
    pixels      a   b   c   d   e   f   g   h
    patch 0     a       c       e              \  neighbors in a patch: 4 * dilation =  8 bytes apart
    patch 1             c       e       g      /  neighboring patches:  4 * step     =  8 bytes apart

A patch is not copied: it is an address and two distances. Three things force a copy. Padding copies the image, once.
"shift" moves the last patch off the lattice, so three or more positions along an axis have no common distance, and all
patches are copied. NumPy's variable-width strings can't be addressed by strides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchmill.grid import Axis, PatchGrid
from patchmill.types import Edge, PadMode

Array = NDArray[Any]
Run = tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Padding:
    """What continues an image beyond its border.

    `mode` is as in `numpy.pad`; `value` an array without axes, or (channel, 1, 1) where channels have their own.
    """

    mode: PadMode
    value: Array

    @property
    def looks_back(self) -> bool:
        """Whether padded pixels are copies of pixels further inside than the last one."""
        return self.mode in ("reflect", "symmetric")


def padding_that_counts(edge: Edge, mode: PadMode, value: Any) -> tuple[PadMode, Any]:
    """Mode and value; where nothing is padded, or not with a value, those of the default: they must not matter."""
    mode = mode if edge == "pad" else "constant"
    return mode, value if edge == "pad" and mode == "constant" else 0


def cut(
    image: Array, grid: PatchGrid, *, start: Sequence[int], stop: Sequence[int], low: Sequence[int], padding: Padding
) -> Array:
    """Patches at the positions [start, stop) of `grid`.

    Parameters
    ----------
    image : ndarray, shape (..., y, x)
        The part of the image that begins at pixel `low` and holds all that the positions reach over.
    start, stop : sequence of int
        A rectangle of positions, not empty.
    low : sequence of int
        First pixel of `image`, in pixels of the whole.
    padding : Padding
        For patches that reach beyond the whole image.

    Returns
    -------
    ndarray, shape (..., grid_y, grid_x, patch_y, patch_x)
        Read-only; a view where one exists.
    """
    reach = [axis[last - 1] + axis.span for axis, last in zip(grid.axes, stop, strict=True)]
    image = extended(image, grid, low=low, reach=reach, padding=padding)
    if image.dtype.kind == "T":
        return _gathered(image, grid, start, stop, low)
    return _windows(image, grid, start, stop, low)


# -- windows ---------------------------------------------------------------------------------------------------------


def runs(axis: Axis, start: int, stop: int) -> list[Run]:
    """Positions [start, stop) as intervals of evenly spaced ones: two where "shift" moved the last, else one.

    Two positions are evenly spaced whatever their distance.
    """
    if start >= stop:
        return []
    last = len(axis) - 1
    if axis.is_regular or stop <= last or stop - start <= 2:
        return [(start, stop)]
    return [(start, last), (last, stop)]


def distance(axis: Axis, run: Run) -> int:
    """Pixels between neighboring origins of an evenly spaced run."""
    start, stop = run
    return axis[start + 1] - axis[start] if stop - start > 1 else axis.step


def _windows(image: Array, grid: PatchGrid, start: Sequence[int], stop: Sequence[int], low: Sequence[int]) -> Array:
    even = [runs(axis, a, b) for axis, a, b in zip(grid.axes, start, stop, strict=True)]
    if all(len(along) == 1 for along in even):
        return _strided(image, grid, [along[0] for along in even], low)
    counts = tuple(b - a for a, b in zip(start, stop, strict=True))
    out = np.empty(image.shape[: -grid.ndim] + counts + grid.patch_shape, image.dtype)
    within = (slice(None),) * grid.ndim
    for rectangle in product(*even):
        target = (slice(a - first, b - first) for (a, b), first in zip(rectangle, start, strict=True))
        index: tuple[Any, ...] = (..., *target, *within)
        out[index] = _strided(image, grid, rectangle, low)
    out.flags.writeable = False
    return out


def _strided(image: Array, grid: PatchGrid, rectangle: Sequence[Run], low: Sequence[int]) -> Array:
    """The view of evenly spaced positions; all of its bytes lie inside `image`."""
    axes = list(zip(grid.axes, rectangle, strict=True))
    origins: tuple[Any, ...] = (
        ...,
        *(slice(axis[run[0]] - at, None) for (axis, run), at in zip(axes, low, strict=True)),
    )
    image = image[origins]
    lead, pixel = image.strides[: -grid.ndim], image.strides[-grid.ndim :]
    shape = image.shape[: -grid.ndim] + tuple(b - a for a, b in rectangle) + grid.patch_shape
    between = tuple(size * distance(axis, run) for size, (axis, run) in zip(pixel, axes, strict=True))
    inside = tuple(size * axis.dilation for size, axis in zip(pixel, grid.axes, strict=True))
    return np.lib.stride_tricks.as_strided(image, shape, lead + between + inside, writeable=False)


def _gathered(image: Array, grid: PatchGrid, start: Sequence[int], stop: Sequence[int], low: Sequence[int]) -> Array:
    """A copy by pixel numbers, for the one dtype that has no strided views."""
    plane = image.shape[-grid.ndim :]
    numbers = np.arange(prod(plane)).reshape(plane)
    out: Array = image.reshape((*image.shape[: -grid.ndim], -1))[..., _windows(numbers, grid, start, stop, low)]
    out.flags.writeable = False
    return out


# -- padding ---------------------------------------------------------------------------------------------------------


def source_pixels(pixels: range, n: int, mode: PadMode) -> NDArray[np.int64]:
    """Which pixel of an axis of `n` each of `pixels` is a copy of; -1 for the constant.

    ::

        n = 4       inside     beyond
        pixels      0 1 2 3  |  4  5  6  7  8  9
        constant    0 1 2 3  | -1 -1 -1 -1 -1 -1
        edge        0 1 2 3  |  3  3  3  3  3  3
        reflect     0 1 2 3  |  2  1  0  1  2  3      turns on the last pixel: period 2 * (n - 1)
        symmetric   0 1 2 3  |  3  2  1  0  0  1      turns behind it:         period 2 * n

    The law: ``image[source_pixels(range(n + p), n, mode)] == np.pad(image, (0, p), mode)``.
    """
    return folded(np.arange(pixels.start, pixels.stop, pixels.step), n, mode)


def folded(at: NDArray[np.int64], n: int | NDArray[np.int64], mode: PadMode) -> NDArray[np.int64]:
    """The same for pixels in an array, each of an axis of its own length `n`; the two broadcast."""
    if mode == "constant":
        return np.where(at < n, at, -1)
    if mode == "edge":
        return np.minimum(at, np.subtract(n, 1))
    turn = np.subtract(n, 1) if mode == "reflect" else np.asarray(n)
    period = np.maximum(2 * turn, 1)
    within = at % period
    mirrored = (2 * turn if mode == "reflect" else period - 1) - within
    return np.asarray(np.minimum(within, mirrored))


def extended(image: Array, grid: PatchGrid, *, low: Sequence[int], reach: Sequence[int], padding: Padding) -> Array:
    """`image` continued up to pixel `reach` wherever that lies beyond the whole image; itself where nowhere does.

    The axes are continued one after the other, so corners come out as `numpy.pad` makes them.

    Parameters
    ----------
    image : ndarray, shape (..., y, x)
        Begins at pixel `low`; along an axis that is continued it ends at the border of the whole.
    """
    held = image.shape[-grid.ndim :]
    sizes = tuple(
        far - first if far > axis.n else length
        for axis, length, first, far in zip(grid.axes, held, low, reach, strict=True)
    )
    if sizes == held:
        return image
    out = np.empty(image.shape[: -grid.ndim] + sizes, image.dtype)
    inside: tuple[Any, ...] = (..., *map(slice, held))
    out[inside] = image
    for number, axis in enumerate(grid.axes):
        if sizes[number] > held[number]:
            tail: tuple[Any, ...] = (..., slice(held[number], None), *(slice(None),) * (grid.ndim - number - 1))
            if padding.mode == "constant":
                out[tail] = padding.value
            else:
                pixels = source_pixels(range(axis.n, reach[number]), axis.n, padding.mode) - low[number]
                out[tail] = np.take(out, pixels, axis=number - grid.ndim)
    return out
