"""Channels as a user names them: variables that become the channels of one, or some channels of one by their labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchmill.sources.fingerprints import Identity
from patchmill.sources.model import (
    PACKINGS,
    Label,
    Source,
    UnknownVariableError,
    Variable,
    channel_labels,
    comparable_nodata,
    packing_attribute,
)
from patchmill.sources.readers import Selected, Stacked

NAME = "image"
"""What the variable is called whose channels they are."""


_EACH = frozenset(map(packing_attribute, PACKINGS))
"""Attributes that have a value for each channel."""

_TEXTS = frozenset({"long_name", "standard_name", "units"})
"""Attributes that may have a text for each channel, as those of a GeoTIFF's bands; of other lists, such as a valid
range of two numbers, length says nothing."""

_LISTED = 20
"""Labels that an error lists; of hyperspectral images there are hundreds."""

Open = Callable[[Sequence[str] | None], Source]
"""Opens a source with these variables, or with all."""


def with_channels(opening: Open, channels: Sequence[str] | None, variables: Sequence[str] | None) -> Source:
    """The source with `channels`: variables that become the channels of one, else labels of one variable's channels.

    Why labels too: see docs/decisions/0022-channels-by-label.md.

    Raises
    ------
    ValueError
        If a name comes twice, or is neither.
    """
    if channels is None:
        return opening(variables)
    channels = [str(name) for name in channels]
    names = [*channels, *(variables or ())]
    if len(set(names)) < len(names):
        raise ValueError(
            "channels must name variables, or channels by their labels, each once and none that variables= has, "
            f"got {channels}"
        )
    try:
        source = opening(names)
    except UnknownVariableError as error:
        return _by_label(opening, channels, variables, error)
    if NAME in (variables or ()):
        raise ValueError(f"channels make a variable called {NAME!r}, which variables= has too: leave one of them out")
    return merged(source, channels)


def _by_label(
    opening: Open, channels: Sequence[str], variables: Sequence[str] | None, error: UnknownVariableError
) -> Source:
    """Where some of `channels` are no variables: channels of the one array whose labels hold them all."""
    try:
        source = opening(variables)
        if variables and not _holding(source, channels):  # variables= names those to cut along
            holding = _holding(opening(None), channels)
            source = opening([*holding, *variables]) if holding else source
    except UnknownVariableError:
        raise
    except ValueError:  # variables that can't be cut together, say
        raise error from None
    found = [] if set(channels) & set(error.known) else _holding(source, channels)
    if not found:
        raise UnknownVariableError(_no_channel(source, channels, error), error.known) from None
    if len(found) > 1:
        raise ValueError(
            f"channels {', '.join(channels)} are in {' and '.join(found)} of {source.url}: choose one with variables="
        ) from None
    return chosen(source, found[0], channels)


def _holding(source: Source, channels: Sequence[str]) -> list[str]:
    """Variables whose labels of channels hold all of `channels`, each once."""
    labels = {each.name: _texts(source, each) for each in source.variables}
    return [name for name, texts in labels.items() if all(texts.count(channel) == 1 for channel in channels)]


def _texts(source: Source, variable: Variable) -> list[str]:
    label = _label_in(source, variable)
    return [] if label is None else [str(each) for each in label.values]


def _label_in(source: Source, variable: Variable) -> Label | None:
    return source.labels.get(source.channel_dim(variable)) if variable.has_channel else None


def _no_channel(source: Source, channels: Sequence[str], error: UnknownVariableError) -> str:
    """What there is instead: variables with pixels, and labels of channels."""
    labels = {each.name: texts for each in source.variables if (texts := _texts(source, each))}
    known = {*error.known, *(text for texts in labels.values() for text in texts)}
    name = next((channel for channel in channels if channel not in known), None)
    if name is None:
        start = (
            f"channels are variables, or channels of one variable that each have a label of their own, got {channels}"
        )
    else:
        start = f"{source.url} has no variable and no channel {name!r}"
    told = [f"its variables are {', '.join(error.known)}"] if error.known else []
    told += [f"the channels of {name} are {_listed(texts)}" for name, texts in labels.items()]
    if not labels:
        told.append("its channels have no labels, which patchmill.ingest gives them with channels=")
    return f"{start}: {', '.join(told)}"


def _listed(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _LISTED} more" if len(texts) > _LISTED else ""
    return ", ".join(texts[:_LISTED]) + more


def chosen(source: Source, name: str, channels: Sequence[str]) -> Source:
    """`source` with those channels of its variable `name` that are labeled so, in this order; others stay whole."""
    old = next(each for each in source.variables if each.name == name)
    texts = _texts(source, old)
    numbers = tuple(texts.index(channel) for channel in channels)
    image, _, height, width = old.shape
    new = replace(
        old,
        shape=(image, len(numbers), height, width),
        read=Selected(old.read, numbers, old.chunks, old.dtype),
        lazy=None if old.lazy is None else _picked(old.lazy, numbers),
        packings={kind: values[:, list(numbers)] for kind, values in old.packings.items()},
        attributes={
            key: [value[number] for number in numbers] if _is_each(key, value, old.shape[1]) else value
            for key, value in old.attributes.items()
        },
    )
    parts = tuple(new if each is old else each for each in source.variables)
    labeled = {each.name: _label_in(source, each) for each in source.variables if each.has_channel}
    label = labeled[name]
    if label is not None:
        labeled[name] = Label(label.values[list(numbers)], label.attributes)
    elsewhere = {axis: each for axis, each in source.labels.items() if axis.partition("_")[0] != "channel"}
    return replace(
        source,
        variables=parts,
        labels=elsewhere | channel_labels(labeled, {each.name: each.channels for each in parts if each.has_channel}),
        identity=Identity(
            lambda: {**source.identity, "channels": [list(each) for each in zip(channels, numbers, strict=True)]}
        ),
    )


def _is_each(key: str, value: Any, channels: int) -> bool:
    """Whether an attribute is a list of something for each of so many channels."""
    if key in _TEXTS:
        return isinstance(value, list) and len(value) == channels
    return key in _EACH and _is_of(value, channels)


def _picked(lazy: Any, numbers: Sequence[int]) -> Any:
    """Channel by channel: an index out of order may make more chunks than Dask likes."""
    import dask.array as da

    return da.concatenate([lazy[:, number : number + 1] for number in numbers], axis=1)


def merged(source: Source, channels: Sequence[str]) -> Source:
    """`source` with the variables `channels` made the channels of one, called "image"; the others follow it.

    Raises
    ------
    ValueError
        If they have channels of their own, or other shapes, dtypes or nodata than the first.
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
    if len({_nodata(part) for part in parts}) > 1:
        told = ", ".join(
            f"{part.name} {'one each image' if part.nodatas is not None else part.nodata}" for part in parts
        )
        raise ValueError(
            f"channels are made of variables that agree on nodata, got {told}: give them one, or cut them as variables="
        )


def _nodata(part: Variable) -> Any:
    """What stands for "nothing measured" as its pixels have it, a tuple where images differ; None for NaN too."""
    if part.nodatas is not None:
        return tuple(None if np.isnan(value) else value for value in part.nodatas.tolist())
    value = comparable_nodata(part.nodata, part.dtype)
    return None if value is None or value != value else part.dtype.type(value)


def _shape(part: Variable) -> tuple[int, ...]:
    return (part.shape[0], *part.shape[2:])


def _one(parts: Sequence[Variable]) -> Variable:
    first = parts[0]
    images, _, height, width = first.shape
    image, y, x = (max(part.chunks[axis] for part in parts) for axis in (0, 2, 3))
    common = {
        key: value
        for key, value in first.attributes.items()
        if key not in _EACH and all(part.attributes.get(key) == value for part in parts)
    }
    packings = {kind: values for kind in PACKINGS if (values := _packing(parts, kind)) is not None}
    return Variable(
        name=NAME,
        has_channel=True,
        shape=(images, len(parts), height, width),
        dtype=first.dtype,
        chunks=(image, 1, y, x),
        read=Stacked(tuple(part.read for part in parts)),
        lazy=_lazy(parts),
        nodata=first.nodata,
        nodatas=first.nodatas,
        packings={kind: values for kind, values in packings.items() if values.ndim > 1},
        attributes=common
        | {packing_attribute(kind): values.tolist() for kind, values in packings.items() if values.ndim == 1},
    )


def _packing(parts: Sequence[Variable], kind: str) -> NDArray[np.float64] | None:
    """Scale or offset of each of `parts`, shape (channel,), or (image, channel) where images differ; None without."""
    shared = [part.attributes.get(packing_attribute(kind)) for part in parts]
    each = [
        part.packings.get(kind, value if _is_of(value, 1) else None) for part, value in zip(parts, shared, strict=True)
    ]
    if all(column is None for column in each):
        return None
    columns = np.broadcast_arrays(*([PACKINGS[kind]] if column is None else column for column in each))
    return np.stack(columns, axis=1) if any(kind in part.packings for part in parts) else np.ravel(columns)


def _is_of(value: Any, channels: int) -> bool:
    """Whether an attribute is a list of a number for each of so many channels."""
    return isinstance(value, list) and len(value) == channels and all(isinstance(one, int | float) for one in value)


def _lazy(parts: Sequence[Variable]) -> Any:
    if any(part.lazy is None for part in parts):
        return None
    import dask.array as da

    return da.concatenate([part.lazy for part in parts], axis=1)
