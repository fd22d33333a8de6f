"""Sources of pixels: whatever a user calls one, as variables on canonical axes (image, channel, y, x)."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from patchmill.sources.coordinates import Coordinate, coordinates_of
from patchmill.sources.lattices import image_grids
from patchmill.sources.model import Label, Source, Variable
from patchmill.sources.naming import Dims, as_dims, as_names
from patchmill.sources.readers import AXES, Region4

__all__ = [
    "AXES",
    "Coordinate",
    "Dims",
    "Label",
    "Region4",
    "Source",
    "Variable",
    "coordinates_of",
    "image_grids",
    "open_source",
]


def open_source(
    source: Any,
    *,
    variables: Sequence[str] | None = None,
    dims: Dims = None,
    channels: Sequence[str] | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Source:
    """The source that a user means.

    Parameters
    ----------
    source : path, URL, ndarray, dask array, DataArray or Dataset
        A path or URL names a Zarr array or group, a path also a NetCDF, HDF5 or GeoTIFF file.
    variables : sequence of str, optional
        Which variables of a group or Dataset; all that have a y and an x axis by default.
    dims : mapping or sequence, optional
        Which axis is which, where names differ from the canonical ones: see `naming.canonical_axes`.
    channels : sequence of str, optional
        Variables without channels, of one shape and dtype, that become the channels of one variable called "image";
        others are left out unless `variables` names them. Where none of them is a variable, labels of the channels of
        one variable: these are chosen, in this order.
    storage_options : mapping, optional
        For a URL, in fsspec's spelling; secrets are refused, they come from the environment.

    Raises
    ------
    TypeError
        If `source` is none of these, or its dtype can't be stored.
    ValueError, SourceError
        If it can't be understood or read.
    """
    variables, channels = as_names(variables, "variables"), as_names(channels, "channels")
    dims = as_dims(dims)
    if isinstance(source, str | os.PathLike):
        from patchmill.sources.recipes import Recipe, open_stored
        from patchmill.storage import Location

        place = Location.parse(source, "source", storage_options, called="storage_options")
        return open_stored(Recipe(place, _names(variables), dims, _names(channels)))
    if storage_options:
        raise ValueError(f"storage_options are for a source that is a URL, got a {type(source).__name__}")
    return _open_object(source, variables, dims, channels)


def _names(given: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if given is None else tuple(given)


def _open_object(source: Any, variables: Sequence[str] | None, dims: Dims, channels: Sequence[str] | None) -> Source:
    from patchmill.sources.memory import open_array_source, open_xarray_source
    from patchmill.sources.merging import with_channels

    xarray, dask = sys.modules.get("xarray"), sys.modules.get("dask.array")
    if xarray and isinstance(source, xarray.DataArray | xarray.Dataset):
        return with_channels(lambda names: open_xarray_source(source, variables=names, dims=dims), channels, variables)
    if isinstance(source, np.ndarray) or (dask and isinstance(source, dask.Array)):
        if variables or channels:
            what = "variables" if variables else "variables or labels"
            raise ValueError(f"an array has no {what} to choose from, got {list(variables or channels or ())}")
        return open_array_source(source, dims=dims)
    raise TypeError(f"source must be a path or URL, or a NumPy, Dask or xarray object, got {type(source).__name__}")
