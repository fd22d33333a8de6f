"""What a run will do and cost, as data: counts, units, tasks, bytes, memory, shapes."""

from __future__ import annotations

from patchmill.planning.blocks import Key, Shards, Wave, Work, halo_of, tiles_of, units_of, waves
from patchmill.planning.making import make_plan
from patchmill.planning.memory import memory_limit, worker_count
from patchmill.planning.plan import LayoutCost, Plan, shards_of
from patchmill.planning.shapes import Shapes, aligned_canvas, canvas_shapes, catalog_chunk, image_shapes, patch_shapes
from patchmill.planning.units import Interval, Units, looked_back
from patchmill.planning.variables import Part, PlannedVariable

__all__ = [
    "Interval",
    "Key",
    "LayoutCost",
    "Part",
    "Plan",
    "PlannedVariable",
    "Shapes",
    "Shards",
    "Units",
    "Wave",
    "Work",
    "aligned_canvas",
    "canvas_shapes",
    "catalog_chunk",
    "halo_of",
    "image_shapes",
    "looked_back",
    "make_plan",
    "memory_limit",
    "patch_shapes",
    "shards_of",
    "tiles_of",
    "units_of",
    "waves",
    "worker_count",
]
