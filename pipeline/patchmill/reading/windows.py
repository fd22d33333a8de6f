"""Patches read as windows of images: layout "canvas", and views of what is no patch set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from patchmill.grid import Axis, ImageGrids, PatchGrid
from patchmill.patches.views import Padding, cut, folded
from patchmill.planning import looked_back, patch_shapes
from patchmill.reading.clusters import PENDING, Reads, Stored, clustered
from patchmill.sources import Variable
from patchmill.sources.readers import AXES, Turned
from patchmill.storage import TensorStoreArray

Array = NDArray[Any]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

_SMALL = 16 * 2**10
"""Bytes of an image up to which windows are cut from the whole of it."""

_LARGE = 8 * 2**10
"""Bytes of a window from which on NumPy copies it faster by itself than many at once by index arrays."""


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """Windows of an image: nothing is stored twice.

    Parameters
    ----------
    variable : Variable
        Holds the pixels; nothing outside an image's extent is read.
    grids : ImageGrids
        One grid an image.
    padding : Padding
        For windows that reach beyond their image.
    """

    variable: Variable
    grids: ImageGrids
    padding: Padding

    @property
    def together(self) -> tuple[int, ...]:
        """Positions of a shard of stored patches, had these been stored."""
        grid, variable = self.grids.canvas, self.variable
        counts = tuple(max(1, n) for n in grid.counts)
        shard = patch_shapes(None, counts, grid.patch_shape, variable.dtype.itemsize * variable.shape[1], grid.step)
        return shard.shard[: 1 + grid.ndim]

    def batch(self, images: Ints, positions: Ints) -> Array:
        """Patches at `positions` of `images`: (n, channel, y, x)."""
        grid, variable = self.grids.canvas, self.variable
        found = np.empty((len(images), variable.shape[1], *grid.patch_shape), variable.dtype)
        wanted = _Wanted(images, self.grids.origins(images, positions), self.grids.sizes[images])
        if len(images) and self._images_are_small:
            self._from_whole_images(found, wanted)
        elif len(images):
            self._from_boxes(found, wanted)
        return found if variable.has_channel else found[:, 0]

    def rectangle(self, images: slice, start: Sequence[int], stop: Sequence[int], exists: Bools) -> Array:
        """Patches of a rectangle of positions; images of one size that follow each other are read together."""
        variable = self.variable
        shape = (*exists.shape[:1], variable.shape[1], *exists.shape[1:], *self.grids.canvas.patch_shape)
        found = np.zeros(shape, variable.dtype)
        for neighbors in self.grids.intervals(images.start, images.stop):
            grid = self.grids.of(neighbors[0])
            here = [min(b, n) for b, n in zip(stop, grid.counts, strict=True)]
            if all(a < b for a, b in zip(start, here, strict=True)):
                rows, columns = (slice(0, b - a) for a, b in zip(start, here, strict=True))
                inside = slice(*(n - images.start for n in neighbors))
                found[inside, :, rows, columns] = self._cut(grid, slice(*neighbors), start, here)
        if not exists.all():
            image, row, column = np.nonzero(~exists)
            found[image, :, row, column] = 0
        return found if variable.has_channel else found[:, 0]

    def _cut(self, grid: PatchGrid, images: slice, start: Sequence[int], stop: Sequence[int]) -> Array:
        """Patches of images that all have `grid`: (image, channel, grid_y, grid_x, patch_y, patch_x)."""
        y, x = (self._reached(axis, a, b) for axis, a, b in zip(grid.axes, start, stop, strict=True))
        pixels = self.variable.read((images, slice(0, self.variable.shape[1]), y, x))
        return cut(pixels, grid, start=start, stop=stop, low=(y.start, x.start), padding=self.padding)

    def _reached(self, axis: Axis, start: int, stop: int) -> slice:
        """Pixels that positions reach over, and those that reflected padding repeats."""
        low, high = axis.source(start, stop)
        return slice(looked_back(axis, (start, stop), low) if self.padding.looks_back else low, high)

    # -- small images, whole -----------------------------------------------------------------------------------------

    @property
    def _images_are_small(self) -> bool:
        """Whether a whole image is copied as fast as a window; only where no chunk of any image may be missing."""
        images, *lengths = self.variable.shape
        return images > 1 and prod(lengths) * self.variable.dtype.itemsize <= _SMALL and self.grids.runs[-1] == 0

    def _from_whole_images(self, found: Array, wanted: _Wanted) -> None:
        """Windows from one read of all their images, which tensorstore sorts by chunk: up to 4 times as fast."""
        _, channels, height, width = self.variable.shape
        distinct, which = np.unique(wanted.images, return_inverse=True)
        most = PENDING // (channels * height * width * self.variable.dtype.itemsize)
        for first in range(0, len(distinct), most):
            region: Any = (distinct[first : first + most], slice(0, channels), slice(0, height), slice(0, width))
            members = np.flatnonzero((which >= first) & (which < first + most))
            part = _Wanted(which[members] - first, wanted.origins[members], wanted.sizes[members])
            corner = np.zeros(3, np.int64)
            _put(found, members, part, corner, self.variable.read(region), self.grids.canvas, self.padding)

    # -- boxes ----------------------------------------------------------------------------------------------------

    def _from_boxes(self, found: Array, wanted: _Wanted) -> None:
        """Windows from boxes around those that lie close together."""
        grid, reads = self.grids.canvas, self._reads(wanted)
        whole, inside = reads.of_shape((1, *grid.span)).tolist(), wanted.inside(grid)
        dy, dx = grid.dilation
        for read, (members, block) in enumerate(zip(reads.members, self._blocks(reads), strict=True)):
            if whole[read] and inside[members].all():  # the box is the window: nothing to look up
                found[members if len(members) > 1 else members[0]] = block[0, :, ::dy, ::dx]
            else:
                _put(found, members, wanted.within(members), reads.low[read], block, grid, self.padding)

    def _reads(self, wanted: _Wanted) -> Reads:
        """The boxes to read for windows."""
        span = np.asarray(self.grids.canvas.span)
        low, high = wanted.origins, np.minimum(wanted.origins + span, wanted.sizes)
        if self.padding.looks_back:
            beyond = wanted.origins + span - wanted.sizes
            low = np.where(beyond > 0, np.clip(wanted.sizes - 1 - beyond, 0, low), low)
        images, (count, channels, height, width) = wanted.images, self.variable.shape
        image, _, y, x = self.variable.chunks
        return clustered(
            np.column_stack([images, low]),
            np.column_stack([images + 1, high]),
            self.grids.runs[images],
            Stored((count, height, width), (image, y, x), self.variable.dtype.itemsize * channels),
        )

    def _blocks(self, reads: Reads) -> Iterator[Array]:
        """The pixels of each box, shape (image, channel, y, x), in order."""
        channels = slice(0, self.variable.shape[1])
        for batch in reads.batches():
            boxes = zip(reads.low[batch].tolist(), reads.high[batch].tolist(), strict=True)
            sides = [[slice(a, b) for a, b in zip(low, high, strict=True)] for low, high in boxes]
            yield from self.variable.read.many([(image, channels, y, x) for image, y, x in sides])


def canvas_variable(name: str, array: TensorStoreArray, *, has_channel: bool) -> Variable:
    """The pixels of layout "canvas", (image, channel, y, x), as the variable of a source."""
    axes = {axis: at for at, axis in enumerate(axis for axis in AXES if has_channel or axis != "channel")}
    shape, chunks = (
        [lengths[axes[axis]] if axis in axes else 1 for axis in AXES] for lengths in (array.shape, array.chunk)
    )
    return Variable(
        name=name,
        has_channel=has_channel,
        shape=(shape[0], shape[1], shape[2], shape[3]),
        dtype=array.dtype,
        chunks=(chunks[0], chunks[1], chunks[2], chunks[3]),
        read=Turned(array, axes, len(axes)),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Wanted:
    """Windows: their images (n,), origins and sizes of their images (n, 2), in pixels."""

    images: Ints
    origins: Ints
    sizes: Ints

    def within(self, members: Ints | Bools) -> _Wanted:
        """Some of them."""
        return _Wanted(self.images[members], self.origins[members], self.sizes[members])

    def inside(self, grid: PatchGrid) -> Bools:
        """Which lie in their images with all their pixels, shape (n,)."""
        return np.asarray((self.origins + np.asarray(grid.span) <= self.sizes).all(axis=1))


def _put(
    found: Array, members: Ints, wanted: _Wanted, corner: Ints, block: Array, grid: PatchGrid, padding: Padding
) -> None:
    """Cut windows out of the block that holds them: found[members] = block[wanted].

    Parameters
    ----------
    found : ndarray, shape (n, channel, patch_y, patch_x)
    corner : Ints
        (image, y, x) of the block's first pixel.
    block : ndarray, shape (image, channel, y, x)
    """
    inside = wanted.inside(grid)
    if len(members) == 1 or found[0].nbytes >= _LARGE:
        begin = np.column_stack([wanted.images, wanted.origins]) - corner
        within = tuple(zip(grid.span, grid.dilation, strict=True))
        for n, (image, *at) in enumerate(begin.tolist()):
            if inside[n]:
                rows, columns = (slice(a, a + span, step) for a, (span, step) in zip(at, within, strict=True))
                found[members[n]] = block[image, :, rows, columns]
            else:
                found[members[n]] = _padded(wanted.within(np.array([n])), corner, block, grid, padding)[0]
        return
    for some, taken in ((inside, _inside), (~inside, _padded)):
        if some.any():
            found[members[some]] = taken(wanted.within(some), corner, block, grid, padding)


def _inside(wanted: _Wanted, corner: Ints, block: Array, grid: PatchGrid, _: Padding) -> Array:
    """Windows that lie in their images: (n, channel, patch_y, patch_x)."""
    dy, dx = grid.dilation
    windows = sliding_window_view(block, grid.span, axis=(2, 3))[..., ::dy, ::dx]
    y, x = (wanted.origins - corner[1:]).T
    return np.asarray(windows[wanted.images - corner[0], :, y, x])


def _padded(wanted: _Wanted, corner: Ints, block: Array, grid: PatchGrid, padding: Padding) -> Array:
    """Windows that reach beyond their images, gathered pixel by pixel: (n, channel, patch_y, patch_x)."""
    rows, columns = (
        folded(
            wanted.origins[:, at, None] + np.arange(axis.patch) * axis.dilation, wanted.sizes[:, at, None], padding.mode
        )
        for at, axis in enumerate(grid.axes)
    )
    first, blank = wanted.images - corner[0], (rows < 0)[:, :, None] | (columns < 0)[:, None, :]
    rows, columns = np.maximum(rows - corner[1], 0), np.maximum(columns - corner[2], 0)
    if len(first) == 1:  # by rows, then by columns: copies of whole rows are cheaper than pixel by pixel
        values = block[first[0]].take(rows[0], axis=1).take(columns[0], axis=2)[None]
    else:
        values = np.moveaxis(block[first[:, None, None], :, rows[:, :, None], columns[:, None, :]], -1, 1)
    return np.where(blank[:, None], padding.value, values) if padding.mode == "constant" else values
