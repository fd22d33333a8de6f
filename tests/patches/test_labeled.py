"""The xarray way: dims by name, coordinates at the origins, everything else kept."""

from __future__ import annotations

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from patchmill.grid import PatchGrid
from patchmill.patches import patchify, unpatchify


def refuse(*arguments, **kwargs):
    raise AssertionError("something was computed")


def scene(height: int = 7, width: int = 9) -> xr.DataArray:
    rng = np.random.default_rng(0)
    return xr.DataArray(
        rng.integers(0, 255, (2, 3, height, width), np.uint8),
        dims=("time", "band", "y", "x"),
        coords={
            "time": np.array(["2020-01-01", "2020-01-02"], "M8[ns]"),
            "band": ["red", "green", "blue"],
            "wavelength": ("band", [0.6, 0.5, 0.4], {"units": "um"}),
            "y": ("y", np.linspace(50, 40, height), {"axis": "Y"}),
            "x": np.linspace(5, 10, width),
            "row": ("y", np.arange(height)),
            "lat": (("y", "x"), rng.random((height, width))),
            "sun": (("time", "x"), rng.random((2, width))),
            "spatial_ref": 0,
        },
        name="image",
        attrs={"nodata": 0},
    )


OPTIONS = {"patch_shape": (3, 4), "step": (2, 3), "edge": "shift"}
GRID = PatchGrid((7, 9), (3, 4), (2, 3), edge="shift")
ROWS, COLUMNS = [0, 2, 4], [0, 3, 5]


@pytest.mark.parametrize("lazy", [False, True])
def test_dims_coordinates_name_and_attributes(lazy):
    array = scene().chunk({"time": 1, "y": 4, "x": 5}) if lazy else scene()
    with dask.config.set(scheduler=refuse):
        patches = patchify(array, **OPTIONS)
    assert patches.dims == ("time", "band", "grid_y", "grid_x", "patch_y", "patch_x")
    assert (patches.chunks is not None) == lazy
    assert patches.name == "image"
    assert patches.attrs == {"nodata": 0}
    assert {name: coord.dims for name, coord in patches.coords.items()} == {
        "time": ("time",),
        "band": ("band",),
        "wavelength": ("band",),
        "y": ("grid_y",),
        "x": ("grid_x",),
        "row": ("grid_y",),
        "lat": ("grid_y", "grid_x"),
        "sun": ("time", "grid_x"),
        "spatial_ref": (),
    }
    np.testing.assert_array_equal(patches, patchify(scene().values, **OPTIONS))


def test_coordinates_are_those_of_the_origins():
    array = scene()
    array.y.encoding = {"chunks": (7,)}
    patches = patchify(array, **OPTIONS)
    assert patches.row.values.tolist() == ROWS
    assert patches.y.encoding == {}  # the chunks of the source fit no other shape
    np.testing.assert_array_equal(patches.y, array.y[ROWS])
    np.testing.assert_array_equal(patches.lat, array.lat[ROWS, COLUMNS])
    np.testing.assert_array_equal(patches.sun, array.sun[:, COLUMNS])
    assert patches.y.attrs == {"axis": "Y"}
    assert patches.wavelength.attrs == {"units": "um"}
    assert patches.sel(band="green", time="2020-01-02").shape == (3, 3, 3, 4)  # indexes of other dims live on
    corner = patches.isel(grid_y=1, grid_x=2)
    np.testing.assert_array_equal(corner, array.sel(y=slice(corner.y, None)).isel(y=slice(3), x=slice(5, 9)))


def test_the_kind_of_array_inside_is_kept():
    array = scene()
    assert np.shares_memory(patchify(array, 2).data, array.data)
    assert array.identical(scene())


def test_lazy_coordinates_stay_lazy():
    array = scene().assign_coords(lon=scene().lat.chunk({"y": 2}))
    with dask.config.set(scheduler=refuse):
        assert patchify(array, **OPTIONS).lon.chunks is not None


def test_any_names_and_any_number_of_axes():
    volume = xr.DataArray(np.arange(60).reshape(3, 4, 5), dims=("depth", "lat", "lon"))
    assert patchify(volume, (2, 2, 2)).dims == (
        "grid_depth",
        "grid_lat",
        "grid_lon",
        "patch_depth",
        "patch_lat",
        "patch_lon",
    )
    assert patchify(volume, (2,)).dims == ("depth", "lat", "grid_lon", "patch_lon")
    assert patchify(volume[0, 0], 2).dims == ("grid_lon", "patch_lon")


def test_a_multi_index_beside_the_patches_lives_on():
    array = scene().stack(sample=("time", "band")).transpose("sample", "y", "x")
    patches = patchify(array, 2)
    assert patches.unstack("sample").sizes["band"] == 3


def test_what_is_written_can_be_read(tmp_path):
    """Encodings of the source, chunks among them, do not follow into another shape."""
    scene().chunk({"y": 4}).to_zarr(tmp_path / "source.zarr", consolidated=False, zarr_format=2)
    array = xr.open_zarr(tmp_path / "source.zarr", consolidated=False)["image"]
    patches = patchify(array.chunk({"y": -1}), **OPTIONS)
    patches.to_zarr(tmp_path / "patches.zarr", consolidated=False, zarr_format=2)
    again = xr.open_zarr(tmp_path / "patches.zarr", consolidated=False)["image"]
    xr.testing.assert_equal(again, patches)


@pytest.mark.parametrize(
    ("array", "name"),
    [
        (scene().assign_coords(grid_y=1), "grid_y"),
        (scene().assign_coords(patch_x=("x", np.arange(9))), "patch_x"),
        (scene().rename(band="grid_x"), "grid_x"),
        (scene().rename(time="patch_y").to_dataset(), "patch_y"),
    ],
)
def test_names_that_are_taken_are_refused(array, name):
    with pytest.raises(ValueError, match=f"makes a dim '{name}', and that name is taken: rename it first"):
        patchify(array, 2)


# -- Dataset -----------------------------------------------------------------------------------------------------------


def pair() -> xr.Dataset:
    image = scene()
    mask = (image.isel(band=0) > 100).drop_vars(["band", "wavelength"])
    return xr.Dataset(
        {"image": image, "mask": mask, "cloud": ("time", [0.1, 0.2]), "bounds": (("time", "edge"), np.zeros((2, 2)))},
        attrs={"title": "two"},
    )


@pytest.mark.parametrize("lazy", [False, True])
def test_a_dataset_is_cut_variable_by_variable(lazy):
    dataset = pair().chunk({"y": 7}) if lazy else pair()
    with dask.config.set(scheduler=refuse):
        patches = patchify(dataset, **OPTIONS)
    assert list(patches.data_vars) == ["image", "mask", "cloud", "bounds"]
    assert patches.attrs == {"title": "two"}
    for name in ("image", "mask"):
        xr.testing.assert_identical(patches[name].compute(), patchify(pair()[name], **OPTIONS))
    xr.testing.assert_identical(patches["cloud"].compute(), pair()["cloud"])
    assert patches["mask"].dtype == bool


@pytest.mark.parametrize(
    ("dataset", "words"),
    [
        (pair().assign(edge_y=("y", np.zeros(7))), r"'edge_y' has \(y\): transpose or drop it"),
        (pair().assign(mask=pair().mask.transpose("x", "y", "time")), r"end with the dims .* or have none of them"),
        (
            xr.Dataset({"a": (("y", "x"), np.eye(3)), "b": (("v", "u"), np.eye(3))}),
            r"must share their spatial dims, got \(\('y', 'x'\), \('v', 'u'\)\)",
        ),
        (
            xr.Dataset({"a": ("y", np.zeros(3))}).assign_attrs(),
            r"axis for each number of patch_shape \(2, 2\), got 1 axes",
        ),
        (xr.Dataset(), r"got 0 axes"),
    ],
)
def test_variables_that_do_not_fit_are_named(dataset, words):
    with pytest.raises(ValueError, match=words):
        patchify(dataset, (2, 2))


def test_an_error_says_of_which_variable():
    with pytest.raises(ValueError, match=r"variable 'mask': pad_value must be a value that bool holds exactly, got 7"):
        patchify(pair(), 4, 4, edge="pad", pad_value=7)


# -- the way back ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lazy", [False, True])
def test_there_and_back(lazy):
    array = scene().chunk({"y": 7}) if lazy else scene()
    with dask.config.set(scheduler=refuse):
        back = unpatchify(patchify(array, **OPTIONS), GRID)
    spatial = ["y", "x", "row", "lat", "sun"]
    xr.testing.assert_identical(back.compute(), scene().drop_vars(spatial))
    assert (back.chunks is not None) == lazy


@given(st.permutations(["time", "band", "grid_y", "grid_x", "patch_y", "patch_x"]))
def test_dims_are_found_by_name(dims: list[str]):
    patches = patchify(scene(), **OPTIONS)
    turned = PatchGrid((9, 7), (4, 3), (3, 2), edge="shift")  # x first, if grid_x is the first of the two
    grid = GRID if dims.index("grid_y") < dims.index("grid_x") else turned
    back = unpatchify(patches.transpose(*dims), grid)
    np.testing.assert_array_equal(back.transpose("time", "band", "y", "x"), scene())
    assert set(back.dims[:2]) == {"time", "band"}


def test_a_dataset_there_and_back():
    back = unpatchify(patchify(pair(), **OPTIONS), GRID)
    xr.testing.assert_identical(back, pair().drop_vars(["y", "x", "row", "lat", "sun"]))


@pytest.mark.parametrize(
    ("patches", "words"),
    [
        (scene(), r"must have 2 pairs of dims such as grid_y, patch_y"),
        (patchify(scene(), **OPTIONS).rename(patch_y="py"), r"2 pairs of dims"),
        (patchify(scene().drop_vars("y"), **OPTIONS).rename(time="y"), r"makes a dim 'y', and that name is taken"),
        (patchify(scene().drop_vars("y"), **OPTIONS).assign_coords(y=1), r"makes a dim 'y', and that name is taken"),
        (patchify(pair().drop_vars("y"), **OPTIONS).rename(cloud="y").set_coords("y"), r"makes a dim 'y'"),
        (
            patchify(pair(), **OPTIONS).assign(first=(("grid_y", "grid_x"), np.zeros((3, 3)))),
            r"'first' has \(grid_y, grid_x\)",
        ),
        (patchify(scene(8), **OPTIONS), r"shape \(..., 3, 3, 3, 4\) to fit the grid, got \(2, 3, 4, 3, 3, 4\)"),
    ],
)
def test_patches_that_do_not_fit_are_refused(patches, words):
    with pytest.raises(ValueError, match=words):
        unpatchify(patches, GRID)
