"""Sources that are Zarr stores: version 2 or 3, sharded or not, an array or a group, canonical or anybody's."""

from __future__ import annotations

import base64
import json
import os
import struct
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchmill.errors import NotASourceError, PatchmillError, SourceError
from patchmill.grid import alike
from patchmill.patches.notices import caller_level
from patchmill.sources.absent import sparse
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
    nothing_at,
    one_name,
    packing_array,
    packing_attribute,
    plain_attributes,
    refuse_dtype,
    vanished,
)
from patchmill.sources.naming import Dims, auxiliary, canonical_axes, own_dims, warn_of_others
from patchmill.sources.readers import AXES, Regional, Turned
from patchmill.storage import Location, StoredGroup, TensorStoreArray, digest, open_bulk, read_group


def open_zarr_source(
    place: Location, *, variables: Sequence[str] | None, dims: Dims, opened: int | None = None
) -> Source:
    """The Zarr array or group at `place`, as it was at the moment `opened`: now, if None.

    Raises
    ------
    MissingSourceError
        If nothing is there.
    NotASourceError
        If it is no Zarr store, or holds no images.
    ValueError
        If a variable is not there, or its axes can't be told.
    """
    own = read_group(place)
    if own is not None and own.own.get("kind") != "source":
        raise NotASourceError(f"{place.url} is a patch set, not a source: open it with patchmill.open_patches")
    node = _open_node(place)
    arrays = _chosen(node, place, own, variables, dims)
    every = {dim for array in arrays.values() for dim in _names(array) or ()}
    parts = {
        name: _variable(place, name, array, own_dims(dims, _names(array) or every, every), own, opened)
        for name, array in arrays.items()
    }
    found = {name: variable for name, (variable, _) in parts.items()}
    first = next(iter(found.values()))
    _refuse_other_canvas(found, place.url)
    named = one_name([names for _, names in parts.values()])
    check = Metadata.of(place, arrays)
    return Source(
        url=place.url,
        variables=tuple(found.values()),
        sizes=_sizes(own, first),
        dims=named,
        labels=_labels(node, parts) if hasattr(node, "array_keys") else {},
        names=own.values("name") if own and "name" in own.arrays else None,
        crs=dict(own.arrays["spatial_ref"]["attributes"]) if own and "spatial_ref" in own.arrays else _crs(node, found),
        crs_texts=_crs_texts(own),
        transform=_transform(own),
        identity={
            "url": place.url,
            "axes": {name: variable.read.axes for name, variable in found.items() if isinstance(variable.read, Turned)},
            "arrays": _digests(check, parts, arrays, _crs_texts(own)),
            **_made(own),
        },
        check=check,
    )


def _made(own: StoredGroup | None) -> dict[str, str]:
    """Which ingest made a store: another one may have put other pixels under the same metadata."""
    made = None if own is None else own.own.get("provenance", {}).get("id")
    return {} if made is None else {"ingest": str(made)}


def _open_node(place: Location) -> Any:
    import zarr

    if not place.exists():
        raise nothing_at(place.url)
    try:
        return zarr.open(place.store(), mode="r")
    except PatchmillError:  # the store itself does not answer
        raise
    except Exception as error:  # zarr-python raises many kinds for a folder that is no store
        raise NotASourceError(
            f"{place.url} is not a Zarr array or group: patchmill.ingest makes one of image files, on the command line "
            f"patchmill ingest {place.url} --target source.zarr"
        ) from error


def _chosen(
    node: Any, place: Location, own: StoredGroup | None, wanted: Sequence[str] | None, dims: Dims
) -> dict[str, Any]:
    """Name to zarr-python array, of the variables to cut; a lone array has the name ``""``."""
    if not hasattr(node, "array_keys"):
        if wanted:
            raise UnknownVariableError(
                f"{place.url} is a single array and has no variables to choose from, got {list(wanted)}"
            )
        return {"": node}
    # In a fixed order: without consolidated metadata zarr-python lists a folder in another one each time.
    here = {str(name): array for name, array in sorted(node.arrays(), key=lambda each: str(each[0]))}
    images = [name for name, array in here.items() if _is_image(name, array, dims)]
    places = auxiliary([dict(node.attrs), *(dict(array.attrs) for array in here.values())])
    names = wanted or (own.own["variables"] if own else [name for name in images if name not in places] or images)
    absent = [name for name in names if name not in here]
    if absent:
        raise no_variable(place.url, absent[0], images)
    if not names:
        raise NotASourceError(
            f"{place.url} holds no array with a y and an x axis, only {', '.join(sorted(here)) or 'nothing'}: "
            "name the axes with dims, or the path of one array"
        )
    if not wanted and own is None:
        warn_of_others(place.url, names, {name: _names(array) or () for name, array in here.items()})
    return {name: here[name] for name in names}


def _is_image(name: str, array: Any, dims: Dims) -> bool:
    try:
        canonical_axes(_names(array), array.ndim, dims, name)
    except ValueError:
        return False
    return True


def _names(array: Any) -> tuple[str, ...] | None:
    """Dimension names, from version 3's metadata or xarray's attribute in version 2."""
    names = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS")
    return tuple(names) if names and all(names) else None


def _variable(
    place: Location, name: str, array: Any, dims: Dims, own: StoredGroup | None, opened: int | None
) -> tuple[Variable, dict[str, str]]:
    where = f"{place.url}/{name}" if name else place.url
    names = _names(array)
    axes = canonical_axes(names, array.ndim, dims, where)
    refuse_dtype(where, np.dtype(array.dtype))
    if 0 in array.shape:
        raise SourceError(f"{where} has shape {tuple(array.shape)}, which holds no pixels")
    folder = place.child(name) if name else place
    bulk = own.bulk(name) if own else _bulk(folder, array)
    attributes = plain_attributes({k: v for k, v in dict(array.attrs).items() if k != "_ARRAY_DIMENSIONS"})
    nodatas = own.values(nodata_array(name)) if own and nodata_array(name) in own.arrays else None
    packed = {kind: packing_array(kind, name) for kind in PACKINGS}
    variable = Variable(
        name=name or PurePosixPath(place.name).stem,
        has_channel="channel" in axes,
        shape=_canonical(bulk.shape, axes),
        dtype=bulk.dtype,
        chunks=_canonical(bulk.chunk, axes),
        read=Turned(_readable(bulk, own, opened), axes, array.ndim),
        nodata=_nodata(array, attributes, bulk.dtype) if nodatas is None else None,
        nodatas=nodatas,
        packings={kind: own.values(each) for kind, each in packed.items() if own and each in own.arrays},
        attributes=attributes,
    )
    return variable, {axis: names[at] for axis, at in axes.items()} if names else {}


def _bulk(folder: Location, array: Any) -> TensorStoreArray:
    """The array at `folder`; with attributes that are no strict JSON, as a NaN of zarr-python is none, without them."""
    version = array.metadata.zarr_format
    try:
        json.dumps(dict(array.attrs), allow_nan=False)
    except ValueError:
        if version == 3:  # version 2 keeps attributes apart, where tensorstore does not look
            metadata = json.loads(folder.read("zarr.json") or b"{}") | {"attributes": {}}
            return open_bulk(folder, zarr_format=version, metadata=metadata)
    return open_bulk(folder, zarr_format=version)


def _readable(bulk: TensorStoreArray, own: StoredGroup | None, opened: int | None) -> Regional:
    """With an answer to chunks that are missing: in a canonical store they are damage, elsewhere they may be fill.

    Object stores keep no time at which something was deleted, so there fill is all that can be given.
    """
    if own is not None:
        return bulk
    return sparse(bulk, opened) if bulk.location.is_local else bulk.reopened(missing_is_error=False)


def _canonical(values: Sequence[int], axes: Mapping[str, int]) -> tuple[int, int, int, int]:
    image, channel, y, x = (values[axes[axis]] if axis in axes else 1 for axis in AXES)
    return (image, channel, y, x)


def nodata_of(attributes: Mapping[str, Any], dtype: np.dtype[Any]) -> Any:
    """The value for "nothing measured", from ``nodata`` or CF's ``_FillValue`` and ``missing_value``.

    Some writers put it into a list of one, or of one for each band. NaN is never measured, so one beside it counts, as
    the ``missing_value`` of floats that xarray gives a fill value of NaN.
    """
    found = list(_nodata_values(attributes, dtype))
    return next((value for value in found if value == value), found[0] if found else None)


def _nodata_values(attributes: Mapping[str, Any], dtype: np.dtype[Any]) -> Iterator[int | float]:
    for key in ("nodata", "_FillValue", "missing_value"):
        value = attributes.get(key)
        if isinstance(value, list | tuple) and value and all(each == value[0] for each in value):
            value = value[0]
        if isinstance(value, str):
            value = _from_text(value, dtype)
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield value


def told_nodata(name: str, attributes: Mapping[str, Any], dtype: np.dtype[Any]) -> Any:
    """The same; where a variable names two values, of which one alone is taken, that is said in a warning."""
    nodata = nodata_of(attributes, dtype)
    if nodata is None:
        return None
    values = np.asarray([nodata, *_nodata_values(attributes, dtype)], np.float64)
    if dtype.kind in "fc":
        with np.errstate(all="ignore"):
            values = values.astype(np.empty(0, dtype).real.dtype)  # one may be the other, rounded
    others = [value for value in values[1:].tolist() if value == value and value != values[0]]
    if others:
        warnings.warn(
            f"variable {name!r} names {others[0]:g} beside {nodata:g} for what is not measured, and one such value is "
            f"taken: {others[0]:g} counts as measured unless you replace it in the source",
            stacklevel=caller_level(),
        )
    return nodata


def _nodata(array: Any, attributes: Mapping[str, Any], dtype: np.dtype[Any]) -> Any:
    """As the attributes say, else as xarray has it in version 2: the fill value of what has names for its axes."""
    value = told_nodata(array.basename or array.name or "image", attributes, dtype)
    if value is None and array.metadata.zarr_format == 2 and "_ARRAY_DIMENSIONS" in array.attrs:
        fill = array.fill_value
        value = nodata_of({"nodata": None if fill is None else np.asarray(fill).item()}, dtype)
    return value


def _from_text(text: str, dtype: np.dtype[Any]) -> float | None:
    """A float written as text: what JSON lacks, or the base64 of its bytes as xarray puts it into Zarr version 3."""
    if text.strip().lower().lstrip("+-") in ("nan", "inf", "infinity"):
        return float(text)
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
    return alike(first.shape[2:], first.shape[0])


def _labels(group: Any, parts: Mapping[str, tuple[Variable, dict[str, str]]]) -> dict[str, Label]:
    """Coordinates along each axis, channels apart, which may differ between variables."""
    here = {str(name): array for name, array in group.arrays()}

    def label(variable: Variable, axis: str, name: str) -> Label | None:
        found = here.get(name)
        if found is None or found.ndim != 1:
            return None
        length = variable.shape[AXES.index(axis)]
        if found.shape != (length,):
            raise SourceError(
                f"labels are as many as their axis is long, got {found.shape[0]} in {name} and a length of {length} in "
                f"{variable.name}, as an append that was interrupted leaves them: finish it, or remove {name}"
            )
        return label_of(np.asarray(found[...]), dict(found.attrs))

    labels = {
        axis: label(variable, axis, own)
        for variable, named in parts.values()
        for axis, own in named.items()
        if axis != "channel"
    }
    own = {key: named.get("channel", "") for key, (variable, named) in parts.items() if variable.has_channel}
    channels = channel_labels(
        {key: label(parts[key][0], "channel", name) for key, name in own.items()},
        {key: parts[key][0].channels for key in own},
    )
    return {axis: each for axis, each in labels.items() if each is not None} | channels


def _crs(node: Any, variables: Mapping[str, Variable]) -> dict[str, Any] | None:
    if not hasattr(node, "array_keys"):
        return None
    scalars = {str(name): dict(array.attrs) for name, array in sorted(node.arrays()) if array.ndim == 0}
    mapping = grid_mapping([each.attributes for each in variables.values()], scalars)
    return None if mapping is None else {k: v for k, v in scalars[mapping].items() if k != "_ARRAY_DIMENSIONS"}


def _crs_texts(own: StoredGroup | None) -> NDArray[Any] | None:
    return own.values("crs") if own is not None and "crs" in own.arrays else None


def _transform(own: StoredGroup | None) -> Label | None:
    if own is None or "transform" not in own.arrays:
        return None
    return Label(own.values("transform"), own.arrays["transform"]["attributes"])


def _digests(
    check: Metadata,
    parts: Mapping[str, tuple[Variable, dict[str, str]]],
    arrays: Mapping[str, Any],
    crs_texts: NDArray[Any] | None,
) -> dict[str, str]:
    """What arrays are, whatever has grown: their attributes count as they were when the first image was alone."""
    first: dict[str, dict[str, Any]] = {name: {} for name in arrays}
    for name, (variable, _) in parts.items():
        if variable.nodatas is not None and variable.nodata_at(0) is not None:
            first[name]["nodata"] = variable.nodata_at(0)
        for kind, values in variable.packings.items():
            if (values[0] != PACKINGS[kind]).any():
                first[name][packing_attribute(kind)] = np.atleast_1d(values[0]).tolist()
        if crs_texts is not None and crs_texts[0]:
            first[name]["grid_mapping"] = "spatial_ref"
    return check.without_length(_image_axes(parts, arrays), first)


def _image_axes(
    parts: Mapping[str, tuple[Variable, dict[str, str]]], arrays: Mapping[str, Any]
) -> dict[str, int | None]:
    """For each array the number of its own image axis, None where it has none."""
    axes = {}
    for name, (variable, _) in parts.items():
        reader = variable.read
        axes[name] = reader.axes.get("image") if isinstance(reader, Turned) else None
    return {name: axes.get(name) for name in arrays}


@dataclass(frozen=True, slots=True)
class Metadata:
    """The arrays' own metadata objects, as they were when the source was opened: called, it raises if they changed.

    Parameters
    ----------
    place : Location
    objects : tuple of (str, str, bytes)
        Name of each array, key of its metadata object, the object.
    files : tuple
        What tells the files of these objects apart from others of the same content, on a local disk: a store that was
        moved away and replaced by one of the same shape has the same metadata.
    """

    place: Location
    objects: tuple[tuple[str, str, bytes], ...]
    files: tuple[Any, ...] = ()

    @classmethod
    def of(cls, place: Location, arrays: Mapping[str, Any]) -> Metadata:
        """Of zarr-python's `arrays`, read now."""
        found = []
        for name, array in arrays.items():
            key = "zarr.json" if array.metadata.zarr_format == 3 else ".zarray"
            path = f"{name}/{key}" if name else key
            found.append((name, path, place.read(path) or b""))
        return cls(place, tuple(found), _files(place, found))

    def without_length(
        self, image_axes: Mapping[str, int | None], attributes: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, str]:
        """A digest for each array, the same however many images there are: a source that grew is the same one.

        Parameters
        ----------
        image_axes : mapping
            For each array the number of its image axis, None where it has none.
        attributes : mapping
            For each array the attributes that count beside those it has.
        """
        digests = {}
        for name, _, data in self.objects:
            document, axis = json.loads(data or b"{}"), image_axes[name]
            if axis is not None and "shape" in document:
                document["shape"][axis] = None
            own = {**document.get("attributes", {}), **attributes[name]}
            own.pop("long_name", None)  # of all images, or of none: it changes no pixel
            if isinstance(own.get("nodata"), str) and own["nodata"].lower() == "nan":
                del own["nodata"]  # NaN is never measured, be it named or not
            if "attributes" in document or own:
                document["attributes"] = own
            digests[name] = digest(json.dumps(document, sort_keys=True).encode())
        return digests

    def __call__(self) -> None:
        """Look again.

        Raises
        ------
        SourceError
            If one of them is gone or another one.
        """
        same = all((self.place.read(path) or b"") == data for _, path, data in self.objects)
        if not same or _files(self.place, self.objects) != self.files:
            raise vanished(self.place.url)


def _files(place: Location, objects: Sequence[tuple[str, str, bytes]]) -> tuple[Any, ...]:
    """Number and time of each object's file; None where there is none, nothing where the store has no files."""
    if not place.is_local:
        return ()
    found: list[tuple[int, int] | None] = []
    for _, path, _ in objects:
        try:
            state = os.stat(place.path / path)
        except OSError:
            found.append(None)
        else:
            found.append((state.st_ino, state.st_mtime_ns))
    return tuple(found)
