"""`PatchSet`: patches by number, as batches, as Dask and as xarray, with their catalog."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from patchmill.grid import ImageGrids, Numbering, PatchGrid
from patchmill.grid.images import as_range
from patchmill.reading.lazily import catalog_of, dask_of, dataset_of
from patchmill.reading.pixels import Pixels
from patchmill.reading.pixels import masked as as_masked
from patchmill.types import shown_bytes, shown_shape

if TYPE_CHECKING:
    import xarray as xr

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class SetVariable:
    """One variable of a set.

    Parameters
    ----------
    name : str
        The source's name for it.
    array : str
        Key of its pixels in the stored set; "patches" or "canvas" where it is the only one.
    dtype : numpy.dtype
    channels : int or None
        None for a variable without channels.
    channel_dim : str
        Name of its channel dimension.
    source_chunk : tuple of int
        How the source is stored: y, x.
    nodata : number or None
        The value that stands for "nothing measured"; NaN always does.
    nodatas : ndarray of float64, shape (image,), or None
        Such a value of each image, NaN for none, where images differ.
    pixels : Pixels
    """

    name: str
    array: str
    dtype: np.dtype[Any]
    channels: int | None
    channel_dim: str
    source_chunk: tuple[int, ...]
    nodata: Any
    nodatas: NDArray[np.float64] | None
    pixels: Pixels = field(repr=False)

    def nodata_of(self, image: NDArray[np.int64]) -> Any:
        """What `masked` takes for patches of these images."""
        return self.nodata if self.nodatas is None else self.nodatas[image]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PatchSet:
    """The patches of some images: a sequence that reads what it is asked for.

    Parameters
    ----------
    url : str
        Where it lies.
    layout : str
        "patches"; "canvas" for windows of images stored once; "view" for windows of an image that is not a patch set.
    grids : ImageGrids
        One grid an image.
    numbering : Numbering
        Which positions exist and how they are numbered; `grids` themselves where none was dropped.
    variables : tuple of SetVariable
    dims : mapping
        Canonical axis to the source's own name for it.
    stored : Any
        The stored group, None for a view.
    coordinates : mapping
        For a view: name to (dims, values, attributes) of what a stored set keeps as arrays.

    Examples
    --------
    >>> import numpy as np, patchmill
    >>> ps = patchmill.view_patches(np.arange(4 * 6).reshape(4, 6), (2, 2), step=2)
    >>> ps
    <PatchSet: 6 patches of 2 x 2 int64 from 1 image, 2 x 3 at most, step 2 x 2, view, 192 B>
    >>> ps[1]
    array([[2, 3],
           [8, 9]])
    >>> ps.read([5, 0]).shape
    (2, 2, 2)
    """

    url: str
    layout: str
    grids: ImageGrids
    numbering: Numbering
    variables: tuple[SetVariable, ...]
    dims: Mapping[str, str]
    stored: Any
    coordinates: Mapping[str, Any]

    # -- figures ----------------------------------------------------------------------------------------------------

    @property
    def grid(self) -> PatchGrid:
        """The grid over the canvas; an image smaller than that has the part of it that `sizes` allows."""
        return self.grids.canvas

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Extent of each image in pixels, shape (image, 2): height, width; to read, not to write."""
        sizes = self.grids.sizes.view()
        sizes.flags.writeable = False
        return sizes

    @property
    def names(self) -> Array | None:
        """Name of each image, None where the source gave none."""
        if self.stored is not None:
            return self.stored.values("name") if "name" in self.stored.arrays else None
        return self.coordinates["name"][1] if "name" in self.coordinates else None

    @property
    def too_small(self) -> list[str]:
        """Names (or numbers) of the images that hold no patch, because they are smaller than one."""
        names = self.names
        return [str(n if names is None else names[n]) for n in self.grids.too_small.tolist()]

    @property
    def nbytes(self) -> int:
        """Raw bytes of all patches that exist."""
        return len(self) * prod(self.grid.patch_shape) * self._pixel_nbytes

    @property
    def stored_nbytes(self) -> int:
        """Raw bytes of pixels as they are stored: in layout "canvas" each pixel once; 0 for a view."""
        if self.stored is None:
            return 0
        once = self.layout == "canvas"
        return int(np.prod(self.sizes, axis=1).sum()) * self._pixel_nbytes if once else self.nbytes

    @property
    def _pixel_nbytes(self) -> int:
        """Raw bytes of one pixel, all channels and variables."""
        return sum(each.dtype.itemsize * (each.channels or 1) for each in self.variables)

    def __len__(self) -> int:
        return len(self.numbering)

    def locate(self, indices: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Which image patches come from, and their first pixels.

        Parameters
        ----------
        indices : array_like of int, shape (n,)

        Returns
        -------
        image : ndarray, shape (n,)
        origin : ndarray, shape (n, 2)
            y, x in pixels of the image.

        Raises
        ------
        IndexError
            If a number is outside the set.

        Examples
        --------
        >>> import numpy as np, patchmill
        >>> ps = patchmill.view_patches(np.zeros((2, 1, 40, 50)), 16, step=8)
        >>> image, origin = ps.locate([0, 1, -1])
        >>> image.tolist(), origin.tolist()
        ([0, 0, 1], [[0, 0], [0, 8], [24, 32]])
        """
        image, position = self.numbering.locate(indices)
        return image, self.grids.origins(image, position)

    # -- pixels -----------------------------------------------------------------------------------------------------

    def __getitem__(self, i: int) -> Array | dict[str, Array]:
        """The i-th patch that exists, row-major over (image, grid_y, grid_x).

        Returns
        -------
        ndarray or dict of ndarray
            (channel, y, x), or (y, x) where there are no channels; several variables come as a dict of them.

        Raises
        ------
        IndexError
            If there is no such patch.
        TypeError
            If `i` is not an integer: many patches are one call of `read`.
        """
        try:
            number = operator.index(i)
        except TypeError as error:
            wanted: Any = i
            many = as_range(wanted, len(self)) if isinstance(wanted, slice) else "indices"
            raise TypeError(
                f"a patch is asked for by one integer, got {i!r}: many at once come from read({many})"
            ) from error
        batch = self.read([number])
        return {name: values[0] for name, values in batch.items()} if isinstance(batch, dict) else batch[0]

    def read(self, indices: ArrayLike, *, masked: bool = False) -> Array | dict[str, Array]:
        """Many patches in one call, read in parallel; any order, duplicates allowed.

        Parameters
        ----------
        indices : array_like of int, shape (n,)
            Numbers of patches, negative ones from the end.
        masked : bool
            Give masked arrays, in which nodata, NaN and what continues an image beyond its border are masked: what the
            statistics of the catalog leave out, too.

        Returns
        -------
        ndarray or dict of ndarray, shape (n, channel, y, x)
            Without the channel axis where there are no channels; several variables come as a dict of them.

        Raises
        ------
        IndexError
            If a number is outside the set.
        CorruptChunkError
            If a patch is missing or damaged on disk.

        Examples
        --------
        >>> import numpy as np, patchmill
        >>> ps = patchmill.view_patches(np.arange(4 * 6).reshape(4, 6), 2)
        >>> ps.read([5, 0]).tolist()
        [[[16, 17], [22, 23]], [[0, 1], [6, 7]]]
        >>> ps = patchmill.view_patches(np.array([[1.0, 3.0, np.nan, 5.0]]), (1, 2))
        >>> ps.read([0, 1], masked=True).mean(axis=(1, 2)).tolist()
        [2.0, 5.0]
        """
        image, position = self.numbering.locate(indices)
        found = {each.name: each.pixels.batch(image, position) for each in self.variables}
        if masked:
            found = {each.name: as_masked(found[each.name], each.nodata_of(image)) for each in self.variables}
            self._mask_outside(found, image, position)
        return found if len(found) > 1 else found[self.variables[0].name]

    def _mask_outside(self, found: Mapping[str, Array], image: NDArray[np.int64], position: NDArray[np.int64]) -> None:
        """Mask what continues an image beyond its border, which only the edge "pad" has."""
        if self.grid.edge != "pad":
            return
        origins, sizes = self.grids.origins(image, position), self.sizes[image]
        ys, xs = (
            origins[:, at, None] + np.arange(axis.patch) * axis.dilation >= sizes[:, at, None]
            for at, axis in enumerate(self.grid.axes)
        )
        outside = ys[:, :, None] | xs[:, None, :]
        for values in found.values():
            values[np.broadcast_to(outside if values.ndim == 3 else outside[:, None], values.shape)] = np.ma.masked

    # -- as other libraries' objects --------------------------------------------------------------------------------

    @property
    def catalog(self) -> xr.Dataset:
        """One row a patch, as lazy arrays: what exists, where it lies, what is in it.

        Returns
        -------
        Dataset, dims (image, grid_y, grid_x)
            ``exists`` on all three; statistics of a stored set, which may also have channels. Its coordinates lie on
            those dims they depend on, such as ``origin_y`` on grid_y, in pixels.

        Examples
        --------
        >>> import numpy as np, patchmill
        >>> catalog = patchmill.view_patches(np.zeros((2, 1, 40, 50)), 16, step=8).catalog
        >>> dict(catalog["exists"].sizes), catalog["origin_y"].values.tolist()
        ({'image': 2, 'grid_y': 4, 'grid_x': 5}, [0, 8, 16, 24])
        """
        return catalog_of(self)

    def to_dask(self) -> Any:
        """All patches as a lazy array; 0 where none exists.

        Returns
        -------
        dask array or dict of them, shape (image, channel, grid_y, grid_x, patch_y, patch_x)
            Without the channel axis where there are no channels; several variables come as a dict of them.

        Examples
        --------
        >>> import numpy as np, patchmill
        >>> array = patchmill.view_patches(np.ones((2, 1, 40, 50)), 16, step=8).to_dask()
        >>> array.shape, float(array[1].sum().compute())
        ((2, 1, 4, 5, 16, 16), 5120.0)
        """
        found = {each.name: dask_of(self, each) for each in self.variables}
        return found if len(found) > 1 else found[self.variables[0].name]

    def to_xarray(self) -> xr.Dataset:
        """Patches and catalog as one lazy Dataset, with the source's own names for its axes.

        Returns
        -------
        Dataset, dims (image, channel, grid_y, grid_x, patch_y, patch_x)
            Patches as ``patches``, or under the names of several variables, whose channels may have dims of their own;
            beside them what `catalog` has. A source on (time, band, lat, lon) gives grid_lat for grid_y, and so on.

        Examples
        --------
        >>> import numpy as np, patchmill, xarray as xr
        >>> source = xr.DataArray(np.ones((2, 40, 50)), dims=("time", "lat", "lon"))
        >>> patchmill.view_patches(source, 16, step=8).to_xarray()["patches"].dims
        ('time', 'grid_lat', 'grid_lon', 'patch_lat', 'patch_lon')
        """
        return dataset_of(self)

    # -- for people -------------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        kinds = ", ".join(
            f"{each.name} {each.dtype}" if len(self.variables) > 1 else str(each.dtype) for each in self.variables
        )
        channels = self.variables[0].channels
        shape = shown_shape((channels, *self.grid.patch_shape) if channels else self.grid.patch_shape)
        images, small = len(self.sizes), len(self.grids.too_small)
        positions = f" of {len(self.grids):,}" if len(self) < len(self.grids) else ""
        stored = f" out of {shown_bytes(self.stored_nbytes)} stored" if self.layout == "canvas" else ""
        count = f"{len(self):,}{positions} patches"
        share = self.grids.uncovered / max(1, self.grids.pixels)
        step = shown_shape(self.grid.step) + (f", {share:.1%} uncovered" if share else "")
        return (
            f"<PatchSet: {count} of {shape} {kinds} from {images:,} image{'s' if images != 1 else ''}"
            f"{f' ({small:,} too small)' if small else ''}, {shown_shape(self.grid.counts)} at most, "
            f"step {step}, {self.layout}, {shown_bytes(self.nbytes)}{stored}>"
        )

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        from patchmill.show.patchsets import patchset_figures

        return patchset_figures(self)

    def _repr_html_(self) -> str:
        from patchmill.show.patchsets import patchset_html

        return patchset_html(self)
