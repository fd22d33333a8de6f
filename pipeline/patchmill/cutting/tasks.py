"""One task: from pixels to shards on the disk.

::

    source --read--> tile --change--> values --cut--> patches --> shard
                                         |              |
                                    statistics --> keep? --> record in the journal, durable before the shard
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchmill.cutting import compiled
from patchmill.cutting.former import refuse_changed, refuse_kept_otherwise
from patchmill.cutting.job import Job, Piece, channel_groups, object_keys
from patchmill.cutting.journaling import record_of, valid_fraction
from patchmill.cutting.keeping import Keep
from patchmill.cutting.parts import Cut, all_parts, cut_out, finished, in_a_row, on_grid, parts_of
from patchmill.cutting.statistics import FIELDS, Along, measured_values, patch_statistics, patch_statistics_of
from patchmill.patches.views import Padding
from patchmill.planning import Key
from patchmill.planning.memory import HANDED
from patchmill.sources import Variable
from patchmill.storage.heap import ease
from patchmill.transforms import Transform, check_alone
from patchmill.transforms.functions import Patches

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Done:
    """A shard rectangle that is on the disk: its positions, and raw bytes written."""

    key: Key
    positions: int
    nbytes: int


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """Where tiles lie: their first image, and their first pixel y, x."""

    image: int
    low: tuple[int, ...]


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
        _refuse_changed(job, pieces, cuts, kept)
    record = record_of(job, pieces, cuts, kept) if job.journaled else None
    there = job.there(key, record)
    if record is not None:
        job.journal.append({key: record})
    ease(job.crowded)
    nbytes = sum(_write(job, at, key, pieces, along, kept, there) for at, along in enumerate(cuts))
    return Done(key, sum(piece.patches for piece in pieces), nbytes)


def _refuse_changed(
    job: Job, pieces: Sequence[Piece], cuts: Sequence[Sequence[Cut]], kept: Sequence[Array | None]
) -> None:
    """Raise where an image that the set holds is not what it was: neither which patches are kept, nor any of these."""
    if job.exists is not None:
        for piece, mask in zip(pieces, kept, strict=True):
            if mask is not None and piece.patches:
                refuse_kept_otherwise(job.exists, piece.images, piece.positions, mask, job.old, job.source.url)
    gone = _without_patches(pieces, kept) if job.shards.layout == "patches" else frozenset()
    for at, along in enumerate(cuts):
        parts = all_parts(job, at, pieces, along, kept)
        refuse_changed(job.targets[at], parts, job.old, job.source.url, gone)


def _without_patches(pieces: Sequence[Piece], kept: Sequence[Array | None]) -> frozenset[int]:
    """Images of which a shard keeps no patch."""
    return frozenset(
        piece.images[0] + at
        for piece, mask in zip(pieces, kept, strict=True)
        if mask is not None
        for at in np.flatnonzero(~mask.any(axis=(1, 2))).tolist()
    )


# -- looking -----------------------------------------------------------------------------------------------------------


def _cut(job: Job, at: int, piece: Piece, tile: Array, frame: Frame) -> Cut:
    """Changed pixels of a piece, and what is in its patches."""
    change, variable = job.changes[at], job.source.variables[at]
    raw = _held(piece, tile, frame)
    fields = _wanted(job, job.planned[at].name) if piece.patches > 0 and job.shards.whole else ()
    if change.pointwise:
        _try_out(change.transform, _middle(raw, piece.grid.patch_shape))
        values = change.apply(raw, variable.name)
        return Cut(values, None, _of_pixels(piece, raw, values, variable, fields))
    patches = in_a_row(cut_out(piece, raw, change.padding))
    _try_out(change.transform, _few(patches))
    changed = change.apply(patches, variable.name)
    del patches
    ease(job.crowded)
    found = _of_patches(piece, raw, changed, variable, fields)
    shape = (piece.images[1] - piece.images[0], *piece.counts)
    return Cut(raw, on_grid(changed, shape), {name: on_grid(values, shape) for name, values in found.items()})


def _of_pixels(
    piece: Piece, raw: Array, values: Array, variable: Variable, fields: tuple[str, ...]
) -> dict[str, Array]:
    """Statistics of patches whose pixels are changed one by one, or not at all: of the tile, before it is cut."""
    if not fields:
        return {}
    along = _along(piece)
    if values is not raw:
        return patch_statistics(values, along, None, measured=_measured(piece, raw, variable), fields=fields)
    runs = [
        patch_statistics(raw[images], along, nodata, fields=fields)
        for images, nodata in variable.nodata_runs(piece.images)
    ]
    return runs[0] if len(runs) == 1 else {name: np.concatenate([each[name] for each in runs]) for name in runs[0]}


def _of_patches(
    piece: Piece, raw: Array, changed: Array, variable: Variable, fields: tuple[str, ...]
) -> dict[str, Array]:
    """Statistics of patches that are changed as a whole, shape (n, channel)."""
    if not fields:
        return {}
    measured = _measured(piece, raw, variable)
    inside = np.ones(raw.shape, bool) if measured is None else measured
    counted = in_a_row(cut_out(piece, inside, Padding("constant", np.asarray(False))))  # noqa: FBT003 - a pixel
    return patch_statistics_of(changed, counted, None, axes=piece.grid.axes, fields=fields)


def _measured(piece: Piece, raw: Array, variable: Variable) -> Array | None:
    """Which values of a piece are measured, shape as `raw`, each image by its own nodata; None where all are."""
    runs = [(images, measured_values(raw[images], nodata)) for images, nodata in variable.nodata_runs(piece.images)]
    if len(runs) == 1 or all(measured is None for _, measured in runs):
        return runs[0][1]
    found = np.ones(raw.shape, bool)
    for images, measured in runs:
        if measured is not None:
            found[images] = measured
    return found


_TRIED: set[str] = set()
"""Functions that were seen in this process to treat each patch alone."""


_SOME = 4
"""Patches that a function is tried on: it is called several times, for which a plan leaves no room."""


def _few(patches: Array) -> Array:
    """Some of many patches, from all over."""
    return patches[:: max(1, len(patches) // _SOME)][:_SOME]


def _middle(pixels: Array, patch_shape: Sequence[int]) -> Array:
    """The middle of a tile, as large as a patch, of two images at most."""
    inner = (
        slice((n - min(n, m)) // 2, (n + min(n, m)) // 2) for n, m in zip(pixels.shape[2:], patch_shape, strict=True)
    )
    return pixels[(slice(0, 2), slice(None), *inner)]


def _try_out(what: Transform | Keep | None, patches: Any) -> None:
    """Put a function to the test on the first patches that tell: what looks at its neighbors depends on the blocks."""
    if what is None or not (what.functions if isinstance(what, Transform) else what.needs_patches):
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


def _kept(job: Job, piece: Piece, cuts: Sequence[Cut]) -> Array | None:
    """Which patches of a piece are kept, shape (image, grid_y, grid_x); None where all are."""
    if job.keep is None:
        return None
    shape = (piece.images[1] - piece.images[0], *piece.counts)
    if not piece.patches:
        return np.zeros(shape, bool)
    if job.keep.needs_patches:
        return _kept_by_function(job, job.keep, piece, cuts)
    several = len(cuts) > 1
    names = [each.name for each in job.planned]
    fields: dict[str, Array] = {"valid_fraction": valid_fraction(cuts).ravel()}
    if job.keep.needs_statistics:
        for planned, name, each in zip(job.planned, names, cuts, strict=True):
            for field, values in each.found.items():
                row = in_a_row(values[..., None, None])[..., 0, 0]
                fields[f"{name}.{field}" if several else field] = row if planned.channels is not None else row[:, 0]
    return np.asarray(job.keep(fields, channels=job.labels)).reshape(shape)


def _kept_by_function(job: Job, keep: Keep, piece: Piece, cuts: Sequence[Cut]) -> Array:
    """The same by a function of finished patches: it gets some rows of positions of all variables at a time."""
    images, (rows, columns) = piece.images[1] - piece.images[0], piece.counts
    windows = {job.planned[at].name: finished(job, at, piece, each, slice(None)) for at, each in enumerate(cuts)}
    step = max(1, HANDED * rows // sum(each.nbytes for each in windows.values()))
    kept = np.empty((images, rows, columns), bool)
    for start in range(0, rows, step):
        some = slice(start, start + step)
        patches = {name: in_a_row(each[:, :, some]) for name, each in windows.items()}
        _try_out(keep, _handed({name: _few(each) for name, each in patches.items()}))
        kept[:, some] = keep(patches=_handed(patches)).reshape(images, -1, columns)
        del patches  # before there are the next
    return kept


def _handed(patches: dict[str, Array]) -> Patches:
    """As a function gets them: a single variable's by themselves."""
    return patches if len(patches) > 1 else next(iter(patches.values()))


# -- writing -----------------------------------------------------------------------------------------------------------


def _write(
    job: Job,
    at: int,
    key: Key,
    pieces: Sequence[Piece],
    cuts: Sequence[Cut],
    kept: Sequence[Array | None],
    there: Collection[tuple[int, str]],
) -> int:
    """Write one variable's objects of a shard rectangle, but for those that are there; returns raw bytes."""
    planned, target = job.planned[at], job.targets[at]
    nbytes = 0
    for channels, name in zip(channel_groups(planned), object_keys(job.shards, planned, key), strict=True):
        if (at, name) in there:
            continue
        job.halt.check()
        parts = list(parts_of(job, at, pieces, cuts, kept, channels))
        if parts:
            nbytes += sum(values.nbytes for _, values in parts)
            # A view may be read in place only where a chunk is one patch: see `TensorStoreArray.write`.
            write = partial(target.replace, name) if job.is_shared(key) else target.write
            write(parts, reference=not planned.copied)
            parts.clear()
        else:
            target.write_empty(name)
    return nbytes
