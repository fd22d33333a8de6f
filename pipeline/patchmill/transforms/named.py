"""Transforms that have a name: scale, clip, standardize. Each says what it computes and in which precision.

What they compute in: single precision for values of up to 16 bits and for float32, else double; complex in its own.
Constants are one number, or one for each channel.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Number: TypeAlias = int | float
Constant: TypeAlias = Number | tuple[Number, ...]
Given: TypeAlias = Number | Sequence[Number]
"""One number, or one for each channel."""

# Values that `standardize` holds in double precision at a time: 8 MiB.
_SLAB = 1 << 20
_NUMBER = re.compile(r"\s*[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?\s*")


class Named:
    """What all of them share."""

    name: ClassVar[str]

    def __post_init__(self) -> None:
        """Constants as plain numbers."""
        for each in fields(self):  # type: ignore[arg-type]
            object.__setattr__(self, each.name, self._constant(each.name))

    @property
    def fingerprint(self) -> dict[str, Any]:
        """Name and constants."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}  # type: ignore[arg-type]
        listed = {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
        return {self.name: {key: value for key, value in listed.items() if value is not None}}

    def _constant(self, key: str) -> Constant | None:
        value = getattr(self, key)
        if value is None:
            return None
        if isinstance(value, np.ndarray | np.generic):
            value = value.tolist()
        if not isinstance(value, Sequence) or isinstance(value, str):
            return self._number(value, key)
        if not value:
            raise ValueError(f"{self.name}: {key} must have a number for each channel, got an empty list")
        return tuple(self._number(each, f"{key}[{at}]") for at, each in enumerate(value))

    def _number(self, value: Any, key: str) -> Number:
        if isinstance(value, str) and _NUMBER.fullmatch(value):
            value = float(value)  # YAML leaves 1e-4 a text
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{self.name}: {key} must be a number, or a list with one for each channel, got {value!r}")
        if abs(value) > 2**64 or not math.isfinite(value):
            return self._large(value, key)
        return int(value) if value == int(value) else value

    def _large(self, value: Number, key: str) -> Number:
        if isinstance(value, int) and value.bit_length() > 1023:
            raise ValueError(f"{self.name}: {key} is too large a number")
        if not math.isfinite(value):
            raise ValueError(f"{self.name}: {key} must be finite, got {value!r}")
        return float(value)

    def _spread(self, key: str, channels: int, dtype: np.dtype[Any]) -> Array:
        """A constant as an array of `dtype`, shape () or (channel, 1, 1)."""
        value = getattr(self, key)
        if isinstance(value, tuple) and len(value) != channels:
            numbers, have = ("number" if len(value) == 1 else "numbers"), ("channel" if channels == 1 else "channels")
            raise ValueError(
                f"{self.name}: {key} has {len(value)} {numbers}, the patches have {channels} {have}: "
                "give one number for each channel, or one for all"
            )
        with np.errstate(over="ignore"):
            spread = np.asarray(value, np.float64).astype(dtype)
        if not np.isfinite(spread).all():
            raise ValueError(f"{self.name}: {key} is {value!r}, which {dtype} can't hold: cut to a wider dtype first")
        return spread.reshape(-1, 1, 1) if isinstance(value, tuple) else spread

    def _refuse_complex(self, dtype: np.dtype[Any]) -> None:
        if dtype.kind == "c":
            raise ValueError(f"{self.name} is for real numbers, the patches hold {dtype}: take the magnitude first")


def working_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """What named transforms compute in, and what all but clip return."""
    if dtype.kind == "c":
        return dtype.newbyteorder("=")
    single = dtype.itemsize <= 2 or dtype.newbyteorder("=") == np.dtype(np.float32)
    return np.dtype(np.float32 if single else np.float64)


@dataclass(frozen=True, slots=True)
class Scale(Named):
    """``values * factor + offset``, as in CF's conventions."""

    name: ClassVar[str] = "scale"
    pointwise: ClassVar[bool] = True

    factor: Any
    offset: Any = 0

    def __post_init__(self) -> None:
        """Constants as plain numbers; none may be missing."""
        Named.__post_init__(self)
        if self.factor is None or self.offset is None:
            raise ValueError("scale: factor and offset must be numbers, got None")

    def result_dtype(self, dtype: np.dtype[Any], channels: int) -> np.dtype[Any]:
        """Of the result; checks the constants."""
        work = working_dtype(dtype)
        self._spread("factor", channels, work)
        self._spread("offset", channels, work)
        return work

    def __call__(self, patches: Array) -> Array:
        """Scaled patches, shape (n, channel, y, x)."""
        work, channels = working_dtype(patches.dtype), patches.shape[1]
        factor, offset = self._spread("factor", channels, work), self._spread("offset", channels, work)
        with np.errstate(all="ignore"):
            found: Array = np.multiply(patches, factor, dtype=work, order="C")
            return np.add(found, offset, out=found)


@dataclass(frozen=True, slots=True)
class Clip(Named):
    """Not below `low`, not above `high`; the dtype stays. NaN stays NaN.

    Integers are clipped to the integers between the bounds, bounds beyond the dtype to what it holds.
    """

    name: ClassVar[str] = "clip"
    pointwise: ClassVar[bool] = True

    low: Any = None
    high: Any = None

    def __post_init__(self) -> None:
        """Constants as plain numbers, in order."""
        Named.__post_init__(self)
        if self.low is None and self.high is None:
            raise ValueError("clip: low or high must be given, as in clip(0, 10000)")
        if self.low is not None and self.high is not None:
            lows, highs = (value if isinstance(value, tuple) else (value,) for value in (self.low, self.high))
            if len(lows) == len(highs) or 1 in {len(lows), len(highs)}:
                count = max(len(lows), len(highs))
                pairs = zip(lows * (count // len(lows)), highs * (count // len(highs)), strict=True)
                for low, high in pairs:
                    if low > high:
                        raise ValueError(f"clip: low must not be above high, got {low} and {high}")

    def result_dtype(self, dtype: np.dtype[Any], channels: int) -> np.dtype[Any]:
        """The same; checks the constants."""
        self._refuse_complex(dtype)
        self._bounds(dtype, channels)
        return dtype.newbyteorder("=")

    def __call__(self, patches: Array) -> Array:
        """Clipped patches, shape (n, channel, y, x)."""
        self._refuse_complex(patches.dtype)
        low, high = self._bounds(patches.dtype, patches.shape[1])
        found = np.array(patches, patches.dtype.newbyteorder("="), order="C")
        values = found.view(np.uint8) if found.dtype.kind == "b" else found
        if low is not None:
            np.maximum(values, low, out=values)
        if high is not None:
            np.minimum(values, high, out=values)
        return found

    def _bounds(self, dtype: np.dtype[Any], channels: int) -> tuple[Array | None, Array | None]:
        low, high = self._bound("low", dtype, channels), self._bound("high", dtype, channels)
        if low is not None and high is not None and (low > high).any():
            raise ValueError(f"clip: {dtype} has no value from {self.low} to {self.high}")
        return low, high

    def _bound(self, key: str, dtype: np.dtype[Any], channels: int) -> Array | None:
        value = getattr(self, key)
        if value is None:
            return None
        self._spread(key, channels, np.dtype(np.float64))  # for its checks
        if dtype.kind == "f":
            with np.errstate(over="ignore"):
                held = np.array(_listed(value), np.float64).astype(dtype.newbyteorder("="))
            empty = np.isposinf(held) if key == "low" else np.isneginf(held)
        else:
            least, greatest = (0, 1) if dtype.kind == "b" else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
            whole = [math.ceil(each) if key == "low" else math.floor(each) for each in _listed(value)]
            empty = np.array([each > greatest if key == "low" else each < least for each in whole])
            kind = np.dtype(np.uint8) if dtype.kind == "b" else dtype.newbyteorder("=")
            held = np.array([min(max(each, least), greatest) for each in whole], kind)
        if empty.any():
            raise ValueError(f"clip: {key}={value!r} leaves nothing of {dtype}: cut to a wider dtype, or leave it out")
        return held.reshape(-1, 1, 1) if isinstance(value, tuple) else held[0]


@dataclass(frozen=True, slots=True)
class Standardize(Named):
    """``(values - mean) / std``; without constants by each patch's own, channel by channel.

    NaN is left out of a patch's own mean and std, and stays NaN; a channel of one value becomes 0. Both are computed in
    double precision, and std is that of all pixels (``ddof=0``).
    """

    name: ClassVar[str] = "standardize"

    mean: Any = None
    std: Any = None

    def __post_init__(self) -> None:
        """Constants as plain numbers, both or none."""
        Named.__post_init__(self)
        if (self.mean is None) != (self.std is None):
            raise ValueError("standardize: mean and std must both be given, or none of them for each patch's own")
        for value in _listed(self.std):
            if value is not None and value <= 0:
                raise ValueError(f"standardize: std must be above 0, got {value}")

    @property
    def pointwise(self) -> bool:
        """With constants."""
        return self.mean is not None

    def result_dtype(self, dtype: np.dtype[Any], channels: int) -> np.dtype[Any]:
        """Of the result; checks the constants."""
        self._refuse_complex(dtype)
        work = working_dtype(dtype)
        if self.pointwise:
            self._constants(channels, work)
        return work

    def __call__(self, patches: Array) -> Array:
        """Standardized patches, shape (n, channel, y, x)."""
        self._refuse_complex(patches.dtype)
        work = working_dtype(patches.dtype)
        with np.errstate(all="ignore"):
            if self.pointwise:
                mean, std = self._constants(patches.shape[1], work)
                found: Array = np.subtract(patches, mean, dtype=work, order="C")
                return np.divide(found, std, out=found)
            found = np.empty(patches.shape, work)
            together = max(1, _SLAB // max(1, math.prod(patches.shape[1:])))
            for first in range(0, len(patches), together):
                part = patches[first : first + together]
                found[first : first + together] = _standardized(part)
        return found

    def _constants(self, channels: int, work: np.dtype[Any]) -> tuple[Array, Array]:
        mean, std = self._spread("mean", channels, work), self._spread("std", channels, work)
        if not (std > 0).all():
            raise ValueError(f"standardize: std is {self.std!r}, which is 0 in {work}")
        return mean, std


def _standardized(patches: Array) -> Array:
    """By each patch's own mean and std; every sum runs over one patch's pixels in their order, whatever lies beside."""
    values = np.array(patches, np.float64, order="C").reshape(*patches.shape[:2], -1)
    measured = ~np.isnan(values)
    count = measured.sum(axis=-1, keepdims=True)
    one = np.fmin.reduce(values, axis=-1, keepdims=True) == np.fmax.reduce(values, axis=-1, keepdims=True)
    values -= np.where(measured, values, 0).sum(axis=-1, keepdims=True) / count
    squares = np.where(measured, values, 0)
    squares *= squares
    values /= np.sqrt(squares.sum(axis=-1, keepdims=True) / count)
    return np.where(one & measured, 0, values).reshape(patches.shape)


def _listed(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


NAMED: dict[str, type[Scale | Clip | Standardize]] = {each.name: each for each in (Scale, Clip, Standardize)}
