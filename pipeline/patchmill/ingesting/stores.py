"""Zarr stores, version 2 and 3, arrays and groups, read in pieces the way `patchmill.write_patches` reads its source.

As in NetCDF, one variable is taken as it is, several of one kind become channels, and of several kinds one must be
named: ``store.zarr:variable``. Of a store that patchmill's own ingest wrote, the first variable is taken; of a
multiscale image (OME-Zarr) the level asked for.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from math import isfinite, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchmill.errors import PatchmillError
from patchmill.ingesting.arrays import stacked, unnamed_axes
from patchmill.ingesting.fields import texts
from patchmill.ingesting.scenes import Affine, Read, Reading, Scene, UnfitError, no_level
from patchmill.sources import Dims, Source, Variable, open_source
from patchmill.sources.model import packing_attribute
from patchmill.storage import Location, read_group

_OME = {"t": "image", "z": "image", "c": "channel", "y": "y", "x": "x"}


def open_store(path: str, variable: str, reading: Reading) -> list[Scene]:
    """The images of a Zarr array or group."""
    path, variable, dims = _level(path, variable, reading)
    source = _source(path, variable, dims, reading)
    if len(source.variables) > 1:
        kinds = {each.name: (each.channels, each.dtype) for each in source.variables}
        if len(set(kinds.values())) > 1:
            listed = "; ".join(f"{name} {dtype}, {n or 'no'} channels" for name, (n, dtype) in kinds.items())
            raise UnfitError(
                f"holds variables of several kinds, {listed}: name one, such as store.zarr:{next(iter(kinds))}"
            )
    parts = [_scenes(path, variable, dims, source, number, reading) for number in range(len(source.variables))]
    return stacked(parts, tuple(each.name for each in source.variables)) if len(parts) > 1 else parts[0]


def _source(path: str, variable: str, dims: Dims, reading: Reading) -> Source:
    return reading.files.get((path, variable), lambda: _opened(path, variable, dims))


def _opened(path: str, variable: str, dims: Dims) -> Source:
    own = read_group(Location.parse(path))
    chosen = [variable] if variable else None
    if own is not None and own.own.get("kind") == "source" and not variable:
        chosen = [own.own["variables"][0]]
    try:
        source = open_source(path, variables=chosen, dims=dims)
    except (PatchmillError, ValueError, TypeError) as error:
        raise UnfitError(f"can't be taken: {error}") from error
    if source.dims or dims is not None:
        return source
    # Axes without names, for which a picture's order is told as in NumPy's files.
    dims = unnamed_axes(_shape(path, source.variables[0].name))
    return source if dims is None else open_source(path, variables=chosen, dims=dims)


def _shape(path: str, name: str) -> tuple[int, ...]:
    """Shape of a lone array, or of the array `name` of a group."""
    import zarr

    node: Any = zarr.open(path, mode="r")
    return tuple(node.shape if hasattr(node, "shape") else node[name].shape)


# -- levels ---------------------------------------------------------------------------------------------------------


def _level(path: str, variable: str, reading: Reading) -> tuple[str, str, Dims]:
    """Path, variable and axes of the level asked for."""
    levels, dims = _multiscale(path)
    if variable or not levels:
        if reading.level:
            raise UnfitError(no_level(1, reading.level))
        return path, variable, reading.dims
    if reading.level >= len(levels):
        raise UnfitError(no_level(len(levels), reading.level))
    return os.path.join(path, levels[reading.level]), "", reading.dims if reading.dims is not None else dims


def _multiscale(path: str) -> tuple[list[str], Dims]:
    """Paths of the levels of an OME-Zarr image, and its axes; no paths where it is none."""
    attributes: Mapping[str, Any] = {}
    for name in (".zattrs", "zarr.json"):
        file = os.path.join(path, name)
        if os.path.isfile(file):
            with open(file, "rb") as opened:
                document = json.load(opened)
            attributes = document if name == ".zattrs" else document.get("attributes", {})
    every = attributes.get("multiscales") or attributes.get("ome", {}).get("multiscales") or []
    if not every:
        return [], None
    axes = [axis.get("name") if isinstance(axis, dict) else axis for axis in every[0].get("axes", [])]
    paths = [str(level["path"]) for level in every[0]["datasets"]]
    if _has_names(os.path.join(path, paths[0])):
        return paths, None  # then the axes are told by their names
    return paths, [_OME.get(str(axis), str(axis)) for axis in axes] or None


def _has_names(path: str) -> bool:
    try:
        with open(os.path.join(path, "zarr.json"), "rb") as file:
            return bool(json.load(file).get("dimension_names"))
    except FileNotFoundError:
        return False


# -- scenes ---------------------------------------------------------------------------------------------------------


def _scenes(path: str, variable: str, dims: Dims, source: Source, number: int, reading: Reading) -> list[Scene]:
    part = source.variables[number]
    scene = _first(source, part)
    labels = _image_labels(source)

    def reader(image: int) -> Read:
        def read(channels: slice, ys: slice, xs: slice) -> NDArray[Any]:
            again = _source(path, variable, dims, reading)
            region = (slice(image, image + 1), channels, ys, xs)
            pixels: NDArray[Any] = again.read(again.variables[number], region)[0]
            return pixels

        return read

    return [
        replace(
            scene,
            label=labels[image],
            height=int(source.sizes[image, 0]),
            width=int(source.sizes[image, 1]),
            nodata=part.nodata_at(image),
            crs=_crs(source, image),
            transform=_transform(source, image),
            read=reader(image),
            scales=_own(part, "scale", image, scene.scales),
            offsets=_own(part, "offset", image, scene.offsets),
        )
        for image in range(source.images)
    ]


def _first(source: Source, part: Variable) -> Scene:
    """All that the images of a variable have in common."""
    return Scene(
        height=0,
        width=0,
        dtype=part.dtype,
        read=lambda *_: np.empty(0),
        channels=part.channels,
        labels=_channel_labels(source, part),
        title=part.name if part.channels is None else None,
        in_pieces=True,
        block=part.chunks[2:],
        interleaved=part.chunks[1] > 1,
        least_nbytes=prod(part.chunks) * part.dtype.itemsize,
        scales=_values(part, "scale", "scale_factor"),
        offsets=_values(part, "offset", "add_offset"),
    )


def _image_labels(source: Source) -> list[str]:
    if source.images == 1:
        return [""]
    label = source.labels.get("image")
    found = texts(label.values, label.attributes) if label is not None else None
    if source.names is not None:
        found = tuple(map(str, source.names))
    name = source.dims.get("image", "image")
    return [f"[{name}={found[image] if found else image}]" for image in range(source.images)]


def _channel_labels(source: Source, part: Variable) -> tuple[str, ...] | None:
    label = source.labels.get(f"channel_{part.name}") or source.labels.get("channel")
    if label is None or part.channels is None or len(label.values) != part.channels:
        return None
    return texts(label.values, label.attributes)


def _crs(source: Source, image: int) -> str | None:
    if source.crs_texts is not None:
        return str(source.crs_texts[image]) or None
    attributes = source.crs or {}
    text = attributes.get("crs_wkt") or attributes.get("spatial_ref")
    return str(text) if text else None


def _transform(source: Source, image: int) -> Affine | None:
    if source.transform is None:
        return None
    a, b, c, d, e, f = (float(value) for value in source.transform.values[image])
    return (a, b, c, d, e, f) if isfinite(a) else None


def _own(part: Variable, kind: str, image: int, shared: tuple[float, ...] | None) -> tuple[float, ...] | None:
    """Scale or offset of an image for each channel, `shared` where images do not differ in it."""
    return tuple(np.atleast_1d(part.packings[kind][image]).tolist()) if kind in part.packings else shared


def _values(part: Variable, kind: str, cf: str) -> tuple[float, ...] | None:
    """Scales or offsets for each channel, from patchmill's attribute or CF's."""
    given = part.attributes.get(packing_attribute(kind), part.attributes.get(cf))
    if given is None:
        return None
    return tuple(map(float, np.broadcast_to(np.asarray(given, np.float64), (part.channels or 1,))))
