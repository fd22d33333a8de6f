"""Variables of a group or Dataset as the channels of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchmill.sources.fingerprints import Identity
from patchmill.sources.model import Label, Source, Variable
from patchmill.sources.readers import Stacked

NAME = "image"
"""What the variable is called whose channels they are."""


def wanted_variables(channels: Sequence[str] | None, variables: Sequence[str] | None) -> list[str] | None:
    """What to open so that `channels` can be merged: these, and the other variables asked for.

    Raises
    ------
    ValueError
        If a name comes twice.
    """
    if channels is None:
        return None if variables is None else list(variables)
    names = [*channels, *(variables or ())]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not channels:
        raise ValueError(f"channels must name variables, each once and none that variables= has, got {list(channels)}")
    if NAME in (variables or ()):
        raise ValueError(f"channels make a variable called {NAME!r}, which variables= has too: leave one of them out")
    return names


def merged(source: Source, channels: Sequence[str]) -> Source:
    """`source` with the variables `channels` made the channels of one, called "image"; the others follow it.

    Raises
    ------
    ValueError
        If they have channels of their own, or other shapes or dtypes than the first.
    """
    named = {variable.name: variable for variable in source.variables}
    parts = [named[name] for name in channels]
    _refuse_different(parts)
    one = _one(parts)
    others = tuple(variable for variable in source.variables if variable.name not in channels)
    labels = {axis: label for axis, label in source.labels.items() if axis != "channel" or others}
    if "channel" in labels and any(each.has_channel for each in others):
        labels = {axis: label for axis, label in labels.items() if axis != "channel"}
        labels |= {f"channel_{each.name}": source.labels["channel"] for each in others if each.has_channel}
        labels[f"channel_{NAME}"] = _label(channels)
    else:
        labels["channel"] = _label(channels)
    return replace(
        source,
        variables=(one, *others),
        dims={axis: own for axis, own in source.dims.items() if axis != "channel"},
        labels=labels,
        identity=Identity(lambda: {**source.identity, "channels": list(channels)}),
    )


def _label(channels: Sequence[str]) -> Label:
    return Label(np.asarray(list(channels), dtype=object))


def _refuse_different(parts: Sequence[Variable]) -> None:
    first = parts[0]
    for each in parts:
        if each.has_channel:
            raise ValueError(f"channels are made of variables without such an axis, {each.name!r} has {each.channels}")
        if (each.shape, each.dtype) != (first.shape, first.dtype):
            kinds = ", ".join(f"{part.name} {_shape(part)} {part.dtype}" for part in parts)
            raise ValueError(
                f"channels are made of variables of one shape and dtype, got {kinds}: cast or leave some out"
            )


def _shape(part: Variable) -> tuple[int, ...]:
    return (part.shape[0], *part.shape[2:])


def _one(parts: Sequence[Variable]) -> Variable:
    first = parts[0]
    images, _, height, width = first.shape
    image, y, x = (max(part.chunks[axis] for part in parts) for axis in (0, 2, 3))
    common = {
        key: value
        for key, value in first.attributes.items()
        if all(part.attributes.get(key) == value for part in parts)
    }
    return Variable(
        name=NAME,
        has_channel=True,
        shape=(images, len(parts), height, width),
        dtype=first.dtype,
        chunks=(image, 1, y, x),
        read=Stacked(tuple(part.read for part in parts)),
        lazy=_lazy(parts),
        nodata=first.nodata if len({repr(part.nodata) for part in parts}) == 1 else None,
        nodatas=_nodatas(parts),
        attributes=common,
    )


def _nodatas(parts: Sequence[Variable]) -> NDArray[np.float64] | None:
    """What stands for "nothing measured" in each image, where all of them agree on it."""
    first = parts[0].nodatas
    if first is None or any(
        part.nodatas is None or not np.array_equal(part.nodatas, first, equal_nan=True) for part in parts
    ):
        return None
    return first


def _lazy(parts: Sequence[Variable]) -> Any:
    if any(part.lazy is None for part in parts):
        return None
    import dask.array as da

    return da.concatenate([part.lazy for part in parts], axis=1)
