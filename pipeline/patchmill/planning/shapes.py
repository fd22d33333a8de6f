"""Shapes of chunks and shards, from the shapes of things alone.

Memory, cores and the number of images have no say, so that another machine can resume a set, and a set that grew image
by image has the same bytes as one that was cut in one go.

::

    shard   one object, up to 32 MiB raw: a rectangle of chunks
    +-------+-------+-------+
    | chunk |       |       |   chunk: one patch with all its channels; tiny patches share a chunk with their
    +-------+-------+-------+   neighbors up to 64 KiB, very many channels are split at 4 MiB
    |       |       |       |
    +-------+-------+-------+

Where patches are looked at, a shard also has no more than a million of them, channel by channel: what was found out
about them would take far more memory than their pixels otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import gcd, prod

TILE = 512
"""Side of a chunk of images, in pixels: measured best for reading patches of 256, and 0.5 MiB of uint16."""

_SMALL = 64 * 2**10  # lz4 looks back 64 KiB: overlap inside a chunk up to that packs away
_CHUNK = 4 * 2**20
_SHARD = 32 * 2**20
_ROWS = 2**18
_LOOKED_AT = 2**20


@dataclass(frozen=True, slots=True)
class Shapes:
    """How an array is cut into chunks and shards, both in elements along each axis of that array."""

    chunk: tuple[int, ...]
    shard: tuple[int, ...]


def patch_shapes(
    channels: int | None,
    counts: tuple[int, ...],
    patch_shape: tuple[int, ...],
    itemsize: int,
    pitch: tuple[int, ...] | None = None,
    *,
    looked_at: bool = False,
) -> Shapes:
    """Shapes for layout "patches": (image, channel, grid_y, grid_x, patch_y, patch_x).

    Parameters
    ----------
    channels : int or None
        None for a variable without channels; its array has no such axis.
    counts : tuple of int
        Positions of the grid along each spatial axis, at least 1.
    patch_shape : tuple of int
        Pixels of a patch.
    itemsize : int
        Bytes of an element.
    pitch : tuple of int, optional
        Pixels of the source that go with a position: where patches lie far apart, a shard of them reaches over far more
        pixels than it holds, and its task must read those. The patch's own by default.
    looked_at : bool
        Whether statistics of each patch are computed, or decided which to keep.

    Examples
    --------
    >>> patch_shapes(4, (63, 63), (256, 256), 2)
    Shapes(chunk=(1, 4, 1, 1, 256, 256), shard=(1, 4, 8, 8, 256, 256))
    >>> patch_shapes(3, (200, 200), (16, 16), 1).chunk
    (1, 3, 8, 8, 16, 16)
    """
    read = prod(max(a, b) for a, b in zip(patch_shape, pitch or patch_shape, strict=True))
    chunk, shard = _units(channels or 1, counts, prod(patch_shape) * itemsize, read * itemsize, int(looked_at))
    axes = [0, *range(2, len(chunk))] if channels is None else range(len(chunk))
    return Shapes(
        chunk=(*(chunk[axis] for axis in axes), *patch_shape), shard=(*(shard[axis] for axis in axes), *patch_shape)
    )


def aligned(shapes: list[Shapes], grid_axes: int) -> list[Shapes]:
    """The same shapes with one shard rectangle for all: variables cut together are stored in shards that agree.

    Extents are powers of two in units of patches, so the smallest of several divides them all.

    Parameters
    ----------
    shapes : list of Shapes
        Of the variables of one set, from `patch_shapes`.
    grid_axes : int
        Number of spatial axes.
    """
    images = min(each.shard[0] for each in shapes)
    positions = [min(each.shard[-2 * grid_axes + axis] for each in shapes) for axis in range(grid_axes)]
    return [
        Shapes(
            chunk=tuple(min(a, b) for a, b in zip(each.chunk, shard, strict=True)),
            shard=shard,
        )
        for each in shapes
        for shard in [(images, *each.shard[1 : -2 * grid_axes], *positions, *each.shard[-grid_axes:])]
    ]


def catalog_chunk(shard: tuple[int, ...], counts: tuple[int, ...], channels: int = 1) -> tuple[int, ...]:
    """Chunk of a catalog array (image, grid_y, grid_x): whole shards of patches, up to a quarter million of values.

    Examples
    --------
    >>> catalog_chunk((1, 8, 8), (63, 63))
    (64, 64, 64)
    """
    image, _, *positions = _grown((shard[0], 1, *shard[1:]), counts, (channels, _ROWS), whole=True)
    return (image, *positions)


def image_shapes(channels: int | None, sizes: tuple[int, ...], itemsize: int) -> Shapes:
    """Shapes for images as a whole: (image, channel, y, x).

    Parameters
    ----------
    channels : int or None
        None for a variable without channels.
    sizes : tuple of int
        Pixels of the canvas along each spatial axis, at least 1.
    itemsize : int
        Bytes of an element.

    Examples
    --------
    >>> image_shapes(4, (8192, 8192), 2)
    Shapes(chunk=(1, 4, 512, 512), shard=(1, 4, 2048, 2048))
    >>> image_shapes(None, (28, 28), 1).chunk
    (64, 28, 28)
    """
    tile = tuple(min(TILE, n) for n in sizes)
    return _tiled(channels, sizes, tile, itemsize, 0)


def canvas_shapes(
    channels: int | None,
    sizes: tuple[int, ...],
    patch_shape: tuple[int, ...],
    step: tuple[int, ...],
    itemsize: int,
    *,
    looked_at: bool = False,
) -> Shapes:
    """Shapes for layout "canvas": (image, channel, y, x), to read windows of `patch_shape` from.

    Parameters
    ----------
    channels : int or None
        None for a variable without channels; its array has no such axis.
    sizes : tuple of int
        Pixels of the canvas along each spatial axis, at least 1.
    patch_shape : tuple of int
        Pixels that a patch reaches over: its span, where it is dilated.
    step : tuple of int
        Pixels between neighboring origins.
    itemsize : int
        Bytes of an element.
    looked_at : bool
        As for `patch_shapes`.

    Examples
    --------
    >>> canvas_shapes(4, (8192, 8192), (256, 256), (128, 128), 2)
    Shapes(chunk=(1, 4, 128, 128), shard=(1, 4, 2048, 2048))
    >>> canvas_shapes(4, (8192, 8192), (224, 224), (100, 100), 2).chunk
    (1, 4, 100, 100)
    >>> canvas_shapes(3, (28, 28), (16, 16), (8, 8), 1).chunk
    (16, 3, 28, 28)
    """
    axes = zip(patch_shape, step, sizes, strict=True)
    tile = tuple(min(canvas_side(patch, along), n) for patch, along, n in axes)
    positions = prod(-(-side // along) for side, along in zip(tile, step, strict=True)) if looked_at else 0
    shapes = _tiled(channels, sizes, tile, itemsize, positions)
    return aligned_canvas([shapes], sizes)[0]


def canvas_side(patch: int, step: int) -> int:
    """Side of a chunk that windows of `patch` pixels, `step` apart, are read from: about half a patch.

    Taken are half the patch and the divisors of `step` from a third of the patch to all of it, where origins fall on
    borders of chunks; the one of which a window decodes the fewest pixels, the largest of several.

    ::

        patch 224, step 100      side    chunks a window touches    pixels decoded
                                 100     3                          300
                                 112     2.96                       332
    """
    sides = {max(1, patch // 2), *_divisors(step, -(-patch // 3), patch)}
    return min(sides, key=lambda side: (_decoded(side, patch, step), -side))


def _divisors(number: int, least: int, most: int) -> Iterator[int]:
    """Divisors of a number from `least` to `most`: they are tried, or what they go into it, whichever are fewer.

    Examples
    --------
    >>> sorted(_divisors(100, 20, 60)), sorted(_divisors(2**40, 2**39, 2**40))
    ([20, 25, 50], [549755813888, 1099511627776])
    """
    sides, times = range(least, most + 1), range(max(1, -(-number // most)), number // least + 1)
    if len(sides) <= len(times):
        yield from (side for side in sides if number % side == 0)
    else:
        yield from (number // time for time in times if number % time == 0)


def _decoded(side: int, patch: int, step: int) -> float:
    """Pixels of the chunks that a window touches along one axis, on average over all origins.

    Origins lie at the multiples of g = gcd(step, side) within a chunk, all as often, so by Hermite's identity a window
    touches 1 + ((patch - 1) // g) * g / side chunks.
    """
    common = gcd(step, side)
    return side + (patch - 1) // common * common


def aligned_canvas(shapes: list[Shapes], sizes: tuple[int, ...]) -> list[Shapes]:
    """The same shapes with one shard rectangle for all, and sides that reach beyond the canvas cut off.

    Extents along an axis are one tile times powers of two, so the smallest shard is a multiple of every smaller chunk.
    A chunk is cut to the canvas only where the chunks of all variables reach its end.

    Parameters
    ----------
    shapes : list of Shapes
        Of the variables of one set, from `canvas_shapes`.
    sizes : tuple of int
        Pixels of the canvas along each spatial axis.
    """
    first = -len(sizes)
    images = min(each.shard[0] for each in shapes)
    sides: list[tuple[list[int], int]] = []  # for each axis: chunk of each variable, shard of all
    for at, n in enumerate(sizes, first):
        short = [each.shard[at] for each in shapes if each.chunk[at] < n]
        shard = min(short) if short else n
        sides.append(([min(each.chunk[at], shard) if each.chunk[at] < n else shard for each in shapes], shard))
    return [
        Shapes(
            chunk=(min(each.chunk[0], images), *each.chunk[1:first], *(chunks[at] for chunks, _ in sides)),
            shard=(images, *each.shard[1:first], *(shard for _, shard in sides)),
        )
        for at, each in enumerate(shapes)
    ]


def _tiled(
    channels: int | None, sizes: tuple[int, ...], tile: tuple[int, ...], itemsize: int, positions: int
) -> Shapes:
    """Chunk and shard of (image, channel, y, x), grown from one `tile` of pixels with so many positions to look at."""
    counts = tuple(-(-n // side) for n, side in zip(sizes, tile, strict=True))
    unit = prod(tile) * itemsize
    chunk, shard = _units(channels or 1, counts, unit, unit, positions)
    axes = (0,) if channels is None else (0, 1)
    return Shapes(
        *(
            (*(units[axis] for axis in axes), *(n * side for n, side in zip(units[2:], tile, strict=True)))
            for units in (chunk, shard)
        )
    )


def _units(
    channels: int, counts: tuple[int, ...], unit: int, read: int, positions: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Chunk and shard as (image, channel, *counts), counted in units (patches, tiles).

    A unit has `unit` bytes a channel, makes its task read `read` of them, and look at `positions` patches.
    """
    most = max(1, _CHUNK // unit)
    together = -(-channels // -(-channels // most))
    chunk = (1, together, *(1 for _ in counts))
    chunk = _grown(chunk, counts, (unit, _SMALL), (read, _SHARD), whole=together == channels)
    stacked = together * min(-(-channels // together), max(1, _SHARD // (prod(chunk) * unit)))
    shard = (chunk[0], stacked, *chunk[2:])
    limits = ((unit, _SHARD), (read, _SHARD), (positions, _LOOKED_AT))
    shard = _grown(shard, counts, *limits, whole=stacked >= channels)
    return chunk, shard


def _grown(start: tuple[int, ...], counts: tuple[int, ...], *limits: tuple[int, int], whole: bool) -> tuple[int, ...]:
    """`start` doubled within `limits`: the shorter side first, images once grid and channels are whole.

    Each limit is a pair: bytes, or positions, of a unit, and the most of all.
    """
    size = list(start)
    spatial = range(2, len(start))
    while all(prod(size) * unit * 2 <= most for unit, most in limits):
        short = [axis for axis in spatial if size[axis] < counts[axis - 2]]
        if short:
            axis = min(reversed(short), key=lambda axis: size[axis])
            size[axis] *= 2
        elif whole:
            size[0] *= 2
        else:
            break
    return tuple(size)
