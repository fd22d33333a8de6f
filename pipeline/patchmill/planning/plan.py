"""The plan: pure data that says what a run will do and cost before it does it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import prod
from typing import Any

import numpy as np

from patchmill.grid import ImageGrids, PatchGrid
from patchmill.planning.blocks import Shards, Work
from patchmill.planning.shapes import Shapes
from patchmill.planning.variables import PlannedVariable
from patchmill.types import Layout, counted, shown_bytes, shown_shape


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
    compiled : bool
        Whether statistics are computed by compiled kernels.
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
    compiled: bool = False
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
        names = "; ".join(_shown_variable(v) for v in self.variables)
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
            ("work", self._work_shown()),
            ("memory", f"{shown_bytes(self.memory)} at the peak, {shown_bytes(self.limit)} allowed"),
        ]  # fmt: skip

    def _work_shown(self) -> str:
        tasks, workers = counted(self.tasks, "task"), counted(self.workers, "worker")
        return f"{tasks}, {self.work.inflight} under way at a time, {workers}"

    def __repr__(self) -> str:
        lines = (f"  {label:<15} {text}" for label, text in self.rows())
        return "\n".join(["Plan", *lines])

    def _repr_html_(self) -> str:
        from patchmill.show.plans import plan_html

        return plan_html(self)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        from patchmill.show.plans import plan_figures

        return plan_figures(self)


def _shown_variable(variable: PlannedVariable) -> str:
    channels = f", {counted(variable.channels, 'channel')}" if variable.channels else ""
    return f"{variable.name}: {np.dtype(variable.dtype)}{channels}"


def _tuples(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}


def _shown_cost(cost: LayoutCost, *, chosen: bool) -> str:
    memory = "does not fit in memory" if cost.memory is None else f"{shown_bytes(cost.memory)} of memory"
    return (
        f"{shown_bytes(cost.bytes_written)} before compression, {counted(cost.shards, 'shard')} of up to "
        f"{shown_bytes(cost.shard_bytes)}, {memory}{' (this one)' if chosen else ''}"
    )


def shards_of(plan: Plan, grids: ImageGrids) -> Shards:
    """The shard rectangles of a planned set."""
    return Shards(grids, plan.layout, plan.work.shard, plan.whole)
