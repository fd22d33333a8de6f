"""Chunks of one axis as plain integers: where they lie, what they need of their neighbors, which must be merged.

The same words serve both ways: along an axis of pixels that is cut, and along an axis of positions that is put back.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from patchmill.grid import Axis, Halo
from patchmill.patches.views import Padding, source_pixels


@dataclass(frozen=True, slots=True)
class Chunks:
    """Chunks along one axis, small enough to travel with every task: a table only where their sizes differ.

    Attributes
    ----------
    total : int
        Length of the axis.
    size : int
        Of every chunk but a shorter last one; 0 where `starts` tells.
    starts : tuple of int
        Where each begins; empty where all but the last have one size.
    """

    total: int
    size: int
    starts: tuple[int, ...]

    @classmethod
    def of(cls, sizes: Sequence[int]) -> Chunks:
        """From the sizes of all chunks.

        Examples
        --------
        >>> Chunks.of((5, 5, 2))
        Chunks(total=12, size=5, starts=())
        >>> Chunks.of((5, 2, 5))[1]
        (5, 7)
        """
        first, total = sizes[0], sum(sizes)
        if first > 0 and all(size == first for size in sizes[:-1]) and 0 < sizes[-1] <= first:
            return cls(total, first, ())
        return cls(total, 0, tuple(accumulate(sizes[:-1], initial=0)))

    def __getitem__(self, number: int) -> tuple[int, int]:
        """The half-open interval of one chunk."""
        if self.size:
            return number * self.size, min((number + 1) * self.size, self.total)
        following = self.starts[number + 1] if number + 1 < len(self.starts) else self.total
        return self.starts[number], following


def halo_when_cut(axis: Axis, edge: int, padding: Padding) -> Halo:
    """Pixels that cross the chunk boundary at pixel `edge`, to the chunk before it and to the one after it.

    ::

        chunks      | . . . . . . | . . . . . . |
        positions       # # # # #                  belongs to the chunk in which it begins,
                                    # # # # #      so it needs pixels after, never before ...
                                          # # x x  ... unless x, beyond the image, mirrors pixels further inside

    Parameters
    ----------
    edge : int
        First pixel of a chunk that is not the first.
    """
    held = axis.begins_in(0, edge)
    after = max(0, axis.source(0, held.stop)[1] - edge) if held else 0
    if not (padding.looks_back and axis.reach > axis.n and edge <= axis[len(axis) - 1]):
        return Halo(0, after)
    lowest = int(source_pixels(range(axis.n, axis.reach), axis.n, padding.mode).min())
    return Halo(max(0, edge - lowest), after)


def halo_when_put_back(axis: Axis, edge: int) -> Halo:
    """Positions before the chunk boundary at position `edge` that reach over pixels behind it."""
    if not 0 < edge < len(axis):
        return Halo(0, 0)
    origin = axis[edge]
    return Halo(edge - axis.touching(origin, origin + 1).start, 0)


def merged(sizes: Sequence[int], halos: Sequence[Halo]) -> tuple[int, ...]:
    """`sizes` with as few chunks merged as possible, so that each is at least as wide as the widest halo left.

    Fewer boundaries leave smaller halos, so the halo and the sizes are chosen together: for every halo that occurs,
    walk from boundary to boundary that needs no more, and keep the halo that leaves the most chunks.

    Parameters
    ----------
    sizes : sequence of int
        Of the chunks along one axis.
    halos : sequence of Halo
        Of each inner boundary, one less than `sizes`.

    Examples
    --------
    Single rows, patch 4, step 2: every second boundary needs 2 rows, the others 3.

    >>> merged((1,) * 8, [Halo(0, 3), Halo(0, 2)] * 3 + [Halo(0, 3)])
    (2, 2, 2, 2)
    """
    depths = [max(halo) for halo in halos]
    if max(depths, default=0) <= min(sizes):
        return tuple(sizes)
    edges, total = list(accumulate(sizes[:-1])), sum(sizes)
    best: list[int] = []
    for depth in sorted(set(depths)):
        if total < (len(best) + 2) * depth:  # no wider halo can leave more chunks
            break
        found = _walk([edge for edge, needed in zip(edges, depths, strict=True) if needed <= depth], total, depth)
        best = max(best, found, key=len)
    return tuple(b - a for a, b in zip([0, *best], [*best, total], strict=True))


def _walk(edges: Sequence[int], total: int, depth: int) -> list[int]:
    """The most of `edges` that lie at least `depth` from each other and from both ends."""
    taken: list[int] = []
    number = bisect_left(edges, depth)
    while number < len(edges):
        taken.append(edges[number])
        number = max(number + 1, bisect_left(edges, edges[number] + depth))
    while taken and total - taken[-1] < depth:
        taken.pop()
    return taken
