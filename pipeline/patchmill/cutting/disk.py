"""Whether a set fits on the disk, before the first byte is written."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from patchmill.cutting.request import Request
from patchmill.errors import DiskFullError
from patchmill.patches.notices import caller_level
from patchmill.planning import Plan
from patchmill.storage import Location
from patchmill.types import shown_bytes


def refuse_full_disk(request: Request, done: NDArray[np.bool_], target: Location) -> None:
    """Raise where what is left to write can't fit; warn where it can't unless `keep` drops enough of it.

    The estimate takes pixels to pack as well as the source's own chunks do, or not at all where that can't be told; so
    it errs towards letting through only for stores that pack far better than their source. What `keep` drops from
    layout "patches" shows only when it is cut; layout "canvas" stores every pixel all the same.

    Raises
    ------
    DiskFullError
        With the estimate, what is free, and the way out.
    """
    free = target.free()
    if free is None:
        return
    needed = expected_bytes(request) * (1 - float(done.mean()) if len(done) else 1)
    if needed <= free:
        return
    has = f"{target.url} has {shown_bytes(free)} free, and about {shown_bytes(needed)} are needed"
    if request.keep is None or request.plan.layout == "canvas":
        raise DiskFullError(f"{has}: {_way_out(request.plan)}")
    warnings.warn(f"{has} if keep drops nothing: make room if it drops little", stacklevel=caller_level())


def _way_out(plan: Plan) -> str:
    """What makes it fit: of another layout, step or `keep=` only what stores less than this."""
    if plan.layout == "canvas":
        return "make room, or choose another target"
    costs = dict(plan.layouts)
    smaller = costs["canvas"].bytes_written < costs["patches"].bytes_written
    canvas = 'layout="canvas", which stores every pixel once, ' if smaller else ""
    return f"make room, choose another target, or use {canvas}a larger step or keep="


def expected_bytes(request: Request) -> float:
    """Bytes that all shards will take once packed, as far as that can be told without reading a pixel."""
    pixel = sum(variable.pixel for variable in request.plan.variables)
    total = 0.0
    for planned, variable in zip(request.plan.variables, request.source.variables, strict=True):
        ratio = request.source.stored_ratio(variable)
        share = request.plan.bytes_written * planned.pixel / pixel
        total += share * (_PACKED if ratio is None else min(1.0, ratio))
    return total


_PACKED = 0.25
"""Where nothing is known: masks and flat images pack to far less, so only what can hardly fit is refused."""
