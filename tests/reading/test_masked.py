"""Patches without what is not measured: the same that the catalog's statistics leave out."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import patchmill

DIMS = ("image", "channel", "y", "x")


def scenes(dtype: str, **attributes) -> xr.DataArray:
    """Two images of 20 x 23 pixels, the first 6 rows of the first one nodata."""
    values = np.random.default_rng(0).integers(0, 4000, (2, 2, 20, 23)).astype(dtype)
    values[0, :, :6] = -32768
    return xr.DataArray(values, dims=DIMS, attrs=attributes, name="scene")


@pytest.mark.parametrize("way", ["patches", "canvas", "view"])
@pytest.mark.parametrize("edge", ["drop", "pad", "shift"])
@pytest.mark.parametrize("key", ["nodata", "_FillValue"])
def test_what_is_masked_is_what_the_catalog_leaves_out(tmp_path, way, edge, key):
    source = scenes("int16", **{key: -32768})
    arguments = {"edge": edge, "dilation": 2, "pad_mode": "reflect"}
    stored = patchmill.write_patches(source, tmp_path / "a.zarr", 4, 5, **arguments, statistics=True)
    if way == "canvas":
        ps = patchmill.write_patches(source, tmp_path / "b.zarr", 4, 5, **arguments, layout="canvas")
    else:
        ps = stored if way == "patches" else patchmill.view_patches(source, 4, 5, **arguments)
    found = patchmill.open_patches(ps.url) if way == "canvas" else ps
    assert found.variables[0].nodata == -32768
    batch = found.read(np.arange(len(found)), masked=True)
    catalog = stored.catalog.transpose("image", "grid_y", "grid_x", "channel").compute()
    mean, std = (catalog[f"stat_{field}"].values.reshape(-1, 2) for field in ("mean", "std"))
    np.testing.assert_allclose(batch.mean(axis=(2, 3)).filled(np.nan), mean, rtol=1e-5)
    np.testing.assert_allclose(batch.std(axis=(2, 3)).filled(np.nan), std, rtol=1e-4)
    np.testing.assert_allclose(batch.count(axis=(1, 2, 3)) / 32, catalog["valid_fraction"].values.ravel(), rtol=1e-6)
    np.testing.assert_array_equal(batch.data, found.read(np.arange(len(found))))


def test_nodata_after_a_transform_is_what_it_has_become(tmp_path):
    source = scenes("int16", nodata=-32768)
    cast = patchmill.write_patches(source, tmp_path / "a.zarr", 4, dtype="float64")
    assert cast.variables[0].nodata == -32768
    half = patchmill.write_patches(source, tmp_path / "b.zarr", 4, transform="scale(0.5)")
    assert half.variables[0].nodata == -16384
    gone = patchmill.write_patches(source, tmp_path / "c.zarr", 4, transform="clip(0, 100)")
    assert gone.variables[0].nodata is None
    assert not np.ma.getmaskarray(gone.read([0], masked=True)).any()


@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize(
    ("dtype", "nodata", "other"),
    [
        ("float32", 0.1, 1),
        ("float32", -3.4e38, 1),
        ("float16", -9999, 1),
        ("complex64", 0.1, 1),
        ("uint8", 255.0, 1),
        ("uint8", 0.5, 0),
        ("uint8", -1, 255),
        ("int64", 2**53, 2**53 + 1),
    ],
)
def test_nodata_is_rounded_as_the_pixels_are(tmp_path, each, dtype, nodata, other):
    values = np.full((2, 8, 8), other, dtype)
    if nodata not in (0.5, -1):
        values[:, :3] = nodata
    source = xr.Dataset({"v": (("image", "y", "x"), values, {} if each else {"nodata": nodata})})
    if each:
        source["nodata_v"] = ("image", [float(nodata), np.nan])
    ps = patchmill.write_patches(source, tmp_path / "a.zarr", 8)
    share = ps.read([0, 1], masked=True).count(axis=(1, 2)) / 64
    assert share.tolist() == ps.catalog["valid_fraction"].values.ravel().tolist()
    assert share[0] == (1 if nodata in (0.5, -1) else 5 / 8)


def test_nan_is_masked_and_a_mask_of_its_own_kind_is_left_alone(tmp_path):
    pixels = np.ones((1, 1, 4, 8), "float32")
    pixels[..., :4] = np.nan
    labels = np.arange(32, dtype="uint8").reshape(1, 4, 8)
    source = xr.Dataset({"a": (DIMS, pixels), "b": (("image", "y", "x"), labels)})
    batch = patchmill.view_patches(source, 4).read([0, 1], masked=True)
    assert batch["a"].mask.reshape(2, -1).all(axis=1).tolist() == [True, False]
    assert not np.ma.getmaskarray(batch["b"]).any()
