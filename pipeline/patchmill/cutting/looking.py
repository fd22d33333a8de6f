"""What is at a target and beside it, what a call may do there, and in what two requests differ. Nothing is touched."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from patchmill.cutting.holders import LEASES
from patchmill.errors import TargetExistsError
from patchmill.storage import Location, begun, digest, read_group, root_problem
from patchmill.storage.makers import is_mine, is_stale, task
from patchmill.types import Mode

REQUEST = "request.json"
"""In the workshop: what was begun, and how."""

Prefix = Callable[[int], Mapping[str, Any]]
"""The request as it was when the source had only so many images."""


@dataclass(frozen=True, slots=True)
class State:
    """What is at a target and beside it.

    Parameters
    ----------
    what : str
        "nothing", "a patch set", "begun" or "something else".
    stored : mapping or None
        The request of the set that is there.
    unfinished : mapping or None
        The request of what was begun and not finished.
    images : int
        Images that the set held when the unfinished generation was begun.
    mode : str
        How that was begun.
    aside : bool
        Whether it is built beside a set that it will replace, and has not replaced it yet.
    trusted : int or None
        See `Workplace`.
    slices : int or None
        Into how many slices that generation is cut; None where nobody has said yet.
    task : str
        On what a stage worked that began it, see `makers`; empty where none did.
    mine : bool
        Whether the stage that this process works for made the set that is there, or began what is there instead.
    stale : bool
        Whether it has been told that this set is not to be gone on with.
    foreign : bool
        Whether there is a workshop that nobody can go on from.
    """

    what: str
    stored: Mapping[str, Any] | None
    unfinished: Mapping[str, Any] | None
    images: int
    mode: str
    aside: bool
    trusted: int | None
    slices: int | None = None
    task: str = ""
    mine: bool = False
    stale: bool = False
    foreign: bool = False

    def is_leftover(self, request: Mapping[str, Any]) -> bool:
        """Whether what is in the workshop is of a set that is complete: killed between the commit and the tidying."""
        return self.stored == request and self.unfinished == request and not self.aside

    def is_ahead(self, request: Mapping[str, Any]) -> bool:
        """Whether a complete set was being appended images that its source has no longer, and which are trusted."""
        images = 0 if self.unfinished is None else int(self.unfinished["images"])
        ahead = self.stored == request and self.mode == "append" and images > int(request["images"])
        return ahead and self.trusted != int(request["images"])

    def goes_on(self, request: Mapping[str, Any], mode: Mode) -> bool:
        """Whether a call takes up what was begun; never a stage what it began on other inputs."""
        same = self.unfinished == request and (mode == "resume" or mode == self.mode == "overwrite")
        return same and (not self.task or task() in ("", self.task))


def look(target: Location) -> State:
    """What is at `target`; a swap that a crash cut short counts as done.

    Others begin and complete a set while we look at it: what seems to be somebody else's is looked at again.
    """
    for _ in range(_LOOKS):
        state = _look(target)
        if state.what != "something else" and not state.foreign:
            break
        time.sleep(_LOOK_SECONDS)
    return state


_LOOKS, _LOOK_SECONDS = 3, 0.1


def _look(target: Location) -> State:
    ours = _is_ours(target.workshop)  # before the request is read, which may be written at this moment
    found = _understood(begun(target))
    group = None if target.is_empty() else read_group(target)
    request = None if group is None or group.own.get("kind") != "patches" else dict(group.own["request"])
    begun_by = found or {}
    arrays = None if found is None else _pixel_arrays(found["request"])
    what = _what(target, request is not None, group is not None, arrays)
    return State(
        what,
        request,
        begun_by.get("request"),
        int(begun_by.get("old", 0)),
        str(begun_by.get("mode", "resume")),
        bool(begun_by.get("aside", False)) and not _is_swapped(target, begun_by),
        begun_by.get("trusted"),
        begun_by.get("slices"),
        str(begun_by.get("task", "")),
        is_mine({"provenance": begun_by} if group is None else group.own),
        group is not None and is_stale(group.own),
        found is None and not ours,
    )


def _is_swapped(target: Location, begun_by: Mapping[str, Any]) -> bool:
    """Whether the root that was to come into the place of an old one is there: it comes last, so all else is."""
    root = target.read("zarr.json")
    return root is not None and digest(root) == begun_by.get("root")


def _understood(found: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """What was remembered, unless that is no request of ours."""
    request = None if found is None else found.get("request")
    whole = isinstance(request, Mapping) and isinstance(request.get("images"), int)
    return found if found is not None and whole and isinstance(found.get("old"), int) else None


def is_finished(target: Location, request: Mapping[str, Any], prefix: Prefix, mode: Mode) -> bool:
    """Whether nothing is to cut, without touching anything, whatever others are doing to the set.

    Raises
    ------
    TargetExistsError
        If something is there that `mode` may not touch; the text names what differs.
    """
    state = look(target)
    refuse(target, state, request, prefix, mode)
    return mode in ("resume", "append") and state.stored == request


def settled(target: Location, request: Mapping[str, Any], prefix: Prefix) -> Mode:
    """What "auto" means for what is at `target`.

    ::

        nothing, this set, or this set begun        resume
        this set begun in the place of another      overwrite, which goes on with that
        the set of fewer images                     append
        another set, made by this stage             overwrite
        any set that this stage is to make anew     overwrite
        anything else                               resume, which refuses it
    """
    state = look(target)
    known = state.stored if state.stored is not None else state.unfinished
    if state.stale:
        return "overwrite"
    if known is None or state.stored == request:
        return "resume"
    if state.unfinished == request and state.mode == "overwrite" and state.goes_on(request, "overwrite"):
        return "overwrite"
    if known == request:
        return "resume"
    images = int(known["images"])
    if images < int(request["images"]) and known == prefix(images):
        return "append"
    return "overwrite" if state.mine else "resume"


def is_tidy(target: Location, request: Mapping[str, Any]) -> bool:
    """Whether a complete set has nothing in its workshop that is its own, or that its source has left behind."""
    state = look(target)
    return not (state.is_leftover(request) or state.is_ahead(request))


def is_begun(target: Location, request: Mapping[str, Any], slices: int) -> bool:
    """Whether a cut in so many slices has been begun, so that `begin` has only to go on with it."""
    state = look(target)
    return state.goes_on(request, "resume") and not state.aside and state.slices == slices


# -- what may be touched -----------------------------------------------------------------------------------------------


def refuse(target: Location, state: State, request: Mapping[str, Any], prefix: Prefix, mode: Mode) -> None:
    """Raise where `mode` may not touch what is there."""
    if state.foreign:
        raise TargetExistsError(_in_the_way(target, state))
    if state.what == "something else":
        raise TargetExistsError(
            root_problem(target)
            or f"{target.url} exists and is not a patch set, so it is left alone: "
            "choose another target, or remove it yourself"
        )
    if mode == "create" and (state.what != "nothing" or state.unfinished is not None):
        what = "a finished patch set" if state.what == "a patch set" else "a patch set that was begun"
        raise TargetExistsError(
            f'{target.url} holds {what}, and mode="create" begins new ones: use mode="resume" or "overwrite"'
        )
    known = state.stored if state.stored is not None else state.unfinished
    if known is None or mode in ("create", "overwrite") or known == request:
        return
    images = int(known["images"])
    grown = images < int(request["images"]) and known == prefix(images)
    if grown and mode == "append":
        return
    differs = ", ".join(differences(known, request))
    way = 'use mode="append"' if grown else 'use mode="overwrite", or another target'
    if images < int(request["images"]) and _is_larger(request["grid"]["shape"], known["grid"]["shape"]):
        way = f"a new image is larger than all before, and those of a set share one grid, so {way}"
    if mode == "append" and images < int(request["images"]) and "url" not in request["source"]:
        way = f"only a source that is a Zarr store can grow, so write it as one (.to_zarr with append_dim), or {way}"
    raise TargetExistsError(f"{target.url} was cut from another request, which differs in {differs}: {way}")


def _is_larger(shape: Sequence[int], before: Sequence[int]) -> bool:
    return any(now > then for now, then in zip(shape, before, strict=True))


def _is_ours(work: Location) -> bool:
    """Whether a workshop without a request is none, or what a killed writer leaves of one; else it is somebody's."""
    if work.is_empty():
        return True
    if work.is_local and not work.path.is_dir():
        return False
    return _holds_only(work, {LEASES, "journal"})


def _holds_only(work: Location, names: Collection[str]) -> bool:
    """Whether nothing but these is in a workshop, and a request that is written half, under a name of its writer's."""
    half = f"{REQUEST}."
    return all(name in names or (name.startswith(half) and name.endswith(".__tmp")) for name in work.entries())


def _in_the_way(target: Location, state: State) -> str:
    """What is said of a workshop that nobody can go on from; that of a swap keeps a set, so that it is not for us."""
    work = target.workshop
    there = work.exists() and REQUEST in work.entries() and _holds_only(work, {LEASES, "journal", "next", REQUEST})
    if not there or (state.what == "something else" and not _holds_arrays_only(target, ())):
        return (
            f"{work.url} exists, which is where {target.url} would be prepared: choose another target, or move it away"
        )
    both = f"{work.url} and {target.url}" if state.what == "something else" else work.url
    return f"{work.url} holds the record of an unfinished cut, which can't be read: remove {both}, then call again"


def _what(target: Location, is_set: bool, is_group: bool, arrays: Collection[str] | None) -> str:  # noqa: FBT001
    if target.is_empty():
        return "nothing"
    if is_set:
        return "a patch set"
    is_begun = not is_group and arrays is not None and _holds_arrays_only(target, arrays)
    return "begun" if is_begun else "something else"


def _pixel_arrays(request: Mapping[str, Any]) -> Collection[str]:
    """Names of the arrays of pixels that a stored request gives; see `Request.array_name`."""
    variables = request.get("variables")
    names = [str(each["name"]) for each in variables] if variables and _are_named(variables) else []
    return names if len(names) > 1 else [str(request.get("layout"))]


def _holds_arrays_only(target: Location, arrays: Collection[str]) -> bool:
    """Whether all that is in the place looks like what a writer leaves: arrays, and files it had just begun.

    Of `arrays` shards are enough: who removes a target while it is cut takes the metadata, and shards come after that.
    """
    for name in target.entries():
        inside = target.child(name).entries()
        begun_only = all(each.endswith(".__tmp") or (each == "c" and name in arrays) for each in inside)
        is_folder = bool(inside) or (target.is_local and (target.path / name).is_dir())
        if not (name.endswith(".__tmp") or (is_folder and ("zarr.json" in inside or begun_only))):
            return False
    return True


def differences(known: Any, asked: Any, name: str = "") -> list[str]:
    """Names of what differs between two requests, with both values where they are short."""
    if isinstance(known, Mapping) and isinstance(asked, Mapping):
        keys = [*known, *(key for key in asked if key not in known)]
        return [
            text
            for key in keys
            if known.get(key) != asked.get(key)
            for text in differences(known.get(key), asked.get(key), f"{name}.{key}" if name else key)
        ]
    if _are_named(known) and _are_named(asked) and len(known) == len(asked):
        pairs = zip(known, asked, strict=True)
        return [text for a, b in pairs if a != b for text in differences(a, b, f"{a['name']}")]
    short = len(str(known)) + len(str(asked)) < 80
    return [f"{name} ({known!r} there, {asked!r} now)" if short else name]


def _are_named(things: Any) -> bool:
    """Whether these are descriptions of variables."""
    return isinstance(things, list) and all(isinstance(each, Mapping) and "name" in each for each in things)
