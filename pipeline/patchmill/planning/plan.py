"""The plan: pure data that says what a run will do and cost before it does it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

from patchmill.errors import PatchmillError
from patchmill.grid import ImageGrids, PatchGrid
from patchmill.planning.blocks import Shape, block_size, cuts_of, tiles_of
from patchmill.planning.memory import Piece, peak
from patchmill.planning.shapes import Shapes, aligned, patch_shapes
from patchmill.types import shown_bytes, shown_shape

_ACROSS, _DOWN = 4, 16
"""Most blocks along a wave's row and rows of a wave: 256 x 4 held 267 MiB where 32 x 32 held 918."""


@dataclass(frozen=True, slots=True)
class PlannedVariable:
    """One array of the patch set.

    Parameters
    ----------
    name : str
        The source's name for it.
    dtype : str
    channels : int or None
        None for a variable without channels.
    source_chunk : tuple of int
        How the source is stored: (image, channel, y, x).
    shapes : Shapes
        Chunk and shard of the array to write.
    """

    name: str
    dtype: str
    itemsize: int
    channels: int | None
    source_chunk: tuple[int, ...]
    shapes: Shapes

    @property
    def pixel(self) -> int:
        """Bytes of a pixel with all channels."""
        return self.itemsize * (self.channels or 1)


@dataclass(frozen=True, slots=True)
class Plan:
    """What `write_patches` would do, and what it would cost.

    Parameters
    ----------
    grid : PatchGrid
        Over the canvas that holds every image.
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
    work : Shape
        Blocks and waves.
    tasks : int
        Blocks to cut.
    shards : int
        Objects to write, over all variables.
    bytes_source, bytes_read, bytes_written : int
        Raw bytes: of all images, of all source chunks decoded (one that two blocks need counts twice), of all patches.
    memory, limit : int
        Bytes of memory at the peak, as computed, and allowed.
    workers : int
        Threads.
    """

    grid: PatchGrid
    images: int
    too_small: int
    patches: int
    uncovered: int
    pixels: int
    variables: tuple[PlannedVariable, ...]
    work: Shape
    tasks: int
    shards: int
    bytes_source: int
    bytes_read: int
    bytes_written: int
    memory: int
    limit: int
    workers: int

    @property
    def overlap_factor(self) -> float:
        """Pixels of all patches / pixels of all images."""
        return self.patches * prod(self.grid.patch_shape) / max(1, self.pixels)

    @property
    def read_amplification(self) -> float:
        """Bytes decoded / bytes of the source."""
        return self.bytes_read / max(1, self.bytes_source)

    @property
    def layouts(self) -> dict[str, int]:
        """Raw bytes on disk in each layout: "patches" stores every patch in full, "canvas" every pixel once."""
        return {"patches": self.bytes_written, "canvas": self.bytes_source}

    def to_json(self) -> str:
        """As text; ``Plan.from_json(plan.to_json()) == plan``."""
        return json.dumps(asdict(self) | {"grid": self.grid.to_dict()})

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """The plan that `to_json` wrote."""
        data = json.loads(text)
        data["grid"] = PatchGrid(**data["grid"])
        data["work"] = Shape(**{key: tuple(value) for key, value in data["work"].items()})
        data["variables"] = tuple(
            PlannedVariable(
                **each
                | {
                    "source_chunk": tuple(each["source_chunk"]),
                    "shapes": Shapes(**{key: tuple(value) for key, value in each["shapes"].items()}),
                }
            )
            for each in data["variables"]
        )
        return cls(**data)

    def rows(self) -> list[tuple[str, str]]:
        """The figures for people, a label and a text each."""
        first = self.variables[0]
        small = f" ({self.too_small:,} smaller than a patch)" if self.too_small else ""
        return [
            ("images", f"{self.images:,}{small}, up to {shown_shape(self.grid.shape)} pixels"),
            ("patches", f"{self.patches:,} of {shown_shape(self.grid.patch_shape)} pixels"),
            ("step", f"{shown_shape(self.grid.step)}, edge {self.grid.edge!r}"),
            ("overlap factor", f"{self.overlap_factor:.2f}"),
            ("left uncovered", f"{self.uncovered:,} pixels ({self.uncovered / max(1, self.pixels):.1%})"),
            ("source", f"{shown_bytes(self.bytes_source)}, read {self.read_amplification:.2f} times"),
            ("layout patches", f"{shown_bytes(self.bytes_written)} before compression"),
            ("layout canvas", f"{shown_bytes(self.bytes_source)} before compression"),
            ("shards", f"{self.shards:,}, of up to {shown_bytes(prod(first.shapes.shard) * first.itemsize)} raw"),
            ("work", f"{self.tasks:,} blocks of {shown_shape(self.work.block)} positions, {self.workers} workers"),
            ("memory", f"{shown_bytes(self.memory)} at the peak, {shown_bytes(self.limit)} allowed"),
        ]  # fmt: skip

    def __repr__(self) -> str:
        lines = (f"  {label:<15} {text}" for label, text in self.rows())
        return "\n".join(["Plan", *lines])

    def _repr_html_(self) -> str:
        from patchmill.show.plans import plan_html

        return plan_html(self)


def make_plan(grids: ImageGrids, parts: Sequence[Mapping[str, Any]], *, limit: int, workers: int) -> Plan:
    """The plan for cutting `parts` by `grids` within `limit` bytes.

    Parameters
    ----------
    grids : ImageGrids
        At least one patch.
    parts : sequence of mapping
        name, dtype, itemsize, channels and source_chunk of each variable.
    limit : int
        Bytes of memory allowed.
    workers : int
        Most threads; fewer are planned where memory is short.

    Raises
    ------
    PatchmillError
        If not even one worker fits in memory.
    """
    grid, patches = grids.canvas, len(grids)
    variables = _variables(grids, parts)
    axes = grid.ndim
    shard = (variables[0].shapes.shard[0], *variables[0].shapes.shard[-2 * axes : -axes])
    work, memory, fitting = _fit(grid, len(grids.sizes), variables, shard, limit=limit, workers=workers)
    pixel = sum(each.pixel for each in variables)
    pixels, uncovered, tasks, shards = _count(grids, work)
    return Plan(
        grid=grid,
        images=len(grids.sizes),
        too_small=len(grids.too_small),
        patches=patches,
        uncovered=uncovered,
        pixels=pixels,
        variables=variables,
        work=work,
        tasks=tasks,
        shards=shards * sum(_channel_shards(each) for each in variables),
        bytes_source=pixels * pixel,
        bytes_read=_bytes_read(grids, variables, work),
        bytes_written=patches * prod(grid.patch_shape) * pixel,
        memory=memory,
        limit=limit,
        workers=fitting,
    )


def _variables(grids: ImageGrids, parts: Sequence[Mapping[str, Any]]) -> tuple[PlannedVariable, ...]:
    counts = tuple(max(1, n) for n in grids.canvas.counts)
    pitch = tuple(min(axis.step, axis.n) for axis in grids.canvas.axes)
    patch = grids.canvas.patch_shape
    shapes = [patch_shapes(part["channels"], counts, patch, part["itemsize"], pitch) for part in parts]
    common = aligned(shapes, grids.canvas.ndim)
    return tuple(PlannedVariable(**part, shapes=each) for part, each in zip(parts, common, strict=True))


def _fit(
    grid: PatchGrid,
    images: int,
    variables: Sequence[PlannedVariable],
    shard: tuple[int, ...],
    *,
    limit: int,
    workers: int,
) -> tuple[Shape, int, int]:
    """Blocks, waves and workers within `limit`: narrower waves first, then fewer workers."""
    block = block_size(grid, shard[1:])
    halo = tuple(axis.halo().after for axis in grid.axes)
    tile = tuple(
        min(size * axis.step, axis.n) if size < len(axis) else axis.n
        for size, axis in zip(block, grid.axes, strict=True)
    )
    together = min(shard[0], images)
    pieces = [Piece(v.pixel * together, prod(v.shapes.shard[1:]) * v.itemsize * together) for v in variables]
    alone = all(size >= len(axis) for size, axis in zip(block, grid.axes, strict=True))
    for threads in range(workers, 0, -1):
        for across in (1,) if alone else range(_ACROSS, 0, -1):
            needed = peak(pieces, tile, (0,) * len(halo) if alone else halo, across, threads)
            if needed <= limit:
                wave = (*(1 for _ in halo[:-2]), *(_DOWN, across)[-len(halo) :])
                return Shape(shard, block, wave), needed, threads
    raise PatchmillError(
        f"one block of {shown_shape(tile)} pixels needs {shown_bytes(needed)} of memory, "
        f"and the limit is {shown_bytes(limit)}: "
        "raise memory, or choose a smaller patch or a larger step"
    )


def _count(grids: ImageGrids, work: Shape) -> tuple[int, int, int, int]:
    """Pixels, uncovered pixels, blocks and shard rectangles of all images, by distinct sizes."""
    pixels = uncovered = tasks = shards = 0
    for size, images in _distinct(grids):
        grid = grids.canvas.resized(size)
        pixels += prod(size) * images
        uncovered += grid.uncovered * images
        if len(grid):
            cuts = [cuts_of(axis, n) for axis, n in zip(grid.axes, work.block, strict=True)]
            tasks += images * prod(len(along) - 1 for along in cuts)
            shards += images * prod(-(-n // s) for n, s in zip(grid.counts, work.shard[1:], strict=True))
    together = work.shard[0]
    return pixels, uncovered, -(-tasks // together), -(-shards // together)


def _distinct(grids: ImageGrids) -> list[tuple[tuple[int, ...], int]]:
    import numpy as np

    sizes, images = np.unique(grids.sizes, axis=0, return_counts=True)
    return [(tuple(size), n) for size, n in zip(sizes.tolist(), images.tolist(), strict=True)]


def _channel_shards(variable: PlannedVariable) -> int:
    return 1 if variable.channels is None else -(-variable.channels // variable.shapes.shard[1])


def _bytes_read(grids: ImageGrids, variables: Sequence[PlannedVariable], work: Shape) -> int:
    """Bytes of source chunks that tiles decode: a chunk counts once for every tile that touches it."""
    total = 0
    for size, images in _distinct(grids):
        grid = grids.canvas.resized(size)
        if len(grid) == 0:
            continue
        for variable in variables:
            chunks = variable.source_chunk[-grid.ndim :]
            along = [
                _decoded(axis, cuts_of(axis, block), wave, chunk)
                for axis, block, wave, chunk in zip(grid.axes, work.block, work.wave, chunks, strict=True)
            ]
            total += images * prod(along) * variable.pixel
    return total


def _decoded(axis: Any, cuts: tuple[int, ...], wave: int, chunk: int) -> int:
    """Pixels along one axis that the tiles of all waves decode."""
    pixels = 0
    for start in range(0, len(cuts) - 1, wave):
        begin, widths = tiles_of(axis, cuts[start : start + wave + 1])
        for width in widths:
            first, last = begin // chunk, -(-(begin + width) // chunk)
            pixels += min(last * chunk, axis.n) - first * chunk
            begin += width
    return pixels
