"""A source as the rest of the package sees it: canonical axes (image, channel, y, x), whatever lies behind."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchmill.errors import MissingSourceError, SourceError
from patchmill.sources.readers import AXES, Reader, Region4


@dataclass(frozen=True, slots=True, eq=False)
class Label:
    """Coordinate values along one axis of the source, with their attributes."""

    values: NDArray[Any]
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Variable:
    """One array of a source.

    Parameters
    ----------
    name : str
        The source's own name for it.
    has_channel : bool
        Whether the source has a channel axis; a mask has none.
    shape : tuple of int
        (image, channel, y, x), with 1 where the source has no such axis.
    dtype : numpy.dtype
    chunks : tuple of int
        Unit in which the source is stored, same axes as `shape`.
    read : Reader
        From a `Region4` to its values, same axes as `shape`. Its images may also be an array of ascending numbers.
    lazy : dask array, optional
        The same as a Dask array, where the source is one.
    nodata : number, optional
        The value that stands for "nothing measured".
    nodatas : ndarray of float64, shape (image,), optional
        Where images differ in it, the value of each, NaN where one has none; `nodata` is None then.
    packings : mapping
        Where images differ in one of `PACKINGS`, that of each: shape (image,), or (image, channel) with such an axis.
    attributes : mapping
        The source's own, as plain JSON.
    """

    name: str
    has_channel: bool
    shape: tuple[int, int, int, int]
    dtype: np.dtype[Any]
    chunks: tuple[int, int, int, int]
    read: Reader
    lazy: Any = None
    nodata: Any = None
    nodatas: NDArray[np.float64] | None = None
    packings: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def channels(self) -> int | None:
        """Number of channels, None without such an axis."""
        return self.shape[1] if self.has_channel else None

    @property
    def has_nodata(self) -> bool:
        """Whether a value stands for "nothing measured", in any image."""
        return self.nodata is not None if self.nodatas is None else not np.isnan(self.nodatas).all()

    def nodata_at(self, image: int) -> Any:
        """The value that stands for "nothing measured" in an image, None where it has none."""
        return self.nodata if self.nodatas is None else one_nodata(self.nodatas[image], self.dtype)

    def nodata_runs(self, images: tuple[int, int]) -> Iterator[tuple[slice, Any]]:
        """Runs of images that share such a value: which of `images` they are, counted from the first, and the value.

        It is None where they have none, or one that no pixel can equal.
        """
        first, stop = images
        ends = np.flatnonzero(_differ(self.nodatas[first:stop])) + 1 if self.nodatas is not None else np.empty(0, int)
        for a, b in pairwise([0, *ends.tolist(), stop - first]):
            yield slice(a, b), comparable_nodata(self.nodata_at(first + a), self.dtype)


def _differ(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where the next value is another one; NaN is like NaN."""
    before, after = values[:-1], values[1:]
    return np.asarray((before != after) & ~(np.isnan(before) & np.isnan(after)))


def nodata_array(variable: str) -> str:
    """The array of a store, on (image), that holds `Variable.nodatas` of a variable.

    Examples
    --------
    >>> nodata_array("image")
    'nodata_image'
    """
    return f"nodata_{variable}"


PACKINGS = {"scale": 1.0, "offset": 0.0}
"""How stored values become what was measured, value * scale + offset, and what stands for none. In a canonical source
`packing_attribute` says it of each channel, or `packing_array` where images differ."""


def packing_array(kind: str, variable: str) -> str:
    """The array of a store that holds one of `Variable.packings`.

    Examples
    --------
    >>> packing_array("scale", "image")
    'scale_image'
    """
    return f"{kind}_{variable}"


def packing_attribute(kind: str) -> str:
    """The attribute of a variable that holds one of `PACKINGS` for each channel, where all images share it.

    Examples
    --------
    >>> packing_attribute("scale")
    'scales'
    """
    return f"{kind}s"


def one_nodata(value: float, dtype: np.dtype[Any]) -> Any:
    """A value of `Variable.nodatas` as pixels of `dtype` have it; None for NaN, where an image has none."""
    if np.isnan(value):
        return None
    return int(value) if dtype.kind in "iu" and float(value).is_integer() else float(value)


def comparable_nodata(nodata: Any, dtype: np.dtype[Any]) -> Any:
    """`nodata` as pixels of `dtype` can equal it; None where none can.

    Examples
    --------
    >>> comparable_nodata(255.0, np.dtype("uint8")), comparable_nodata(-9999.0, np.dtype("uint8"))
    (255, None)
    """
    if nodata is None:
        return None
    if dtype.kind in "fc":
        with np.errstate(over="ignore"):
            near = np.asarray(nodata).astype(dtype)
        # What a narrow type does not reach would become infinite, and equal to what is.
        return None if np.isinf(near) and math.isfinite(nodata) else nodata
    if isinstance(nodata, float) and not nodata.is_integer():
        return None
    # As an integer: in double precision, large ones of 64 bits would equal their neighbors.
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return int(nodata) if low <= nodata <= high else None


class UnknownVariableError(ValueError):
    """A source has no variable that was asked for; `known` are those with pixels that it has."""

    def __init__(self, sentence: str, known: Sequence[str] = ()) -> None:
        super().__init__(sentence)
        self.known = tuple(known)


def no_variable(where: str, name: Any, known: Sequence[str]) -> UnknownVariableError:
    """The error for a variable that `where` lacks; `known` are those with pixels, since no other can be cut."""
    from difflib import get_close_matches

    close = get_close_matches(str(name), known, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return UnknownVariableError(f"{where} has no variable {name!r}, it has {', '.join(known) or 'none'}{hint}", known)


def unchanged() -> None:
    """What can't change behind anybody's back: an object of this process."""


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Variables on the same images, y and x.

    Another process gets the values of what is in memory. What is stored it opens by itself, once, by `recipe`; a store
    that is not the one that was opened here is an error there.

    Parameters
    ----------
    url : str
        For people and for provenance.
    variables : tuple of Variable
        At least one.
    sizes : ndarray, shape (image, 2)
        Extent of each image in pixels: height, width.
    dims : mapping
        Canonical axis to the source's own name for it; axes that the source lacks are left out.
    labels : mapping
        Coordinates of the axes image, y, x; those of channels are ``channel`` or, where variables differ,
        ``channel_<variable>``.
    names : ndarray of str, optional
        Name of each image.
    crs : mapping, optional
        Attributes of the CF grid mapping variable ``spatial_ref``.
    crs_texts : ndarray of str, optional
        Where images differ in it, the coordinate reference system of each, empty where one has none.
    transform : Label, optional
        Affine transform of each image, shape (image, 6).
    identity : mapping
        What a resume compares to know the source again; plain JSON. A store that has only grown along its images has
        the same.
    check : callable
        Raises `SourceError` if the source is no longer what was opened.
    recipe : Recipe, optional
        How another process opens it; None for what is in memory.
    held : int
        Bytes of it that lie in this process anyway.
    """

    url: str
    variables: tuple[Variable, ...]
    sizes: NDArray[np.int64]
    dims: Mapping[str, str]
    labels: Mapping[str, Label] = field(default_factory=dict)
    names: NDArray[Any] | None = None
    crs: Mapping[str, Any] | None = None
    crs_texts: NDArray[Any] | None = None
    transform: Label | None = None
    identity: Mapping[str, Any] = field(default_factory=dict)
    check: Callable[[], None] = unchanged
    recipe: Any = None
    held: int = 0

    def __reduce__(self) -> tuple[Any, ...]:
        if self.recipe is None:
            return (Source, tuple(getattr(self, each.name) for each in fields(self)))
        from patchmill.sources.recipes import reopened

        return (reopened, (self.recipe,))

    def cached(self, nbytes: int, crowded: int) -> Source:
        """The same source, read through up to `nbytes` of decoded chunks that are kept, so that each is decoded once.

        Where nothing is decoded, in memory, it makes no difference. Sources of one number share the cache. What a read
        has freed goes back where the process holds more than `crowded` bytes.
        """
        variables = tuple(replace(each, read=each.read.cached(nbytes, crowded)) for each in self.variables)
        recipe = None if self.recipe is None else replace(self.recipe, cache_bytes=nbytes, crowded=crowded)
        return replace(self, variables=variables, recipe=recipe)

    def stored_ratio(self, variable: Variable) -> float | None:
        """Stored bytes for each raw one of `variable`, estimated from a few chunks; None where it can't be told."""
        return variable.read.stored_ratio()

    @property
    def images(self) -> int:
        """Number of images."""
        return len(self.sizes)

    @property
    def canvas(self) -> tuple[int, int]:
        """Height and width that hold every image, in pixels."""
        return self.variables[0].shape[2:]

    def channel_dim(self, variable: Variable) -> str:
        """``channel`` where all variables that have channels agree on them, else ``channel_<variable>``."""
        counts = {each.channels for each in self.variables if each.has_channel}
        agree = len(counts) == 1 and not any(name.startswith("channel_") for name in self.labels)
        return "channel" if agree else f"channel_{variable.name}"

    def read(self, variable: Variable, region: Region4) -> NDArray[Any]:
        """Values of `region`; what lies outside an image's own extent is 0 and is not read.

        Canonical stores have no chunks there, and a chunk that is missing inside an extent must stay an error.
        """
        images, channels, ys, xs = region
        here = self.sizes[images]
        if (here >= (ys.stop, xs.stop)).all():
            return variable.read(region)
        shape = (len(here), channels.stop - channels.start, ys.stop - ys.start, xs.stop - xs.start)
        values = np.zeros(shape, variable.dtype)
        for at, (height, width) in enumerate(here.tolist()):
            rows, columns = slice(ys.start, min(ys.stop, height)), slice(xs.start, min(xs.stop, width))
            if rows.start < rows.stop and columns.start < columns.stop:
                image = slice(images.start + at, images.start + at + 1)
                part = variable.read((image, channels, rows, columns))
                values[at, :, : part.shape[2], : part.shape[3]] = part[0]
        return values


def label_of(values: NDArray[Any], attributes: Mapping[Any, Any]) -> Label:
    """Coordinate values as they are meant, without the attributes that said how they were packed.

    Dates stay as they are stored, with their units, which every reader of CF understands.
    """
    kept = plain_attributes({key: value for key, value in attributes.items() if key not in _PACKING})
    scale, offset = attributes.get("scale_factor", 1), attributes.get("add_offset", 0)
    packed = isinstance(scale, int | float) and isinstance(offset, int | float) and (scale, offset) != (1, 0)
    return Label(values * scale + offset if packed and values.dtype.kind in "iuf" else values, kept)


_PACKING = frozenset((
    "scale_factor", "add_offset", "_FillValue", "missing_value", "_Unsigned", "_Encoding", "dtype", "coordinates",
    "grid_mapping", "bounds", "_ARRAY_DIMENSIONS",
))  # fmt: skip


_REFERENCE = ("crs_wkt", "spatial_ref", "grid_mapping_name")


def grid_mapping(variables: Iterable[Mapping[Any, Any]], scalars: Mapping[str, Mapping[Any, Any]]) -> str | None:
    """Name of the scalar that says where on Earth pixels lie, None without one.

    Parameters
    ----------
    variables : iterable of mapping
        Attributes of the variables to cut, which may name it.
    scalars : mapping
        Attributes of each variable without axes. Where none is named, ``spatial_ref`` or one that tells a CRS is meant.

    Examples
    --------
    >>> grid_mapping([{"grid_mapping": "crs: lat lon"}], {"spatial_ref": {}, "crs": {}})
    'crs'
    >>> grid_mapping([{}], {"time": {}, "utm": {"grid_mapping_name": "transverse_mercator"}})
    'utm'
    """
    named = [str(each["grid_mapping"]).split(":")[0].strip() for each in variables if "grid_mapping" in each]
    told = [name for name, attributes in scalars.items() if any(key in attributes for key in _REFERENCE)]
    return next((name for name in (*named, "spatial_ref", *told) if name in scalars), None)


def channel_labels(labels: Mapping[str, Label | None], counts: Mapping[str, int | None]) -> dict[str, Label]:
    """Labels of channels by the name of their axis: one ``channel`` where all agree, else ``channel_<variable>``.

    Parameters
    ----------
    labels : mapping
        For each variable that has channels, its labels or None.
    counts : mapping
        For each of these, how many channels it has.
    """
    given = list(labels.values())
    if not given:
        return {}
    first = given[0]
    same = all(
        (each is None) == (first is None)
        and (each is None or first is None or np.array_equal(each.values, first.values))
        for each in given
    )
    if same and len(set(counts.values())) == 1:
        return {} if first is None else {"channel": first}
    return {f"channel_{name}": each for name, each in labels.items() if each is not None}


def one_name(names: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Canonical axis to the source's own name, for the axes that all variables which have them call alike."""
    every = {axis: {each[axis] for each in names if axis in each} for axis in AXES}
    return {axis: next(iter(own)) for axis, own in every.items() if len(own) == 1}


def plain_attributes(attributes: Mapping[Any, Any]) -> dict[str, Any]:
    """`attributes` as strict JSON: NumPy's numbers become Python's, anything else that JSON lacks becomes its text."""
    return {str(key): _plain(value) for key, value in attributes.items()}


def _plain(value: Any) -> Any:
    def converted(other: Any) -> Any:
        return other.tolist() if hasattr(other, "tolist") else str(other)

    try:
        return json.loads(json.dumps(value, default=converted, allow_nan=False))
    except (TypeError, ValueError):  # NaN, a key that is no text, a circle
        return str(value)


def refuse_dtype(name: str, dtype: np.dtype[Any]) -> None:
    """Raise where patch sets can't hold `dtype`.

    Raises
    ------
    TypeError
        For datetimes, structures, texts and objects.
    """
    if dtype.kind not in "buifc" or dtype.itemsize > 16 or dtype in (np.longdouble, np.clongdouble):
        raise TypeError(
            f"patch sets hold booleans, integers, floats and complex numbers, got {dtype} in {name!r}: "
            "cast it first, or cut it in memory with patchmill.patchify"
        )


def nothing_at(url: str) -> MissingSourceError:
    """The error for a source that is not there: a pattern is for ingest, which takes many files."""
    if "://" not in url and re.search(r"[*?\[]", url):
        way = f"a pattern of files becomes one source by ingest: patchmill ingest '{url}' --target source.zarr"
        return MissingSourceError(f"a source is one Zarr store or file, and nothing is at {url}: {way}")
    return MissingSourceError(f"nothing is at {url}: check the path of the source")


def vanished(url: str) -> SourceError:
    """The error for a source whose metadata is no longer what was opened."""
    return SourceError(
        f"{url} changed or vanished while it was read, and what was cut since is not counted: put it back as it was "
        "and call again, or cut what it is now with mode='overwrite'"
    )
