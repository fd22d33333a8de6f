"""Ordinary pictures, decoded whole by Pillow: PNG, JPEG, WebP, BMP, PNM, and the first frame of a GIF.

What becomes of a picture, by its mode:

==================  ==========================================================================
1 bit               bool, no channel axis
gray                uint8, uint16, int32 or float32, no channel axis
gray with alpha     channels gray, alpha
palette             colors: red, green, blue, and alpha where an entry is transparent; or the indices, as masks want
RGB, RGBA           channels red, green, blue (, alpha); values are not premultiplied, nor blended with a background
CMYK                channels cyan, magenta, yellow, black, as Pillow gives them
YCbCr               red, green, blue
==================  ==========================================================================

A single color that stands for "transparent" in a file without palette is left as it is. 16 bits stay 16 bits. Values of
a gray PNG of 2 or 4 bits, and of a PNM that ends elsewhere than at 255 or 65535, are those of the file: Pillow would
scale them to 8 or 16 bits.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from patchmill.ingesting.scenes import Reading, Scene, UnfitError, quiet
from patchmill.ingesting.turning import ORIENTATIONS, turned, turned_size

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

RGB = ("red", "green", "blue")
CMYK = ("cyan", "magenta", "yellow", "black")

_LABELS = {"LA": ("gray", "alpha"), "RGB": RGB, "RGBA": (*RGB, "alpha"), "CMYK": CMYK, "LAB": ("L", "a", "b")}
_CONVERTED = {"PA": "RGBA", "RGBX": "RGB", "RGBa": "RGBA", "La": "LA", "YCbCr": "RGB", "HSV": "RGB"}
_DTYPES = {"1": np.dtype(bool), "I": np.dtype(np.int32), "F": np.dtype(np.float32)}

_COST = 3.0
"""Bytes held for each one decoded, 2.4 measured: Pillow has RGB in 4 bytes, then comes the array."""

_BAND = 2**22
"""Pixels that are copied out of Pillow at a time: all at once would take two copies more."""

_DEEP_PNG = {2: "RGB", 4: "LA", 6: "RGBA"}
"""Color type of a PNG with several channels to its mode."""

_DEEP_COST = 2.0  # 1.0 measured, and the file


@dataclass(frozen=True, slots=True)
class _Picture:
    """What the header says.

    Parameters
    ----------
    height, width : int
        As stored.
    mode : str
        Pillow's, of what is decoded.
    channels : int or None
    dtype : numpy.dtype
    orientation : int
        1 to 8, as in EXIF.
    greatest : int or None
        Greatest value that the file can hold, where Pillow scales it to that of `dtype`.
    """

    height: int
    width: int
    mode: str
    channels: int | None
    dtype: np.dtype[Any]
    orientation: int
    greatest: int | None


def open_picture(path: str, _variable: str, reading: Reading) -> list[Scene]:
    """The picture in a file, as one scene."""
    with _opened(path) as image:
        picture = _described(image, path, reading)
    deep = picture.dtype == np.uint16 and picture.channels is not None
    if deep:
        import imagecodecs  # noqa: F401  Pillow has no mode for colors of 16 bits

    def read(channels: slice, ys: slice, xs: slice) -> NDArray[Any]:
        return _decoded(path, picture)[channels, ys, xs]

    height, width = turned_size(picture.orientation, picture.height, picture.width)
    return [
        Scene(
            height=height,
            width=width,
            dtype=picture.dtype,
            channels=picture.channels,
            labels=_LABELS.get(picture.mode),
            cost=_DEEP_COST if deep else _COST,
            read=read,
        )
    ]


def _described(image: ImageFile, path: str, reading: Reading) -> _Picture:
    mode = _mode(image, reading)
    dtype = np.dtype(np.uint16) if mode.startswith("I;16") else _DTYPES.get(mode, np.dtype(np.uint8))
    channels = len(_LABELS[mode]) if mode in _LABELS else None
    greatest = None
    if image.format == "PPM":
        greatest = _greatest_pnm(image)
        dtype = np.dtype(np.uint16) if image.mode == "I" else dtype  # Pillow turns 16 bits into 32
    if image.format == "PNG":
        bits, color = _png_bits(path)
        if bits == 16 and color in _DEEP_PNG:
            mode, dtype = _DEEP_PNG[color], np.dtype(np.uint16)
            channels = len(_LABELS[mode])
        elif bits in (2, 4) and color == 0:
            greatest = 2**bits - 1
    width, height = image.size
    return _Picture(height, width, mode, channels, dtype, _orientation(image, path), greatest)


def _mode(image: ImageFile, reading: Reading) -> str:
    if image.mode == "P" and reading.palette == "colors":
        return "RGBA" if "transparency" in image.info else "RGB"
    return "P" if image.mode == "P" else _CONVERTED.get(image.mode, image.mode)


def _greatest_pnm(image: ImageFile) -> int | None:
    """Greatest value of a PNM that Pillow scales, None for all others.

    Raises
    ------
    UnfitError
        If its values don't fit what Pillow scales them to.
    """
    arguments = image.tile[0].args if image.tile else ()
    greatest = int(arguments[1]) if isinstance(arguments, tuple) else 0
    if image.mode != "I" and greatest > 255:
        raise UnfitError(
            f"is a PPM file with more than 8 bits a color (its maxval is {greatest}), which Pillow would reduce: "
            "convert it to PNG or TIFF"
        )
    return greatest if greatest not in (0, 255, 65535) else None


def _png_bits(path: str) -> tuple[int, int]:
    """Bits of a value, and the color type, as a PNG's header has them."""
    with open(path, "rb") as file:
        header = file.read(26)
    return header[24], header[25]


# -- orientation ----------------------------------------------------------------------------------------------------


def _orientation(image: ImageFile, path: str) -> int:
    from PIL import ExifTags, Image

    # The general method: that of PNG decodes the whole file to look for a chunk behind the pixels.
    exif = Image.Image.getexif(image)
    if image.format == "PNG" and not exif:
        with quiet():
            exif.load(_late_exif(path))
    found = exif.get(ExifTags.Base.Orientation, 1)
    return int(found) if found in ORIENTATIONS else 1


def _late_exif(path: str) -> bytes:
    """The chunk eXIf of a PNG, wherever it stands; empty where there is none."""
    with open(path, "rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, name = struct.unpack(">I4s", head)
            if name == b"eXIf":
                return file.read(min(length, 1 << 20))
            file.seek(length + 4, 1)
    return b""


# -- pixels ---------------------------------------------------------------------------------------------------------


def _decoded(path: str, picture: _Picture) -> NDArray[Any]:
    """Every pixel, shape (channel, y, x), as one looks at it."""
    if picture.dtype == np.uint16 and picture.channels:
        import imagecodecs

        with open(path, "rb") as file:
            pixels = np.asarray(imagecodecs.png_decode(file.read()))
    else:
        with _opened(path) as image:
            pixels = _copied(image, picture)
    pixels = pixels.astype(picture.dtype, copy=False).reshape(picture.height, picture.width, -1)
    return turned(np.moveaxis(pixels[..., : picture.channels or 1], -1, 0), picture.orientation)


def _copied(image: ImageFile, picture: _Picture) -> NDArray[Any]:
    """Every pixel out of Pillow, shape (y, x, channel), band by band."""
    from PIL import Image

    image.load()
    stored = None if picture.greatest is None else _stored_values(picture.greatest, picture.dtype)
    pixels = np.empty((picture.height, picture.width, picture.channels or 1), picture.dtype)
    # Pillow's limit, where somebody lowered it, holds for what is cut out too.
    rows = max(1, min(_BAND, Image.MAX_IMAGE_PIXELS or _BAND) // picture.width)
    for top in range(0, picture.height, rows):
        band = image.crop((0, top, picture.width, min(top + rows, picture.height)))
        values = np.asarray(band if picture.mode in ("P", band.mode) else band.convert(picture.mode))
        values = values if stored is None else stored[values]
        pixels[top : top + rows] = values.reshape(-1, *pixels.shape[1:])
    return pixels


def _stored_values(greatest: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """What the file has for each value that Pillow makes of it.

    Pillow's is ``round(value * most / greatest)``. That is at most a half off, and a half is less than half of a value
    where ``greatest < most``: so the nearest value is the one that was stored.
    """
    most = int(np.iinfo(dtype).max)
    return ((np.arange(most + 1) * greatest + most // 2) // most).astype(dtype)


@contextmanager
def _opened(path: str) -> Iterator[ImageFile]:
    """Pillow's own opening less its limit of pixels, which is the process's: ours is checked before decoding."""
    from PIL import Image

    with open(path, "rb") as file:
        prefix = file.read(16)
        for name in _factories():
            factory, accepts = Image.OPEN[name]
            if accepts is not None and accepts(prefix) is True:
                file.seek(0)
                with quiet():
                    image = factory(file, path)
                if image.format == "PPM":
                    _take_raw(image)
                yield image
                return
    raise UnfitError("is a picture of a kind that this Pillow can't decode")


def _take_raw(image: ImageFile) -> None:
    """Have the values of a binary PNM taken as they are: Pillow would scale them, and cut off what is above maxval."""
    decoder, extents, offset, arguments = image.tile[0]
    if decoder != "ppm" or not isinstance(arguments, tuple):
        return
    kind, greatest = arguments
    if greatest < 256 or image.mode == "I":
        image.tile = [type(image.tile[0])("raw", extents, offset, "I;16B" if image.mode == "I" else kind)]


@cache
def _factories() -> tuple[str, ...]:
    from PIL import Image

    with quiet():
        Image.init()
    return tuple(name for name in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "PPM") if name in Image.OPEN)
