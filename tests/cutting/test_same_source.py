"""What makes two calls the same cut: a rerun with other axes, labels or decoding is another one, and is refused."""

from __future__ import annotations

import warnings
from contextlib import nullcontext

import numpy as np
import pytest
import xarray as xr
import zarr

import patchmill
from patchmill.errors import TargetExistsError

SQUARE = np.arange(8 * 8 * 3).reshape(8, 8, 3)


def refused(source, target, **how):
    with pytest.raises(TargetExistsError, match="differs in"):
        patchmill.write_patches(source, target, 4, **how)


@pytest.mark.parametrize("kind", ["numpy", "dask", "xarray", "zarr", "netcdf"])
def test_other_axes_of_a_square_are_another_cut(tmp_path, kind):
    import dask.array as da

    source, target = SQUARE, tmp_path / "set.zarr"
    if kind == "dask":
        source = da.from_array(SQUARE, chunks=8)
    elif kind == "xarray":
        source = xr.DataArray(SQUARE, dims=("a", "b", "c"))
    elif kind == "zarr":
        source = tmp_path / "source.zarr"
        zarr.create_array(source, data=SQUARE, chunks=(8, 8, 3))
    elif kind == "netcdf":
        source = tmp_path / "source.nc"
        xr.DataArray(SQUARE, dims=("a", "b", "c"), name="v").to_netcdf(source, engine="h5netcdf")
    one, other = ("y", "x", "channel"), ("x", "y", "channel")
    if kind in ("xarray", "netcdf"):
        one, other = (dict(zip(axes, "abc", strict=True)) for axes in (one, other))
    patchmill.write_patches(source, target, 4, dims=one)
    refused(source, target, dims=other)
    ps = patchmill.write_patches(source, target, 4, dims=other, mode="overwrite")
    np.testing.assert_array_equal(ps[1], SQUARE.transpose(2, 1, 0)[:, :4, 4:8])


def test_labels_that_a_condition_names_are_part_of_it(tmp_path):
    values = np.zeros((2, 4, 8))
    values[0, :, 4:] = values[1, :, :4] = 5
    source = xr.DataArray(values, dims=("channel", "y", "x"), coords={"channel": ["r", "g"]})
    patchmill.write_patches(source, tmp_path / "set.zarr", 4, keep='mean["r"] > 3')
    turned = source.assign_coords(channel=["g", "r"])
    refused(turned, tmp_path / "set.zarr", keep='mean["r"] > 3')
    ps = patchmill.write_patches(turned, tmp_path / "other.zarr", 4, keep='mean["r"] > 3')
    assert ps.locate([0])[1].tolist() == [[0, 0]]


def test_raw_and_decoded_values_are_two_sources(tmp_path):
    file = tmp_path / "source.nc"
    data = xr.Dataset({"v": (("y", "x"), np.ones((4, 4), "float32"))})
    data.to_netcdf(file, encoding={"v": {"scale_factor": 2.0}}, engine="h5netcdf")
    with xr.open_dataset(file, decode_cf=False) as raw, xr.open_dataset(file) as decoded:
        assert patchmill.write_patches(raw, tmp_path / "set.zarr", 4)[0].max() == 0.5
        refused(decoded, tmp_path / "set.zarr")


@pytest.mark.parametrize("fill", [-9999.0, np.nan])
def test_version_2_keeps_nodata_as_xarray_stores_it(tmp_path, fill):
    values = np.full((1, 8, 8), 5.0, "float32")
    values[0, :4, :4] = fill
    data = xr.Dataset({"v": (("band", "y", "x"), values)})
    data.v.encoding["_FillValue"] = fill
    for version in (2, 3):
        data.to_zarr(tmp_path / f"{version}.zarr", zarr_format=version, consolidated=False)
        ps = patchmill.write_patches(tmp_path / f"{version}.zarr", tmp_path / f"set{version}.zarr", 4)
        assert ps.read([0], masked=True).mask.all()
        assert ps.catalog["valid_fraction"].values.ravel().tolist() == [0, 1, 1, 1]
    zarr.create_array(tmp_path / "plain.zarr", data=np.zeros((8, 8), "uint8"), zarr_format=2)
    assert not patchmill.view_patches(tmp_path / "plain.zarr", 4).read([0], masked=True).mask.any()


def test_a_part_of_images_that_differ_in_extent_is_refused(tmp_path):
    images = np.stack([np.pad(np.ones((4, 8)), ((0, 4), (0, 0))), np.full((8, 8), 2.0)])
    coords = {"height": ("image", [4, 8]), "width": ("image", [8, 8])}
    data = xr.Dataset({"image": (("image", "y", "x"), images)}, coords=coords)
    assert len(patchmill.view_patches(data, 4)) == 2 + 4
    for part in (data.isel(y=slice(4, 8)), data.isel(y=slice(None, None, 2)), data.coarsen(y=2).mean()):
        with pytest.raises(ValueError, match="assign those of what is left, or drop height and width"):
            patchmill.view_patches(part, 2)
        assert len(patchmill.view_patches(part.drop_vars(["height", "width"]), 2)) == 2 * 8
    alike = data.assign_coords(height=("image", [8, 8]), transform=(("image", "affine"), np.ones((2, 6))))
    whole, part = patchmill.view_patches(alike, 2), patchmill.view_patches(alike.isel(y=slice(2, 6)), 2)
    assert part.sizes.tolist() == [[4, 8], [4, 8]]
    assert "transform" in whole.coordinates
    assert "transform" not in part.coordinates


@pytest.mark.parametrize("kind", ["zarr", "nc"])
def test_what_says_where_pixels_lie_is_no_image(tmp_path, kind):
    place = np.full((8, 8), np.nan)
    coords = {"lat": (("y", "x"), place), "lon": (("y", "x"), place)}
    data = xr.Dataset({"v": (("y", "x"), np.arange(64.0).reshape(8, 8))}, coords=coords)
    file = tmp_path / f"source.{kind}"
    data.to_zarr(file, consolidated=False) if kind == "zarr" else data.to_netcdf(file, engine="h5netcdf")
    assert [each.name for each in patchmill.view_patches(file, 4).variables] == ["v"]
    assert [each.name for each in patchmill.view_patches(file, 4, variables=["lat"]).variables] == ["lat"]


@pytest.mark.parametrize("kind", ["object", "zarr", "nc"])
def test_what_is_left_out_is_named(tmp_path, kind):
    data = xr.Dataset(
        {
            "temp": (("time", "level", "lat", "lon"), np.ones((2, 3, 8, 8))),
            "mask": (("time", "lat", "lon"), np.ones((2, 8, 8))),
        }
    )
    source = data if kind == "object" else tmp_path / f"source.{kind}"
    if kind == "zarr":
        data.to_zarr(source, consolidated=False)
    elif kind == "nc":
        data.to_netcdf(source, engine="h5netcdf")
    with pytest.warns(UserWarning, match="variable 'temp' of .* is not cut, as its axes .* have level beside"):
        assert [each.name for each in patchmill.view_patches(source, 4).variables] == ["mask"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        patchmill.view_patches(source, 4, variables=["mask"])


@pytest.mark.parametrize("kind", ["nc", "zarr", "object"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int16"])
def test_a_nan_does_not_hide_the_other_word_for_nodata(tmp_path, kind, dtype):
    values = np.ones((1, 8, 8), dtype)
    values[0, :4, :4] = -9999
    data = xr.Dataset({"v": (("band", "y", "x"), values)})
    data.v.encoding["missing_value"] = np.asarray(-9999, dtype)[()]
    file = tmp_path / f"source.{'nc' if kind == 'object' else kind}"
    data.to_zarr(file, consolidated=False) if kind == "zarr" else data.to_netcdf(file, engine="h5netcdf")
    with xr.open_dataset(file, decode_cf=False) if kind == "object" else nullcontext(file) as source:
        ps = patchmill.write_patches(source, tmp_path / "set.zarr", 4)
        assert ps.catalog["valid_fraction"].values.ravel().tolist() == [0, 1, 1, 1]


def test_a_second_value_for_nodata_is_named(tmp_path):
    attributes = {"_FillValue": -9999.0, "missing_value": -8888.0}
    data = xr.DataArray(np.zeros((8, 8), "float32"), dims=("y", "x"), attrs=attributes, name="v")
    with pytest.warns(UserWarning, match="'v' names -8888 beside -9999 for what is not measured"):
        patchmill.view_patches(data, 4)
    alike = data.assign_attrs(_FillValue=1e20, missing_value=float(np.float32(1e20)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        patchmill.view_patches(alike, 4)


def test_attributes_that_are_no_strict_json(tmp_path):
    data = xr.Dataset({"v": (("y", "x"), np.arange(64.0).reshape(8, 8), {"valid_min": float("nan")})})
    data.to_zarr(tmp_path / "source.zarr", zarr_format=3, consolidated=False)
    assert b"NaN" in (tmp_path / "source.zarr/v/zarr.json").read_bytes()
    ps = patchmill.write_patches(tmp_path / "source.zarr", tmp_path / "set.zarr", 4)
    np.testing.assert_array_equal(ps[3], data.v[4:, 4:])


@pytest.mark.parametrize("name", ["zarr.json", "x.__lock", "n" * 300, "\udc80"])
def test_names_that_no_array_can_have(tmp_path, name):
    data = xr.Dataset({name: (("y", "x"), np.ones((8, 8))), "q": (("y", "x"), np.ones((8, 8)))})
    with pytest.raises(ValueError, match="rename the variable in the source"):
        patchmill.write_patches(data, tmp_path / "set.zarr", 4)
    assert not list(tmp_path.iterdir())
