"""The plan: pure data that says what a run will do and cost before it does it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import prod
from typing import Any

import numpy as np

from patchmill.errors import PatchmillError
from patchmill.grid import ImageGrids, PatchGrid
from patchmill.planning.blocks import Shards, Work, cuts_of, units_of
from patchmill.planning.choosing import Case, Choice, Variable, bytes_decoded, choose
from patchmill.planning.shapes import Shapes, aligned, aligned_canvas, canvas_shapes, patch_shapes
from patchmill.types import Layout, shown_bytes, shown_shape

_SHARE = 16
"""Statistics are kept where they take no more than a sixteenth of the pixels' bytes, unless they are asked for."""


@dataclass(frozen=True, slots=True)
class PlannedVariable:
    """One array of the patch set.

    Parameters
    ----------
    name : str
        The source's name for it.
    dtype, source_dtype : str
        As stored, and as read.
    channels : int or None
        None for a variable without channels.
    source_chunk : tuple of int
        How the source is stored: (image, channel, y, x).
    missing : bool
        Whether it may hold values that stand for "nothing measured".
    copied : bool
        Whether patches are copied before they are packed: where a chunk holds several.
    shapes : Shapes
        Chunk and shard of the array to write.
    """

    name: str
    dtype: str
    source_dtype: str
    channels: int | None
    source_chunk: tuple[int, ...]
    missing: bool
    copied: bool
    shapes: Shapes

    @property
    def itemsize(self) -> int:
        """Bytes of a stored element."""
        return np.dtype(self.dtype).itemsize

    @property
    def pixel(self) -> int:
        """Bytes of a stored pixel with all channels."""
        return self.itemsize * (self.channels or 1)

    @property
    def source_pixel(self) -> int:
        """Bytes of a pixel of the source with all channels."""
        return np.dtype(self.source_dtype).itemsize * (self.channels or 1)

    @property
    def channel_shards(self) -> int:
        """Objects that a shard rectangle has, since very many channels are split."""
        return 1 if self.channels is None else -(-self.channels // self.shapes.shard[1])


@dataclass(frozen=True, slots=True)
class LayoutCost:
    """What one layout costs.

    Parameters
    ----------
    shards : int
        Objects to write, over all variables.
    shard_bytes : int
        Raw bytes of the largest.
    bytes_written : int
        Raw bytes of all pixels stored.
    bytes_read : int
        Raw bytes of all source chunks unpacked; one that is unpacked for two tasks counts twice.
    memory : int or None
        Bytes of memory at the peak; None where the limit does not allow this layout.
    """

    shards: int
    shard_bytes: int
    bytes_written: int
    bytes_read: int
    memory: int | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What `write_patches` would do, and what it would cost.

    Parameters
    ----------
    grid : PatchGrid
        Over the canvas that holds every image.
    layout : str
    images : int
        Images of the source.
    too_small : int
        Images that hold no patch, because they are smaller than one.
    patches : int
        Patches of all images.
    uncovered : int
        Pixels of all images that no patch holds.
    pixels : int
        Pixels of all images.
    variables : tuple of PlannedVariable
    statistics : bool
        Whether the catalog will hold mean, standard deviation, least and greatest.
    whole : bool
        Whether patches are looked at while they are cut: for statistics, missing values, or to decide which to keep.
    work : Work
        How the run is cut into tasks.
    tasks : int
        How many.
    layouts : tuple of (str, LayoutCost)
        Both layouts side by side.
    bytes_source : int
        Raw bytes of all images.
    limit : int
        Bytes of memory allowed.
    workers : int
        CPUs to keep busy.
    free : int or None
        Free bytes where the target is to lie, None where that can't be told; two plans may differ in it.
    """

    grid: PatchGrid
    layout: Layout
    images: int
    too_small: int
    patches: int
    uncovered: int
    pixels: int
    variables: tuple[PlannedVariable, ...]
    statistics: bool
    whole: bool
    work: Work
    tasks: int
    layouts: tuple[tuple[str, LayoutCost], ...]
    bytes_source: int
    limit: int
    workers: int
    free: int | None = field(default=None, compare=False)

    @property
    def cost(self) -> LayoutCost:
        """Of the layout planned."""
        return dict(self.layouts)[self.layout]

    @property
    def shards(self) -> int:
        """Objects to write, over all variables."""
        return self.cost.shards

    @property
    def bytes_read(self) -> int:
        """Raw bytes of all source chunks unpacked."""
        return self.cost.bytes_read

    @property
    def bytes_written(self) -> int:
        """Raw bytes of all pixels stored."""
        return self.cost.bytes_written

    @property
    def memory(self) -> int:
        """Bytes of memory at the peak, as computed."""
        return self.cost.memory or 0

    @property
    def overlap_factor(self) -> float:
        """Pixels of all patches / pixels of all images."""
        return self.patches * prod(self.grid.patch_shape) / max(1, self.pixels)

    @property
    def read_amplification(self) -> float:
        """Bytes unpacked / bytes of the source."""
        return self.bytes_read / max(1, self.bytes_source)

    def to_json(self) -> str:
        """As text; ``Plan.from_json(plan.to_json()) == plan``."""
        return json.dumps(asdict(self) | {"grid": self.grid.to_dict()})

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """The plan that `to_json` wrote."""
        data = json.loads(text)
        data["grid"] = PatchGrid(**data["grid"])
        data["work"] = Work(**_tuples(data["work"]))
        data["layouts"] = tuple((name, LayoutCost(**cost)) for name, cost in data["layouts"])
        data["variables"] = tuple(
            PlannedVariable(**_tuples(each) | {"shapes": Shapes(**_tuples(each["shapes"]))})
            for each in data["variables"]
        )
        return cls(**data)

    def rows(self) -> list[tuple[str, str]]:
        """The figures for people, a label and a text each."""
        small = f" ({self.too_small:,} smaller than a patch)" if self.too_small else ""
        share = self.uncovered / max(1, self.pixels)
        names = ", ".join(f"{v.name} {np.dtype(v.dtype)}" for v in self.variables)
        grid = self.grid
        free = [] if self.free is None else [("free disk", shown_bytes(self.free))]
        return [
            ("images", f"{self.images:,}{small}, up to {shown_shape(self.grid.shape)} pixels"),
            ("patches", f"{self.patches:,} of {shown_shape(self.grid.patch_shape)} pixels"),
            ("grid", f"{shown_shape(grid.counts)} at most, step {shown_shape(grid.step)}, edge {grid.edge}"),
            ("uncovered", f"{self.uncovered:,} pixels ({share:.1%})"),
            ("variables", names),
            ("overlap factor", f"{self.overlap_factor:.2f}"),
            ("read", f"{shown_bytes(self.bytes_read)} unpacked, {self.read_amplification:.2f} times the source"),
            *((f"layout {name}", _shown_cost(cost, chosen=name == self.layout)) for name, cost in self.layouts),
            *free,
            ("work", f"{self.tasks:,} tasks, {self.work.inflight} under way at a time, {self.workers} workers"),
            ("memory", f"{shown_bytes(self.memory)} at the peak, {shown_bytes(self.limit)} allowed"),
        ]  # fmt: skip

    def __repr__(self) -> str:
        lines = (f"  {label:<15} {text}" for label, text in self.rows())
        return "\n".join(["Plan", *lines])

    def _repr_html_(self) -> str:
        from patchmill.show.plans import plan_html

        return plan_html(self)


def _tuples(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}


def _shown_cost(cost: LayoutCost, *, chosen: bool) -> str:
    memory = "does not fit in memory" if cost.memory is None else f"{shown_bytes(cost.memory)} of memory"
    return (
        f"{shown_bytes(cost.bytes_written)} before compression, {cost.shards:,} shards of up to "
        f"{shown_bytes(cost.shard_bytes)}, {memory}{' (this one)' if chosen else ''}"
    )


# -- making one --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Part:
    """What a plan needs to know of one variable; fields as in `PlannedVariable`.

    Parameters
    ----------
    changed, transformed : bool
        Whether values are changed pixel by pixel; or patches as a whole.
    """

    name: str
    dtype: str
    source_dtype: str
    channels: int | None
    source_chunk: tuple[int, ...]
    missing: bool
    changed: bool
    transformed: bool


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

    Raises
    ------
    PatchmillError
        If not even one task fits in memory.
    """
    found: dict[str, tuple[Case, Choice | None, bool]] = {}
    layouts: tuple[Layout, ...] = ("patches", "canvas")
    for each in layouts:
        variables = _variables(grids, parts, each)
        kept = _keeps_statistics(grids, variables, each) if statistics is None else statistics
        case = _case(
            grids, parts, variables, each, whole=kept or looked_at, handed_over=handed_over, lazy=lazy, held=held
        )
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
    pixels, uncovered = _count(grids)
    return Plan(
        grid=grids.canvas,
        layout=layout,
        images=len(grids.sizes),
        too_small=len(grids.too_small),
        patches=len(grids),
        uncovered=uncovered,
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
        free=free,
    )


def _variables(grids: ImageGrids, parts: Sequence[Part], layout: Layout) -> tuple[PlannedVariable, ...]:
    grid = grids.canvas
    sizes = [np.dtype(part.dtype).itemsize for part in parts]
    if layout == "patches":
        counts = tuple(max(1, n) for n in grid.counts)
        pitch = tuple(min(axis.step, axis.n) for axis in grid.axes)
        shapes = [
            patch_shapes(part.channels, counts, grid.patch_shape, size, pitch)
            for part, size in zip(parts, sizes, strict=True)
        ]
        common = aligned(shapes, grid.ndim)
    else:
        shapes = [
            canvas_shapes(part.channels, grid.shape, grid.patch_shape, grid.step, size)
            for part, size in zip(parts, sizes, strict=True)
        ]
        common = aligned_canvas(shapes, grid.shape)
    return tuple(
        PlannedVariable(
            name=part.name,
            dtype=part.dtype,
            source_dtype=part.source_dtype,
            channels=part.channels,
            source_chunk=part.source_chunk,
            missing=part.missing,
            copied=layout == "patches" and not _is_alone(each, grid.ndim),
            shapes=each,
        )
        for part, each in zip(parts, common, strict=True)
    )


def _is_alone(shapes: Shapes, axes: int) -> bool:
    """Whether a chunk holds one patch only."""
    return shapes.chunk[0] == 1 and set(shapes.chunk[-2 * axes : -axes]) == {1}


def _keeps_statistics(grids: ImageGrids, variables: Sequence[PlannedVariable], layout: Layout) -> bool:
    grid = grids.canvas
    pixels = prod(grid.patch_shape) if layout == "patches" else prod(min(axis.step, axis.n) for axis in grid.axes)
    needed = sum(4 * (4 if v.itemsize <= 2 else 8) * (v.channels or 1) for v in variables)
    return needed * _SHARE <= pixels * sum(v.pixel for v in variables)


def _case(
    grids: ImageGrids,
    parts: Sequence[Part],
    variables: Sequence[PlannedVariable],
    layout: Layout,
    *,
    whole: bool,
    handed_over: bool,
    lazy: bool,
    held: int,
) -> Case:
    first, axes = variables[0].shapes.shard, grids.canvas.ndim
    spatial = first[-2 * axes : -axes] if layout == "patches" else first[-axes:]
    return Case(
        grids=grids,
        layout=layout,
        variables=tuple(
            Variable(
                source_chunk=v.source_chunk,
                source_pixel=v.source_pixel,
                pixel=v.pixel,
                changed=part.changed,
                transformed=part.transformed,
                copied=v.copied,
                shapes=v.shapes,
                itemsize=v.itemsize,
            )
            for part, v in zip(parts, variables, strict=True)
        ),
        shard=(first[0], *spatial),
        whole=whole or any(v.missing for v in variables),
        handed_over=handed_over,
        lazy=lazy,
        held=held,
        channel_shards=sum(v.channel_shards for v in variables),
    )


def _cost(case: Case, choice: Choice | None) -> LayoutCost:
    shards = read = stored = 0
    images = len(case.grids.sizes)
    work = choice.work if choice is not None else None
    for grid, count in _distinct(case.grids):
        rectangles = prod(len(side) for side in case.units(grid))
        shards += rectangles * count
        stored += count * (len(grid) * prod(grid.patch_shape) if case.layout == "patches" else prod(grid.shape))
        read += bytes_decoded(case, work, grid) * count if work is not None else 0
    together = min(case.shard[0], images)
    shards = shards if case.shard[0] == 1 else -(-images // case.shard[0])
    return LayoutCost(
        shards=shards * case.channel_shards,
        shard_bytes=max(prod(v.shapes.shard[1:]) * together * v.itemsize for v in case.variables),
        bytes_written=stored * sum(v.pixel for v in case.variables),
        bytes_read=read,
        memory=None if choice is None else choice.memory,
    )


def _tasks(case: Case, work: Work) -> int:
    """Blocks to cut."""
    if case.shard[0] > 1:
        return -(-len(case.grids.sizes) // case.shard[0])
    return sum(count * _blocks(case, work, grid) for grid, count in _distinct(case.grids))


def _blocks(case: Case, work: Work, grid: PatchGrid) -> int:
    units = units_of(grid, case.layout, case.shard[1:], whole=case.whole)
    if work.read == "region" or not all(len(side) for side in units):
        return prod(len(side) for side in units)
    return prod(len(cuts_of(side, size)) - 1 for side, size in zip(units, work.block, strict=True))


def _count(grids: ImageGrids) -> tuple[int, int]:
    """Pixels, and pixels that no patch holds, of all images."""
    pixels = uncovered = 0
    for grid, images in _distinct(grids):
        pixels += prod(grid.shape) * images
        uncovered += grid.uncovered * images
    return pixels, uncovered


def _distinct(grids: ImageGrids) -> Iterator[tuple[PatchGrid, int]]:
    """The grid of each size of image, and how many images have it."""
    if not grids.differ:
        yield grids.canvas, len(grids.sizes)
        return
    sizes, images = np.unique(grids.sizes, axis=0, return_counts=True)
    for size, count in zip(sizes.tolist(), images.tolist(), strict=True):
        yield grids.canvas.resized(size), count


def shards_of(plan: Plan, grids: ImageGrids) -> Shards:
    """The shard rectangles of a planned set."""
    return Shards(grids, plan.layout, plan.work.shard, plan.whole)
