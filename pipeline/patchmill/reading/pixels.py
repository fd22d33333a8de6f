"""Where a patch set's pixels come from: stored patches, or windows of an image."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from patchmill.grid import ImageGrids
from patchmill.patches.views import Padding, cut
from patchmill.planning import worker_count
from patchmill.sources import Source, Variable
from patchmill.storage import TensorStoreArray

Array = NDArray[Any]
Ints = NDArray[np.int64]

_TOGETHER = 256
"""Reads of one batch: enough to keep every core decoding, few enough that copies stay small."""


class Pixels(Protocol):
    """Reads one variable's patches."""

    def batch(self, images: Ints, positions: Ints) -> Array:
        """Patches at `positions`, shape (n, axis), of `images`, shape (n,): (n, channel, y, x)."""

    def rectangle(self, image: int, start: Sequence[int], stop: Sequence[int]) -> Array:
        """Patches of a rectangle of positions that all exist: (channel, grid_y, grid_x, patch_y, patch_x)."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredPatches:
    """Patches stored in full: (image, channel, grid_y, grid_x, patch_y, patch_x)."""

    array: TensorStoreArray
    has_channel: bool

    def batch(self, images: Ints, positions: Ints) -> Array:
        """Patches at `positions` of `images`: (n, channel, y, x)."""
        channel = (slice(None),) if self.has_channel else ()
        shape = (len(images), *self.array.shape[1 : 1 + self.has_channel], *self.array.shape[-2:])
        found = np.empty(shape, self.array.dtype)
        wanted = np.column_stack([images, positions]).tolist()
        for begin in range(0, len(wanted), _TOGETHER):
            regions = [(image, *channel, *place) for image, *place in wanted[begin : begin + _TOGETHER]]
            for at, patch in enumerate(self.array.read_many(regions), begin):
                found[at] = patch
        return found

    def rectangle(self, image: int, start: Sequence[int], stop: Sequence[int]) -> Array:
        """Patches of a rectangle of positions: (channel, grid_y, grid_x, patch_y, patch_x)."""
        channel = (slice(None),) if self.has_channel else ()
        region = (image, *channel, *(slice(a, b) for a, b in zip(start, stop, strict=True)))
        return self.array.read_many([region])[0]


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """Patches read as windows of an image: nothing is stored twice, nothing is written."""

    source: Source
    variable: Variable
    grids: ImageGrids
    padding: Padding

    def batch(self, images: Ints, positions: Ints) -> Array:
        """Patches at `positions` of `images`: (n, channel, y, x)."""
        channels = (self.variable.shape[1],) if self.variable.has_channel else ()
        found = np.empty((len(images), *channels, *self.grids.canvas.patch_shape), self.variable.dtype)
        wanted = np.column_stack([images, positions]).tolist()

        def put(at: int) -> None:
            image, *place = wanted[at]
            found[at] = self.rectangle(image, place, [n + 1 for n in place])[..., 0, 0, :, :]

        with ThreadPoolExecutor(worker_count(None) * 2) as pool:
            list(pool.map(put, range(len(wanted))))
        return found

    def rectangle(self, image: int, start: Sequence[int], stop: Sequence[int]) -> Array:
        """Patches of a rectangle of positions: (channel, grid_y, grid_x, patch_y, patch_x)."""
        grid = self.grids.of(image)
        y, x = (self._needed(axis, a, b) for axis, a, b in zip(grid.axes, start, stop, strict=True))
        region = (slice(image, image + 1), slice(0, self.variable.shape[1]), y, x)
        pixels = np.asarray(self.variable.read(region), self.variable.dtype)[0]
        patches = cut(pixels, grid, start=start, stop=stop, low=(y.start, x.start), padding=self.padding)
        return patches if self.variable.has_channel else patches[0]

    def _needed(self, axis: Any, start: int, stop: int) -> slice:
        """Pixels that positions reach over, and those that reflected padding repeats."""
        low, high = axis.source(start, stop)
        beyond = axis[stop - 1] + axis.span - axis.n
        if self.padding.looks_back and beyond > 0:
            low = max(0, min(low, axis.n - 1 - beyond))
        return slice(low, high)
