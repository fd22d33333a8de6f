"""The end of an ingest: what describes the pixels is written, the root last; and what was done is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from patchmill.ingesting.agreeing import Agreement, Layout
from patchmill.ingesting.describing import (
    channel_dims,
    declared,
    names_of,
    pixel_arrays,
    pixel_attributes,
    provenance,
    shared_crs,
    small_arrays,
)
from patchmill.ingesting.ordering import Order, Work
from patchmill.ingesting.pairing import IMAGE, Candidate
from patchmill.ingesting.remembering import write_files
from patchmill.ingesting.report import IngestReport
from patchmill.ingesting.scenes import Scene
from patchmill.storage import Location, write_small
from patchmill.types import shown_shape


def describe(order: Order, state: Work, agreement: Agreement, place: Location, ignored: int) -> list[str]:
    """Write what describes the pixels, the root last; the names of the small arrays."""
    candidates, layouts = _all(state, agreement), agreement.layouts
    kept = state.standing.small if state.standing is not None else frozenset[str]()
    crs = shared_crs([each.scenes[IMAGE] for each in candidates]) is not None
    attributes = {
        layout.name: pixel_attributes(layout, [each.scenes[layout.name] for each in candidates], crs=crs, kept=kept)
        for layout in layouts
    }
    specs = [
        *pixel_arrays(layouts, len(candidates), attributes),
        *small_arrays(layouts, candidates, _names(state, candidates), kept),
    ]
    names = [layout.name for layout in layouts]
    objects = declared(specs, names, _own(order, state, agreement, candidates, ignored))
    write_small(place, specs, objects)
    write_files(place, candidates, _whole(state, agreement))
    place.write("zarr.json", objects["zarr.json"])
    return [spec.name for spec in specs if spec.name not in names]


def _all(state: Work, agreement: Agreement) -> list[Candidate]:
    """The images of the store, old ones first."""
    return [*state.before, *(state.candidates[number] for number in agreement.accepted)]


def _names(state: Work, candidates: Sequence[Candidate]) -> list[str]:
    return names_of(candidates, state.standing.names if state.standing is not None else ())


def _own(
    order: Order, state: Work, agreement: Agreement, candidates: Sequence[Candidate], ignored: int
) -> dict[str, Any]:
    """What the root says about how the store came about."""
    standing = state.standing
    before = standing.group.own["provenance"] if standing is not None else None
    return {
        "generation": standing.generation + 1 if standing is not None else 0,
        "arguments": order.arguments,
        "provenance": provenance(candidates, state.skipped(agreement), ignored, before),
    }


def _whole(state: Work, agreement: Agreement) -> list[bool]:
    """Of each image, whether all images of its file are there."""
    partly = {number for number, _ in state.problems(agreement)}
    before = state.standing.whole if state.standing is not None else []
    return [*before, *(state.places[number][0] not in partly for number in agreement.accepted)]


def report_of(
    order: Order, state: Work, agreement: Agreement, ignored: int, arrays: Iterable[str], **more: Any
) -> IngestReport:
    """What was done, for people.

    Parameters
    ----------
    order : Order
    state : Work
    agreement : Agreement
    ignored : int
    arrays : iterable of str
        Small arrays of the store.
    **more
        What only an append has to say.
    """
    candidates, image = _all(state, agreement), agreement.layouts[0]
    scenes = [candidate.scenes[IMAGE] for candidate in candidates]
    notes = [*_notes(arrays), *_shape_notes(agreement.layouts), *_unread_notes(scenes)]
    return IngestReport(
        target=order.target.url,
        variables=tuple(layout.name for layout in agreement.layouts),
        names=tuple(_names(state, candidates)),
        sizes=tuple((scene.height, scene.width) for scene in scenes),
        dtype=image.dtype,
        channels=image.channels,
        labels=image.labels if image.name in channel_dims(agreement.layouts) else None,
        nbytes=sum(scene.nbytes for candidate in candidates for scene in candidate.scenes.values()),
        skipped=tuple(state.skipped(agreement)),
        ignored=ignored,
        notes=(*notes, *more.pop("notes", ())),
        **more,
    )


def _notes(arrays: Iterable[str]) -> Iterator[str]:
    """What differs between the images, by the arrays that keep it."""
    kinds = {"nodata_": "nodata differs", "scale_": "the scale differs", "offset_": "the offset differs"}
    for name in arrays:
        if name == "crs":
            yield "the CRS differs between images: each has its own in crs(image)"
        for prefix, what in kinds.items():
            if name.startswith(prefix):
                own = "each image's own counts, kept" if prefix == "nodata_" else "each has its own"
                yield f"{what} between images of {name.removeprefix(prefix)!r}: {own} in {name}"


def _unread_notes(scenes: Iterable[Scene]) -> Iterator[str]:
    """What files have that is not taken."""
    for what, count in Counter(scene.unread for scene in scenes if scene.unread is not None).items():
        yield f"{count:,} {'image has' if count == 1 else 'images have'} {what}, which is not read"


def _shape_notes(layouts: Iterable[Layout]) -> Iterator[str]:
    """Where a canvas has grown so that its chunks are other than those of a store made in one go."""
    for layout in layouts:
        if layout.shapes != layout.chosen:
            yield (
                f"{layout.name!r} keeps the chunks and shards of its first images, {shown_shape(layout.shapes.shard)} "
                f'a shard; made anew with mode="overwrite" it would have {shown_shape(layout.chosen.shard)}'
            )
