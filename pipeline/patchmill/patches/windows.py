"""How much each pixel of a patch weighs where patches overlap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Weights = NDArray[np.float64]

_PROFILES: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "uniform": np.ones_like,
    "hann": lambda at: np.sin(np.pi * at) ** 2,
    "triangle": lambda at: 1 - np.abs(2 * at - 1),
}


def as_window(window: str | ArrayLike, patch_shape: Sequence[int]) -> str | Weights:
    """A known name, or weights of `patch_shape` scaled to at most 1.

    Raises
    ------
    TypeError, ValueError
        If the name is unknown, or the weights have another shape, or are not all finite and above 0.
    """
    if isinstance(window, str):
        if window not in _PROFILES:
            listed = ", ".join(repr(word) for word in _PROFILES)
            raise ValueError(f"window must be one of {listed} or an array of weights, got {window!r}")
        return str(window)
    given = np.asarray(window)
    if given.dtype.kind not in "biuf":
        raise TypeError(
            f"window must be a name or an array of real weights, got {type(window).__name__} of {given.dtype}"
        )
    if given.shape != tuple(patch_shape):
        raise ValueError(f"window must have the shape of a patch, {tuple(patch_shape)}, got {given.shape}")
    weights = given.astype(np.float64)
    if not (np.isfinite(weights) & (weights > 0)).all():
        raise ValueError(f"window must be finite and above 0 everywhere, got {weights.min()} to {weights.max()}")
    scaled = weights / weights.max()
    if not scaled.min() > 0:
        raise ValueError(
            f"window spans too many powers of ten, {weights.min()} to {weights.max()}: raise its smallest weights"
        )
    return np.asarray(scaled, np.float64)


def weights(window: str | Weights, patch_shape: Sequence[int]) -> Weights | None:
    r"""Weights of one patch, shape (patch_y, patch_x); None where all weigh the same.

    The named ones are products of one profile an axis, sampled at the middles of pixels, so that no weight is 0 and
    a pixel that only one patch covers always has one.

    ::

        triangle, patch 4        hann, patch 4
        .     _-_                .    _--_
        .   _-   -_              .   /    \
        .  -       -             . _-      -_
           0  1  2  3              0  1  2  3
         .25 .75 .75 .25         .15 .85 .85 .15

    Examples
    --------
    >>> weights("triangle", (4,))
    array([0.25, 0.75, 0.75, 0.25])
    """
    if not isinstance(window, str):
        return window
    if window == "uniform":
        return None
    profile = _PROFILES[window]
    along: list[Any] = [profile((np.arange(n) + 0.5) / n) for n in patch_shape]
    return np.asarray(reduce(np.multiply.outer, along))
