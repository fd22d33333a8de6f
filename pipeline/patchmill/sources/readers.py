"""From a canonical region to its pixels, whatever order their own axes have. Readers travel between processes."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from patchmill.planning.memory import READING
from patchmill.sources.parallel import in_parallel
from patchmill.sources.ratios import stored_ratio
from patchmill.storage import Region, TensorStoreArray
from patchmill.storage.bulk import parts_of

AXES = ("image", "channel", "y", "x")

Region4 = tuple[slice, slice, slice, slice]
"""Half-open intervals of (image, channel, y, x)."""


class Regional(Protocol):
    """Anything that has values by region, in its own order of axes."""

    def read(self, region: Region) -> NDArray[Any]:
        """The values of `region`."""


class Reader(Protocol):
    """Reads canonical regions."""

    def __call__(self, region: Region4) -> NDArray[Any]:
        """Values of `region`, shape (image, channel, y, x)."""

    def many(self, regions: Sequence[Region4]) -> Iterator[NDArray[Any]]:
        """Values of many regions, in their order, read in parallel where that is possible."""

    def cached(self, nbytes: int, crowded: int) -> Reader:
        """The same, with up to `nbytes` of decoded chunks kept; itself where nothing is decoded.

        What is freed goes back from `crowded` resident bytes on.
        """

    def stored_ratio(self) -> float | None:
        """Stored bytes for each raw one; None where it can't be told."""


@dataclass(frozen=True, slots=True, eq=False)
class Turned:
    """Reader of canonical regions over an array whose axes lie in another order.

    Parameters
    ----------
    array : Regional
    axes : mapping
        Canonical axis to own axis number; absent ones get length 1.
    ndim : int
        Own number of axes.
    """

    array: Regional
    axes: Mapping[str, int]
    ndim: int

    def __call__(self, region: Region4) -> NDArray[Any]:
        """Values of `region`, shape (image, channel, y, x)."""
        order, places = self._order()
        return self.array.read(self._own(region)).transpose(order)[places]

    def many(self, regions: Sequence[Region4]) -> Iterator[NDArray[Any]]:
        """Values of many regions."""
        array: Any = self.array
        own = [self._own(region) for region in regions]
        found = array.read_each(own) if hasattr(array, "read_each") else in_parallel(array.read, own)
        order, places = self._order()
        return (values.transpose(order)[places] for values in found)

    def _own(self, region: Region4) -> Region:
        """A canonical region in the array's own axes."""
        own = [slice(None)] * self.ndim
        for axis, wanted in zip(AXES, region, strict=True):
            if axis in self.axes:
                own[self.axes[axis]] = wanted
        return tuple(own)

    def _order(self) -> tuple[list[int], tuple[slice | None, ...]]:
        """Own axes in canonical order, and an index that puts in those that are missing."""
        order = [self.axes[axis] for axis in AXES if axis in self.axes]
        return order, tuple(slice(None) if axis in self.axes else None for axis in AXES)

    def cached(self, nbytes: int, crowded: int) -> Turned:
        """The same, through a cache of decoded chunks where there are any."""
        array: Any = self.array
        if isinstance(array, TensorStoreArray):
            return replace(self, array=array.reopened(cache_bytes=nbytes, crowded=crowded))
        return replace(self, array=array.cached(nbytes, crowded)) if hasattr(array, "cached") else self

    def stored_ratio(self) -> float | None:
        """Stored bytes for each raw one; None for what is not stored in chunks."""
        array = getattr(self.array, "strict", self.array)
        return stored_ratio(array) if isinstance(array, TensorStoreArray) else None


@dataclass(frozen=True, slots=True, eq=False)
class Stacked:
    """Several readers, each of one channel, as one of as many channels."""

    parts: tuple[Reader, ...]

    def __call__(self, region: Region4) -> NDArray[Any]:
        """Values of `region`, shape (image, channel, y, x)."""
        images, channels, ys, xs = region
        first, stop, _ = channels.indices(len(self.parts))
        return np.concatenate([part((images, slice(0, 1), ys, xs)) for part in self.parts[first:stop]], axis=1)

    def many(self, regions: Sequence[Region4]) -> Iterator[NDArray[Any]]:
        """Values of many regions."""
        return in_parallel(self, regions)

    def cached(self, nbytes: int, crowded: int) -> Stacked:
        """The same, through one cache."""
        return Stacked(tuple(part.cached(nbytes, crowded) for part in self.parts))

    def stored_ratio(self) -> float | None:
        """The mean of what can be told."""
        known = [ratio for part in self.parts if (ratio := part.stored_ratio()) is not None]
        return sum(known) / len(known) if known else None


@dataclass(frozen=True, slots=True, eq=False)
class Selected:
    """Some channels of a reader, in an order of their own.

    ::

        numbers (2, 0)       0 1 2 | 3 4 5   channels of `whole`, three a chunk: one read brings 0 and 2
                             x   x |

    Parameters
    ----------
    whole : Reader
    numbers : tuple of int
        Channels of `whole`, each once.
    chunk : tuple of int
        Unit of decoding of `whole`: (image, channel, y, x). Each is unpacked once, few at a time.
    dtype : numpy.dtype
    """

    whole: Reader
    numbers: tuple[int, ...]
    chunk: tuple[int, int, int, int]
    dtype: np.dtype[Any]

    def __call__(self, region: Region4) -> NDArray[Any]:
        """Values of `region`, shape (image, channel, y, x)."""
        channels, ys, xs = region[1:]
        images: Any = region[0]
        numbers = self.numbers[channels]
        if _is_run(numbers):
            return self.whole((images, _run(numbers), ys, xs))
        if not isinstance(images, slice):  # an array of numbers, whose images are small
            low = min(numbers)
            values = self.whole((images, slice(low, max(numbers) + 1), ys, xs))
            return values[:, [number - low for number in numbers]]
        return self._apart(images, numbers, ys, xs)

    def _apart(self, images: slice, numbers: tuple[int, ...], ys: slice, xs: slice) -> NDArray[Any]:
        sides = [(side.start, side.stop) for side in (images, ys, xs)]
        first = [low for low, _ in sides]
        count, height, width = (high - low for low, high in sides)
        values = np.empty((count, len(numbers), height, width), self.dtype)
        for together in self._of_one_chunk(numbers):
            places = [numbers.index(number) for number in together]
            box = (sides[0], (together[0], together[-1] + 1), sides[1], sides[2])
            for image, _, y, x in parts_of(box, self.chunk, READING // self.dtype.itemsize):
                here = [slice(a - low, b - low) for (a, b), low in zip((image, y, x), first, strict=True)]
                wanted: Any = _run(together) if _is_run(together) else np.array(together)
                values[here[0], places, here[1], here[2]] = self.whole((slice(*image), wanted, slice(*y), slice(*x)))
        return values

    def _of_one_chunk(self, numbers: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        """`numbers`, ascending, those of one chunk together."""
        for _, group in groupby(sorted(numbers), lambda number: number // self.chunk[1]):
            yield tuple(group)

    def many(self, regions: Sequence[Region4]) -> Iterator[NDArray[Any]]:
        """Values of many regions."""
        chosen = [self.numbers[channels] for _, channels, _, _ in regions]
        if not all(map(_is_run, chosen)):
            return in_parallel(self, regions)
        own = zip(regions, chosen, strict=True)
        return self.whole.many([(images, _run(numbers), ys, xs) for (images, _, ys, xs), numbers in own])

    def cached(self, nbytes: int, crowded: int) -> Selected:
        """The same, through a cache of decoded chunks where there are any."""
        return replace(self, whole=self.whole.cached(nbytes, crowded))

    def stored_ratio(self) -> float | None:
        """That of all channels."""
        return self.whole.stored_ratio()


def _is_run(numbers: Sequence[int]) -> bool:
    return len(numbers) > 0 and list(numbers) == list(range(numbers[0], numbers[0] + len(numbers)))


def _run(numbers: Sequence[int]) -> slice:
    return slice(numbers[0], numbers[-1] + 1)


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """A NumPy or Dask array, or a DataArray that may be a file not loaded.

    Another process gets its values; of a whole file that is mapped into memory only the name.
    """

    array: Any

    def read(self, region: Region) -> NDArray[Any]:
        """The values of `region`."""
        variable = getattr(self.array, "variable", None)
        return np.asarray(self.array[region]) if variable is None else np.asarray(variable[region].values)

    def __reduce__(self) -> tuple[Any, ...]:
        mapped = mapped_file(self.array)
        if mapped is None:
            return (Held, (self.array,))
        return (_mapped, (mapped, self.array.dtype, self.array.shape, self.array.offset))


def mapped_file(array: Any) -> str | None:
    """Path of the file that is `array` as a whole, mapped by NumPy in C order; None for all else.

    A copy on write, mode "c", may differ from its file.
    """
    if not isinstance(array, np.memmap) or array.filename is None or array.mode == "c":
        return None
    if not array.flags.c_contiguous:
        return None
    base: Any = array.base  # of a part of a mapped array that is the whole one
    return os.fspath(array.filename) if isinstance(base, mmap.mmap) else None


def _mapped(path: str, dtype: np.dtype[Any], shape: tuple[int, ...], offset: int) -> Held:
    return Held(np.memmap(path, dtype, "r", offset, shape))
