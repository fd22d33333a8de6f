"""A request to cut: what is asked for, checked; and as plain data, what a resume must agree with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from patchmill.grid import ImageGrids
from patchmill.patches.fills import as_fill
from patchmill.patches.views import Padding
from patchmill.planning import Plan, make_plan, memory_limit, worker_count
from patchmill.sources import Dims, Source, image_grids, open_source
from patchmill.storage import FORMAT, digest
from patchmill.types import Edge, PadMode, PerAxis, as_word


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """An opened source, the grids to cut it by, and what continues it beyond its border.

    Parameters
    ----------
    source : Source
    grids : ImageGrids
    plan : Plan
    pad_mode : str
    pad_value : Any
        As the user gave it.
    """

    source: Source
    grids: ImageGrids
    plan: Plan
    pad_mode: PadMode
    pad_value: Any

    @property
    def paddings(self) -> tuple[Padding, ...]:
        """For each variable, in its own dtype."""
        return tuple(
            Padding(self.pad_mode, as_fill(self.pad_value, variable.dtype, "pad_value"))
            for variable in self.source.variables
        )

    def array_name(self, at: int) -> str:
        """Key of a variable's pixels in the set: "patches" where there is only one."""
        return "patches" if len(self.plan.variables) == 1 else self.plan.variables[at].name

    def to_dict(self) -> dict[str, Any]:
        """What decides the bytes of the result; two requests that agree here may finish each other's work."""
        sizes = np.ascontiguousarray(self.grids.sizes, "<i8")
        return {
            "format": FORMAT,
            "layout": "patches",
            "grid": self.grids.canvas.to_dict() | {"pad_mode": self.pad_mode, "pad_value": _plain(self.pad_value)},
            "images": len(sizes),
            "sizes": digest(sizes.tobytes()),
            "source": dict(self.source.identity),
            "variables": [
                {"name": each.name, "dtype": each.dtype, "channels": each.channels, "nodata": _plain(variable.nodata)}
                for each, variable in zip(self.plan.variables, self.source.variables, strict=True)
            ],
        }


def make_request(
    source: Any,
    patch_shape: PerAxis,
    step: PerAxis | None,
    *,
    dilation: PerAxis,
    edge: Edge,
    pad_mode: PadMode,
    pad_value: Any,
    variables: Sequence[str] | None,
    dims: Dims,
    memory: int | str | None,
    workers: int | None,
) -> Request:
    """Open the source, check every argument, and plan.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong, or no image is as large as a patch.
    PatchmillError
        If the source can't be read, or memory does not suffice.
    """
    as_word(pad_mode, "pad_mode", PadMode)
    if edge != "pad":
        pad_mode = "constant"  # nothing is padded, so nothing of it may matter to a resume
    if edge != "pad" or pad_mode != "constant":
        pad_value = 0
    limit, threads = memory_limit(memory), worker_count(workers)
    opened = open_source(source, variables=variables, dims=dims)
    grids = image_grids(opened, patch_shape, step, dilation=dilation, edge=edge)
    parts = [
        {
            "name": variable.name,
            "dtype": variable.dtype.str,
            "itemsize": variable.dtype.itemsize,
            "channels": variable.channels,
            "source_chunk": variable.chunks,
        }
        for variable in opened.variables
    ]
    _refuse_names(opened)
    for variable in opened.variables:
        as_fill(pad_value, variable.dtype, "pad_value")
    plan = make_plan(grids, parts, limit=limit, workers=threads)
    return Request(opened, grids, plan, pad_mode, pad_value)


_TAKEN = frozenset(
    [
        "patches",
        "canvas",
        "y",
        "x",
        "origin_y",
        "origin_x",
        "spatial_ref",
        "transform",
        "height",
        "width",
        "name",
        "exists",
        "valid_fraction",
        "split",
        "image",
        "channel",
    ]
)


def _refuse_names(source: Source) -> None:
    """Several variables are stored under their own names, which must not be those of the set's own arrays."""
    if len(source.variables) < 2:
        return
    for variable in source.variables:
        taken = variable.name in _TAKEN - {"image"} or variable.name.startswith(
            ("stat_", "channel_", "grid_", "patch_")
        )
        if taken or variable.name in ("", ".", "..") or set(variable.name) & set("/\\\0"):
            raise ValueError(
                f"variable {variable.name!r} can't name an array of the patch set, which has its own of that name, "
                "or can't have it: rename the variable in the source"
            )


def _plain(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, Mapping) or not isinstance(value, int | float | str | bool | type(None)):
        return str(value)
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value  # JSON has no NaN
