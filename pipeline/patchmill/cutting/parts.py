"""From a piece's pixels to the regions of a shard that they fill: what every layout keeps of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchmill.cutting.job import Job, Piece, channel_groups
from patchmill.patches.views import Padding, cut
from patchmill.storage import Part

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """One variable of one piece.

    Parameters
    ----------
    values : ndarray, shape (image, channel, y, x)
        Pixels of the piece's source region: changed where each pixel is changed alone, else as the source has them.
    patches : ndarray, shape (image, channel, grid_y, grid_x, patch_y, patch_x), or None
        Where patches are changed as a whole.
    found : mapping
        Statistics, shape (image, channel, grid_y, grid_x).
    """

    values: Array
    patches: Array | None
    found: Mapping[str, Array]


def cut_out(piece: Piece, pixels: Array, padding: Padding) -> Array:
    """The patches of a piece: (image, channel, grid_y, grid_x, patch_y, patch_x)."""
    start, stop = zip(*piece.positions, strict=True)
    low = [low for low, _ in piece.source]
    return cut(pixels, piece.grid, start=start, stop=stop, low=low, padding=padding)


def in_a_row(patches: Array) -> Array:
    """(image, channel, grid_y, grid_x, patch_y, patch_x) as (n, channel, patch_y, patch_x)."""
    moved = np.moveaxis(patches, 1, 3)
    return np.ascontiguousarray(moved).reshape(-1, *moved.shape[3:])


def on_grid(values: Array, shape: tuple[int, ...]) -> Array:
    """The reverse: (n, channel, ...) as (image, channel, grid_y, grid_x, ...)."""
    moved: Array = np.moveaxis(values.reshape(*shape, *values.shape[1:]), len(shape), 1)
    return moved


def finished(job: Job, at: int, piece: Piece, each: Cut, channels: slice) -> Array:
    """Finished patches: (image, channel, grid_y, grid_x, patch_y, patch_x)."""
    if each.patches is not None:
        return each.patches[:, channels]
    padding = job.changes[at].padding
    if padding.value.ndim:
        padding = Padding(padding.mode, padding.value[channels])
    return cut_out(piece, each.values[:, channels], padding)


def all_parts(
    job: Job, at: int, pieces: Sequence[Piece], cuts: Sequence[Cut], kept: Sequence[Array | None]
) -> Iterator[Part]:
    """What pieces put into all objects of a shard rectangle."""
    for channels in channel_groups(job.planned[at]):
        yield from parts_of(job, at, pieces, cuts, kept, channels)


def parts_of(
    job: Job,
    at: int,
    pieces: Sequence[Piece],
    cuts: Sequence[Cut],
    kept: Sequence[Array | None],
    channels: slice,
) -> Iterator[Part]:
    """What pieces put into one object."""
    alone = job.shards.layout == "patches" and not job.planned[at].copied
    for piece, each, mask in zip(pieces, cuts, kept, strict=True):
        yield from _of_piece(job, at, piece, each, mask, channels, alone=alone)


def _of_piece(
    job: Job, at: int, piece: Piece, each: Cut, mask: Array | None, channels: slice, *, alone: bool
) -> Iterator[Part]:
    """What a piece puts into an object: regions of the array, with their values."""
    planned = job.planned[at]
    middle = () if planned.channels is None else (channels,)
    images = slice(*piece.images)
    if job.shards.layout == "canvas":
        y, x = (slice(a - low, b - low) for (a, b), (low, _) in zip(piece.stored, piece.source, strict=True))
        yield (
            (images, *middle, *(slice(*side) for side in piece.stored)),
            _axes(job, at, each.values[:, channels, y, x]),
        )
        return
    if not piece.patches or (mask is not None and not mask.any()):
        return
    patches = finished(job, at, piece, each, channels)
    inside = tuple(slice(0, n) for n in piece.grid.patch_shape)
    if mask is None or mask.all():
        whole = tuple(slice(*side) for side in piece.positions)
        yield (images, *middle, *whole, *inside), _axes(job, at, patches)
    elif alone:
        for image, row, begin, end in _runs(mask):
            at_y, at_x = piece.positions[0][0] + row, piece.positions[1][0]
            place = (slice(images.start + image, images.start + image + 1),)
            grid = (slice(at_y, at_y + 1), slice(at_x + begin, at_x + end))
            values = patches[image : image + 1, :, row : row + 1, begin:end]
            yield (*place, *middle, *grid, *inside), _axes(job, at, values)
    else:
        blank = np.array(patches)
        blank[np.broadcast_to(~mask[:, None, :, :], blank.shape[:4])] = 0
        whole = tuple(slice(*side) for side in piece.positions)
        yield (images, *middle, *whole, *inside), _axes(job, at, blank)


def _runs(mask: Array) -> Iterator[tuple[int, int, int, int]]:
    """Kept positions as runs along rows: image, row, first, end."""
    padded = np.pad(mask.astype(np.int8), ((0, 0), (0, 0), (1, 1)))
    edges = np.diff(padded, axis=2)
    begins, ends = np.argwhere(edges == 1), np.argwhere(edges == -1)
    for (image, row, begin), (_, _, end) in zip(begins.tolist(), ends.tolist(), strict=True):
        yield image, row, begin, end


def _axes(job: Job, at: int, values: Array) -> Array:
    """Without the channel axis, for a variable that has none."""
    return values[:, 0] if job.planned[at].channels is None else values
