"""Which patches are kept: by a condition on their statistics, or by a function that looks at them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchmill.conditions import Channels, Condition, as_condition
from patchmill.transforms.functions import Function, Patches, as_function, names_a_function
from patchmill.transforms.guarding import check_function

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Keep:
    """What decides whether a patch is kept; see `as_keep`."""

    by: Condition | Function

    @property
    def needs_statistics(self) -> bool:
        """Whether it asks for statistics."""
        return isinstance(self.by, Condition)

    @property
    def needs_patches(self) -> bool:
        """Whether it asks for pixels."""
        return isinstance(self.by, Function)

    @property
    def names(self) -> tuple[str, ...]:
        """Statistics that it asks for."""
        return self.by.names if isinstance(self.by, Condition) else ()

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What it is, as plain JSON; of a function see `patchmill.transforms.functions.fingerprint`."""
        return {"condition": self.by.text} if isinstance(self.by, Condition) else self.by.fingerprint

    def on_lone(self, variable: str) -> Keep:
        """The same where `variable` is the only one; see `Condition.on_lone`."""
        return Keep(self.by.on_lone(variable)) if isinstance(self.by, Condition) else self

    def __call__(
        self,
        statistics: Mapping[str, Array] | None = None,
        patches: Patches | None = None,
        *,
        channels: Channels = None,
    ) -> NDArray[np.bool_]:
        """Which patches are kept.

        Parameters
        ----------
        statistics : mapping of str to ndarray, shape (n,) or (n, channel)
            For a condition: fields of the catalog, in the catalog's precision, so that `select` agrees with it later.
        patches : ndarray, shape (n, channel, y, x), or mapping of variables to these
            For a function.
        channels : sequence of str, mapping of str to sequence of str, or None
            Labels; as for `Condition`.

        Returns
        -------
        ndarray of bool, shape (n,)

        Raises
        ------
        ValueError
            If the condition asks for what is not there, or the function returns anything but one truth for each patch.
        PatchmillError
            If the function raises.

        Examples
        --------
        >>> as_keep("std > 2")({"std": np.array([[1.0, 3.0], [3.0, 4.0]])}, channels=["red", "green"])
        array([False,  True])
        >>> as_keep(lambda patches: patches.max(axis=(1, 2, 3)) > 0)(patches=np.eye(2).reshape(2, 1, 1, 2)[:, :, :, :1])
        array([ True, False])
        """
        if isinstance(self.by, Condition):
            return self.by(statistics or {}, channels)
        if patches is None:
            raise TypeError(f"keep {self.by.name} is a function of patches, and there are none")
        return _asked(self.by, patches)

    def check_alone(self, patches: Patches) -> bool:
        """Try a function on two patches, together and apart, as `patchmill.transforms.check_alone` does.

        Returns
        -------
        bool
            Whether the patches were telling; always for a condition.

        Raises
        ------
        ValueError
            If the function mixes patches.
        """
        by = self.by
        return isinstance(by, Condition) or check_function(lambda given: _asked(by, given), by.name, patches)


def as_keep(value: str | Condition | Callable[..., Any] | Keep | None) -> Keep | None:
    """`value` as what decides whether a patch is kept.

    Parameters
    ----------
    value : None, str, Condition, callable or Keep
        A condition such as ``"valid_fraction >= 0.9"``; ``"module:function"``, imported; or a function of patches,
        shape (n, channel, y, x), a dict of these where there are several variables, that returns a bool for each.

    Returns
    -------
    Keep or None
        None keeps all.

    Raises
    ------
    TypeError, ValueError
        If it is none of these.

    Examples
    --------
    >>> as_keep("valid_fraction>=.9").fingerprint
    {'condition': 'valid_fraction >= 0.9'}
    >>> as_keep("0.9")
    Traceback (most recent call last):
    ValueError: a condition must compare something, as in 'std > 2': '0.9' (character 1 of '0.9')
    """
    if value is None or isinstance(value, Keep):
        return value
    if isinstance(value, str) and not names_a_function(value):
        return Keep(as_condition(value))
    if isinstance(value, Condition):
        return Keep(value)
    if not isinstance(value, str) and not callable(value):
        raise TypeError(
            'keep must be a condition such as "valid_fraction >= 0.9", "module:function", or a function of patches, '
            f"got {type(value).__name__}: {value!r}"
        )
    return Keep(as_function(value, "keep"))


def _asked(function: Function, patches: Patches) -> NDArray[np.bool_]:
    n = len(next(iter(patches.values())) if isinstance(patches, Mapping) else patches)
    found, wanted = function(patches), f"one bool for each patch, an ndarray of shape ({n},)"
    if type(found) is not np.ndarray:
        raise ValueError(f"{function.name} must return {wanted}, got {type(found).__module__}.{type(found).__name__}")
    if found.shape != (n,):
        raise ValueError(f"{function.name} must return {wanted}, got shape {found.shape}: reduce over (channel, y, x)")
    if found.dtype != bool:
        nan = " with NaN among them" if found.dtype.kind in "fc" and np.isnan(found).any() else ""
        raise ValueError(f"{function.name} must return {wanted}, got {found.dtype}{nan}: compare, as in share > 0.5")
    return found
