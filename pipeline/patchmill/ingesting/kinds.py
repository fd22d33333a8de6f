"""What kind of file it is: told by how it begins, whatever it is called. Names only decide what a folder offers."""

from __future__ import annotations

import os
import stat
from importlib import import_module

from patchmill.ingesting.scenes import Reading, Scene, UnfitError, first_line, no_level

_BEGINNINGS: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "JPEG2000"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),
    (b"\x93NUMPY", "NPY"),
    (b"PK\x03\x04", "NPZ"),
    (b"PK\x05\x06", "NPZ"),
    (b"CDF\x01", "NetCDF3"),
    (b"CDF\x02", "NetCDF3"),
    (b"CDF\x05", "NetCDF3"),
)
_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZARR = ("zarr.json", ".zarray", ".zgroup")

# fmt: off
EXTENSIONS = frozenset((
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".gif", ".bmp", ".webp", ".pgm", ".ppm", ".pbm", ".pnm",
    ".tif", ".tiff", ".btf", ".tf8", ".svs", ".scn", ".bif", ".ndpi", ".lsm", ".stk", ".qptiff", ".jp2", ".j2k", ".jpx",
    ".nc", ".nc4", ".cdf", ".netcdf", ".h5", ".hdf5", ".he5", ".npy", ".npz", ".zarr",
))
# fmt: on
"""What is taken from a folder or by a glob; a file that is named outright may be called anything."""

_READERS = {
    "TIFF": ("tiffs", "open_tiff", "tifffile", "images"),
    "JPEG2000": ("rasters", "open_jpeg2000", "rasterio", "geo"),
    "NPY": ("arrays", "open_npy", "numpy", ""),
    "NPZ": ("arrays", "open_npz", "numpy", ""),
    "HDF5": ("fields", "open_netcdf", "h5netcdf", "geo"),
    "NetCDF3": ("fields", "open_netcdf", "scipy", ""),
    "Zarr": ("stores", "open_store", "zarr", ""),
}
_PICTURES = ("pictures", "open_picture", "PIL", "images")


def open_scenes(path: str, variable: str, reading: Reading) -> list[Scene]:
    """The scenes of a file, in its own order; no pixel is decoded.

    Parameters
    ----------
    path : str
    variable : str
        Which variable of a file that has several; empty where none is named.
    reading : Reading

    Raises
    ------
    UnfitError
        If the file can't be taken.
    """
    kind = kind_of(path)
    module, name, package, extra = _READERS.get(kind, _PICTURES)
    if variable and module not in ("arrays", "fields", "stores"):
        raise UnfitError(f"is {_shown(kind)} and has no variables, and {variable!r} was asked for")
    if reading.level and module not in ("tiffs", "rasters", "stores"):
        raise UnfitError(no_level(1, reading.level))
    try:
        import_module(package)
        scenes: list[Scene] = getattr(import_module(f"patchmill.ingesting.{module}"), name)(path, variable, reading)
    except ImportError as error:
        raise UnfitError(missing_package(kind, error, extra)) from error
    except UnfitError:
        raise
    except Exception as error:  # whatever a decoder raises for a damaged header
        raise UnfitError(f"is {_shown(kind)} that can't be opened: {first_line(error)}") from error
    if not scenes:
        raise UnfitError(f"is {_shown(kind)} that holds no images")
    return scenes


_GEO_PACKAGES = frozenset(("rasterio", "rioxarray", "pyproj", "h5netcdf"))
"""What the extra "geo" brings beyond the decoders of pictures: a TIFF needs it where it has geo keys."""


def missing_package(kind: str, error: ImportError, extra: str) -> str:
    """The reason where a decoder is not installed."""
    extra = "geo" if (error.name or "").partition(".")[0] in _GEO_PACKAGES else extra
    wanted = f"pip install 'patchmill[{extra}]'" if extra else f"pip install {error.name or 'it'}"
    return f"is {_shown(kind)}, which needs {error.name or first_line(error)}: {wanted}"


def kind_of(path: str) -> str:
    """The kind of file, by its first bytes; of a folder, by Zarr's metadata.

    Raises
    ------
    UnfitError
        If it is none that can be read.
    """
    if os.path.isdir(path):
        if is_store(path):
            return "Zarr"
        raise UnfitError("is a folder, and no Zarr store")
    head = _head(path)
    if not head:
        raise UnfitError("is empty (0 bytes)")
    for beginning, kind in _BEGINNINGS:
        if head.startswith(beginning):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace():
        return "PPM"
    if any(head[at : at + 8] == _HDF5 for at in (0, 512, 1024, 2048)):
        return "HDF5"
    raise UnfitError(f"is no image file that patchmill knows: it begins with {head[:8]!r}")


def is_store(path: str) -> bool:
    """Whether a folder is a Zarr array or group."""
    return any(os.path.isfile(os.path.join(path, name)) for name in _ZARR)


def has_known_name(path: str) -> bool:
    """Whether the name ends as image files do."""
    return os.path.splitext(path)[1].lower() in EXTENSIONS


def _head(path: str) -> bytes:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise UnfitError("is not a regular file")  # opening a pipe would wait for ever
        with open(path, "rb") as file:
            return file.read(2056)
    except OSError as error:
        raise UnfitError(f"can't be opened: {error.strerror or error}") from error


def _shown(kind: str) -> str:
    return f"{'an' if kind in ('HDF5', 'NPY', 'NPZ') else 'a'} {kind} {'store' if kind == 'Zarr' else 'file'}"
