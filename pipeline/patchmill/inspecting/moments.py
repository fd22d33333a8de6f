"""Mean and deviation in one pass: of parts by two looks at each, joined by Chan's formula.

::

    n = a.number + b.number,   apart = b.mean - a.mean
    mean    = a.mean + apart * b.number / n
    squares = a.squares + b.squares + apart**2 * a.number * b.number / n

Sums of squares, from which the square of the mean is taken, would lose all digits where values are large and alike.
T. F. Chan, G. H. Golub, R. J. LeVeque, Algorithms for computing the sample variance, The American Statistician 37
(1983), 242-247.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchmill.inspecting.histograms import Value


class Moments(NamedTuple):
    """Of some values, at least one.

    Parameters
    ----------
    number : int
        How many values.
    shift : int
        What `mean` is counted from; 0 for floats. Integers beyond 2**53 are so told apart to the last digit.
    above : float
        Mean, less `shift`.
    squares : float
        Sum of the squares of each value's distance to the mean.
    """

    number: int
    shift: int
    above: float
    squares: float

    @property
    def mean(self) -> float:
        """Sum / number."""
        return self.shift + self.above

    @property
    def std(self) -> float:
        """Deviation of the population: root of `squares` / `number`, as ``numpy.std``."""
        return math.sqrt(self.squares / self.number) if self.squares >= 0 else math.nan


def moments_of(values: NDArray[Any], low: Value) -> Moments:
    """The moments of some integers, or finite float64, at least one; `low` is the least of them."""
    shift = low if isinstance(low, int) else 0
    distances = _distances(values, shift)
    with np.errstate(all="ignore"):  # of floats near the largest, sums are infinite, as NumPy's
        above = float(distances.mean())
        distances -= above
        left = float(distances.sum())  # what rounding has left of it
        squares = float(np.square(distances, out=distances).sum()) - left * left / values.size
        return Moments(values.size, shift, above + left / values.size, 0.0 if squares < 0 else squares)


def joined_moments(one: Moments, other: Moments) -> Moments:
    """The moments of what is in either."""
    number = one.number + other.number
    apart = float(other.shift - one.shift) + (other.above - one.above)
    share = other.number / number
    return Moments(
        number,
        one.shift,
        one.above + apart * share,
        one.squares + other.squares + apart * apart * one.number * share,
    )


def _distances(values: NDArray[Any], shift: int) -> NDArray[np.float64]:
    """A copy of `values`, less `shift`, as float64; of integers of 64 bits rounded once, behind the subtraction."""
    if values.dtype.kind == "f":
        return values.astype(np.float64)
    if values.dtype.itemsize == 8:
        # Modulo 2**64, where the distance to the least value has its place whatever the sign.
        return (values.astype(np.uint64) - np.uint64(shift % 2**64)).astype(np.float64)
    return values.astype(np.float64) - shift
