"""Patch numbers where some patches were dropped: which of the lattice's positions the i-th existing patch is.

::

    exists      # # . # | . # # .       strips: whole images where they are small, else rows of one image
    number      0 1   2 |   3 4
    ends of strips    3 |       5       a number finds its strip in these, its place among the strip's existing patches

Only ends are kept. What exists is read strip by strip and forgotten again, so no array is as long as the number of
patches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import prod
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from patchmill.errors import CorruptChunkError
from patchmill.grid.images import ImageGrids, as_numbers

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_STRIP = 2**18
"""Most positions of a strip, unless a single row of the grid has more: 2 MiB as numbers."""

_KEPT = 32
"""Strips, and images' ends of strips, that are remembered."""


class Numbering(Protocol):
    """What numbers of patches mean; `ImageGrids` is one where every position of an image exists."""

    @property
    def per_image(self) -> Ints:
        """Patches that exist of each image, shape (image,)."""

    def __len__(self) -> int:
        """Patches that exist, over all images."""

    def locate(self, indices: ArrayLike) -> tuple[Ints, Ints]:
        """Which image, shape (n,), and which position of its grid, shape (n, axis), each patch number means."""

    def exists(self, images: slice, *positions: slice) -> Bools:
        """Which positions are there, shape (image, grid_y, grid_x) of the slices asked for."""


@dataclass(frozen=True, eq=False, repr=False)
class KeptPatches:
    """Numbers of the patches that were kept.

    Parameters
    ----------
    grids : ImageGrids
        One grid an image, dropped positions included.
    per_image : Ints
        Existing patches of each image, shape (image,).
    read : callable
        From slices of (image, grid_y, grid_x) to whether a patch exists there.
    """

    grids: ImageGrids
    per_image: Ints
    read: Callable[[tuple[slice, ...]], Bools]

    def __reduce__(self) -> tuple[Any, ...]:
        """Without what was found out by reading, which another process finds out itself."""
        return (KeptPatches, (self.grids, self.per_image, self.read))

    def __len__(self) -> int:
        """Patches that exist, over all images."""
        return int(self._ends[-1]) if len(self._ends) else 0

    def __repr__(self) -> str:
        images = len(self.per_image)
        return f"<KeptPatches: {len(self):,} of {len(self.grids):,} patches of {images:,} image{'s' * (images != 1)}>"

    def exists(self, images: slice, *positions: slice) -> Bools:
        """Which positions are there, shape (image, grid_y, grid_x) of the slices asked for."""
        lengths = (len(self.per_image), *self.grids.canvas.counts)
        wanted = (slice(*side.indices(n)[:2]) for side, n in zip((images, *positions), lengths, strict=True))
        return self.read(tuple(wanted))

    def locate(self, indices: ArrayLike) -> tuple[Ints, Ints]:
        """Which image, and which position of its grid, each patch number means.

        Raises
        ------
        IndexError
            If a number is outside -len to len - 1.
        CorruptChunkError
            If fewer patches exist than the counts say.
        """
        numbers = as_numbers(indices, len(self))
        image, position = np.empty(len(numbers), np.int64), np.empty((len(numbers), self.grids.canvas.ndim), np.int64)
        for members, rank, corner, stop in self._strips(numbers):
            here = self._numbered(corner, stop)
            if rank.max() >= len(here):
                raise CorruptChunkError(
                    f"the catalog counts more patches than exist in images {corner[0]} to {stop[0] - 1}: it was changed"
                )
            shape = [b - a for a, b in zip(corner, stop, strict=True)]
            first, *along = np.unravel_index(here[rank], shape)
            image[members] = first + corner[0]
            for axis, places in enumerate(along):
                position[members, axis] = places + corner[1 + axis]
        return image, position

    # -- strips -----------------------------------------------------------------------------------------------------

    @cached_property
    def _ends(self) -> Ints:
        """Existing patches up to and including each image, shape (image,)."""
        return np.cumsum(self.per_image, dtype=np.int64)

    def _before(self, image: int) -> int:
        return int(self._ends[image - 1]) if image else 0

    def _strips(self, numbers: Ints) -> Iterator[tuple[Ints, Ints, tuple[int, ...], tuple[int, ...]]]:
        """For each strip asked for: which of `numbers` it holds, their ranks in it, its first position, one past it."""
        counts = self.grids.canvas.counts
        together = _STRIP // max(1, prod(counts))
        image = np.searchsorted(self._ends, numbers, side="right")
        for group, members in _grouped(image // max(1, together)):
            if together > 1:
                first = group * together
                stop = (min(first + together, len(self.per_image)), *counts)
                yield members, numbers[members] - self._before(first), (first, *(0 for _ in counts)), stop
                continue
            rank = numbers[members] - self._before(group)
            ends = self._ends_within(group)
            for strip, some in _grouped(np.searchsorted(ends, rank, side="right")):
                corner, stop = self._rows(group, strip)
                yield members[some], rank[some] - (ends[strip - 1] if strip else 0), corner, stop

    def _rows(self, image: int, strip: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """A strip of rows of one image: first position, one past the last."""
        rows, *others = self.grids.canvas.counts
        first = strip * self._rows_of_a_strip
        last = min(first + self._rows_of_a_strip, rows)
        return (image, first, *(0 for _ in others)), (image + 1, last, *others)

    @property
    def _rows_of_a_strip(self) -> int:
        return max(1, _STRIP // max(1, prod(self.grids.canvas.counts[1:])))

    @cached_property
    def _ends_within(self) -> Callable[[int], Ints]:
        """From an image to the existing patches up to and including each of its strips."""

        def ends(image: int) -> Ints:
            strips = -(-self.grids.canvas.counts[0] // self._rows_of_a_strip)
            each = (self._there(*self._rows(image, strip)).sum() for strip in range(strips))
            return np.cumsum(np.fromiter(each, np.int64, strips))

        return lru_cache(_KEPT)(ends)

    @cached_property
    def _numbered(self) -> Callable[[tuple[int, ...], tuple[int, ...]], Ints]:
        """From a strip to the places of its existing patches among all its positions, ascending."""

        def numbered(corner: tuple[int, ...], stop: tuple[int, ...]) -> Ints:
            return np.flatnonzero(self._there(corner, stop))

        return lru_cache(_KEPT)(numbered)

    def _there(self, corner: tuple[int, ...], stop: tuple[int, ...]) -> Bools:
        return self.read(tuple(slice(a, b) for a, b in zip(corner, stop, strict=True)))


def _grouped(keys: NDArray[Any]) -> Iterator[tuple[int, Ints]]:
    """Each distinct key, and where it stands."""
    order = np.argsort(keys, kind="stable")
    distinct, begins = np.unique(keys[order], return_index=True)
    if len(distinct):
        yield from zip(distinct.tolist(), np.split(order, begins[1:]), strict=True)
