"""Pixels of TIFF pages by windows: only those strips or tiles are decoded that a window touches.

::

    +------+------+------+
    |      |  ....|..    |    window .   touches four tiles; each is read, decoded by tifffile, and copied in part
    +------+------+------+
    |      |  ....|..    |
    +------+------+------+
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from patchmill.ingesting.scenes import UnfitError
from patchmill.sources.model import comparable_nodata

if TYPE_CHECKING:
    from tifffile import TiffPage, TiffPageSeries

TRUNCATED = "ends before its pixels do (truncated)"


@dataclass(frozen=True, slots=True, eq=False)
class Planes:
    """Pages of one shape, dtype and compression.

    Parameters
    ----------
    count : int
        Pages.
    height, width, samples : int
    dtype : numpy.dtype
        Native byte order.
    block : tuple of int
        Pixels of a strip or tile, (y, x).
    interleaved : bool
        Whether a block holds all samples; else each has blocks of its own.
    starts : tuple of int, optional
        For each page, its first byte, where pages are not compressed and each lies in a row.
    stored : numpy.dtype
        As `dtype`, in the byte order of the file.
    segments : tuple
        For each page, where its blocks begin in the file, and how long they are; empty with `starts`.
    decode : callable
        tifffile's decoder of one block.
    tables : tuple
        For each page, what JPEG blocks share.
    header : bytes, optional
        What JPEG blocks of one vendor lack.
    fill : number
        Value of blocks that are not stored.
    """

    count: int
    height: int
    width: int
    samples: int
    dtype: np.dtype[Any]
    block: tuple[int, int]
    interleaved: bool
    starts: tuple[int, ...] | None
    stored: np.dtype[Any]
    segments: tuple[tuple[Sequence[int], Sequence[int]], ...]
    decode: Callable[..., Any]
    tables: tuple[bytes | None, ...]
    header: bytes | None
    fill: Any

    def read(self, file: IO[bytes], size: int, page: int, samples: slice, ys: slice, xs: slice) -> NDArray[Any]:
        """Pixels of a window of one page, shape (sample, y, x).

        Parameters
        ----------
        file : file
            Open for reading; `size` bytes long.
        page : int
        samples, ys, xs : slice
            Half-open intervals, as stored.
        """
        if self.starts is not None:
            return self._mapped(file, self.starts[page], samples, ys, xs)
        shape = (samples.stop - samples.start, ys.stop - ys.start, xs.stop - xs.start)
        pixels = np.empty(shape, self.dtype)
        rows = range(ys.start // self.block[0], -(-ys.stop // self.block[0]))
        columns = range(xs.start // self.block[1], -(-xs.stop // self.block[1]))
        for sample in [0] if self.interleaved else range(samples.start, samples.stop):
            for row, column in product(rows, columns):
                tile = self._block(file, size, page, sample, row, column)
                inside = samples if self.interleaved else slice(0, 1)
                at = slice(None) if self.interleaved else slice(sample - samples.start, sample - samples.start + 1)
                _paste(pixels[at], tile[inside], row * self.block[0] - ys.start, column * self.block[1] - xs.start)
        return pixels

    def _mapped(self, file: IO[bytes], start: int, samples: slice, ys: slice, xs: slice) -> NDArray[Any]:
        """A window of pixels that lie in the file as in an array."""
        plane = (self.height, self.width, self.samples) if self.interleaved else (self.samples, self.height, self.width)
        try:
            stored = np.memmap(file, self.stored, "r", start, plane)
        except ValueError as error:
            raise UnfitError(TRUNCATED) from error
        window = np.moveaxis(stored[ys, xs, samples], -1, 0) if self.interleaved else stored[samples, ys, xs]
        return np.array(window, self.dtype)

    def _block(self, file: IO[bytes], size: int, page: int, sample: int, row: int, column: int) -> NDArray[Any]:
        """One decoded strip or tile, shape (sample, y, x); what lies beyond the image may be cut off."""
        down, across = -(-self.height // self.block[0]), -(-self.width // self.block[1])
        index = (sample * down + row) * across + column
        offsets, lengths = self.segments[page]
        if index >= len(offsets) or index >= len(lengths) or offsets[index] + lengths[index] > size:
            raise UnfitError(TRUNCATED)
        data = None
        if lengths[index]:
            file.seek(offsets[index])
            data = file.read(lengths[index])
        decoded, _, shape = self.decode(data, index, jpegtables=self.tables[page], jpegheader=self.header)
        if decoded is None:
            decoded = np.full(shape, self.fill, self.dtype)
        return np.moveaxis(decoded[0], -1, 0)


def _paste(pixels: NDArray[Any], tile: NDArray[Any], y: int, x: int) -> None:
    """Copy what `tile`, whose first pixel lies at (`y`, `x`) of `pixels`, has in common with them."""
    height, width = pixels.shape[1:]
    bottom, right = min(height, y + tile.shape[1]), min(width, x + tile.shape[2])
    top, left = max(y, 0), max(x, 0)
    pixels[:, top:bottom, left:right] = tile[:, top - y : bottom - y, left - x : right - x]


def planes_of(series: TiffPageSeries) -> Planes:
    """What is needed to read the pages of a series once its file is closed.

    Raises
    ------
    UnfitError
        If pages are missing.
    """
    page: TiffPage = series.keyframe.aspage()
    separate, _, height, width, contiguous = page.shaped
    starts = _starts(series, page)
    pages = [] if starts is not None else list(series)
    if any(each is None for each in pages):
        raise UnfitError("lacks pages that its metadata names")
    dtype = np.dtype(page.dtype)
    return Planes(
        count=len(series) if starts is None else len(starts),
        height=height,
        width=width,
        samples=separate * contiguous,
        dtype=dtype.newbyteorder("="),
        block=_block_shape(page, starts),
        interleaved=separate == 1,
        starts=starts,
        stored=dtype.newbyteorder(page.parent.byteorder),
        segments=tuple((each.dataoffsets, each.databytecounts) for each in pages if each is not None),
        decode=page.decode,  # made here, once, before several threads ask for it
        tables=tuple(each.jpegtables for each in pages if each is not None),
        header=page.jpegheader,
        fill=nodata_of(page) or 0,
    )


def nodata_of(page: TiffPage) -> float | None:
    """What GDAL has noted as the value of "nothing measured", None where that is none that a pixel can have.

    tifffile takes a text that is not written as a value of the dtype for 0, such as "-9999.0" of integers.
    """
    text = str(page.tags.valueof(42113, "")).strip("\0 ")
    for kind in (int, float):
        with suppress(ValueError):
            value: float | None = comparable_nodata(kind(text), np.dtype(page.dtype))
            return value
    return None


def _starts(series: TiffPageSeries, page: TiffPage) -> tuple[int, ...] | None:
    """First byte of each page that lies in the file as in an array, None where any does not."""
    if not page.is_final or page.is_tiled:
        return None
    if series.dataoffset is not None:
        # All pages in a row, of which the file may describe only the first.
        pages = int(np.prod(series.get_shape(False), dtype=object)) // page.size  # noqa: FBT003  not squeezed
        return tuple(series.dataoffset + number * page.nbytes for number in range(pages))
    if not all(each is not None and _in_a_row(each.dataoffsets, each.databytecounts, page.nbytes) for each in series):
        return None
    return tuple(each.dataoffsets[0] for each in series if each is not None)


def _in_a_row(offsets: Sequence[int], lengths: Sequence[int], total: int) -> bool:
    if len(offsets) == 1:
        return True
    ends = [offset + length for offset, length in zip(offsets, lengths, strict=False)]
    return sum(lengths) == total and list(offsets[1:]) == ends[:-1]


def _block_shape(page: TiffPage, starts: tuple[int, ...] | None) -> tuple[int, int]:
    """Pixels of a tile or strip; rows that lie as in an array are as good as strips of one."""
    if page.is_tiled:
        return page.tilelength, page.tilewidth
    return (1 if starts is not None else min(page.rowsperstrip, page.imagelength), page.imagewidth)
