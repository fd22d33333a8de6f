"""TIFF files, understood by tifffile and decoded strip by strip, tile by tile: pages, stacks, OME, pyramids, BigTIFF.

Axes are tifffile's letters: Y and X; S (samples) and C are channels; every other axis (pages, T, Z) gives images. Files
with geo keys go to rasterio. Orientation is honored, palettes become colors unless indices are wanted, and a file where
0 is white stays so. Of slide scanners' files only the slide is taken, not its label and overview.

tifffile's own way to read in pieces is a Zarr store, which needs more packages than the decoding does.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from patchmill.ingesting.pictures import CMYK, RGB
from patchmill.ingesting.planes import TRUNCATED, Planes, nodata_of, planes_of
from patchmill.ingesting.scenes import MASK_BAND, Read, Reading, Scene, UnfitError, no_level
from patchmill.ingesting.turning import ORIENTATIONS, stored_window, turned, turned_size
from patchmill.sources import Dims
from patchmill.sources.model import PACKINGS

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage, TiffPageSeries

_GEO_TAGS = (33550, 33922, 34264, 34735)  # pixel scale, tie points, transformation, geo keys
_SLIDES = frozenset(("svs", "scn", "bif", "ndpi", "qpi", "avs", "philips"))
_PAGE_AXES = frozenset("IQ")  # tifffile's letters for "just the next page"


@dataclass(frozen=True, slots=True, eq=False)
class _Level:
    """One level of one series, with all that is needed to read it once the file is closed.

    Parameters
    ----------
    series : int
    planes : Planes
    axes : str
        Letters of the axes that pages run along, row-major.
    lengths : tuple of int
        Of these axes.
    page_numbers : tuple of int
        Number in the file of each page; empty where the file does not say.
    colors : ndarray, optional
        Palette, shape (3, index), uint8 or uint16.
    orientation : int
    labels : tuple of str, optional
        Names of the samples of a pixel.
    channel_names : tuple of str, optional
        Names along C.
    nodata : float, optional
    scales, offsets : tuple of float, optional
        Of the samples.
    unread : str, optional
        What the file has beside.
    """

    series: int
    planes: Planes
    axes: str
    lengths: tuple[int, ...]
    page_numbers: tuple[int, ...]
    colors: NDArray[Any] | None
    orientation: int
    labels: tuple[str, ...] | None
    channel_names: tuple[str, ...] | None
    nodata: float | None
    scales: tuple[float, ...] | None
    offsets: tuple[float, ...] | None
    unread: str | None


def open_tiff(path: str, _variable: str, reading: Reading) -> list[Scene]:
    """The images of a TIFF file."""
    levels = _levels(path, reading)
    if levels is None:
        from patchmill.ingesting.rasters import open_geotiff

        return open_geotiff(path, reading)
    found = [each for number in range(len(levels)) for each in _scenes(path, levels, number, reading)]
    return [scene for _, scene in sorted(found, key=lambda each: each[0])]


def _levels(path: str, reading: Reading) -> list[_Level] | None:
    return reading.files.get((path, reading.level), lambda: _parsed(path, reading.level))


def _parsed(path: str, level: int) -> list[_Level] | None:
    """What the file says, one for each series that has the level; None where rasterio shall read it."""
    from tifffile import TiffFile

    with _unsaid(), TiffFile(path) as file:
        if not len(file.pages):
            raise UnfitError(TRUNCATED)
        if any(tag in file.pages.first.tags for tag in _GEO_TAGS):
            return None
        if not any(series.is_multifile for series in file.series):
            return _series(file, level)
    # Its other images are in other files, which are read in their turn.
    with _unsaid(), TiffFile(path, is_ome=False) as file:
        return _series(file, level)


@contextmanager
def _unsaid() -> Iterator[None]:
    """Keep tifffile's log to ourselves: what matters about a file is in its scene, or in the reason against it."""
    log = logging.getLogger("tifffile")

    def nothing(_: logging.LogRecord) -> bool:
        return False

    log.addFilter(nothing)
    try:
        yield
    finally:
        log.removeFilter(nothing)


def _series(file: TiffFile, level: int) -> list[_Level]:
    every = [series for series in file.series if not series.keyframe.is_mask]
    unread = MASK_BAND if len(every) < len(file.series) else None
    if every and every[0].kind in _SLIDES:
        every = every[:1]
    deepest = max((len(series.levels) for series in every), default=0)
    if every and level >= deepest:
        raise UnfitError(no_level(deepest, level))
    names = _ome_channels(file)
    return [
        _level(number, series.levels[level], names[number] if number < len(names) else None, unread)
        for number, series in enumerate(every)
        if level < len(series.levels)
    ]


def _level(number: int, series: TiffPageSeries, channel_names: tuple[str, ...] | None, unread: str | None) -> _Level:
    page = series.keyframe.aspage()
    if page.dtype is None:
        raise UnfitError(f"has pixels of {page.bitspersample} bits, which tifffile can't decode")
    if page.shaped[1] != 1:
        raise UnfitError("holds volumes whose tiles are three-dimensional, which are not read")
    planes = planes_of(series)
    axes, lengths = _leading(series, planes.count)
    orientation = page.tags.valueof(274, 1)
    told = _from_gdal(page)
    return _Level(
        series=number,
        planes=planes,
        axes=axes,
        lengths=lengths,
        page_numbers=_page_numbers(series) if planes.count == len(series) else (),
        colors=_palette(page),
        orientation=int(orientation) if orientation in ORIENTATIONS else 1,
        labels=_labels(page, told.get("description", {})),
        channel_names=channel_names,
        nodata=nodata_of(page),
        scales=_packing(page, told.get("scale", {}), PACKINGS["scale"]),
        offsets=_packing(page, told.get("offset", {}), PACKINGS["offset"]),
        unread=unread,
    )


def _leading(series: TiffPageSeries, count: int) -> tuple[str, tuple[int, ...]]:
    """Letters and lengths of the axes that `count` pages run along."""
    axes, shape = series.get_axes(False), series.get_shape(False)  # noqa: FBT003  not squeezed
    inside = set(series.keyframe.axes) | {"S"}
    outer = [(axis, n) for axis, n in zip(axes, shape, strict=True) if axis not in inside]
    if prod(n for _, n in outer) != count:
        raise UnfitError(f"has {count} pages for axes {axes} of {shape}")
    return "".join(axis for axis, _ in outer), tuple(n for _, n in outer)


def _page_numbers(series: TiffPageSeries) -> tuple[int, ...]:
    numbers = [page.index for page in series if page is not None]
    return tuple(numbers) if all(isinstance(number, int) for number in numbers) else ()


# -- colors and names -----------------------------------------------------------------------------------------------


def _palette(page: TiffPage) -> NDArray[Any] | None:
    """Colors of a palette, shape (3, index); None where there is none.

    TIFF stores 16 bits a color. Those of 8 bits are the upper halves, except from writers that did not know.
    """
    if page.photometric != 3 or page.colormap is None or page.samplesperpixel != 1:
        return None
    colors: NDArray[Any] = np.asarray(page.colormap)
    return (colors >> 8 if colors.max() > 255 else colors).astype(np.uint8)


def _sample_labels(page: TiffPage) -> tuple[str, ...] | None:
    """Names of the samples of a pixel, None where TIFF says too little."""
    jpeg = page.compression in (6, 7)  # decoding it ends in RGB
    base = {0: ("gray",), 1: ("gray",), 2: RGB, 5: CMYK, 6: RGB if jpeg else ("Y", "Cb", "Cr")}.get(
        int(page.photometric)
    )
    count, extra = page.samplesperpixel, tuple(page.extrasamples or ())
    if base is None or count < 2 or len(base) > count:
        return None
    rest = range(len(base), count)
    kinds = dict(zip(rest, extra[len(extra) - len(rest) :], strict=False))
    names = ["alpha" if kinds.get(at) in (1, 2) else f"band {at + 1}" for at in rest]
    # One gray sample beside others without a meaning is a picture of many bands, of which none is called gray.
    return None if base == ("gray",) and "alpha" not in names else (*base, *names)


def _labels(page: TiffPage, described: Mapping[int, str]) -> tuple[str, ...] | None:
    """Names of the samples: what GDAL left as descriptions, else TIFF's own names, else numbers; None without any."""
    own = _sample_labels(page)
    named = [described.get(at) for at in range(page.samplesperpixel)]
    if not any(named):
        return own
    return tuple(name or (own[at] if own else f"band {at + 1}") for at, name in enumerate(named))


def _from_gdal(page: TiffPage) -> dict[str, dict[int, str]]:
    """What GDAL left about samples in a tag of its own: by role ("description", "scale", "offset"), then by number."""
    from html import unescape
    from xml.etree import ElementTree as ET

    try:
        root = ET.fromstring(page.tags.valueof(42112, ""))  # noqa: S314 - expat bounds what entities grow to
    except ET.ParseError:
        return {}
    found: dict[str, dict[int, str]] = {}
    for item in root.findall("Item"):
        at, text = item.get("sample", ""), item.text or ""
        if at.isdecimal():
            found.setdefault(item.get("role", ""), {})[int(at)] = unescape(text).lstrip()  # as GDAL reads them
    return found


def _packing(page: TiffPage, given: Mapping[int, str], neutral: float) -> tuple[float, ...] | None:
    """Scale or offset of each sample, None where none is `given`, or none that changes anything."""
    try:
        found = tuple(float(given.get(at, neutral)) for at in range(page.samplesperpixel))
    except ValueError:
        return None
    return found if set(found) != {neutral} else None


def _ome_channels(file: TiffFile) -> list[tuple[str, ...] | None]:
    """Names of the channels of each image in OME's metadata, None where one has no name."""
    if not file.is_ome or file.ome_metadata is None:
        return []
    from tifffile import xml2dict

    found: list[tuple[str, ...] | None] = []
    for image in _listed(xml2dict(file.ome_metadata).get("OME", {}).get("Image")):
        channels = _listed(image.get("Pixels", {}).get("Channel"))
        names = tuple(str(channel.get("Name", "")) for channel in channels)
        found.append(names if names and all(names) and len(set(names)) == len(names) else None)
    return found


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


# -- scenes ---------------------------------------------------------------------------------------------------------


def _scenes(path: str, levels: Sequence[_Level], number: int, reading: Reading) -> Iterator[tuple[int, Scene]]:
    """The scenes of one series, each with what decides where it stands in the file."""
    level = levels[number]
    meanings = _meanings(level, reading)
    channel = [at for at, axis in enumerate(level.axes) if meanings[axis] == "channel"]
    images = [n for at, n in enumerate(level.lengths) if at not in channel]
    for place in np.ndindex(*images):
        where: list[Any] = list(place)
        for at in channel:
            where.insert(at, slice(None))
        pages = np.atleast_1d(np.arange(level.planes.count).reshape(level.lengths)[tuple(where)]).ravel().tolist()
        label = _label(level, meanings, place, pages, len(levels))
        order = level.page_numbers[pages[0]] if level.page_numbers and len(levels) > 1 else number
        yield order, _scene(path, level, number, reading, pages, label)


def _meanings(level: _Level, reading: Reading) -> dict[str, str]:
    """Axis of the pages to "channel" or "image", from what is usual and what the user said."""
    own = [axis for axis, n in zip(level.axes, level.lengths, strict=True) if n > 1]
    samples = ["S"] * (level.planes.samples > 1)
    named = _named(reading.dims, [*own, *samples])
    usual = "image" if "channel" in named.values() else "channel"
    meanings = {axis: named.get(axis, usual if axis == "C" else "image") for axis in level.axes}
    channels = [axis for axis in own if meanings[axis] == "channel"] + samples
    if len(channels) > 1:
        raise UnfitError(
            f"has two axes of channels, {channels[0]} and {channels[1]}: "
            f'make one of them images with dims={{"image": "{channels[0]}"}}'
        )
    return meanings


def _named(dims: Dims, letters: Sequence[str]) -> dict[str, str]:
    """What the user said of the axes `letters`: from letter to "channel" or "image"."""
    listed = ", ".join([*letters, "Y", "X"])
    if dims is None or not letters:  # a plain picture, which may lie among stacks
        return {}
    if isinstance(dims, Mapping):
        told = {letter.upper(): axis for axis, letter in dims.items()}
        if told.get("Y", "y") != "y" or told.get("X", "x") != "x" or not told.keys() <= {*letters, "Y", "X"}:
            raise UnfitError(f"has the axes {listed}, and dims names {', '.join(dims.values())}")
        return {letter: axis for letter, axis in told.items() if letter in letters}
    given = [axis for axis in dims if axis not in ("y", "x")]
    if len(given) != len(letters) or [axis for axis in dims if axis in ("y", "x")] != ["y", "x"]:
        raise UnfitError(f"has the axes {listed}, and dims names {', '.join(dims)}")
    return dict(zip(letters, given, strict=True))


def _label(level: _Level, meanings: Mapping[str, str], place: tuple[int, ...], pages: Sequence[int], files: int) -> str:
    """What tells a scene from the others of its file."""
    axes = [(axis, n) for axis, n in zip(level.axes, level.lengths, strict=True) if meanings[axis] == "image"]
    here = [(axis, at) for (axis, n), at in zip(axes, place, strict=True) if n > 1]
    by_page = all(axis in _PAGE_AXES for axis, _ in here) and len(pages) == 1
    if by_page and (here or files > 1):
        return f"[page={level.page_numbers[pages[0]] if level.page_numbers else pages[0]}]"
    parts = [f"series={level.series}"] * (files > 1)
    parts += [f"{'page' if axis in _PAGE_AXES else axis.lower()}={at}" for axis, at in here]
    return f"[{','.join(parts)}]" if parts else ""


def _scene(path: str, level: _Level, number: int, reading: Reading, pages: Sequence[int], label: str) -> Scene:
    planes = level.planes
    colors = level.colors if reading.palette == "colors" else None
    labels = RGB if colors is not None else level.labels
    count = 3 if colors is not None else planes.samples
    if len(pages) > 1:
        if colors is not None:
            raise UnfitError("has pages with palettes as channels, which would be colors of colors")
        count, labels = len(pages), level.channel_names if len(level.channel_names or ()) == len(pages) else None
    height, width = turned_size(level.orientation, planes.height, planes.width)
    block = turned_size(level.orientation, *planes.block)
    own = planes.count == 1 and colors is None
    return Scene(
        label=label,
        height=height,
        width=width,
        dtype=planes.dtype if colors is None else colors.dtype,
        channels=count if count > 1 else None,
        labels=labels if count > 1 else None,
        title=labels[0] if labels and own and count == 1 else None,
        in_pieces=True,
        block=block,
        interleaved=planes.interleaved and planes.samples > 1,
        nodata=level.nodata if colors is None else None,
        scales=level.scales if own else None,
        offsets=level.offsets if own else None,
        unread=level.unread,
        read=_reader(path, number, pages, reading),
    )


def _reader(path: str, number: int, pages: Sequence[int], reading: Reading) -> Read:
    """Reader of some pages of one series; it opens the file again unless that was just done."""

    def read(channels: slice, ys: slice, xs: slice) -> NDArray[Any]:
        levels = _levels(path, reading)
        if levels is None or number >= len(levels):
            raise UnfitError("changed while it was read")
        level = levels[number]
        height, width = turned_size(level.orientation, level.planes.height, level.planes.width)
        rows, columns = stored_window(level.orientation, height, width, ys, xs)
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if len(pages) > 1:
                one = slice(0, 1)
                parts = [level.planes.read(file, size, page, one, rows, columns) for page in pages[channels]]
                pixels = np.concatenate(parts)
            elif level.colors is not None and reading.palette == "colors":
                index = level.planes.read(file, size, pages[0], slice(0, 1), rows, columns)
                pixels = level.colors[channels][:, index[0]]
            else:
                pixels = level.planes.read(file, size, pages[0], channels, rows, columns)
        return turned(pixels, level.orientation)

    return read
