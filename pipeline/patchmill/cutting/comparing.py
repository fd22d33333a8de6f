"""Pixels against the catalog: what finds a shard that is whole, but belongs elsewhere or to another set.

Least, greatest and mean of each patch are computed again and compared. The first two must be the same number; the mean
was summed in another order, so it may differ by what that costs in the precision of the catalog.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchmill.cutting.expected import CATALOG_CACHE, Expected, Index
from patchmill.cutting.reports import Finding
from patchmill.errors import PatchmillError
from patchmill.reading import PatchSet
from patchmill.reading.patchset import SetVariable
from patchmill.sources.model import comparable_nodata, nodata_array, one_nodata
from patchmill.sources.zarrs import nodata_of
from patchmill.storage import BulkArray, StoredGroup

Array = NDArray[Any]
Region = tuple[slice, slice, slice]
"""Positions: image, grid_y, grid_x."""

_VALUES = 2**20

WORKING = 4 * 8 * _VALUES
"""Bytes that a comparison holds beside a shard: its values in double precision, and what counts of them."""

_COMPARED = ("min", "max", "mean")

_NAMED = {"scale", "clip", "standardize"}


@dataclass(frozen=True, slots=True, eq=False)
class Comparing:
    """Recomputes what the catalog says.

    Parameters
    ----------
    group : StoredGroup
    ps : PatchSet
        The same, opened.
    nodata : mapping
        Name of an array to the value that its statistics leave out, or a list with that of each image, of those arrays
        that can be compared.
    known : mapping
        Name of such an array to its statistics in the catalog, opened, by field.
    """

    group: StoredGroup
    ps: PatchSet
    nodata: dict[str, Any]
    known: dict[str, dict[str, BulkArray]]

    @classmethod
    def of(cls, group: StoredGroup, ps: PatchSet) -> Comparing:
        """Of a patch set."""
        described, asked = group.own["source"]["variables"], group.own["request"]["variables"]
        nodata, known = {}, {}
        for each in asked:
            name = described[each["name"]]["array"]
            attributes, dtype = group.arrays[name]["attributes"], np.dtype(each["dtype"])
            stored = _nodata(group, each["name"], dtype) or nodata_of({"nodata": attributes.get("nodata")}, dtype)
            steps = {key for step in each["transform"] or () for key in step}
            told = stored is not None or each["nodata"] in (None, "nan")
            if told and steps <= _NAMED and _field(group, each["name"], "min") in group.arrays:
                nodata[name], known[name] = stored, _opened(group, each["name"])
        return cls(group, ps, nodata, known)

    def differs(self, name: str, index: Index, expected: Expected) -> Finding | None:
        """What is wrong with one shard; None where all agrees, or nothing can be compared."""
        variable = next((each for each in self.ps.variables if each.array == name), None)
        if variable is None or name not in self.nodata:
            return None
        region = expected.form.region(index)
        has = variable.channels is not None
        images = slice(*region[0])
        rows, columns = (self._positions(axis, region[1 + has + axis]) for axis in (0, 1))
        try:
            wrong = [
                at for part in self._parts(variable, images, rows, columns) for at in self._wrong(variable, name, part)
            ]
        except PatchmillError:  # damage, which is found where its bytes are checked
            return None
        if not wrong:
            return None
        first, last = np.min(wrong, axis=0).tolist(), np.max(wrong, axis=0).tolist()
        where = {dim: (a, b + 1) for dim, a, b in zip(("image", "grid_y", "grid_x"), first, last, strict=True)}
        text = f"{len(wrong):,} patches are not what the catalog says of them: {self._why}"
        return Finding(name, f"{name}/{expected.form.key(index)}", index, text, where, "differs")

    @property
    def _why(self) -> str:
        if self.ps.layout == "patches":
            return "it belongs elsewhere, or to another set"
        return "it or a neighbor belongs elsewhere, or to another set"

    def _parts(self, variable: SetVariable, images: slice, rows: slice, columns: slice) -> Iterator[Region]:
        """Few rows of one image at a time, since pixels are compared in double precision."""
        row = (variable.channels or 1) * (columns.stop - columns.start) * prod(self.ps.grid.patch_shape)
        step = max(1, _VALUES // max(1, row))
        for image in range(images.start, images.stop):
            for start in range(rows.start, rows.stop, step):
                yield slice(image, image + 1), slice(start, min(start + step, rows.stop)), columns

    def _positions(self, axis: int, side: tuple[int, int]) -> slice:
        """Positions of a shard: in layout "canvas" those that touch its pixels, and one more, as "shift" moves some."""
        if self.ps.layout == "patches":
            return slice(*side)
        along = self.ps.grid.axes[axis]
        found = along.touching(*side)
        return slice(found.start, min(found.stop + 1, len(along)))

    def _wrong(self, variable: SetVariable, name: str, region: Region) -> list[list[int]]:
        """Positions, [image, grid_y, grid_x], of the patches that differ."""
        images, rows, columns = region
        exists = self.ps.numbering.exists(images, rows, columns)
        if not exists.any():
            return []
        patches = variable.pixels.rectangle(images, (rows.start, columns.start), (rows.stop, columns.stop), exists)
        has = variable.channels is not None
        patches = patches if has else patches[:, None]
        found = _statistics(patches, self._counted(patches, self._nodata(name, images.start), region))
        wrong = np.zeros(exists.shape, bool)
        for field, array in self.known[name].items():
            known = (
                array.read((images, slice(0, patches.shape[1]), rows, columns)) if has else array.read(region)[:, None]
            )
            close = _same(found[field].astype(known.dtype), known, found["size"], exact=field != "mean")
            wrong |= (~close).any(axis=1)
        corner = np.asarray([images.start, rows.start, columns.start])
        positions: list[list[int]] = (np.argwhere(wrong & exists) + corner).tolist()
        return positions

    def _nodata(self, name: str, image: int) -> Any:
        known = self.nodata[name]
        return known[image] if isinstance(known, list) else known

    def _counted(self, patches: Array, nodata: Any, region: Region) -> Array | None:
        """Which values count: inside their image, and measured; None where all do."""
        counted = [~np.isnan(patches)] if patches.dtype.kind in "fc" else []
        nodata = comparable_nodata(nodata, patches.dtype)
        if nodata is not None and nodata == nodata:
            counted.append(patches != nodata)
        if self.ps.grid.edge == "pad":
            counted.append(self._inside(region))
        whole = (
            None
            if not counted
            else np.broadcast_to(np.logical_and.reduce(np.broadcast_arrays(*counted)), patches.shape)
        )
        return None if whole is None or whole.all() else whole

    def _inside(self, region: Region) -> Array:
        """Which pixels of patches lie inside the one image: (1, 1, grid_y, grid_x, patch_y, patch_x)."""
        ys, xs = (
            np.arange(side.start, side.stop)[:, None] * axis.step + np.arange(axis.patch) * axis.dilation < n
            for side, axis, n in zip(
                region[1:], self.ps.grid.axes, self.ps.sizes[region[0].start].tolist(), strict=True
            )
        )
        inside: Array = ys[None, None, :, None, :, None] & xs[None, None, None, :, None, :]
        return inside


def _nodata(group: StoredGroup, variable: str, dtype: np.dtype[Any]) -> list[Any]:
    """What stands for "nothing measured" in each image, empty where these do not differ."""
    name = nodata_array(variable)
    return [one_nodata(value, dtype) for value in group.values(name)] if name in group.arrays else []


def _field(group: StoredGroup, variable: str, field: str) -> str:
    several = len(group.own["request"]["variables"]) > 1
    return f"stat_{variable}_{field}" if several else f"stat_{field}"


def _opened(group: StoredGroup, variable: str) -> dict[str, BulkArray]:
    """What is compared, from the catalog; opened once, since a check asks for it part by part."""
    names = {field: _field(group, variable, field) for field in _COMPARED}
    return {field: group.bulk(name, cache_bytes=CATALOG_CACHE // len(names)) for field, name in names.items()}


def _statistics(patches: Array, counted: Array | None) -> dict[str, Array]:
    """Least, greatest, mean and a bound of the mean's size, NaN where no value counts: (image, channel, y, x)."""
    values = patches.view(np.uint8) if patches.dtype == bool else patches
    inside = (-2, -1)
    if counted is None:
        low, high = (part.astype(np.float64) for part in (values.min(axis=inside), values.max(axis=inside)))
        mean = values.mean(axis=inside, dtype=np.float64)
    else:
        number, wide = counted.sum(axis=inside), values.astype(np.float64)
        low = np.where(counted, wide, np.inf).min(axis=inside)
        high = np.where(counted, wide, -np.inf).max(axis=inside)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = np.where(counted, wide, 0).sum(axis=inside) / number
        low, high, mean = (np.where(number == 0, np.nan, each) for each in (low, high, mean))
    return {"min": low, "max": high, "mean": mean, "size": np.maximum(np.abs(low), np.abs(high))}


def _same(found: Array, known: Array, size: Array, *, exact: bool) -> Array:
    both = np.isnan(found) & np.isnan(known)
    with np.errstate(invalid="ignore", over="ignore"):
        room = 0 if exact else 16 * np.finfo(known.dtype).eps * size
        same: Array = both | (found == known) | (np.abs(found.astype(np.float64) - known) <= room)
    return same
