"""NetCDF and HDF5 written by xarray and h5py, compared with what xarray reads."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import xarray as xr
from rasterio import CRS

from ingesting.looking import dataset_of
from patchmill.errors import SourceError

DAYS = np.array(["2020-01-01", "2020-01-02", "2020-01-05"], "M8[ns]")


def weather(rng):
    return xr.Dataset(
        {"t2m": (("time", "lat", "lon"), rng.random((3, 40, 50)).astype("f4"))},
        coords={"time": DAYS, "lat": np.linspace(50, 40.25, 40), "lon": np.arange(50) * 0.5},
    )


@pytest.mark.parametrize("engine", ["h5netcdf", "scipy"])
def test_time_steps_are_images(rng, tmp_path, ingest, engine):
    weather(rng).to_netcdf(tmp_path / "a.nc", engine=engine)
    report, images = ingest(tmp_path / "a.nc")
    assert report.names == ("a[time=2020-01-01]", "a[time=2020-01-02]", "a[time=2020-01-05]")
    with xr.open_dataset(tmp_path / "a.nc", engine=engine) as opened:
        assert (np.array(images) == opened.t2m.values).all()
    assert report.channels is None
    assert dataset_of(report.target)["transform"].values[0].tolist() == [0.5, 0, -0.25, 0, -0.25, 50.125]


def test_packed_values_stay_packed(rng, tmp_path, ingest):
    packing = {"dtype": "i2", "scale_factor": 0.001, "add_offset": 0.5, "_FillValue": -999, "chunksizes": (1, 20, 25)}
    weather(rng).to_netcdf(tmp_path / "a.nc", engine="h5netcdf", encoding={"t2m": {**packing, "zlib": True}})
    report, images = ingest(tmp_path / "a.nc")
    with xr.open_dataset(tmp_path / "a.nc", engine="h5netcdf", mask_and_scale=False) as opened:
        assert (np.array(images) == opened.t2m.values).all()
    store = dataset_of(report.target)
    assert store.image.dtype == np.int16
    assert store.image.attrs["scales"] == [0.001]
    assert store.image.attrs["offsets"] == [0.5]
    assert store.image.attrs["nodata"] == -999


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2"])
def test_numbers_that_are_noted_as_unsigned_are(rng, tmp_path, ingest, dtype):
    values = rng.integers(-100, 100, (40, 50)).astype(dtype)
    other = "false" if dtype == "u1" else "true"
    noted = {"_Unsigned": other, "_FillValue": np.array(-1).astype(dtype)[()], "scale_factor": 0.5}
    data = xr.Dataset({"v": (("y", "x"), values, noted)})
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    report, [pixels] = ingest(tmp_path / "a.nc")
    with xr.open_dataset(tmp_path / "a.nc", engine="h5netcdf") as opened:
        meant = opened.v.values
    attributes = dataset_of(report.target).image.attrs
    measured = pixels != attributes["nodata"]
    assert (measured == ~np.isnan(meant)).all()
    assert (pixels[measured] * attributes["scales"][0] == meant[measured]).all()


def test_variables_of_one_kind_are_channels(rng, tmp_path, ingest):
    bands = {
        name: (("y", "x"), rng.integers(0, 99, (40, 50)).astype("u2"), {"grid_mapping": "spatial_ref"})
        for name in ("B02", "B03", "B08")
    }
    place = {"y": 5e6 - 10 * np.arange(40) - 5.0, "x": 5e5 + 10 * np.arange(50) + 5.0}
    data = xr.Dataset(bands, coords={**place, "spatial_ref": ((), 0, {"crs_wkt": CRS.from_epsg(32633).to_wkt()})})
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    report, [pixels] = ingest(tmp_path / "a.nc")
    assert (pixels == np.array([data[name].values for name in bands])).all()
    assert report.labels == ("B02", "B03", "B08")
    store = dataset_of(report.target)
    assert "32633" in store.spatial_ref.attrs["crs_wkt"]
    assert store["transform"].values[0].tolist() == [10, 0, 5e5, 0, -10, 5e6]


def test_a_band_axis_is_the_channels(rng, tmp_path, ingest):
    values = rng.random((40, 50, 2))
    data = xr.Dataset({"rad": (("row", "col", "band"), values)}, coords={"band": ["vis", "ir"]})
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    report, [pixels] = ingest(tmp_path / "a.nc")
    assert (pixels == np.moveaxis(values, -1, 0)).all()
    assert report.labels == ("vis", "ir")


def test_of_several_kinds_one_is_named(rng, tmp_path, ingest):
    data = xr.Dataset({"a": (("y", "x"), rng.random((4, 5))), "b": (("y", "x"), np.ones((4, 5), "i2"))})
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    with pytest.raises(SourceError, match=r"several kinds, a \(y, x\) float64; b \(y, x\) int16: name one"):
        ingest(tmp_path / "a.nc")
    _, [pixels] = ingest(f"{tmp_path}/a.nc:b")
    assert pixels.dtype == np.int16
    with pytest.raises(SourceError, match="has no variable 'c', it has a, b"):
        ingest(f"{tmp_path}/a.nc:c")


def test_two_variables_of_one_file_are_two_images(rng, tmp_path, ingest):
    data = xr.Dataset({"a": (("y", "x"), rng.random((4, 5))), "b": (("y", "x"), rng.random((4, 5)))})
    data.to_netcdf(tmp_path / "n.nc", engine="h5netcdf")
    report, images = ingest([f"{tmp_path}/n.nc:a", f"{tmp_path}/n.nc:b"])
    assert report.names == ("n:a", "n:b")
    assert (np.array(images) == [data.a.values, data.b.values]).all()


def test_dims_tell_axes_with_other_names(rng, tmp_path, ingest):
    values = rng.random((3, 2, 4, 5))
    data = xr.Dataset({"a": (("member", "level", "v", "u"), values)})
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    with pytest.raises(SourceError, match=r"axes that can't be told|name them with dims"):
        ingest(tmp_path / "a.nc")
    report, images = ingest(tmp_path / "a.nc", dims={"image": "member", "channel": "level", "y": "v", "x": "u"})
    assert (np.array(images) == values).all()
    assert report.names == ("a[member=0]", "a[member=1]", "a[member=2]")


def test_hdf5_without_names_of_axes(rng, tmp_path, ingest):
    values, inside = rng.random((3, 20, 30)), rng.random((20, 30, 3))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["scan"] = values
        file["deep/er/scan"] = inside
    _, [pixels] = ingest(f"{tmp_path}/a.h5:scan")
    assert (pixels == values).all()
    _, [pixels] = ingest(f"{tmp_path}/a.h5:deep/er/scan")
    assert (pixels == np.moveaxis(inside, -1, 0)).all()


def test_fill_values_that_differ_are_not_mixed(rng, tmp_path, ingest):
    data = xr.Dataset({name: (("y", "x"), np.ones((4, 5), "i2")) for name in "ab"})
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf", encoding={"a": {"_FillValue": 1}, "b": {"_FillValue": 2}})
    with pytest.raises(SourceError, match="different fill values, a, b"):
        ingest(tmp_path / "a.nc")


def test_files_are_let_go_of(rng, tmp_path, ingest):
    import gc

    import psutil

    weather(rng).to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    ingest(tmp_path / "a.nc")
    gc.collect()
    assert [file.path for file in psutil.Process().open_files() if file.path.endswith("a.nc")] == []
