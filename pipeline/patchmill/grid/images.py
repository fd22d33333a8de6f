"""The grids of many images that share one padded canvas, each cut by its own extent.

Patches are numbered over the positions that exist, row-major over (image, grid_y, grid_x). All is vectorized over
images, and no array is as long as the number of patches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from patchmill.grid.axis import Axis
from patchmill.grid.patchgrid import PatchGrid

Ints = NDArray[np.int64]


def as_numbers(indices: ArrayLike, count: int) -> Ints:
    """Patch numbers from 0 to `count` - 1, shape (n,); negative ones count from the end.

    Raises
    ------
    IndexError
        If a number is outside -count to count - 1.
    TypeError
        If they are not integers.
    """
    if isinstance(indices, slice):
        raise TypeError(f"patch numbers must be integers, got {_shown(indices)}: give {as_range(indices, count)}")
    numbers = np.asarray(indices)
    if numbers.dtype == object and numbers.size and all(isinstance(number, int) for number in numbers.flat):
        raise IndexError(f"patch {max(numbers.flat, key=abs)} is outside a set of {count} patches")
    if numbers.size and not np.issubdtype(numbers.dtype, np.integer):
        way = ": of a mask they are numpy.flatnonzero(mask)" if numbers.dtype == bool else ""
        raise TypeError(f"patch numbers must be integers, got {numbers.dtype}{way}")
    numbers = numbers.reshape(-1)
    outside = (numbers < -count) | (numbers >= count)
    if outside.any():
        raise IndexError(f"patch {int(numbers[outside][0])} is outside a set of {count} patches")
    numbers = numbers.astype(np.int64)
    return np.where(numbers < 0, numbers + count, numbers)


def as_range(numbers: slice, count: int) -> str:
    """What a slice of `count` patches is as a range, for errors: ``"range(0, 3)"``."""
    try:
        return repr(range(*numbers.indices(count)))
    except TypeError:  # bounds that are no integers
        return "a range, such as range(0, 3)"


def _shown(numbers: slice) -> str:
    return f"slice({numbers.start}, {numbers.stop})" if numbers.step is None else repr(numbers)


def alike(row: Sequence[int], images: int) -> Ints:
    """`row` for each of `images`, shape (image, axis), held once."""
    return np.broadcast_to(np.asarray(row, np.int64), (images, len(row)))


def _alike_again(canvas: PatchGrid, row: list[int], images: int) -> ImageGrids:
    return ImageGrids(canvas, alike(row, images))


@dataclass(frozen=True, eq=False)
class ImageGrids:
    """One grid an image.

    Parameters
    ----------
    canvas : PatchGrid
        The grid over the shared canvas, as large as the largest image.
    sizes : Ints
        Extent of each image in pixels, shape (image, axis).
    """

    canvas: PatchGrid
    sizes: Ints

    @classmethod
    def uniform(cls, grid: PatchGrid, images: int) -> ImageGrids:
        """`images` images, each as large as the canvas."""
        return cls(grid, alike(grid.shape, images))

    def __reduce__(self) -> tuple[Any, ...]:
        if self._alike:
            return (_alike_again, (self.canvas, self.sizes[0].tolist(), len(self.sizes)))
        return (ImageGrids, (self.canvas, self.sizes))

    @cached_property
    def counts(self) -> Ints:
        """Positions along each axis, shape (image, axis)."""
        if self._alike:
            return alike(self.of(0).counts, len(self.sizes))
        return np.stack([self._along(at, lambda _, axis: len(axis)) for at in range(self.canvas.ndim)], axis=1)

    def total(self, measure: Callable[[int, Axis], int]) -> int:
        """Sum over all images of the product, over the axes of each, of what `measure` finds of an axis.

        It is given the number of the axis and the axis itself, and asked once for each length that there is: few, even
        where hardly two images have one size.
        """
        if self._alike:
            return prod(measure(at, axis) for at, axis in enumerate(self.of(0).axes)) * len(self.sizes)
        return int(np.sum(prod(self._along(at, measure) for at in range(self.canvas.ndim))))

    def _along(self, at: int, measure: Callable[[int, Axis], int]) -> Ints:
        """What `measure` finds of an axis of each image, shape (image,)."""
        lengths, which = np.unique(self.sizes[:, at], return_inverse=True)
        return np.array([measure(at, replace(self.canvas.axes[at], n=n)) for n in lengths.tolist()], np.int64)[which]

    @property
    def per_image(self) -> Ints:
        """Patches of each image, shape (image,)."""
        return np.asarray(np.prod(self.counts, axis=1, dtype=np.int64))

    @cached_property
    def ends(self) -> Ints:
        """Patches up to and including each image, shape (image,)."""
        return np.cumsum(self.per_image, dtype=np.int64)

    def __len__(self) -> int:
        """Patches that exist, over all images."""
        if self._alike:
            return len(self.of(0)) * len(self.sizes)
        return int(self.ends[-1]) if len(self.ends) else 0

    @property
    def pixels(self) -> int:
        """Pixels of all images, each by its own extent."""
        return self.total(lambda _, axis: axis.n)

    @cached_property
    def uncovered(self) -> int:
        """Pixels of all images that lie in no patch; ``sum(grid.uncovered for each image's grid)``, but much faster."""
        return self.pixels - self.total(lambda _, axis: axis.covered)

    @property
    def too_small(self) -> Ints:
        """Numbers of the images that hold no patch, because they are smaller than one."""
        if self._alike and len(self.of(0)):
            return np.empty(0, np.int64)
        return np.flatnonzero(np.prod(self.counts, axis=1) == 0)

    @cached_property
    def differ(self) -> bool:
        """Whether any image is smaller than the canvas."""
        if self._alike:
            return tuple(self.sizes[0].tolist()) != self.canvas.shape
        return bool((self.sizes != np.asarray(self.canvas.shape)).any())

    @property
    def _alike(self) -> bool:
        """Whether all images share one row of `sizes`, so that nothing need be counted image by image."""
        return len(self.sizes) > 0 and self.sizes.strides[0] == 0

    @cached_property
    def runs(self) -> Ints:
        """Which run of neighbors of one size each image belongs to, shape (image,)."""
        changes = (self.sizes[1:] != self.sizes[:-1]).any(axis=1)
        return np.concatenate([np.zeros(min(1, len(self.sizes)), np.int64), np.cumsum(changes)])

    def intervals(self, first: int = 0, stop: int | None = None) -> Iterator[tuple[int, int]]:
        """Neighbors of one size among the images from `first` up to `stop`, as half-open intervals."""
        sizes = self.sizes[first:stop]
        changes = np.flatnonzero((sizes[1:] != sizes[:-1]).any(axis=1)) + 1
        edges = [0, *changes.tolist(), len(sizes)] if len(sizes) else []
        return ((first + a, first + b) for a, b in pairwise(edges))

    def of(self, image: int) -> PatchGrid:
        """The grid of one image."""
        return self.canvas.resized(self.sizes[image].tolist())

    def locate(self, indices: ArrayLike) -> tuple[Ints, Ints]:
        """Which image, and which position of its grid, each patch number means.

        Parameters
        ----------
        indices : array_like of int
            Patch numbers, shape (n,), negative ones from the end.

        Returns
        -------
        image, position : Ints
            Shapes (n,) and (n, axis).

        Raises
        ------
        IndexError
            If a number is outside -len to len - 1.
        """
        numbers = as_numbers(indices, len(self))
        image, rest = self._image_of(numbers)
        position = np.empty((len(numbers), self.canvas.ndim), np.int64)
        for axis in reversed(range(self.canvas.ndim)):
            rest, position[:, axis] = np.divmod(rest, self.counts[image, axis])
        return image, position

    def _image_of(self, numbers: Ints) -> tuple[Ints, Ints]:
        """Image of each patch number, and its number among that image's own."""
        if self._alike:
            image, rest = np.divmod(numbers, max(1, len(self.of(0))))
            return image, rest
        image = np.searchsorted(self.ends, numbers, side="right")
        return image, numbers - np.where(image > 0, self.ends[image - 1], 0)

    def origins(self, image: Ints, position: Ints) -> Ints:
        """First pixels of the patches at `position` of `image`, shape (n, axis)."""
        origin = position * np.asarray(self.canvas.step, np.int64)
        if self.canvas.edge == "shift":
            origin = np.minimum(origin, self.sizes[image] - np.asarray(self.canvas.span, np.int64))
        return origin

    def exists(self, images: slice, *positions: slice) -> NDArray[np.bool_]:
        """Which positions of the canvas' grid are there, shape (image, grid_y, grid_x) of the slices asked for."""
        counts = every = self.counts[images]
        if (every == every[:1]).all():
            counts = every[:1]  # what is there in one is in all
        here = np.ones((len(counts), *(1 for _ in positions)), bool)
        for axis, wanted in enumerate(positions):
            along = np.arange(*wanted.indices(self.canvas.counts[axis])) < counts[:, axis, None]
            shape = [len(counts), *(1 for _ in positions)]
            shape[axis + 1] = along.shape[1]
            here = here & along.reshape(shape)
        return here if len(here) == len(every) else np.repeat(here, len(every), axis=0)
