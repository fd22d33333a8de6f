"""An image and its mask: variables of which one is called like an axis, as those that `ingest` writes."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from PIL import Image

import patchmill

WAYS = pytest.mark.parametrize("way", ["patches", "canvas", "view"])


def cut(source, target, way, **arguments):
    """A patch set of 16 x 16 pixels, 8 apart, in a layout, or a view."""
    if way == "view":
        return patchmill.view_patches(source, 16, 8, **arguments)
    return patchmill.write_patches(source, target, 16, 8, layout=way, **arguments)


@WAYS
def test_pairs_of_files_as_xarray(tmp_path, way):
    random = np.random.default_rng(0)
    scenes = {
        name: random.integers(0, 256, (*size, 3), "uint8") for name, size in {"a": (40, 50), "b": (64, 33)}.items()
    }
    masks = {name: scene.max(axis=2) // 100 for name, scene in scenes.items()}
    for folder, pictures in {"scenes": scenes, "masks": masks}.items():
        (tmp_path / folder).mkdir()
        for name, pixels in pictures.items():
            Image.fromarray(pixels).save(tmp_path / folder / f"{name}.png")
    mask = {"mask": str(tmp_path / "masks" / "{stem}.png")}
    patchmill.ingest(tmp_path / "scenes", tmp_path / "source.zarr", variables=mask)
    ps = cut(tmp_path / "source.zarr", tmp_path / "p.zarr", way)
    data = ps.to_xarray()
    assert data["image"].dims == ("image", "channel", "grid_y", "grid_x", "patch_y", "patch_x")
    assert data["mask"].dims == ("image", "grid_y", "grid_x", "patch_y", "patch_x")
    assert data["channel"].values.tolist() == ["red", "green", "blue"]
    assert "image" in repr(data)
    one = data.isel(image=1, grid_y=2, grid_x=1)
    np.testing.assert_array_equal(one["image"], np.moveaxis(scenes["b"][16:32, 8:24], -1, 0))
    np.testing.assert_array_equal(one["mask"], masks["b"][16:32, 8:24])
    if way == "patches":
        stored = xr.open_zarr(tmp_path / "p.zarr")
        assert {name: each.dims for name, each in stored.variables.items()} == {
            name: each.dims for name, each in data.variables.items()
        }


@WAYS
def test_labels_of_an_axis_that_a_variable_is_called_like(tmp_path, way):
    random = np.random.default_rng(0)
    source = xr.Dataset(
        {
            "image": (("time", "band", "lat", "lon"), random.integers(0, 99, (2, 3, 20, 24), "uint8")),
            "mask": (("time", "lat", "lon"), random.integers(0, 2, (2, 20, 24), "uint8")),
        },
        coords={"time": [2020, 2021], "band": ["r", "g", "b"], "lat": np.arange(20.0), "lon": np.arange(24.0)},
    )
    own = {"image": "time", "channel": "band", "y": "lat", "x": "lon"}
    ps = cut(source, tmp_path / "p.zarr", way, dims=own)
    data = ps.to_xarray()
    assert data["image"].dims == ("time", "band", "grid_lat", "grid_lon", "patch_lat", "patch_lon")
    np.testing.assert_array_equal(data["image"].sel(time=2021, band="g")[0, 1], source["image"][1, 1, :16, 8:24])
    np.testing.assert_array_equal(data["mask"].sel(time=2020)[0, 1], source["mask"][0, :16, 8:24])
    assert data["lat"].dims == ("grid_lat",)
