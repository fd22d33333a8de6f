"""The mean of overlapping patches, for every dtype, without losing a bit where they agree.

A pixel on which all patches agree keeps the bytes of the first, whatever they mean: a NaN's payload, a 64-bit integer
beyond 2**53. Only where they differ is there arithmetic, on differences::

    first + sum(w * (p - first)) / sum(w)

``sum(w * p) / sum(w)`` would lose the low bits of large values that differ by little, and overflow sooner.

=====================  =================================================================================================
bool                   the majority of the weights; a tie is False, as 0.5 rounds to the even 0
integers               rounded half to even, never beyond the range of the dtype
floats, complex        in float64, or longdouble for longdouble; real and imaginary parts apart; infinities and NaN
                       as in a plain mean
datetime64             the mean of the integers behind it; NaT where any patch says NaT
and timedelta64
everything else        the first patch
=====================  =================================================================================================
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchmill.patches.windows import Weights

Array = NDArray[Any]
Indices = list[tuple[Any, Any, Any]]
"""For each group of pixels: where it is in the box, in the patches, in the weights."""

_SMALL = 2.0**-32
"""Scale at which not even 2**30 of the largest floats overflow in a sum."""
_BEYOND = 2.0**64 - 2.0**11
"""The largest float64 that fits into uint64."""


def average(first: Array, patches: Array, indices: Indices, weights: Weights | None) -> None:
    """Turn `first`, the first patch at every pixel, into the mean of all, in place.

    Parameters
    ----------
    first : ndarray, shape (..., y, x)
    patches : ndarray, shape (..., grid_y, patch_y, grid_x, patch_x)
    indices : list
        In row-major order of positions for each pixel.
    weights : ndarray, shape (patch_y, patch_x), or None
    """
    kind = first.dtype.kind
    if kind == "c":
        average(first.real, patches.real, indices, weights)
        average(first.imag, patches.imag, indices, weights)
    elif kind == "b":
        average(first.view(np.uint8), patches.view(np.uint8), indices, weights)
    elif kind in "mM":
        _average_times(first, patches, indices, weights)
    elif kind in "iuf":
        differs = _differing(first, patches, indices)
        if differs.any():
            mean = _float_mean if kind == "f" else _integer_mean
            with np.errstate(all="ignore"):  # 0 / 0 outside the patches; infinities that are meant
                first[differs] = mean(first, patches, indices, weights, differs)


def _average_times(first: Array, patches: Array, indices: Indices, weights: Weights | None) -> None:
    missing = np.zeros(first.shape, bool)
    for pixels, source, _ in indices:
        missing[pixels] |= np.isnat(patches[source])
    integers = np.dtype(np.int64).newbyteorder(first.dtype.byteorder)
    average(first.view(integers), patches.view(integers), indices, weights)
    first[missing] = np.array("NaT", first.dtype)


def _differing(first: Array, patches: Array, indices: Indices) -> NDArray[np.bool_]:
    """Where any patch has other bytes than the first, shape (..., y, x)."""
    differs = np.zeros(first.shape, bool)
    one, all_of_them = first, patches
    if first.dtype.kind == "f" and first.dtype.itemsize <= 8:  # a longdouble has bytes that mean nothing
        one, all_of_them = (array.view(f"u{first.dtype.itemsize}") for array in (first, patches))
    for pixels, source, _ in indices:
        differs[pixels] |= one[pixels] != all_of_them[source]
    return differs


def _summed(
    reference: Array, patches: Array, indices: Indices, weights: Weights | None, dtype: Any, scale: float | None = None
) -> Array:
    """``sum(w * (p - reference)) / sum(w)`` at every pixel, in `dtype`."""
    total = np.zeros(reference.shape, dtype)
    ndim = len(indices[0][2]) if indices else 0
    weight = np.zeros(reference.shape[reference.ndim - ndim :], dtype)
    for pixels, source, within in indices:
        patch = patches[source] if scale is None else patches[source] * np.asarray(scale, dtype)
        gap = _difference(patch, reference[pixels], dtype)
        if weights is None:
            total[pixels] += gap
            weight[pixels] += 1
        else:
            total[pixels] += gap * weights[within]
            weight[pixels] += weights[within]
    total /= weight
    return total


def _difference(a: Array, b: Array, dtype: Any) -> Array:
    """``a - b`` in a floating-point `dtype`; of 64-bit integers exact before it is rounded once."""
    if a.dtype.kind == "f" or a.dtype.itemsize < 8:
        return np.subtract(a, b, dtype=dtype)
    up = a >= b
    apart = np.where(up, a - b, b - a).view(np.uint64).astype(dtype)  # wraps to the true distance, below 2**64
    return np.where(up, apart, -apart)


# -- floats ----------------------------------------------------------------------------------------------------------


def _float_mean(
    first: Array, patches: Array, indices: Indices, weights: Weights | None, where: NDArray[np.bool_]
) -> Array:
    """Means at the pixels `where`, shape (n,).

    An infinite or missing first value is no reference: inf - inf would make NaN of two equal infinities, so the
    reference is 0 there. Where a difference of finite values overflows, the sum is taken again at a small scale.
    """
    dtype = np.result_type(first.dtype, np.float64)
    reference = np.where(np.isfinite(first), first, 0).astype(dtype)
    mean: Array = (reference + _summed(reference, patches, indices, weights, dtype))[where]
    beyond = np.isinf(mean)
    if beyond.any() and first.dtype.itemsize >= 8:
        scale = np.asarray(_SMALL, dtype)
        small = reference * scale
        again = ((small + _summed(small, patches, indices, weights, dtype, _SMALL)) / scale)[where]
        mean[beyond] = again[beyond]
    return mean.astype(first.dtype)


# -- integers --------------------------------------------------------------------------------------------------------


def _integer_mean(
    first: Array, patches: Array, indices: Indices, weights: Weights | None, where: NDArray[np.bool_]
) -> Array:
    """Means at the pixels `where`, rounded half to even, shape (n,)."""
    delta = _summed(first, patches, indices, weights, np.float64)
    return moved(first[where], delta[where])


def moved(first: Array, delta: NDArray[np.float64]) -> Array:
    """``first + delta`` rounded half to even, in integers, held inside the range of the dtype.

    The sum is never a float: ``float(2**63 + 1) + 0.5`` would lose both ends. So the whole part of `delta` is
    added in integers, and the parity of the sum decides a half.

    Examples
    --------
    >>> moved(np.array([1, 2, 250], np.uint8), np.array([0.5, 0.5, 9.0]))
    array([  2,   2, 255], dtype=uint8)
    """
    steps = np.rint(delta)  # to an even step, which is right from an even value
    between = np.abs(delta - steps) == 0.5
    steps = np.where(between & (first & 1 == 1), 2 * delta - steps, steps)  # from an odd value: the other neighbor
    limits, wide = np.iinfo(first.dtype), np.int64 if first.dtype.kind == "i" else np.uint64
    bits = first.astype(wide).view(np.uint64)  # two's complement: adding and subtracting wrap to the right integer
    least, most = (np.uint64(int(limit) % 2**64) for limit in (limits.min, limits.max))
    far = np.minimum(np.abs(steps), _BEYOND).astype(np.uint64)
    bits = np.where(steps >= 0, bits + np.minimum(far, most - bits), bits - np.minimum(far, bits - least))
    rounded: Array = bits.view(wide).astype(first.dtype)
    return rounded
