"""Where the boxes of a graph lie, so that few lines cross: layers, an order in each, and places along them.

::

    layer 0      layer 1      layer 2          along: from layer to layer
                 masks ---.                    across: within a layer
    ingest --.            v
              '--------- patchify              a line that passes a layer has a place in it, so that it hits no box

The way of Sugiyama, Tagawa, Toda (1981): each box is one layer behind the last of what it needs; the order in a layer
is that of the average place of a box's neighbors; and the places are those nearest to these averages, by least squares.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

_SWEEPS = 8
"""Forth and back; after that hardly anything moves."""

_PASSING = 0.25
"""Room of a line that passes a layer, beside the room of a box."""

_LIGHT = 0.02
"""What a line weighs where it and a box want the same place."""

Needs = Sequence[Sequence[int]]
"""Of each box, the boxes that come before it: smaller numbers."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Places of boxes and lines.

    Parameters
    ----------
    layer : tuple of int
        Of each box.
    across : tuple of float
        Place of each box's middle within its layer, in rooms of a box; the least edge of all is 0.
    lines : mapping
        From (box, box behind it) to the places, one a layer between them, where the line passes; empty for neighbors.
    extent : float
        Rooms of the widest place, across.
    """

    layer: tuple[int, ...]
    across: tuple[float, ...]
    lines: Mapping[tuple[int, int], tuple[float, ...]]
    extent: float

    @property
    def layers(self) -> int:
        """How many there are."""
        return max(self.layer, default=-1) + 1

    @property
    def widest(self) -> int:
        """Most boxes of a layer."""
        return max((self.layer.count(each) for each in set(self.layer)), default=0)


def layout(needs: Needs) -> Layout:
    """Lay out a graph.

    Examples
    --------
    >>> diamond = layout([[], [0], [0], [1, 2]])
    >>> diamond.layer, diamond.across
    ((0, 1, 1, 2), (1.0, 0.5, 1.5, 1.0))
    """
    layer = _layers(needs)
    graph = _Graph(needs, layer)
    places = graph.places()
    least = min((places[at] - size / 2 for at, size in enumerate(graph.size)), default=0.0)
    most = max((places[at] + size / 2 for at, size in enumerate(graph.size)), default=0.0)
    return Layout(
        tuple(layer),
        tuple(round(places[at] - least, 3) for at in range(len(needs))),
        {ends: tuple(round(places[at] - least, 3) for at in passing) for ends, passing in graph.lines.items()},
        round(most - least, 3),
    )


def without_shortcuts(needs: Needs) -> list[list[int]]:
    """The same graph, without the lines that follow from others.

    Examples
    --------
    >>> without_shortcuts([[], [0], [0, 1]])
    [[], [0], [1]]
    """
    earlier: list[set[int]] = []
    kept = []
    for each in needs:
        beyond = set().union(*(earlier[need] for need in each))
        kept.append([need for need in each if need not in beyond])
        earlier.append(beyond | set(each))
    return kept


def _layers(needs: Needs) -> list[int]:
    layer: list[int] = []
    for each in needs:
        layer.append(max((layer[need] + 1 for need in each), default=0))
    return layer


class _Graph:
    """Boxes, and behind them in number the places where lines pass layers."""

    def __init__(self, needs: Needs, layer: Sequence[int]) -> None:
        self.size = [1.0] * len(needs)
        self.rows: list[list[int]] = [[] for _ in range(max(layer, default=-1) + 1)]
        self.before: list[list[int]] = [[] for _ in needs]
        self.behind: list[list[int]] = [[] for _ in needs]
        self.lines: dict[tuple[int, int], list[int]] = {}
        for box, row in enumerate(layer):
            self.rows[row].append(box)
        for box, each in enumerate(needs):
            for need in each:
                self.lines[need, box] = self._pass(need, box, range(layer[need] + 1, layer[box]))

    def _pass(self, first: int, last: int, rows: range) -> list[int]:
        passing = []
        at = first
        for row in rows:
            passing.append(len(self.size))
            self.size.append(_PASSING)
            self.before.append([])
            self.behind.append([])
            self.rows[row].append(passing[-1])
            self._join(at, passing[-1])
            at = passing[-1]
        self._join(at, last)
        return passing

    def _join(self, first: int, last: int) -> None:
        self.behind[first].append(last)
        self.before[last].append(first)

    def places(self) -> list[float]:
        """The middle of each box and passing place."""
        places = [0.0] * len(self.size)
        for row in self.rows:
            self._place(row, places, [0.0] * len(row))
        for sweep in range(_SWEEPS):
            forth = sweep % 2 == 0
            near = self.before if forth else self.behind
            for row in self.rows if forth else reversed(self.rows):
                wanted = {at: self._amid(at, near[at], places) for at in row}
                row.sort(key=lambda at: wanted[at])  # stable: what is equal keeps its order
                self._place(row, places, [wanted[at] for at in row])
        return places

    def _amid(self, at: int, near: Sequence[int], places: Sequence[float]) -> float:
        """Where a box wants to be: amid its neighbors. Boxes before lines, so that a chain stays straight."""
        boxes = [each for each in near if self.size[each] == 1.0]
        values = [places[each] for each in boxes or near]
        return sum(values) / len(values) if values else places[at]

    def _place(self, row: Sequence[int], places: list[float], wanted: Sequence[float]) -> None:
        """Put a row, in its order, as near to where it is wanted as the room of each allows."""
        ends = [0.0]
        for first, second in pairwise(row):
            ends.append(ends[-1] + (self.size[first] + self.size[second]) / 2)
        weights = [1.0 if self.size[at] == 1.0 else _LIGHT for at in row]
        free = _ascending([want - end for want, end in zip(wanted, ends, strict=True)], weights)
        for at, end, beyond in zip(row, ends, free, strict=True):
            places[at] = end + beyond


def _ascending(values: Sequence[float], weights: Sequence[float]) -> list[float]:
    """The sequence nearest to `values`, by weighted least squares, that never falls: what would is averaged."""
    pools: list[tuple[float, float, int]] = []  # sum of weighted values, of weights, number
    for value, weight in zip(values, weights, strict=True):
        pool = (value * weight, weight, 1)
        while pools and pools[-1][0] / pools[-1][1] > pool[0] / pool[1]:
            before = pools.pop()
            pool = (before[0] + pool[0], before[1] + pool[1], before[2] + pool[2])
        pools.append(pool)
    return [total / weight for total, weight, count in pools for _ in range(count)]
