"""Orientation: the eight ways in which EXIF and TIFF say that the stored rows are not the rows to look at.

::

    1 as stored       2 x flipped     3 both flipped                4 y flipped
    5 transposed      6 the same, then x flipped (a quarter turn)   7 then both   8 then y
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

ORIENTATIONS = range(1, 9)


def turned_size(orientation: int, height: int, width: int) -> tuple[int, int]:
    """(height, width) to look at, from those stored."""
    return (width, height) if orientation >= 5 else (height, width)


def turned(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Pixels to look at, a view of those stored; y and x are the last two axes.

    Examples
    --------
    >>> turned(np.array([[1, 2], [3, 4]]), 6)
    array([[3, 1],
           [4, 2]])
    """
    flip_y, flip_x = _flips(orientation)
    if orientation >= 5:
        pixels = np.swapaxes(pixels, -2, -1)
    return pixels[..., :: -1 if flip_y else 1, :: -1 if flip_x else 1]


def stored_window(orientation: int, height: int, width: int, ys: slice, xs: slice) -> tuple[slice, slice]:
    """Where the window (`ys`, `xs`) of the image to look at lies in the stored one.

    Parameters
    ----------
    orientation : int
    height, width : int
        Of the image to look at, in pixels.
    ys, xs : slice
        Half-open intervals.
    """
    flip_y, flip_x = _flips(orientation)
    rows = slice(height - ys.stop, height - ys.start) if flip_y else ys
    columns = slice(width - xs.stop, width - xs.start) if flip_x else xs
    return (columns, rows) if orientation >= 5 else (rows, columns)


def _flips(orientation: int) -> tuple[bool, bool]:
    return orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
