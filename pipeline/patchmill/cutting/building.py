"""One generation of a set, from declared arrays to the commit."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from patchmill.cutting.catalog import catalog_arrays, write_catalog
from patchmill.cutting.contents import pixel_arrays, root_attributes, small_arrays
from patchmill.cutting.crews import Crew, Task
from patchmill.cutting.job import Job
from patchmill.cutting.request import Request, channel_labels_of
from patchmill.cutting.running import Tally, run
from patchmill.cutting.slices import Slice
from patchmill.cutting.standing import Flags, standing, take_back
from patchmill.cutting.workplace import Workplace
from patchmill.errors import PatchmillError, TargetExistsError
from patchmill.planning import Key, Shards, shards_of, waves
from patchmill.planning.memory import crowded
from patchmill.storage import (
    ArraySpec,
    Location,
    TensorStoreArray,
    declare,
    declare_arrays,
    digest,
    open_bulk,
    root_of,
    write_small,
)
from patchmill.storage.checking import ObjectFormat
from patchmill.types import Watch


@dataclass(frozen=True, slots=True, eq=False)
class Generation:
    """What one call builds.

    Parameters
    ----------
    request : Request
    workplace : Workplace
    pixels : list of ArraySpec
        The arrays of pixels.
    catalog : list of ArraySpec
        The arrays of the catalog.
    objects : mapping
        Metadata of both: key to object.
    job : Job
    done : ndarray of bool
        By number of shard; what need not be cut is done.
    """

    request: Request
    workplace: Workplace
    pixels: list[ArraySpec]
    catalog: list[ArraySpec]
    objects: Mapping[str, bytes]
    job: Job
    done: Flags

    @property
    def first(self) -> int:
        """The first shard along image that this generation writes."""
        return self.workplace.old // self.job.shards.size[0]

    def todo(self, part: Slice | None = None) -> Iterator[Key]:
        """Shards that are not done, in the order of cutting."""
        shards = self.job.shards
        for key in shards.walk(self.request.plan.work, self.first):
            number = shards.number(key)
            if not self.done[number] and (part is None or part.has(number, len(shards))) and any(self.job.pieces(key)):
                yield key

    def tasks(self, part: Slice | None = None) -> Iterator[Task]:
        """The same as tasks for a crew."""
        work = self.request.plan.work
        if work.read == "region":
            yield from self.todo(part)
            return
        shards = self.job.shards
        for wave in waves(shards, work, self.first):
            inside = (range(cuts[0], cuts[-1]) for cuts in wave.cuts)
            keys = [key for key in product(range(*wave.images), *inside) if not self.done[shards.number(key)]]
            if part is not None:
                keys = [key for key in keys if part.has(shards.number(key), len(shards))]
            wanted = frozenset(key for key in keys if any(self.job.pieces(key)))
            if wanted:
                yield wave, wanted


def prepare(request: Request, workplace: Workplace, look: Callable[[], None]) -> Generation:
    """Declare the arrays where that is to be done now, and find out what is there already.

    Parameters
    ----------
    request : Request
    workplace : Workplace
    look : callable
        Called now and then, as often as it likes to be; raises where it is to stop.

    Raises
    ------
    TypeError, ValueError
        If a coordinate can't be stored, which is no news for after the last shard.
    TargetExistsError
        If another version of patchmill began it, and would store it otherwise.
    """
    small = small_arrays(request)
    pixels = pixel_arrays(request)
    catalog = catalog_arrays(request)
    _refuse_twins([*pixels, *catalog, *small])
    objects = declare_arrays([*pixels, *catalog])
    building = workplace.building
    there = {key: building.read(key) for key in objects}
    _refuse_other_forms(building, there, objects)
    if not workplace.old:
        for key, data in objects.items():
            if there[key] != data:
                building.write(key, data)
    targets = tuple(_opened(building, spec, objects) for spec in pixels)
    plan = request.plan
    above = crowded(plan.memory, plan.limit)
    job = Job(
        source=request.source.cached(plan.work.cache, above),
        shards=shards_of(plan, request.grids),
        planned=plan.variables,
        changes=request.changes,
        keep=request.keep,
        statistics=plan.statistics,
        targets=targets,
        journal=workplace.journal(),
        labels=channel_labels_of(request.source),
        crowded=above,
        compiled=plan.compiled,
        old=workplace.old,
        exists=_opened(building, catalog[0], objects) if workplace.old and request.keep is not None else None,
    )
    forms = {each.name: ObjectFormat.of(json.loads(objects[f"{each.name}/zarr.json"])) for each in pixels}
    take_back(job.shards, workplace, forms, look)
    done, left = standing(job, workplace, forms, look)
    return Generation(request, workplace, pixels, catalog, objects, replace(job, left=left), done)


def _refuse_other_forms(building: Location, there: Mapping[str, bytes | None], objects: Mapping[str, bytes]) -> None:
    """Raise where arrays that are there are stored otherwise than this version of patchmill would store them."""
    for key, data in objects.items():
        known = there[key]
        if known is None or known == data:
            continue
        try:
            found, declared = json.loads(known), json.loads(data)
            differs = [name for name in _FORM if found[name] != declared[name]]
        except (ValueError, LookupError, TypeError):
            continue  # damaged, which is no other form
        if differs:
            raise TargetExistsError(
                f"{building.url}/{key} has another {differs[0]} than this patchmill gives it: go on with the version "
                "that began it, or cut anew with mode='overwrite'"
            )


_FORM = ("data_type", "chunk_grid", "chunk_key_encoding", "codecs", "fill_value")
"""What tells in an array's metadata how its objects are made."""


def _refuse_twins(specs: Iterable[ArraySpec]) -> None:
    times = Counter(spec.name for spec in specs)
    twins = [name for name, number in times.items() if number > 1]
    if twins:
        raise ValueError(
            f"each array of a patch set needs a name of its own, got {twins[0]!r} for two: rename the variable or the "
            "axis in the source"
        )


def cut(
    generation: Generation, crew: Crew, part: Slice | None, watch: Watch | None, pause: Callable[[], bool]
) -> Tally:
    """Cut all that is to be done of a generation, or of a slice of it; returns how far it got."""
    job = generation.job
    low, high = (0, len(job.shards)) if part is None else part.interval(len(job.shards))
    tally = Tally(*_extent(generation, range(low, high)), watch)
    tally.done, tally.shards_done = _extent(generation, low + np.flatnonzero(generation.done[low:high]))
    tally.tell()
    if not run(job, generation.tasks(part), generation.done, crew, tally, pause):
        tally.stopped = True
    elif any(any(job.pieces(key)) for key in _keys(job.shards, low + np.flatnonzero(~generation.done[low:high]))):
        raise PatchmillError("tasks have ended without having written all of their shards: call again to go on")
    return tally


def _keys(shards: Shards, numbers: Sequence[int] | NDArray[np.int64]) -> Iterator[Key]:
    """Shards by their numbers."""
    return (tuple(key) for key in np.stack(np.unravel_index(np.asarray(numbers, np.int64), shards.counts), 1).tolist())


def _extent(generation: Generation, numbers: Sequence[int] | NDArray[np.int64]) -> tuple[int, int]:
    """Positions that some shards own, and how many of these own any: exact for few, in proportion for very many."""
    shards = generation.job.shards
    alike = bool((shards.grids.sizes == shards.grids.sizes[:1]).all())
    if len(numbers) > _EXACT or (alike and len(numbers) == len(shards)):
        return len(shards.grids) * len(numbers) // max(1, len(shards)), len(numbers)
    owned = [[piece.patches for piece in generation.job.pieces(key)] for key in _keys(shards, numbers)]
    return sum(map(sum, owned)), sum(map(bool, owned))


_EXACT = 10_000


def commit(generation: Generation, look: Callable[[], None]) -> None:
    """Fill the catalog, write coordinates, and last of all the root; `look` as for `prepare`.

    Raises
    ------
    PatchmillError
        If what was there before the first shard is gone, and who knows how many shards with it.
    """
    request, workplace = generation.request, generation.workplace
    building = workplace.building
    before = ["zarr.json"] if workplace.old else [f"{spec.name}/zarr.json" for spec in generation.pixels]
    if any(building.read(key) is None for key in before):
        raise PatchmillError(
            f"{building.url} was removed, or part of it, while it was being written: call again to go on from here"
        )
    arrays = {each.name: _opened(building, each, generation.objects) for each in generation.catalog}
    counts = write_catalog(request, generation.job, generation.catalog, arrays, workplace.old, look)
    small = small_arrays(request)
    beside = small if counts is None else [*small, ArraySpec.of("count", ("image",), counts)]
    specs = [*generation.pixels, *generation.catalog, *beside]
    objects = declare(specs, {}, generation.objects)
    digests = {spec.name: digest(objects[f"{spec.name}/zarr.json"]) for spec in specs}
    root = root_of(objects, root_attributes(request, digests, small))
    workplace.announce(root)
    write_small(building, beside, objects)
    for spec in specs:
        key = f"{spec.name}/zarr.json"
        if building.read(key) != objects[key]:
            building.write(key, objects[key])
    building.sweep()
    look()
    building.write("zarr.json", root)


def _opened(building: Location, spec: ArraySpec, objects: Mapping[str, bytes]) -> TensorStoreArray:
    """An array by the metadata it is to have, whether that is written or not: an append publishes it last."""
    return open_bulk(building.child(spec.name), metadata=json.loads(objects[f"{spec.name}/zarr.json"]))
