"""`open_patches` and `view_patches`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from patchmill.errors import IncompleteError, NotAPatchSetError
from patchmill.grid import ImageGrids, KeptPatches, Numbering, PatchGrid
from patchmill.patches.fills import as_fill, stored_fill
from patchmill.patches.views import Padding, padding_that_counts
from patchmill.reading.patchset import PatchSet, SetVariable
from patchmill.reading.pixels import Pixels, StoredPatches
from patchmill.reading.windows import Windows, canvas_variable
from patchmill.sources import Dims, coordinates_of, image_grids, open_source
from patchmill.sources.model import nodata_array
from patchmill.sources.zarrs import nodata_of
from patchmill.storage import Location, StoredGroup, TensorStoreArray, begun, read_group, root_problem
from patchmill.types import Edge, PadMode, PerAxis, as_word


def open_patches(target: str | os.PathLike[str], *, storage_options: Mapping[str, Any] | None = None) -> PatchSet:
    """The patch set that `write_patches` wrote to `target`.

    Parameters
    ----------
    target : path or URL
    storage_options : mapping, optional
        For a URL, in fsspec's spelling (anon, endpoint_url, ...); secrets come from the environment.

    Returns
    -------
    PatchSet

    Raises
    ------
    IncompleteError
        If the set was begun and not finished.
    NotAPatchSetError
        If something else is there, or nothing.
    ValueError
        If the place or an option can't be, or an option is a secret.

    Examples
    --------
    >>> import numpy as np, patchmill, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = patchmill.write_patches(np.zeros((3, 40, 50), "uint16"), f"{folder}/patches.zarr", 16, step=8)
    ...     ps = patchmill.open_patches(f"{folder}/patches.zarr")
    ...     len(ps), ps.layout, ps[0].shape
    (20, 'patches', (3, 16, 16))
    """
    place = Location.parse(target, options=storage_options, called="storage_options")
    group = read_group(place)
    if group is None or group.own.get("kind") != "patches":
        raise _not_a_set(place, group)
    if group.own["layout"] not in ("patches", "canvas"):
        raise NotAPatchSetError(
            f"{place.url} has layout {group.own['layout']!r}, which this patchmill does not know: "
            "use the version that wrote it"
        )
    grids = stored_grids(group)
    described = group.own["source"]["variables"]
    return PatchSet(
        url=place.url,
        layout=group.own["layout"],
        grids=grids,
        numbering=_numbering(group, grids),
        variables=tuple(_stored_variable(group, grids, name, each) for name, each in described.items()),
        dims=group.own["source"]["dims"],
        stored=group,
        coordinates={},
    )


def _not_a_set(place: Location, group: StoredGroup | None) -> Exception:
    if begun(place) is not None:
        return IncompleteError(f"{place.url} was begun and not finished: call write_patches again, which goes on")
    if group is not None:
        return NotAPatchSetError(
            f"{place.url} is a source of images, not a patch set: cut it with patchmill.write_patches"
        )
    if problem := root_problem(place):
        return NotAPatchSetError(problem)
    what = "nothing is there" if not place.exists() else "something else is there"
    return NotAPatchSetError(f"{place.url} is not a patch set, {what}: patchmill.write_patches makes one")


def stored_grids(group: StoredGroup) -> ImageGrids:
    """The grids of a patch set."""
    described = {key: value for key, value in group.own["grid"].items() if not key.startswith("pad_")}
    grid = PatchGrid(**described)
    if "height" in group.arrays:
        return ImageGrids(grid, np.stack([group.values("height"), group.values("width")], axis=1))
    return ImageGrids.uniform(grid, int(group.own["request"]["images"]))


def _numbering(group: StoredGroup, grids: ImageGrids) -> Numbering:
    """The grids themselves, unless patches were dropped."""
    if "dropped" not in group.arrays:
        return grids
    return KeptPatches(grids, group.values("count"), group.bulk("exists").read)


def _stored_variable(group: StoredGroup, grids: ImageGrids, name: str, described: dict[str, Any]) -> SetVariable:
    array = group.bulk(described["array"])
    names = group.arrays[described["array"]]["dimension_names"]
    has_channel = len(names) == (6 if group.own["layout"] == "patches" else 4)
    return SetVariable(
        name=name,
        array=described["array"],
        dtype=array.dtype,
        channels=array.shape[1] if has_channel else None,
        channel_dim=names[1] if has_channel else "channel",
        source_chunk=tuple(described["chunk"][2:]),
        nodata=_stored_nodata(group, name, array.dtype),
        nodatas=group.values(nodata_array(name)) if nodata_array(name) in group.arrays else None,
        pixels=_pixels(group, grids, array, described),
    )


def _stored_nodata(group: StoredGroup, name: str, dtype: np.dtype[Any]) -> Any:
    """What stands for "nothing measured": as the pixels say, or else the source, unless a transform came between."""
    described = group.own["source"]["variables"][name]
    asked = {each["name"]: each for each in group.own["request"].get("variables", ())}.get(name, {})
    told = {"nodata": group.arrays[described["array"]]["attributes"].get("nodata")}
    if told["nodata"] is None and not asked.get("transform"):
        told = {"nodata": described["nodata"]}
    return nodata_of(told, dtype)


def _pixels(group: StoredGroup, grids: ImageGrids, array: TensorStoreArray, described: dict[str, Any]) -> Pixels:
    ndim = len(array.shape)
    if group.own["layout"] == "patches":
        return StoredPatches(array, has_channel=ndim == 6)
    mode, value = group.own["grid"]["pad_mode"], described.get("pad_value", 0)
    variable = canvas_variable(described["array"], array, has_channel=ndim == 4)
    return Windows(variable, grids, Padding(mode, stored_fill(value, array.dtype)))


def view_patches(
    source: Any,
    patch_shape: PerAxis,
    step: PerAxis | None = None,
    *,
    dilation: PerAxis = 1,
    edge: Edge = "drop",
    pad_mode: PadMode = "constant",
    pad_value: Any = 0,
    variables: Sequence[str] | None = None,
    dims: Dims = None,
    channels: Sequence[str] | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> PatchSet:
    """A patch set over an existing array, nothing written: to look before cutting.

    Parameters
    ----------
    source, patch_shape, step, dilation, edge, pad_mode, pad_value, variables, dims, channels, storage_options
        As for `write_patches`.

    Returns
    -------
    PatchSet
        With ``layout="view"``; its patches are those that `write_patches` would store.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong, or no image is as large as a patch.
    SourceError
        If the source can't be read.

    Examples
    --------
    >>> import numpy as np, patchmill
    >>> ps = patchmill.view_patches(np.zeros((2, 3, 900, 1600), "uint8"), 256, 128, edge="shift")
    >>> len(ps), ps[-1].shape
    (168, (3, 256, 256))
    """
    as_word(pad_mode, "pad_mode", PadMode)
    opened = open_source(source, variables=variables, dims=dims, channels=channels, storage_options=storage_options)
    grids = image_grids(opened, patch_shape, step, dilation=dilation, edge=edge)
    pad_mode, pad_value = padding_that_counts(edge, pad_mode, pad_value)
    several = len(opened.variables) > 1
    return PatchSet(
        url=opened.url,
        layout="view",
        grids=grids,
        numbering=grids,
        variables=tuple(
            SetVariable(
                name=variable.name,
                array=variable.name if several else "patches",
                dtype=variable.dtype,
                channels=variable.channels,
                channel_dim=opened.channel_dim(variable),
                source_chunk=variable.chunks[2:],
                nodata=variable.nodata,
                nodatas=variable.nodatas,
                pixels=Windows(variable, grids, Padding(pad_mode, as_fill(pad_value, variable.dtype, "pad_value"))),
            )
            for variable in opened.variables
        ),
        dims=opened.dims,
        stored=None,
        coordinates={
            each.name: (each.dims, each.values, dict(each.attributes)) for each in coordinates_of(opened, grids)
        },
    )
