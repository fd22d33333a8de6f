"""What a patch set keeps of its source beside pixels: origins, labels, names, extents, georeference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchmill.grid import Axis, ImageGrids
from patchmill.sources.model import Source, Variable, nodata_array, packing_array

_AXES = ("y", "x")

ORIGINS = tuple(f"origin_{name}" for name in _AXES)
"""Arrays of origins, one an axis."""


_OWN = frozenset((
    "patches", "canvas", "y", "x", "origin_y", "origin_x", "spatial_ref", "crs", "transform", "height", "width",
    "name", "exists", "dropped", "count", "valid_fraction", "split", "channel",
))  # fmt: skip

_PREFIXES = ("stat_", "channel_", "grid_", "patch_")


def is_own_name(name: str) -> bool:
    """Whether a patch set has an array of its own that is called so, or may have one."""
    return name in _OWN or name.startswith(_PREFIXES)


@dataclass(frozen=True, slots=True, eq=False)
class Coordinate:
    """A small array beside the patches: its key, dimension names, values, attributes."""

    name: str
    dims: tuple[str, ...]
    values: NDArray[Any]
    attributes: Mapping[str, Any] = field(default_factory=dict)


def coordinates_of(source: Source, grids: ImageGrids, *, whole: bool = False) -> Iterator[Coordinate]:
    """Every coordinate of a patch set that is cut out of `source` by `grids`.

    `whole`: y and x of every pixel, for layout "canvas", rather than at the origins.
    """
    for at, name in enumerate(_AXES):
        yield from _origins(grids, at, name)
        if name in source.labels:
            yield from _labels(source, grids, at, name, whole=whole)
    for name, label in source.labels.items():
        if name not in _AXES:
            yield Coordinate(_key(source, name), (name,), label.values, label.attributes)
    if source.names is not None:
        yield Coordinate("name", ("image",), source.names)
    if grids.differ:
        for at, name in enumerate(("height", "width")):
            yield Coordinate(name, ("image",), grids.sizes[:, at], {"units": "pixel"})
    yield from _places(source)
    for variable in source.variables:
        yield from _of_images(source, variable)


def _of_images(source: Source, variable: Variable) -> Iterator[Coordinate]:
    """What pixels of a variable mean, where images differ in it."""
    if variable.nodatas is not None:
        yield Coordinate(nodata_array(variable.name), ("image",), variable.nodatas)
    dims = ("image", source.channel_dim(variable))
    for kind, values in variable.packings.items():
        yield Coordinate(packing_array(kind, variable.name), dims[: values.ndim], values)


def _places(source: Source) -> Iterator[Coordinate]:
    """Where images lie on the earth: one CRS for all, or that of each."""
    if source.crs is not None:
        yield Coordinate("spatial_ref", (), np.asarray(0), source.crs)
    if source.crs_texts is not None:
        yield Coordinate("crs", ("image",), source.crs_texts)
    if source.transform is not None:
        yield Coordinate("transform", ("image", "affine"), source.transform.values, source.transform.attributes)


def _key(source: Source, name: str) -> str:
    """Labels are called like their axis; beside a variable of that name like the source's own axis, where that is free.

    Else ``image_label``.
    """
    variables = {variable.name for variable in source.variables} if len(source.variables) > 1 else frozenset()
    own = source.dims.get(name, name)
    choices = chain([name], [] if is_own_name(own) else [own], (f"{name}_label{'_' * more}" for more in count()))
    return next(each for each in choices if each not in variables)


def _origins(grids: ImageGrids, at: int, name: str) -> Iterator[Coordinate]:
    """Origins in pixels along one axis; with an image axis where images do not share them."""
    axis, dim = grids.canvas.axes[at], f"grid_{name}"
    lattice = np.arange(len(axis), dtype=np.int64) * axis.step
    if axis.edge == "shift" and grids.differ:
        last = np.maximum(grids.sizes[:, at] - axis.span, 0)
        yield Coordinate(f"origin_{name}", ("image", dim), np.minimum(lattice, last[:, None]), {"units": "pixel"})
        return
    yield Coordinate(f"origin_{name}", (dim,), _shared(axis), {"units": "pixel"})


def _labels(source: Source, grids: ImageGrids, at: int, name: str, *, whole: bool) -> Iterator[Coordinate]:
    """The source's own coordinates: of every pixel, or at the origins where all images share these."""
    axis, label = grids.canvas.axes[at], source.labels[name]
    if whole:
        yield Coordinate(name, (name,), label.values, label.attributes)
    elif not (axis.edge == "shift" and grids.differ):
        yield Coordinate(name, (f"grid_{name}",), label.values[_shared(axis)], label.attributes)


def _shared(axis: Axis) -> NDArray[np.int64]:
    """Origins along one axis of the canvas, in pixels."""
    lattice = np.arange(len(axis), dtype=np.int64) * axis.step
    return np.minimum(lattice, axis.n - axis.span) if axis.edge == "shift" else lattice
