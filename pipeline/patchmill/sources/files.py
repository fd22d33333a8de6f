"""Sources that are NetCDF, HDF5 or GeoTIFF files: opened lazily through xarray, their values as they are stored."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from patchmill.errors import NotASourceError, PatchmillError, SourceError
from patchmill.sources.fingerprints import FileState
from patchmill.sources.memory import open_xarray_source
from patchmill.sources.model import Source, nothing_at
from patchmill.sources.naming import Dims
from patchmill.storage import Location

_HDF5 = (".nc", ".nc4", ".h5", ".hdf5", ".he5")
_TIFF = (".tif", ".tiff")


def is_image_file(place: Location) -> bool:
    """Whether `place` is called like such a file, and is no folder of that name."""
    return place.name.lower().endswith(_HDF5 + _TIFF) and not (place.is_local and place.path.is_dir())


def open_file_source(place: Location, *, variables: Sequence[str] | None, dims: Dims) -> Source:
    """The file at `place`; only regions that are asked for are read, from any thread.

    Raises
    ------
    MissingSourceError
        If there is none.
    SourceError
        If it can't be opened as what its name says.
    PatchmillError
        If it is not local, or the library for it is not installed.
    ValueError
        If a variable is not there, or its axes can't be told.
    """
    if not place.is_local:
        raise PatchmillError(f"{place.url} is a file in a remote store, of which only Zarr can be read: copy it first")
    if not place.path.is_file():
        raise nothing_at(place.url)
    state = FileState.of(place.inside)
    try:
        data = _tiff(state.path) if state.path.lower().endswith(_TIFF) else _hdf5(state.path)
    except SourceError:
        raise
    except ImportError as error:
        raise PatchmillError(f"{place.url} needs {error.name}: pip install 'patchmill[geo]'") from error
    except Exception as error:  # many kinds, for a file that is not what its name says
        raise SourceError(
            f"{place.url} can't be opened: {str(error).splitlines()[0] if str(error) else error!r}"
        ) from error
    return open_xarray_source(data, variables=variables, dims=dims, file=state)


def _hdf5(path: str) -> Any:
    """Nothing is decoded, so values stay raw; `cache=False`, or every region read would stay in memory."""
    import h5netcdf  # noqa: F401 - else xarray says only that no engine fits
    import xarray as xr

    # Axes without names get some, for which dims must say what they are.
    return xr.open_dataset(path, engine="h5netcdf", decode_cf=False, cache=False, phony_dims="access")


def _tiff(path: str) -> Any:
    import rioxarray
    from rasterio.errors import NotGeoreferencedWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # then there are pixels only, which is fine
        warnings.simplefilter("ignore", PendingDeprecationWarning)  # rioxarray's own matter with affine
        data = rioxarray.open_rasterio(path, masked=False, mask_and_scale=False, cache=False)
        pages = len(data) if isinstance(data, list) else _pages(path)
    if pages > 1:
        raise NotASourceError(
            f"{path} holds {pages} pages, of which only the first would be cut: ingest it, then each becomes an image"
        )
    return data


def _pages(path: str) -> int:
    import rasterio

    with rasterio.open(path) as file:
        return max(1, len(file.subdatasets))
