"""The xarray way: dims and coordinates around what NumPy and Dask do.

A spatial dim y becomes two, grid_y and patch_y. Coordinates along y are taken at the origins and keep their names, so y
is then a coordinate along grid_y, and always means an axis of the source.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from patchmill.grid import Axis, PatchGrid

if TYPE_CHECKING:
    import xarray as xr

Kernel = Callable[[Any, Sequence[str]], Any]
"""From an array and the names of its axes to an array, NumPy or Dask in and out."""

_GRID, _PATCH = "grid_", "patch_"


# -- cutting ---------------------------------------------------------------------------------------------------------


def cut_array(array: xr.DataArray, grid: PatchGrid, kernel: Kernel) -> xr.DataArray:
    """`array` with dims (..., y, x) as one with dims (..., grid_y, grid_x, patch_y, patch_x)."""
    import xarray as xr

    spatial = array.dims[-grid.ndim :]
    _refuse_taken(spatial, {*array.dims, *array.coords})
    variable = _cut_variable(array.variable, grid, kernel)
    at_origins = _at_origins(array.coords, spatial, grid)
    kept = array.coords.to_dataset().drop_vars(list(at_origins)).coords
    return xr.DataArray(variable, coords=kept, name=array.name).assign_coords(at_origins)


def cut_dataset(
    dataset: xr.Dataset,
    ndim: int,
    grid_of: Callable[[xr.DataArray], PatchGrid],
    kernel_of: Callable[[PatchGrid], Kernel],
) -> xr.Dataset:
    """Every variable whose last dims are the spatial ones is cut; one without any of them passes.

    Parameters
    ----------
    ndim : int
        Number of spatial dims.
    grid_of : callable
        From a variable to its grid.
    kernel_of : callable
        From a grid to the kernel that cuts.
    """
    import xarray as xr

    spatial = _spatial_dims(dataset, ndim)
    _refuse_taken(spatial, {*dataset.dims, *dataset.variables})
    found = {name: array for name, array in dataset.data_vars.items() if array.dims[-ndim:] == spatial}
    grid = grid_of(next(iter(found.values())))
    kernel = kernel_of(grid)
    cut = {name: _of_variable(name, _cut_variable, array.variable, grid, kernel) for name, array in found.items()}
    at_origins = _at_origins(dataset.coords, spatial, grid)
    rest = dataset.drop_vars([*found, *at_origins])
    variables = {name: cut.get(name, dataset.variables[name]) for name in dataset.data_vars}
    return xr.Dataset(variables, coords=rest.coords, attrs=dataset.attrs).assign_coords(at_origins)


def _cut_variable(variable: xr.Variable, grid: PatchGrid, kernel: Kernel) -> xr.Variable:
    import xarray as xr

    lead, spatial = variable.dims[: -grid.ndim], variable.dims[-grid.ndim :]
    dims = (*lead, *(f"{_GRID}{dim}" for dim in spatial), *(f"{_PATCH}{dim}" for dim in spatial))
    return xr.Variable(dims, kernel(variable.data, _labels(variable.dims)), variable.attrs)


def _at_origins(coords: Any, spatial: Sequence[Hashable], grid: PatchGrid) -> dict[Hashable, xr.Variable]:
    """Coordinates along any of the dims `spatial`, taken at the origins; encodings, chunks among them, are dropped."""
    import xarray as xr

    taken = {}
    for name, coord in coords.items():
        along = {dim: _origins(axis) for dim, axis in zip(spatial, grid.axes, strict=True) if dim in coord.dims}
        if along:
            values = coord.variable.to_base_variable().isel(along)
            dims = [f"{_GRID}{dim}" if dim in along else dim for dim in coord.dims]
            taken[name] = xr.Variable(dims, values.data, values.attrs)
    return taken


def _origins(axis: Axis) -> slice | np.ndarray[Any, Any]:
    """Origins along one axis as an indexer; a slice, so a view, where they are evenly spaced."""
    if axis.is_regular:
        return slice(0, axis[len(axis) - 1] + 1, axis.step)
    return np.fromiter(axis, np.int64, len(axis))


def _spatial_dims(dataset: xr.Dataset, ndim: int) -> tuple[Hashable, ...]:
    """The one choice of dims that every variable either ends with or has none of."""
    variables = dataset.data_vars
    choices = dict.fromkeys(array.dims[-ndim:] for array in variables.values() if array.ndim >= ndim)
    fitting = [dims for dims in choices if not _misfits(dataset, dims)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise ValueError(
            f"the variables must share their spatial dims, got {_joined(fitting)}: choose some of them, dataset[[...]]"
        )
    likely = max(choices, key=lambda dims: -len(_misfits(dataset, dims)))
    name = _misfits(dataset, likely)[0]
    raise ValueError(
        f"every variable must end with the dims {_joined(likely)} or have none of them, but "
        f"{name!r} has {_joined(variables[name].dims)}: transpose or drop it"
    )


def _misfits(dataset: xr.Dataset, spatial: tuple[Hashable, ...]) -> list[Hashable]:
    return [
        name
        for name, array in dataset.data_vars.items()
        if array.dims[-len(spatial) :] != spatial and not set(spatial).isdisjoint(array.dims)
    ]


def _refuse_taken(spatial: Iterable[Hashable], taken: set[Hashable]) -> None:
    for dim in spatial:
        for new in (f"{_GRID}{dim}", f"{_PATCH}{dim}"):
            if new in taken:
                raise ValueError(f"cutting along {dim!r} makes a dim {new!r}, and that name is taken: rename it first")


# -- putting back ----------------------------------------------------------------------------------------------------


def assemble_array(patches: xr.DataArray, grid: PatchGrid, kernel: Kernel) -> xr.DataArray:
    """`patches` with dims (..., grid_y, grid_x, patch_y, patch_x), in any order, as an array with dims (..., y, x)."""
    import xarray as xr

    names = _cut_dims(patches.dims, grid.ndim)
    kept = _away_from(patches.coords, names, patches.dims)
    return xr.DataArray(_assembled(patches.variable, names, kernel), coords=kept, name=patches.name)


def assemble_dataset(patches: xr.Dataset, grid: PatchGrid, kernel: Kernel) -> xr.Dataset:
    """Every variable with the dims of patches is put back; one without any of them passes."""
    import xarray as xr

    names = _cut_dims(
        tuple(dict.fromkeys(dim for array in patches.data_vars.values() for dim in array.dims)), grid.ndim
    )
    kept = _away_from(patches.coords, names, patches.dims)
    wanted = {f"{prefix}{name}" for prefix in (_GRID, _PATCH) for name in names}
    variables = {}
    for name, array in patches.data_vars.items():
        if wanted.isdisjoint(array.dims):
            variables[name] = array.variable
        elif wanted.issubset(array.dims):
            variables[name] = _of_variable(name, _assembled, array.variable, names, kernel)
        else:
            raise ValueError(
                f"every variable must have all of the dims {_joined(sorted(wanted))} or none, "
                f"but {name!r} has {_joined(array.dims)}: drop it"
            )
    return xr.Dataset(variables, coords=kept, attrs=patches.attrs)


def _assembled(variable: xr.Variable, names: Sequence[str], kernel: Kernel) -> xr.Variable:
    import xarray as xr

    grid_dims, patch_dims = ([f"{prefix}{name}" for name in names] for prefix in (_GRID, _PATCH))
    lead = [dim for dim in variable.dims if dim not in {*grid_dims, *patch_dims}]
    ordered = variable.transpose(*lead, *grid_dims, *patch_dims)
    return xr.Variable([*lead, *names], kernel(ordered.data, _labels(ordered.dims)), variable.attrs)


def _cut_dims(dims: Sequence[Hashable], ndim: int) -> list[str]:
    """Names y, x for which there are dims grid_y, patch_y, ..., in the order of the former."""
    candidates = [str(dim).removeprefix(_GRID) for dim in dims if str(dim).startswith(_GRID)]
    names = [name for name in candidates if f"{_PATCH}{name}" in dims]
    if len(names) != ndim:
        raise ValueError(
            f"patches must have {ndim} pairs of dims such as grid_y, patch_y, one for each axis of the grid, "
            f"got {_joined(dims)}"
        )
    return names


def _away_from(coords: Any, names: Sequence[str], dims: Iterable[Hashable]) -> Any:
    """Coordinates that do not lie along the grid: those at origins can't be spread over all pixels."""
    gone = {f"{prefix}{name}" for prefix in (_GRID, _PATCH) for name in names}
    kept = coords.to_dataset().drop_vars([name for name, coord in coords.items() if not gone.isdisjoint(coord.dims)])
    for name in names:
        if name in {*kept.coords, *dims}:
            raise ValueError(f"putting back makes a dim {name!r}, and that name is taken: rename or drop it first")
    return kept.coords


def _of_variable(name: Hashable, function: Callable[..., xr.Variable], *arguments: Any) -> xr.Variable:
    """`function` of one variable of several; an error says of which."""
    try:
        return function(*arguments)
    except (TypeError, ValueError) as error:
        raise type(error)(f"variable {name!r}: {error}") from error


def _labels(dims: Iterable[Hashable]) -> list[str]:
    return [f"dim {dim!r}" for dim in dims]


def _joined(dims: Iterable[Any]) -> str:
    return "(" + ", ".join(str(dim) for dim in dims) + ")"
