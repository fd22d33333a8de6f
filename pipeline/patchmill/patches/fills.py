"""Fill values, held by the dtype exactly or refused: -1 never becomes 255 in silence."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
from numpy.typing import NDArray


def as_fill(value: Any, dtype: np.dtype[Any], name: str) -> NDArray[Any]:
    """`value` as an array of `dtype` without axes.

    Whole numbers must be held exactly; fractions are rounded to the nearest value of a floating-point dtype, as
    everywhere. The default 0 stands for the natural blank of a dtype that has no numbers: ``""``, a record of zeros,
    and NaT among dates (the year 1970 is no blank).

    Parameters
    ----------
    value : scalar
        What the user gave; a tuple for a structured dtype.
    dtype : numpy.dtype
        Of the array that is filled.
    name : str
        Of the argument, for the error.

    Raises
    ------
    TypeError
        If `value` is another kind of thing than `dtype` holds.
    ValueError
        If `dtype` can't hold it.

    Examples
    --------
    >>> as_fill(255, np.dtype("uint8"), "pad_value")
    array(255, dtype=uint8)
    >>> as_fill(-1, np.dtype("uint8"), "pad_value")
    Traceback (most recent call last):
    ValueError: pad_value must be a value that uint8 holds exactly, got -1: take one from 0 to 255, or convert ...
    """
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        plain = value if dtype.kind in "mM" or value.dtype.kind in "mMV" else value.item()
    else:
        plain = value
    if dtype.names is not None:
        return _record(plain, dtype, name)
    convert = {"O": _anything, "M": _time, "m": _time, "U": _text, "S": _text, "T": _text, "V": _bytes}.get(
        dtype.kind, _number
    )
    try:
        return convert(plain, dtype)
    except TypeError as error:
        raise TypeError(f"{name} must be {_wanted(dtype)} for an array of {dtype}, got {value!r}") from error
    except (ValueError, OverflowError) as error:
        raise ValueError(
            f"{name} must be a value that {dtype} holds exactly, got {value!r}: {_way_out(dtype)}"
        ) from error


def stored_fill(value: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    """A fill value as JSON has it: a number, the text of one that JSON lacks, or a list of one for each channel.

    Returns
    -------
    ndarray
        Without axes, or of shape (channel, 1, 1).

    Examples
    --------
    >>> stored_fill([1, "nan"], np.dtype("float32")).ravel()
    array([ 1., nan], dtype=float32)
    """
    if isinstance(value, list):
        return np.stack([stored_fill(each, dtype) for each in value])[:, None, None]
    if isinstance(value, str):
        value = complex(value) if dtype.kind == "c" else float(value)
    return as_fill(value, dtype, "pad_value")


def _number(value: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    if not isinstance(value, bool | int | float | complex | np.longdouble | np.clongdouble):
        raise TypeError("not a number")
    if isinstance(value, complex | np.clongdouble):
        if dtype.kind == "c":
            held = np.empty((), dtype)
            held.real, held.imag = _real(value.real, dtype), _real(value.imag, dtype)
            return held
        if value.imag != 0:
            raise ValueError("not real")
        value = value.real
    if dtype.kind in "fc":
        return np.asarray(_real(value, dtype), dtype)
    if int(value) != value:  # int() itself refuses NaN and infinities
        raise ValueError("not whole")
    low, high = (0, 1) if dtype.kind == "b" else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    if not low <= value <= high:
        raise ValueError("out of range")
    return np.asarray(int(value), dtype)


def _real(value: Any, dtype: np.dtype[Any]) -> Any:
    """`value` rounded to the real part of `dtype`; a whole number given as an integer must survive."""
    with np.errstate(all="ignore"):
        rounded = np.asarray(value).astype(np.empty(0, dtype).real.dtype)[()]
    if np.isinf(rounded) and not np.isinf(np.asarray(value, np.longdouble)):
        raise ValueError("too large")
    if isinstance(value, int) and int(rounded) != value:
        raise ValueError("not exact")
    return rounded


def _time(value: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    """A date for dates, a duration for durations, in the unit of `dtype`."""
    if isinstance(value, int) and value == 0:
        return np.asarray("NaT" if dtype.kind == "M" else 0, dtype)
    given = np.asarray(value.to_numpy() if hasattr(value, "to_numpy") else value)  # pandas' own keep their nanoseconds
    if isinstance(value, dt.date | dt.timedelta) and given.dtype.kind == "O":
        given = given.astype(dtype.kind + "8[us]")
    if given.dtype.kind != dtype.kind or given.ndim:
        raise TypeError("not a time")
    held = given.astype(dtype)
    # On the way back, since a comparison in the finer unit would wrap as the value itself does.
    if not (np.isnat(held) and np.isnat(given)) and not held.astype(given.dtype) == given:
        raise ValueError("not in this unit")
    return held


def _text(value: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    kind: type = bytes if dtype.kind == "S" else str
    if isinstance(value, int) and value == 0:
        value = kind()
    if not isinstance(value, kind):
        raise TypeError("not text")
    held = np.asarray(value, dtype)
    if held[()] != value:
        raise ValueError("too long")
    return held


def _bytes(value: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    if isinstance(value, int) and value == 0:
        return np.zeros((), dtype)
    given = np.asarray(value)
    if given.dtype.kind not in "VS" or given.ndim:
        raise TypeError("not bytes")
    if given.dtype.itemsize > dtype.itemsize:
        raise ValueError("too long")
    return given.astype(dtype)


def _anything(value: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    held = np.empty((), dtype)
    held[()] = value
    return held


def _record(value: Any, dtype: np.dtype[Any], name: str) -> NDArray[Any]:
    """A record field by field, so that no field wraps; 0 is a record of blanks."""
    names = dtype.names or ()
    if isinstance(value, np.void):
        value = value.item()
    parts = (0,) * len(names) if isinstance(value, int) and value == 0 else value
    if not isinstance(parts, tuple) or len(parts) != len(names):
        raise TypeError(f"{name} must be 0 or a tuple of {len(names)} values for an array of {dtype}, got {value!r}")
    held = np.zeros((), dtype)
    for field, part in zip(names, parts, strict=True):
        held[field] = as_fill(part, dtype[field].base, f"{name}[{field!r}]")
    return held


def _wanted(dtype: np.dtype[Any]) -> str:
    words = {"M": "a date", "m": "a duration", "U": "text", "T": "text", "S": "bytes", "V": "bytes"}
    return words.get(dtype.kind, "one number")


def _way_out(dtype: np.dtype[Any]) -> str:
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return f"take one from {limits.min} to {limits.max}, or convert the array first"
    return "take another value, or convert the array first"
