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


def test_a_view_has_them_too(tmp_path):
    source = patchmill.ingest(sources(tmp_path / "in"), tmp_path / "source.zarr").target
    found = patchmill.view_patches(source, 7).catalog
    assert found["scale_image"].values.tolist() == [list(scales) for scales, _ in NIGHTS]
