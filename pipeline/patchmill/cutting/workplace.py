"""Where a set is built: the target, and ``<target>.patchmill`` beside it for what a resume needs.

::

    out.zarr/             arrays and shards; its root zarr.json comes last and is the commit
    out.zarr.patchmill/   request.json, journal/, leases; gone once the set is complete
      following/          the root that an append is about to commit
      next/               where "overwrite" builds, while the old set stays readable
      old/                the old set, for the moment of the swap

A generation is what one call adds to a set: the first all images that there are then, an append those that came since.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from patchmill.cutting.holders import LEASES
from patchmill.cutting.journal import Journal
from patchmill.cutting.looking import REQUEST, Prefix, State, look, refuse
from patchmill.errors import TargetExistsError
from patchmill.sources.coordinates import ORIGINS
from patchmill.storage import FORMAT, Location, StoredGroup, digest, read_group
from patchmill.storage.makers import signature
from patchmill.types import Mode

_FOLLOWING = "following"


def following(target: Location) -> StoredGroup | None:
    """What a set will be once the append that is being committed is; None where none is."""
    group = read_group(target.workshop.child(_FOLLOWING))
    return None if group is None else replace(group, place=target)


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
        """What was found out about shards, and a new run finds out."""
        return Journal(self.work).next()

    def trust_all(self) -> None:
        """What was not to be trusted is gone."""
        _note(self.work, trusted=None)

    def announce(self, root: bytes) -> None:
        """Say what the root will be, before metadata that an old set's root says otherwise are replaced."""
        if self.old:
            self.work.child(_FOLLOWING).write("zarr.json", root)

    def finish(self) -> None:
        """The set is complete: put it in its place, and remove what only a resume needs."""
        if self.building != self.target:
            # By this whoever comes after a crash knows that the swap is done, though the note below was not written.
            _note(self.work, root=digest(self.building.read("zarr.json") or b""))
            _swap(self.target)
            _note(self.work, aside=False)  # from now on there is nothing to build
        if self.old:
            _clear(self.target)
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
    refuse(target, state, request, prefix, mode)
    if slices is not None and state.slices not in {None, slices}:
        raise TargetExistsError(
            f'{target.url} is cut in {state.slices} slices, got one of {slices}: use slice="i/{state.slices}", '
            "or no slice to finish it in one go"
        )
    if state.is_leftover(request):
        if state.mode == "append":
            _clear(target)
        tidy(work)
        if mode != "overwrite" or state.mode == mode:
            return None
        state = look(target)
    elif mode in ("resume", "append") and state.stored == request:
        _distrust(work, state, request)
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
        _remember(target.workshop, request, "append", old, trusted=old)  # an append of other images may have left some
        return Workplace(target, target, old, trusted=old, fresh=True, in_folder=in_folder)
    trusted = state.trusted
    if before != request:  # the source has grown since that generation was begun
        images = int(before["images"])
        same = images <= int(request["images"]) and before == prefix(images)
        trusted = min(images, images if trusted is None else trusted) if same else old
    if before != request or state.images != old:
        _remember(target.workshop, request, "append", old, trusted)
    return Workplace(target, target, old, trusted)


def _distrust(work: Location, state: State, request: Mapping[str, Any]) -> None:
    """Images that the source has no longer may come back with other pixels."""
    if state.is_ahead(request):
        _note(work, trusted=int(request["images"]))


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
    facts |= {"slices": slices, "request": request, **signature()}
    work.write(REQUEST, json.dumps(facts, indent=1).encode())


def _note(work: Location, **facts: Any) -> None:
    """Change what is remembered beside the request."""
    known = json.loads(work.read(REQUEST) or b"{}")
    work.write(REQUEST, json.dumps({**known, **facts}, indent=1).encode())


def _clear(target: Location) -> None:
    """Remove what readers of the former set had and an append took away: what all images shared and do no more.

    ::

        spatial_ref, y, x       are not there any more
        origin_y, origin_x      have an axis of images, and keys such as ``c.0.0`` in the place of ``c/0``
    """
    group = read_group(target)
    if group is None:
        return
    for name in {"spatial_ref", "y", "x"} - group.arrays.keys():
        target.child(name).remove()
    for place in map(target.child, ORIGINS):
        if any(name.startswith("c.") for name in place.entries()):
            place.child("c").remove()


def tidy(work: Location) -> None:
    """Remove the workshop but for leases, and last of all the request that tells it is one."""
    for name in work.entries() if work.exists() else []:
        if name not in (LEASES, REQUEST):
            work.child(name).remove()
    work.delete(REQUEST)


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
