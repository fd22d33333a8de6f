"""What is refused before anything is decoded: no pixels, pixels that are no numbers, and far too many of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from patchmill.ingesting.scenes import Scene, UnfitError
from patchmill.planning.memory import INTERPRETER
from patchmill.types import shown_bytes, shown_shape

_READERS = 64 * 2**20
"""Resident bytes of the decoders' libraries on top of the interpreter; 45 MiB were measured."""

SMALLEST_MEMORY = 512 * 2**20

_SHARD = 32 * 2**20

_FOLD = 1000
"""How many times larger than its file an image may be, beyond `max_bytes`: deflate ends at 1032."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may be decoded.

    Parameters
    ----------
    max_bytes : int
        In one go.
    memory : int
        That this process may hold.
    """

    max_bytes: int
    memory: int

    @property
    def budget(self) -> int:
        """Bytes for pixels on their way."""
        return self.memory - INTERPRETER - _READERS

    def reason_against(self, scene: Scene) -> str | None:
        """Why a scene can't be taken, None where it can."""
        if 0 in scene.shape:
            return f"holds no pixels, its size is {shown_shape(scene.shape[1:])}"
        if scene.dtype.kind not in "buifc" or scene.dtype.itemsize > (16 if scene.dtype.kind == "c" else 8):
            return (
                f"has pixels of dtype {scene.dtype}, and only booleans, integers, floats and complex numbers are stored"
            )
        largest = scene.piece_nbytes
        if largest > self.max_bytes:
            what = "a block of it" if scene.in_pieces else f"it is {shown_shape(scene.shape[1:])} pixels and"
            return (
                f"is refused before decoding: {what} decodes to {shown_bytes(largest)} in one go, "
                f"and max_bytes is {shown_bytes(self.max_bytes)}: raise it if the file is meant to be so large"
            )
        return None

    def reason_for_memory(self, scenes: Iterable[Scene]) -> str | None:
        """Why scenes that belong together can't be decoded within the memory, None where they can."""
        every = list(scenes)
        pieces = [scene.piece_nbytes + (scene.cost + 2) * _SHARD for scene in every if not scene.is_read_whole]
        needed = sum(scene.whole_cost for scene in every) + max(pieces, default=0)
        if needed <= self.budget:
            return None
        return (
            f"needs about {shown_bytes(needed)} to decode, and memory leaves {shown_bytes(self.budget)}: raise memory"
        )


def refuse_large(path: str, scenes: Sequence[Scene], limits: Limits) -> None:
    """Raise for a small file that would become an enormous image, as damaged or malicious headers say.

    Raises
    ------
    UnfitError
        If all scenes together exceed `max_bytes`, and their file a thousandfold. Zarr stores are folders, which are not
        weighed.
    """
    total = sum(scene.nbytes for scene in scenes)
    if total <= limits.max_bytes or not os.path.isfile(path):
        return
    size = os.path.getsize(path)
    if total > size * _FOLD:
        raise UnfitError(
            f"is refused before decoding: a file of {shown_bytes(size)} would become {shown_bytes(total)}, more than "
            f"{_FOLD} times as much, and max_bytes is {shown_bytes(limits.max_bytes)}: raise it if that is meant"
        )
