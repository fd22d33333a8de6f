"""TIFF files written by tifffile and Pillow, compared with what tifffile reads as a whole."""

from __future__ import annotations

import os

import numpy as np
import pytest
import rasterio
import tifffile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

import patchmill
from ingesting.looking import channels_first
from patchmill.errors import SourceError
from patchmill.ingesting.kinds import open_scenes
from patchmill.ingesting.rasters import open_geotiff
from patchmill.ingesting.scenes import Reading

RGB = ("red", "green", "blue")


def scenes_of(path, **options):
    return open_scenes(str(path), "", Reading(**options))


LAYOUTS = {
    "one strip": {},
    "strips": {"rowsperstrip": 7},
    "deflated strips": {"rowsperstrip": 7, "compression": "deflate", "predictor": True},
    "tiles": {"tile": (16, 32)},
    "deflated tiles": {"tile": (16, 32), "compression": "deflate", "predictor": True},
    "lzw": {"tile": (32, 16), "compression": "lzw"},
    "zstd": {"rowsperstrip": 5, "compression": "zstd"},
    "big": {"bigtiff": True, "tile": (16, 16)},
    "swapped": {"byteorder": ">", "rowsperstrip": 9},
    "swapped one strip": {"byteorder": ">"},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["u1", "u2", "i4", "f4", "c8", "?"])
def test_each_layout_and_dtype_is_kept(rng, tmp_path, ingest, layout, dtype):
    options = dict(LAYOUTS[layout])
    if dtype in ("c8", "?"):
        options.pop("predictor", None)
    values = (rng.random((61, 83)) * 200).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", values, **options)
    report, [pixels] = ingest(tmp_path / "a.tif")
    assert report.dtype == pixels.dtype == np.dtype(dtype)
    assert (pixels == tifffile.imread(tmp_path / "a.tif")).all()
    assert (pixels == values).all()


@pytest.mark.parametrize("layout", ["one strip", "tiles", "zstd", "swapped"])
@pytest.mark.parametrize("dtype", ["i8", "u8"])
def test_whole_numbers_of_64_bits_are_kept(rng, tmp_path, ingest, layout, dtype):
    about = np.iinfo(dtype)
    values = rng.integers(about.min, about.max, (61, 83), dtype=dtype, endpoint=True)
    tifffile.imwrite(tmp_path / "a.tif", values, **LAYOUTS[layout])
    report, [pixels] = ingest(tmp_path / "a.tif")
    assert report.dtype == pixels.dtype == np.dtype(dtype)
    assert (pixels == values).all()


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("options", [{}, {"tile": (16, 16)}, {"rowsperstrip": 8, "compression": "deflate"}])
def test_samples_are_channels(rng, tmp_path, ingest, planar, options):
    values = rng.integers(0, 256, (61, 83, 3), dtype=np.uint8)
    stored = channels_first(values) if planar == "separate" else values
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", planarconfig=planar, **options)
    report, [pixels] = ingest(tmp_path / "a.tif")
    assert (pixels == channels_first(values)).all()
    assert report.labels == RGB


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("layout", ["one strip", "strips", "deflated tiles"])
@settings(max_examples=10)
@given(data=st.data())
def test_any_window_is_that_of_the_whole(tmp_path_factory, orientation, layout, data):
    path = tmp_path_factory.mktemp("windows") / "a.tif"
    values = np.random.default_rng(1).integers(0, 60000, (37, 45, 3), dtype=np.uint16)
    tifffile.imwrite(path, values, photometric="rgb", extratags=[(274, "H", 1, orientation, True)], **LAYOUTS[layout])
    [scene] = scenes_of(path)
    whole = scene.read_all()
    window = tuple(
        slice(*sorted(data.draw(st.lists(st.integers(0, n), min_size=2, max_size=2, unique=True)))) for n in scene.shape
    )
    assert (scene.read(*window) == whole[window]).all()
    exif = Image.Exif()
    exif[274] = orientation
    first = Image.fromarray((values[..., 0] >> 8).astype(np.uint8))
    first.getexif()[274] = orientation
    assert ((whole[0] >> 8) == np.asarray(ImageOps.exif_transpose(first))).all()


# -- what a file holds ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"compression": "deflate"}, {"imagej": True}])
def test_pages_are_images(rng, tmp_path, ingest, options):
    values = rng.integers(0, 60000, (4, 30, 40), dtype=np.uint16)
    metadata = {"metadata": {"axes": "TYX"}} if options.get("imagej") else {"photometric": "minisblack"}
    tifffile.imwrite(tmp_path / "s.tif", values, **metadata, **options)
    report, images = ingest(tmp_path / "s.tif")
    assert (np.array(images) == values).all()
    letter = "t" if options.get("imagej") else "page"
    assert report.names == tuple(f"s[{letter}={number}]" for number in range(4))
    assert report.channels is None


def test_pages_written_by_pillow_come_in_their_order(rng, tmp_path, ingest):
    sizes = [(20, 30), (10, 10), (20, 30), (25, 5)]
    pages = [rng.integers(0, 256, size, dtype=np.uint8) for size in sizes]
    first, *rest = map(Image.fromarray, pages)
    first.save(tmp_path / "s.tif", save_all=True, append_images=rest)
    report, images = ingest(tmp_path / "s.tif")
    assert report.names == tuple(f"s[page={number}]" for number in range(4))
    assert all((image == page).all() for image, page in zip(images, pages, strict=True))


def test_ome_axes(rng, tmp_path, ingest):
    values = rng.integers(0, 60000, (3, 2, 4, 30, 40), dtype=np.uint16)
    metadata = {"axes": "TCZYX", "Channel": {"Name": ["DAPI", "GFP"]}}
    tifffile.imwrite(tmp_path / "a.ome.tif", values, metadata=metadata, compression="deflate")
    report, images = ingest(tmp_path / "a.ome.tif")
    assert report.labels == ("DAPI", "GFP")
    assert report.names[:5] == tuple(f"a.ome[t={t},z={z}]" for t, z in [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0)])
    assert (np.array(images) == values.transpose(0, 2, 1, 3, 4).reshape(12, 2, 30, 40)).all()


def test_dims_say_which_axis_has_the_channels(rng, tmp_path, ingest):
    values = rng.integers(0, 60000, (3, 5, 30, 40), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", values, imagej=True, metadata={"axes": "TZYX"})
    _, images = ingest(tmp_path / "a.tif", dims={"channel": "Z"})
    assert (np.array(images) == values).all()
    _, images = ingest(tmp_path / "a.tif", dims=("channel", "image", "y", "x"))
    assert (np.array(images) == values.swapaxes(0, 1)).all()
    with pytest.raises(SourceError, match="axes T, Z, Y, X, and dims names image, y, x"):
        ingest(tmp_path / "a.tif", dims=("image", "y", "x"))


@pytest.mark.parametrize("dims", [{"channel": "T"}, {"y": "X"}, ("x", "y", "image"), ("image", "channel", "y", "x")])
def test_dims_that_a_file_does_not_have_are_refused(rng, tmp_path, ingest, dims):
    values = rng.integers(0, 60000, (3, 8, 9), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", values, imagej=True, metadata={"axes": "ZYX"})
    with pytest.raises(SourceError, match="has the axes Z, Y, X, and dims names"):
        ingest(tmp_path / "a.tif", dims=dims)
    _, [pixels] = ingest(tmp_path / "a.tif", dims={"channel": "z", "y": "Y"})
    assert (pixels == values).all()


def test_two_axes_of_channels_need_a_word(rng, tmp_path, ingest):
    values = rng.integers(0, 256, (2, 30, 40, 3), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.ome.tif", values, metadata={"axes": "CYXS"}, photometric="rgb")
    with pytest.raises(SourceError, match="two axes of channels, C and S"):
        ingest(tmp_path / "a.ome.tif")
    _, images = ingest(tmp_path / "a.ome.tif", dims={"image": "C"})
    assert (np.array(images) == values.transpose(0, 3, 1, 2)).all()


def test_unnamed_extra_samples_have_no_names(rng, tmp_path, ingest):
    values = rng.integers(0, 60000, (30, 40, 6), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack", planarconfig="contig")
    report, [pixels] = ingest(tmp_path / "a.tif")
    assert (pixels == channels_first(values)).all()
    assert (report.channels, report.labels) == (6, None)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("photometric", ["minisblack", "rgb"])
@pytest.mark.parametrize(
    "names", [("B02 & <blue>", None, "01"), (None, None, None), ("é, β",), (" B 08 ", "x", "", "y"), (None,)]
)
@pytest.mark.parametrize("packed", [False, True])
def test_what_gdal_says_of_bands_is_kept_without_a_place_on_earth(tmp_path, names, photometric, packed):
    kind = {"photometric": photometric} if len(names) > 2 else {}
    path = tmp_path / "a.tif"
    with rasterio.open(path, "w", driver="GTiff", height=4, width=5, count=len(names), dtype="uint8", **kind) as file:
        file.write(np.zeros((len(names), 4, 5), "uint8"))
        file.descriptions = names
        if packed:
            file.scales, file.offsets = (0.25,) * len(names), range(len(names))
    [mine], [gdals] = scenes_of(path), open_geotiff(str(path), Reading())
    assert (mine.labels, mine.title) == (gdals.labels, gdals.title)
    assert ((mine.scales or None), (mine.offsets or None)) == (gdals.scales, gdals.offsets)


def test_metadata_that_is_no_xml_names_nothing(tmp_path):
    values, tag = np.zeros((4, 5, 2), "u1"), (42112, "s", 0, "<GDALMeta", True)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack", planarconfig="contig", extratags=[tag])
    assert scenes_of(tmp_path / "a.tif")[0].labels is None


def test_alpha_is_a_channel(rng, tmp_path, ingest):
    values = rng.integers(0, 256, (30, 40, 4), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "a.tif")
    report, [pixels] = ingest(tmp_path / "a.tif")
    assert (pixels == channels_first(values)).all()
    assert report.labels == (*RGB, "alpha")


def test_palettes_become_colors(rng, tmp_path, ingest):
    image = Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)).quantize(64)
    image.save(tmp_path / "a.tif")
    _, [pixels] = ingest(tmp_path / "a.tif")
    assert (pixels == channels_first(np.asarray(image.convert("RGB")))).all()


def write_with_nodata(path, values, text, **options):
    tifffile.imwrite(path, values, extratags=[(42113, "s", 0, text, True)], **options)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(
    ("dtype", "text", "nodata"),
    [
        ("float32", "-3.4028234663852886e+38", -3.4028234663852886e38), ("int16", "-9999.0", -9999),
        ("uint16", " 65535.0", 65535), ("uint8", "-9999", None), ("uint8", "nan", None), ("float64", "nan", "NaN"),
        ("int64", "-9223372036854775807", -9223372036854775807), ("uint8", "0", 0), ("float32", "-9999", -9999),
        ("uint8", "none", None),
    ],
)  # fmt: skip
def test_nodata_is_what_gdal_noted(tmp_path, capfd, dtype, text, nodata):
    values = np.arange(64, dtype=dtype).reshape(8, 8)
    write_with_nodata(tmp_path / "a.tif", values, text)
    patchmill.ingest(tmp_path / "a.tif", tmp_path / "t.zarr")
    assert zarr.open_group(tmp_path / "t.zarr")["image"].attrs.get("nodata") == nodata
    assert capfd.readouterr().err == ""
    if nodata not in (None, "NaN"):
        with rasterio.open(tmp_path / "a.tif") as file:
            assert file.nodata == pytest.approx(nodata)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_tile_that_is_not_stored_is_nodata(rng, tmp_path, ingest):
    values = rng.integers(1, 256, (32, 48), dtype=np.uint8)
    write_with_nodata(tmp_path / "a.tif", iter_tiles(values), "7.0", shape=(32, 48), dtype=np.uint8, tile=(16, 16))
    _, [pixels] = ingest(tmp_path / "a.tif")
    with rasterio.open(tmp_path / "a.tif") as file:
        assert (pixels == file.read(1)).all()


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("place", [{}, {"crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 0, 0, -10, 0)}])
def test_a_mask_band_is_no_image_and_is_named(rng, tmp_path, ingest, place):
    values = rng.integers(0, 256, (3, 50, 60), dtype=np.uint8)
    shape = {"count": 3, "height": 50, "width": 60, "dtype": "uint8", "photometric": "rgb"}
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(tmp_path / "a.tif", "w", driver="GTiff", **shape, **place) as file,
    ):
        file.write(values)
        file.write_mask(np.arange(50)[:, None] > np.zeros(60))
    report, [pixels] = ingest(tmp_path / "a.tif")
    assert (pixels == values).all()
    assert report.notes == ("1 image has a mask band, which is not read",)


@pytest.mark.parametrize("nbytes", [8, 500, 700])
def test_a_file_that_is_cut_off_says_so(tmp_path, capfd, nbytes):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((500, 500), np.uint16), compression="deflate", metadata=None)
    os.truncate(tmp_path / "a.tif", nbytes)
    with pytest.raises(SourceError, match=r"ends before its pixels do \(truncated\)"):
        patchmill.ingest(tmp_path / "a.tif", tmp_path / "t.zarr")
    assert capfd.readouterr().err == ""


def test_colors_have_no_nodata_of_their_index(tmp_path):
    colors = np.zeros((3, 256), np.uint16)
    colors[0, 3] = 65535
    values = np.full((8, 8), 3, np.uint8)
    write_with_nodata(tmp_path / "a.tif", values, "0", photometric="palette", colormap=colors)
    patchmill.ingest(tmp_path / "a.tif", tmp_path / "t.zarr", variables={"mask": f"{tmp_path}/{{name}}"})
    store = zarr.open_group(tmp_path / "t.zarr")
    assert store["image"][0, :, 0, 0].tolist() == [255, 0, 0]
    assert "nodata" not in store["image"].attrs
    assert store["mask"].attrs["nodata"] == 0


@pytest.mark.parametrize("compression", [None, "group4", "tiff_deflate"])
def test_one_bit_is_boolean(rng, tmp_path, ingest, compression):
    values = rng.random((30, 41)) > 0.5
    Image.fromarray(values).save(tmp_path / "a.tif", compression=compression)
    report, [pixels] = ingest(tmp_path / "a.tif")
    assert report.dtype == bool
    assert (pixels == values).all()


def test_jpeg_in_tiff_is_what_tifffile_decodes(rng, tmp_path, ingest):
    smooth = np.add.outer(np.arange(70), np.arange(90))[..., None] + np.array([0, 40, 80])
    Image.fromarray(smooth.astype(np.uint8)).save(tmp_path / "a.tif", compression="jpeg")
    report, [pixels] = ingest(tmp_path / "a.tif")
    assert (pixels == channels_first(tifffile.imread(tmp_path / "a.tif"))).all()
    assert report.labels == RGB


def test_a_tile_that_is_not_stored_is_fill(rng, tmp_path, ingest):
    values = rng.integers(1, 256, (32, 48), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", iter_tiles(values), shape=(32, 48), dtype=np.uint8, tile=(16, 16))
    _, [pixels] = ingest(tmp_path / "a.tif")
    expected = values.copy()
    expected[16:, 16:32] = 0
    assert (pixels == expected).all()


def iter_tiles(values):
    for y in range(0, 32, 16):
        for x in range(0, 48, 16):
            yield None if (y, x) == (16, 16) else values[y : y + 16, x : x + 16]


# -- pyramids -------------------------------------------------------------------------------------------------------


def write_pyramid(path, levels, *, kind):
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        common = {"tile": (32, 32), "photometric": "rgb", "metadata": {"axes": "YXS"} if kind == "OME" else None}
        subifds = {} if kind == "pages" else {"subifds": len(levels) - 1}
        writer.write(levels[0], **common, **subifds)
        for level in levels[1:]:
            writer.write(level, subfiletype=1, **common)


@pytest.mark.parametrize("kind", ["SubIFD", "OME", "pages"])
def test_a_pyramid_is_one_image_at_the_level_named(rng, tmp_path, ingest, kind):
    full = rng.integers(0, 256, (200, 264, 3), dtype=np.uint8)
    levels = [full, full[::2, ::2], full[::4, ::4]]
    path = tmp_path / ("a.ome.tif" if kind == "OME" else "a.tif")
    write_pyramid(path, levels, kind=kind)
    for level, expected in enumerate(levels):
        _, [pixels] = ingest(path, level=level)
        assert (pixels == channels_first(expected)).all()
    with pytest.raises(SourceError, match=r"has levels 0 to 2, and level=3 was asked for"):
        ingest(path, level=3)


def test_a_file_without_levels_has_none(rng, tmp_path, ingest):
    tifffile.imwrite(tmp_path / "a.tif", np.ones((9, 9), np.uint8))
    Image.new("L", (9, 9)).save(tmp_path / "a.png")
    for name in ("a.tif", "a.png"):
        with pytest.raises(SourceError, match="has only level 0, and level=1 was asked for"):
            ingest(tmp_path / name, level=1)


# -- pieces ---------------------------------------------------------------------------------------------------------


def test_only_the_tiles_of_a_window_are_decoded(rng, tmp_path, monkeypatch):
    values = rng.integers(0, 60000, (128, 128), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", values, tile=(32, 32), compression="deflate")
    [scene] = scenes_of(tmp_path / "a.tif")
    assert scene.in_pieces
    assert scene.block == (32, 32)
    decoded = []
    from patchmill.ingesting.planes import Planes

    block = Planes._block
    monkeypatch.setattr(Planes, "_block", lambda *args: decoded.append(args[-2:]) or block(*args))
    window = scene.read(slice(0, 1), slice(40, 64), slice(60, 70))
    assert (window[0] == values[40:64, 60:70]).all()
    assert decoded == [(1, 1), (1, 2)]


def test_a_file_is_not_held_open(rng, tmp_path):
    import psutil

    tifffile.imwrite(tmp_path / "a.tif", rng.integers(0, 9, (64, 64), dtype=np.uint8), compression="deflate")
    [scene] = scenes_of(tmp_path / "a.tif")
    scene.read_all()
    assert str(tmp_path / "a.tif") not in [file.path for file in psutil.Process().open_files()]


# -- files that belong together, and what scanners add --------------------------------------------------------------


def ome_of_two_files(names):
    """OME's metadata for one image of two planes, each in a file of its own."""
    planes = "".join(
        f'<TiffData FirstZ="{z}" FirstT="0" FirstC="0" IFD="0" PlaneCount="1">'
        f'<UUID FileName="{name}">urn:uuid:0000000{z}-0000-0000-0000-000000000000</UUID></TiffData>'
        for z, name in enumerate(names)
    )
    return (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="{uuid}">'
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="40" SizeY="30" '
        f'SizeZ="2" SizeC="1" SizeT="1"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>{planes}</Pixels></Image></OME>'
    )


def test_of_an_image_in_several_files_each_file_gives_its_own_part(rng, tmp_path, ingest):
    values = rng.integers(0, 60000, (2, 30, 40), dtype=np.uint16)
    names = ("z0.ome.tif", "z1.ome.tif")
    (tmp_path / "in").mkdir()
    for z, name in enumerate(names):
        text = ome_of_two_files(names).replace("{uuid}", f"urn:uuid:0000000{z}-0000-0000-0000-000000000000")
        tifffile.imwrite(tmp_path / "in" / name, values[z], description=text, metadata=None)
    with tifffile.TiffFile(tmp_path / "in" / names[0]) as file:
        assert file.series[0].is_multifile
    report, images = ingest(tmp_path / "in")
    assert report.names == ("z0.ome", "z1.ome")
    assert (np.array(images) == values).all()


def test_of_a_slide_only_the_slide_is_taken(rng, tmp_path, ingest):
    slide = rng.integers(0, 256, (256, 320, 3), dtype=np.uint8)
    options = {"photometric": "rgb", "metadata": None}
    with tifffile.TiffWriter(tmp_path / "a.svs") as writer:
        writer.write(slide, tile=(64, 64), description="Aperio Image Library v1\n320x256 |AppMag = 20", **options)
        writer.write(slide[::8, ::8], description="Aperio thumbnail", **options)
        writer.write(slide[::4, ::4], tile=(64, 64), description="Aperio level", **options)
        writer.write(slide[:50, :60], description="Aperio\nlabel 60x50", subfiletype=1, **options)
        writer.write(slide[:40, :90], description="Aperio\nmacro 90x40", subfiletype=9, **options)
    report, [pixels] = ingest(tmp_path / "a.svs")
    assert (pixels == channels_first(slide)).all()
    assert report.names == ("a",)
    _, [pixels] = ingest(tmp_path / "a.svs", level=1)
    assert (pixels == channels_first(slide[::4, ::4])).all()
