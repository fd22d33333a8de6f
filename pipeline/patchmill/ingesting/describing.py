"""What the store says about its images: arrays, attributes, coordinates, and the root that makes it one.

What all images share is an attribute; what differs between them is an array with one value an image:

=================  ==========================================  ==================================================
of                 all the same                                else
=================  ==========================================  ==================================================
"nothing" value    attribute ``nodata`` of the variable        ``nodata_<variable>(image)``, NaN where there is none
scale and offset   attributes ``scales``, ``offsets``          ``scale_<variable>``, ``offset_<variable>`` on
                                                               (image, channel), 1 and 0 where there are none
CRS                ``spatial_ref``, as CF has it               texts ``crs(image)``, empty where there is none
=================  ==========================================  ==================================================

The names are not CF's, so that xarray gives the values as they are stored.
"""

from __future__ import annotations

import datetime as dt
import math
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from patchmill import __version__
from patchmill.ingesting.agreeing import Layout
from patchmill.ingesting.naming import image_names
from patchmill.ingesting.pairing import IMAGE, Candidate
from patchmill.ingesting.scenes import Scene
from patchmill.sources.model import PACKINGS, nodata_array, packing_array, packing_attribute
from patchmill.storage import FORMAT, ArraySpec, declare, declare_arrays, digest
from patchmill.storage.makers import signature

_TRANSFORM = {
    "long_name": "affine transform: x = a * column + b * row + c, y = d * column + e * row + f, at the outer corner",
    "order": "a b c d e f",
}

_LISTED = 1000
"""Files that the root names as skipped; of more it keeps the number, since each opening reads the root."""


# -- pixels ---------------------------------------------------------------------------------------------------------


def pixel_arrays(
    layouts: Sequence[Layout], images: int, attributes: Mapping[str, Mapping[str, Any]]
) -> list[ArraySpec]:
    """The arrays of all variables, declared and empty.

    Parameters
    ----------
    layouts : sequence of Layout
    images : int
    attributes : mapping
        Name of a variable to its attributes.
    """
    dims = channel_dims(layouts)
    return [_pixel_array(layout, images, attributes.get(layout.name, {}), dims.get(layout.name)) for layout in layouts]


def _pixel_array(layout: Layout, images: int, attributes: Mapping[str, Any], channel: str | None) -> ArraySpec:
    shape, shapes = (images, layout.channels or 1, layout.height, layout.width), layout.shapes
    kept = range(4) if channel is not None else (0, 2, 3)
    names = ("image", channel or "", "y", "x")
    return ArraySpec(
        name=layout.name,
        dims=tuple(names[axis] for axis in kept),
        shape=tuple(shape[axis] for axis in kept),
        dtype=layout.dtype,
        chunk=tuple(shapes.chunk[axis] for axis in kept),
        shard=tuple(shapes.shard[axis] for axis in kept),
        fill=layout.dtype.type(0),
        attributes=attributes,
    )


def channel_dims(layouts: Sequence[Layout]) -> dict[str, str]:
    """Name of the channel axis of each variable that has one: ``channel`` where all agree on it."""
    with_channels = [layout for layout in layouts if layout.channels is not None]
    agree = len({(layout.channels, layout.labels) for layout in with_channels}) == 1
    return {layout.name: "channel" if agree else f"channel_{layout.name}" for layout in with_channels}


def pixel_attributes(
    layout: Layout, scenes: Sequence[Scene], *, crs: bool, kept: Collection[str] = ()
) -> dict[str, Any]:
    """What all images of a variable share; for what differs there is an array, which once there is `kept`."""
    found: dict[str, Any] = {}
    title, nodata = _shared([scene.title for scene in scenes]), _shared([_plain(scene.nodata) for scene in scenes])
    if title is not None and layout.channels is None:
        found["long_name"] = title
    if nodata is not None and nodata_array(layout.name) not in kept:
        found["nodata"] = nodata
    for kind in PACKINGS:
        values = _shared([_packing(scene, kind) for scene in scenes])
        if values is not None and packing_array(kind, layout.name) not in kept:
            found[packing_attribute(kind)] = list(values)
    if crs:
        found["grid_mapping"] = "spatial_ref"
    return found


def _shared(values: Sequence[Any]) -> Any:
    """The value that all have, None where they differ."""
    return values[0] if all(value == values[0] for value in values) else None


def _packing(scene: Scene, kind: str) -> tuple[float, ...] | None:
    """Scale or offset of each channel; None where it changes nothing."""
    given: tuple[float, ...] | None = {"scale": scene.scales, "offset": scene.offsets}[kind]
    return given if given is not None and set(given) != {PACKINGS[kind]} else None


def _plain(nodata: float | None) -> Any:
    """As JSON can hold it."""
    if nodata is None or math.isfinite(nodata):
        return nodata
    return "NaN" if math.isnan(nodata) else "Infinity" if nodata > 0 else "-Infinity"


# -- coordinates ----------------------------------------------------------------------------------------------------


def small_arrays(
    layouts: Sequence[Layout], candidates: Sequence[Candidate], names: Sequence[str], kept: Collection[str] = ()
) -> list[ArraySpec]:
    """Extents, names and places of the images, and names of the channels.

    Parameters
    ----------
    layouts : sequence of Layout
    candidates : sequence of Candidate
    names : sequence of str
        Of the images.
    kept : collection of str
        Arrays that a store has already: what once differed between images does so for good.
    """
    first = [candidate.scenes[IMAGE] for candidate in candidates]
    arrays = [
        ArraySpec.of("height", ("image",), np.array([scene.height for scene in first], np.int64), {"units": "pixel"}),
        ArraySpec.of("width", ("image",), np.array([scene.width for scene in first], np.int64), {"units": "pixel"}),
        ArraySpec.of("name", ("image",), list(names)),
    ]
    arrays += [*_places(first), *_differing(layouts, candidates, kept), *_labels(layouts)]
    return arrays


def names_of(candidates: Sequence[Candidate], given: Sequence[str] = ()) -> list[str]:
    """One name an image; of files of which several variables are taken, with the variable.

    Parameters
    ----------
    candidates : sequence of Candidate
    given : sequence of str
        Names that the first of them have already, and keep.
    """
    variables: dict[str, set[str]] = {}
    for each in candidates:
        variables.setdefault(each.file.path, set()).add(each.file.variable)
    several = {path for path, found in variables.items() if len(found) > 1}
    return image_names(
        [
            (each.file.path, (f":{each.file.variable}" if each.file.path in several else "") + each.label)
            for each in candidates
        ],
        given,
    )


def shared_crs(scenes: Sequence[Scene]) -> str | None:
    """The coordinate reference system of all images, None where they have several, or some have none."""
    crs: str | None = _shared([scene.crs for scene in scenes])
    return crs


def _places(scenes: Sequence[Scene]) -> Iterator[ArraySpec]:
    crs = shared_crs(scenes)
    if crs is not None:
        yield ArraySpec.of("spatial_ref", (), np.int64(0), {"crs_wkt": crs, "spatial_ref": crs})
    elif any(scene.crs for scene in scenes):
        yield ArraySpec.of("crs", ("image",), [scene.crs or "" for scene in scenes])
    if any(scene.transform for scene in scenes):
        values = np.array([scene.transform or (np.nan,) * 6 for scene in scenes], np.float64)
        yield ArraySpec.of("transform", ("image", "affine"), values, _TRANSFORM)


def _differing(
    layouts: Sequence[Layout], candidates: Sequence[Candidate], kept: Collection[str]
) -> Iterator[ArraySpec]:
    """What images of one variable do not share."""
    dims = channel_dims(layouts)
    for layout in layouts:
        scenes = [candidate.scenes[layout.name] for candidate in candidates]
        if len({_plain(scene.nodata) for scene in scenes}) > 1 or nodata_array(layout.name) in kept:
            values = [math.nan if scene.nodata is None else scene.nodata for scene in scenes]
            yield ArraySpec.of(nodata_array(layout.name), ("image",), np.array(values, np.float64))
        for kind, neutral in PACKINGS.items():
            given = [_packing(scene, kind) for scene in scenes]
            array = packing_array(kind, layout.name)
            if len(set(given)) > 1 or array in kept:
                rows = np.array([each or (neutral,) * (layout.channels or 1) for each in given], np.float64)
                channel = (dims[layout.name],) if layout.name in dims else ()
                yield ArraySpec.of(array, ("image", *channel), rows if channel else rows[:, 0])


def _labels(layouts: Sequence[Layout]) -> Iterator[ArraySpec]:
    dims = channel_dims(layouts)
    labels = {dims[layout.name]: layout.labels for layout in layouts if layout.name in dims}
    for dim, names in labels.items():
        if names is not None:
            yield ArraySpec.of(dim, (dim,), list(names))


# -- root -----------------------------------------------------------------------------------------------------------


def declared(specs: Sequence[ArraySpec], variables: Sequence[str], own: Mapping[str, Any]) -> dict[str, bytes]:
    """All metadata objects of a group; its root knows the digests of the arrays'.

    Parameters
    ----------
    specs : sequence of ArraySpec
    variables : sequence of str
        Arrays of pixels.
    own : mapping
        What patchmill says about the group, beside format, variables and digests; plain JSON.

    What stands beside pixels is coordinates to xarray; where there are no pixels it is what the group is about.
    """
    objects = declare_arrays(specs)
    beside = [spec.name for spec in specs if spec.name not in variables and (spec.name,) != spec.dims]
    attributes = {
        "patchmill": {
            "format": FORMAT,
            "kind": "source",
            "variables": list(variables),
            "digests": {spec.name: digest(objects[f"{spec.name}/zarr.json"]) for spec in specs},
            **own,
        },
        **({"coordinates": " ".join(beside)} if variables else {}),
    }
    return declare(specs, attributes, objects)


def provenance(
    candidates: Sequence[Candidate],
    skipped: Sequence[tuple[str, str]],
    ignored: int,
    before: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """From how many files the store was made, when, and by what; the files themselves stand in a group of their own.

    Parameters
    ----------
    candidates : sequence of Candidate
    skipped : sequence of (str, str)
    ignored : int
    before : mapping, optional
        The same of the store that this appends to; None where one is begun.
    """
    now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    begun = {"id": uuid.uuid4().hex, "created": now} | dict(before or {})
    files = {each.file.path: each.marks[IMAGE].nbytes for each in candidates}
    return {
        "id": begun["id"],  # of this store and what it grows into: whoever was cut from another one knows
        "created": begun["created"],
        "changed": now,
        "patchmill": __version__,
        "files": {"count": len(files), "bytes": sum(files.values())},
        "skipped": [list(each) for each in skipped[:_LISTED]],
        "skipped_count": len(skipped),
        "ignored_count": ignored,
        **signature(),
    }
