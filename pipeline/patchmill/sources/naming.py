"""Which axis is which: from names where there are names, from the number of axes where there are none."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from typing import Any

from patchmill.patches.notices import caller_level
from patchmill.sources.readers import AXES

_KNOWN = {
    "image": {"image", "images", "time", "t", "scene", "sample", "item", "date"},
    "channel": {"channel", "channels", "band", "bands", "c", "wavelength"},
    "y": {"y", "lat", "latitude", "row", "rows", "height", "northing", "rlat", "south_north"},
    "x": {"x", "lon", "longitude", "col", "cols", "column", "columns", "width", "easting", "rlon", "west_east"},
}
_UNNAMED: dict[int, tuple[str, ...]] = {2: ("y", "x"), 3: ("channel", "y", "x"), 4: ("image", "channel", "y", "x")}

Dims = Mapping[str, str] | Sequence[str] | None
"""A mapping from canonical axis to the source's own name, or the canonical axes of an unnamed array in its order."""


def as_dims(dims: Any) -> Dims:
    """What the user said of axes, checked as far as can be without an array.

    Raises
    ------
    TypeError
        If it is neither a mapping nor a sequence of names.
    """
    if dims is None:
        return None
    if not isinstance(dims, Mapping) and (isinstance(dims, str) or not isinstance(dims, Sequence)):
        raise TypeError(f'dims must be a mapping or a list such as ("y", "x", "channel"), got {dims!r}')
    for each in [*dims, *dims.values()] if isinstance(dims, Mapping) else dims:
        if not isinstance(each, str):
            raise TypeError(
                f'dims must name each axis by a text, such as {{"y": "lat", "x": "lon"}} or ("y", "x", "channel"), '
                f"got {each!r} in {dims!r}"
            )
    return dict(dims) if isinstance(dims, Mapping) else tuple(dims)


def as_names(names: Any, called: str) -> list[Any] | None:
    """Names as a user gives them, one alone or several, as a list; None for all there are.

    Raises
    ------
    TypeError
        If it is no collection of names, or a set, which has no order.
    ValueError
        If it is empty.

    Examples
    --------
    >>> as_names("mask", "variables"), as_names(("B02", "B03"), "channels")
    (['mask'], ['B02', 'B03'])
    """
    if names is None or isinstance(names, str):
        return None if names is None else [names]
    found = list(names) if _is_collection(names) else None
    if found is None or not all(isinstance(name, Hashable) for name in found):
        raise TypeError(f'{called} must be a name or a list of names such as ["red", "green"], got {names!r}')
    if not found:
        raise ValueError(f"{called} must name at least one, got {names!r}: leave it out to take all there are")
    return found


def _is_collection(names: Any) -> bool:
    # The order of a set differs between processes, and that of names decides what is cut.
    ordered = isinstance(names, Collection) and not isinstance(names, bytes | set | frozenset)
    return ordered and getattr(names, "ndim", 1) == 1


def canonical_axes(names: Sequence[str] | None, ndim: int, dims: Dims, where: str) -> dict[str, int]:
    """Canonical axis to own axis number.

    Parameters
    ----------
    names : sequence of str or None
        The array's own dimension names.
    ndim : int
        Its number of axes.
    dims : mapping or sequence, optional
        What the user said.
    where : str
        Names the array in errors.

    Raises
    ------
    ValueError
        If y or x is missing, an axis has no meaning, or two have the same.

    Examples
    --------
    >>> canonical_axes(("time", "lat", "lon"), 3, None, "source")
    {'image': 0, 'y': 1, 'x': 2}
    >>> canonical_axes(None, 3, ("y", "x", "channel"), "source")
    {'y': 0, 'x': 1, 'channel': 2}
    """
    if names is None:
        meanings = _unnamed(ndim, dims, where)
    else:
        given = _given(dims, where)
        unknown = sorted(set(given) - set(names))
        if unknown:
            raise ValueError(_unknown(unknown[0], given, names, where))
        meanings = [given.get(name) or _known(name, given) for name in names]
    for name, meaning in zip(names or range(ndim), meanings, strict=True):
        if meaning is None or meanings.count(meaning) > 1:
            said = "has no known meaning" if meaning is None else f"is one of several for {meaning!r}"
            raise ValueError(
                f"axis {name!r} of {where} {said}: say which axis is which, "
                'such as dims={"image": "time", "channel": "band", "y": "lat", "x": "lon"}'
            )
    axes = {str(meaning): axis for axis, meaning in enumerate(meanings)}
    for axis in ("y", "x"):
        if axis not in axes:
            raise ValueError(f"{where} has no {axis} axis among {tuple(names or meanings)}: name it with dims")
    return axes


def own_dims(dims: Dims, names: Iterable[Any], everything: Iterable[Any]) -> Dims:
    """The part of `dims` that one of several variables has: a mask without channels needs not have their axis.

    A name that no variable has stays in, for `canonical_axes` to refuse.
    """
    if not isinstance(dims, Mapping):
        return dims
    elsewhere = {str(name) for name in everything} - {str(name) for name in names}
    return {axis: own for axis, own in dims.items() if own not in elsewhere}


def refuse_unknown(dims: Dims, everything: Iterable[Any], where: str) -> None:
    """Raise where `dims` maps to a name that no variable has."""
    names = [str(name) for name in everything]
    if not isinstance(dims, Mapping):
        return
    unknown = [own for own in dims.values() if own not in names]
    if unknown:
        raise ValueError(_unknown(unknown[0], {own: axis for axis, own in dims.items()}, names, where))


def _unknown(name: str, given: Mapping[str, str], names: Sequence[str], where: str) -> str:
    """A sentence for a name that an array has not; where it was given the wrong way round, with the right one."""
    turned = {own: axis for own, axis in given.items() if own in AXES and axis in names}
    hint = f": dims goes from patchmill's axes to the source's, so give {turned}" if turned else ""
    return f"dims names {name!r}, and {where} has {', '.join(map(repr, names))}{hint}"


def _unnamed(ndim: int, dims: Dims, where: str) -> list[str | None]:
    if dims is None:
        if ndim not in _UNNAMED:
            raise ValueError(f"{where} must have 2 to 4 axes, (image, channel, y, x) or the last of them, got {ndim}")
        return list(_UNNAMED[ndim])
    if isinstance(dims, Mapping):
        raise ValueError(
            f"{where} has no dimension names for dims to map: "
            'give its axes in order, such as dims=("y", "x", "channel")'
        )
    meanings = list(dims)
    if len(meanings) != ndim or not set(meanings) <= set(AXES):
        raise ValueError(
            f"dims must give one of {', '.join(AXES)} for each of the {ndim} axes of {where}, got {meanings}"
        )
    return list(meanings)


def _given(dims: Dims, where: str) -> dict[str, str]:
    """Own name to canonical axis, from what the user said."""
    if dims is None:
        return {}
    if not isinstance(dims, Mapping):
        raise ValueError(f'{where} has dimension names: map them, such as dims={{"image": "time"}}, got {dims!r}')
    wrong = sorted(set(dims) - set(AXES))
    if wrong:
        raise ValueError(f"dims maps from {', '.join(AXES)}, got {wrong[0]!r}")
    return {own: axis for axis, own in dims.items()}


def _known(name: str, given: Mapping[str, str]) -> str | None:
    for axis, known in _KNOWN.items():
        # Where variables have other channels, patchmill's stores call the axis after the variable.
        called = str(name).lower() in known or (axis == "channel" and str(name).startswith("channel_"))
        if called and axis not in given.values():
            return axis
    return None


def auxiliary(attributes: Iterable[Mapping[Any, Any]]) -> set[str]:
    """Variables that only say where others lie, such as a ``lat`` on (y, x): what CF's ``coordinates`` lists."""
    texts = (each.get("coordinates") for each in attributes)
    return {name for text in texts if isinstance(text, str) for name in text.split()}


def warn_of_others(where: str, images: Collection[Any], dims: Mapping[Any, Sequence[Any]]) -> None:
    """Name a variable that nobody chose and that is not cut, though it lies on the same y and x as those that are.

    Parameters
    ----------
    where : str
        Names the source.
    images : collection of str
        Variables to cut.
    dims : mapping
        Of every variable.
    """
    shared = set.intersection(*(set(dims[name]) for name in images))
    if len(shared) < 2:  # their axes have no names, so others can't be told to lie on the same
        return
    for name in (each for each in dims if each not in images and len(dims[each]) > 2 and shared <= set(dims[each])):
        strange = [axis for axis in dims[name] if all(axis not in dims[image] for image in images)]
        warnings.warn(
            f"variable {str(name)!r} of {where} is not cut, as its axes {tuple(map(str, dims[name]))} have "
            f"{', '.join(map(str, strange)) or 'one'} beside image, channel, y and x: select one of it, say with dims "
            "which is which, or name the variables to cut with variables=",
            stacklevel=caller_level(),
        )
