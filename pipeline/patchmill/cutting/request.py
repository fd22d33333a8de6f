"""A request to cut: what is asked for, checked; and as plain data, what a resume must agree with."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from patchmill.cutting import compiled
from patchmill.cutting.keeping import Keep, as_keep
from patchmill.cutting.statistics import FIELDS
from patchmill.errors import PatchmillError
from patchmill.expressions import nearest
from patchmill.grid import ImageGrids
from patchmill.patches.fills import as_fill
from patchmill.patches.views import Padding, padding_that_counts
from patchmill.planning import Part, Plan, make_plan, memory_limit, worker_count
from patchmill.planning.memory import COMPILER, LAZY, STEP, WORKER, held_beyond
from patchmill.sources import Dims, Source, Variable, image_grids, open_source
from patchmill.sources.coordinates import is_own_name
from patchmill.sources.model import (
    PACKINGS,
    comparable_nodata,
    nodata_array,
    one_nodata,
    packing_array,
    plain_attributes,
)
from patchmill.sources.naming import as_dims, as_names
from patchmill.storage import FORMAT, Location, digest
from patchmill.storage.heap import in_use
from patchmill.transforms import Transform, as_transform, cast, is_storable
from patchmill.transforms.functions import Function
from patchmill.types import Edge, Layout, PadMode, PerAxis, as_axes, as_bytes, as_flag, as_int, as_word

PerVariable = Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """What becomes of one variable's values on the way.

    Parameters
    ----------
    transform : Transform or None
    dtype : numpy.dtype
        As stored.
    asked : bool
        Whether the user asked for it, so that values of another are cast; else it is what the transform makes of zeros.
    padding : Padding
        What continues an image: as stored, where the transform is pointwise or absent, else as the source has it.
    nodata : number or None
        The value that stands for "nothing measured" in what is stored.
    nodatas : ndarray of float64, shape (image,), or None
        Where images differ in it, the value of each, NaN where one has none.
    """

    transform: Transform | None
    dtype: np.dtype[Any]
    asked: bool
    padding: Padding
    nodata: Any
    nodatas: NDArray[np.float64] | None = None

    @property
    def pointwise(self) -> bool:
        """Whether each pixel is changed alone, so that a tile can be changed before it is cut."""
        return self.transform is None or self.transform.pointwise

    def apply(self, patches: Any, where: str) -> Any:
        """Changed values of `patches`, shape (n, channel, y, x); the same object where nothing changes.

        Raises
        ------
        ValueError
            If a value does not fit, or a function returns another dtype than for zeros and none was asked for.
        """
        values = patches if self.transform is None else self.transform(patches)
        if values.dtype == self.dtype:
            return values
        if self.transform is not None and self.transform.functions and not self.asked:
            raise ValueError(
                f"{' | '.join(each.name for each in self.transform.functions)} must return one dtype, got "
                f"{values.dtype} in {where} and {self.dtype} for zeros: return one whatever the values, or pass dtype, "
                f"such as dtype={values.dtype.name!r}"
            )
        return cast(values, self.dtype, where)


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """An opened source, the grids to cut it by, and what becomes of its values.

    Parameters
    ----------
    source : Source
    grids : ImageGrids
    plan : Plan
    changes : tuple of Change
        In the order of the source's variables.
    keep : Keep or None
    pad_mode : str
    pad_value : Any
        As the user gave it.
    asked : mapping
        What `open_source` was told beside the source: variables, dims, channels; plain JSON.
    """

    source: Source
    grids: ImageGrids
    plan: Plan
    changes: tuple[Change, ...]
    keep: Keep | None
    pad_mode: PadMode
    pad_value: Any
    asked: Mapping[str, Any] = field(default_factory=dict)

    def array_name(self, at: int) -> str:
        """Key of a variable's pixels in the set: the layout's name where there is only one."""
        return self.plan.layout if len(self.plan.variables) == 1 else self.plan.variables[at].name

    def unmarked(self) -> Iterator[str]:
        """A sentence for each variable whose nodata is not one value of its own any more in what is stored."""
        for variable, change in zip(self.source.variables, self.changes, strict=True):
            had = any(value is not None and value == value for _, value in variable.nodata_runs((0, variable.shape[0])))
            if had and change.nodata is None and change.nodatas is None:
                yield (
                    f"nodata of {variable.name} becomes what measured values may become too, so patches don't mark it, "
                    "and masked reads don't leave it out; valid_fraction still tells of it"
                )

    def to_dict(self, images: int | None = None) -> dict[str, Any]:
        """What decides the bytes of the result; two requests that agree here may finish each other's work.

        Parameters
        ----------
        images : int, optional
            Only the first so many: what the request was before the source grew.
        """
        sizes = self.grids.sizes if images is None else self.grids.sizes[:images]
        differ = ImageGrids(self.grids.canvas, sizes).differ
        return {
            "format": FORMAT,
            "layout": self.plan.layout,
            "grid": self.grids.canvas.to_dict() | {"pad_mode": self.pad_mode, "pad_value": _told_fill(self.pad_value)},
            "images": len(sizes),
            "sizes": digest(np.ascontiguousarray(sizes, "<i8").tobytes()) if differ else "all as the canvas",
            "source": dict(self.source.identity),
            "variables": [
                {
                    "name": planned.name,
                    "dtype": planned.dtype,
                    "channels": planned.channels,
                    "nodata": _told_nodata(variable, images),
                    "transform": None if change.transform is None else change.transform.fingerprint,
                }
                for planned, variable, change in zip(
                    self.plan.variables, self.source.variables, self.changes, strict=True
                )
            ],
            "keep": None if self.keep is None else self.keep.fingerprint | self._labels_asked_for(),
            "statistics": self.plan.statistics,
        }

    def _labels_asked_for(self) -> dict[str, Any]:
        """The labels of channels, where there are some and a condition may name one."""
        names = {self.source.channel_dim(each) for each in self.source.variables if each.has_channel}
        named = self.keep is not None and self.keep.needs_statistics and not names.isdisjoint(self.source.labels)
        return {"channels": channel_labels_of(self.source)} if named else {}


def make_request(
    source: Any,
    patch_shape: PerAxis,
    step: PerAxis | None,
    *,
    layout: Layout,
    dilation: PerAxis,
    edge: Edge,
    pad_mode: PadMode,
    pad_value: Any,
    dtype: DTypeLike | PerVariable | None,
    transform: Any,
    keep: Any,
    statistics: bool | None,
    variables: Sequence[str] | None,
    dims: Dims,
    channels: Sequence[str] | None,
    memory: int | str | None,
    workers: int | None,
    storage_options: Mapping[str, Any] | None,
    tuning: Mapping[str, Any] | None,
    target: Location | None,
    in_processes: bool,
) -> Request:
    """Open the source, check every argument, and plan; `in_processes` is whether workers of a Dask cluster cut.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong, or no image is as large as a patch.
    PatchmillError
        If the source can't be read, or memory does not suffice.
    """
    as_word(layout, "layout", Layout)
    as_word(edge, "edge", Edge)
    as_word(pad_mode, "pad_mode", PadMode)
    as_flag(statistics, "statistics")
    pad_mode, pad_value = padding_that_counts(edge, pad_mode, pad_value)
    limit, threads = memory_limit(memory), worker_count(workers)
    variables, channels, dims = as_names(variables, "variables"), as_names(channels, "channels"), as_dims(dims)
    opened = open_source(source, variables=variables, dims=dims, channels=channels, storage_options=storage_options)
    _refuse_names(opened)
    grids = image_grids(opened, patch_shape, step, dilation=dilation, edge=edge)
    changes = _changes(opened, grids, dtype, transform, pad_mode, pad_value, layout)
    keeping = as_keep(keep)
    if keeping is not None and len(opened.variables) == 1:
        keeping = keeping.on_lone(opened.variables[0].name)
    _check_fields(keeping, opened, changes)
    parts = [
        Part(
            name=variable.name,
            dtype=change.dtype.str,
            source_dtype=variable.dtype.str,
            channels=variable.channels,
            source_chunk=variable.chunks,
            missing=variable.has_nodata or change.dtype.kind in "fc" or variable.dtype.kind in "fc",
            changed=change.pointwise and (change.transform is not None or change.dtype != variable.dtype),
            transformed=not change.pointwise,
        )
        for variable, change in zip(opened.variables, changes, strict=True)
    ]
    lazy = any(variable.lazy is not None for variable in opened.variables)
    plan = make_plan(
        grids,
        parts,
        layout=layout,
        statistics=statistics,
        looked_at=keeping is not None,
        handed_over=keeping is not None and keeping.needs_patches,
        lazy=lazy,
        held=opened.held + (WORKER if in_processes else max(LAZY if lazy else 0, _here_beyond(opened.held))),
        limit=limit,
        workers=threads,
        tuning=_tuning(tuning, grids.canvas.ndim),
        free=None if target is None else target.free(),
        compiler=compiled.installed(),
        compiled=not in_processes and compiled.kernels() is not None,
    )
    asked = {"variables": variables, "dims": dims, "channels": channels}
    return Request(opened, grids, plan, changes, keeping, pad_mode, pad_value, plain_attributes(asked))


def _here_beyond(held: int) -> int:
    """Bytes that this process holds beside the source and our own libraries, compiled kernels among these."""
    return held_beyond(in_use(STEP) - (COMPILER if compiled.kernels() is not None else 0), held)


def _check_fields(keep: Keep | None, source: Source, changes: Sequence[Change]) -> None:
    """A condition that asks for what the catalog won't have is refused before anything is cut."""
    if keep is None or not keep.needs_statistics:
        return
    fields: dict[str, Any] = {"valid_fraction": np.ones(1, np.float32)}
    for variable, change in zip(source.variables, changes, strict=True):
        stem = f"{variable.name}." if len(source.variables) > 1 else ""
        for name in () if change.dtype.kind == "c" else FIELDS[1:]:
            channels = (variable.shape[1],) if variable.has_channel else ()
            fields[f"{stem}{name}"] = np.ones((1, *channels), np.float32)
    keep(fields, channels=channel_labels_of(source))


def channel_labels_of(source: Source) -> dict[str, list[str]]:
    """Labels of the channels of each variable that has them, else their numbers; those of a lone one by ``""``."""
    several = len(source.variables) > 1
    found = {}
    for variable in source.variables:
        if variable.has_channel:
            label = source.labels.get(source.channel_dim(variable))
            values = range(variable.shape[1]) if label is None else label.values
            found[variable.name if several else ""] = [str(each) for each in values]
    return found


def _told_fill(value: Any) -> Any:
    """A pad value; that of -0.0, which equals 0 and is other bytes, as text."""
    told = as_json(value)
    return str(told) if told == 0 and math.copysign(1, told) < 0 else told


def _told_nodata(variable: Variable, images: int | None) -> Any:
    """What stands for "nothing measured" in the first so many images: a value, or a text that tells several apart."""
    runs = variable.nodata_runs((0, variable.shape[0] if images is None else images))
    if len(list(islice(runs, 2))) == 1:
        value = variable.nodata_at(0)
        return None if value is None or value != value else as_json(value)  # NaN is never measured
    values = np.asarray(variable.nodatas, "<f8")[:images]
    return f"one each, {digest(np.where(np.isnan(values), np.nan, values).tobytes())}"


# -- changes of values -------------------------------------------------------------------------------------------------


def _changes(
    source: Source, grids: ImageGrids, dtype: Any, transform: Any, pad_mode: PadMode, pad_value: Any, layout: Layout
) -> tuple[Change, ...]:
    found = []
    for variable in source.variables:
        asked = _of(dtype, source, variable, "dtype")
        change = as_transform(_of(transform, source, variable, "transform"))
        if change is not None and layout == "canvas" and not change.pointwise:
            raise _not_pointwise(change)
        found.append(_change(variable, grids, asked, change, pad_mode, pad_value))
    return tuple(found)


def _not_pointwise(transform: Transform) -> ValueError:
    step = next(step for step in transform.steps if not step.pointwise)
    if isinstance(step, Function):
        got = f"{step.name}, which does not say that it does"
        name = step.name.rpartition(":")[2]
        way = f"set {name if name.isidentifier() else 'function'}.pointwise = True if it does"
    else:
        got, way = "standardize by each patch's own values", "give standardize its constants"
    return ValueError(
        f'layout "canvas" stores pixels, so it takes transforms that change each pixel alone, got {got}: '
        f'use layout="patches", or {way}'
    )


def _change(
    variable: Variable, grids: ImageGrids, asked: Any, transform: Transform | None, mode: PadMode, value: Any
) -> Change:
    shape = grids.canvas.patch_shape
    natural = (
        variable.dtype
        if transform is None
        else transform.result_dtype(variable.dtype, variable.shape[1], (shape[0], shape[1]))
    )
    stored = natural if asked is None else _as_dtype(asked)
    fill = as_fill(value, variable.dtype, "pad_value")
    plain = Change(transform, stored, asked is not None, Padding(mode, fill), variable.nodata, variable.nodatas)
    if not plain.pointwise or (transform is None and stored == variable.dtype):
        return plain if plain.pointwise else replace(plain, nodata=None, nodatas=None)
    padding = Padding(mode, _as_stored(plain, variable, fill, "pad_value")) if mode == "constant" else plain.padding
    nodata, nodatas = _nodata(plain, variable, variable.nodata), _nodatas(plain, variable)
    return replace(plain, padding=padding, nodata=nodata, nodatas=nodatas)


_NAMES = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64",
    "complex64", "complex128",
)  # fmt: skip


def _as_dtype(asked: Any) -> np.dtype[Any]:
    """The dtype that was asked for, in the machine's order of bytes."""
    found: np.dtype[Any] | None
    try:
        found = np.dtype(asked).newbyteorder("=")
    except (TypeError, ValueError):
        found = None
    if found is None or not is_storable(found):
        raise TypeError(f"dtype must be one that can be stored, got {asked!r}: {nearest(str(asked), _NAMES)}")
    return found


def _as_stored(change: Change, variable: Variable, value: Any, where: str) -> Any:
    """One source value as each channel stores it: shape (channel, 1, 1)."""
    pixels = np.full((1, variable.shape[1], 1, 1), value, variable.dtype)
    return np.asarray(change.apply(pixels, where))[0]


def _nodatas(change: Change, variable: Variable) -> NDArray[np.float64] | None:
    """What "nothing measured" has become in each image; None where that can't be said of every one."""
    if variable.nodatas is None:
        return None
    values, which = np.unique(variable.nodatas, return_inverse=True)
    before = [comparable_nodata(one_nodata(value, variable.dtype), variable.dtype) for value in values]
    after = [_nodata(change, variable, value) for value in before]
    told = (
        isinstance(new, int | float) and float(new) == new
        for old, new in zip(before, after, strict=True)
        if old is not None
    )
    if not all(told):  # a complex number, or one beyond double precision, can't be kept
        return None
    return np.asarray([math.nan if new is None else new for new in after], np.float64)[which]


def _nodata(change: Change, variable: Variable, nodata: Any) -> Any:
    """What `nodata` has become; None where it is not one value any more, or others have become the same."""
    nodata = comparable_nodata(nodata, variable.dtype)
    if nodata is None:
        return None
    own = _become(change, variable, nodata)
    if own is None or any(value != own[0] for value in own):
        return None
    whole = change.dtype.kind in "bui"
    beside = (_become(change, variable, value) for value in _neighbors(nodata, variable.dtype, whole=whole))
    met = any(values is not None and own[0] in values for values in beside)
    return None if met or _is_met_by_any(change, variable, nodata, own[0]) else own[0]


def _is_met_by_any(change: Change, variable: Variable, nodata: Any, own: Any) -> bool:
    """Whether a function makes another value the same: of a type that has few enough, all are asked."""
    written = change.transform is not None and change.transform.functions
    if not written or variable.dtype.kind not in "ui" or variable.dtype.itemsize > 2:
        return False
    info = np.iinfo(variable.dtype)
    values = np.arange(info.min, info.max + 1).astype(variable.dtype)
    others = values[values != nodata].reshape(1, 1, 1, -1)
    with suppress(ValueError, OverflowError, PatchmillError):  # not for all of them: then nothing can be said
        become = change.apply(np.broadcast_to(others, (1, variable.shape[1], *others.shape[2:])), "nodata")
        return bool((become == own).any())
    return False


def _become(change: Change, variable: Variable, value: Any) -> list[Any] | None:
    """What a source value is stored as, in each channel; None where it can't be, or a function fails with it."""
    try:
        with np.errstate(all="ignore"):  # a function may have its reasons not to expect the value
            return list(_as_stored(change, variable, value, "nodata").ravel().tolist())
    except (ValueError, OverflowError, PatchmillError):
        return None


def _neighbors(value: Any, dtype: np.dtype[Any], *, whole: bool) -> list[Any]:
    """Other values that `dtype` has, which become the same as `value` if any that may be measured do.

    One below and one above, or half as much where a float is too large for that: what is clipped away becomes like
    them. Of floats also 0 and the least normal numbers around it, which a narrower float rounds to 0, and where `whole`
    numbers are stored the next float below and above, as fractions are rounded: 254.7 becomes 255 too. Else, and beside
    -9999, they are not asked: in float32 those of any float64 become the same, and what is measured is not so near to
    what stands for nothing.
    """
    if dtype.kind == "b":
        return [not value]
    if dtype.kind in "ui":
        info = np.iinfo(dtype)
        return [each for each in (int(value) - 1, int(value) + 1) if info.min <= each <= info.max]
    if dtype.kind != "f":
        return []
    with np.errstate(all="ignore"):
        own = dtype.type(value)
        far = 1.0 if np.spacing(np.abs(own)) < 1 else abs(float(own)) / 2
        tiny = float(np.finfo(dtype).tiny)
        found = [float(own) - far, float(own) + far, 0.0, -tiny, tiny]
        if whole and own >= 0:
            found += [float(np.nextafter(own, dtype.type(end))) for end in (-np.inf, np.inf)]
        return [each for each in found if np.isfinite(dtype.type(each)) and dtype.type(each) != own]


def _of(value: Any, source: Source, variable: Variable, name: str) -> Any:
    """The part of an argument that is meant for one of several variables."""
    if value is None or len(source.variables) == 1:
        alone = isinstance(value, Mapping) and set(value) == {variable.name}
        return value[variable.name] if alone else value
    names = [each.name for each in source.variables]
    if not isinstance(value, Mapping) or not set(value) <= set(names):
        raise ValueError(
            f"{name} must say which of the variables {', '.join(names)} it is for, such as "
            f"{name}={{{names[0]!r}: ...}}, got {value!r}"
        )
    return value.get(variable.name)


def _tuning(tuning: Mapping[str, Any] | None, ndim: int) -> dict[str, Any]:
    """What the user decided about how work is cut, as fields of `Work`, along `ndim` spatial axes."""
    if tuning is not None and not isinstance(tuning, Mapping):
        raise TypeError(f"tuning must be a mapping such as {{'inflight': 4}}, got {tuning!r}")
    given = dict(tuning or {})
    known = {"read", "block", "band", "rows", "inflight", "cache"}
    for key in given:
        if key not in known:
            raise ValueError(f"tuning takes {', '.join(sorted(known))}, got {key!r}")
    for key in ("band", "rows", "inflight"):
        if key in given:
            given[key] = as_int(given[key], f"tuning[{key!r}]", least=1, unit="")
    if "cache" in given:
        given["cache"] = as_bytes(given["cache"], "tuning['cache']") if given["cache"] else 0
    if "block" in given:
        given["block"] = as_axes(given["block"], "tuning['block']", ndim, unit=" of shards")
    if given.get("read") not in (None, "region", "overlap"):
        raise ValueError(f"tuning['read'] must be 'region' or 'overlap', got {given['read']!r}")
    return given


# -- names -------------------------------------------------------------------------------------------------------------


def _refuse_names(source: Source) -> None:
    """Several variables are stored under their own names, which must not be those of the set's own arrays."""
    if len(source.variables) < 2:
        return
    names = [variable.name for variable in source.variables]
    beside = {*map(nodata_array, names), *(packing_array(kind, name) for kind in PACKINGS for name in names)}
    for variable in source.variables:
        taken = variable.name in beside or is_own_name(variable.name)
        if taken or not _names_a_folder(variable.name):
            raise ValueError(
                f"variable {variable.name!r} can't name an array of the patch set, which has its own of that name, "
                "or can't have it: rename the variable in the source"
            )


def _names_a_folder(name: str) -> bool:
    """Whether an array of this name can be stored, beside the metadata of the group."""
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        return False
    reserved = name in ("", ".", "..", "zarr.json") or name.endswith((".__lock", ".__tmp"))
    return not reserved and len(encoded) <= _LONGEST_NAME and not set(name) & set("/\\\0")


_LONGEST_NAME = 200
"""Bytes: disks take 255, of which some go to ``stat_<name>_mean``."""


def as_json(value: Any) -> Any:
    """A value as JSON has it; what it lacks as text: NaN, infinities, complex numbers."""
    value = value.item() if isinstance(value, np.generic) or getattr(value, "shape", None) == () else value
    if isinstance(value, np.inexact):  # numbers of more than double precision, which have no other item
        value = complex(value) if isinstance(value, np.complexfloating) else float(value)
    if isinstance(value, Mapping) or not isinstance(value, int | float | str | bool | type(None)):
        return str(value)
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
