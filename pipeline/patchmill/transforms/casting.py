"""From one dtype to another: exact where possible, rounded where that is what a dtype is for, never wrapped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchmill.errors import DoesNotFitError

Array = NDArray[Any]

# Values that are checked and converted together: they stay in the cache, so that memory is passed over once.
_SLAB = 1 << 17

_INEXACT = frozenset({("f", 2), ("f", 4), ("f", 8), ("c", 8), ("c", 16)})
"""Kinds and bytes of the floats and complex numbers."""


def is_storable(dtype: np.dtype[Any]) -> bool:
    """Whether a patch set can hold `dtype`: bool, integers, floats of 16 to 64 and complex of 64 and 128 bits.

    In any byte order: what is stored has one of its own.
    """
    return dtype.kind in "biu" or (dtype.kind, dtype.itemsize) in _INEXACT


def cast(values: Array, dtype: Any, where: str) -> Array:
    """`values` as `dtype`, or an error: no value wraps, none becomes infinite.

    ========================  ==============================================================
    from, to                  rule
    ========================  ==============================================================
    anything to itself        the same array
    bool, integer to integer  exact
    integer to float          rounded to the nearest, half to even, as beyond 2**53 in float64
    float to integer          rounded to the nearest, half to even; NaN and inf are refused
    float to float            rounded to the nearest, half to even; NaN and inf stay
    anything to bool          0 and 1 only
    real to complex           the real part as above, 0 for the other
    complex to real           refused, whatever the values
    ========================  ==============================================================

    Parameters
    ----------
    values : ndarray, shape (...)
        Of a storable dtype.
    dtype : dtype
        Wanted, storable.
    where : str
        For the error: what holds the values, such as ``"image 'a'"``.

    Returns
    -------
    ndarray, shape (...)
        C-contiguous, unless the dtype is the same already.

    Raises
    ------
    ValueError
        If one of the dtypes can't be stored, or complex would become real.
    DoesNotFitError
        If `dtype` can't hold a value; it is a ``ValueError`` too.

    Examples
    --------
    >>> cast(np.array([0.5, 1.5, 254.6]), "uint8", "image 'a'")
    array([  0,   2, 255], dtype=uint8)
    >>> cast(np.array([3, 300], "uint16"), "uint8", "image 'a'")
    Traceback (most recent call last):
    patchmill.errors.DoesNotFitError: image 'a' holds 300 at (1,), which uint8 can't hold (0 to 255): clip first,
    transform="clip(0, 255)", or take a wider dtype
    """
    wanted = np.dtype(dtype)
    for each in (values.dtype, wanted):
        if not is_storable(each):
            raise ValueError(f"{where}: {each} can't be stored; take bool, integers, float16 to float64 or complex")
    if values.dtype.kind == "c" and wanted.kind != "c":
        raise ValueError(
            f"{where}: {values.dtype} does not become {wanted}, which has no imaginary part: "
            "take a transform of your own that returns the magnitude or a part"
        )
    if values.dtype == wanted:
        return values
    found: Array = np.empty(values.shape, wanted)
    for source, target, at in _slabs(values, found):
        if np.can_cast(source.dtype, target.dtype, "safe"):
            target[...] = source
        elif not _convert(source, target):
            raise _refusal(source, target.dtype, at, where)
    return found


def _slabs(values: Array, found: Array) -> Iterator[tuple[Array, Array, tuple[int, ...]]]:
    """Parts of both, real ones, and where a part begins: runs along the first axis, or parts of its items."""
    if values.dtype.kind == "c" or found.dtype.kind == "c":
        yield from _slabs(values.real, found.real)
        found.imag = 0
        if values.dtype.kind == "c":
            yield from _slabs(values.imag, found.imag)
        return
    yield from _runs(values, found, ())


def _runs(values: Array, found: Array, at: tuple[int, ...]) -> Iterator[tuple[Array, Array, tuple[int, ...]]]:
    if values.ndim == 0 or values.size <= _SLAB:
        if values.size:
            yield values, found, (*at, *(0,) * values.ndim)
        return
    item = values.size // len(values)
    if item > _SLAB:
        for number in range(len(values)):
            yield from _runs(values[number], found[number, ...], (*at, number))
        return
    together = _SLAB // item
    for first in range(0, len(values), together):
        run = slice(first, first + together)
        yield values[run], found[run], (*at, first, *(0,) * (values.ndim - 1))


def _convert(source: Array, target: Array) -> bool:
    """Fill `target` from `source`, both real; False if a value does not fit."""
    with np.errstate(all="ignore"):
        if target.dtype.kind == "f":
            target[...] = source
            lost = np.isinf(target)
            return not lost.any() or not (lost & np.isfinite(source)).any()
        if target.dtype.kind == "b":
            target[...] = source
            return bool((target == source).all())  # a NaN is true, and differs from 1
        if source.dtype.kind == "f":
            source = np.rint(source)
        low, high = _bounds(source.dtype, target.dtype)
        if not (low is None or source.min() >= low) or not (high is None or source.max() <= high):
            return False  # also for a NaN, which is its own least and greatest
        target[...] = source.astype(target.dtype)
    return True


def _bounds(source: np.dtype[Any], target: np.dtype[Any]) -> tuple[Any, Any]:
    """Least and greatest value of `source` that the integers of `target` hold; None where `source` has none beyond."""
    limits = np.iinfo(target)
    if source.kind == "f":
        info = np.finfo(source)
        with np.errstate(over="ignore"):
            low, high = (source.type(bound) for bound in (limits.min, limits.max))
        if np.isfinite(high) and int(high) > limits.max:
            high = np.nextafter(high, source.type(0))  # 2**63 is the float next to int64's 2**63 - 1
        return max(low, info.min), min(high, info.max)
    own = np.iinfo(source)
    return (
        limits.min if own.min < limits.min else None,
        limits.max if own.max > limits.max else None,
    )


def _refusal(source: Array, wanted: np.dtype[Any], at: tuple[int, ...], where: str) -> DoesNotFitError:
    """The error, for the first value that does not fit; the slow way, since it is the end."""
    for index in np.ndindex(source.shape):
        value = source[index]
        if not _convert(np.asarray(value), np.empty((), wanted)):
            break
    place = (*at[: len(at) - source.ndim], *(a + b for a, b in zip(at[len(at) - source.ndim :], index, strict=True)))
    shown = tuple(int(n) for n in place)
    head = f"{where} holds {value} at {shown}, which {wanted} can't hold"
    if wanted.kind == "b":
        return DoesNotFitError(f"{head} (0 and 1): take a transform of your own that compares, or an integer dtype")
    held = _span(_limits(wanted), " to ")
    if not np.isfinite(value):
        return DoesNotFitError(f"{head} ({held}): fill it by a transform first, or take a float dtype")
    clip = f'clip first, transform="clip({_span(_clipped(source.dtype, wanted), ", ")})"'
    return DoesNotFitError(f"{head} ({held}): {clip}, or take a wider dtype")


def _limits(dtype: np.dtype[Any]) -> tuple[float, float]:
    """Least and greatest number of integers or floats; those of integers are whole."""
    if dtype.kind == "f":
        return float(np.finfo(dtype).min), float(np.finfo(dtype).max)
    return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)


def _clipped(source: np.dtype[Any], target: np.dtype[Any]) -> tuple[float, float]:
    """Bounds to clip `source` to, so that `target` holds all of it: those of `target`, unless floats have others.

    The greatest int32 is 2147483647; a float32 can be 2147483648, which does not fit, and below that 2147483520.
    """
    if source.kind == "f" and target.kind != "f":
        low, high = _bounds(source, target)
        return int(low), int(high)
    return _limits(target)


def _span(bounds: tuple[float, float], between: str) -> str:
    """Both in full, so that whoever copies them has the same numbers."""
    return between.join(str(each) if isinstance(each, int) else f"{each:.17g}" for each in bounds)
