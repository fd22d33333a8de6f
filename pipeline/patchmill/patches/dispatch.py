"""patchify and unpatchify: validate, explain, hand over to the kernel for the kind of array.

dask and xarray are never imported to find out that an array is not theirs: an object of theirs exists only where they
are loaded.
"""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from patchmill.grid import PatchGrid
from patchmill.patches import assembly, views
from patchmill.patches.fills import as_fill
from patchmill.patches.notices import caller_level
from patchmill.patches.views import Padding
from patchmill.patches.windows import Weights, as_window, weights
from patchmill.types import Edge, PadMode, PerAxis, as_edge, as_shape, as_word, shown_shape

Array = NDArray[Any]


def patchify(
    array: Any,
    patch_shape: PerAxis,
    step: PerAxis = 1,
    *,
    dilation: PerAxis = 1,
    edge: Edge = "drop",
    pad_mode: PadMode = "constant",
    pad_value: Any = 0,
) -> Any:
    """Cut `array` into patches: a strided sliding window over its last axes.

    Parameters
    ----------
    array : numpy.ndarray, dask.array.Array, xarray.DataArray, xarray.Dataset or nested list of numbers
        Shape (..., y, x): any number of leading axes, then one spatial axis for each number of `patch_shape`.
    patch_shape : int or sequence of int
        Pixels of one patch along each spatial axis, rows first. One integer stands for (y, x), or for the only axis of
        an array that has one.
    step : int or sequence of int
        Pixels between neighboring patches, for all axes or for each; conv2d calls it stride.
    dilation : int or sequence of int
        Pixels between neighboring pixels of one patch.
    edge : {"drop", "pad", "shift"}
        What happens where the last patch does not fit: it is left out, filled, or moved back to end at the border.
    pad_mode : {"constant", "edge", "reflect", "symmetric"}
        What fills with ``edge="pad"``, as in `numpy.pad` of the whole image at the end of each axis.
    pad_value : scalar
        What "constant" fills with; it must be a value that the dtype holds exactly. The default 0 stands for NaT
        among dates, for an empty text, and for a record of zeros.

    Returns
    -------
    of the same kind as `array`
        Shape (..., grid_y, grid_x, patch_y, patch_x).

        - NumPy: a read-only view that shares the memory of `array`. With "pad" a view of a padded copy, where anything
          must be padded. With "shift" a copy of all patches, where the last of three or more along an axis is moved,
          because no view has uneven distances.
        - Dask: lazy, one chunk for each chunk in which a patch begins. Chunks narrower than what patches
          reach into the next one are merged under a `dask.array.PerformanceWarning`; none is split.
        - xarray: dims (..., grid_y, grid_x, patch_y, patch_x) after those of `array`, for any names: grid_<dim> and
          patch_<dim>. Coordinates along spatial dims are taken at the origins: y(grid_y). Attributes are kept. Of a
          Dataset, every variable that ends with the spatial dims is cut, and one that has none of them stays as it is.

    Raises
    ------
    TypeError
        If `array` is another kind of object, or a number is no integer.
    ValueError
        If an axis is empty or shorter than a patch reaches (with "drop" and "shift"), a number is smaller than 1,
        there is not one number an axis, or the dtype can't hold `pad_value`.

    See Also
    --------
    unpatchify : the way back.

    Notes
    -----
    A patch reaches over ``span = (patch - 1) * dilation + 1`` pixels. With "drop" an axis of n pixels has
    ``(n - span) // step + 1`` patches, and the byte strides of the result are those of `array` times `step`, then those
    of `array` times `dilation`.

    Examples
    --------
    >>> import numpy as np
    >>> image = np.arange(16).reshape(4, 4)
    >>> patches = patchify(image, (2, 2), step=(2, 1))
    >>> patches.shape, np.shares_memory(image, patches)
    ((2, 3, 2, 2), True)
    >>> patches[1, 2]
    array([[10, 11],
           [14, 15]])
    >>> patchify(image, 3, step=2, edge="pad").shape
    (2, 2, 3, 3)
    """
    as_word(pad_mode, "pad_mode", PadMode)
    as_edge(edge)
    cut = partial(_cut, edge=edge, pad_mode=pad_mode, pad_value=pad_value)
    grid_of = partial(_grid_over, patch_shape=patch_shape, step=step, dilation=dilation, edge=edge)
    if _is(array, "xarray", "DataArray"):
        from patchmill.patches import labeled

        grid = grid_of(array.shape)
        return labeled.cut_array(array, grid, partial(cut, grid=grid))
    if _is(array, "xarray", "Dataset"):
        from patchmill.patches import labeled

        ndim = _spatial_ndim(patch_shape, max((variable.ndim for variable in array.data_vars.values()), default=0))
        return labeled.cut_dataset(
            array, ndim, lambda first: grid_of(first.shape), lambda grid: partial(cut, grid=grid)
        )
    array = _as_array(array)
    return cut(array, grid=grid_of(array.shape))


def unpatchify(patches: Any, grid: PatchGrid, *, window: str | ArrayLike = "uniform", fill_value: Any = 0) -> Any:
    """Put patches back where `grid` says they were cut: the inverse of `patchify`.

    Parameters
    ----------
    patches : numpy.ndarray, dask.array.Array, xarray.DataArray or xarray.Dataset
        Shape (..., grid_y, grid_x, patch_y, patch_x), as `patchify` returns it. Of xarray objects the dims are found by
        their names, grid_<dim> and patch_<dim>.
    grid : PatchGrid
        Where the patches lie, and the shape of the image.
    window : {"uniform", "hann", "triangle"} or array_like
        Weights of the mean where patches overlap: all alike, or falling off from the middle of a patch towards its
        border, or an array of the shape of a patch, finite and above 0.
    fill_value : scalar
        For pixels that no patch holds; it must be a value that the dtype holds exactly, as `pad_value` of `patchify`.

    Returns
    -------
    of the same kind as `patches`
        Shape (..., y, x), of the same dtype. What was padded is cut off. Where patches agree, the pixel has their very
        bytes. Where they differ, it is their weighted mean: integers rounded half to even, those more than 2**53 apart
        within double precision; bool by majority, False on a tie; dates and durations by the integers behind them, NaT
        where any is NaT; of texts, records and objects the first patch, in row-major order of the grid.

        Dask arrays stay lazy and give the same bytes for any chunks. Coordinates of xarray objects at the origins can't
        be spread over all pixels and are left out; others are kept.

    Warns
    -----
    UserWarning
        If the grid leaves gaps, with the number of pixels.

    Raises
    ------
    TypeError, ValueError
        If `patches` and `grid` do not belong together, or the window or the fill value does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from patchmill import PatchGrid
    >>> image = np.arange(20, dtype=np.uint8).reshape(4, 5)
    >>> grid = PatchGrid(image.shape, (2, 2), step=1)
    >>> bool((unpatchify(patchify(image, 2), grid) == image).all())
    True

    Patches that differ are averaged; here the first and the last are 0 and 3, and 3 of 5 pixels are held twice.

    >>> unpatchify(np.array([[0, 0, 0, 0], [3, 3, 3, 3.0]]), PatchGrid(5, 4))
    array([0. , 1.5, 1.5, 1.5, 3. ])
    """
    if not isinstance(grid, PatchGrid):
        raise TypeError(
            f"grid must be a PatchGrid, got {type(grid).__name__}: PatchGrid(image_shape, patch_shape, step)"
        )
    if len(grid) == 0:
        raise ValueError(f"a grid without a patch has nothing to put back, got {grid!r}")
    put = partial(_put_back, grid=grid, window=as_window(window, grid.patch_shape), fill_value=fill_value)
    if _is(patches, "xarray", "DataArray", "Dataset"):
        from patchmill.patches import labeled

        result = (labeled.assemble_array if _is(patches, "xarray", "DataArray") else labeled.assemble_dataset)(
            patches, grid, put
        )
    else:
        result = put(_as_array(patches))
    if grid.uncovered:
        total = int(np.prod(grid.shape, dtype=object))
        warnings.warn(
            f"{grid.uncovered} of {total} pixels lie in no patch and hold fill_value {fill_value!r}; "
            'a smaller step, or edge="pad" or "shift", leaves none',
            UserWarning,
            stacklevel=caller_level(),
        )
    return result


# -- kernels ---------------------------------------------------------------------------------------------------------


def _cut(
    array: Any, names: Sequence[str] | None = None, *, grid: PatchGrid, edge: Edge, pad_mode: PadMode, pad_value: Any
) -> Any:
    """Patches of a NumPy or Dask array, which has room for at least one."""
    lazy = _is(array, "dask.array", "Array")
    if not lazy:
        array = _as_array(array)
    filled = edge == "pad" and pad_mode == "constant"
    padding = Padding(pad_mode, as_fill(pad_value if filled else 0, array.dtype, "pad_value"))
    if lazy:
        from patchmill.patches import lazy as dask_way

        dask_way.refuse_foreign(array)
        return dask_way.cut(array, grid, padding, names or _axis_names(array.ndim))
    zeros = (0,) * grid.ndim
    return views.cut(array, grid, start=zeros, stop=grid.counts, low=zeros, padding=padding)


def _put_back(
    patches: Any, names: Sequence[str] | None = None, *, grid: PatchGrid, window: str | Weights, fill_value: Any
) -> Any:
    """The image that a NumPy or Dask array of patches was cut from."""
    expected = grid.counts + grid.patch_shape
    if patches.shape[-2 * grid.ndim :] != expected:
        raise ValueError(
            f"patches must have the shape (..., {', '.join(map(str, expected))}) to fit the grid, "
            f"got {patches.shape}: {grid!r}"
        )
    fill = as_fill(fill_value, patches.dtype, "fill_value")
    if _is(patches, "dask.array", "Array"):
        from patchmill.patches import lazy as dask_way

        dask_way.refuse_foreign(patches)
        return dask_way.assemble(patches, grid, window, fill, names or _axis_names(patches.ndim))
    zeros = (0,) * grid.ndim
    scale = weights(window, grid.patch_shape)
    return assembly.assemble(
        _as_array(patches), grid, begin=zeros, low=zeros, high=grid.shape, weights=scale, fill=fill
    )


# -- what came in ----------------------------------------------------------------------------------------------------


def _is(array: Any, module: str, *names: str) -> bool:
    """Whether `array` is one of the classes `names` of `module`, without importing it."""
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(
        array, tuple(getattr(loaded, name) for name in names if hasattr(loaded, name))
    )


def _as_array(array: Any) -> Any:
    """A plain ndarray, or the Dask array that it is; anything else could lose or load what the user does not expect."""
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError(
            "a masked array would lose its mask: give array.filled(...), "
            "or cut array.data and array.mask one after the other"
        )
    if isinstance(array, np.ndarray):
        return np.asarray(array)
    if _is(array, "dask.array", "Array"):
        return array
    if isinstance(array, list | tuple):
        try:
            numbers = np.asarray(array)
        except ValueError as error:
            raise ValueError(
                "a nested list must have rows of one length: fill the short ones, or cut them one by one"
            ) from error
        if numbers.dtype.kind in "biufc":
            return numbers
        raise TypeError(
            f"a nested list must hold numbers, got {numbers.dtype}: give numpy.asarray(...) with the dtype you mean"
        )
    kind = f"{type(array).__module__}.{type(array).__qualname__}"
    raise TypeError(
        f"array must be a NumPy, Dask or xarray object or a nested list of numbers, got {kind}: "
        "convert it, for example with numpy.asarray"
    )


def _grid_over(
    shape: Sequence[int], *, patch_shape: PerAxis, step: PerAxis, dilation: PerAxis, edge: Edge
) -> PatchGrid:
    """The grid over the last axes of an array of `shape`, with at least one patch."""
    ndim = _spatial_ndim(patch_shape, len(shape))
    if any(map(math.isnan, shape)):
        raise ValueError(f"array must have a known shape, got {tuple(shape)}: call array.compute_chunk_sizes() first")
    if 0 in shape:
        raise ValueError(f"array must have no axis of length 0, got shape {tuple(shape)}: there is nothing to cut")
    grid = PatchGrid(shape[len(shape) - ndim :], patch_shape, step, dilation, edge)
    if len(grid) == 0:
        reach = "" if grid.span == grid.patch_shape else f", which reaches over {shown_shape(grid.span)} pixels,"
        raise ValueError(
            f"a patch of {shown_shape(grid.patch_shape)}{reach} does not fit into an image of "
            f'{shown_shape(grid.shape)}: take a smaller patch, or edge="pad"'
        )
    return grid


def _spatial_ndim(patch_shape: PerAxis, ndim: int) -> int:
    """Number of spatial axes of an array of `ndim`: one for each number of `patch_shape`; a single integer means 2."""
    numbers = as_shape(patch_shape, "patch_shape", least=1)
    single = not np.ndim(patch_shape)
    wanted = min(2, max(1, ndim)) if single else len(numbers)
    if ndim < wanted:
        raise ValueError(f"array must have an axis for each number of patch_shape {patch_shape!r}, got {ndim} axes")
    return wanted


def _axis_names(ndim: int) -> list[str]:
    return [f"axis {number}" for number in range(ndim)]
