"""What is in each patch: share of valid values, mean, standard deviation, least and greatest, by channel.

Overlapping patches share most of their pixels, so nothing is summed twice that need not be: first along y, pixels to
cells to patches (see `gathering`), in strips that fit the processor's cache, then what came out along x.

Whatever the tile a patch is seen in, its statistics are the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchmill.cutting.cells import (
    Known,
    Missing,
    Scratch,
    Strip,
    count_cells,
    dot_cells,
    exact_cells,
    exact_moments,
    float_cells,
    float_moments,
    is_exact,
    join_by,
    join_floats,
    join_measured,
    join_moments,
    whole,
)
from patchmill.cutting.compiled import kernels
from patchmill.cutting.gathering import Along, Array, Cells, Join, Nodes, Stretch, shared_cell, strips
from patchmill.grid import Axis

__all__ = ["FIELDS", "Along", "measured_values", "patch_statistics", "patch_statistics_of", "precision"]

FIELDS = ("valid", "mean", "std", "min", "max")

STRIP = 2**17
"""Pixels that are worked on together: one MiB in double precision."""

LINES, _KNOWN = 2**23, 48
"""Bytes of what is known of lines, patches along y and pixels along x; and how many there are of one, at most."""


def precision(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Single precision holds what 16 bits do; the rest gets double."""
    return np.dtype(np.float32 if dtype.itemsize <= 2 else np.float64)


def measured_values(pixels: Array, nodata: Any) -> Missing:
    """Which values are neither `nodata` nor NaN, shape as `pixels`; None where that is all of them."""
    absent = np.isnan(pixels) if pixels.dtype.kind in "fc" else None
    if nodata is not None and nodata == nodata:  # a NaN is found above
        same = pixels == nodata
        absent = same if absent is None else absent | same
    return None if absent is None or not absent.any() else ~absent


def patch_statistics(
    tile: Array,
    along: Sequence[Along],
    nodata: Any,
    *,
    measured: Missing = None,
    fields: Collection[str] = FIELDS,
) -> dict[str, Array]:
    """Statistics of patches.

    Parameters
    ----------
    tile : ndarray, shape (image, channel, y, x)
        Pixels of the image that the patches reach over; it may go on beyond them.
    along : sequence of Along
        The positions, one an axis: y, x.
    nodata : number or None
        Value that stands for "nothing measured"; NaN is always taken for that.
    measured : ndarray of bool, shape as `tile`, or None
        Which values count beside these, where what they were is no longer seen.
    fields : collection of str
        Which of `FIELDS`; "valid" alone costs little, and nothing where there is no nodata and there are no NaN.

    Returns
    -------
    dict of ndarray, shape (image, channel, grid_y, grid_x)
        ``valid``, float64, is the share of the patch's values inside the image and measured. The others are over those
        values, NaN where there is none, in `precision`. For complex numbers there is ``valid`` only, since they have no
        order.
    """
    y, x = along
    shape = (*tile.shape[:2], y.stop - y.start, x.stop - x.start)
    wanted = _wanted(fields, tile.dtype)
    if wanted == ["valid"] and tile.dtype.kind not in "fc" and nodata is None and measured is None:
        return {"valid": np.broadcast_to(_inside(y, x, np.empty(shape[2:])), shape)}
    found = {name: np.empty(shape, _kind(name, tile.dtype)) for name in wanted}
    if "valid" in found and found["valid"].size:
        found["valid"][...] = _inside(y, x, found["valid"][0, 0])
    for rows in y.stretches(_rows(y.axis, tile.shape[3])) if found else ():
        for columns in x.stretches():
            region = (slice(None), slice(None), rows.pixels, columns.pixels)
            own = None if measured is None else ~measured[region]
            pixels, absent = _filled(tile[region], own, rows.length, columns.length)
            where = tuple(slice(each.first, each.first + each.lattice.number) for each in (rows, columns))
            parts = {name: _planes(values)[:, *where] for name, values in found.items()}
            _reduce(_planes(pixels), absent, (rows, columns), nodata, parts)
    return found


def patch_statistics_of(
    patches: Array,
    measured: NDArray[np.bool_] | None,
    nodata: Any,
    *,
    axes: Sequence[Axis],
    fields: Collection[str] = FIELDS,
) -> dict[str, Array]:
    """Statistics of patches that lie side by side in memory: the same as of the tile they were cut from.

    Parameters
    ----------
    patches : ndarray, shape (n, channel, y, x)
    measured : ndarray of bool, shape (n, channel, y, x), or None
        Which values count, beside NaN and nodata; for patches that go on beyond the border. None: all.
    nodata : number or None
    axes : sequence of Axis
        The grid's y and x: they settle the order of sums.
    fields : collection of str

    Returns
    -------
    dict of ndarray, shape (n, channel)
        See `patch_statistics`.
    """
    absent = None if measured is None else _planes(np.broadcast_to(~measured, patches.shape))
    found = {name: np.ones(patches.shape[:2], _kind(name, patches.dtype)) for name in _wanted(fields, patches.dtype)}
    if patches.size and found:
        rows, columns = (Stretch.alone(axis) for axis in axes)
        parts = {name: values.reshape(-1, 1, 1) for name, values in found.items()}
        _reduce(_planes(patches), absent, (rows, columns), nodata, parts)
    return found


def _inside(y: Along, x: Along, share: Array) -> Array:
    """Fill in how much of each patch lies inside the image, shape (grid_y, grid_x)."""
    np.multiply.outer(y.inside(), x.inside(), out=share)
    share /= y.axis.patch * x.axis.patch
    return share


def _rows(axis: Axis, width: int) -> int:
    """Positions along y that are reduced together, so that what is known of their lines stays small.

    They are no fewer than patches that lie over one pixel, else more than twice the work would be done.
    """
    return max(-(-axis.span // axis.step), LINES // (_KNOWN * width))


def _wanted(fields: Collection[str], dtype: np.dtype[Any]) -> list[str]:
    return [name for name in FIELDS if name in fields and (name == "valid" or dtype.kind != "c")]


def _kind(name: str, dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(np.float64) if name == "valid" else precision(dtype)


def _planes(values: Array) -> Array:
    """(image, channel, y, x) -> (plane, y, x)."""
    return values.reshape(-1, *values.shape[2:])


def _filled(pixels: Array, absent: Missing, rows: int, columns: int) -> tuple[Array, Missing]:
    """A partial patch goes on beyond the border, where nothing is measured."""
    lacking = (rows - pixels.shape[2], columns - pixels.shape[3])
    if lacking == (0, 0):
        return pixels, None if absent is None else _planes(absent)
    ends = ((0, 0), (0, 0), (0, lacking[0]), (0, lacking[1]))
    own = np.zeros(pixels.shape, bool) if absent is None else absent
    return np.pad(pixels, ends), _planes(np.pad(own, ends, constant_values=True))


# -- a rectangle of regular positions, all pixels at hand --------------------------------------------------------------


class _Way(NamedTuple):
    """How a rectangle is reduced.

    Parameters
    ----------
    exact, only_valid : bool
        Which of the kernels of `cells`.
    nodata : number or None
    down, across : Cells
        Along y and x.
    early : bool
        Whether cells along x are formed before rows are added.
    sizes : tuple of int
        Pixels of a cell along y; of a column of a patch; of a patch.
    scratch : Scratch
    """

    exact: bool
    only_valid: bool
    nodata: Any
    down: Cells
    across: Cells
    early: bool
    sizes: tuple[int, int, int]
    scratch: Scratch

    @classmethod
    def of(cls, dtype: np.dtype[Any], rows: Stretch, columns: Stretch, nodata: Any, *, only_valid: bool) -> _Way:
        """The cheapest."""
        exact = is_exact(dtype) and not only_valid
        dots = dot_cells(columns.lattice, dtype, compiled=kernels() is not None) if exact else None
        shared = shared_cell(rows.lattice)
        cell = shared if exact and shared >= 4 else rows.cell
        patch = rows.lattice.patch
        return cls(
            exact=exact,
            only_valid=only_valid,
            nodata=nodata,
            down=Cells.of(rows.lattice, cell),
            across=Cells.of(columns.lattice, 1) if dots is None else dots,
            early=dots is not None,
            sizes=(cell, patch, patch * columns.lattice.patch),
            scratch=Scratch(),
        )

    def strip(self, pixels: Array, absent: Missing) -> Known:
        """From pixels to cells."""
        strip = Strip(pixels, absent, self.nodata, self.down, self.across if self.early else None, self.scratch)
        if self.only_valid:
            return count_cells(strip)
        return exact_cells(strip) if self.exact else float_cells(strip)


def _reduce(pixels: Array, absent: Missing, stretches: Sequence[Stretch], nodata: Any, found: dict[str, Array]) -> None:
    """Fill `found`, arrays of shape (plane, grid_y, grid_x), from pixels, shape (plane, y, x)."""
    rows, columns = stretches
    pixels = pixels.view(np.uint8) if pixels.dtype == bool else pixels
    way = _Way.of(pixels.dtype, rows, columns, nodata, only_valid=set(found) == {"valid"})
    held = max(way.down.groups * way.down.several, rows.lattice.number) * pixels.shape[2]
    with np.errstate(all="ignore"):
        for planes in strips(len(pixels), held, STRIP):
            known = _along_y(pixels[planes], None if absent is None else absent[planes], rows.lattice.number, way)
            for part in strips(rows.lattice.number, pixels.shape[2] * (planes.stop - planes.start), STRIP):
                piece = _along_x({name: values[:, part] for name, values in known.items()}, way)
                for name, values in _finish(piece, way).items():
                    if name in found:
                        found[name][planes, part] = values


def _along_y(pixels: Array, absent: Missing, positions: int, way: _Way) -> Known:
    """(plane, y, x) -> (plane, grid_y, line)."""
    planes, _, width = pixels.shape
    nodes = way.down.groups * way.down.several
    pieces = [slice(0, width)] if way.early else strips(width, nodes, max(STRIP, 256 * nodes))
    found: Known = {}
    for columns in pieces:
        known = _cells(pixels[:, :, columns], None if absent is None else absent[:, :, columns], way)
        known = _gathered(known, way.down.gather, way.sizes[0], way)
        if len(pieces) == 1:
            return known
        _place(known, (slice(None), slice(None), columns), (planes, positions, width), way.sizes[1], found)
    return found


def _cells(pixels: Array, absent: Missing, way: _Way) -> Known:
    """(plane, y, x) -> (plane, group, cell, line), strip by strip."""
    down, quick = way.down, kernels()
    if quick is not None and way.exact and way.early and absent is None:
        return dict(quick.exact_cells(pixels, way.nodata, down, way.across))
    group = (down.every if way.exact else down.several * down.length) * pixels.shape[2]
    found: Known = {}
    for planes in strips(len(pixels), group * down.groups, STRIP):
        for groups in strips(down.groups, group * (planes.stop - planes.start), STRIP):
            where = (planes, down.pixels(groups))
            known = way.strip(pixels[where], None if absent is None else absent[where])
            _place(known, (planes, groups), (len(pixels), down.groups, down.several), way.sizes[0], found)
    return whole(found, way.across if way.early else None) if way.exact else found


def _place(known: Known, where: tuple[slice, ...], shape: tuple[int, ...], full: int, found: Known) -> None:
    """Put what is known of a part into the whole. Where a part has no count it is `full`."""
    for name, values in known.items():
        if name not in found:
            lengths = (*shape, *values.shape[len(shape) :])
            found[name] = np.full(lengths, full, values.dtype) if name == "count" else np.empty(lengths, values.dtype)
        found[name][where] = values


def _along_x(known: Known, way: _Way) -> Known:
    """(plane, grid_y, line) -> (plane, grid_y, grid_x)."""
    across = way.across
    turned = {}
    for name, values in known.items():
        cells = values.reshape(*values.shape[:2], across.groups, -1) if way.early else across.view(values, 2)[..., 0]
        turned[name] = cells.transpose(0, 2, 3, 1)
    return {name: np.swapaxes(v, 1, 2) for name, v in _gathered(turned, across.gather, way.sizes[1], way).items()}


def _gathered(known: Known, gather: Callable[[Nodes, Join, int], Nodes], leaf: int, way: _Way) -> Known:
    """Everything that is known, one axis on."""
    found = {name: known[name] for name in ("sum", "square", "count", "low", "high") if name in known}
    # Where nothing was measured, whole numbers have the farthest bound, others a NaN, which fmin and fmax pass over.
    low, high = (np.minimum, np.maximum) if way.exact else (np.fmin, np.fmax)
    combine = {"sum": np.add, "square": np.add, "count": np.add, "low": low, "high": high}
    if way.exact or way.only_valid:
        join = join_by([combine[name] for name in found])
    else:
        join = join_floats(join_measured if "count" in found else join_moments, join_by([low, high]))
    return dict(zip(found, gather(list(found.values()), join, leaf), strict=True))


def _finish(known: Known, way: _Way) -> Known:
    """From what is known of patches to the fields."""
    found: Known = {}
    size = way.sizes[2]
    if "count" in known:
        found["valid"] = known["count"] / size
    if way.only_valid:
        return found
    found["mean"], found["std"] = (exact_moments if way.exact else float_moments)(known, size)
    found["min"], found["max"] = known["low"], known["high"]
    empty = known["count"] == 0 if "count" in known else None
    for name in ("mean", "std", "min", "max"):
        if not way.exact or empty is not None:
            found[name] = found[name] + 0.0  # no -0.0, which would depend on the order; and a number that can be NaN
        if empty is not None:
            found[name][empty] = np.nan
    return found
