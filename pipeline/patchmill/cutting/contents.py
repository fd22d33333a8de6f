"""What a patch set holds beside pixels: coordinates, the catalog, and the root that says how it came about."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchmill.cutting.request import Change, Request, as_json
from patchmill.sources import Coordinate, Source, Variable, coordinates_of
from patchmill.sources.model import PACKINGS, Label, packing_attribute
from patchmill.storage import FORMAT, ArraySpec
from patchmill.storage.makers import signature


def pixel_arrays(request: Request) -> list[ArraySpec]:
    """The arrays of pixels, one a variable, declared and empty."""
    images, grid = len(request.grids.sizes), request.grids.canvas
    spatial, lengths = (
        (("grid_y", "grid_x", "patch_y", "patch_x"), (*grid.counts, *grid.patch_shape))
        if request.plan.layout == "patches"
        else (("y", "x"), grid.shape)
    )
    specs = []
    for at, (planned, variable) in enumerate(zip(request.plan.variables, request.source.variables, strict=True)):
        channel = () if planned.channels is None else (request.source.channel_dim(variable),)
        channels = () if planned.channels is None else (planned.channels,)
        dtype = np.dtype(planned.dtype)
        specs.append(
            ArraySpec(
                name=request.array_name(at),
                dims=("image", *channel, *spatial),
                shape=(images, *channels, *lengths),
                dtype=dtype,
                chunk=planned.shapes.chunk,
                shard=planned.shapes.shard,
                fill=dtype.type(0),
                attributes=_kept(request, at)[0],
            )
        )
    return specs


def small_arrays(request: Request) -> list[ArraySpec]:
    """Coordinates and names, with their values; of what stands for "nothing measured", what it has become.

    Raises
    ------
    TypeError, ValueError
        If a coordinate can't be stored.
    """
    pairs = zip(request.source.variables, request.changes, strict=True)
    source = _decodable(request.source, _times_aside(request.source))
    source = replace(source, variables=tuple(_as_cut(variable, change) for variable, change in pairs))
    found = coordinates_of(source, request.grids, whole=request.plan.layout == "canvas")
    return [_stored(coordinate, source.dims.get(coordinate.name, coordinate.name)) for coordinate in found]


def _as_cut(variable: Variable, change: Change) -> Variable:
    packings = {} if _is_changed(variable, change) else variable.packings
    return replace(variable, nodatas=change.nodatas, packings=packings)


def _is_changed(variable: Variable, change: Change) -> bool:
    """Whether values may be others than the source's."""
    return change.transform is not None or not np.can_cast(variable.dtype, change.dtype, "safe")


def _times_aside(source: Source) -> dict[str, dict[str, Any]]:
    """Units and calendars that xarray can't decode, by label: with them in place it could not open the set."""
    labels = dict(source.labels)
    if source.crs is not None:
        labels["spatial_ref"] = Label(np.asarray(0), source.crs)
    return {
        name: {key: label.attributes[key] for key in ("units", "calendar") if key in label.attributes}
        for name, label in labels.items()
        if _has_dates(label.attributes.get("units")) and not _is_decoded(label)
    }


def _decodable(source: Source, aside: Mapping[str, Mapping[str, Any]]) -> Source:
    """The source without these attributes of its labels."""

    def rest(name: str, attributes: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in attributes.items() if key not in aside.get(name, {})}

    labels = {name: replace(label, attributes=rest(name, label.attributes)) for name, label in source.labels.items()}
    return replace(source, labels=labels, crs=None if source.crs is None else rest("spatial_ref", source.crs))


def _has_dates(units: Any) -> bool:
    """Whether xarray takes values with these units for dates."""
    return isinstance(units, str) and "since" in units


def _is_decoded(label: Label) -> bool:
    """Whether xarray makes dates of a label, with no library for other calendars, be one installed here or not."""
    import xarray as xr

    values = np.asarray(label.values)
    if values.dtype.kind == "M":  # get units of their own
        return True
    if values.dtype.kind not in "iuf":
        return False
    dates = xr.Variable([f"axis_{at}" for at in range(values.ndim)], values, dict(label.attributes))
    try:
        xr.coders.CFDatetimeCoder(use_cftime=False).decode(dates).load()
    except (ArithmeticError, KeyError, TypeError, ValueError):
        return False
    return True


def _stored(coordinate: Coordinate, own: str) -> ArraySpec:
    """As an array that xarray reads back as it was: dates as whole units since 1970, in CF's words.

    Dates that CF's nanoseconds do not reach, durations and objects become text, what is more precise than double
    precision is rounded to it. `own` is the source's name for it, for errors.
    """
    values, attributes = np.asarray(coordinate.values), dict(coordinate.attributes)
    if values.dtype.kind == "M":
        exact = values.astype("M8[ns]")
        reached = exact.astype(values.dtype) == values  # nanoseconds wrap around before 1678 and after 2262
        if not (reached | np.isnat(values)).all():
            return ArraySpec.of(coordinate.name, coordinate.dims, values.astype(str), attributes)
        values = exact.astype(np.int64)
        attributes |= {"units": "nanoseconds since 1970-01-01", "calendar": "proleptic_gregorian"}
    elif values.dtype.kind == "m":
        values = values.astype(str)
    elif values.dtype.kind in "OSUT":
        values = _texts(values)
    elif values.dtype.char in "gG":
        values = _in_double_precision(values, own)
    elif values.dtype.kind == "V":
        raise TypeError(
            f"a patch set keeps coordinates that are numbers, dates or texts, got {values.dtype} in {own!r}: "
            f"drop it with source.drop_vars({own!r}), or give the axis other labels"
        )
    return ArraySpec.of(coordinate.name, coordinate.dims, values, attributes)


def _texts(values: NDArray[Any]) -> NDArray[np.object_]:
    """Each value as a text in UTF-8."""
    texts = np.empty(values.shape, object)
    for at, value in enumerate(values.ravel().tolist()):
        texts.flat[at] = _text(value)
    return texts


def _text(value: Any) -> str:
    """One label as a text; a tuple, as a stacked axis has them, as its parts.

    Examples
    --------
    >>> _text(("Oslo", 2021)), _text("Münster".encode())
    ('Oslo, 2021', 'Münster')
    """
    if isinstance(value, tuple):
        return ", ".join(map(_text, value))
    text = value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
    return text.encode(errors="backslashreplace").decode()


def _in_double_precision(values: NDArray[Any], own: str) -> NDArray[Any]:
    """Numbers of more than double precision, rounded to it."""
    with np.errstate(over="ignore"):
        rounded = values.astype(np.complex128 if values.dtype.kind == "c" else np.float64)
    if (np.isfinite(values) & ~np.isfinite(rounded)).any():
        raise ValueError(
            f"a patch set keeps coordinates in double precision, got numbers beyond it in {own!r} ({values.dtype}): "
            "scale them, or give the axis other labels"
        )
    return rounded


# -- root --------------------------------------------------------------------------------------------------------------


def root_attributes(request: Request, digests: Mapping[str, str], specs: list[ArraySpec]) -> dict[str, Any]:
    """Attributes of the group: patchmill's own, and which arrays xarray shall take as coordinates."""
    source = request.source
    coordinates = [spec.name for spec in specs]
    times = _times_aside(source)
    return {
        "patchmill": {
            "format": FORMAT,
            "kind": "patches",
            "layout": request.plan.layout,
            "grid": request.to_dict()["grid"],
            "source": {
                "url": source.url,
                "dims": dict(source.dims),
                "asked": dict(request.asked),
                "variables": {
                    planned.name: {
                        "array": request.array_name(at),
                        "chunk": list(variable.chunks),
                        "nodata": None if (own := _stored_nodata(request, at)) is None else as_json(own),
                        "pad_value": _numbers(request.changes[at].padding.value),
                        "attributes": _kept(request, at)[1],
                    }
                    for at, (planned, variable) in enumerate(zip(request.plan.variables, source.variables, strict=True))
                },
                **({"labels": times} if times else {}),
            },
            "request": request.to_dict(),
            "provenance": {
                "created": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
                "versions": _versions(),
                **signature(),
            },
            "digests": dict(digests),
        },
        "coordinates": " ".join(coordinates),
    }


@cache
def _versions() -> dict[str, str]:
    # To look one up takes a millisecond, and they do not change while a process lives.
    return {name: version(name) for name in ("patchmill", "numpy", "zarr", "tensorstore", "dask")}


_DECODED = {
    "scale_factor", "add_offset", "_FillValue", "missing_value", "_Unsigned", "_Encoding", "units", "calendar",
    "coordinates",
    "grid_mapping", "dtype", "ancillary_variables", "bounds", "cell_measures", "formula_terms", "flag_meanings_url",
}  # fmt: skip


_OF_VALUES = {
    "units", "valid_range", "valid_min", "valid_max", "actual_range", "flag_values", "flag_masks", "flag_meanings",
    *map(packing_attribute, PACKINGS),
}  # fmt: skip
"""What no longer holds once values are others."""


def _stored_nodata(request: Request, at: int) -> Any:
    """What stands for "nothing measured" in the pixels as they are stored; None where nothing does."""
    variable, change = request.source.variables[at], request.changes[at]
    return change.nodata if change.transform is not None or change.dtype != variable.dtype else variable.nodata


def _kept(request: Request, at: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Attributes that go with the pixels, and those that only `patchmill.source` keeps.

    xarray would decode the latter when it opens the set, into another dtype or other values. Where values were changed
    on the way, what said how they were packed says so no more.
    """
    variable, change = request.source.variables[at], request.changes[at]
    attributes = {key: v for key, v in variable.attributes.items() if key != "nodata" or variable.nodatas is None}
    if _is_changed(variable, change):
        attributes = {key: value for key, value in attributes.items() if key not in _OF_VALUES}
    if change.transform is not None or change.dtype != variable.dtype:
        attributes.pop("nodata", None)
        if change.nodata is not None:
            attributes["nodata"] = as_json(change.nodata)
    aside = {
        key: value
        for key, value in attributes.items()
        if key in _DECODED and not (key == "units" and _is_harmless(value))
    }
    return {key: value for key, value in attributes.items() if key not in aside}, aside


def _is_harmless(units: Any) -> bool:
    """Whether xarray leaves values with these units as they are: no dates, no durations."""
    times = ("day", "hour", "minute", "second", "millisecond", "microsecond", "nanosecond", "week")
    return not _has_dates(units) and str(units).lower().rstrip("s") not in times


def _numbers(value: NDArray[Any]) -> Any:
    """A pad value as JSON: one number, or one for each channel; what JSON lacks as text."""
    numbers = [as_json(number) for number in np.ravel(value)]
    return numbers[0] if value.ndim == 0 else numbers
