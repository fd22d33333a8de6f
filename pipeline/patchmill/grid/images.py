"""The grids of many images that share one padded canvas, each cut by its own extent.

Patches are numbered over the positions that exist, row-major over (image, grid_y, grid_x). All is vectorized over
images, and no array is as long as the number of patches.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from patchmill.grid.patchgrid import PatchGrid

Ints = NDArray[np.int64]


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
        return cls(grid, np.broadcast_to(np.asarray(grid.shape, np.int64), (images, grid.ndim)))

    @cached_property
    def counts(self) -> Ints:
        """Positions along each axis, shape (image, axis)."""
        unique, inverse = np.unique(self.sizes, axis=0, return_inverse=True)
        table = np.array([self.canvas.resized(size.tolist()).counts for size in unique], np.int64)
        return table.reshape(-1, self.canvas.ndim)[np.reshape(inverse, -1)]

    @cached_property
    def ends(self) -> Ints:
        """Patches up to and including each image, shape (image,)."""
        return np.cumsum(np.prod(self.counts, axis=1, dtype=np.int64), dtype=np.int64)

    def __len__(self) -> int:
        """Patches that exist, over all images."""
        return int(self.ends[-1]) if len(self.ends) else 0

    @property
    def too_small(self) -> Ints:
        """Numbers of the images that hold no patch, because they are smaller than one."""
        return np.flatnonzero(np.prod(self.counts, axis=1) == 0)

    @property
    def differ(self) -> bool:
        """Whether any image is smaller than the canvas."""
        return bool((self.sizes != np.asarray(self.canvas.shape)).any())

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
        numbers = np.asarray(indices)
        if numbers.size and not np.issubdtype(numbers.dtype, np.integer):
            raise TypeError(f"patch numbers must be integers, got {numbers.dtype}")
        numbers, count = numbers.astype(np.int64).reshape(-1), len(self)
        outside = (numbers < -count) | (numbers >= count)
        if outside.any():
            raise IndexError(f"patch {int(numbers[outside][0])} is outside a set of {count} patches")
        numbers = np.where(numbers < 0, numbers + count, numbers)
        image = np.searchsorted(self.ends, numbers, side="right")
        rest = numbers - np.where(image > 0, self.ends[image - 1], 0)
        position = np.empty((len(numbers), self.canvas.ndim), np.int64)
        for axis in reversed(range(self.canvas.ndim)):
            rest, position[:, axis] = np.divmod(rest, self.counts[image, axis])
        return image, position

    def origins(self, image: Ints, position: Ints) -> Ints:
        """First pixels of the patches at `position` of `image`, shape (n, axis)."""
        origin = position * np.asarray(self.canvas.step, np.int64)
        if self.canvas.edge == "shift":
            origin = np.minimum(origin, self.sizes[image] - np.asarray(self.canvas.span, np.int64))
        return origin

    def exists(self, images: slice, *positions: slice) -> NDArray[np.bool_]:
        """Which positions of the canvas' grid are there, shape (image, grid_y, grid_x) of the slices asked for."""
        counts = self.counts[images]
        here = np.ones((len(counts), *(1 for _ in positions)), bool)
        for axis, wanted in enumerate(positions):
            along = np.arange(*wanted.indices(self.canvas.counts[axis])) < counts[:, axis, None]
            shape = [len(counts), *(1 for _ in positions)]
            shape[axis + 1] = along.shape[1]
            here = here & along.reshape(shape)
        return here
