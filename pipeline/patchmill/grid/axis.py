"""One axis of a grid. An n-dimensional grid is a tuple of these, so no loop is written twice for y and x.

::

    n = 11 pixels, patch 4, step 3, dilation 1, so span 4

    pixel       0 1 2 3 4 5 6 7 8 9 10
    position 0  # # # #
    position 1        # # # #
    position 2              # # # #            "drop" ends here: pixel 10 is left out
    position 3                    # #  . .     "pad": begins inside, two pixels are filled
    position 3                  # # # #        "shift": moved back to end at the border

Intervals are half-open. Two frames occur: *pixels* of the image, and *positions* of the grid.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import gcd
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchmill.types import Edge


class Halo(NamedTuple):
    """Pixels that a block needs beyond its own, on either side."""

    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Axis:
    """Positions of patches along one axis of `n` pixels.

    Parameters
    ----------
    n : int
        Length of the image along this axis, in pixels; 0 is allowed and has no positions.
    patch : int
        Pixels of one patch, at least 1.
    step : int
        Pixels between neighboring origins, at least 1.
    dilation : int
        Pixels between neighboring pixels of one patch, at least 1.
    edge : {"drop", "pad", "shift"}
        What happens where the last patch does not fit.
    """

    n: int
    patch: int
    step: int
    dilation: int
    edge: Edge

    @property
    def span(self) -> int:
        """Pixels that a patch reaches over."""
        return (self.patch - 1) * self.dilation + 1

    def __len__(self) -> int:
        """Number of positions, the same as ``len(list(self))`` but in closed form."""
        if self.edge == "pad":
            return min(_ceil(max(self.n - self.span, 0), self.step) + 1, _ceil(self.n, self.step))
        if self.n < self.span:
            return 0
        if self.edge == "shift":
            return _ceil(self.n - self.span, self.step) + 1
        return (self.n - self.span) // self.step + 1

    def __getitem__(self, position: int) -> int:
        """Origin of `position` (0 <= position < len), in pixels."""
        if not 0 <= position < len(self):
            raise IndexError(f"position {position} is outside an axis of {len(self)} positions")
        return self._origin(position)

    def __iter__(self) -> Iterator[int]:
        return (self._origin(position) for position in range(len(self)))

    def _origin(self, position: int) -> int:
        origin = position * self.step
        return min(origin, self.n - self.span) if self.edge == "shift" else origin

    def origins(self, start: int, stop: int) -> NDArray[np.int64]:
        """Origins of the positions [start, stop), in pixels."""
        origins = np.arange(start, stop, dtype=np.int64) * self.step
        return np.minimum(origins, self.n - self.span) if self.edge == "shift" else origins

    def inside(self, start: int, stop: int) -> NDArray[np.int64]:
        """How many pixels of the positions [start, stop) lie inside the image: `patch`, unless they are padded."""
        return np.minimum((self.n - self.origins(start, stop) - 1) // self.dilation + 1, self.patch)

    def pixels(self, position: int) -> slice:
        """The pixels of `position` inside the image: ``image[axis.pixels(i)]`` is patch i, cut off at the border."""
        origin = self[position]
        return slice(origin, min(origin + self.span, self.n), self.dilation)

    @property
    def reach(self) -> int:
        """One past the last pixel that a patch reaches over; more than `n` where patches are padded."""
        return self._origin(len(self) - 1) + self.span if len(self) else 0

    @property
    def is_regular(self) -> bool:
        """Whether every origin is a multiple of step; only "shift" may move the last one."""
        return len(self) == 0 or self._origin(len(self) - 1) == (len(self) - 1) * self.step

    @property
    def overlaps(self) -> bool:
        """Whether any pixel of the image belongs to two positions."""
        count = len(self)
        held = (
            _lattice_points(count, self.patch, self.step, self.dilation, self.n)
            if self.is_regular
            else count * self.patch
        )
        return self.covered < held

    # -- regions ----------------------------------------------------------------------------------------------------

    def source(self, start: int, stop: int) -> tuple[int, int]:
        """Pixels that positions [start, stop) reach over inside the image: a half-open interval, empty for none."""
        if start >= stop:
            return (0, 0)
        return (self[start], min(self[stop - 1] + self.span, self.n))

    def touching(self, start: int, stop: int) -> range:
        """Positions that reach over any of the pixels [start, stop).

        The same as ``[i for i, o in enumerate(axis) if o < stop and o + span > start]`` for an interval clipped to
        the image. Between the pixels of a dilated patch lie some that it reaches over and does not hold; `locate`
        tells which positions hold a pixel.
        """
        start, stop = max(start, 0), min(stop, self.n)
        count = len(self)
        if start >= stop or count == 0:
            return range(0)
        first = max(0, (start - self.span) // self.step + 1)
        last = min(count, _ceil(stop, self.step))
        if self.edge == "shift":
            first, last = min(first, count), min(last, count - 1)
            if self._origin(count - 1) < stop:  # the moved position reaches to the border, so only its origin decides
                first, last = min(first, count - 1), count
        return range(first, max(first, last))

    def locate(self, pixel: int) -> list[int]:
        """Positions that hold `pixel`, ascending.

        Position i holds p where p - i * step is one of 0, d, ..., (patch - 1) * d: a congruence, solved without a
        search, so the cost is that of the answer.
        """
        if not 0 <= pixel < self.n or len(self) == 0:
            return []
        count, last = len(self), len(self) - 1
        lattice = count if self.is_regular else last
        found = list(self._solve(pixel, lattice))
        if lattice == last:
            offset = pixel - self._origin(last)
            if 0 <= offset < self.span and offset % self.dilation == 0:
                found.append(last)
        return found

    def begins_in(self, start: int, stop: int) -> range:
        """Positions whose origins lie in the pixels [start, stop)."""
        lattice = len(self) if self.is_regular else len(self) - 1
        first, last = (min(_ceil(max(pixel, 0), self.step), lattice) for pixel in (start, stop))
        if lattice < len(self) and start <= self._origin(lattice) < stop:
            last = len(self)
        return range(first, max(first, last))

    def halo(self) -> Halo:
        """What blocks that begin at multiples of step need of their neighbors.

        Patches of a block reach ``span - step`` beyond the next block's first origin; a position that "shift" moved
        back begins up to ``step - 1`` before its block.
        """
        return Halo(before=0 if self.is_regular else self.step - 1, after=max(self.span - self.step, 0))

    # -- coverage ---------------------------------------------------------------------------------------------------

    @property
    def covered(self) -> int:
        """Number of pixels that at least one position holds, the same as counting them."""
        count = len(self)
        if count == 0:
            return 0
        if self.is_regular:
            return self._covered_by_lattice(count, self.n)
        lattice, moved = count - 1, self._origin(count - 1)
        own = range(moved, moved + self.span, self.dilation)
        return self._covered_by_lattice(lattice, self.n) + sum(not self._solve(pixel, lattice) for pixel in own)

    def _covered_by_lattice(self, count: int, limit: int) -> int:
        """Distinct values below `limit` among i * step + k * dilation, i < count, k < patch.

        Two pairs (i, k) name one pixel exactly if they differ by a multiple of (d/g, -step/g), g = gcd(step, d).
        The pairs of one pixel form a chain of such differences, so pixels = pairs - links of chains.
        """
        common = gcd(self.step, self.dilation)
        skip, back = self.dilation // common, self.step // common
        pairs = _lattice_points(count, self.patch, self.step, self.dilation, limit)
        links = _lattice_points(count - skip, self.patch - back, self.step, self.dilation, limit - back * self.dilation)
        return pairs - links

    def _solve(self, pixel: int, count: int) -> range:
        """All i < count with pixel - i * step in {0, d, ..., (patch - 1) * d}: an arithmetic progression."""
        first = max(0, _ceil(pixel - self.span + 1, self.step))
        stop = min(count, pixel // self.step + 1)
        common = gcd(self.step, self.dilation)
        if pixel % common:
            return range(0)
        period = self.dilation // common
        start = pixel // common * pow(self.step // common, -1, period) % period if period > 1 else 0
        return range(first + (start - first) % period, max(stop, 0), period)


def _ceil(a: int, b: int) -> int:
    return -(-a // b)


def _lattice_points(count: int, patch: int, step: int, dilation: int, limit: int) -> int:
    """Pairs (i, k), 0 <= i < count, 0 <= k < patch, with i * step + k * dilation < limit."""
    if count <= 0 or patch <= 0:
        return 0
    if (count - 1) * step + (patch - 1) * dilation < limit:
        return count * patch
    begun = min(patch, _ceil(max(limit, 0), dilation))  # pixels of the first patch below `limit`: later ones add none
    return sum(min(count, _ceil(limit - k * dilation, step)) for k in range(begun))
