"""Old images of a shard that is cut again, since new ones share it: they must be what they were.

A set that an append finds is not read again but for these, so an image that the source changed elsewhere goes unseen.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchmill.errors import MissingChunkError, SourceError
from patchmill.planning import Interval
from patchmill.storage import BulkArray, Part


def refuse_kept_otherwise(
    exists: BulkArray, images: Interval, positions: Sequence[Interval], mask: NDArray[np.bool_], old: int, source: str
) -> None:
    """Compare which patches of images below `old` are to be kept with which are there.

    Parameters
    ----------
    exists : BulkArray, shape (image, grid_y, grid_x)
        Which patches the set holds.
    images, positions
        First and last of the images, and of their positions along each axis.
    mask : ndarray of bool, shape (image, grid_y, grid_x)
        Which of these are to be kept.
    old : int
        Images that the set holds.
    source : str
        For people.

    Raises
    ------
    SourceError
        If an image is another one now.
    """
    first, last = images[0], min(images[1], old)
    held = exists.read((slice(first, last), *(slice(*side) for side in positions))) if first < last else mask[:0]
    for image in np.flatnonzero((held != mask[: len(held)]).any(axis=(1, 2))).tolist():
        raise _changed(first + image, source)


def refuse_changed(
    target: BulkArray, parts: Iterable[Part], old: int, source: str, gone: Collection[int] = frozenset()
) -> None:
    """Compare what is to be written of images below `old` with what is there, image by image.

    Parameters
    ----------
    target : BulkArray
    parts : iterable of Part
        What is to be written into one shard.
    old : int
        Images that the set holds.
    source : str
        For people.
    gone : collection of int
        Images of which there is no patch here, and was none: whether zeros stand for them depends on their neighbors.

    Raises
    ------
    SourceError
        If an image is another one now; nothing of it is written then.
    """
    for region, values in parts:
        first = region[0].start
        for image in range(first, min(region[0].stop, old)):
            place = (slice(image, image + 1), *region[1:])
            if image not in gone and not _is_there(target, place, values[image - first : image - first + 1]):
                raise _changed(image, source)


def _changed(image: int, source: str) -> SourceError:
    return SourceError(
        f"images that a set holds stay as they were, and image {image} of {source} has changed since it was cut: "
        'put it back, or cut the set anew with mode="overwrite"'
    )


def _is_there(target: BulkArray, place: tuple[slice, ...], values: NDArray[Any]) -> bool:
    try:
        stored = target.read(place)
    except MissingChunkError:  # it was dropped
        return False
    return stored.tobytes() == np.ascontiguousarray(values, stored.dtype).tobytes()
