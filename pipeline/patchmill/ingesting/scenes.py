"""A scene is one image inside a file, described but not decoded; every reader of a family of files yields them."""

from __future__ import annotations

import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from patchmill.sources import Dims

T = TypeVar("T")

WHOLE = 64 * 2**20
"""Bytes: a scene that decodes to no more is read in one go, even where it could be read in pieces."""

MASK_BAND = "a mask band"

Read: TypeAlias = Callable[[slice, slice, slice], NDArray[Any]]
"""From half-open intervals of (channel, y, x) to their pixels, shape (channel, y, x); safe in several threads."""

Affine: TypeAlias = tuple[float, float, float, float, float, float]
"""(a, b, c, d, e, f) with x = a * column + b * row + c and y = d * column + e * row + f, at a pixel's outer corner."""


class UnfitError(Exception):
    """Why a file is not taken; the text continues a sentence that begins with the file."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Scene:
    """One image: cheap to make, its pixels are still in the file.

    Parameters
    ----------
    label : str
        What tells it from the other scenes of its file, such as ``"[page=2]"``; empty where there is only one.
    height, width : int
        Pixels.
    dtype : numpy.dtype
        Of the pixels as `read` gives them, in native byte order.
    read : Read
        Gives shape (1, y, x) where there are no channels.
    channels : int, optional
        None where the file has no such axis.
    labels : tuple of str, optional
        Names of the channels.
    title : str, optional
        Name of the only channel of a scene that has no such axis.
    in_pieces : bool
        Whether `read` decodes only about what it is asked for.
    block : tuple of int
        Pixels that are decoded together, (y, x); meaningful with `in_pieces`.
    interleaved : bool
        Whether one block holds all channels.
    cost : float
        Bytes held while reading, for each byte that is decoded.
    least_nbytes : int, optional
        Bytes that are decoded for any read, where that is not what the block, or the whole scene, takes.
    nodata : number, optional
        The value that stands for "nothing measured".
    crs : str, optional
        Well-known text.
    transform : Affine, optional
    scales, offsets : tuple of float, optional
        For each channel: what was measured is value * scale + offset.
    unread : str, optional
        What the file has beside and is not taken, such as `MASK_BAND`.
    """

    label: str = ""
    height: int
    width: int
    dtype: np.dtype[Any]
    read: Read
    channels: int | None = None
    labels: tuple[str, ...] | None = None
    title: str | None = None
    in_pieces: bool = False
    block: tuple[int, int] = (1, 1)
    interleaved: bool = True
    cost: float = 2.0
    least_nbytes: int | None = None
    nodata: float | None = None
    crs: str | None = None
    transform: Affine | None = None
    scales: tuple[float, ...] | None = None
    offsets: tuple[float, ...] | None = None
    unread: str | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channel, y, x), with 1 where there are no channels."""
        return (self.channels or 1, self.height, self.width)

    @property
    def nbytes(self) -> int:
        """Bytes of all pixels."""
        return prod(self.shape) * self.dtype.itemsize

    @property
    def piece_nbytes(self) -> int:
        """Bytes that are decoded at least, however little is asked for."""
        if self.least_nbytes is not None:
            return self.least_nbytes
        if not self.in_pieces:
            return self.nbytes
        together = self.channels or 1 if self.interleaved else 1
        return together * prod(self.block) * self.dtype.itemsize

    @property
    def is_read_whole(self) -> bool:
        """Whether it is read in one go."""
        return not self.in_pieces or self.nbytes <= WHOLE

    @property
    def whole_cost(self) -> float:
        """Bytes held while it is read in one go; 0 for a scene that is not."""
        return max(self.nbytes, self.piece_nbytes) * self.cost if self.is_read_whole else 0.0

    def read_all(self) -> NDArray[Any]:
        """Every pixel, shape (channel, y, x)."""
        channels, height, width = self.shape
        return self.read(slice(0, channels), slice(0, height), slice(0, width))


class Recent:
    """The few things that were opened last, for readers whose files are costly to open.

    Scenes hold no open file, since there may be a hundred thousand of them; they look here first.

    Parameters
    ----------
    limit : int
        How many are kept.
    """

    def __init__(self, limit: int) -> None:
        self._limit, self._held = limit, OrderedDict[Hashable, Any]()
        self._lock, self._loading = threading.Lock(), dict[Hashable, threading.Lock]()

    def get(self, key: Hashable, load: Callable[[], T]) -> T:
        """What `load` gave for `key`, if that is not too long ago, else what it gives now; once for all threads."""
        with self._lock:
            loading = self._loading.setdefault(key, threading.Lock())
        with loading:
            with self._lock:
                if key in self._held:
                    self._held.move_to_end(key)
                    return self._held[key]  # type: ignore[no-any-return]
            value = load()
            with self._lock:
                self._held[key] = value
                while len(self._held) > self._limit:
                    self._loading.pop(self._held.popitem(last=False)[0], None)
            return value

    def clear(self) -> None:
        """Let go of everything."""
        with self._lock:
            self._held.clear()
            self._loading.clear()


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """How files shall be read; the same for all of one variable.

    Parameters
    ----------
    level : int
        Which level of a pyramid; 0 is the finest.
    dims : mapping or sequence, optional
        Which axis is which, see `patchmill.ingest`.
    palette : {"colors", "indices"}
        What becomes of pictures with a palette.
    files : Recent
        Opened files.
    arrays : Recent
        Decoded arrays of which each scene is a part; only one at a time, since it may be large.
    """

    level: int = 0
    dims: Dims = None
    palette: Literal["colors", "indices"] = "colors"
    files: Recent = field(default_factory=lambda: Recent(8))
    arrays: Recent = field(default_factory=lambda: Recent(1))


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its kind where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0].strip().rstrip(".") if lines else type(error).__name__


def no_level(levels: int, level: int) -> str:
    """The reason where a pyramid has fewer levels than asked for."""
    return f"has {'only level 0' if levels == 1 else f'levels 0 to {levels - 1}'}, and level={level} was asked for"


_FILTERS = threading.Lock()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep a decoder's warnings to ourselves: what matters about a file is in its scene, or in the reason against it.

    Python's filters are the process's, so this is for short steps such as opening, and one thread at a time.
    """
    with _FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
