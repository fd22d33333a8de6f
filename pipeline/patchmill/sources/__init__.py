"""Sources of pixels: whatever a user calls one, as variables on canonical axes (image, channel, y, x)."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from patchmill.sources.coordinates import Coordinate, coordinates_of
from patchmill.sources.lattices import image_grids
from patchmill.sources.model import AXES, Label, Region4, Source, Variable
from patchmill.sources.naming import Dims

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


def open_source(source: Any, *, variables: Sequence[str] | None = None, dims: Dims = None) -> Source:
    """The source that a user means.

    Parameters
    ----------
    source : path, URL, ndarray, dask array, DataArray or Dataset
        A path names a Zarr array or group.
    variables : sequence of str, optional
        Which variables of a group or Dataset; all that have a y and an x axis by default.
    dims : mapping or sequence, optional
        Which axis is which, where names differ from the canonical ones: see `naming.canonical_axes`.

    Raises
    ------
    TypeError
        If `source` is none of these, or its dtype can't be stored.
    ValueError, SourceError
        If it can't be understood or read.
    """
    if isinstance(variables, str):
        variables = [variables]
    if isinstance(source, str | os.PathLike):
        from patchmill.sources.zarrs import open_zarr_source
        from patchmill.storage import Location

        return open_zarr_source(Location.parse(source, "source"), variables=variables, dims=dims)
    from patchmill.sources.memory import open_array_source, open_xarray_source

    xarray, dask = sys.modules.get("xarray"), sys.modules.get("dask.array")
    if xarray and isinstance(source, xarray.DataArray | xarray.Dataset):
        return open_xarray_source(source, variables=variables, dims=dims)
    if isinstance(source, np.ndarray) or (dask and isinstance(source, dask.Array)):
        if variables:
            raise ValueError(f"an array has no variables to choose from, got {list(variables)}")
        return open_array_source(source, dims=dims)
    raise TypeError(
        f"source must be a path of a Zarr store, or a NumPy, Dask or xarray object, got {type(source).__name__}"
    )
