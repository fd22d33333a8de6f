"""Sources that are Zarr stores: version 2 or 3, sharded or not, an array or a group, canonical or anybody's."""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchmill.errors import MissingSourceError, SourceError
from patchmill.sources.model import (
    AXES,
    Label,
    Source,
    Variable,
    canonical_reader,
    channel_labels,
    label_of,
    one_name,
    plain_attributes,
    refuse_dtype,
    vanished,
)
from patchmill.sources.naming import Dims, canonical_axes, own_dims
from patchmill.storage import Location, StoredGroup, digest, open_bulk, read_group


def open_zarr_source(place: Location, *, variables: Sequence[str] | None, dims: Dims) -> Source:
    """The Zarr array or group at `place`.

    Raises
    ------
    MissingSourceError
        If nothing is there.
    SourceError
        If it is no Zarr store, or holds no images.
    ValueError
        If a variable is not there, or its axes can't be told.
    """
    own = read_group(place)
    if own is not None and own.own.get("kind") != "source":
        raise SourceError(f"{place.url} is a patch set, not a source: open it with patchmill.open_patches")
    node = _open_node(place)
    arrays = _chosen(node, place, own, variables, dims)
    every = {dim for array in arrays.values() for dim in _names(array) or ()}
    parts = {
        name: _variable(place, name, array, own_dims(dims, _names(array) or every, every), own)
        for name, array in arrays.items()
    }
    found = {name: variable for name, (variable, _) in parts.items()}
    first = next(iter(found.values()))
    _refuse_other_canvas(found, place.url)
    named = one_name([names for _, names in parts.values()])
    identity = {"url": place.url, "arrays": {name: _digest(place, name, array) for name, array in arrays.items()}}
    return Source(
        url=place.url,
        variables=tuple(found.values()),
        sizes=_sizes(own, first),
        dims=named,
        labels=_labels(node, parts) if hasattr(node, "array_keys") else {},
        names=own.values("name") if own and "name" in own.arrays else None,
        crs=dict(own.arrays["spatial_ref"]["attributes"]) if own and "spatial_ref" in own.arrays else _crs(node),
        transform=_transform(own),
        identity=identity,
        check=lambda: _check(place, arrays, identity),
    )


def _open_node(place: Location) -> Any:
    import zarr

    if not place.exists():
        raise MissingSourceError(f"nothing is at {place.url}: check the path of the source")
    try:
        return zarr.open(place.path, mode="r")
    except Exception as error:  # zarr-python raises many kinds for a folder that is no store
        raise SourceError(
            f"{place.url} is not a Zarr array or group: patchmill.ingest makes one of image files"
        ) from error


def _chosen(
    node: Any, place: Location, own: StoredGroup | None, wanted: Sequence[str] | None, dims: Dims
) -> dict[str, Any]:
    """Name to zarr-python array, of the variables to cut; a lone array has the name ``""``."""
    if not hasattr(node, "array_keys"):
        if wanted:
            raise ValueError(f"{place.url} is a single array and has no variables to choose from, got {list(wanted)}")
        return {"": node}
    here = {str(name): array for name, array in node.arrays()}
    names = wanted or (own.own["variables"] if own else [n for n, a in here.items() if _is_image(n, a, dims)])
    absent = [name for name in names if name not in here]
    if absent:
        raise ValueError(f"{place.url} has no variable {absent[0]!r}, it has {', '.join(sorted(here)) or 'none'}")
    if not names:
        raise SourceError(
            f"{place.url} holds no array with a y and an x axis, only {', '.join(sorted(here)) or 'nothing'}: "
            "name the axes with dims, or the path of one array"
        )
    return {name: here[name] for name in names}


def _is_image(name: str, array: Any, dims: Dims) -> bool:
    names = _names(array)
    if names is not None and name in names:
        return False
    try:
        canonical_axes(names, array.ndim, dims, name)
    except ValueError:
        return False
    return True


def _names(array: Any) -> tuple[str, ...] | None:
    """Dimension names, from version 3's metadata or xarray's attribute in version 2."""
    names = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS")
    return tuple(names) if names and all(names) else None


def _variable(
    place: Location, name: str, array: Any, dims: Dims, own: StoredGroup | None
) -> tuple[Variable, dict[str, str]]:
    where = f"{place.url}/{name}" if name else place.url
    names = _names(array)
    axes = canonical_axes(names, array.ndim, dims, where)
    refuse_dtype(where, np.dtype(array.dtype))
    if 0 in array.shape:
        raise SourceError(f"{where} has shape {tuple(array.shape)}, which holds no pixels")
    if own is not None:
        bulk = own.bulk(name)
    else:
        folder = place.child(name) if name else place
        bulk = open_bulk(folder, zarr_format=array.metadata.zarr_format, missing_is_error=False)
    attributes = plain_attributes({k: v for k, v in dict(array.attrs).items() if k != "_ARRAY_DIMENSIONS"})
    variable = Variable(
        name=name or place.path.stem,
        has_channel="channel" in axes,
        shape=_canonical(bulk.shape, axes),
        dtype=bulk.dtype,
        chunks=_canonical(bulk.chunk, axes),
        read=canonical_reader(bulk.read, axes, array.ndim),
        nodata=nodata_of(attributes, bulk.dtype),
        attributes=attributes,
    )
    return variable, {axis: names[at] for axis, at in axes.items()} if names else {}


def _canonical(values: Sequence[int], axes: Mapping[str, int]) -> tuple[int, int, int, int]:
    image, channel, y, x = (values[axes[axis]] if axis in axes else 1 for axis in AXES)
    return (image, channel, y, x)


def nodata_of(attributes: Mapping[str, Any], dtype: np.dtype[Any]) -> Any:
    """The value for "nothing measured", from ``nodata`` or CF's ``_FillValue`` and ``missing_value``."""
    for key in ("nodata", "_FillValue", "missing_value"):
        value = attributes.get(key)
        if isinstance(value, str):
            value = _from_text(value, dtype)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return value
    return None


def _from_text(text: str, dtype: np.dtype[Any]) -> float | None:
    """A float written as text: "NaN", or the base64 of its bytes as xarray puts it into Zarr version 3."""
    if text.lower() == "nan":
        return float("nan")
    if dtype.kind != "f":
        return None
    try:
        (value,) = struct.unpack("<d", base64.standard_b64decode(text))
    except (ValueError, struct.error):
        return None
    return float(value)


def _refuse_other_canvas(variables: Mapping[str, Variable], url: str) -> None:
    shapes = {name: (v.shape[0], *v.shape[2:]) for name, v in variables.items()}
    if len(set(shapes.values())) > 1:
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(
            f"variables are cut together where they share (image, y, x), got {listed} in {url}: choose with variables="
        )


def _sizes(own: StoredGroup | None, first: Variable) -> NDArray[np.int64]:
    if own is not None:
        return np.stack([own.values("height"), own.values("width")], axis=1).astype(np.int64)
    return np.tile(np.asarray(first.shape[2:], np.int64), (first.shape[0], 1))


def _labels(group: Any, parts: Mapping[str, tuple[Variable, dict[str, str]]]) -> dict[str, Label]:
    """Coordinates along each axis, channels apart, which may differ between variables."""
    here = {str(name): array for name, array in group.arrays()}

    def label(name: str) -> Label | None:
        found = here.get(name)
        if found is None or found.ndim != 1:
            return None
        return label_of(np.asarray(found[...]), dict(found.attrs))

    labels = {axis: label(own) for _, named in parts.values() for axis, own in named.items() if axis != "channel"}
    own = {key: named.get("channel", "") for key, (variable, named) in parts.items() if variable.has_channel}
    channels = channel_labels(
        {key: label(name) for key, name in own.items()}, {key: parts[key][0].channels for key in own}
    )
    return {axis: each for axis, each in labels.items() if each is not None} | channels


def _crs(node: Any) -> dict[str, Any] | None:
    if hasattr(node, "array_keys") and "spatial_ref" in set(node.array_keys()):
        return {k: v for k, v in dict(node["spatial_ref"].attrs).items() if k != "_ARRAY_DIMENSIONS"}
    return None


def _transform(own: StoredGroup | None) -> Label | None:
    if own is None or "transform" not in own.arrays:
        return None
    return Label(own.values("transform"), own.arrays["transform"]["attributes"])


def _digest(place: Location, name: str, array: Any) -> str:
    key = "zarr.json" if array.metadata.zarr_format == 3 else ".zarray"
    data = place.read(f"{name}/{key}" if name else key)
    return digest(data) if data is not None else ""


def _check(place: Location, arrays: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    now = {name: _digest(place, name, array) for name, array in arrays.items()}
    if now != identity["arrays"]:
        raise vanished(place.url)
