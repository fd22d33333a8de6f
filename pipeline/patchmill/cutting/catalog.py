"""The catalog of a set: what is in each patch, as arrays on (image, grid_y, grid_x), filled from the journal."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from patchmill.cutting.job import Job
from patchmill.cutting.request import Request
from patchmill.cutting.statistics import FIELDS, precision
from patchmill.errors import PatchmillError
from patchmill.grid import Axis
from patchmill.planning import Key, catalog_chunk
from patchmill.storage import ArraySpec, TensorStoreArray
from patchmill.storage.chunkkeys import keys_of

Array = NDArray[Any]


def catalog_arrays(request: Request) -> list[ArraySpec]:
    """The arrays of the catalog, declared: on (image, grid_y, grid_x), with a channel axis where the field has one."""
    grids, dims = request.grids, ("image", "grid_y", "grid_x")
    shape = (len(grids.sizes), *grids.canvas.counts)
    channels = max(planned.channels or 1 for planned in request.plan.variables)
    chunk = catalog_chunk(_unit(request), grids.canvas.counts, channels if request.plan.statistics else 1)
    specs = [ArraySpec("exists", dims, shape, np.dtype(bool), chunk, fill=False)]
    if request.keep is not None:
        specs.append(ArraySpec("dropped", dims, shape, np.dtype(bool), chunk, fill=False))
    specs.append(ArraySpec("valid_fraction", dims, shape, np.dtype(np.float32), chunk, fill=float("nan")))
    if not request.plan.statistics:
        return specs
    for at, (planned, variable) in enumerate(zip(request.plan.variables, request.source.variables, strict=True)):
        channel = () if planned.channels is None else (request.source.channel_dim(variable),)
        lengths = () if planned.channels is None else (planned.channels,)
        dtype = np.dtype(planned.dtype)
        specs += [
            ArraySpec(
                stat_name(request, at, field),
                (dims[0], *channel, *dims[1:]),
                (shape[0], *lengths, *shape[1:]),
                precision(dtype),
                (chunk[0], *lengths, *chunk[1:]),
                fill=float("nan"),
            )
            for field in (() if dtype.kind == "c" else FIELDS[1:])
        ]
    return specs


def _unit(request: Request) -> tuple[int, ...]:
    """Images, and positions along each axis, that chunks of the catalog are multiples of."""
    shard = request.plan.work.shard
    return shard if request.plan.layout == "patches" else (shard[0], *(1 for _ in shard[1:]))


def stat_name(request: Request, at: int, field: str) -> str:
    """Key of a statistic in the set."""
    several = len(request.plan.variables) > 1
    return f"stat_{request.plan.variables[at].name}_{field}" if several else f"stat_{field}"


class Records(Protocol):
    """What tasks found out about shards."""

    def read(self, key: Key) -> Mapping[str, Array] | None:
        """The record of a shard, None where there is none."""


def values_over(
    request: Request, job: Job, records: Records | None, region: tuple[slice, ...]
) -> dict[str, tuple[tuple[slice, ...], Array]]:
    """What every catalog array must hold over a region of (image, grid_y, grid_x), with the array's own region."""
    found = _Chunk.blank(request, region, catalog_arrays(request))
    found.fill(job, records, request, 0)
    return {name: (found.place(name), np.ascontiguousarray(values)) for name, values in found.values.items()}


def shards_over(job: Job, region: tuple[slice, ...]) -> Iterator[Key]:
    """Shards that own positions of a region of the catalog, of those that hold anything."""
    return (key for key in _shards_over(job, region) if any(job.pieces(key)))


# -- filling -----------------------------------------------------------------------------------------------------------


def write_catalog(
    request: Request,
    job: Job,
    specs: Sequence[ArraySpec],
    arrays: Mapping[str, TensorStoreArray],
    old: int,
    look: Callable[[], None],
) -> NDArray[np.int64] | None:
    """Fill the catalog from the journal, chunk by chunk, in constant memory.

    Parameters
    ----------
    request : Request
    job : Job
    specs : sequence of ArraySpec
        From `catalog_arrays`.
    arrays : mapping
        The same, opened.
    old : int
        Images that the set holds already: chunks of these alone stay as they are.
    look : callable
        Called between chunks; raises where it is to stop.

    Returns
    -------
    ndarray of int, shape (image,), or None
        Patches of each image that were kept, where any could be dropped.
    """
    shape, chunk = specs[0].shape, specs[0].chunk
    counts = np.zeros(shape[0], np.int64) if request.keep is not None else None
    with ExitStack() as stack:
        index = job.journal.index(job.shards) if job.journaled else None
        if index is not None:
            stack.callback(index.close)
        write = stack.enter_context(_writing(arrays, anew=old > 0))
        for region in _chunks(shape, chunk):
            look()
            if region[0].stop <= old:
                _count(counts, region, arrays["exists"].read(region) if counts is not None else None)
                continue
            found = _Chunk.blank(request, region, specs)
            if region[0].start < old:
                found.take_over(arrays, slice(0, old - region[0].start))
            found.fill(job, index, request, old, complete=True)
            for name, values in found.values.items():
                write(name, found.place(name), values)
            _count(counts, region, found.values["exists"])
    return counts


def _chunks(shape: tuple[int, ...], chunk: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    for corner in product(*(range(0, n, size) for n, size in zip(shape, chunk, strict=True))):
        stop = tuple(min(a + size, n) for a, size, n in zip(corner, chunk, shape, strict=True))
        yield tuple(slice(a, b) for a, b in zip(corner, stop, strict=True))


_AHEAD = 8
"""Chunks that are written at a time: each waits for the disk twice, for its bytes and for its name."""


@contextmanager
def _writing(
    arrays: Mapping[str, TensorStoreArray], *, anew: bool
) -> Iterator[Callable[[str, tuple[slice, ...], Array], None]]:
    """A function that writes a chunk of an array, several at a time; when the context ends they are on the disk.

    `anew` for chunks that an append of more images may have left: beyond the array's end they would stay as they are.
    """
    under_way: deque[Future[None]] = deque()
    with ThreadPoolExecutor(_AHEAD, thread_name_prefix="patchmill-catalog") as pool:

        def write(name: str, place: tuple[slice, ...], values: Array) -> None:
            if len(under_way) >= _AHEAD:
                under_way.popleft().result()
            array, parts = arrays[name], [(place, np.ascontiguousarray(values))]
            put = partial(array.replace, next(keys_of(array, place))) if anew else array.write
            under_way.append(pool.submit(put, parts))

        try:
            yield write
            for each in under_way:
                each.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _count(counts: NDArray[np.int64] | None, region: tuple[slice, ...], exists: Array | None) -> None:
    if counts is not None and exists is not None:
        counts[region[0]] += exists.sum(axis=tuple(range(1, exists.ndim)))


class _Chunk:
    """Values of every catalog array over a region of (image, grid_y, grid_x)."""

    def __init__(self, region: tuple[slice, ...], values: dict[str, Array]) -> None:
        self.region, self.values = region, values
        self.there = values["exists"].copy() if "dropped" in values else values["exists"]
        """Which positions the grid has, kept or not."""

    @classmethod
    def blank(cls, request: Request, region: tuple[slice, ...], specs: Sequence[ArraySpec]) -> _Chunk:
        """What follows from the grid alone: which positions exist, and how much of each lies inside its image."""
        lengths = tuple(side.stop - side.start for side in region)
        values = {"exists": request.grids.exists(*region), "valid_fraction": _inside(request, region)}
        for spec in specs:
            if spec.name not in values:
                values[spec.name] = np.full((lengths[0], *spec.shape[1:-2], *lengths[1:]), spec.fill, spec.dtype)
        return cls(region, values)

    def place(self, name: str) -> tuple[slice, ...]:
        """The region of an array, which may have a channel axis."""
        values = self.values[name]
        return (self.region[0], *(slice(0, n) for n in values.shape[1:-2]), *self.region[1:])

    def take_over(self, arrays: Mapping[str, Any], images: slice) -> None:
        """What the set holds of its old images."""
        first = self.region[0].start
        for name, values in self.values.items():
            place = self.place(name)
            values[images] = arrays[name].read((slice(first + images.start, first + images.stop), *place[1:]))

    def fill(
        self,
        job: Job,
        index: Records | None,
        request: Request,
        old: int,
        *,
        complete: bool = False,
    ) -> None:
        """What tasks found out; where it is to be `complete`, a shard of which nothing was is an error."""
        if index is None:
            return
        for key in _shards_over(job, self.region):
            if (key[0] + 1) * job.shards.size[0] <= old:
                continue
            record = index.read(key)
            if record is not None:
                self._put(job, record, request)
            elif complete and any(job.pieces(key)):
                raise _gone(job, key)

    def _put(self, job: Job, record: Mapping[str, Array], request: Request) -> None:
        start, several = record["start"].tolist(), {}
        if "valid_fraction" in record:
            several["valid_fraction"] = record["valid_fraction"]
        for at, planned in enumerate(job.planned):
            for field in FIELDS[1:]:
                values = record.get(f"{planned.name}:{field}")
                if values is not None:
                    several[stat_name(request, at, field)] = values[:, 0] if planned.channels is None else values
        for name, values in several.items():
            self._lay(name, start, values)
        if "kept" in record:
            exists = self._cut_out("exists", start, record["kept"].shape)
            kept = self._own_part(start, record["kept"])
            self._lay("dropped", start, record["kept"] ^ True)
            self.values["dropped"][exists] &= self.there[exists]
            self.values["exists"][exists] &= kept

    def _lay(self, name: str, start: list[int], values: Array) -> None:
        where = self._cut_out(name, start, (values.shape[0], *values.shape[-2:]))
        self.values[name][where] = self._own_part(start, values)

    def _cut_out(self, name: str, start: list[int], lengths: tuple[int, ...]) -> tuple[slice, ...]:
        sides = [
            slice(max(a - side.start, 0), max(0, min(a + n, side.stop) - side.start))
            for a, n, side in zip(start, lengths, self.region, strict=True)
        ]
        return (sides[0], *(slice(None) for _ in range(self.values[name].ndim - 3)), *sides[1:])

    def _own_part(self, start: list[int], values: Array) -> Array:
        lengths = (values.shape[0], *values.shape[-2:])
        sides = [
            slice(max(side.start - a, 0), max(0, min(side.stop - a, n)))
            for a, n, side in zip(start, lengths, self.region, strict=True)
        ]
        own: tuple[Any, ...] = (sides[0], ..., *sides[1:])
        return np.asarray(values[own])


def _gone(job: Job, key: Key) -> PatchmillError:
    return PatchmillError(
        f"what was found out about shard {key} is gone from {job.journal.work.url}, where others may have removed "
        "it: call again, which cuts the shard again"
    )


def _shards_over(job: Job, region: tuple[slice, ...]) -> Iterator[Key]:
    """Shards that own positions of a region of the catalog."""
    shards, (images, *positions) = job.shards, region
    grid = shards.grids.canvas
    if shards.layout == "patches":
        along = [range(side.start // n, -(-side.stop // n)) for side, n in zip(positions, shards.size[1:], strict=True)]
    else:
        # "shift" moves last positions back, further in smaller images: one shard more on the near side.
        first = [
            max(0, axis[side.start] - axis.step) // n
            for axis, side, n in zip(grid.axes, positions, shards.size[1:], strict=True)
        ]
        last = [
            axis[side.stop - 1] // n + 1 for axis, side, n in zip(grid.axes, positions, shards.size[1:], strict=True)
        ]
        along = [range(a, b) for a, b in zip(first, last, strict=True)]
    together = shards.size[0]
    yield from product(range(images.start // together, -(-images.stop // together)), *along)


def _inside(request: Request, region: tuple[slice, ...]) -> Array:
    """Share of each patch that lies inside its image; 0 where no patch is."""
    images, *positions = region
    grids = request.grids
    lengths = np.asarray(grids.sizes[images])
    alike = bool((lengths == lengths[:1]).all())
    axes = zip(grids.canvas.axes, positions, (lengths[:1] if alike else lengths).T, strict=True)
    rows, columns = (_along_images(axis, side, own) for axis, side, own in axes)
    patch_y, patch_x = grids.canvas.patch_shape
    share = (rows[:, :, None] * columns[:, None, :] / (patch_y * patch_x)).astype(np.float32)
    return np.repeat(share, len(lengths), axis=0) if len(share) < len(lengths) else share


def _along_images(axis: Axis, side: slice, lengths: NDArray[np.int64]) -> NDArray[np.float64]:
    """Pixels inside of the positions of an axis, for images of several lengths: shape (image, position)."""
    distinct, which = np.unique(lengths, return_inverse=True)
    table = np.zeros((len(distinct), side.stop - side.start))
    for at, n in enumerate(distinct.tolist()):
        one = replace(axis, n=n)
        held = one.inside(side.start, min(side.stop, len(one)))
        table[at, : len(held)] = held
    return np.asarray(table[which])
