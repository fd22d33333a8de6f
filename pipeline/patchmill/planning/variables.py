"""A variable of the source, and the array of the patch set that it becomes."""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import prod

import numpy as np

from patchmill.planning.shapes import Shapes


@dataclass(frozen=True, slots=True)
class Part:
    """What a plan needs to know of one variable.

    Parameters
    ----------
    name : str
        The source's name for it.
    dtype, source_dtype : str
        As stored, and as read.
    channels : int or None
        None for a variable without channels.
    source_chunk : tuple of int
        How the source is stored: (image, channel, y, x).
    missing : bool
        Whether it may hold values that stand for "nothing measured".
    changed, transformed : bool
        Whether values are changed pixel by pixel; or patches as a whole.
    """

    name: str
    dtype: str
    source_dtype: str
    channels: int | None
    source_chunk: tuple[int, ...]
    missing: bool
    changed: bool
    transformed: bool

    @property
    def itemsize(self) -> int:
        """Bytes of a stored element."""
        return np.dtype(self.dtype).itemsize

    @property
    def pixel(self) -> int:
        """Bytes of a stored pixel with all channels."""
        return self.itemsize * (self.channels or 1)

    @property
    def source_pixel(self) -> int:
        """Bytes of a pixel of the source with all channels."""
        return np.dtype(self.source_dtype).itemsize * (self.channels or 1)

    @property
    def chunk_pixel(self) -> int:
        """Bytes of a pixel with the channels that one source chunk holds."""
        return np.dtype(self.source_dtype).itemsize * self.source_chunk[1]  # of which some may not be chosen

    @property
    def is_packed(self) -> bool:
        """Whether the source has chunks: what lies in memory has not."""
        return prod(self.source_chunk) > 1


@dataclass(frozen=True, slots=True)
class PlannedVariable(Part):
    """One array of the patch set; fields as in `Part`.

    Parameters
    ----------
    copied : bool
        Whether patches are copied before they are packed: where a chunk holds several.
    shapes : Shapes
        Chunk and shard of the array to write.
    """

    copied: bool
    shapes: Shapes

    @classmethod
    def of(cls, part: Part, *, copied: bool, shapes: Shapes) -> PlannedVariable:
        """The array that `part` becomes."""
        known = {field.name: getattr(part, field.name) for field in fields(Part)}
        return cls(**known, copied=copied, shapes=shapes)

    @property
    def channel_shards(self) -> int:
        """Objects that a shard rectangle has, since very many channels are split."""
        return 1 if self.channels is None else -(-self.channels // self.shapes.shard[1])
