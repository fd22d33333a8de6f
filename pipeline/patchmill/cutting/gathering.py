"""From pixels to patches along one axis, shared by patches that overlap.

Two steps. *Cells* are rows of pixels that are reduced in one go; a patch is a whole number of them. *Trees* then join
cells in pairs, pairs in fours and so on::

    patch 7 cells     a b c d e f g          (ab)(cd)(ef) g   ->   (abcd) (ef) g   ->   (abcd) + ((ef) + g)

How long a cell is and what a tree looks like depend on patch, step and dilation alone, and a node lies where its patch
does. So however a block lies, a patch is summed in the same order, and its bytes are the same. Which nodes are computed
once for several patches is a matter of cost only: low in the tree all that lie on a common lattice are, higher up every
patch goes by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from math import gcd
from typing import Any, NamedTuple

from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from patchmill.grid import Axis

Array = NDArray[Any]
Nodes = Sequence[Array]
"""What is known of some nodes: arrays of one shape, (..., node, line)."""

Join = Callable[[Nodes, Nodes, int, int], Nodes]
"""Two neighbors become one: what is known of them, and how many leaves each holds."""

LONGEST = 128
"""Pixels of a cell at most: a cell is summed one after the other, and its pixels are in memory together."""


@dataclass(frozen=True, slots=True)
class Along:
    """Positions [start, stop) of an axis, seen by a tile whose first pixel is `begin`."""

    axis: Axis
    start: int
    stop: int
    begin: int

    def inner(self) -> int:
        """How many of the positions lie on the lattice and wholly inside the image; they come first."""
        axis, stop = self.axis, self.stop
        if not axis.is_regular:
            stop = min(stop, len(axis) - 1)
        whole = max(0, (axis.n - axis.span) // axis.step + 1) if axis.n >= axis.span else 0
        return max(0, min(stop, whole) - self.start)

    def inside(self) -> Array:
        """How many pixels of each position lie inside the image."""
        return self.axis.inside(self.start, self.stop)

    def stretches(self, most: int | None = None) -> Iterator[Stretch]:
        """The positions in stretches that are regular and wholly inside, of `most` at most, or one by one."""
        inner = self.inner()
        parts = 1 if most is None else max(1, -(-inner // most))
        inside = pairwise(at * inner // parts for at in range(parts + 1))
        edges = [*(inside if inner else ()), *((at, at + 1) for at in range(inner, self.stop - self.start))]
        for low, high in edges:
            yield Stretch.of(self.axis, low, high - low, self.axis[self.start + low] - self.begin, self.begin)


class Lattice(NamedTuple):
    """`number` patches of `patch` nodes; `step` nodes between patches, 0 for one; `apart` between the nodes of one."""

    number: int
    patch: int
    step: int
    apart: int


@dataclass(frozen=True, slots=True)
class Stretch:
    """Neighboring positions that are reduced together.

    Parameters
    ----------
    first : int
        Which position is the first, counted from the first of the `Along`.
    pixels : slice
        Pixels of the tile that they hold; between them lie some that no position holds.
    length : int
        How many pixels they need; where the image ends earlier, `pixels` are fewer.
    lattice : Lattice
        Of those pixels.
    cell : int
        Pixels of a cell.
    """

    first: int
    pixels: slice
    length: int
    lattice: Lattice
    cell: int

    @classmethod
    def of(cls, axis: Axis, first: int, count: int, origin: int, begin: int) -> Stretch:
        """`count` positions from `origin`, in the frame of a tile that begins at pixel `begin`."""
        step = axis.step if count > 1 else 0
        every = gcd(step, axis.dilation)
        lattice = Lattice(count, axis.patch, step // every, axis.dilation // every)
        reach = (count - 1) * step + axis.span
        pixels = slice(origin, min(origin + reach, axis.n - begin), every)
        return cls(first, pixels, (reach - 1) // every + 1, lattice, cell_of(axis))

    @classmethod
    def alone(cls, axis: Axis) -> Stretch:
        """One patch of the axis, its pixels side by side."""
        lattice = Lattice(1, axis.patch, 0, 1)
        return cls(0, slice(0, axis.patch), axis.patch, lattice, cell_of(axis))


def cell_of(axis: Axis) -> int:
    """Pixels of a cell: a divisor of the patch, the one that costs least."""
    common = gcd(axis.step, axis.dilation)
    return cheapest(Lattice(2, axis.patch, axis.step // common, axis.dilation // common), LONGEST, 8)[0]


def shared_cell(lattice: Lattice) -> int:
    """Pixels of the longest cell that all patches over it share."""
    common = gcd(lattice.step, lattice.patch) if lattice.apart == 1 else 1
    return max(cell for cell in range(1, LONGEST + 1) if common % cell == 0)


@cache
def cheapest(lattice: Lattice, longest: int, overhead: float) -> tuple[int, float]:
    """The length of cells, a divisor of the patch, that costs least, and its cost.

    To reduce a pixel counts 1, a cell by itself `overhead`. Cells of neighboring patches fall together where the cell
    divides the step; else there are several over each pixel, but no more than there are patches.
    """
    _, patch, step, apart = lattice

    def cost(cell: int) -> float:
        reads = min(cell / gcd(step, cell * apart), patch / step) if step else 1
        return reads * (1 + overhead / cell)

    cells = (cell for cell in range(1, min(patch, longest) + 1) if patch % cell == 0)
    return min(((cell, cost(cell)) for cell in cells), key=lambda pair: (pair[1], -pair[0]))


@dataclass(frozen=True, slots=True)
class Cells:
    """Where the cells of a stretch lie: `groups`, `every` pixels apart, of `several` cells, `each` pixels apart.

    A group is one cell that neighboring patches share, or all cells of one patch. `lattice` is that of the groups, or
    of the cells in a group.
    """

    groups: int
    every: int
    several: int
    each: int
    length: int
    apart: int
    lattice: Lattice

    @classmethod
    def of(cls, lattice: Lattice, length: int) -> Cells:
        """Cells of `length` pixels, shared or not, whichever are fewer."""
        count, patch, step, apart = lattice
        cells, each = patch // length, length * apart
        every = gcd(step, each)
        groups = ((count - 1) * step + (cells - 1) * each) // every + 1
        if groups <= count * cells:
            return cls(groups, every, 1, each, length, apart, Lattice(count, cells, step // every, each // every))
        lattice = Lattice(1, cells, 0, 1) if cells > 1 else Lattice(count, 1, 1, 1)
        return cls(count, step, cells, each, length, apart, lattice)

    @property
    def reach(self) -> int:
        """Pixels that a group reaches over."""
        return (self.several - 1) * self.each + (self.length - 1) * self.apart + 1

    def pixels(self, groups: slice) -> slice:
        """Pixels of some groups."""
        return slice(groups.start * self.every, (groups.stop - 1) * self.every + self.reach)

    def view(self, pixels: Array, axis: int) -> Array:
        """Split an axis, of as many groups as fit: (..., pixel, ...) -> (..., group, cell, pixel, ...)."""
        before, (length, *after) = pixels.shape[:axis], pixels.shape[axis:]
        groups = (length - self.reach) // self.every + 1
        if self.several == 1 and self.apart == 1 and self.every == self.length:  # side by side: a cheaper way to say so
            return pixels.reshape(*before, groups, 1, self.length, *after)
        stride = pixels.strides[axis]
        strides = (*pixels.strides[:axis], self.every * stride, self.each * stride, self.apart * stride)
        shape = (*before, groups, self.several, self.length, *after)
        return as_strided(pixels, shape, (*strides, *pixels.strides[axis + 1 :]), writeable=False)

    def gather(self, nodes: Nodes, join: Join, leaf: int) -> Nodes:
        """(..., group, cell, line) -> (..., position, line)."""
        if self.several == 1:
            return tree([node[..., 0, :] for node in nodes], self.lattice, join, leaf)
        return [node[..., 0, :] for node in tree(nodes, self.lattice, join, leaf)]


def tree(nodes: Nodes, lattice: Lattice, join: Join, leaf: int) -> Nodes:
    """Join the nodes of each patch: (..., node, line) -> (..., position, line).

    Parameters
    ----------
    nodes : sequence of ndarray, shape (..., node, line)
        At the lattice's nodes, all of them.
    lattice : Lattice
    join : callable
    leaf : int
        What a node counts when it is joined.
    """
    count, patch, step, apart = lattice
    sharing = _levels(lattice)
    unit, reach, size = 1, apart, leaf  # between nodes; from one half of a node to the other; of a node
    rest: tuple[Nodes, int] | None = None
    windowed = False
    while patch > 1:
        if count > 1 and sharing == 0:
            nodes = [_windows(node, count, step // unit, patch, reach // unit) for node in nodes]
            rest = rest and ([node[..., None, :] for node in rest[0]], rest[1])
            count, step, unit, reach, windowed = 1, 0, 1, 1, True
        sharing -= 1
        if patch % 2:
            last = _every(nodes, (patch - 1) * reach // unit, count, step // unit)
            rest = (join(last, rest[0], size, rest[1]), size + rest[1]) if rest else (last, size)
        patch //= 2
        wider = gcd(step, 2 * reach)
        many = ((count - 1) * step + (patch - 1) * 2 * reach) // wider + 1
        left, right = (_every(nodes, at, many, wider // unit) for at in (0, reach // unit))
        nodes, unit, reach, size = join(left, right, size, size), wider, 2 * reach, 2 * size
    nodes = _every(nodes, 0, count, step // unit)
    if rest:
        nodes = join(nodes, rest[0], size, rest[1])
    return [node[..., 0, :] for node in nodes] if windowed else nodes


@cache
def _levels(lattice: Lattice) -> int:
    """On how many levels of the tree patches share nodes, so that least is joined."""
    count, patch, step, reach = lattice
    done, costs = 0, [count * (patch - 1)]
    while patch > 1:
        patch, reach = patch // 2, reach * 2
        done += ((count - 1) * step + (patch - 1) * reach) // gcd(step, reach) + 1
        costs.append(done + count * (patch - 1))
    return costs.index(min(costs))


def _every(nodes: Nodes, start: int, count: int, every: int) -> Nodes:
    every = max(every, 1)
    return [node[..., start : start + (count - 1) * every + 1 : every, :] for node in nodes]


def _windows(node: Array, count: int, every: int, patch: int, apart: int) -> Array:
    """(..., node, line) -> (..., position, node of the patch, line)."""
    *outer, along, line = node.strides
    shape = (*node.shape[:-2], count, patch, node.shape[-1])
    return as_strided(node, shape, (*outer, every * along, apart * along, line), writeable=False)


def strips(length: int, cost: int, limit: int) -> list[slice]:
    """[0, length) in equal slices; of those that cost `cost` each, about as many as reach `limit`."""
    number = min(max(-(-length * cost // limit), 1), length)
    edges = [length * at // number for at in range(number + 1)]
    return [slice(low, high) for low, high in pairwise(edges)]
