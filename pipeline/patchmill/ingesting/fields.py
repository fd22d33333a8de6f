"""NetCDF and HDF5, read in pieces through xarray, as raw as they are stored.

Dimensions are told by their names, or by `dims`; those that HDF5 left without a name, by their order. A time-like axis
gives one image a step. One variable is taken as it is, several of one kind become channels that carry their names, and
of several kinds one must be named: ``file.nc:variable``, or ``file.h5:group/variable``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from patchmill.ingesting.arrays import axis_scenes, stacked, unnamed_axes
from patchmill.ingesting.scenes import Affine, Reading, Scene, UnfitError, quiet
from patchmill.sources.naming import canonical_axes

if TYPE_CHECKING:
    import xarray as xr

_PHONY = "phony_dim_"  # what h5netcdf calls dimensions without a name


def open_netcdf(path: str, variable: str, reading: Reading) -> list[Scene]:
    """The images of a NetCDF or HDF5 file."""
    group, _, name = variable.rpartition("/")
    dataset = _dataset(path, group, reading)
    chosen = _chosen(dataset, name, reading)
    parts = [_scenes(path, group, each, axes, reading) for each, axes in chosen.items()]
    return stacked(parts, tuple(chosen)) if len(parts) > 1 else parts[0]


def _dataset(path: str, group: str, reading: Reading) -> xr.Dataset:
    return reading.files.get((path, group), lambda: _opened(path, group))


def _opened(path: str, group: str) -> xr.Dataset:
    import xarray as xr

    with open(path, "rb") as file:
        classic = file.read(3) == b"CDF"
    if not classic:
        _refuse_damaged(path)
    options: dict[str, Any] = {"engine": "scipy"} if classic else {"engine": "h5netcdf", "phony_dims": "sort"}
    if group:
        options["group"] = group
    with quiet():
        return xr.open_dataset(
            path,
            mask_and_scale=False,
            decode_times=False,
            decode_timedelta=False,
            decode_coords="all",
            cache=False,
            chunks=None,
            **options,
        )


def _refuse_damaged(path: str) -> None:
    """Raise where the root of an HDF5 file can't be read: h5netcdf leaves a half-made object behind that complains."""
    import h5py

    with h5py.File(path, "r") as file:
        list(file.attrs.items())


# -- which variables ------------------------------------------------------------------------------------------------


def _chosen(dataset: xr.Dataset, name: str, reading: Reading) -> dict[str, dict[str, int]]:
    """The variables that make up the images, each with its canonical axes."""
    if name:
        if name not in dataset.variables:
            raise UnfitError(f"has no variable {name!r}, it has {', '.join(map(str, dataset.data_vars)) or 'none'}")
        return {name: _axes(dataset[name], reading)}
    found: dict[str, dict[str, int]] = {}
    reasons = []
    for key, array in dataset.data_vars.items():
        try:
            found[str(key)] = _axes(array, reading)
        except UnfitError as error:
            reasons.append(str(error))
    if not found:
        only = "holds no variable with a y and an x axis: name them with dims"
        raise UnfitError(reasons[0] if len(reasons) == 1 else only)
    kinds = {key: (dataset[key].dims, dataset[key].dtype) for key in found}
    if len(set(kinds.values())) > 1:
        listed = "; ".join(f"{key} ({', '.join(map(str, dims))}) {dtype}" for key, (dims, dtype) in kinds.items())
        raise UnfitError(f"holds variables of several kinds, {listed}: name one, such as file.nc:{next(iter(found))}")
    return found


def _axes(array: xr.DataArray, reading: Reading) -> dict[str, int]:
    """Canonical axis to own axis number."""
    dims = [str(dim) for dim in array.dims]
    if array.dtype.kind not in "buifc":
        raise UnfitError(f"holds {array.dtype} in {array.name!r}, and pixels are numbers")
    try:
        if all(dim.startswith(_PHONY) for dim in dims):
            given = reading.dims if reading.dims is not None else unnamed_axes(array.shape)
            return canonical_axes(None, array.ndim, given, f"{array.name!r}")
        return canonical_axes(dims, array.ndim, reading.dims, f"{array.name!r}")
    except ValueError as error:
        raise UnfitError(f"has axes that can't be told: {error}") from error


# -- scenes ---------------------------------------------------------------------------------------------------------


def _scenes(path: str, group: str, name: str, axes: dict[str, int], reading: Reading) -> list[Scene]:
    array = _dataset(path, group, reading)[name]
    dtype = _meant(array)

    def get(region: tuple[Any, ...]) -> NDArray[Any]:
        return np.asarray(_dataset(path, group, reading)[name].variable[region].values).astype(dtype, copy=False)

    chunks = array.encoding.get("chunksizes") or tuple(
        1 if axis == axes["y"] else n for axis, n in enumerate(array.shape)
    )
    wide = "channel" in axes and chunks[axes["channel"]] > 1
    crs, transform = _place(array, axes)
    labels = _labels(array, "channel", axes)
    steps = _labels(array, "image", axes)
    channels = array.shape[axes["channel"]] if "channel" in axes else 1
    scenes = axis_scenes(array.shape, dtype, axes, get, whole=False)
    return [
        replace(
            scene,
            label=f"[{array.dims[axes['image']]}={steps[at] if steps else at}]" if len(scenes) > 1 else "",
            labels=labels if scene.channels is not None else None,
            title=str(array.attrs.get("long_name", name)) if scene.channels is None else None,
            block=(chunks[axes["y"]], chunks[axes["x"]]),
            interleaved=wide,
            least_nbytes=prod(chunks) * array.dtype.itemsize if array.encoding.get("chunksizes") else None,
            nodata=_as_meant(_number(array.attrs, "_FillValue", "missing_value"), array.dtype, dtype),
            crs=crs,
            transform=transform,
            scales=_repeated(_number(array.attrs, "scale_factor"), channels),
            offsets=_repeated(_number(array.attrs, "add_offset"), channels),
        )
        for at, scene in enumerate(scenes)
    ]


def _meant(array: xr.DataArray) -> np.dtype[Any]:
    """The dtype of values, which NetCDF's classic form, without unsigned numbers, notes beside signed ones."""
    unsigned = {"true": "u", "false": "i"}.get(str(array.attrs.get("_Unsigned", "")).lower())
    kind = array.dtype.kind
    return np.dtype(f"{unsigned}{array.dtype.itemsize}") if unsigned and kind in "iu" else array.dtype


def _as_meant(value: float | None, stored: np.dtype[Any], meant: np.dtype[Any]) -> float | None:
    """A number that is noted as it is stored."""
    if value is None or stored == meant or not np.iinfo(stored).min <= value <= np.iinfo(stored).max:
        return value
    return int(np.asarray(int(value), stored).astype(meant))


def _number(attributes: Mapping[Any, Any], *keys: str) -> float | None:
    """The first of these attributes that is one number."""
    for key in keys:
        value = np.asarray(attributes.get(key))
        if value.size == 1 and value.dtype.kind in "buif":
            number: float = value.reshape(()).item()
            return number
    return None


def _repeated(value: float | None, channels: int) -> tuple[float, ...] | None:
    return None if value is None else (float(value),) * channels


def _labels(array: xr.DataArray, axis: str, axes: Mapping[str, int]) -> tuple[str, ...] | None:
    """Texts of the coordinate along an axis; None where there is none that tells places apart."""
    if axis not in axes or array.dims[axes[axis]] not in array.coords:
        return None
    coordinate = array.coords[array.dims[axes[axis]]]
    return texts(coordinate.values, coordinate.attrs)


def texts(values: NDArray[Any], attributes: Mapping[Any, Any]) -> tuple[str, ...] | None:
    """Values of a coordinate as texts, dates as dates; None where they do not tell places apart."""
    import xarray as xr

    coordinate = xr.Dataset({"values": ("at", values, dict(attributes))})
    with quiet():
        try:
            values = xr.decode_cf(coordinate)["values"].values
        except Exception:  # noqa: BLE001  a calendar that can't be decoded: its numbers do as well
            values = coordinate["values"].values
    dates = values.dtype.kind == "M"
    found = tuple(str(np.datetime_as_string(v, unit="auto")) if dates else str(v) for v in values)
    return found if len(set(found)) == len(found) else None


# -- place on Earth -------------------------------------------------------------------------------------------------


def _place(array: xr.DataArray, axes: Mapping[str, int]) -> tuple[str | None, Affine | None]:
    """Coordinate reference system and transform, as far as the file tells."""
    mapping = str(array.encoding.get("grid_mapping") or array.attrs.get("grid_mapping") or "spatial_ref")
    attributes = array.coords[mapping].attrs if mapping in array.coords else {}
    text = attributes.get("crs_wkt") or attributes.get("spatial_ref") or _from_cf(attributes)
    return (str(text) if text else None), _transform(array, axes)


def _from_cf(attributes: Mapping[Any, Any]) -> str | None:
    """Well-known text of a grid mapping that is given by CF's parameters alone."""
    if "grid_mapping_name" not in attributes:
        return None
    try:
        from pyproj import CRS
    except ImportError:
        return None
    try:
        return str(CRS.from_cf(dict(attributes)).to_wkt())
    except Exception:  # noqa: BLE001  pyproj raises many kinds for parameters that it does not know
        return None


def _transform(array: xr.DataArray, axes: Mapping[str, int]) -> Affine | None:
    """The affine transform of evenly spaced coordinates of pixel centers."""
    along = [_spacing(array, axes[axis]) for axis in ("x", "y")]
    if along[0] is None or along[1] is None:
        return None
    (x, a), (y, e) = along[0], along[1]
    return (a, 0.0, x - a / 2, 0.0, e, y - e / 2)


def _spacing(array: xr.DataArray, axis: int) -> tuple[float, float] | None:
    """First value and distance of the coordinate along `axis`, None where it is not even."""
    name = array.dims[axis]
    if name not in array.coords or array.coords[name].ndim != 1 or array.coords[name].size < 2:
        return None
    values = np.asarray(array.coords[name].values)
    if values.dtype.kind not in "iuf":
        return None
    values = values.astype(np.float64)
    step = (values[-1] - values[0]) / (len(values) - 1)
    even = np.allclose(np.diff(values), step, rtol=1e-3, atol=0) and step != 0
    return (float(values[0]), float(step)) if even else None
