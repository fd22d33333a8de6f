"""How a run is cut into tasks: every sensible way is priced, and the cheapest that memory allows is taken.

The price is CPU time by measured rates: decoding source chunks, packing shards. A source chunk that several tasks need
is decoded once if the cache holds it until the last of them, else once for each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil, prod
from typing import Any, Literal

import numpy as np

from patchmill.errors import PatchmillError
from patchmill.grid import Axis, ImageGrids, PatchGrid
from patchmill.planning.blocks import Work, block_size, cuts_of, halo_of, tiles_of, units_along, units_of
from patchmill.planning.memory import HANDED, Piece, has_room, peak, reading_bytes, with_room
from patchmill.planning.units import Units
from patchmill.planning.variables import PlannedVariable
from patchmill.types import Layout, shown_bytes, shown_shape

_BANDS = (8, 4, 2, 1)
_ROWS = 16
"""Rows of a wave: 256 x 4 blocks held 267 MiB where 32 x 32 held 918."""

_DECODE, _ENCODE = 1.4e9, 1.0e9
"""Bytes a second of one core."""

_TASKS = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5)
_BUSY = (0.0, 0.45, 0.8, 0.88, 0.95, 1.0)
"""Share of the cores' time that is made use of, by tasks under way for each core: many wait for the disk."""

_CROWDED = 1.05
"""How much longer it takes where the limit leaves no room, so that what was freed goes back early."""

_SAMPLE = 4096

_PRICES = 256
"""Walks along an axis that are remembered: every way to work is priced for many numbers of tasks under way, of which
what a walk finds does not depend."""

_WORKING = 24 * 2**20
"""Working space of statistics, at most; they go through a tile in strips."""

_COPIES, _BESIDE = 3, 12 * 2**20
"""Copies of one patch in double precision that standardizing it takes, beside those of all patches; and bytes for what
functions take besides: one that took its mean from each patch held 4 MiB more than was planned without, and on a busy
machine standardizing 2 MiB more than with 8."""

_SHARE, _FIELDS, _PATCH = 8, 4, 24
"""Bytes of the share of a patch that is valid, channel by channel; how many fields there are besides, in single
precision for 16 bits, in double for more; and bytes of what is found out about a patch with all its channels."""


@dataclass(frozen=True, slots=True)
class Case:
    """A cut to be planned: everything but memory and cores.

    A shard is seen as a `whole`, halo included, where the share of each patch that is valid is to be found; `looked_at`
    tells whether all else that the catalog may hold is, `handed_over` whether a function gets the patches.
    """

    grids: ImageGrids
    layout: Layout
    variables: tuple[PlannedVariable, ...]
    shard: tuple[int, ...]
    whole: bool
    looked_at: bool
    handed_over: bool
    lazy: bool
    held: int
    channel_shards: int

    def units(self, grid: PatchGrid) -> tuple[Units, ...]:
        """The shards of an image."""
        return units_of(grid, self.layout, self.shard[1:], whole=self.whole)

    def over_images(self, grids: ImageGrids, measure: Callable[[int, Units], int]) -> int:
        """Sum over all images of the product over their axes of what `measure` finds, given an axis and its shards."""

        def measured(at: int, axis: Axis) -> int:
            return measure(at, units_along(axis, self.layout, self.shard[1 + at], whole=self.whole))

        return grids.total(measured)


@dataclass(frozen=True, slots=True)
class Choice:
    """A way to work, with its price in seconds of CPU and its peak of memory in bytes."""

    work: Work
    seconds: float
    memory: int


def choose(case: Case, *, limit: int, workers: int, tuning: Mapping[str, Any]) -> Choice:
    """The cheapest way to work within `limit` bytes.

    Parameters
    ----------
    case : Case
    limit : int
        Bytes that the process may hold.
    workers : int
        CPUs to keep busy; more tasks are under way, so that they are while shards go to the disk.
    tuning : mapping
        Fields of `Work` that the user decided.

    Raises
    ------
    PatchmillError
        If none fits; the text names what needs most, and the knob.
    """
    best = least = None
    for work in _candidates(case, workers, tuning):
        memory = _memory(case, work)
        choice = Choice(work, _seconds(case, work, workers) * (1 if has_room(memory, limit) else _CROWDED), memory)
        if least is None or choice.memory < least.memory:
            least = choice
        if choice.memory <= limit and (best is None or (choice.seconds, choice.memory) < (best.seconds, best.memory)):
            best = choice
    if best is None:
        raise PatchmillError(_too_small(case, least, limit))
    return replace(best, memory=with_room(best.memory, limit, _chunk(case)))


def _candidates(case: Case, workers: int, tuning: Mapping[str, Any]) -> Iterator[Work]:
    units = case.units(case.grids.canvas)
    read: Literal["region", "overlap"] = tuning.get("read") or ("overlap" if case.lazy else "region")
    alone = prod(len(side) for side in units) == 1
    block = block_size(units) if read == "overlap" else (1,) * len(units)
    given = {key: value for key, value in tuning.items() if key not in ("read", "cache")}
    if "block" in given:  # no narrower than the halo that a neighbor takes of it
        given["block"] = tuple(map(max, given["block"], block))
    widest = 1 if alone else max(1, len(units[-1]))
    bands = sorted({given.get("band", min(band, widest)) for band in _BANDS}, reverse=True)
    most = workers if read == "overlap" else ceil(workers * max(_TASKS))
    for inflight in [given["inflight"]] if "inflight" in given else _numbers(most):
        for band in bands:
            rows = _ROWS if read == "overlap" else 1
            work = Work(read, case.shard, block, band, rows, stack=1, inflight=inflight, cache=0)
            work = replace(work, **given)
            if "cache" in tuning:
                yield replace(work, cache=tuning["cache"])
                continue
            yield work
            if read == "region":
                stacked = replace(work, stack=_stack(case))
                cache = cache_for(case, stacked)
                yield from (replace(stacked, cache=cache),) if cache else ()


def _numbers(most: int) -> list[int]:
    """Numbers of tasks to try, from `most` down to 1: each, and of many each that is a sixteenth more than another."""
    tried, number = [most], 1
    while number < most:
        tried.append(number)
        number += max(1, number // 16)
    return sorted(tried, reverse=True)


def _stack(case: Case) -> int:
    """Shards along image that one source chunk reaches over."""
    return -(-max(variable.source_chunk[0] for variable in case.variables) // case.shard[0])


# -- prices ------------------------------------------------------------------------------------------------------------


def _seconds(case: Case, work: Work, workers: int) -> float:
    grid = case.grids.canvas
    read = bytes_decoded(case, work, ImageGrids.uniform(grid, 1))
    written = sum(_stored(case, grid) * variable.pixel for variable in case.variables)
    busy = float(np.interp(work.inflight / workers, _TASKS, _BUSY))
    return (read / _DECODE + written / _ENCODE) / busy


def _stored(case: Case, grid: PatchGrid) -> int:
    return len(grid) * prod(grid.patch_shape) if case.layout == "patches" else prod(grid.shape)


def bytes_decoded(case: Case, work: Work, grids: ImageGrids) -> int:
    """Bytes of source chunks that cutting images of `grids` unpacks; what two tasks unpack counts twice."""
    return sum(_bytes_of_one(case, work, grids, variable) for variable in case.variables)


def _bytes_of_one(case: Case, work: Work, grids: ImageGrids, variable: PlannedVariable) -> int:
    chunks = _spatial(variable, grids.canvas.ndim)[1:]

    def along(at: int, side: Units) -> int:
        return _decoded(side, chunks[at], _together(work, at, side)) if len(side) else 0

    images, together = len(case.grids.sizes), case.shard[0] * (work.stack if work.cache else 1)
    alone = work.read == "overlap"
    decoded = images if alone else _images_decoded(images, together, min(variable.source_chunk[0], images))
    return case.over_images(grids, along) * decoded * variable.source_pixel // images


@lru_cache(maxsize=256)
def _images_decoded(images: int, group: int, chunk: int) -> int:
    """Images of all chunks that cutting every image unpacks; a chunk over several groups counts for each of them."""
    starts = range(0, images, group)
    seen = starts[:_SAMPLE]
    total = sum(_touched((first, min(first + group, images)), chunk, images) for first in seen)
    return total * len(starts) // len(seen)


def _together(work: Work, at: int, side: Units) -> int:
    """Units along an axis that share what is unpacked."""
    if work.read == "overlap":
        return (work.rows, work.band)[at] * work.block[at]
    return (len(side), work.band)[at] if work.cache else 1


@lru_cache(maxsize=_PRICES)
def _decoded(side: Units, chunk: int, group: int) -> int:
    """Pixels along one axis that groups of units unpack; beyond the first few thousand groups the rest is like them."""
    count = -(-len(side) // group)
    seen = min(count, _SAMPLE)
    total = 0
    for first in range(0, seen * group, group):
        last = min(first + group, len(side)) - 1
        total += _touched((side.source(first)[0], side.source(last)[1]), chunk, side.axis.n)
    return total if seen == count else total * count // seen


def _touched(pixels: tuple[int, int], chunk: int, n: int) -> int:
    """Pixels of all chunks that an interval lies in."""
    low, high = pixels
    return min(-(-high // chunk) * chunk, n) - low // chunk * chunk


# -- memory ------------------------------------------------------------------------------------------------------------


def cache_for(case: Case, work: Work) -> int:
    """Bytes of a cache that holds source chunks until the row below has had them; 0 where none is needed twice.

    A sixty-fourth more than the pixels: a chunk that just does not fit would not be kept at all.
    """
    units = case.units(case.grids.canvas)
    total = 0
    for variable in case.variables:
        chunks = _spatial(variable, len(units))[1:]
        alike = variable.source_chunk[0] <= case.shard[0]
        aligned = all(_is_aligned(side, chunk) for side, chunk in zip(units, chunks, strict=True))
        if (alike and aligned) or not variable.is_packed:
            continue
        down = _most_touched(units[0], chunks[0], 1)
        across = _most_touched(units[1], chunks[1], min(work.band, len(units[1])), work.band)
        images = min(max(variable.source_chunk[0], case.shard[0]), len(case.grids.sizes))
        # The end of a row and the beginning of the next are cut at a time, and share no wide chunks.
        rows = 2 if work.inflight > 1 and chunks[1] > 2 * _own(units[1]) else 1
        total += rows * down * across * images * variable.source_pixel
    return total + total // 64


def _own(side: Units) -> int:
    """Pixels from one unit to the next."""
    return side.begins(1) - side.begins(0)


@lru_cache(maxsize=_PRICES)
def _is_aligned(side: Units, chunk: int) -> bool:
    """Whether no chunk is needed by two units."""
    return len(side) < 2 or all(
        -(-side.source(unit)[1] // chunk) <= side.source(unit + 1)[0] // chunk
        for unit in range(min(len(side) - 1, _SAMPLE))
    )


@lru_cache(maxsize=_PRICES)
def _most_touched(side: Units, chunk: int, group: int, every: int = 1) -> int:
    """Pixels along an axis of the chunks that `group` units touch at most, of those groups that begin at `every`."""
    starts = range(0, max(1, len(side)), every)
    return max(
        _touched((side.source(first)[0], side.source(min(first + group, len(side)) - 1)[1]), chunk, side.axis.n)
        for first in _some(starts)
    )


def _some(units: range) -> set[int]:
    """The first of many, which repeat themselves, and the last, which don't."""
    return {*units[:64], *units[-2:]}


@lru_cache(maxsize=_PRICES)
def _is_astray(side: Units, chunk: int) -> bool:
    """Whether tiles begin inside of chunks."""
    return any(side.source(unit)[0] % chunk for unit in range(min(len(side), _SAMPLE)))


def _memory(case: Case, work: Work) -> int:
    units = case.units(case.grids.canvas)
    images = min(case.shard[0], len(case.grids.sizes))
    tile = _tile(work, units)
    pieces = [_piece(case, variable, units, tile, images) for variable in case.variables]
    waiting = 0
    if work.read == "overlap":
        waiting = sum(2 * (work.band + 1) * piece.tile for piece in pieces)
    return peak(
        pieces,
        handed=_handed(case, units, images),
        inflight=work.inflight,
        readers=_readers(case, work, units),
        cache=work.cache,
        chunk=_chunk(case),
        astray=any(
            _is_astray(side, n)
            for each in case.variables
            for side, n in zip(units, _spatial(each, len(units))[1:], strict=True)
        ),
        waiting=waiting,
        held=case.held,
        shards=-(-len(case.grids.sizes) // case.shard[0]) * prod(len(side) for side in units),
        images=len(case.grids.sizes),
    )


def _chunk(case: Case) -> int:
    """Bytes of the largest decoded chunk."""
    axes = case.grids.canvas.ndim
    return max(prod(_spatial(each, axes)) * each.chunk_pixel for each in case.variables)


def _readers(case: Case, work: Work, units: Sequence[Units]) -> int:
    """Tasks that unpack chunks at a time: of kept chunks that hold several shards, one task does."""
    if not work.cache:
        return work.inflight
    chunks = (_spatial(variable, len(units))[1:] for variable in case.variables)
    smallest = [min(sides) for sides in zip(*chunks, strict=True)]
    down, across = (max(1, chunk // _own(side)) for chunk, side in zip(smallest, units, strict=True))
    shared: int = down * min(across, work.band)
    return min(work.inflight, 1 + -(-(work.inflight - 1) // shared))


def _piece(case: Case, variable: PlannedVariable, units: Sequence[Units], tile: Sequence[int], images: int) -> Piece:
    """What a task holds of one variable."""
    pixels = prod(tile) * images
    shard = prod(variable.shapes.shard[1:]) * images * variable.itemsize
    patches = _positions(units) * prod(case.grids.canvas.patch_shape) * images * variable.pixel
    changed, looking = 0, _WORKING if case.whole else 0
    if variable.changed:
        changed = pixels * variable.pixel
        looking += changed
    if variable.transformed:
        # The patches in a row, for the function as much again in double precision, and what it makes of that.
        changed, values = patches, patches // variable.itemsize
        looking += values * 8 + patches // variable.pixel * variable.source_pixel + patches
        looking += _COPIES * 8 * prod(case.grids.canvas.patch_shape) * (variable.channels or 1) + _BESIDE
    continued = _continued(units) * images * max(variable.pixel, variable.source_pixel)
    if case.layout == "patches" or variable.transformed:
        looking += continued
    found = _found(case, variable, _positions(units) * images)
    looking += found if case.looked_at else 0  # for the journal, or to decide which to keep
    return Piece(
        tile=pixels * variable.source_pixel,
        changed=changed,
        found=found,
        reading=_reading(case, variable, units, tile),
        looking=looking,
        writing=shard * (2 if variable.copied else 1) + (continued if case.layout == "patches" else 0),
    )


def _handed(case: Case, units: Sequence[Units], images: int) -> int:
    """What a function gets at a time of all variables, twice, and the tiles, continued, that it is cut out of."""
    if not case.handed_over:
        return 0
    pixel = sum(variable.pixel for variable in case.variables)
    row = _most_positions(units[1]) * prod(case.grids.canvas.patch_shape) * images * pixel
    return 2 * min(_most_positions(units[0]) * row, max(HANDED, row)) + _continued(units) * images * pixel


def _continued(units: Sequence[Units]) -> int:
    """Pixels of the largest tile that is continued beyond the border, as far as its patches reach; 0 where none is."""
    if all(side.axis.edge != "pad" or side.axis.reach <= side.axis.n for side in units):
        return 0
    return prod(_farthest(side) for side in units)


@lru_cache(maxsize=_PRICES)
def _farthest(side: Units) -> int:
    """Pixels along an axis that the patches of a unit reach over, beyond the border too."""
    owned = ((side.source(unit)[0], side.positions(unit)) for unit in _some(range(len(side))))
    return max((side.axis[stop - 1] + side.axis.span - low for low, (start, stop) in owned if stop > start), default=0)


def _found(case: Case, variable: PlannedVariable, patches: int) -> int:
    """Bytes of what is found out about so many patches."""
    fields = _FIELDS * (4 if variable.itemsize <= 2 else 8) if case.looked_at else 0
    return patches * ((variable.channels or 1) * (_SHARE + fields) + _PATCH) if case.whole else 0


def _positions(units: Sequence[Units]) -> int:
    """The most that one shard owns."""
    return prod(_most_positions(side) for side in units)


@lru_cache(maxsize=_PRICES)
def _most_positions(side: Units) -> int:
    return max(b - a for a, b in map(side.positions, _some(range(len(side)))))


def _reading(case: Case, variable: PlannedVariable, units: Sequence[Units], tile: Sequence[int]) -> int:
    """Source chunks on their way in: what the tile touches, few at a time."""
    sides = (len(case.grids.sizes), *case.grids.canvas.shape)
    lengths = (case.shard[0], *tile)
    chunk = [min(n, side) for n, side in zip(_spatial(variable, len(units)), sides, strict=True)]
    # An interval of n touches at most n / chunk chunks, rounded up, and one more.
    touched = [
        min(-(-n // each) + 1, -(-side // each)) * each for n, each, side in zip(lengths, chunk, sides, strict=True)
    ]
    return reading_bytes(prod(touched) * variable.source_pixel, prod(chunk) * variable.chunk_pixel)


def _spatial(variable: PlannedVariable, axes: int) -> tuple[int, ...]:
    """A source chunk without its channels: image, y, x."""
    return (variable.source_chunk[0], *variable.source_chunk[-axes:])


def _tile(work: Work, units: Sequence[Units]) -> tuple[int, ...]:
    """Pixels of the largest tile, halo included."""
    if work.read == "region":
        return tuple(_most_touched(side, 1, 1) for side in units)
    cuts = [cuts_of(side, size) for side, size in zip(units, work.block, strict=True)]
    widths = (tiles_of(side, along)[1] for side, along in zip(units, cuts, strict=True))
    return tuple(max(along) + halo_of(side) for side, along in zip(units, widths, strict=True))


def _too_small(case: Case, least: Choice | None, limit: int) -> str:
    if least is None:
        raise AssertionError("no way to work was priced")
    units = case.units(case.grids.canvas)
    tile = _tile(least.work, units)
    largest = max(case.variables, key=lambda variable: prod(variable.source_chunk) * variable.source_pixel)
    chunk = prod(_spatial(largest, len(units))) * largest.chunk_pixel
    what, way = (
        (f"unpacking one source chunk of {shown_bytes(chunk)}", "store the source in smaller chunks")
        if chunk > prod(tile) * largest.source_pixel
        else (f"cutting one shard from {shown_shape(tile)} pixels", "choose a smaller patch or a larger step")
    )
    enough = f"{-(-least.memory // 2**20)} MiB"  # rounded up, so that it is
    return f"{what} needs {enough} of memory, and the limit is {shown_bytes(limit)}: raise memory to {enough}, or {way}"
