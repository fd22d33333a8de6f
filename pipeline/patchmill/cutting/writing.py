"""`plan` and `write_patches`: check, decide where, cut in waves, commit."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from patchmill.cutting.contents import catalog_arrays, pixel_arrays, root_attributes, small_arrays, write_catalog
from patchmill.cutting.graphs import tasks_of
from patchmill.cutting.job import Job, Tally
from patchmill.cutting.journal import Key
from patchmill.cutting.request import Request, make_request
from patchmill.cutting.workplace import Workplace, begin
from patchmill.errors import SourceError
from patchmill.planning import Plan, PlannedVariable, waves
from patchmill.reading import PatchSet, open_patches
from patchmill.sources import Dims
from patchmill.storage import ArraySpec, Location, declare, digest, open_bulk, write_small
from patchmill.types import Edge, Layout, Mode, PadMode, PerAxis, as_word

Watch = Callable[[int, int, int], None]

_TOGETHER = 64
"""Lone blocks given to Dask at a time."""


def plan(
    source: Any,
    patch_shape: PerAxis,
    step: PerAxis | None = None,
    *,
    dilation: PerAxis = 1,
    edge: Edge = "drop",
    variables: Sequence[str] | None = None,
    dims: Dims = None,
    memory: int | str | None = None,
    workers: int | None = None,
) -> Plan:
    """What `write_patches` would do with these arguments, and what it would cost. Reads no pixel.

    Parameters
    ----------
    source, patch_shape, step, dilation, edge, variables, dims, memory, workers
        As for `write_patches`.

    Returns
    -------
    Plan
        Frozen; prints as a table, goes through JSON.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong, or no image is as large as a patch.
    PatchmillError
        If the source can't be read, or one block alone needs more than `memory`.

    Examples
    --------
    >>> import numpy as np, patchmill
    >>> plan = patchmill.plan(np.zeros((2, 3, 900, 1600), "uint16"), 256, 128, edge="shift")
    >>> plan.patches, plan.uncovered, round(plan.overlap_factor, 2)
    (168, 0, 3.82)
    """
    return make_request(
        source,
        patch_shape,
        step,
        dilation=dilation,
        edge=edge,
        pad_mode="constant",
        pad_value=0,
        variables=variables,
        dims=dims,
        memory=memory,
        workers=workers,
    ).plan


def write_patches(
    source: Any,
    target: str | os.PathLike[str],
    patch_shape: PerAxis,
    step: PerAxis | None = None,
    *,
    layout: Layout = "patches",
    dilation: PerAxis = 1,
    edge: Edge = "drop",
    pad_mode: PadMode = "constant",
    pad_value: Any = 0,
    variables: Sequence[str] | None = None,
    dims: Dims = None,
    mode: Mode = "resume",
    memory: int | str | None = None,
    workers: int | None = None,
    progress: Watch | None = None,
) -> PatchSet:
    """Cut `source` into patches and write them to `target`, a Zarr v3 group that any reader opens.

    Parameters
    ----------
    source : path, ndarray, dask array, DataArray or Dataset
        A path of a Zarr array or group (version 2 or 3), or an object whose axes are (image, channel, y, x) or the last
        of them. Several variables on the same y and x are cut in one pass into aligned arrays.
    target : path
        Folder to write; parents are made.
    patch_shape : int or (int, int)
        Pixels of a patch: y, x.
    step : int or (int, int), optional
        Pixels between neighboring origins; None means `patch_shape`, no overlap.
    layout : {"patches"}
        How pixels lie on disk: every patch in full.
    dilation : int or (int, int)
        Pixels between neighboring pixels of one patch.
    edge : {"drop", "pad", "shift"}
        What happens where the last patch does not fit: left out, filled, or moved back to end at the border.
    pad_mode : {"constant", "edge", "reflect", "symmetric"}
        What continues an image for ``edge="pad"``, as in `numpy.pad`.
    pad_value : number
        For ``pad_mode="constant"``; every variable's dtype must hold it.
    variables : sequence of str, optional
        Which variables of a group or Dataset; by default all that have a y and an x axis.
    dims : mapping or sequence, optional
        Which axis is which where names differ, such as ``{"image": "time", "channel": "band"}``; for an unnamed array
        its axes in order, such as ``("y", "x", "channel")``.
    mode : {"resume", "create", "overwrite"}
        "resume" begins a set, goes on with one that was begun by the same request, or returns it if it is finished;
        "create" begins one where nothing is; "overwrite" builds aside and replaces a patch set, never anything else.
    memory : int or str, optional
        Bytes that this process may hold, such as ``"1GiB"``; default half of what the machine has.
    workers : int, optional
        Threads; default the CPUs that affinity allows.
    progress : callable, optional
        Called with (patches done, patches in all, bytes written) from any thread.

    Returns
    -------
    PatchSet

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong, or no image is as large as a patch. Nothing is written then.
    TargetExistsError
        If the target holds something that `mode` may not touch.
    PatchmillError
        If the source can't be read, or memory does not suffice.

    Examples
    --------
    >>> import numpy as np, patchmill, tempfile
    >>> image = np.arange(3 * 40 * 50, dtype="uint16").reshape(3, 40, 50)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ps = patchmill.write_patches(image, f"{folder}/patches.zarr", 16, step=8)
    ...     len(ps), ps[0].shape, bool((ps[0] == image[:, :16, :16]).all())
    (20, (3, 16, 16), True)
    """
    as_word(layout, "layout", Layout)
    as_word(mode, "mode", Mode)
    place = Location.parse(target)
    request = make_request(
        source,
        patch_shape,
        step,
        dilation=dilation,
        edge=edge,
        pad_mode=pad_mode,
        pad_value=pad_value,
        variables=variables,
        dims=dims,
        memory=memory,
        workers=workers,
    )
    _refuse_inside(place, request)
    workplace = begin(place, request.to_dict(), mode)
    if workplace is not None:
        _cut(request, workplace, progress)
        workplace.finish()
    return open_patches(target)


def _refuse_inside(target: Location, request: Request) -> None:
    """A target inside its own source, or the reverse, would destroy what it reads."""
    if not os.path.isabs(request.source.url):
        return  # in memory
    origin, place = (Path(os.path.realpath(path)) for path in (request.source.url, target.path))
    if place == origin or origin in place.parents or place in origin.parents:
        raise ValueError(f"target must lie outside of the source {origin}, got {target.path}: choose another place")


def _cut(request: Request, workplace: Workplace, progress: Watch | None) -> None:
    """Everything between the decision where to build and the finished group."""
    small, pixels, catalog = small_arrays(request), pixel_arrays(request), catalog_arrays(request)
    specs = [*pixels, *catalog, *small]
    objects = declare(specs, {})
    write_small(workplace.building, specs, objects)
    job = _job(request, workplace, pixels, progress)
    _run(job, request)
    write_catalog(request, job.journal, workplace.building)
    workplace.building.sweep()
    _commit(request, workplace.building, specs, small)


def _job(request: Request, workplace: Workplace, pixels: Sequence[ArraySpec], progress: Watch | None) -> Job:
    journal = workplace.journal()
    found = [
        _shards_of(workplace.building, spec.name, planned)
        for spec, planned in zip(pixels, request.plan.variables, strict=True)
    ]
    done = frozenset(key for key in set.intersection(*found) if key in journal)
    job = Job(
        source=request.source,
        grids=request.grids,
        planned=request.plan.variables,
        shard=request.plan.work.shard,
        paddings=request.paddings,
        targets=tuple(open_bulk(workplace.building.child(spec.name)) for spec in pixels),
        journal=journal,
        done=done,
        tally=Tally(len(request.grids), progress),
    )
    job.tally.done = sum(piece.patches for key in done for piece in job.pieces(key))
    return job


def _shards_of(building: Location, name: str, planned: PlannedVariable) -> set[Key]:
    """Shard rectangles of which every object is there."""
    needed = 1 if planned.channels is None else -(-planned.channels // planned.shapes.shard[1])
    found: dict[Key, int] = {}
    for key in building.child(name).keys("c"):
        _, image, *rest = key.split("/")
        positions = rest[:2] if planned.channels is None else rest[1:3]
        place = (int(image), *(int(n) for n in positions))
        found[place] = found.get(place, 0) + 1
    return {place for place, count in found.items() if count == needed}


def _run(job: Job, request: Request) -> None:
    from dask.base import compute

    plan = request.plan
    for tasks in tasks_of(job, waves(request.grids, plan.work), _TOGETHER):
        job.tally.fresh.clear()
        try:
            compute(*tasks, scheduler="threads", num_workers=plan.workers)
        finally:
            _check_source(job)


def _check_source(job: Job) -> None:
    """A source that vanished reads as zeros, silently: what was cut since the last look is taken back."""
    try:
        job.source.check()
    except SourceError:
        for key in job.tally.fresh:
            for planned, target in zip(job.planned, job.targets, strict=True):
                _take_back(target, planned, key)
        raise


def _take_back(target: Any, planned: PlannedVariable, key: Key) -> None:
    place = Location.parse(target.place)
    channels = (
        [()] if planned.channels is None else [(n,) for n in range(-(-planned.channels // planned.shapes.shard[1]))]
    )
    for channel in channels:
        numbers = (key[0], *channel, *key[1:], 0, 0)
        place.child("/".join(["c", *map(str, numbers)])).remove()


def _commit(request: Request, building: Location, specs: list[ArraySpec], small: list[ArraySpec]) -> None:
    """Write the root: digests of what lies there, consolidated metadata, provenance."""
    objects = declare([_bare(spec) for spec in specs], {})
    digests = {spec.name: digest(objects[f"{spec.name}/zarr.json"]) for spec in specs}
    attributes = root_attributes(request, digests, small)
    building.write("zarr.json", declare([_bare(spec) for spec in specs], attributes)["zarr.json"])


def _bare(spec: ArraySpec) -> ArraySpec:
    from dataclasses import replace

    return replace(spec, data=None)
