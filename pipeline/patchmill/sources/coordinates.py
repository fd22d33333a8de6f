"""What a patch set keeps of its source beside pixels: origins, labels, names, extents, georeference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchmill.grid import ImageGrids
from patchmill.sources.model import Source

_AXES = ("y", "x")


@dataclass(frozen=True, slots=True, eq=False)
class Coordinate:
    """A small array beside the patches: its key, dimension names, values, attributes."""

    name: str
    dims: tuple[str, ...]
    values: NDArray[Any]
    attributes: Mapping[str, Any] = field(default_factory=dict)


def coordinates_of(source: Source, grids: ImageGrids) -> Iterator[Coordinate]:
    """Every coordinate of a patch set that is cut out of `source` by `grids`."""
    for at, name in enumerate(_AXES):
        yield from _origins(source, grids, at, name)
    for name, label in source.labels.items():
        if name not in _AXES:
            yield Coordinate(_key(source, name), (name,), label.values, label.attributes)
    if source.names is not None:
        yield Coordinate("name", ("image",), source.names)
    if grids.differ:
        for at, name in enumerate(("height", "width")):
            yield Coordinate(name, ("image",), grids.sizes[:, at], {"units": "pixel"})
    if source.crs is not None:
        yield Coordinate("spatial_ref", (), np.asarray(0), source.crs)
    if source.transform is not None:
        yield Coordinate("transform", ("image", "affine"), source.transform.values, source.transform.attributes)


def _key(source: Source, name: str) -> str:
    """Labels are called like their axis; beside a variable of that name like the source's own axis."""
    taken = len(source.variables) > 1 and any(variable.name == name for variable in source.variables)
    return source.dims.get(name, name) if taken else name


def _origins(source: Source, grids: ImageGrids, at: int, name: str) -> Iterator[Coordinate]:
    """Origins in pixels along one axis, and the source's own coordinates there where all images share them."""
    axis, dim = grids.canvas.axes[at], f"grid_{name}"
    lattice = np.arange(len(axis), dtype=np.int64) * axis.step
    if axis.edge == "shift" and grids.differ:
        last = np.maximum(grids.sizes[:, at] - axis.span, 0)
        yield Coordinate(f"origin_{name}", ("image", dim), np.minimum(lattice, last[:, None]), {"units": "pixel"})
        return
    origins = np.minimum(lattice, axis.n - axis.span) if axis.edge == "shift" else lattice
    yield Coordinate(f"origin_{name}", (dim,), origins, {"units": "pixel"})
    if name in source.labels:
        label = source.labels[name]
        yield Coordinate(name, (dim,), label.values[origins], label.attributes)
