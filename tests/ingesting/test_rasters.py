"""GeoTIFF and JPEG 2000 written by rasterio, compared with what rasterio reads."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import rasterio
from rasterio.enums import Resampling

from ingesting.looking import dataset_of
from patchmill.errors import SourceError

UTM, NORTH_UP = "EPSG:32633", rasterio.Affine(10, 0, 500000, 0, -20, 5e6)


def write(path, values, **options):
    profile = {"driver": "GTiff", "crs": UTM, "transform": NORTH_UP, "dtype": values.dtype, **options}
    descriptions = profile.pop("descriptions", None)
    count, height, width = values.shape
    with rasterio.open(path, "w", height=height, width=width, count=count, **profile) as dataset:
        dataset.write(values)
        if descriptions:
            dataset.descriptions = descriptions


LAYOUTS = {
    "strips": {},
    "tiles": {"tiled": True, "blockxsize": 32, "blockysize": 16, "compress": "deflate"},
    "bands": {"tiled": True, "blockxsize": 32, "blockysize": 32, "interleave": "band", "compress": "lzw"},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "f4", "f8", "c8"])
def test_each_layout_and_dtype_is_kept(rng, tmp_path, ingest, layout, dtype):
    values = (rng.random((4, 61, 83)) * 200).astype(dtype)
    write(tmp_path / "a.tif", values, **LAYOUTS[layout])
    report, [pixels] = ingest(tmp_path / "a.tif")
    with rasterio.open(tmp_path / "a.tif") as dataset:
        assert (pixels == dataset.read()).all()
    assert (report.dtype, report.channels) == (np.dtype(dtype), 4)


def test_what_the_file_knows_is_kept(rng, tmp_path, ingest):
    values = rng.integers(0, 60000, (3, 20, 30), dtype=np.uint16)
    write(tmp_path / "a.tif", values, nodata=7, descriptions=("B04", "B03", "B02"))
    with rasterio.open(tmp_path / "a.tif", "r+") as dataset:
        dataset.scales, dataset.offsets = (1e-4, 2e-4, 3e-4), (0, -0.5, 1)
    report, [pixels] = ingest(tmp_path / "a.tif")
    assert (pixels == values).all()
    store = dataset_of(report.target)
    assert store.image.dtype == np.uint16
    assert store.channel.values.tolist() == ["B04", "B03", "B02"]
    assert store.image.attrs["nodata"] == 7
    assert store.image.attrs["scales"] == [1e-4, 2e-4, 3e-4]
    assert store.image.attrs["offsets"] == [0, -0.5, 1]
    assert store.image.attrs["grid_mapping"] == "spatial_ref"
    assert rasterio.CRS.from_wkt(store.spatial_ref.attrs["crs_wkt"]) == rasterio.CRS.from_string(UTM)
    assert store["transform"].values.tolist() == [list(NORTH_UP)[:6]]


def test_nodata_that_is_not_a_number(rng, tmp_path, ingest):
    values = rng.random((1, 20, 30)).astype("f4")
    values[0, 3] = np.nan
    write(tmp_path / "a.tif", values, nodata=np.nan)
    report, [pixels] = ingest(tmp_path / "a.tif")
    assert np.array_equal(pixels, values[0], equal_nan=True)
    assert dataset_of(report.target).image.attrs["nodata"] == "NaN"


def test_one_band_has_no_channel_axis_and_its_name_is_the_title(rng, tmp_path, ingest):
    write(tmp_path / "a.tif", rng.random((1, 20, 30)), descriptions=("height above sea",))
    report, [pixels] = ingest(tmp_path / "a.tif")
    assert pixels.ndim == 2
    assert report.channels is None
    assert dataset_of(report.target).image.attrs["long_name"] == "height above sea"


def test_colors_name_the_bands(rng, tmp_path, ingest):
    write(tmp_path / "a.tif", rng.integers(0, 256, (4, 20, 30), dtype=np.uint8), photometric="RGB", alpha="YES")
    report, _ = ingest(tmp_path / "a.tif")
    assert report.labels == ("red", "green", "blue", "alpha")


def test_a_palette_of_classes_stays_numbers(rng, tmp_path, ingest):
    values = rng.integers(0, 3, (1, 20, 30), dtype=np.uint8)
    with rasterio.open(
        tmp_path / "a.tif", "w", "GTiff", 30, 20, 1, UTM, NORTH_UP, np.uint8, photometric="palette"
    ) as dataset:
        dataset.write(values)
        dataset.write_colormap(1, {0: (0, 0, 0), 1: (255, 0, 0), 2: (0, 255, 0)})
    _, [pixels] = ingest(tmp_path / "a.tif")
    assert (pixels == values[0]).all()


def test_levels_are_overviews(rng, tmp_path, ingest):
    values = rng.integers(0, 60000, (2, 96, 128), dtype=np.uint16)
    write(tmp_path / "a.tif", values, tiled=True, blockxsize=32, blockysize=32, descriptions=("a", "b"), nodata=0)
    with rasterio.open(tmp_path / "a.tif", "r+") as dataset:
        dataset.build_overviews([2, 4], Resampling.nearest)
    report, [pixels] = ingest(tmp_path / "a.tif", level=2)
    with rasterio.open(tmp_path / "a.tif", overview_level=1) as dataset:
        assert (pixels == dataset.read()).all()
    store = dataset_of(report.target)
    assert store["transform"].values[0].tolist() == [40, 0, 500000, 0, -80, 5e6]
    assert report.labels == ("a", "b")
    assert store.image.attrs["nodata"] == 0
    with pytest.raises(SourceError, match="has levels 0 to 2"):
        ingest(tmp_path / "a.tif", level=3)


def test_complex_integers_become_complex(tmp_path, ingest):
    values = (np.arange(600).reshape(1, 20, 30) * (1 + 2j)).astype("c8")
    write(tmp_path / "a.tif", values, dtype="complex_int16")
    report, [pixels] = ingest(tmp_path / "a.tif")
    assert report.dtype == np.complex64
    assert (pixels == values[0]).all()


def test_jpeg_2000(rng, tmp_path, ingest):
    values = rng.integers(0, 60000, (3, 64, 80), dtype=np.uint16)
    write(tmp_path / "a.jp2", values, driver="JP2OpenJPEG", quality=100, reversible=True)
    report, [pixels] = ingest(tmp_path / "a.jp2")
    assert (pixels == values).all()
    assert dataset_of(report.target)["transform"].values[0].tolist() == list(NORTH_UP)[:6]


def test_pages_of_a_geotiff(rng, tmp_path, ingest):
    pages = rng.integers(0, 256, (3, 1, 20, 30), dtype=np.uint8)
    for number, page in enumerate(pages):
        write(tmp_path / "a.tif", page, **({"APPEND_SUBDATASET": "YES"} if number else {}))
    report, images = ingest(tmp_path / "a.tif")
    assert report.names == ("a[page=0]", "a[page=1]", "a[page=2]")
    assert (np.array(images) == pages[:, 0]).all()


# -- what differs between files -------------------------------------------------------------------------------------


def test_places_of_images(rng, tmp_path, ingest):
    values = rng.integers(0, 9, (1, 20, 30), dtype=np.uint8)
    write(tmp_path / "1.tif", values)
    write(tmp_path / "2.tif", values, transform=rasterio.Affine(1, 0, 2, 0, -1, 3))
    store = dataset_of(ingest(tmp_path)[0].target)
    assert "spatial_ref" in store.coords
    assert store["transform"].values.tolist() == [list(NORTH_UP)[:6], [1, 0, 2, 0, -1, 3]]

    write(tmp_path / "3.tif", values, crs="EPSG:4326")
    report, _ = ingest(tmp_path)
    store = dataset_of(report.target)
    assert "spatial_ref" not in store.coords
    assert [rasterio.CRS.from_wkt(str(text)).to_epsg() for text in store["crs"].values] == [32633, 32633, 4326]
    assert "grid_mapping" not in store.image.attrs
    assert any("crs(image)" in note for note in report.notes)


def test_one_image_without_a_place(rng, tmp_path, ingest):
    import tifffile

    values = rng.integers(0, 9, (1, 20, 30), dtype=np.uint8)
    write(tmp_path / "1.tif", values)
    tifffile.imwrite(tmp_path / "2.tif", values[0])
    store = dataset_of(ingest(tmp_path)[0].target)
    assert str(store["crs"].values[1]) == ""
    assert np.isnan(store["transform"].values).tolist() == [[False] * 6, [True] * 6]


def test_nodata_scales_and_offsets_that_differ(rng, tmp_path, ingest):
    values = rng.integers(0, 9, (2, 20, 30), dtype=np.int16)
    for name, nodata, scale in (("1", -1, 0.5), ("2", None, None), ("3", -2, 2)):
        write(tmp_path / f"{name}.tif", values, nodata=nodata)
        if scale:
            with rasterio.open(tmp_path / f"{name}.tif", "r+") as dataset:
                dataset.scales = (scale, scale)
    report, _ = ingest(tmp_path)
    store = dataset_of(report.target)
    assert np.array_equal(store.nodata_image.values, [-1, np.nan, -2], equal_nan=True)
    assert store.scale_image.values.tolist() == [[0.5, 0.5], [1, 1], [2, 2]]
    assert not {"nodata", "scales", "offsets"} & set(store.image.attrs)
    assert len(report.notes) == 2
    assert report.notes[0] == "nodata differs between images of 'image': each image's own counts, kept in nodata_image"
    assert all(note in repr(report) for note in report.notes)


@pytest.mark.parametrize("other", ["<NoDataValue>-9999</NoDataValue>", ""])
def test_bands_whose_nodata_differ_are_refused(tmp_path, ingest, other):
    write(tmp_path / "a.tif", np.zeros((2, 20, 30), np.int16))
    bands = f'<PAMRasterBand band="1"><NoDataValue>0</NoDataValue></PAMRasterBand><PAMRasterBand band="2">{other}'
    (tmp_path / "a.tif.aux.xml").write_text(f"<PAMDataset>{bands}</PAMRasterBand></PAMDataset>")
    with pytest.raises(SourceError, match=r"bands of several nodata values, 0\.0, (-9999\.0|None): give them one"):
        ingest(tmp_path / "a.tif")


def test_a_file_with_keys_and_no_transform_warns_nobody(rng, tmp_path, ingest):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write(tmp_path / "a.tif", rng.integers(0, 9, (1, 20, 30), dtype=np.uint8), transform=rasterio.Affine.identity())
    report, _ = ingest(tmp_path / "a.tif")
    assert "spatial_ref" in dataset_of(report.target).coords
