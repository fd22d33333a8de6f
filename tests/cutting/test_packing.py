"""Scale and offset, which say what stored values mean: they go along, also where images differ in them."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
import zarr

import patchmill
from cuts import array_objects

rasterio = pytest.importorskip("rasterio")


def write(path, scales, offsets, bands=("B02", "B03", "B04")):
    path.parent.mkdir(exist_ok=True)
    place = {"crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 0, 0, -10, 0)}
    with rasterio.open(path, "w", "GTiff", 30, 20, len(bands), dtype="uint16", **place) as file:
        file.write(np.random.default_rng(len(path.name)).integers(0, 999, (len(bands), 20, 30)).astype("uint16"))
        file.descriptions, file.scales, file.offsets = bands, scales, offsets
    return str(path)


NIGHTS = [
    ((0.1,) * 3, (0.0,) * 3),
    ((0.1,) * 3, (0.0,) * 3),
    ((0.2, 0.1, 0.3), (-1000.0,) * 3),
    ((1.0,) * 3, (0.0,) * 3),
]


def sources(folder, nights=NIGHTS):
    return [write(folder / f"{number}.tif", *each) for number, each in enumerate(nights)]


def meaning(path, kind):
    """Scales or offsets of each image and channel of a set, however it holds them."""
    with xr.open_zarr(path, chunks=None) as found:
        shape = (found.sizes["image"], found.sizes["channel"])
        pixels = found["patches" if "patches" in found else "canvas"]
        neutral = {"scale": 1.0, "offset": 0.0}[kind]
        if f"{kind}_image" in found:
            assert f"{kind}s" not in pixels.attrs
            assert found[f"{kind}_image"].dims == ("image", "channel")
            return found[f"{kind}_image"].values.tolist()
        return np.broadcast_to(pixels.attrs.get(f"{kind}s", neutral), shape).tolist()


@pytest.mark.parametrize("layout", ["patches", "canvas"])
@pytest.mark.parametrize("nights", [NIGHTS, NIGHTS[:2], NIGHTS[2:], NIGHTS[:0:-1]])
def test_nights_give_the_bytes_of_one_cut(tmp_path, layout, nights):
    paths = sources(tmp_path / "in", nights)
    arguments = {"patch_shape": 7, "step": 5, "layout": layout}
    for night in range(len(paths)):
        patchmill.ingest(paths[: night + 1], tmp_path / "source.zarr", mode="append")
        grown = patchmill.write_patches(tmp_path / "source.zarr", tmp_path / "grown.zarr", **arguments, mode="append")
    patchmill.write_patches(tmp_path / "source.zarr", tmp_path / "once.zarr", **arguments)
    assert array_objects(tmp_path / "grown.zarr") == array_objects(tmp_path / "once.zarr")
    assert patchmill.verify(tmp_path / "grown.zarr", deep=True).ok
    for at, kind in enumerate(("scale", "offset")):
        assert meaning(tmp_path / "grown.zarr", kind) == [list(each[at]) for each in nights]
    assert ("scale_image" in grown.catalog.coords) == (len({each[0] for each in nights}) > 1)


@pytest.mark.parametrize("nights", [NIGHTS, NIGHTS[2:3]])
def test_chosen_channels_keep_their_own(tmp_path, nights):
    source = patchmill.ingest(sources(tmp_path / "in", nights), tmp_path / "source.zarr").target
    patchmill.write_patches(source, tmp_path / "set.zarr", 7, channels=["B04", "B02"])
    for at, kind in enumerate(("scale", "offset")):
        assert meaning(tmp_path / "set.zarr", kind) == [[each[at][2], each[at][0]] for each in nights]


@pytest.mark.parametrize("differ", [False, True])
def test_variables_that_become_channels_bring_their_own(tmp_path, differ):
    scales = {"image": [0.1, 0.2 if differ else 0.1], "red": [1.0, 1.0], "green": [0.5, 0.5]}
    for band, values in scales.items():
        for number, value in enumerate(values):
            write(tmp_path / band / f"{number}.tif", (value,), (0.0,), bands=("x",))
    variables = {band: f"{tmp_path}/{band}/{{name}}" for band in ("red", "green")}
    source = patchmill.ingest(tmp_path / "image", tmp_path / "source.zarr", variables=variables).target
    patchmill.write_patches(source, tmp_path / "set.zarr", 7, channels=["green", "image", "red"])
    expected = np.transpose([scales[band] for band in ("green", "image", "red")])
    assert meaning(tmp_path / "set.zarr", "scale") == expected.tolist()
    assert ("scale_image" in zarr.open_group(tmp_path / "set.zarr")) == differ


def test_a_path_and_its_dataset_give_one_set(tmp_path):
    source = patchmill.ingest(sources(tmp_path / "in"), tmp_path / "source.zarr").target
    patchmill.write_patches(source, tmp_path / "path.zarr", 7)
    with xr.open_zarr(source, chunks=None) as data:
        patchmill.write_patches(data, tmp_path / "data.zarr", 7, variables=["image"])
    assert array_objects(tmp_path / "path.zarr") == array_objects(tmp_path / "data.zarr")


@pytest.mark.parametrize("nights", [NIGHTS, NIGHTS[:2]])
def test_once_values_are_others_it_says_nothing_more(tmp_path, nights):
    source = patchmill.ingest(sources(tmp_path / "in", nights), tmp_path / "source.zarr").target
    patchmill.write_patches(source, tmp_path / "set.zarr", 7, transform="clip(1, 9)")
    found = zarr.open_group(tmp_path / "set.zarr")
    assert not {"scale_image", "offset_image"} & set(found)
    assert not {"scales", "offsets"} & set(found["patches"].attrs)


@pytest.mark.parametrize("nights", [NIGHTS, NIGHTS[2:3]])
def test_a_source_that_is_made_of_another_keeps_them(tmp_path, nights):
    source = patchmill.ingest(sources(tmp_path / "in", nights), tmp_path / "source.zarr").target
    copy = patchmill.ingest(source, tmp_path / "copy.zarr").target
    with xr.open_zarr(source, chunks=None) as old, xr.open_zarr(copy, chunks=None) as new:
        for name in ("scale_image", "offset_image"):
            assert (name in new) == (name in old)
            if name in new:
                np.testing.assert_array_equal(new[name], old[name])
        assert new["image"].attrs.get("scales") == old["image"].attrs.get("scales")


def test_a_scale_of_one_is_none(tmp_path):
    pytest.importorskip("scipy")
    for night, scale in enumerate((1.0, 0.1)):
        packed = {"scale_factor": scale, "add_offset": 0.0}
        field = xr.DataArray(np.ones((8, 9), "int16"), dims=("y", "x"), name="field", attrs=packed)
        field.to_netcdf(tmp_path / f"{night}.nc", engine="scipy")
        patchmill.ingest(tmp_path / "*.nc", tmp_path / "source.zarr", mode="append")
        assert "scales" not in zarr.open_group(tmp_path / "source.zarr")["image"].attrs
        found = patchmill.write_patches(tmp_path / "source.zarr", tmp_path / "set.zarr", 4, mode="append").catalog
    assert found["scale_image"].values.tolist() == [1.0, 0.1]
    assert "offset_image" not in found


def test_a_cast_that_keeps_every_value_keeps_what_they_mean(tmp_path):
    source = patchmill.ingest(sources(tmp_path / "in"), tmp_path / "source.zarr").target
    wide = patchmill.write_patches(source, tmp_path / "wide.zarr", 7, dtype="float32").catalog
    narrow = patchmill.write_patches(source, tmp_path / "narrow.zarr", 7, dtype="float16").catalog
    assert wide["scale_image"].values.tolist() == [list(scales) for scales, _ in NIGHTS]
    assert "scale_image" not in narrow


def test_variables_are_refused_only_where_their_names_are_taken(tmp_path):
    pixels = (("y", "x"), np.ones((8, 9), "uint8"))
    free = xr.Dataset({"image": pixels, "offset_angle": pixels, "nodata_share": pixels})
    assert len(patchmill.write_patches(free, tmp_path / "free.zarr", 4)) == 4
    for name in ("scale_image", "offset_image", "nodata_image"):
        with pytest.raises(ValueError, match=f"variable '{name}' can't name an array of the patch set"):
            patchmill.write_patches(xr.Dataset({"image": pixels, name: pixels}), tmp_path / "taken.zarr", 4)


@pytest.mark.parametrize(
    "nights",
    [
        [{"long_name": "wind"}, {}],
        [{"long_name": "wind"}, {"long_name": "gusts"}, {"long_name": "wind"}],
        [{"_FillValue": np.float32("nan")}, {"_FillValue": np.float32(-9)}],
        [{"_FillValue": np.float32("nan")}, {}],
        [{}, {"_FillValue": np.float32("nan")}, {"_FillValue": np.float32(-9)}],
        [{"_FillValue": np.float32(-9)}, {"_FillValue": np.float32("nan")}, {}],
    ],
)
def test_names_and_nodata_that_differ_between_nights_do_not_keep_a_set_from_growing(tmp_path, nights):
    pytest.importorskip("h5netcdf")
    for night, attributes in enumerate(nights):
        values = np.where(np.eye(8, 9) > 0, np.float32(-9), np.float32(night))
        field = xr.DataArray(values, dims=("y", "x"), name="field", attrs={"_FillValue": None} | attributes)
        fill = field.attrs.pop("_FillValue")
        field.to_netcdf(tmp_path / f"{night}.nc", engine="h5netcdf", encoding={"field": {"_FillValue": fill}})
        patchmill.ingest(tmp_path / "*.nc", tmp_path / "source.zarr", mode="append")
        patchmill.write_patches(tmp_path / "source.zarr", tmp_path / "grown.zarr", 4, statistics=True, mode="append")
    patchmill.write_patches(tmp_path / "source.zarr", tmp_path / "once.zarr", 4, statistics=True)
    assert array_objects(tmp_path / "grown.zarr") == array_objects(tmp_path / "once.zarr")


def test_a_view_has_them_too(tmp_path):
    source = patchmill.ingest(sources(tmp_path / "in"), tmp_path / "source.zarr").target
    found = patchmill.view_patches(source, 7).catalog
    assert found["scale_image"].values.tolist() == [list(scales) for scales, _ in NIGHTS]
