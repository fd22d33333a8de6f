"""Sources that are objects of this process: NumPy, Dask and xarray."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchmill.grid import alike
from patchmill.sources.fingerprints import FileState, Identity, bare_name, digest_of_samples, fingerprint
from patchmill.sources.model import (
    PACKINGS,
    Label,
    Source,
    UnknownVariableError,
    Variable,
    channel_labels,
    grid_mapping,
    label_of,
    no_variable,
    nodata_array,
    one_name,
    packing_array,
    plain_attributes,
    refuse_dtype,
    unchanged,
    vanished,
)
from patchmill.sources.naming import Dims, auxiliary, canonical_axes, own_dims, refuse_unknown, warn_of_others
from patchmill.sources.readers import AXES, Held, Turned, mapped_file
from patchmill.sources.zarrs import told_nodata


def open_array_source(array: Any, *, dims: Dims) -> Source:
    """A NumPy or Dask array; its axes are the last of (image, channel, y, x) unless `dims` says otherwise."""
    if isinstance(getattr(array, "_meta", array), np.ma.MaskedArray):
        raise TypeError("a masked array lacks pixels, which a source can't: fill them first with array.filled(value)")
    axes = canonical_axes(None, array.ndim, dims, "the array")
    variable = _variable("image", array, axes, Held(array), {})
    shaped = {"shape": list(array.shape), "dtype": str(array.dtype), "axes": axes}
    path = mapped_file(array)
    if path is None:
        held = array.nbytes if isinstance(array, np.ndarray) and not isinstance(array, np.memmap) else 0
        identity = Identity(lambda: {**shaped, "content": fingerprint(array)})
        return Source("memory", (variable,), _sizes(variable), {}, identity=identity, held=held)
    try:
        state = FileState.of(path)
    except OSError:
        raise vanished(path) from None
    identity = Identity(lambda: {**shaped, **_mapped_identity(array, state)})
    return Source(state.path, (variable,), _sizes(variable), {}, identity=identity, check=state)


def _mapped_identity(array: np.memmap[Any, Any], state: FileState) -> dict[str, Any]:
    """The file, where it is only read. While pages are written its time may stand still, so then it is the values."""
    if array.mode != "r":
        return {"content": fingerprint(array)}
    return {**state.to_dict(), "offset": array.offset, "content": digest_of_samples(array)}


def open_xarray_source(
    data: Any, *, variables: Sequence[str] | None, dims: Dims, file: FileState | None = None
) -> Source:
    """An ``xr.DataArray``, or those variables of an ``xr.Dataset`` that lie on one y and x; maybe those of a `file`."""
    refuse_unknown(dims, data.dims, "the object")
    arrays = _chosen(data, variables, dims)
    parts: list[Variable] = []
    placed: dict[str, dict[str, int]] = {}
    for name, array in arrays.items():
        names = [str(dim) for dim in array.dims]
        axes = canonical_axes(names, array.ndim, own_dims(dims, names, data.dims), f"variable {name!r}")
        placed[name] = axes
        attributes = plain_attributes(dict(array.attrs))
        parts.append(_variable(name, _held(array), axes, Held(array), attributes))
    shapes = {part.name: (part.shape[0], *part.shape[2:]) for part in parts}
    if len(set(shapes.values())) > 1:
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(
            f"variables are cut together where they share (image, y, x), got {listed}: choose with variables="
        )
    named = one_name([{a: str(arrays[n].dims[at]) for a, at in axes.items()} for n, axes in placed.items()])
    beside = _beside(data, named.get("image"), arrays)
    parts = [_with_own(part, beside) for part in parts]
    source = data.encoding.get("source")
    return Source(
        url=file.path if file else bare_name(str(source or "memory")),
        variables=tuple(parts),
        sizes=_extents(beside, parts[0]),
        dims=named,
        labels=_labels(arrays, named, placed),
        names=np.asarray(beside["name"].values).astype(object) if "name" in beside else None,
        crs=plain_attributes(dict(beside["spatial_ref"].attrs)) if "spatial_ref" in beside else None,
        crs_texts=np.asarray(beside["crs"].values).astype(object) if "crs" in beside else None,
        transform=_transform(beside, parts[0]),
        identity=Identity(lambda: {"axes": placed, "dims": named} | _identity(arrays, file, source)),
        check=file or unchanged,
        held=sum(array.nbytes for array in arrays.values() if _is_loaded(array)),
    )


def _identity(arrays: Mapping[str, Any], file: FileState | None, source: Any) -> dict[str, Any]:
    shaped = {name: [list(array.shape), str(array.dtype)] for name, array in arrays.items()}
    if file is not None:
        return {"arrays": shaped, **file.to_dict()}
    return {"arrays": {name: [*each, fingerprint(_held(arrays[name]), source)] for name, each in shaped.items()}}


def _chosen(data: Any, wanted: Sequence[str] | None, dims: Dims) -> dict[str, Any]:
    if not hasattr(data, "data_vars"):
        if wanted:
            raise UnknownVariableError(
                f"a DataArray is a single variable, there is nothing to choose from, got {list(wanted)}"
            )
        return {str(data.name or "image"): data}
    # xarray lists an array among the coordinates if it has the name of an axis, as "image" in canonical stores has.
    called_like_axes = {name: array for name, array in data.coords.items() if array.ndim > 1 and name in array.dims}
    here = called_like_axes | dict(data.data_vars)
    absent = [name for name in wanted or () if name not in here]
    if absent:
        raise no_variable("the Dataset", absent[0], [str(name) for name in _images(data, here, dims)])
    names = wanted or _images(data, here, dims)
    if not names:
        raise ValueError(_no_images(data, here, dims))
    if not wanted:
        warn_of_others("the Dataset", names, {name: array.dims for name, array in here.items()})
    return {str(name): data[name] for name in names}


def _no_images(data: Any, here: Mapping[Any, Any], dims: Dims) -> str:
    """Why no variable can be cut: of those that have a y and an x axis, what else they have."""
    for name, array in here.items():
        names = [str(dim) for dim in array.dims]
        try:
            canonical_axes(names, array.ndim, own_dims(dims, array.dims, data.dims), f"variable {str(name)!r}")
        except ValueError as error:
            if array.ndim > 2:
                return f"{error}, or select one of it"
    return f"no variable of the Dataset has a y and an x axis among its dims {tuple(data.sizes)}: name them with dims"


def _images(data: Any, here: Mapping[Any, Any], dims: Dims) -> list[Any]:
    """Those to cut where nobody has chosen: what has a y and an x axis, but for what says where others lie."""
    places = auxiliary([data.attrs, *(array.attrs for array in here.values())])
    found = [name for name, array in here.items() if _is_image(array, own_dims(dims, array.dims, data.dims))]
    return [name for name in found if name not in places] or found


def _is_image(array: Any, dims: Dims) -> bool:
    try:
        canonical_axes([str(dim) for dim in array.dims], array.ndim, dims, "")
    except ValueError:
        return False
    return True


def _beside(data: Any, image: str | None, variables: Mapping[str, Any]) -> dict[str, Any]:
    """What canonical stores keep for each image, where the object still has it; of one that was selected its own."""
    along = () if image is None else (image,)
    known = data.variables if hasattr(data, "data_vars") else data.coords
    scalars = {name: known[name].attrs for name in known if known[name].dims == ()}
    mapping = grid_mapping([array.encoding | array.attrs for array in variables.values()], scalars)
    has_texts = "crs" in known and known["crs"].dtype.kind in "OSTU" and mapping != "crs"
    own = ("name", "height", "width", *(("crs",) if has_texts else ()), *map(nodata_array, variables))
    packed = [packing_array(kind, name) for kind in PACKINGS for name in variables]
    found = {name: data[name] for name in own if name in known and data[name].dims == along}
    found |= {name: data[name] for name in packed if name in known and data[name].dims[: len(along)] == along}
    if "transform" in known and data["transform"].dims == (*along, "affine"):
        found["transform"] = data["transform"]
    if image is None:
        found = {name: array.expand_dims("image") for name, array in found.items()}
    if mapping is not None:
        found["spatial_ref"] = data[mapping]
    return found


def _with_own(variable: Variable, beside: Mapping[str, Any]) -> Variable:
    """With what each image has of its own, where the object has that: nodata, scale, offset."""
    nodata = beside.get(nodata_array(variable.name))
    if nodata is not None:
        variable = replace(variable, nodata=None, nodatas=np.asarray(nodata.values, np.float64))
    shape = variable.shape[: 1 + variable.has_channel]
    arrays = {kind: beside.get(packing_array(kind, variable.name)) for kind in PACKINGS}
    packings = {
        kind: np.asarray(array.values, np.float64)
        for kind, array in arrays.items()
        if array is not None and array.shape == shape
    }
    return replace(variable, packings=packings)


def _extents(beside: Mapping[str, Any], variable: Variable) -> NDArray[np.int64]:
    """Extent of each image: as a canonical store has it, else the whole canvas; a part of a canvas cuts it off.

    Raises
    ------
    ValueError
        If images differ in extent, and the object is a part of their canvas: which part, nobody knows any more.
    """
    whole = _sizes(variable)
    if "height" not in beside or "width" not in beside:
        return whole
    extents = _stored_extents(beside)
    for at, name in enumerate(("height", "width")):
        own = extents[:, at]
        if own.max() > whole[0, at] and own.min() < own.max():
            raise ValueError(
                f"{name} gives the extents of images before the object was cut to {whole[0, at]} pixels, and they "
                f"differ ({own.min()} to {own.max()}): assign those of what is left, or drop height and width"
            )
    return np.minimum(whole, extents)


def _stored_extents(beside: Mapping[str, Any]) -> NDArray[np.int64]:
    return np.stack([beside["height"].values, beside["width"].values], axis=1).astype(np.int64)


def _transform(beside: Mapping[str, Any], variable: Variable) -> Label | None:
    """Where images lie; of a part of a canvas it is not known any more."""
    if "transform" not in beside:
        return None
    if {"height", "width"} <= beside.keys() and (_stored_extents(beside) > _sizes(variable)).any():
        return None
    return Label(np.asarray(beside["transform"].values), plain_attributes(dict(beside["transform"].attrs)))


def _is_loaded(array: Any) -> bool:
    """Whether a DataArray's values lie in this process."""
    return array.chunks is None and bool(array.variable._in_memory)  # noqa: SLF001 - xarray has no public word for it


def _held(array: Any) -> Any:
    """The Dask array behind a DataArray, else the DataArray itself: a file that is not loaded stays so."""
    return array.data if array.chunks is not None else array


def _variable(
    name: str,
    array: Any,
    axes: Mapping[str, int],
    held: Held,
    attributes: Mapping[str, Any],
) -> Variable:
    refuse_dtype(name, np.dtype(array.dtype))
    if not all(n > 0 for n in array.shape):  # Dask's unknown lengths are NaN
        raise ValueError(f"a source must hold pixels in every axis, got {name!r} of shape {tuple(array.shape)}")
    chunked = getattr(array, "chunks", None)
    lazy = _canonical_lazy(array, axes) if hasattr(array, "dask") else None
    # What lies in memory is read pixel by pixel, so to say: no region costs more than itself.
    largest = [max(along) for along in chunked] if chunked else _preferred(array)
    image, channel, y, x = (array.shape[axes[axis]] if axis in axes else 1 for axis in AXES)
    chunks = tuple(largest[axes[axis]] if axis in axes else 1 for axis in AXES)
    return Variable(
        name=name,
        has_channel="channel" in axes,
        shape=(image, channel, y, x),
        dtype=np.dtype(array.dtype).newbyteorder("="),
        chunks=(chunks[0], chunks[1], chunks[2], chunks[3]),
        read=Turned(held, axes, array.ndim),
        lazy=lazy,
        nodata=told_nodata(name, attributes, np.dtype(array.dtype)),
        attributes=attributes,
    )


def _preferred(array: Any) -> list[int]:
    """Chunks of the file behind a DataArray that is not loaded; single pixels for what is in memory."""
    known = getattr(array, "encoding", {}).get("preferred_chunks", {})
    return [known.get(dim, 1) for dim in getattr(array, "dims", array.shape)]


def _canonical_lazy(array: Any, axes: Mapping[str, int]) -> Any:
    order = [axes[axis] for axis in AXES if axis in axes]
    expand = tuple(slice(None) if axis in axes else None for axis in AXES)
    return array.transpose(order)[expand]


def _sizes(variable: Variable) -> NDArray[np.int64]:
    return alike(variable.shape[2:], variable.shape[0])


def _labels(
    arrays: Mapping[str, Any], named: Mapping[str, str], axes: Mapping[str, Mapping[str, int]]
) -> dict[str, Label]:
    """Coordinates along each axis, channels apart, which may differ between variables."""
    labels: dict[str, Label] = {}
    channels: dict[str, Label | None] = {}
    counts: dict[str, int | None] = {}
    for key, array in arrays.items():
        for axis, name in named.items():
            if axis != "channel" and name in array.coords and array.coords[name].ndim == 1:
                labels[axis] = label_of(np.asarray(array.coords[name].values), array.coords[name].attrs)
        if "channel" in axes[key]:
            own = array.dims[axes[key]["channel"]]
            has = own in array.coords and array.coords[own].ndim == 1
            channels[key] = label_of(np.asarray(array.coords[own].values), array.coords[own].attrs) if has else None
            counts[key] = array.sizes[own]
    return labels | channel_labels(channels, counts)
