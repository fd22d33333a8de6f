"""A request from what a set keeps of it: so that what was cut once can be cut again, byte for byte."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from patchmill.cutting.contents import pixel_arrays
from patchmill.cutting.looking import differences
from patchmill.cutting.request import Request, make_request
from patchmill.errors import MissingSourceError, SourceError
from patchmill.storage import StoredGroup, declare_arrays, digest
from patchmill.transforms.functions import as_function

_PLACE = ("url", "file")
"""Parts of a source's identity that only say where it was."""


def request_from_stored(
    group: StoredGroup,
    source: Any,
    *,
    transform: Any,
    keep: Any,
    storage_options: Mapping[str, Any] | None,
    memory: int | str | None,
    workers: int | None,
) -> Request:
    """The request that a set was cut by.

    Parameters
    ----------
    group : StoredGroup
    source : Any
        Where the source is now, or the object; None for where it was.
    transform, keep : Any
        The functions, where they can't be found by their names.
    storage_options, memory, workers
        As for `write_patches`.

    Raises
    ------
    SourceError
        If the source is not there, or is another one.
    ValueError
        If a function is needed that can't be found.
    """
    request, described = group.own["request"], group.own["source"]
    if source is None and described["url"] == "memory":
        raise ValueError(
            f"{group.place.url} was cut from an object in memory, which is needed again: pass it as source="
        )
    if source is None and "shape" in request["source"]:  # as no stored source has it
        path = described["url"]
        raise ValueError(
            f"{group.place.url} was cut from an array in memory that was mapped from {path}, which is needed again: "
            f"pass it as source=, such as np.load({path!r}, mmap_mode='r')"
        )
    place, grid, asked = described["url"] if source is None else source, request["grid"], described["asked"]
    try:
        made = make_request(
            place,
            tuple(grid["patch_shape"]),
            tuple(grid["step"]),
            layout=request["layout"],
            dilation=tuple(grid["dilation"]),
            edge=grid["edge"],
            pad_mode=grid["pad_mode"],
            pad_value=_number(grid["pad_value"]),
            dtype=_dtypes(request),
            transform=_transforms(request) if transform is None else transform,
            keep=_keep(request["keep"]) if keep is None else keep,
            statistics=request["statistics"],
            variables=asked["variables"],
            dims=asked["dims"],
            channels=asked["channels"],
            memory=memory,
            workers=workers,
            storage_options=storage_options,
            tuning=None,
            target=None,
            in_processes=False,
        )
    except MissingSourceError as error:
        raise MissingSourceError(f"{error}; where the source is elsewhere by now, pass it as source=") from error
    _refuse_another(group, made, moved=source is not None)
    return made


def _refuse_another(group: StoredGroup, made: Request, *, moved: bool) -> None:
    """Raise where cutting `made` would not give what the set holds."""
    stored, now = dict(group.own["request"]), made.to_dict()
    if now["images"] > stored["images"] and stored == made.to_dict(stored["images"]):
        raise SourceError(
            f"{made.source.url} has {now['images']:,} images by now and {group.place.url} holds {stored['images']:,}: "
            'append these first with write_patches(..., mode="append")'
        )
    if moved:
        stored, now = _placeless(stored), _placeless(now)
    if stored != now:
        told = "; ".join(differences(stored, now)[:3])
        raise SourceError(
            f"{made.source.url} is not what {group.place.url} was cut from, {told}: pass that as source=, "
            'or cut the set again with mode="overwrite"'
        )
    specs = pixel_arrays(made)
    objects = declare_arrays(specs)
    for spec in specs:
        if digest(objects[f"{spec.name}/zarr.json"]) != group.own["digests"].get(spec.name):
            raise SourceError(
                f"{spec.name!r} of {group.place.url} was declared otherwise, by another version of patchmill or from "
                "another source: use that one"
            )


def _placeless(request: Mapping[str, Any]) -> dict[str, Any]:
    source = {key: _unplaced(value) for key, value in request["source"].items() if key not in _PLACE}
    return {**request, "source": source}


def _unplaced(value: Any) -> Any:
    """A part of a source's identity without the names of files that arrays of xarray are read from."""
    if isinstance(value, Mapping):
        return {key: _unplaced(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_nameless(each) if isinstance(each, Mapping) else _unplaced(each) for each in value]
    return value


def _nameless(origin: Mapping[str, Any]) -> dict[str, Any]:
    """A file without its name, unless the name, such as a URL, is all that tells it from another one."""
    told = "changed" in origin or "metadata" in origin
    return {key: value for key, value in origin.items() if not (told and key in _PLACE)}


def _number(value: Any) -> Any:
    """A pad value that JSON could only hold as text."""
    return (
        complex(value) if isinstance(value, str) and "j" in value else float(value) if isinstance(value, str) else value
    )


def _dtypes(request: Mapping[str, Any]) -> Any:
    found = {each["name"]: each["dtype"] for each in request["variables"]}
    return found if len(found) > 1 else next(iter(found.values()))


def _transforms(request: Mapping[str, Any]) -> Any:
    found = {each["name"]: _steps(each["transform"]) for each in request["variables"]}
    if len(found) == 1:
        return next(iter(found.values()))
    return {name: steps for name, steps in found.items() if steps} or None


def _steps(fingerprint: list[dict[str, Any]] | None) -> list[Any] | None:
    """A transform from its fingerprint, which of named ones is how they are written."""
    if fingerprint is None:
        return None
    return [step if len(step) == 1 and "function" not in step else _function(step, "transform") for step in fingerprint]


def _keep(fingerprint: Mapping[str, Any] | None) -> Any:
    if fingerprint is None or "condition" in fingerprint:
        return None if fingerprint is None else fingerprint["condition"]
    return _function(fingerprint, "keep")


def _function(fingerprint: Mapping[str, Any], what: str) -> Any:
    """A function that can be imported by its name, if it is still the same."""
    name = str(fingerprint.get("function", ""))
    try:
        found = as_function(name, what) if ":" in name else None
    except ValueError:
        found = None
    if found is None or found.fingerprint != dict(fingerprint):
        raise ValueError(
            f"{what} {name or 'of the set'} is a function that can't be found again as it was: "
            f"pass it as patchmill.verify(..., repair=True, {what}=...)"
        )
    return found.call
