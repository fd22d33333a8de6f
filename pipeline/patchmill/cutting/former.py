"""Old images of a shard that is cut again, since new ones share it: they must be what they were.

A set that an append finds is not read again but for these, so an image that the source changed elsewhere goes unseen.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchmill.errors import MissingChunkError, SourceError
from patchmill.storage import BulkArray, Part


def refuse_changed(target: BulkArray, parts: Iterable[Part], old: int, source: str) -> None:
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

    Raises
    ------
    SourceError
        If an image is another one now; nothing of it is written then.
    """
    for region, values in parts:
        first = region[0].start
        for image in range(first, min(region[0].stop, old)):
            place = (slice(image, image + 1), *region[1:])
            if not _is_there(target, place, values[image - first : image - first + 1]):
                raise SourceError(
                    f"images that a set holds stay as they were, and image {image} of {source} has changed since it "
                    'was cut: put it back, or cut the set anew with mode="overwrite"'
                )


def _is_there(target: BulkArray, place: tuple[slice, ...], values: NDArray[Any]) -> bool:
    try:
        stored = target.read(place)
    except MissingChunkError:  # it was dropped
        return False
    return stored.tobytes() == np.ascontiguousarray(values, stored.dtype).tobytes()
