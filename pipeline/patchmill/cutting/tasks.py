"""One task: from pixels to shards on the disk.

::

    source --read--> tile --change--> values --cut--> patches --> shard
                                         |              |
                                    statistics --> keep? --> record in the journal, durable before the shard
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchmill.cutting import compiled
from patchmill.cutting.former import refuse_changed
from patchmill.cutting.job import Job, Piece, channel_groups, object_keys
from patchmill.cutting.journal import Record
from patchmill.cutting.keeping import Keep
from patchmill.cutting.statistics import FIELDS, Along, measured_values, patch_statistics, patch_statistics_of
from patchmill.patches.views import Padding, cut
from patchmill.planning import Key
from patchmill.storage import Part
from patchmill.storage.heap import ease
from patchmill.transforms import Transform, check_alone

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Done:
    """A shard rectangle that is on the disk: its positions, those that were kept, and raw bytes written."""

    key: Key
    positions: int
    kept: int
    nbytes: int


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """Where tiles lie: their first image, and their first pixel y, x."""

    image: int
    low: tuple[int, ...]


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


def cut_shards(job: Job, keys: Sequence[Key]) -> list[Done]:
    """Read what shards take from the source, halo included, and write them one after the other."""
    done = []
    for key in keys:
        if job.halt.begin_nothing:
            break
        pieces = list(job.pieces(key))
        images = (pieces[0].images[0], pieces[-1].images[1])
        low, high = _bounds(pieces)
        region = (slice(*images), *(slice(a, b) for a, b in zip(low, high, strict=True)))
        tiles = [
            np.asarray(job.source.read(each, (region[0], slice(0, each.shape[1]), region[1], region[2])), each.dtype)
            for each in job.source.variables
        ]
        job.source.check()  # one that vanished reads as zeros, silently: nothing of it may count
        done.append(write_shard(job, key, pieces, tiles, Frame(images[0], low)))
        del tiles
    return done


def _bounds(pieces: Sequence[Piece]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The region that holds what all pieces take: first and last pixels."""
    axes = range(len(pieces[0].source))
    low = tuple(min(piece.source[axis][0] for piece in pieces) for axis in axes)
    return low, tuple(max(piece.source[axis][1] for piece in pieces) for axis in axes)


def write_shard(job: Job, key: Key, pieces: Sequence[Piece], tiles: Sequence[Array], frame: Frame) -> Done:
    """Cut one shard rectangle of every variable: what was found out first, durable, then the shard.

    Parameters
    ----------
    job : Job
    key : Key
    pieces : sequence of Piece
        What the shard holds.
    tiles : sequence of ndarray, shape (image, channel, y, x)
        Pixels of each variable, of the region that `frame` places.
    frame : Frame
    """
    if job.compiled:
        compiled.load()
    ease(job.crowded)
    cuts = [[_cut(job, at, piece, tile, frame) for piece in pieces] for at, tile in enumerate(tiles)]
    kept = [_kept(job, piece, [along[n] for along in cuts]) for n, piece in enumerate(pieces)]
    job.halt.check()
    if frame.image < job.old:
        for at, along in enumerate(cuts):
            refuse_changed(job.targets[at], _all_parts(job, at, pieces, along, kept), job.old, job.source.url)
    if job.journaled:
        job.journal.append({key: _record(job, pieces, cuts, kept)})
    ease(job.crowded)
    nbytes = sum(_write(job, at, key, pieces, along, kept) for at, along in enumerate(cuts))
    positions = sum(piece.patches for piece in pieces)
    left = sum(piece.patches if mask is None else int(mask.sum()) for piece, mask in zip(pieces, kept, strict=True))
    return Done(key, positions, left, nbytes)


# -- looking -----------------------------------------------------------------------------------------------------------


def _cut(job: Job, at: int, piece: Piece, tile: Array, frame: Frame) -> Cut:
    """Changed pixels of a piece, and what is in its patches."""
    change, variable = job.changes[at], job.source.variables[at]
    raw = _held(piece, tile, frame)
    fields = _wanted(job, job.planned[at].name) if piece.patches > 0 and job.shards.whole else ()
    _try_out(change.transform, raw if change.pointwise else None)
    if change.pointwise:
        values = change.apply(raw, variable.name)
        return Cut(values, None, _of_pixels(piece, raw, values, variable.nodata, fields))
    patches = _in_a_row(_cut_out(piece, raw, change.padding))
    _try_out(change.transform, patches)
    changed = change.apply(patches, variable.name)
    del patches
    ease(job.crowded)
    found = _of_patches(piece, raw, changed, variable.nodata, fields)
    shape = (piece.images[1] - piece.images[0], *piece.counts)
    return Cut(raw, _on_grid(changed, shape), {name: _on_grid(values, shape) for name, values in found.items()})


def _of_pixels(piece: Piece, raw: Array, values: Array, nodata: Any, fields: tuple[str, ...]) -> dict[str, Array]:
    """Statistics of patches whose pixels are changed one by one, or not at all: of the tile, before it is cut."""
    if not fields:
        return {}
    if values is raw:
        return patch_statistics(raw, _along(piece), nodata, fields=fields)
    return patch_statistics(values, _along(piece), None, measured=measured_values(raw, nodata), fields=fields)


def _of_patches(piece: Piece, raw: Array, changed: Array, nodata: Any, fields: tuple[str, ...]) -> dict[str, Array]:
    """Statistics of patches that are changed as a whole, shape (n, channel)."""
    if not fields:
        return {}
    absent = measured_values(raw, nodata)
    inside = np.ones(raw.shape, bool) if absent is None else absent
    counted = _in_a_row(_cut_out(piece, inside, Padding("constant", np.asarray(False))))  # noqa: FBT003 - a pixel
    return patch_statistics_of(changed, counted, None, axes=piece.grid.axes, fields=fields)


def _cut_out(piece: Piece, pixels: Array, padding: Padding) -> Array:
    """The patches of a piece: (image, channel, grid_y, grid_x, patch_y, patch_x)."""
    start, stop = zip(*piece.positions, strict=True)
    low = [low for low, _ in piece.source]
    return cut(pixels, piece.grid, start=start, stop=stop, low=low, padding=padding)


_TRIED: set[str] = set()
"""Functions that were seen in this process to treat each patch alone."""


def _try_out(what: Transform | Keep | None, patches: Any) -> None:
    """Put a function to the test on the first patches that tell: what looks at its neighbors depends on the blocks."""
    if what is None or patches is None or not (what.functions if isinstance(what, Transform) else what.needs_patches):
        return
    name = json.dumps(what.fingerprint, sort_keys=True)
    if name not in _TRIED and (
        check_alone(what, patches) if isinstance(what, Transform) else what.check_alone(patches)
    ):
        _TRIED.add(name)


def _wanted(job: Job, name: str) -> tuple[str, ...]:
    """Statistics of a variable that the catalog holds, or that decide what is kept; the share that counts always."""
    if job.statistics or job.keep is None:
        return FIELDS if job.statistics else FIELDS[:1]
    prefix = f"{name}." if len(job.planned) > 1 else ""
    asked = {f"{prefix}{field}": field for field in FIELDS[1:]}
    return FIELDS[:1] + tuple(field for full, field in asked.items() if full in job.keep.names)


def _held(piece: Piece, tile: Array, frame: Frame) -> Array:
    """The part of a tile that a piece takes: its images, and its source region up to their own border."""
    images = slice(piece.images[0] - frame.image, piece.images[1] - frame.image)
    y, x = (slice(low - at, high - at) for (low, high), at in zip(piece.source, frame.low, strict=True))
    return tile[images, :, y, x]


def _along(piece: Piece) -> list[Along]:
    return [
        Along(axis, start, stop, low)
        for axis, (start, stop), (low, _) in zip(piece.grid.axes, piece.positions, piece.source, strict=True)
    ]


def _in_a_row(patches: Array) -> Array:
    """(image, channel, grid_y, grid_x, patch_y, patch_x) as (n, channel, patch_y, patch_x)."""
    moved = np.moveaxis(patches, 1, 3)
    return np.ascontiguousarray(moved).reshape(-1, *moved.shape[3:])


def _on_grid(values: Array, shape: tuple[int, ...]) -> Array:
    """The reverse: (n, channel, ...) as (image, channel, grid_y, grid_x, ...)."""
    on_grid: Array = np.moveaxis(values.reshape(*shape, *values.shape[1:]), len(shape), 1)
    return on_grid


def valid_fraction(cuts: Sequence[Cut]) -> Array:
    """Share of the values of each patch that count: averaged over channels, the least over variables."""
    shares = [np.asarray(each.found["valid"], np.float64).mean(axis=1) for each in cuts]
    return np.asarray(np.minimum.reduce(shares), np.float32)


def _kept(job: Job, piece: Piece, cuts: Sequence[Cut]) -> Array | None:
    """Which patches of a piece are kept, shape (image, grid_y, grid_x); None where all are."""
    if job.keep is None:
        return None
    shape = (piece.images[1] - piece.images[0], *piece.counts)
    if not piece.patches:
        return np.zeros(shape, bool)
    several = len(cuts) > 1
    names = [each.name for each in job.planned]
    fields: dict[str, Array] = {"valid_fraction": valid_fraction(cuts).ravel()}
    if job.keep.needs_statistics:
        for planned, name, each in zip(job.planned, names, cuts, strict=True):
            for field, values in each.found.items():
                row = _in_a_row(values[..., None, None])[..., 0, 0]
                fields[f"{name}.{field}" if several else field] = row if planned.channels is not None else row[:, 0]
    patches: Any = None
    if job.keep.needs_patches:
        found = {name: _patches(job, at, piece, each) for at, (name, each) in enumerate(zip(names, cuts, strict=True))}
        patches = found if several else found[names[0]]
        _try_out(job.keep, patches)
    return np.asarray(job.keep(fields, patches, channels=job.labels)).reshape(shape)


def _patches(job: Job, at: int, piece: Piece, each: Cut) -> Array:
    """Finished patches of a piece for a function to look at: (n, channel, patch_y, patch_x)."""
    return _in_a_row(_finished(job, at, piece, each, slice(None)))


def _finished(job: Job, at: int, piece: Piece, each: Cut, channels: slice) -> Array:
    """Finished patches: (image, channel, grid_y, grid_x, patch_y, patch_x)."""
    if each.patches is not None:
        return each.patches[:, channels]
    padding = job.changes[at].padding
    if padding.value.ndim:
        padding = Padding(padding.mode, padding.value[channels])
    return _cut_out(piece, each.values[:, channels], padding)


@dataclass(frozen=True, slots=True)
class _Ledger:
    """A record while it is filled: arrays on (image, channel, grid_y, grid_x) of a shard's own positions."""

    first: int
    lengths: tuple[int, ...]
    arrays: dict[str, Array]

    def put(self, name: str, piece: Piece, values: Array, blank: Any) -> None:
        """What was found of a piece; `blank` stands where a shard's other images have no position."""
        if name not in self.arrays:
            shape = (self.lengths[0], *values.shape[1:-2], *self.lengths[1:])
            self.arrays[name] = np.full(shape, blank, values.dtype)
        images = slice(piece.images[0] - self.first, piece.images[1] - self.first)
        where: tuple[Any, ...] = (images, ..., *(slice(0, n) for n in piece.counts))
        self.arrays[name][where] = values


def _record(
    job: Job, pieces: Sequence[Piece], cuts: Sequence[Sequence[Cut]], kept: Sequence[Array | None]
) -> dict[str, Array]:
    """What the catalog will hold of a shard."""
    start = [a for a, _ in pieces[0].positions]
    first, last = pieces[0].images[0], pieces[-1].images[1]
    shape = tuple(max(piece.positions[axis][1] for piece in pieces) - start[axis] for axis in range(len(start)))
    ledger = _Ledger(first, (last - first, *shape), {"start": np.asarray([first, *start], np.int64)})
    for n, piece in enumerate(pieces):
        if piece.patches:
            _enter(job, ledger, piece, [along[n] for along in cuts], kept[n])
    return ledger.arrays


def _enter(job: Job, ledger: _Ledger, piece: Piece, cuts: Sequence[Cut], kept: Array | None) -> None:
    if any(each.missing for each in job.planned):
        ledger.put("valid_fraction", piece, valid_fraction(cuts), blank=0)
    if kept is not None:
        ledger.put("kept", piece, kept, blank=False)
    for planned, each in zip(job.planned, cuts, strict=True) if job.statistics else ():
        for field in FIELDS[1:]:
            if field in each.found:
                ledger.put(f"{planned.name}:{field}", piece, each.found[field], blank=np.nan)


# -- writing -----------------------------------------------------------------------------------------------------------


def _write(
    job: Job, at: int, key: Key, pieces: Sequence[Piece], cuts: Sequence[Cut], kept: Sequence[Array | None]
) -> int:
    """Write one variable's objects of a shard rectangle; returns raw bytes."""
    planned, target = job.planned[at], job.targets[at]
    nbytes = 0
    for channels, name in zip(channel_groups(planned), object_keys(job.shards, planned, key), strict=True):
        parts = list(_parts(job, at, pieces, cuts, kept, channels))
        if parts:
            nbytes += sum(values.nbytes for _, values in parts)
            # A view may be read in place only where a chunk is one patch: see `TensorStoreArray.write`.
            target.write(parts, reference=not planned.copied)
            parts.clear()
        else:
            target.write_empty(name)
    return nbytes


def _all_parts(
    job: Job, at: int, pieces: Sequence[Piece], cuts: Sequence[Cut], kept: Sequence[Array | None]
) -> Iterator[Part]:
    """What pieces put into all objects of a shard rectangle."""
    for channels in channel_groups(job.planned[at]):
        yield from _parts(job, at, pieces, cuts, kept, channels)


def _parts(
    job: Job,
    at: int,
    pieces: Sequence[Piece],
    cuts: Sequence[Cut],
    kept: Sequence[Array | None],
    channels: slice,
) -> Iterator[Part]:
    """What pieces put into one object."""
    chunk = job.planned[at].shapes.chunk
    alone = job.shards.layout == "patches" and all(n == 1 for n in chunk[:1] + _chunk_positions(job, at))
    for piece, each, mask in zip(pieces, cuts, kept, strict=True):
        yield from _parts_of(job, at, piece, each, mask, channels, alone=alone)


def _chunk_positions(job: Job, at: int) -> tuple[int, ...]:
    axes = len(job.shards.size) - 1
    return job.planned[at].shapes.chunk[-2 * axes : -axes]


def _parts_of(
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
    patches = _finished(job, at, piece, each, channels)
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


__all__ = ["Cut", "Done", "Frame", "Record", "cut_shards", "valid_fraction", "write_shard"]
