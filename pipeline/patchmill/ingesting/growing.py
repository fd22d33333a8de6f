"""An append: what a store holds stays where it is, and new images come behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from patchmill.errors import PatchmillError
from patchmill.ingesting import appending
from patchmill.ingesting.agreeing import Agreement
from patchmill.ingesting.concluding import describe, report_of
from patchmill.ingesting.finding import find
from patchmill.ingesting.ordering import Order, Work
from patchmill.ingesting.publishing import kept_open, refuse_taken
from patchmill.ingesting.recognizing import Recognized, recognize
from patchmill.ingesting.report import IngestReport
from patchmill.ingesting.running import agreed, let_go, look, run, threads, write_pixels
from patchmill.ingesting.standing import Standing, read_standing
from patchmill.storage import Location, read_group


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
    with kept_open(order.target):
        group = None if order.target.is_empty() else read_group(order.target)
        if group is not None:
            try:
                return _grow(order, read_standing(group))
            finally:
                let_go(order)
    return run(replace(order, mode="create"))


def _grow(order: Order, standing: Standing) -> IngestReport:
    """Look for what is new, and add it."""
    _refuse_other_arguments(order, standing.group.own["arguments"])
    found = find(order.images, order.target, or_none=True)
    with threads(order.workers) as pool:
        seen = recognize(found.files, standing.known(), standing.partly(), pool)
        found.files = seen.new
        state = look(order, Work(standing), found, pool)
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


def _refuse_other_arguments(order: Order, known: Mapping[str, Any]) -> None:
    """What decides which images a file holds must be what it was."""
    for name, value in order.arguments.items():
        if value != known.get(name):
            raise ValueError(
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
