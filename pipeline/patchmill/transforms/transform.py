"""What is done to patches between cutting and writing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from patchmill.transforms.casting import is_storable
from patchmill.transforms.functions import Function, as_function
from patchmill.transforms.named import Clip, Given, Scale, Standardize
from patchmill.transforms.spelling import Step, read_mapping, read_text

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Transform:
    """Steps, one after the other, from patches to patches of the same shape; see `as_transform`.

    Transforms compare, hash and pickle; those with equal fingerprints are equal.

    Parameters
    ----------
    steps : tuple
    """

    steps: tuple[Step, ...]

    @property
    def pointwise(self) -> bool:
        """Whether each pixel is treated alone, so that it does not matter whether patches or whole tiles come in."""
        return all(step.pointwise for step in self.steps)

    @property
    def functions(self) -> tuple[Function, ...]:
        """Steps that a user wrote."""
        return tuple(step for step in self.steps if isinstance(step, Function))

    @property
    def fingerprint(self) -> list[dict[str, Any]]:
        """What the transform is, step by step, as plain JSON; of a function see `functions.fingerprint`."""
        return [step.fingerprint for step in self.steps]

    def __call__(self, patches: Array) -> Array:
        """Transformed patches.

        Parameters
        ----------
        patches : ndarray, shape (n, channel, y, x)
            Not changed, and may be a view.

        Returns
        -------
        ndarray, shape (n, channel, y, x)

        Raises
        ------
        ValueError
            If constants do not fit the channels, or a function returns another shape, or what can't be stored.
        PatchmillError
            If a function raises.
        """
        for step in self.steps:
            found = step(patches)
            patches = _checked(found, patches, step) if isinstance(step, Function) else found
        return patches

    def result_dtype(self, dtype: Any, channels: int, patch_shape: Sequence[int]) -> np.dtype[Any]:
        """Dtype of the result; checks all that can be checked before there is a patch.

        Named ones say it, a function is called on one patch of zeros.

        Parameters
        ----------
        dtype : dtype
            Of the patches that come in.
        channels : int
            Number of channels.
        patch_shape : sequence of int
            (y, x), in pixels.

        Examples
        --------
        >>> as_transform("clip(0, 10000) | scale(0.0001)").result_dtype("uint16", 4, (256, 256))
        dtype('float32')
        """
        current: np.dtype[Any] = np.dtype(dtype)
        for step in self.steps:
            if isinstance(step, Function):
                zeros = np.zeros((1, channels, *patch_shape), current)
                with np.errstate(all="ignore"):
                    current = _checked(step(zeros), zeros, step).dtype
            else:
                current = step.result_dtype(current, channels)
        return current


Value: TypeAlias = str | Mapping[str, Any] | Callable[..., Any] | Transform
"""One way to write a transform; lists of them are the other."""


def as_transform(value: Value | Sequence[Value] | None) -> Transform | None:
    """`value` as a transform.

    Parameters
    ----------
    value : None, str, mapping, callable, Transform, or a list of these
        Text names a transform with its constants, or a function that is imported: ``"clip(0, 10000) | scale(0.0001)"``,
        ``"module:function"``. A mapping is the same as YAML writes it: ``{"scale": {"factor": 0.0001}}``. A callable
        takes patches, shape (n, channel, y, x), and returns as many of the same shape. Nothing is ever evaluated.

    Returns
    -------
    Transform or None
        None for None and for an empty list.

    Raises
    ------
    TypeError, ValueError
        If it is none of these; the text names the part that is wrong.

    Examples
    --------
    >>> transform = as_transform("clip(0, 10000) | scale(0.0001, offset=[0, 1])")
    >>> transform == as_transform([{"clip": {"low": 0, "high": 10000}}, {"scale": {"factor": 1e-4, "offset": [0, 1]}}])
    True
    >>> transform(np.full((1, 2, 1, 1), 20000, "uint16")).ravel()
    array([1., 2.], dtype=float32)
    >>> transform.pointwise, as_transform("standardize()").pointwise
    (True, False)
    >>> transform.fingerprint
    [{'clip': {'low': 0, 'high': 10000}}, {'scale': {'factor': 0.0001, 'offset': [0, 1]}}]
    """
    if value is None:
        return None
    steps = _steps(value)
    return Transform(tuple(steps)) if steps else None


def scale(factor: Given, offset: Given = 0) -> Transform:
    """``values * factor + offset``.

    Examples
    --------
    >>> scale(0.5, offset=[0, 1]) == as_transform("scale(0.5, [0, 1])")
    True
    """
    return Transform((Scale(factor, offset),))


def clip(low: Given | None = None, high: Given | None = None) -> Transform:
    """Values not below `low` and not above `high`.

    Examples
    --------
    >>> clip(high=200)(np.full((1, 1, 1, 1), 255, "uint8")).item()
    200
    """
    return Transform((Clip(low, high),))


def standardize(mean: Given | None = None, std: Given | None = None) -> Transform:
    """``(values - mean) / std``, without constants by each patch's own.

    Examples
    --------
    >>> standardize()(np.array([[[[1, 3]]]], "uint8")).ravel()
    array([-1.,  1.], dtype=float32)
    """
    return Transform((Standardize(mean, std),))


def _steps(value: Any) -> list[Step]:
    match value:
        case Transform():
            return list(value.steps)
        case str():
            return read_text(value)
        case Mapping():
            return read_mapping(value)
        case Scale() | Clip() | Standardize() | Function():
            return [value]
        case list() | tuple():
            return [step for each in value for step in _steps(each)]
        case _:
            pass
    if callable(value):
        return [as_function(value, "transform")]
    raise TypeError(
        'transform must be text such as "scale(0.0001)" or "module:function", a mapping such as '
        f'{{"scale": {{"factor": 0.0001}}}}, a function, or a list of these, got {type(value).__name__}: {value!r}'
    )


def _checked(found: Any, patches: Array, function: Function) -> Array:
    """What a function returned, if it can be stored, in the machine's byte order."""
    wanted = f"an ndarray of shape {patches.shape}"
    if type(found) is not np.ndarray:
        raise ValueError(f"{function.name} must return {wanted}, got {type(found).__module__}.{type(found).__name__}")
    if found.shape != patches.shape:
        raise ValueError(f"{function.name} must return {wanted} (n, channel, y, x), got shape {found.shape}")
    if not is_storable(found.dtype):
        raise ValueError(
            f"{function.name} must return a dtype that can be stored (bool, integers, float16 to float64, complex), "
            f"got {found.dtype}"
        )
    return found.astype(found.dtype.newbyteorder("="), copy=False)
