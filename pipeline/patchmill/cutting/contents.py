"""What a patch set holds beside pixels: coordinates, the catalog, and the root that says how it came about."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from importlib.metadata import version
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchmill.cutting.journal import Journal
from patchmill.cutting.request import Request
from patchmill.cutting.statistics import FIELDS
from patchmill.planning import catalog_chunk
from patchmill.sources import Coordinate, Variable, coordinates_of
from patchmill.storage import FORMAT, ArraySpec, Location, open_bulk


def pixel_arrays(request: Request) -> list[ArraySpec]:
    """The arrays of patches, one a variable, declared and empty."""
    images = len(request.grids.sizes)
    specs = []
    for at, (planned, variable) in enumerate(zip(request.plan.variables, request.source.variables, strict=True)):
        channel = () if planned.channels is None else (request.source.channel_dim(variable),)
        lengths = () if planned.channels is None else (planned.channels,)
        grid = request.grids.canvas
        specs.append(
            ArraySpec(
                name=request.array_name(at),
                dims=("image", *channel, "grid_y", "grid_x", "patch_y", "patch_x"),
                shape=(images, *lengths, *grid.counts, *grid.patch_shape),
                dtype=variable.dtype,
                chunk=planned.shapes.chunk,
                shard=planned.shapes.shard,
                fill=variable.dtype.type(0),
                attributes=_kept(variable)[0],
            )
        )
    return specs


def small_arrays(request: Request) -> list[ArraySpec]:
    """Coordinates and names, with their values."""
    return [_stored(coordinate) for coordinate in coordinates_of(request.source, request.grids)]


def _stored(coordinate: Coordinate) -> ArraySpec:
    """As an array that xarray reads back as it was: dates as whole units since 1970, in CF's words.

    Dates that CF's nanoseconds do not reach, and durations, become text.
    """
    values, attributes = np.asarray(coordinate.values), dict(coordinate.attributes)
    if values.dtype.kind == "M":
        exact = values.astype("M8[ns]")
        reached = exact.astype(values.dtype) == values  # nanoseconds wrap around before 1678 and after 2262
        if not (reached | np.isnat(values)).all():
            return ArraySpec.of(coordinate.name, coordinate.dims, values.astype(str), attributes)
        values = exact.astype(np.int64)
        attributes |= {"units": "nanoseconds since 1970-01-01", "calendar": "proleptic_gregorian"}
    elif values.dtype.kind in "mOS":
        values = values.astype(str)
    return ArraySpec.of(coordinate.name, coordinate.dims, values, attributes)


# -- catalog -----------------------------------------------------------------------------------------------------------


def catalog_arrays(request: Request) -> list[ArraySpec]:
    """The arrays of the catalog, declared: on (image, grid_y, grid_x), with a channel axis where the field has one."""
    grids, dims = request.grids, ("image", "grid_y", "grid_x")
    shape = (len(grids.sizes), *grids.canvas.counts)
    channels = max(planned.channels or 1 for planned in request.plan.variables)
    chunk = catalog_chunk(request.plan.work.shard, grids.canvas.counts, channels)
    specs = [
        ArraySpec("exists", dims, shape, np.dtype(bool), chunk, fill=False),
        ArraySpec("valid_fraction", dims, shape, np.dtype(np.float32), chunk, fill=float("nan")),
    ]
    for at, (planned, variable) in enumerate(zip(request.plan.variables, request.source.variables, strict=True)):
        for field in _fields(variable):
            channel = () if planned.channels is None else (request.source.channel_dim(variable),)
            lengths = () if planned.channels is None else (planned.channels,)
            specs.append(
                ArraySpec(
                    stat_name(request, at, field),
                    (dims[0], *channel, *dims[1:]),
                    (shape[0], *lengths, *shape[1:]),
                    _precision(variable),
                    (chunk[0], *lengths, *chunk[1:]),
                    fill=float("nan"),
                )
            )
    return specs


def stat_name(request: Request, at: int, field: str) -> str:
    """Key of a statistic in the set."""
    several = len(request.plan.variables) > 1
    return f"stat_{request.plan.variables[at].name}_{field}" if several else f"stat_{field}"


def _fields(variable: Variable) -> tuple[str, ...]:
    return () if variable.dtype.kind == "c" else FIELDS[1:]


def _precision(variable: Variable) -> np.dtype[Any]:
    """Single precision holds what 16 bits do; the rest gets double."""
    return np.dtype(np.float32 if variable.dtype.itemsize <= 2 else np.float64)


def write_catalog(request: Request, journal: Journal, building: Location) -> None:
    """Fill the catalog from the journal, chunk by chunk, in constant memory."""
    specs = {spec.name: spec for spec in catalog_arrays(request)}
    arrays = {name: open_bulk(building.child(name)) for name in specs}
    shape, chunk = specs["exists"].shape, specs["exists"].chunk
    for corner in product(*(range(0, n, size) for n, size in zip(shape, chunk, strict=True))):
        stop = tuple(min(a + size, n) for a, size, n in zip(corner, chunk, shape, strict=True))
        region = tuple(slice(a, b) for a, b in zip(corner, stop, strict=True))
        for name, values in _catalog_chunk(request, journal, region, specs).items():
            where = region if values.ndim == len(region) else (region[0], slice(0, values.shape[1]), *region[1:])
            arrays[name].write([(where, values)])


def _catalog_chunk(
    request: Request, journal: Journal, region: tuple[slice, ...], specs: Mapping[str, ArraySpec]
) -> dict[str, NDArray[Any]]:
    """Values of every catalog array over `region`: (image, grid_y, grid_x)."""
    lengths = tuple(side.stop - side.start for side in region)
    found = {
        name: np.full((lengths[0], *spec.shape[1:-2], *lengths[1:]), np.nan, spec.dtype)
        for name, spec in specs.items()
        if name != "exists"
    }
    shard = request.plan.work.shard
    keys = product(*(range(side.start // n, -(-side.stop // n)) for side, n in zip(region, shard, strict=True)))
    for key in keys:
        if key in journal:
            _place(request, journal.read(key), key, region, found)
    exists = request.grids.exists(*region)
    found["valid_fraction"][~exists] = 0
    return found | {"exists": exists}


def _place(
    request: Request,
    record: Mapping[str, NDArray[Any]],
    key: tuple[int, ...],
    region: tuple[slice, ...],
    found: Mapping[str, NDArray[Any]],
) -> None:
    begin = [at * n - side.start for at, n, side in zip(key, request.plan.work.shard, region, strict=True)]
    fractions = []
    for at, (planned, variable) in enumerate(zip(request.plan.variables, request.source.variables, strict=True)):
        valid = record[f"{planned.name}:valid"]
        lengths = (valid.shape[0], *valid.shape[2:])
        where = tuple(slice(a, a + n) for a, n in zip(begin, lengths, strict=True))
        fractions.append(valid.mean(axis=1))
        for field in _fields(variable):
            values = record[f"{planned.name}:{field}"]
            if planned.channels is None:
                found[stat_name(request, at, field)][where] = values[:, 0]
            else:
                found[stat_name(request, at, field)][(where[0], slice(None), *where[1:])] = values
    found["valid_fraction"][where] = np.minimum.reduce(fractions)


# -- root --------------------------------------------------------------------------------------------------------------


def root_attributes(request: Request, digests: Mapping[str, str], specs: list[ArraySpec]) -> dict[str, Any]:
    """Attributes of the group: patchmill's own, and which arrays xarray shall take as coordinates."""
    source = request.source
    coordinates = [spec.name for spec in specs]
    return {
        "patchmill": {
            "format": FORMAT,
            "kind": "patches",
            "layout": "patches",
            "grid": request.to_dict()["grid"],
            "source": {
                "url": source.url,
                "dims": dict(source.dims),
                "variables": {
                    planned.name: {
                        "array": request.array_name(at),
                        "chunk": list(variable.chunks),
                        "nodata": str(variable.nodata) if variable.nodata != variable.nodata else variable.nodata,
                        "attributes": _kept(variable)[1],
                    }
                    for at, (planned, variable) in enumerate(zip(request.plan.variables, source.variables, strict=True))
                },
            },
            "request": request.to_dict(),
            "provenance": {
                "created": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
                "versions": {name: version(name) for name in ("patchmill", "numpy", "zarr", "tensorstore", "dask")},
            },
            "digests": dict(digests),
        },
        "coordinates": " ".join(coordinates),
    }


_DECODED = {
    "scale_factor", "add_offset", "_FillValue", "missing_value", "_Unsigned", "_Encoding", "units", "calendar",
    "coordinates",
    "grid_mapping", "dtype", "ancillary_variables", "bounds", "cell_measures", "formula_terms", "flag_meanings_url",
}  # fmt: skip


def _kept(variable: Variable) -> tuple[dict[str, Any], dict[str, Any]]:
    """Attributes that go with the pixels, and those that only `patchmill.source` keeps.

    xarray would decode the latter when it opens the set, into another dtype or other values.
    """
    aside = {
        key: value
        for key, value in variable.attributes.items()
        if key in _DECODED and not (key == "units" and _is_harmless(value))
    }
    return {key: value for key, value in variable.attributes.items() if key not in aside}, aside


def _is_harmless(units: Any) -> bool:
    """Whether xarray leaves values with these units as they are: no dates, no durations."""
    text = str(units).lower()
    times = ("day", "hour", "minute", "second", "millisecond", "microsecond", "nanosecond", "week")
    return " since " not in text and text.rstrip("s") not in times
