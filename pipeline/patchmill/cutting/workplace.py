"""Where a set is built: the target, and ``<target>.patchmill`` beside it for what a resume needs.

::

    out.zarr/             arrays and shards; its root zarr.json comes last and is the commit
    out.zarr.patchmill/   request.json, journal/, leases; gone once the set is complete
      next/               where "overwrite" builds, while the old set stays readable
      old/                the old set, for the moment of the swap

A generation is what one call adds to a set: the first all images that there are then, an append those that came since.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from patchmill.cutting.holders import LEASES
from patchmill.cutting.journal import Journal
from patchmill.errors import TargetExistsError
from patchmill.storage import FORMAT, Location, begun, read_group
from patchmill.types import Mode

_REQUEST = "request.json"

Prefix = Callable[[int], Mapping[str, Any]]
"""The request as it was when the source had only so many images."""


@dataclass(frozen=True, slots=True)
class Workplace:
    """A target that is being built.

    Parameters
    ----------
    target : Location
        Where the set shall be.
    building : Location
        Where it is built: the target itself, or aside where an old set is replaced.
    old : int
        Images that the set holds already; 0 unless this appends.
    trusted : int or None
        Images that what lies there is right for: fewer than all where the source grew, or changed its last images,
        after a generation was begun and not finished. None trusts everything.
    fresh : bool
        Whether this call began it.
    in_folder : bool
        Whether the folder of the target was there before, empty.
    """

    target: Location
    building: Location
    old: int = 0
    trusted: int | None = None
    fresh: bool = False
    in_folder: bool = False

    @property
    def work(self) -> Location:
        """The folder beside the target."""
        return self.target.workshop

    def journal(self) -> Journal:
        """What was found out about shards."""
        return Journal(self.work)

    def trust_all(self) -> None:
        """What was not to be trusted is gone."""
        _note(self.work, trusted=None)

    def finish(self) -> None:
        """The set is complete: put it in its place, and remove what only a resume needs."""
        if self.building != self.target:
            _swap(self.target)
            _note(self.work, aside=False)  # from now on there is nothing to build
        tidy(self.work)

    def forget(self) -> None:
        """Nothing that counts was written: leave the place as this call found it, unless it only went on."""
        if not self.fresh:
            return
        if not self.old:
            for name in self.building.entries():
                self.building.child(name).remove()
            if not self.in_folder:
                self.building.remove()
        tidy(self.work)


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
    """

    what: str
    stored: Mapping[str, Any] | None
    unfinished: Mapping[str, Any] | None
    images: int
    mode: str
    aside: bool
    trusted: int | None
    slices: int | None = None

    def is_leftover(self, request: Mapping[str, Any]) -> bool:
        """Whether what is in the workshop is of a set that is complete: killed between the commit and the tidying."""
        return self.stored == request and self.unfinished == request and not self.aside

    def goes_on(self, request: Mapping[str, Any], mode: Mode) -> bool:
        """Whether a call takes up what was begun."""
        return self.unfinished == request and (mode == "resume" or mode == self.mode == "overwrite")


def look(target: Location) -> State:
    """What is at `target`; a swap that a crash cut short counts as done.

    Slices begin and complete a set while others look at it: what seems to be something else is looked at again.
    """
    for _ in range(_LOOKS):
        state = _look(target)
        if state.what != "something else":
            break
        time.sleep(_LOOK_SECONDS)
    return state


_LOOKS, _LOOK_SECONDS = 3, 0.1


def _look(target: Location) -> State:
    found = _understood(begun(target))
    group = None if target.is_empty() else read_group(target)
    request = None if group is None or group.own.get("kind") != "patches" else dict(group.own["request"])
    what = _what(target, request is not None, group is not None, found is not None)
    begun_by = found or {}
    return State(
        what,
        request,
        begun_by.get("request"),
        int(begun_by.get("old", 0)),
        str(begun_by.get("mode", "resume")),
        bool(begun_by.get("aside", False)),
        begun_by.get("trusted"),
        begun_by.get("slices"),
    )


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
    _refuse(target, state, request, prefix, mode)
    return mode in ("resume", "append") and state.stored == request


def is_tidy(target: Location, request: Mapping[str, Any]) -> bool:
    """Whether a complete set has nothing in its workshop that is its own."""
    return not look(target).is_leftover(request)


def is_begun(target: Location, request: Mapping[str, Any], slices: int) -> bool:
    """Whether a cut in so many slices has been begun, so that `begin` has only to go on with it."""
    state = look(target)
    return state.goes_on(request, "resume") and not state.aside and state.slices == slices


def begin(
    target: Location, request: Mapping[str, Any], prefix: Prefix, mode: Mode, slices: int | None = None
) -> Workplace | None:
    """Decide where to build, and remember the request there; None where the set is complete already.

    Only who holds the target's lease may call this; of several slices one at a time, unless `is_begun`.

    Parameters
    ----------
    target : Location
    request : mapping
        From `Request.to_dict`.
    prefix : callable
        The same for the first so many images.
    mode : str
    slices : int, optional
        Into how many the cut is divided; the first slice decides for all.

    Raises
    ------
    TargetExistsError
        As `is_finished`; or if the cut is divided into another number of slices.
    """
    work = target.workshop
    _finish_swap(target)
    state = look(target)
    _refuse(target, state, request, prefix, mode)
    if slices is not None and state.slices not in {None, slices}:
        raise TargetExistsError(
            f'{target.url} is cut in {state.slices} slices, got one of {slices}: use slice="i/{state.slices}", '
            "or no slice to finish it in one go"
        )
    if state.is_leftover(request):
        tidy(work)
        if mode != "overwrite" or state.mode == mode:
            return None
        state = look(target)
    elif mode in ("resume", "append") and state.stored == request:
        return None  # what else is in the workshop is another generation's
    in_folder = target.exists()
    if mode == "append":
        return _begin_append(target, state, request, prefix, in_folder=in_folder)
    aside = mode == "overwrite" and state.what == "a patch set"
    building = work.child("next") if aside else target
    if state.goes_on(request, mode):
        if slices is not None and state.slices is None:
            _note(work, slices=slices)
        return Workplace(target, building, trusted=state.trusted)
    if state.what == "begun":
        target.remove()  # before the workshop that tells whose it is
        in_folder = False
    tidy(work)
    _remember(work, request, mode, aside=aside, slices=slices)
    return Workplace(target, building, fresh=True, in_folder=in_folder and not aside)


def _begin_append(
    target: Location, state: State, request: Mapping[str, Any], prefix: Prefix, *, in_folder: bool
) -> Workplace:
    old = 0 if state.stored is None else int(state.stored["images"])
    before = state.unfinished
    if before is None or before == state.stored or state.mode == "overwrite":
        tidy(target.workshop)  # whose records are of this set's past, or of another one
        _remember(target.workshop, request, "append", old)
        return Workplace(target, target, old, fresh=True, in_folder=in_folder)
    trusted = state.trusted
    if before != request:  # the source has grown since that generation was begun
        images = int(before["images"])
        same = images <= int(request["images"]) and before == prefix(images)
        trusted = min(images, images if trusted is None else trusted) if same else old
    if before != request or state.images != old:
        _remember(target.workshop, request, "append", old, trusted)
    return Workplace(target, target, old, trusted)


def _remember(
    work: Location,
    request: Mapping[str, Any],
    mode: Mode,
    old: int = 0,
    trusted: int | None = None,
    *,
    aside: bool = False,
    slices: int | None = None,
) -> None:
    work.make()
    facts: dict[str, Any] = {"format": FORMAT, "mode": mode, "old": old, "aside": aside, "trusted": trusted}
    facts |= {"slices": slices, "request": request}
    work.write(_REQUEST, json.dumps(facts, indent=1).encode())


def _note(work: Location, **facts: Any) -> None:
    """Change what is remembered beside the request."""
    known = json.loads(work.read(_REQUEST) or b"{}")
    work.write(_REQUEST, json.dumps({**known, **facts}, indent=1).encode())


# -- what may be touched -----------------------------------------------------------------------------------------------


def _refuse(target: Location, state: State, request: Mapping[str, Any], prefix: Prefix, mode: Mode) -> None:
    """Raise where `mode` may not touch what is there."""
    work = target.workshop
    if state.unfinished is None and not _is_ours(work):
        raise TargetExistsError(
            f"{work.url} exists, which is where {target.url} would be prepared: choose another target, or move it away"
        )
    if state.what == "something else":
        raise TargetExistsError(
            f"{target.url} exists and is not a patch set, so it is left alone: "
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
    raise TargetExistsError(f"{target.url} was cut from another request, which differs in {differs}: {way}")


def _is_ours(work: Location) -> bool:
    """Whether a workshop without a request is none, or what a killed writer leaves of one; else it is somebody's."""
    if work.is_empty():
        return True
    if work.is_local and not work.path.is_dir():
        return False
    half = f"{_REQUEST}."  # written half, under a name of its writer's
    return all(
        name in {LEASES, "journal"} or (name.startswith(half) and name.endswith(".__tmp")) for name in work.entries()
    )


def tidy(work: Location) -> None:
    """Remove the workshop but for leases, and last of all the request that tells it is one."""
    for name in work.entries() if work.exists() else []:
        if name not in (LEASES, _REQUEST):
            work.child(name).remove()
    work.delete(_REQUEST)


def _what(target: Location, is_set: bool, is_group: bool, is_begun: bool) -> str:  # noqa: FBT001 - three facts
    if target.is_empty():
        return "nothing"
    if is_set:
        return "a patch set"
    return "begun" if not is_group and is_begun and _holds_arrays_only(target) else "something else"


def _holds_arrays_only(target: Location) -> bool:
    """Whether all that is in the place looks like what a killed writer leaves: arrays, and files it had just begun."""
    for name in target.entries():
        inside = target.child(name).entries()
        begun_only = all(each.endswith(".__tmp") for each in inside)
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


def _swap(target: Location) -> None:
    """Put what was built aside in the place of the old set.

    A disk renames twice. An object store can't: there the old root goes first, so that nobody takes a mixture for a
    set, and the new one comes last.
    """
    work = target.workshop
    if target.is_local:
        target.move_to(work.child("old"))
    else:
        target.remove()
    work.child("next").move_to(target)


def _finish_swap(target: Location) -> None:
    """A swap that a crash cut short is completed: the new set was whole before the old one moved."""
    work = target.workshop
    new = work.child("next")
    if target.is_local:
        if work.child("old").exists():
            if not target.exists():
                new.move_to(target)
            _note(work, aside=False)
            work.child("old").remove()
    elif new.read("zarr.json") is not None and target.read("zarr.json") is None:
        target.remove()
        new.move_to(target)
        _note(work, aside=False)
