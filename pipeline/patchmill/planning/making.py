"""Making a plan: shapes for both layouts, what each costs, and how the one that is wanted is cut into tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from patchmill.errors import PatchmillError
from patchmill.grid import ImageGrids
from patchmill.planning.blocks import Work, cuts_of
from patchmill.planning.choosing import Case, Choice, bytes_decoded, choose
from patchmill.planning.memory import COMPILER
from patchmill.planning.plan import LayoutCost, Plan
from patchmill.planning.shapes import Shapes, aligned, aligned_canvas, canvas_shapes, patch_shapes
from patchmill.planning.variables import Part, PlannedVariable
from patchmill.types import Layout

_SHARE = 16
"""Statistics are kept where they take no more than a sixteenth of the pixels' bytes, unless they are asked for."""


_COMPILED_BYTES, _COMPILED_LIMIT = 2**28, 3 * 2**29
"""Statistics of so many bytes of pixels pay for compiled kernels, which are not loaded where memory is short."""


def make_plan(
    grids: ImageGrids,
    parts: Sequence[Part],
    *,
    layout: Layout,
    statistics: bool | None,
    looked_at: bool,
    handed_over: bool,
    lazy: bool,
    held: int,
    limit: int,
    workers: int,
    tuning: Mapping[str, Any],
    free: int | None,
    compiler: bool = False,
    compiled: bool = False,
) -> Plan:
    """The plan for cutting `parts` by `grids` within `limit` bytes.

    Parameters
    ----------
    grids : ImageGrids
        At least one patch.
    parts : sequence of Part
    layout : str
    statistics : bool or None
        Whether the catalog shall hold them; None where they are small beside the pixels.
    looked_at : bool
        Whether patches are looked at for another reason: to decide which to keep.
    handed_over : bool
        Whether a function that decides it gets whole patches.
    lazy : bool
        Whether the source is a Dask array.
    held : int
        Bytes that lie in this process anyway: of the source, of libraries.
    limit : int
        Bytes of memory allowed.
    workers : int
        CPUs to keep busy.
    tuning : mapping
        Fields of `Work` that the user decided.
    free : int or None
        Free bytes where the target is to lie.
    compiler : bool
        Whether kernels can be compiled here.
    compiled : bool
        Whether the process that cuts has them already, beside what `held` counts.

    Raises
    ------
    PatchmillError
        If not even one task fits in memory.
    """
    found: dict[str, tuple[Case, Choice | None, bool]] = {}
    layouts: tuple[Layout, ...] = ("patches", "canvas")
    pixels = grids.pixels
    nbytes = pixels * sum((part.channels or 1) * np.dtype(part.dtype).itemsize for part in parts)
    compiler = compiler and nbytes >= _COMPILED_BYTES and limit >= _COMPILED_LIMIT
    for each in layouts:
        kept = _keeps_statistics(grids, parts, each) if statistics is None else statistics
        looked = kept or looked_at
        variables = _variables(grids, parts, each, looked_at=looked)
        beyond = held + (COMPILER if compiled or (compiler and looked) else 0)
        facts = {"looked_at": looked, "handed_over": handed_over, "lazy": lazy}
        case = _case(grids, variables, each, **facts, held=beyond)
        try:
            choice = choose(case, limit=limit, workers=workers, tuning=tuning)
        except PatchmillError:
            if each == layout:
                raise
            choice = None
        found[each] = (case, choice, kept)
        if each == layout:
            planned = variables
    case, chosen, kept = found[layout]
    if chosen is None:
        raise AssertionError("the planned layout has no way to work")
    return Plan(
        grid=grids.canvas,
        layout=layout,
        images=len(grids.sizes),
        too_small=len(grids.too_small),
        patches=len(grids),
        uncovered=grids.uncovered,
        pixels=pixels,
        variables=planned,
        statistics=kept,
        whole=case.whole,
        work=chosen.work,
        tasks=_tasks(case, chosen.work),
        layouts=tuple((each, _cost(found[each][0], found[each][1])) for each in layouts),
        bytes_source=pixels * sum(part.source_pixel for part in planned),
        limit=limit,
        workers=workers,
        compiled=compiler and (kept or looked_at),
        free=free,
    )


def _variables(
    grids: ImageGrids, parts: Sequence[Part], layout: Layout, *, looked_at: bool
) -> tuple[PlannedVariable, ...]:
    grid = grids.canvas
    sizes = [np.dtype(part.dtype).itemsize for part in parts]
    if layout == "patches":
        counts = tuple(max(1, n) for n in grid.counts)
        pitch = tuple(min(axis.step, axis.n) for axis in grid.axes)
        shapes = [
            patch_shapes(part.channels, counts, grid.patch_shape, size, pitch, looked_at=looked_at)
            for part, size in zip(parts, sizes, strict=True)
        ]
        common = aligned(shapes, grid.ndim)
    else:
        shapes = [
            canvas_shapes(part.channels, grid.shape, grid.patch_shape, grid.step, size, looked_at=looked_at)
            for part, size in zip(parts, sizes, strict=True)
        ]
        common = aligned_canvas(shapes, grid.shape)
    return tuple(
        PlannedVariable.of(part, copied=layout == "patches" and not _is_alone(each, grid.ndim), shapes=each)
        for part, each in zip(parts, common, strict=True)
    )


def _is_alone(shapes: Shapes, axes: int) -> bool:
    """Whether a chunk holds one patch only."""
    return shapes.chunk[0] == 1 and set(shapes.chunk[-2 * axes : -axes]) == {1}


def _keeps_statistics(grids: ImageGrids, variables: Sequence[Part], layout: Layout) -> bool:
    grid = grids.canvas
    pixels = prod(grid.patch_shape) if layout == "patches" else prod(min(axis.step, axis.n) for axis in grid.axes)
    needed = sum(4 * (4 if v.itemsize <= 2 else 8) * (v.channels or 1) for v in variables)
    return needed * _SHARE <= pixels * sum(v.pixel for v in variables)


def _case(
    grids: ImageGrids,
    variables: Sequence[PlannedVariable],
    layout: Layout,
    *,
    looked_at: bool,
    handed_over: bool,
    lazy: bool,
    held: int,
) -> Case:
    first, axes = variables[0].shapes.shard, grids.canvas.ndim
    spatial = first[-2 * axes : -axes] if layout == "patches" else first[-axes:]
    return Case(
        grids=grids,
        layout=layout,
        variables=tuple(variables),
        shard=(first[0], *spatial),
        whole=looked_at or any(v.missing for v in variables),
        looked_at=looked_at,
        handed_over=handed_over,
        lazy=lazy,
        held=held,
        channel_shards=sum(v.channel_shards for v in variables),
    )


def _cost(case: Case, choice: Choice | None) -> LayoutCost:
    grids, images = case.grids, len(case.grids.sizes)
    stored = len(grids) * prod(grids.canvas.patch_shape) if case.layout == "patches" else grids.pixels
    shards = -(-images // case.shard[0]) if case.shard[0] > 1 else case.over_images(grids, lambda _, side: len(side))
    return LayoutCost(
        shards=shards * case.channel_shards,
        shard_bytes=max(_shard_bytes(case, variable) for variable in case.variables),
        bytes_written=stored * sum(v.pixel for v in case.variables),
        bytes_read=0 if choice is None else bytes_decoded(case, choice.work, grids),
        memory=None if choice is None else choice.memory,
    )


def _shard_bytes(case: Case, variable: PlannedVariable) -> int:
    """Raw bytes of the largest object of a variable: a shard is wider than an array that has few chunks."""
    canvas = case.grids.canvas
    along = (*canvas.counts, *canvas.patch_shape) if case.layout == "patches" else canvas.shape
    channel = () if variable.channels is None else (variable.channels,)
    lengths = (len(case.grids.sizes), *channel, *along)
    return prod(min(side, n) for side, n in zip(variable.shapes.shard, lengths, strict=True)) * variable.itemsize


def _tasks(case: Case, work: Work) -> int:
    """Blocks to cut."""
    if case.shard[0] > 1:
        return -(-len(case.grids.sizes) // case.shard[0])
    if work.read == "region":
        return case.over_images(case.grids, lambda _, side: len(side))
    return case.over_images(case.grids, lambda at, side: len(cuts_of(side, work.block[at])) - 1 if len(side) else 0)
