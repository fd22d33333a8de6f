"""Ways to look at a store that are not patchmill's own."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def images_of(target: Path, variable: str = "image") -> list[Array]:
    """Pixels of each image within its extent, by zarr-python; beyond it there must be zeros."""
    import zarr

    group = zarr.open_group(target, mode="r")
    canvas = group[variable][...]
    found = []
    for pixels, height, width in zip(canvas, group["height"][...], group["width"][...], strict=True):
        found.append(pixels[..., :height, :width])
        assert not pixels[..., height:, :].any()
        assert not pixels[..., :, width:].any()
    return found


def dataset_of(target: Path) -> Any:
    """What plain xarray sees; any warning is an error."""
    import xarray as xr

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return xr.open_zarr(target)


def channels_first(pixels: Array) -> Array:
    return np.moveaxis(pixels, -1, 0)
