"""Where a set is built: the target, and ``<target>.patchmill`` beside it for what a resume needs.

::

    out.zarr/             arrays and shards; its root zarr.json comes last and is the commit
    out.zarr.patchmill/   request.json, journal; gone once the set is complete
      next/               where "overwrite" builds, while the old set stays readable
      old/                the old set, for the moment of the swap
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from patchmill.cutting.journal import Journal
from patchmill.errors import TargetExistsError
from patchmill.storage import Location, StoredGroup, begun, read_group
from patchmill.types import Mode


@dataclass(frozen=True, slots=True)
class Workplace:
    """A target that is being built.

    Parameters
    ----------
    target : Location
        Where the set shall be.
    building : Location
        Where it is built: the target itself, or aside where an old set is replaced.
    """

    target: Location
    building: Location

    @property
    def work(self) -> Location:
        """The folder beside the target."""
        return self.target.workshop

    def journal(self) -> Journal:
        """Statistics of shards."""
        self.work.make()
        return Journal(self.work.path / "journal")

    def finish(self) -> None:
        """The set is complete: put it in its place, and remove what only a resume needs."""
        if self.building != self.target:
            old = self.work.child("old")
            self.target.move_to(old)
            self.building.move_to(self.target)
        _tidy(self.work)


def begin(target: Location, request: Mapping[str, Any], mode: Mode) -> Workplace | None:
    """Decide where to build, and remember the request there; None where the set is complete already.

    Raises
    ------
    TargetExistsError
        If something is there that `mode` may not touch; the text names what differs.
    """
    work = target.workshop
    _refuse_foreign(target, work)
    _finish_swap(target)
    here, unfinished = _what(target), begun(target)
    if here == "something else":
        raise TargetExistsError(
            f"{target.url} exists and is not a patch set, so it is left alone: "
            "choose another target, or remove it yourself"
        )
    if mode == "create" and (here != "nothing" or unfinished is not None):
        what = "a finished patch set" if here == "a patch set" else "a patch set that was begun"
        raise TargetExistsError(
            f'{target.url} holds {what}, and mode="create" begins new ones: use mode="resume" or "overwrite"'
        )
    aside = mode == "overwrite" and here == "a patch set"
    if mode == "resume":
        known = _request_of(target) if here == "a patch set" else unfinished
        _refuse_difference(target, known, request)
        if here == "a patch set":
            if work.exists() and unfinished == request:
                _tidy(work)  # killed between the commit and the tidying
            return None
    elif unfinished is not None and (unfinished != request or not aside):
        _clear(target, work, whole=not aside)
    building = work.child("next") if aside else target
    work.make()
    if unfinished != request:
        work.write("request.json", json.dumps(request, indent=1).encode())
    return Workplace(target, building)


def _refuse_foreign(target: Location, work: Location) -> None:
    """A folder beside the target that is not a workshop of ours is somebody's, and is left alone."""
    if begun(target) is not None or work.is_empty():
        return
    if not work.path.is_dir() or any(name != "request.json.__tmp" for name in os.listdir(work.path)):
        raise TargetExistsError(
            f"{work.url} exists, which is where {target.url} would be prepared: choose another target, or move it away"
        )


def _tidy(work: Location) -> None:
    """Remove the workshop, and last of all the request that tells it is one."""
    if work.exists():
        for entry in sorted(work.path.iterdir(), key=lambda entry: entry.name == "request.json"):
            work.child(entry.name).remove()
        work.remove()


def _what(target: Location) -> str:
    if target.is_empty():
        return "nothing"
    group = read_group(target) if target.path.is_dir() else None
    if group is not None:
        return "a patch set" if group.own.get("kind") == "patches" else "something else"
    return "begun" if begun(target) is not None and _holds_arrays_only(target) else "something else"


def _holds_arrays_only(target: Location) -> bool:
    """Whether all that is in the folder looks like what a killed writer leaves: arrays, and files it had just begun."""
    for entry in target.path.iterdir():
        inside = set(os.listdir(entry)) if entry.is_dir() else set()
        begun_only = all(name.endswith(".__tmp") for name in inside)
        if not (entry.name.endswith(".__tmp") or (entry.is_dir() and ("zarr.json" in inside or begun_only))):
            return False
    return True


def _request_of(target: Location) -> dict[str, Any] | None:
    group: StoredGroup | None = read_group(target)
    return None if group is None else dict(group.own["request"])


def _refuse_difference(target: Location, known: Mapping[str, Any] | None, request: Mapping[str, Any]) -> None:
    if known is None or known == request:
        return
    differs = ", ".join(_differences(known, request))
    raise TargetExistsError(
        f"{target.url} was cut from another request, which differs in {differs}: "
        'use mode="overwrite", or another target'
    )


def _differences(known: Any, asked: Any, name: str = "") -> list[str]:
    """Names of what differs between two requests, with both values where they are short."""
    if isinstance(known, Mapping) and isinstance(asked, Mapping):
        keys = [*known, *(key for key in asked if key not in known)]
        return [
            text
            for key in keys
            if known.get(key) != asked.get(key)
            for text in _differences(known.get(key), asked.get(key), f"{name}.{key}" if name else key)
        ]
    short = len(str(known)) + len(str(asked)) < 80
    return [f"{name} ({known!r} there, {asked!r} now)" if short else name]


def _clear(target: Location, work: Location, *, whole: bool) -> None:
    if whole and target.exists():
        target.remove()  # before the workshop that tells whose it is
    _tidy(work)


def _finish_swap(target: Location) -> None:
    """A swap that a crash cut short is completed: the new set was whole before the old one moved."""
    work = target.workshop
    if not work.child("old").exists():
        return
    if not target.exists():
        work.child("next").move_to(target)
    _tidy(work)
