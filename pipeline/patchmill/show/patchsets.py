"""A patch set as HTML."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from patchmill.show.drawing import card_html, grid_figure
from patchmill.show.handed import figures_of
from patchmill.show.picks import kept_of, listed
from patchmill.types import counted, shown_bytes, shown_shape

if TYPE_CHECKING:
    from patchmill.reading import PatchSet

Rows = list[tuple[str, str]]

_MOST_OBJECTS = 10_000
"""Objects whose sizes are asked for: a tenth of a second on a disk."""


def patchset_html(ps: PatchSet) -> str:
    """The figures of a patch set beside its grid over the chunks of the largest image; reads no pixel."""
    return card_html("PatchSet", rows_of(ps), grid_figure(ps.grid, ps.variables[0].source_chunk))


def patchset_figures(ps: PatchSet) -> dict[str, Any]:
    """What a patch set hands to whoever runs the notebook that shows it; reads no pixel."""
    request = {} if ps.stored is None else ps.stored.own["request"]
    keep = request.get("keep")
    return figures_of(
        "patches",
        {
            "patches": len(ps),
            "positions": len(ps.grids),
            "dropped": len(ps.grids) - len(ps),
            **({"keep": keep.get("condition") or _step(keep)} if keep else {}),
            "images": len(ps.sizes),
            "too_small": len(ps.grids.too_small),
            "bytes": ps.nbytes,
            "bytes_stored": ps.stored_nbytes,
            "layout": ps.layout,
        },
    )


def rows_of(ps: PatchSet) -> Rows:
    """The figures of a patch set, a label and a text each; reads no pixel."""
    grid = ps.grid
    dilation = [] if set(grid.dilation) == {1} else [("dilation", shown_shape(grid.dilation))]
    arrays = [
        f"{each.name}: {each.dtype}" + (f", {counted(each.channels, 'channel')}" if each.channels else "")
        for each in ps.variables
    ]
    dropped = len(ps) < len(ps.grids)
    return [
        (
            "patches",
            f"{f'{kept_of(ps)} kept,' if dropped else f'{len(ps):,}'} of {shown_shape(grid.patch_shape)} pixels",
        ),
        ("images", f"{len(ps.sizes):,}, up to {shown_shape(grid.shape)} pixels"),
        *([("too small", listed(ps.too_small))] if len(ps.grids.too_small) else []),
        ("step", shown_shape(grid.step)),
        *dilation,
        ("edge", grid.edge),
        *_uncovered(ps),
        ("variables", "; ".join(arrays)),
        ("size", _size(ps)),
        *_asked(ps),
        ("place", ps.url),
        *_made(ps),
    ]


def _uncovered(ps: PatchSet) -> Rows:
    """Pixels that lie in no patch, wherever there are any, as a plan says it."""
    grids = ps.grids
    share = f"{grids.uncovered:,} pixels ({grids.uncovered / max(1, grids.pixels):.1%})"
    return [("uncovered", share)] if grids.uncovered else []


# -- sizes -------------------------------------------------------------------------------------------------------------


def _size(ps: PatchSet) -> str:
    """What all patches are together, and what of it lies where."""
    if ps.stored is None:
        return f"{shown_bytes(ps.nbytes)} raw, nothing is stored"
    once = ps.layout == "canvas"
    raw = [f"{shown_bytes(ps.nbytes)} as patches", f"{shown_bytes(ps.stored_nbytes)} stored raw"]
    held = _on_disk(ps)
    disk = [] if held is None else [f"{shown_bytes(held)} on disk"]
    return ", ".join([*(raw if once else [f"{shown_bytes(ps.nbytes)} raw"]), *disk, f"layout {ps.layout}"])


def _on_disk(ps: PatchSet) -> int | None:
    """Bytes of all objects of a local set; None where it is remote, or has so many that asking takes long."""
    if not ps.stored.place.is_local:
        return None
    sizes = [size for _, size in islice(ps.stored.place.sizes(), _MOST_OBJECTS + 1)]
    return sum(sizes) if len(sizes) <= _MOST_OBJECTS else None


# -- how it was made ---------------------------------------------------------------------------------------------------


def _asked(ps: PatchSet) -> Rows:
    """What became of values on the way, as far as anything did, and whether their statistics were kept."""
    if ps.stored is None:
        return []
    request = ps.stored.own["request"]
    changed = [each for each in request.get("variables", []) if each["transform"]]
    several = len(ps.variables) > 1
    transforms = [f"{each['name']}: " * several + " | ".join(map(_step, each["transform"])) for each in changed]
    keep = request.get("keep")
    stored = {name.rpartition("_")[2] for name in ps.stored.arrays if name.startswith("stat_")}
    fields = [field for field in ("mean", "std", "min", "max") if field in stored]
    return [
        *([("transform", "; ".join(transforms))] if transforms else []),
        *([("keep", keep.get("condition") or _step(keep))] if keep else []),
        ("statistics", f"{', '.join(fields)} of each patch" if fields else "not kept"),
    ]


def _step(step: Mapping[str, Any]) -> str:
    """One step of a transform, or a function, from its fingerprint: a named one as it is spelled, else its name."""
    for kind in ("function", "object", "class", "partial", "method"):
        if kind in step:
            return step[kind] if isinstance(step[kind], str) else _step(step[kind])
    ((name, constants),) = step.items()
    return f"{name}({', '.join(f'{key}={value}' for key, value in constants.items())})"


def _made(ps: PatchSet) -> Rows:
    """From what, when, and by which version."""
    if ps.stored is None:
        return []
    source, provenance = ps.stored.own["source"].get("url"), ps.stored.own.get("provenance")
    return [
        *([("source", source)] if source else []),
        *([("made", _when(provenance))] if provenance else []),
    ]


def _when(provenance: Mapping[str, Any]) -> str:
    created = dt.datetime.fromisoformat(provenance["created"]).astimezone(dt.UTC)
    return f"{created:%Y-%m-%d %H:%M} UTC by patchmill {provenance['versions']['patchmill']}"
