"""Zarr stores written by zarr-python and xarray."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import rasterio
import xarray as xr
import zarr

import patchmill
from ingesting.looking import images_of
from patchmill.errors import SourceError


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("shape", [(40, 50), (2, 40, 50), (3, 2, 40, 50), (40, 50, 3), (1, 40, 50, 4)])
def test_an_array(rng, tmp_path, ingest, version, shape):
    values = rng.random(shape)
    zarr.create_array(tmp_path / "a.zarr", data=values, chunks=tuple(min(n, 16) for n in shape), zarr_format=version)
    report, images = ingest(tmp_path / "a.zarr")
    expected = np.moveaxis(values, -1, -3) if shape[-1] in (3, 4) else values
    expected = expected.reshape(-1, *expected.shape[-3:]) if len(shape) > 2 else expected[None]
    assert (np.array(images) == expected).all()
    assert len(report) == (shape[0] if len(shape) == 4 else 1)


@pytest.mark.parametrize("version", [2, 3])
def test_a_group_of_xarrays(rng, tmp_path, ingest, version):
    days = np.array(["2020-01-01", "2020-01-02"], "M8[ns]")
    data = xr.Dataset(
        {name: (("time", "lat", "lon"), rng.random((2, 40, 50)).astype("f4")) for name in ("u", "v")},
        coords={"time": days},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data.to_zarr(tmp_path / "a.zarr", zarr_format=version)
    report, images = ingest(tmp_path / "a.zarr")
    assert report.names == ("a[time=2020-01-01]", "a[time=2020-01-02]")
    assert report.labels == ("u", "v")
    assert (np.array(images) == np.stack([data.u, data.v], axis=1)).all()
    _, images = ingest(f"{tmp_path}/a.zarr:v")
    assert (np.array(images) == data.v.values).all()


def test_in_a_folder_a_store_is_one_file(rng, tmp_path, ingest):
    (tmp_path / "in").mkdir()
    for name in ("b", "a"):
        zarr.create_array(tmp_path / "in" / f"{name}.zarr", data=rng.random((9, 9)))
    assert ingest(tmp_path / "in")[0].names == ("a", "b")
    assert ingest(f"{tmp_path}/in/**/*")[0].names == ("a", "b")


def test_a_store_of_its_own_comes_back_the_same(rng, tmp_path, ingest):
    for name, size in {"x": (20, 30), "y": (25, 10)}.items():
        np.save(tmp_path / f"{name}.npy", rng.random((3, *size)))
    patchmill.ingest([tmp_path / "x.npy", tmp_path / "y.npy"], tmp_path / "first.zarr", channels=["a", "b", "c"])
    report, images = ingest(tmp_path / "first.zarr")
    assert report.labels == ("a", "b", "c")
    assert report.sizes == ((20, 30), (25, 10))
    for mine, first in zip(images, images_of(tmp_path / "first.zarr"), strict=True):
        assert (mine == first).all()


def test_nodata_and_crs_of_each_image_come_back_the_same(tmp_path, ingest):
    for number, (nodata, crs) in enumerate([(0, "EPSG:32632"), (None, "EPSG:32633"), (5, None)]):
        place = {"crs": crs, "transform": rasterio.Affine(10, 0, number, 0, -10, 0), "nodata": nodata}
        with rasterio.open(tmp_path / f"{number}.tif", "w", "GTiff", 9, 8, 1, dtype="uint8", **place) as file:
            file.write(np.full((1, 8, 9), number, "uint8"))
    first = patchmill.ingest(tmp_path / "*.tif", tmp_path / "first.zarr").target
    again, _ = ingest(first)
    with xr.open_zarr(first) as before, xr.open_zarr(again.target) as after:
        for name in ("nodata_image", "crs", "transform"):
            np.testing.assert_array_equal(after[name], before[name])


def test_of_a_store_with_masks_the_images_are_taken(rng, tmp_path, ingest):
    image, mask = rng.random((3, 20, 30)), rng.random((20, 30)) > 0.5
    np.save(tmp_path / "a.npy", image)
    np.save(tmp_path / "m.npy", mask)
    patchmill.ingest(tmp_path / "a.npy", tmp_path / "first.zarr", variables={"mask": f"{tmp_path}/m.npy"})
    assert (ingest(tmp_path / "first.zarr")[1][0] == image).all()
    assert (ingest(f"{tmp_path}/first.zarr:mask")[1][0] == mask).all()


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_multiscale_image(rng, tmp_path, ingest, version):
    full = rng.integers(0, 99, (2, 40, 50), dtype=np.uint16)
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2 if version == "0.4" else 3)
    names = {} if version == "0.4" else {"dimension_names": ("c", "y", "x")}
    for level in range(2):
        group.create_array(str(level), data=full[:, :: 2**level, :: 2**level], **names)
    axes = [{"name": name} for name in "cyx"]
    multiscales = [{"axes": axes, "datasets": [{"path": "0"}, {"path": "1"}], "version": version}]
    group.attrs.update({"multiscales": multiscales} if version == "0.4" else {"ome": {"multiscales": multiscales}})
    _, [pixels] = ingest(tmp_path / "a.zarr")
    assert (pixels == full).all()
    _, [pixels] = ingest(tmp_path / "a.zarr", level=1)
    assert (pixels == full[:, ::2, ::2]).all()
    with pytest.raises(SourceError, match="has levels 0 to 1, and level=2"):
        ingest(tmp_path / "a.zarr", level=2)


def test_what_holds_no_images(tmp_path, ingest):
    zarr.create_array(tmp_path / "a.zarr", data=np.arange(5))
    with pytest.raises(SourceError, match="2 to 4 axes"):
        ingest(tmp_path / "a.zarr")
    zarr.open_group(tmp_path / "b.zarr", mode="w")
    with pytest.raises(SourceError, match="holds no array with a y and an x axis"):
        ingest(tmp_path / "b.zarr")
