"""A patch set as Dask arrays and xarray datasets; nothing is read until something is computed."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from patchmill.errors import NotAPatchSetError

if TYPE_CHECKING:
    import xarray as xr

    from patchmill.reading.patchset import PatchSet, SetVariable


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """All patches of one variable as something that reads like an array, 0 where no patch exists."""

    ps: PatchSet
    variable: SetVariable

    @property
    def shape(self) -> tuple[int, ...]:
        """(image, channel, grid_y, grid_x, patch_y, patch_x)."""
        grid, channels = self.ps.grid, self.variable.channels
        return (len(self.ps.sizes), *(() if channels is None else (channels,)), *grid.counts, *grid.patch_shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of an element."""
        return self.variable.dtype

    @property
    def ndim(self) -> int:
        """Six, or five without channels."""
        return len(self.shape)

    def __getitem__(self, wanted: tuple[slice, ...]) -> NDArray[Any]:
        images, rows, columns = (wanted[axis] for axis in (0, -4, -3))
        exists = self.ps.numbering.exists(images, rows, columns)
        start, stop = [rows.start, columns.start], [rows.stop, columns.stop]
        patches: NDArray[Any] = self.variable.pixels.rectangle(images, start, stop, exists)
        inside: tuple[Any, ...] = (slice(None), *wanted[1:-4], ..., *wanted[-2:])
        cut: NDArray[Any] = patches[inside]
        return cut


def dask_of(ps: PatchSet, variable: SetVariable) -> Any:
    """The patches of one variable: (image, channel, grid_y, grid_x, patch_y, patch_x)."""
    import dask.array as da

    stack, together = Stack(ps, variable), variable.pixels.together
    channel = () if variable.channels is None else (-1,)
    images, rows, columns = (max(1, min(n, stack.shape[axis])) for n, axis in zip(together, (0, -4, -3), strict=True))
    return da.from_array(
        stack,
        chunks=(images, *channel, rows, columns, -1, -1),
        name=f"patches-{uuid.uuid4().hex}",
        asarray=False,
        fancy=False,
        meta=np.empty((0,) * stack.ndim, stack.dtype),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Existing:
    """Which positions exist, as something that reads like an array: (image, grid_y, grid_x)."""

    ps: PatchSet

    @property
    def shape(self) -> tuple[int, ...]:
        """Images, and positions of the canvas' grid along y and x."""
        return (len(self.ps.sizes), *self.ps.grid.counts)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of an element."""
        return np.dtype(bool)

    @property
    def ndim(self) -> int:
        """Always three."""
        return len(self.shape)

    def __getitem__(self, wanted: tuple[slice, ...]) -> NDArray[Any]:
        return self.ps.numbering.exists(*wanted)


def catalog_of(ps: PatchSet) -> xr.Dataset:
    """Everything that the set keeps beside pixels, on (image, grid_y, grid_x)."""
    import xarray as xr

    if ps.stored is not None:
        pixels = [each.array for each in ps.variables]
        try:
            opened = xr.open_zarr(ps.stored.place.store(), chunks={}, consolidated=True)
        except FileNotFoundError:
            raise NotAPatchSetError(f"{ps.url} was removed since it was opened: cut it again") from None
        stored: xr.Dataset = opened.drop_vars(pixels)
        # The images that were there when the set was opened: an append may have brought others since.
        stored = stored.isel(image=slice(0, len(ps.sizes)))
        return _at_origins(stored) if ps.layout == "canvas" else stored
    coords = {name: (dims, np.array(values), attrs) for name, (dims, values, attrs) in ps.coordinates.items()}
    return xr.Dataset({"exists": (("image", "grid_y", "grid_x"), _lazy_exists(ps))}, coords=coords)


def _lazy_exists(ps: PatchSet) -> Any:
    import dask.array as da

    return da.from_array(
        Existing(ps),
        chunks="16MiB",
        name=f"exists-{uuid.uuid4().hex}",
        asarray=False,
        fancy=False,
        meta=np.empty((0, 0, 0), bool),
    )


def _at_origins(data: xr.Dataset) -> xr.Dataset:
    """A canvas' coordinates of pixels, y(y), as layout "patches" has them: y(grid_y), at the origins.

    Where each image has origins of its own, as with "shift" and sizes that differ, no such axis exists.
    """
    for axis in ("y", "x"):
        if axis not in data.variables or data[axis].dims != (axis,):
            continue
        pixels, origins = data[axis].variable, data[f"origin_{axis}"].variable
        data = data.drop_vars(axis)
        if origins.ndim == 1:
            at = (origins.dims, pixels.values[origins.values], pixels.attrs)
            data = data.assign_coords({axis: at})
    return data


def dataset_of(ps: PatchSet) -> xr.Dataset:
    """Patches and catalog, with the source's own names for its axes."""
    data, dims = _own_names(catalog_of(ps), ps)
    only = len(ps.variables) == 1
    for each in ps.variables:
        if not only and each.array in data.variables:  # of a view: no set is stored so
            raise ValueError(
                f"variable {each.array!r} has the name of a field of the catalog: rename the variable in the source"
            )
        channel = () if each.channels is None else (each.channel_dim,)
        names = ("image", *channel, "grid_y", "grid_x", "patch_y", "patch_x")
        data["patches" if only else each.array] = (tuple(dims.get(name, name) for name in names), dask_of(ps, each))
    return data


def _own_names(data: xr.Dataset, ps: PatchSet) -> tuple[xr.Dataset, dict[str, str]]:
    """A catalog with the source's names, and its dims by canonical ones: "y" as "lat" makes grid_y grid_lat.

    Without pixels: an array of many axes that is called like one of them, as `image` is, can't be an index.
    """
    pixels, renamed = {each.array for each in ps.variables}, {}
    for axis, own in ps.dims.items():
        if own == axis:
            continue
        stems = ("", "grid_", "patch_") if axis in ("y", "x") else ("",)
        names = {f"{stem}{axis}": f"{stem}{own}" for stem in stems}
        if own in data.coords and data[own].dims == (axis,):
            data = data.swap_dims({axis: own})  # labels that had to give way to a variable called like the axis
            renamed[axis] = own
            continue
        if any(new in data.variables or new in data.dims or new in pixels for new in names.values()):
            continue  # the name is taken by an array of the set
        renamed |= names
        kept = {} if axis in pixels else {old: new for old, new in names.items() if old in data.variables}
        data = data.rename(kept | {old: new for old, new in names.items() if old in data.dims})
    return data, renamed
