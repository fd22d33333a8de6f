"""Which windows are read together: from boxes of pixels to fewer, larger boxes, by what reading costs.

::

    +-------+-------+-------+        a cell: some chunks, at least two windows wide
    | [a]   |       | [d]   |        a, b begin in one cell: read once, as the box around both
    |  [b]  |       |       |        d, far from others, is read for itself; so are all where the box would hold
    +-------+-------+-------+        more than they do. What is asked for twice is read once
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isqrt, prod

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

_CALL = 64 * 2**10
"""What one read costs beside its pixels, as bytes that are copied in that time: about 30 microseconds."""

_DECODED = 16 * 2**10
"""What one chunk costs beside its pixels, in the same unit."""

_WORTH = 0.7
"""Share of the cost of windows apart that the box around them may have: windows are copied out of it once more."""

_MOST = 16 * 2**20
"""Bytes of the largest box around several windows."""

_TOGETHER = 256
"""Reads under way at a time: enough to keep every core decoding, few enough that copies stay small."""

PENDING = 64 * 2**20
"""Bytes of the boxes under way at a time, unless one alone has more."""


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """How an array is stored: `shape` and `chunk` as (image, y, x), `pixel` in bytes with all channels."""

    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    pixel: int

    def cell(self, span: Ints) -> Ints:
        """Whole chunks that are two windows wide, and not so small that a read costs more than its bytes."""
        least = isqrt(_CALL // self.pixel)
        sides = [
            -(-max(2 * n, least) // chunk) * chunk for n, chunk in zip(span[1:].tolist(), self.chunk[1:], strict=True)
        ]
        area = prod(min(side, n) for side, n in zip(sides, self.shape[1:], strict=True))
        images = max(1, _CALL // (area * self.pixel * self.chunk[0])) * self.chunk[0]
        return np.array([images, *sides], np.int64)

    def cost(self, low: Ints, high: Ints) -> Ints:
        """What reading each box costs, in bytes. An array whose chunks are single pixels lies in memory."""
        sides, size = np.asarray(self.chunk), prod(self.chunk) * self.pixel
        chunks = (-(-high // sides) - low // sides).prod(axis=1)
        extra = 0 if prod(self.chunk) == 1 else min(_DECODED, 16 * size)
        costs: Ints = _CALL + chunks * (size + extra)
        return costs


@dataclass(frozen=True, slots=True, eq=False)
class Reads:
    """Boxes to read, and what each is for.

    Parameters
    ----------
    low, high : Ints
        Half-open boxes of (image, y, x), shape (read, axis).
    members : list of Ints
        For each box the windows that lie in it.
    size : Ints
        Bytes of each box.
    """

    low: Ints
    high: Ints
    members: list[Ints]
    size: Ints

    def of_shape(self, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        """Which boxes hold exactly `shape` of (image, y, x)."""
        return np.asarray((self.high - self.low == shape).all(axis=1))

    def batches(self) -> Iterator[range]:
        """The reads in order, as many at a time as may be under way together."""
        begin, held = 0, 0
        for at, size in enumerate(self.size.tolist()):
            if at > begin and (held + size > PENDING or at - begin == _TOGETHER):
                yield range(begin, at)
                begin, held = at, 0
            held += size
        if len(self.size):
            yield range(begin, len(self.size))


def clustered(low: Ints, high: Ints, kinds: Ints, stored: Stored) -> Reads:
    """How to read the windows [low, high).

    Parameters
    ----------
    low, high : Ints
        Half-open boxes of (image, y, x), shape (n, axis), at least one.
    kinds : Ints
        Shape (n,); only windows of one kind may share a box.
    stored : Stored
    """
    keys = np.column_stack([kinds, low // stored.cell((high - low).max(axis=0))])
    order = np.lexsort(np.column_stack([keys, low, high]).T[::-1])
    keys, low, high = keys[order], low[order], high[order]
    new_cell = _changes(keys)
    new_window = new_cell | _changes(low) | _changes(high)
    cells = np.flatnonzero(new_cell)
    around = (np.minimum.reduceat(low, cells), np.maximum.reduceat(high, cells))
    apart = np.add.reduceat(np.where(new_window, stored.cost(low, high), 0), cells)
    single = np.add.reduceat(new_window.astype(np.int64), cells) == 1
    worth = stored.cost(*around) <= apart * _WORTH
    joined = single | (worth & (_bytes(*around, stored) <= _MOST))
    begins = np.flatnonzero(new_cell | (new_window & ~joined[np.cumsum(new_cell) - 1]))
    boxes = (np.minimum.reduceat(low, begins), np.maximum.reduceat(high, begins))
    # In the order in which they were asked for: reads that share chunks wait for each other where they are neighbors.
    asked = np.argsort(np.minimum.reduceat(order, begins))
    members = np.split(order, begins[1:])
    low, high = boxes[0][asked], boxes[1][asked]
    return Reads(low, high, [members[read] for read in asked.tolist()], _bytes(low, high, stored))


def _changes(rows: Ints) -> NDArray[np.bool_]:
    """Whether each row differs from the one before it; the first does."""
    return np.concatenate([[True], (rows[1:] != rows[:-1]).any(axis=1)])


def _bytes(low: Ints, high: Ints, stored: Stored) -> Ints:
    size: Ints = (high - low).prod(axis=1) * stored.pixel
    return size
