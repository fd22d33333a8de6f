"""An append: what a store holds stays where it is, and new images come behind it.

With mode "auto" only where that gives what the files are now. Where one has changed or vanished, the store is made
anew, if the stage that asks has made it; else that is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from patchmill.errors import PatchmillError, TargetExistsError
from patchmill.ingesting import appending
from patchmill.ingesting.agreeing import Agreement, agree
from patchmill.ingesting.concluding import describe, report_of
from patchmill.ingesting.finding import File, find, refuse_nothing
from patchmill.ingesting.ordering import Order, Work
from patchmill.ingesting.publishing import kept_open, refuse_taken
from patchmill.ingesting.recognizing import Key, Recognized, recognize
from patchmill.ingesting.report import IngestReport
from patchmill.ingesting.running import agreed, let_go, look, run, threads, write_pixels
from patchmill.ingesting.standing import Standing, read_standing
from patchmill.storage import Location, StoredGroup, read_group
from patchmill.storage.makers import is_mine, is_stale


class _OtherError(PatchmillError):
    """With "auto": what the store holds is not what the files are now."""


def append(order: Order) -> IngestReport:
    """Do what `order` says; a target that is not there yet is begun.

    Raises
    ------
    PatchmillError
        As `patchmill.ingest`.
    """
    refuse_taken(order.target, "append")
    if order.target.is_empty() and not order.target.workshop.exists():
        return run(replace(order, mode="create"))
    try:
        with kept_open(order.target):  # what an earlier process was killed at is in order by now
            group = None if order.target.is_empty() else read_group(order.target)
            if group is not None:
                return _append_to(group, order)
    except _OtherError as error:
        if not is_mine(_own(order.target)):
            raise TargetExistsError(str(error)) from None
        return run(replace(order, mode="overwrite"))
    return run(replace(order, mode="create"))


def _own(target: Location) -> Mapping[str, Any] | None:
    group = None if target.is_empty() else read_group(target)
    return None if group is None else group.own


def _append_to(group: StoredGroup, order: Order) -> IngestReport:
    if order.mode == "auto" and is_stale(group.own):
        raise _OtherError(f"{order.target.url} is out of date")
    try:
        return _grow(order, read_standing(group))
    finally:
        let_go(order)


def _grow(order: Order, standing: Standing) -> IngestReport:
    """Look for what is new, and add it."""
    _refuse_other_arguments(order, standing.group.own["arguments"])
    found = find(order.images, order.target, or_none=True)
    known = standing.known()
    found.missing = [entry for entry in found.missing if not _is_known(entry, known)]
    if found.missing:
        refuse_nothing(order.images, found)
    with threads(order.workers) as pool:
        seen = recognize(found.files, known, standing.partly(), pool)
        if order.mode == "auto":
            _refuse_other_files(order.target, seen)
        found.files = seen.new
        state = look(order, Work(standing), found, pool)
    if order.mode == "auto":
        _refuse_unfit(order, state, standing)
    agreement = agreed(order, state)
    if agreement.accepted:
        generation, images = standing.generation + 1, len(standing.candidates)
        aside = appending.begin(order.target, generation=generation, images=images)
        agreement = write_pixels(order, state, agreement, aside)
    arrays: Any = standing.small
    if agreement.accepted:
        arrays = describe(order, state, agreement, aside, found.ignored)
        _publish(order.target, standing, agreement, arrays, aside)
    return _report(order, state, agreement, seen, found.ignored, sorted(arrays))


def _is_known(entry: str, known: Mapping[Key, Any]) -> bool:
    """Whether what is not there any more was taken before: that is told among the vanished."""
    path, _, variable = entry.rpartition(":")
    return any((each.path, each.variable) in known for each in (File.at(entry), File.at(path, variable)))


def _publish(target: Location, standing: Standing, agreement: Agreement, arrays: list[str], aside: Location) -> None:
    made = read_group(aside)
    if made is None:
        raise PatchmillError(f"{aside.url} vanished while it was written: call again")
    for name in standing.group.arrays.keys() & made.arrays.keys():
        _refuse_other_storage(target, name, standing.group.arrays[name], made.arrays[name])
    appending.publish(target, [layout.name for layout in agreement.layouts], standing.small - set(arrays))


def _refuse_other_storage(target: Location, name: str, here: Mapping[str, Any], made: Mapping[str, Any]) -> None:
    """Old and new chunks of an array must be stored alike, whichever version wrote the old ones."""
    for key in ("data_type", "chunk_grid", "chunk_key_encoding", "codecs", "fill_value"):
        if here[key] != made[key]:
            raise PatchmillError(
                f"{name!r} in {target.url} was written by another version of patchmill, which differs in {key}: "
                'append with that version, or use mode="overwrite"'
            )


def _refuse_other_files(target: Location, seen: Recognized) -> None:
    """An append keeps what it took of a file, whatever becomes of that; "auto" gives what the files are now."""
    if seen.changed or seen.vanished:
        one = seen.changed[0][0] if seen.changed else seen.vanished[0]
        raise _OtherError(
            f"{target.url} was made of files of which {len(seen.changed):,} have changed and {len(seen.vanished):,} "
            f'vanished, such as {one}: use mode="overwrite" to make it anew, or mode="append" to keep what it holds'
        )


def _refuse_unfit(order: Order, state: Work, standing: Standing) -> None:
    """What a store made in one go would take, this one must take too: its chunks may be too small for a large image."""
    appended = agree(state.candidates, {}, order.channels, standing.layouts)
    at_once = agree([*standing.candidates, *state.candidates], {}, order.channels)
    left = sorted({number - len(standing.candidates) for number in at_once.accepted} - {*appended.accepted})
    left = [number for number in left if number >= 0]
    if left:
        raise _OtherError(
            f"{order.target.url} can't hold {len(left):,} of the new images, such as "
            f'{state.candidates[left[0]].shown}, which one made anew could: use mode="overwrite"'
        )


def _refuse_other_arguments(order: Order, known: Mapping[str, Any]) -> None:
    """What decides which images a file holds must be what it was."""
    for name, value in order.arguments.items():
        if value != known.get(name):
            kind = _OtherError if order.mode == "auto" else ValueError
            raise kind(
                f"{name} was {known.get(name)!r} when {order.target.url} was begun, and is {value!r} now: "
                'give the same, or use mode="overwrite"'
            )


def _report(
    order: Order, state: Work, agreement: Agreement, seen: Recognized, ignored: int, arrays: list[str]
) -> IngestReport:
    moved = f"{seen.moved:,} files lie elsewhere than before, and are not taken again"
    return report_of(
        order,
        state,
        agreement,
        ignored,
        arrays,
        notes=[moved] if seen.moved else [],
        added=len(agreement.accepted),
        changed=seen.changed,
        vanished=seen.vanished,
    )
