"""Pictures written by Pillow and imagecodecs, compared with what Pillow and imagecodecs read."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps

from ingesting.looking import Array, channels_first, images_of
from patchmill.errors import SourceError
from patchmill.ingesting import pictures
from patchmill.ingesting.kinds import open_scenes
from patchmill.ingesting.scenes import Reading

RGB = ("red", "green", "blue")


def picture(rng, mode: str, size=(37, 53)) -> Image.Image:
    colors = {"L": 0, "RGB": 3, "RGBA": 4, "LA": 2, "CMYK": 4}[mode]
    smooth = np.add.outer(np.arange(size[0]), np.arange(size[1])).astype(np.uint8)
    pixels = rng.integers(0, 256, (*size, colors) if colors else size, dtype=np.uint8) // 8
    pixels += smooth[..., None] if colors else smooth
    return Image.frombytes(mode, size[::-1], pixels.tobytes())


def by_pillow(path: Path, mode: str | None = None) -> Array:
    with Image.open(path) as image:
        return np.asarray(image.convert(mode) if mode else image)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA"])
def test_png_is_kept_pixel_for_pixel(rng, tmp_path, ingest, mode):
    image = picture(rng, mode)
    image.save(tmp_path / "a.png")
    report, [pixels] = ingest(tmp_path / "a.png")
    expected = np.asarray(image)
    assert (pixels == (expected if mode == "L" else channels_first(expected))).all()
    labels = {"L": None, "LA": ("gray", "alpha"), "RGB": RGB, "RGBA": (*RGB, "alpha")}
    assert report.labels == labels[mode]
    assert report.channels == (None if mode == "L" else len(labels[mode]))


@pytest.mark.parametrize("ending", ["jpg", "webp", "bmp", "ppm"])
def test_other_pictures_are_what_pillow_decodes(rng, tmp_path, ingest, ending):
    picture(rng, "RGB").save(tmp_path / f"a.{ending}")
    _, [pixels] = ingest(tmp_path / f"a.{ending}")
    assert (pixels == channels_first(by_pillow(tmp_path / f"a.{ending}"))).all()


def test_cmyk_keeps_its_four_channels(rng, tmp_path, ingest):
    picture(rng, "CMYK").save(tmp_path / "a.jpg")
    report, [pixels] = ingest(tmp_path / "a.jpg")
    assert (pixels == channels_first(by_pillow(tmp_path / "a.jpg"))).all()
    assert report.labels == ("cyan", "magenta", "yellow", "black")


@pytest.mark.parametrize("shape", [(37, 53), (37, 53, 2), (37, 53, 3), (37, 53, 4)])
def test_sixteen_bits_stay_sixteen_bits(rng, tmp_path, ingest, shape):
    values = rng.integers(0, 65536, shape, dtype=np.uint16)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(values))
    report, [pixels] = ingest(tmp_path / "a.png")
    assert pixels.dtype == report.dtype == np.uint16
    assert (pixels == (values if values.ndim == 2 else channels_first(values))).all()


def test_a_portable_gray_map_of_sixteen_bits_is_not_widened(rng, tmp_path, ingest):
    values = rng.integers(0, 65536, (9, 11), dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "a.pgm")
    _, [pixels] = ingest(tmp_path / "a.pgm")
    assert pixels.dtype == np.uint16
    assert (pixels == values).all()


def test_a_pixmap_that_pillow_would_reduce_is_refused(rng, tmp_path, ingest):
    deep = rng.integers(0, 65536, (3, 4, 3)).astype(">u2").tobytes()
    (tmp_path / "a.ppm").write_bytes(b"P6\n4 3\n65535\n" + deep)
    with pytest.raises(SourceError, match=r"a\.ppm is a PPM file with more than 8 bits a color \(.* 65535\)"):
        ingest(tmp_path / "a.ppm")


@pytest.mark.parametrize("greatest", [1, 3, 15, 127, 200, 254, 255, 256, 1023, 4095, 65534, 65535])
@pytest.mark.parametrize("colors", [1, 3])
@pytest.mark.parametrize("text", [False, True])
def test_values_of_portable_maps_are_those_of_the_file(rng, tmp_path, ingest, greatest, colors, text):
    if colors == 3 and greatest > 255:
        return  # refused, see above
    values = rng.integers(0, greatest, (9, 11, colors), endpoint=True)
    values[0, 0], values[0, 1] = 0, greatest
    (tmp_path / "a.pnm").write_bytes(portable_map(values, greatest, text=text))
    _, [pixels] = ingest(tmp_path / "a.pnm")
    assert pixels.dtype == (np.uint8 if greatest < 256 else np.uint16)
    assert (pixels == (values[..., 0] if colors == 1 else channels_first(values))).all()


def portable_map(values: Array, greatest: int, *, text: bool) -> bytes:
    """A PGM or PPM of values of shape (y, x, channel)."""
    height, width, colors = values.shape
    kind = {(1, True): 2, (3, True): 3, (1, False): 5, (3, False): 6}[colors, text]
    head = f"P{kind}\n# made by hand\n{width} {height}\n{greatest}\n".encode()
    if text:
        return head + " ".join(map(str, values.ravel())).encode() + b"\n"
    return head + values.astype("u1" if greatest < 256 else ">u2").tobytes()


def test_values_above_those_that_a_portable_map_names_stay(tmp_path, ingest):
    values = np.arange(12).reshape(3, 4, 1)
    (tmp_path / "a.pgm").write_bytes(portable_map(values, 1, text=False))
    _, [pixels] = ingest(tmp_path / "a.pgm")
    assert (pixels == values[..., 0]).all()


def test_a_portable_map_that_ends_too_early_is_named(tmp_path, ingest):
    for greatest in (15, 4095):
        whole = portable_map(np.zeros((9, 11, 1), int), greatest, text=False)
        (tmp_path / "a.pgm").write_bytes(whole[:-3])
        with pytest.raises(SourceError, match=r"a\.pgm can't be decoded: image file is truncated"):
            ingest(tmp_path / "a.pgm")


@pytest.mark.parametrize("most", [255, 65535])
def test_what_pillow_scales_is_brought_back(most):
    numbers = range(1, 256) if most == 255 else (256, 257, 1023, 4095, 32767, 32768, 65533, 65534)
    for greatest in numbers:
        values = np.arange(greatest + 1)
        scaled = np.rint(values / greatest * most).astype(int)
        assert (pictures._stored_values(greatest, np.min_scalar_type(most))[scaled] == values).all()


@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize("transparent", [False, True])
def test_gray_of_few_bits_is_kept(rng, tmp_path, ingest, bits, transparent):
    values = rng.integers(0, 2**bits, (9, 11), dtype=np.uint8)
    (tmp_path / "a.png").write_bytes(png_of_few_bits(values, bits, {b"tRNS": b"\x00\x01"} if transparent else {}))
    report, [pixels] = ingest(tmp_path / "a.png")
    assert (report.dtype, report.channels) == (np.uint8, None)
    assert (pixels == values).all()


@pytest.mark.parametrize("bits", [2, 4])
def test_a_palette_of_few_bits_is_colors_or_indices(rng, tmp_path, ingest, bits):
    values = rng.integers(0, 2**bits, (9, 11), dtype=np.uint8)
    palette = rng.integers(0, 256, (2**bits, 3), dtype=np.uint8)
    (tmp_path / "a.png").write_bytes(png_of_few_bits(values, bits, {b"PLTE": palette.tobytes()}))
    _, [pixels] = ingest(tmp_path / "a.png", variables={"mask": f"{tmp_path}/{{name}}"})
    assert (pixels == channels_first(palette[values])).all()
    assert (images_of(tmp_path / "made" / "source.zarr", "mask")[0] == values).all()


def png_of_few_bits(values: Array, bits: int, chunks: dict[bytes, bytes]) -> bytes:
    """A PNG of gray, or of a palette where there is one among its chunks."""
    height, width = values.shape
    single = np.unpackbits(values[..., None], axis=-1)[..., -bits:].reshape(height, -1)
    rows = b"".join(b"\x00" + row.tobytes() for row in np.packbits(single, axis=-1))
    header = struct.pack(">IIBBBBB", width, height, bits, 3 if b"PLTE" in chunks else 0, 0, 0, 0)
    every = {b"IHDR": header, **chunks, b"IDAT": zlib.compress(rows), b"IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in every.items()
    )


def test_one_bit_is_boolean(rng, tmp_path, ingest):
    values = rng.random((9, 11)) > 0.5
    Image.fromarray(values).save(tmp_path / "a.png")
    report, [pixels] = ingest(tmp_path / "a.png")
    assert report.dtype == bool
    assert (pixels == values).all()


@pytest.mark.parametrize(("ending", "transparent"), [("png", False), ("png", True), ("gif", False), ("gif", True)])
def test_palettes_become_colors(rng, tmp_path, ingest, ending, transparent):
    image = picture(rng, "RGB").quantize(32)
    image.save(tmp_path / f"a.{ending}", **({"transparency": 3} if transparent else {}))
    report, [pixels] = ingest(tmp_path / f"a.{ending}")
    mode = "RGBA" if transparent else "RGB"
    assert (pixels == channels_first(by_pillow(tmp_path / f"a.{ending}", mode))).all()
    assert report.labels == ((*RGB, "alpha") if transparent else RGB)


def test_a_transparent_color_without_palette_is_left_alone(rng, tmp_path, ingest):
    image = picture(rng, "RGB")
    image.save(tmp_path / "a.png", transparency=(1, 2, 3))
    _, [pixels] = ingest(tmp_path / "a.png")
    assert (pixels == channels_first(np.asarray(image))).all()


def test_of_an_animation_the_first_frame_is_taken(rng, tmp_path, ingest):
    frames = [picture(rng, "RGB"), picture(rng, "RGB")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    _, images = ingest(tmp_path / "a.gif")
    assert len(images) == 1
    assert (images[0] == channels_first(by_pillow(tmp_path / "a.gif", "RGB"))).all()


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "CMYK", "palette", "1"])
@pytest.mark.parametrize("band", [1, 60, 53 * 5])
def test_bands_make_up_the_whole(rng, tmp_path, ingest, monkeypatch, mode, band):
    image = picture(rng, mode) if mode not in ("palette", "1") else picture(rng, "L" if mode == "1" else "RGB")
    image = image.quantize(40) if mode == "palette" else image.convert("1") if mode == "1" else image
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    image.save(path)
    whole = ingest(path)[1][0]
    monkeypatch.setattr(pictures, "_BAND", band)
    assert (ingest(path)[1][0] == whole).all()


# -- orientation ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
def test_orientation_is_honored(rng, tmp_path, ingest, ending, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    picture(rng, "RGB").save(tmp_path / f"a.{ending}", exif=exif)
    report, [pixels] = ingest(tmp_path / f"a.{ending}")
    with Image.open(tmp_path / f"a.{ending}") as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    assert report.sizes == (expected.shape[:2],)
    assert (pixels == channels_first(expected)).all()


def test_orientation_of_sixteen_bits_and_behind_the_pixels(rng, tmp_path, ingest):
    values = rng.integers(0, 65536, (9, 11, 3), dtype=np.uint16)
    exif = Image.Exif()
    exif[274] = 6
    late = png_with_chunk(imagecodecs.png_encode(values), b"eXIf", exif.tobytes().removeprefix(b"Exif\x00\x00"))
    (tmp_path / "a.png").write_bytes(late)
    _, [pixels] = ingest(tmp_path / "a.png")
    assert (pixels == channels_first(np.rot90(values, -1))).all()


def png_with_chunk(png: bytes, name: bytes, data: bytes) -> bytes:
    """The same picture with one more chunk at its end."""
    body, end = png[:-12], png[-12:]
    return body + struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) + end


def test_an_orientation_that_is_none_is_ignored(rng, tmp_path, ingest):
    exif = Image.Exif()
    exif[274] = 9
    image = picture(rng, "RGB")
    image.save(tmp_path / "a.png", exif=exif)
    _, [pixels] = ingest(tmp_path / "a.png")
    assert (pixels == channels_first(np.asarray(image))).all()


# -- headers only ---------------------------------------------------------------------------------------------------


def test_no_pixel_is_decoded_to_look_at_a_picture(rng, tmp_path, monkeypatch):
    for name, mode in (("a.png", "RGB"), ("a.jpg", "RGB"), ("a.gif", "L"), ("a.bmp", "L"), ("b.png", "L")):
        picture(rng, mode).save(tmp_path / name)
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("decoded"))
    for path in tmp_path.iterdir():
        [scene] = open_scenes(str(path), "", Reading())
        assert (scene.height, scene.width) == (37, 53)


def test_pillows_own_limit_is_neither_used_nor_changed(rng, tmp_path, ingest, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 60)
    buffer = io.BytesIO()
    picture(rng, "RGB").save(buffer, "PNG")
    (tmp_path / "a.png").write_bytes(buffer.getvalue())
    _, images = ingest(tmp_path / "a.png")
    assert len(images) == 1
    assert Image.MAX_IMAGE_PIXELS == 60
