"""Each patch is treated alone: the promise that lets a run choose its blocks by memory. Here it is put to the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchmill.transforms.functions import Function, Patches
from patchmill.transforms.transform import Transform

Array = NDArray[Any]


def check_alone(transform: Transform, patches: Array) -> bool:
    """Try the functions of a transform on two patches, together and apart; pointwise ones on quarters too.

    A function that looks at its neighbors in the batch would give other bytes for another block size, hence for another
    memory limit. Two patches can't prove that it never does, but they catch a mean over the batch.

    Parameters
    ----------
    transform : Transform
    patches : ndarray, shape (n, channel, y, x)
        Real ones, since a function may not be made for others.

    Returns
    -------
    bool
        Whether the patches were telling; False where all their values are the same. Then ask again with others.

    Raises
    ------
    ValueError
        If a function mixes patches, or pixels though it says that it does not, or answers differently when asked twice.

    Examples
    --------
    >>> from patchmill.transforms import as_transform
    >>> def flattened(patches):
    ...     return patches - patches.mean(dtype="float32")
    >>> check_alone(as_transform(flattened), np.arange(8, dtype="float32").reshape(2, 1, 2, 2))
    Traceback (most recent call last):
    ValueError: ...flattened mixes patches: ...
    """
    for at, step in enumerate(transform.steps):
        if isinstance(step, Function):
            given = Transform(transform.steps[:at])(patches)
            if not check_function(Transform((step,)), step.name, given):
                return False
            if step.pointwise:
                _check_quarters(Transform((step,)), step.name, given[:64])
    return True


def check_function(call: Callable[[Any], Array], name: str, patches: Patches) -> bool:
    """Whether `call` answers for each patch as if it were alone: `check_alone` for any function of patches."""
    pair = _telling_pair(patches)
    if pair is None:
        return False
    together, again = call(pair), call(pair)
    if together.tobytes() != again.tobytes():
        raise ValueError(f"{name} gives another result each time: seed it by the patch itself, or leave out the chance")
    for number in range(2):
        alone = call(_taken(pair, number))
        if alone.dtype != together.dtype or alone.tobytes() != together[number : number + 1].tobytes():
            raise ValueError(
                f"{name} mixes patches: two of them give another result together than apart, so the result would "
                "depend on the memory limit; compute along the last axes only, as in patches.mean(axis=(-2, -1))"
            )
    return True


def _check_quarters(call: Callable[[Array], Array], name: str, patches: Array) -> None:
    whole = call(patches)
    sides = [((0, n // 2), (n // 2, n)) for n in patches.shape[-2:]]
    for rows, columns in product(*sides):
        part = (..., slice(*rows), slice(*columns))
        if patches[part].size and call(patches[part]).tobytes() != whole[part].tobytes():
            raise ValueError(
                f"{name} is declared pointwise, but a quarter of a patch gives another result than the whole: "
                "it looks at other pixels; leave out the attribute `pointwise`"
            )


def _telling_pair(patches: Patches) -> Patches | None:
    """Two patches that differ in what they hold, not only in its order."""
    if isinstance(patches, Mapping):
        for first, second in _pairs(next(iter(patches.values()))):
            if isinstance(second, int):
                return {name: each[[first, second]] for name, each in patches.items()}
        pairs = {name: _telling_pair(each) for name, each in patches.items()}
        if all(pair is None for pair in pairs.values()):
            return None
        return {name: patches[name][[0, 0]] if pair is None else np.asarray(pair) for name, pair in pairs.items()}
    for first, second in _pairs(patches):
        other = patches[second] if isinstance(second, int) else second
        return np.stack([patches[first], other])
    return None


def _pairs(patches: Array) -> Iterator[tuple[int, int | Array]]:
    """Pairs that differ: two that are there, else the first one and itself with one half repeated."""
    if not len(patches):
        return
    first = _ordered(patches[0])
    for number in range(1, min(len(patches), 64)):
        if _ordered(patches[number]) != first:
            yield 0, number
    for axis in (-2, -1):
        half = patches.shape[axis] // 2
        if half:
            part = np.take(patches[0], np.arange(patches.shape[axis]) % half, axis=axis)
            if _ordered(part) != first:
                yield 0, part


def _ordered(values: Array) -> bytes:
    """What a patch holds, in whatever order."""
    return np.sort(values, axis=None).tobytes()


def _taken(patches: Patches, number: int) -> Patches:
    if isinstance(patches, Mapping):
        return {name: each[number : number + 1] for name, each in patches.items()}
    return patches[number : number + 1]
