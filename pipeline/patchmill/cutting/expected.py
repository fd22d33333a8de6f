"""What must be in a committed group: which objects each array has, and which chunks are in a shard.

::

    images of two sizes on one canvas, cut into shards        what must be there

    +----+----+----+      +----+----+----+                    1 1 1      1 1 .
    | a  |    |    |      | b  |    | no |                    1 1 1      . . .
    +----+----+----+      +----+----+----+
    |    |    |    |      | no | no | no |
    +----+----+----+      +----+----+----+

Nothing here is as long as the number of shards.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from patchmill.errors import PatchmillError
from patchmill.grid import ImageGrids
from patchmill.reading.opening import stored_grids
from patchmill.storage import StoredGroup
from patchmill.storage.checking import ObjectFormat

Flags = NDArray[np.bool_]
Index = tuple[int, ...]
"""Which object of an array: one number an axis."""

CATALOG_CACHE = 16 * 2**20
"""Decoded chunks of the catalog that are kept: neighboring shards ask for the same ones."""


class Expected(Protocol):
    """What one array must hold."""

    @property
    def form(self) -> ObjectFormat:
        """How the array is cut into objects."""

    def __len__(self) -> int:
        """Number of objects; where images share shards, at most."""

    def __iter__(self) -> Iterator[Index]:
        """Objects that must be there."""

    def __contains__(self, index: object) -> bool:
        """Whether an object must be there; none but these may."""

    def chunks(self, index: Index) -> Flags | None:
        """Which chunks of an object must be there, row-major; None where that can't be told."""


@dataclass(frozen=True, slots=True, eq=False)
class Everything:
    """Catalog, coordinates and labels: every chunk is stored."""

    form: ObjectFormat

    def __len__(self) -> int:
        return prod(self.form.counts)

    def __iter__(self) -> Iterator[Index]:
        return product(*map(range, self.form.counts))

    def __contains__(self, index: object) -> bool:
        return isinstance(index, tuple) and len(index) == len(self.form.counts)

    def chunks(self, index: Index) -> Flags | None:  # noqa: ARG002
        """All of them: an object is a chunk."""
        return None


@dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """Images, or patches, each with an extent of its own: (image, [channel,] y, x, ...).

    Parameters
    ----------
    form : ObjectFormat
    extents : ndarray, shape (image, 2)
        How far each image reaches: pixels, or positions of its grid.
    channels : bool
        Whether there is a channel axis.
    kept : Kept or None
        Which patches were kept, in layout "patches"; None where pixels are stored whatever the catalog says.
    """

    form: ObjectFormat
    extents: NDArray[np.int64]
    channels: bool
    kept: Kept | None = None

    def __len__(self) -> int:
        together = self.form.unit[0]
        most = np.maximum.reduceat(self.extents, range(0, len(self.extents), together), axis=0)
        rectangles = np.prod(-(-most // np.asarray(self._sides(self.form.unit))), axis=1)
        return int(rectangles.sum()) * (self.form.counts[1] if self.channels else 1)

    def __iter__(self) -> Iterator[Index]:
        counts = self.form.counts
        channel = [range(counts[1])] if self.channels else []
        for image in range(counts[0]):
            reach = self._images(image).max(axis=0, initial=0)
            along = (range(-(-int(n) // size)) for n, size in zip(reach, self._sides(self.form.unit), strict=True))
            for index in product([image], *channel, *along, *([0] for _ in self._tail(counts))):
                if index in self:
                    yield index

    def __contains__(self, index: object) -> bool:
        if not isinstance(index, tuple) or any(self._tail(index)):
            return False
        corner = np.asarray(self._sides(index)) * self._sides(self.form.unit)
        return bool((self._images(index[0]) > corner).all(axis=1).any())

    def chunks(self, index: Index) -> Flags | None:
        """Those that a patch or a pixel of an image lies in, unless all its patches were dropped."""
        here = self._stored(index) if self.kept is None else self.kept.stored(self, index)
        if here is None:
            return None
        inside = self.form.inside
        channel = (self._channels(index),) if self.channels else ()
        whole = np.ones([len(each) for each in channel], bool)
        # (image, y, x) beside (channel,): both broadcast to (image, channel, y, x).
        shape = (here.shape[0], *(1 for _ in channel), *here.shape[1:])
        found = np.broadcast_to(here.reshape(shape), (here.shape[0], *whole.shape, *here.shape[1:])).copy()
        for flags in channel:
            found &= flags[:, None, None]
        return found.reshape(prod(inside))

    def _stored(self, index: Index) -> Flags:
        """Chunks, (image, y, x), that an image reaches into."""
        first = np.asarray(self._sides(index)) * self._sides(self.form.unit)
        sides = zip(first, self.inside, self._sides(self.form.chunk), strict=True)
        corners = [a + np.arange(n) * size for a, n, size in sides]
        reach = self._images(index[0])
        ys, xs = (reach[:, axis, None] > corners[axis] for axis in (0, 1))
        flags: Flags = ys[:, :, None] & xs[:, None, :]
        return self.in_chunks(flags)

    def in_chunks(self, flags: Flags) -> Flags:
        """(image, y, x) of the images of a shard as that of its chunks, which may hold several images each."""
        together, size = self.form.chunk[0], self.form.unit[0]
        padded = np.zeros((size, *flags.shape[1:]), bool)
        padded[: len(flags)] = flags
        return np.asarray(padded.reshape(size // together, together, *flags.shape[1:]).any(axis=1))

    @property
    def inside(self) -> tuple[int, int]:
        """Chunks of a shard along y and x."""
        y, x = self._sides(self.form.inside)
        return y, x

    def _images(self, index: int) -> NDArray[np.int64]:
        together = self.form.unit[0]
        return self.extents[index * together : (index + 1) * together]

    def _channels(self, index: Index) -> Flags:
        first = index[1] * self.form.unit[1]
        return first + np.arange(self.form.inside[1]) * self.form.chunk[1] < self.form.shape[1]

    def _sides(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """Those of y and x, of numbers one an axis."""
        return values[1 + self.channels : 3 + self.channels]

    def _tail(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        return values[3 + self.channels :]


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """Which patches a set in layout "patches" holds.

    Parameters
    ----------
    grids : ImageGrids
    exists : BulkArray or None
        The catalog's; None where no patch was dropped, so that it follows from the grids.
    """

    grids: ImageGrids
    exists: Any

    def stored(self, pixels: Pixels, index: Index) -> Flags | None:
        """Chunks, (image, y, x), of a shard that were written.

        Where a chunk is one patch, those that were kept. Where patches share one, all of a run of images of one size
        were written if any patch of the run was kept.
        """
        form, channels = pixels.form, pixels.channels
        region = form.region(index)
        images, (rows, columns) = region[0], region[1 + channels : 3 + channels]
        flags = self._flags(images, rows, columns)
        if flags is None:
            return None
        height, width = form.chunk[1 + channels : 3 + channels]
        if (form.chunk[0], height, width) != (1, 1, 1):
            flags = self._by_runs(flags, images, rows, columns)
        down, across = pixels.inside
        padded = np.zeros((len(flags), down * height, across * width), bool)
        padded[:, : flags.shape[1], : flags.shape[2]] = flags
        return pixels.in_chunks(np.asarray(padded.reshape(len(flags), down, height, across, width).any(axis=(2, 4))))

    def _flags(self, *region: tuple[int, int]) -> Flags | None:
        sides = tuple(slice(*side) for side in region)
        if self.exists is None:
            return self.grids.exists(*sides)
        try:
            flags: Flags = self.exists.read(sides)
        except PatchmillError:  # the catalog is damaged, which is said where it is checked
            return None
        return flags

    def _by_runs(self, kept: Flags, images: tuple[int, int], *sides: tuple[int, int]) -> Flags:
        there = self.grids.exists(slice(*images), *(slice(*side) for side in sides))
        for a, b in self.grids.intervals(*images):
            inside = slice(a - images[0], b - images[0])
            there[inside] &= bool(kept[inside].any())
        return there


# -- of a group --------------------------------------------------------------------------------------------------------


def expected_of(group: StoredGroup) -> dict[str, Expected | None]:
    """What each array of a group must hold; None where what says so is damaged itself.

    Coordinates and catalog come first, since what pixels must be there follows from them.
    """
    names = pixel_names(group)
    found: dict[str, Expected | None] = {
        name: Everything(ObjectFormat.of(metadata)) for name, metadata in group.arrays.items() if name not in names
    }
    if not names:
        return found
    try:
        extents = _extents(group, names)
    except PatchmillError:
        return found | dict.fromkeys(names)
    found.update({name: _pixels(group, name, extents) for name in names})
    return found


def pixel_names(group: StoredGroup) -> list[str]:
    """The arrays of pixels; a record of files has none."""
    if group.own["kind"] != "patches":
        return list(group.own.get("variables", ()))
    return [each["array"] for each in group.own["source"]["variables"].values()]


def _extents(group: StoredGroup, names: list[str]) -> NDArray[np.int64] | ImageGrids:
    if group.own["kind"] == "patches":
        return stored_grids(group)
    if "height" in group.arrays:
        return np.stack([group.values("height"), group.values("width")], axis=1).astype(np.int64)
    shape = group.arrays[names[0]]["shape"]
    return np.tile(np.asarray(shape[-2:], np.int64), (shape[0], 1))


def _pixels(group: StoredGroup, name: str, extents: NDArray[np.int64] | ImageGrids) -> Pixels:
    form = ObjectFormat.of(group.arrays[name])
    if not isinstance(extents, ImageGrids):
        return Pixels(form, extents, len(form.shape) == 4)
    if group.own["layout"] == "canvas":
        return Pixels(form, np.asarray(extents.sizes), len(form.shape) == 4)
    dropped = "dropped" in group.arrays
    exists = group.bulk("exists", cache_bytes=CATALOG_CACHE) if dropped else None
    return Pixels(form, extents.counts, len(form.shape) == 6, Kept(extents, exists))
