"""What a run will do and cost, as data: counts, blocks, bytes, memory, shapes."""

from __future__ import annotations

from patchmill.planning.blocks import Block, Shape, Wave, tiles_of, waves
from patchmill.planning.memory import memory_limit, worker_count
from patchmill.planning.plan import Plan, PlannedVariable, make_plan
from patchmill.planning.shapes import Shapes, catalog_chunk, image_shapes, patch_shapes

__all__ = [
    "Block",
    "Plan",
    "PlannedVariable",
    "Shape",
    "Shapes",
    "Wave",
    "catalog_chunk",
    "image_shapes",
    "make_plan",
    "memory_limit",
    "patch_shapes",
    "tiles_of",
    "waves",
    "worker_count",
]
