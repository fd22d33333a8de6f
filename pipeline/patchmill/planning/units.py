"""Units of storage along one axis: what one shard holds, and which pixels of the image it takes to fill it.

::

    layout "patches", 3 positions a shard (step 2, span 4)      layout "canvas", 6 pixels a shard

    positions  0 1 2 | 3 4 5 | 6                                pixels     0..5 | 6..11 | 12..n
    source    [0      10)                                       source    [0        9)   own pixels, and those that
                     [6     16)                                            [6        15) patches beginning there need

A patch belongs to the unit that stores it, or in layout "canvas" to the one that its first pixel lies in; so each
position has one owner, whatever the layout, and statistics are computed by it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from patchmill.grid import Axis

Interval = tuple[int, int]
"""Half-open interval."""


class Units(Protocol):
    """The shards of one image along one axis."""

    @property
    def axis(self) -> Axis:
        """The positions along it."""

    @property
    def size(self) -> int:
        """Positions, or pixels, of a shard."""

    def __hash__(self) -> int:
        """Of the axis and the size: what a walk over units found out is remembered by these."""

    def __len__(self) -> int:
        """How many there are."""

    def stored(self, unit: int) -> Interval:
        """What the array holds of it, in positions or in pixels."""

    def positions(self, unit: int) -> Interval:
        """Grid positions that it owns; may be empty."""

    def source(self, unit: int) -> Interval:
        """Pixels of the image that it takes, without those that reflected padding repeats."""

    def begins(self, unit: int) -> int:
        """First pixel of its own: where the tiles of neighboring units meet."""


@dataclass(frozen=True, slots=True)
class PositionUnits:
    """Layout "patches": `size` positions a shard."""

    axis: Axis
    size: int

    def __len__(self) -> int:
        return (len(self.axis) + self.size - 1) // self.size

    def stored(self, unit: int) -> Interval:
        """Positions."""
        return self.positions(unit)

    def positions(self, unit: int) -> Interval:
        """The same: every position is stored where it lies."""
        return unit * self.size, min((unit + 1) * self.size, len(self.axis))

    def source(self, unit: int) -> Interval:
        """All that its patches reach over."""
        return self.axis.source(*self.positions(unit))

    def begins(self, unit: int) -> int:
        """The first origin on the lattice."""
        return unit * self.size * self.axis.step


@dataclass(frozen=True, slots=True)
class PixelUnits:
    """Layout "canvas": `size` pixels a shard.

    Parameters
    ----------
    axis : Axis
    size : int
        Pixels.
    whole : bool
        Whether patches are looked at, for statistics or to decide which to keep: then a unit takes all that the patches
        beginning in it reach over.
    """

    axis: Axis
    size: int
    whole: bool

    def __len__(self) -> int:
        return (self.axis.n + self.size - 1) // self.size

    def stored(self, unit: int) -> Interval:
        """Pixels."""
        return unit * self.size, min((unit + 1) * self.size, self.axis.n)

    def positions(self, unit: int) -> Interval:
        """Those that begin in its pixels."""
        found = self.axis.begins_in(*self.stored(unit))
        return found.start, found.stop

    def source(self, unit: int) -> Interval:
        """Its own pixels, and where patches are looked at what those reach over that begin here."""
        low, high = self.stored(unit)
        start, stop = self.positions(unit)
        return (low, max(high, self.axis.source(start, stop)[1])) if self.whole and start < stop else (low, high)

    def begins(self, unit: int) -> int:
        """Its first pixel."""
        return unit * self.size


def looked_back(axis: Axis, positions: Interval, low: int) -> int:
    """The first pixel to read, where patches are continued by reflection: what they repeat lies before the border."""
    start, stop = positions
    beyond = axis[stop - 1] + axis.span - axis.n if start < stop else 0
    return max(0, min(low, axis.n - 1 - beyond)) if beyond > 0 else low
