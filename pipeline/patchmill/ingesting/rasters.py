"""Files that know where on Earth they lie, read by windows through rasterio: GeoTIFF and JPEG 2000.

Values, palettes and orientation stay as stored: a palette here names classes. Levels of a pyramid are GDAL's overviews,
inside the file or beside it. A file with one band has no channel axis; its description becomes the title.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchmill.ingesting.scenes import MASK_BAND, Affine, Read, Reading, Scene, UnfitError, no_level, quiet

_COLORS = ("red", "green", "blue", "alpha", "cyan", "magenta", "yellow", "black")

_CACHE = 32  # MiB


def open_jpeg2000(path: str, _variable: str, reading: Reading) -> list[Scene]:
    """The image of a JPEG 2000 file."""
    return [_scene(path, "", "JP2OpenJPEG", reading)]


def open_geotiff(path: str, reading: Reading) -> list[Scene]:
    """The pages of a GeoTIFF."""
    with _dataset(path, "GTiff", 0) as dataset:
        pages: Sequence[str] = dataset.subdatasets
    if len(pages) < 2:
        return [_scene(path, "", "GTiff", reading)]
    return [_scene(page, f"[page={number}]", "GTiff", reading) for number, page in enumerate(pages)]


def _dataset(path: str, driver: str, level: int) -> Any:
    import rasterio

    options = {"overview_level": level - 1} if level else {}
    with quiet():  # about a missing transform, and the like
        return rasterio.open(path, driver=driver, sharing=False, **options)


def _scene(path: str, label: str, driver: str, reading: Reading) -> Scene:
    """The scene of one page, at the level asked for; what GDAL keeps for the finest level only comes from there."""
    with _dataset(path, driver, 0) as base:
        _refuse_level(base, reading.level)
        _refuse_nodata(base.nodatavals)
        dtype, several, names = _dtype(base.dtypes), base.count > 1, _names(base)
        with _dataset(path, driver, reading.level) as dataset:
            return Scene(
                label=label,
                height=dataset.height,
                width=dataset.width,
                dtype=dtype,
                channels=base.count if several else None,
                labels=names if several else None,
                title=names[0] if names and not several else None,
                in_pieces=True,
                block=dataset.block_shapes[0],
                interleaved=str(getattr(base.interleaving, "value", "PIXEL")).upper() != "BAND",
                cost=1.5,
                nodata=int(base.nodata) if dtype.kind in "iu" and _is_whole(base.nodata) else base.nodata,
                crs=base.crs.to_wkt() if base.crs else None,
                transform=_transform(dataset),
                scales=tuple(base.scales) if set(base.scales) != {1.0} else None,
                offsets=tuple(base.offsets) if set(base.offsets) != {0.0} else None,
                unread=MASK_BAND if _has_mask(base) else None,
                read=_reader(path, driver, reading.level),
            )


def _reader(path: str, driver: str, level: int) -> Read:
    def read(channels: slice, ys: slice, xs: slice) -> NDArray[Any]:
        import rasterio
        from rasterio.windows import Window

        # Opened anew each time, since datasets are not for several threads. GDAL's own cache, by default a twentieth of
        # all memory, would hold everything a second time: each block is asked for once.
        with rasterio.Env(GDAL_CACHEMAX=_CACHE), _dataset(path, driver, level) as dataset:
            window = Window(xs.start, ys.start, xs.stop - xs.start, ys.stop - ys.start)
            return np.asarray(dataset.read(list(range(channels.start + 1, channels.stop + 1)), window=window))

    return read


def _refuse_level(dataset: Any, level: int) -> None:
    levels = 1 + min((len(dataset.overviews(band)) for band in dataset.indexes), default=0)
    if level >= levels:
        raise UnfitError(no_level(levels, level))


def _has_mask(dataset: Any) -> bool:
    """Whether a mask tells what is measured, beside nodata and alpha."""
    return any(
        {flag.name for flag in flags} & {"per_dataset", "alpha"} == {"per_dataset"} for flags in dataset.mask_flag_enums
    )


def _refuse_nodata(values: Sequence[float | None]) -> None:
    """Raise where a file beside it, .aux.xml, gives bands different ones: a source has one for all channels."""
    if len({str(value) for value in values}) > 1:
        told = ", ".join(map(str, values))
        raise UnfitError(f"has bands of several nodata values, {told}: give them one, as gdal_translate -a_nodata does")


def _dtype(names: Sequence[str]) -> np.dtype[Any]:
    """NumPy's type for GDAL's; integers that are complex are read as floats that are."""
    if len(set(names)) > 1:
        raise UnfitError(f"has bands of several dtypes: {', '.join(sorted(set(names)))}")
    return np.dtype(np.complex64 if names[0].startswith("complex_int") else names[0])


def _is_whole(nodata: float | None) -> bool:
    return nodata is not None and float(nodata).is_integer()


def _names(dataset: Any) -> tuple[str, ...] | None:
    """Names of the bands: descriptions, else colors, else numbers; None where no band has either."""
    colors = [color.name for color in dataset.colorinterp]
    known = [
        text or (color if color in _COLORS else "") for text, color in zip(dataset.descriptions, colors, strict=True)
    ]
    return tuple(name or f"band {band}" for band, name in enumerate(known, start=1)) if any(known) else None


def _transform(dataset: Any) -> Affine | None:
    """The affine transform, None where the file has none."""
    if dataset.transform.is_identity and not dataset.crs:
        return None
    a, b, c, d, e, f = (float(value) for value in tuple(dataset.transform)[:6])
    return (a, b, c, d, e, f)
