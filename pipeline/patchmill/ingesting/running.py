"""An ingest from files to the finished store: look, agree, decode, write, publish."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from patchmill.errors import SourceError
from patchmill.ingesting.agreeing import Agreement, agree
from patchmill.ingesting.building import Building
from patchmill.ingesting.decoding import ahead, cost
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
from patchmill.ingesting.finding import File, Found, find
from patchmill.ingesting.limits import Limits
from patchmill.ingesting.pairing import IMAGE, Candidate, Problem, candidates_of
from patchmill.ingesting.problems import OnError, listed, refuse_problems
from patchmill.ingesting.publishing import CreateMode, built_aside, refuse_taken
from patchmill.ingesting.report import IngestReport
from patchmill.ingesting.scenes import Reading, UnfitError
from patchmill.storage import Location, write_small

Watch = Callable[[int, int, int], None]

_AHEAD = 2
"""Images on their way for each worker."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Order:
    """An ingest as asked for, every argument checked.

    Parameters
    ----------
    images : Any
        As the user gave it.
    target : Location
    patterns : mapping
        Further variables.
    channels : tuple of str, optional
    on_error : {"raise", "skip"}
    max_errors : int, optional
    mode : {"create", "overwrite"}
    readings : mapping
        How the files of each variable are read.
    limits : Limits
    workers : int
    progress : callable, optional
    """

    images: Any
    target: Location
    patterns: Mapping[str, str]
    channels: tuple[str, ...] | None
    on_error: OnError
    max_errors: int | None
    mode: CreateMode
    readings: Mapping[str, Reading]
    limits: Limits
    workers: int
    progress: Watch | None


@dataclass(slots=True, eq=False)
class _State:
    """What is known so far.

    Parameters
    ----------
    candidates : list of Candidate
    places : list of (int, int)
        Of each candidate, its file's place in the list, and its own in the file.
    refused : dict
        Place to what is not taken and why, as found before decoding.
    failed : dict
        Number of each candidate that could not be decoded, to the reason.
    """

    candidates: list[Candidate] = field(default_factory=list)
    places: list[tuple[int, int]] = field(default_factory=list)
    refused: dict[tuple[int, int], tuple[str, str]] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)

    def problems(self, agreement: Agreement) -> dict[tuple[int, int], tuple[str, str]]:
        """Everything that is not taken."""
        reasons = {**agreement.reasons, **self.failed}
        return self.refused | {self.places[n]: (self.candidates[n].shown, reason) for n, reason in reasons.items()}


def run(order: Order) -> IngestReport:
    """Do what `order` says.

    Raises
    ------
    PatchmillError
        As `patchmill.ingest`.
    """
    refuse_taken(order.target, order.mode)
    found = find(order.images, order.target)
    try:
        with _pool(order.workers) as pool:
            state = _look(order, found, pool)
        agreement = _agreed(order, state)
        with built_aside(order.target, order.mode) as place:
            agreement = _write(order, state, agreement, place)
            return _commit(order, state, agreement, place, found.ignored)
    finally:
        for reading in order.readings.values():
            reading.files.clear()
            reading.arrays.clear()


@contextmanager
def _pool(workers: int) -> Iterator[Executor]:
    """Threads; what they have not begun when something fails is dropped."""
    pool = ThreadPoolExecutor(workers, thread_name_prefix="patchmill-ingest")
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


# -- before decoding ------------------------------------------------------------------------------------------------


def _look(order: Order, found: Found, pool: Executor) -> _State:
    """Open every file, decode none."""
    state = _State()
    for number, name in enumerate(found.missing):
        state.refused[len(found.files) + number, 0] = (name, "is not there")
    _refuse(order, state.refused)

    def opened(file: File) -> list[Candidate | Problem]:
        return candidates_of(file, order.patterns, order.readings, order.limits, order.target)

    for number, images in enumerate(pool.map(opened, found.files)):
        for at, each in enumerate(images):
            if isinstance(each, Problem):
                state.refused[number, at] = (each.shown, each.reason)
                _refuse(order, state.refused)
            else:
                state.candidates.append(each)
                state.places.append((number, at))
    return state


def _refuse(order: Order, problems: Mapping[tuple[int, int], tuple[str, str]]) -> None:
    refuse_problems(problems, on_error=order.on_error, max_errors=order.max_errors)


def _agreed(order: Order, state: _State) -> Agreement:
    """What the images that are left agree on; raises where too few are."""
    agreement = agree(state.candidates, state.failed, order.channels)
    problems = state.problems(agreement)
    _refuse(order, problems)
    if not agreement.accepted:
        ordered = [problems[place] for place in sorted(problems)]
        raise SourceError(f"none of the images can be taken: {listed(ordered)}")
    return agreement


# -- decoding and writing -------------------------------------------------------------------------------------------


def _write(order: Order, state: _State, agreement: Agreement, place: Location) -> Agreement:
    """Write all pixels; begin again where an image fails on which shape, dtype or channels had hung."""
    while True:
        workers = _threads(order, [state.candidates[number] for number in agreement.accepted])
        with _pool(workers) as pool:
            written = _try(order, state, agreement, place, pool, workers)
        if written is not None:
            return written
        agreement = _agreed(order, state)
        for child in list(place.path.iterdir()):
            Location(str(child), child).remove()


def _threads(order: Order, candidates: Sequence[Candidate]) -> int:
    """As many as can decode the largest image at a time.

    More would not only wait: the C library keeps for each thread what a decoder once asked for.
    """
    largest = max(map(cost, candidates))
    return min(order.workers, max(1, int(order.limits.budget // max(largest, 1))))


def _try(
    order: Order, state: _State, agreement: Agreement, place: Location, pool: Executor, workers: int
) -> Agreement | None:
    """Write the images that agree; None once one fails without which the others would be written differently."""
    budget, tally = order.limits.budget, _Tally(len(agreement.accepted), order.progress)
    building = Building(
        place, agreement.layouts, tally.total, pool=pool, workers=workers, budget=budget, grown=tally.piece
    )
    numbered = [(number, state.candidates[number]) for number in agreement.accepted]
    results = ahead(pool, numbered, lambda: budget - building.held, building.flush, _AHEAD * workers)
    for number, pixels in results:
        candidate = state.candidates[number]
        try:
            if isinstance(pixels, UnfitError):
                raise pixels
            building.add(candidate, pixels)
            tally.image(candidate)
        except UnfitError as error:
            tally.image(None)
            state.failed[number] = str(error)
            left = _agreed(order, state)
            if left.layouts != agreement.layouts or left.accepted != _without(agreement.accepted, number):
                return None
            agreement = left
        del pixels  # or this image would stay while the next one is decoded
    building.finish()
    return agreement


def _without(numbers: Sequence[int], one: int) -> tuple[int, ...]:
    return tuple(number for number in numbers if number != one)


@dataclass(slots=True)
class _Tally:
    """Counts for whoever watches: images done of `total`, and bytes of pixels, those of images half done included."""

    total: int
    progress: Watch | None
    images: int = 0
    nbytes: int = 0
    pieces: int = 0

    def piece(self, nbytes: int) -> None:
        """So many bytes of an image are written."""
        self.pieces += nbytes
        self._tell()

    def image(self, candidate: Candidate | None) -> None:
        """An image is done with; None where it could not be taken."""
        self.images += 1
        self.nbytes += sum(scene.nbytes for scene in candidate.scenes.values()) if candidate else 0
        self.pieces = 0
        self._tell()

    def _tell(self) -> None:
        if self.progress is not None:
            self.progress(self.images, self.total, self.nbytes + self.pieces)


# -- the store's own description ------------------------------------------------------------------------------------


def _commit(order: Order, state: _State, agreement: Agreement, place: Location, ignored: int) -> IngestReport:
    """Write what describes the pixels, the root last."""
    candidates = [state.candidates[number] for number in agreement.accepted]
    layouts = agreement.layouts
    crs = shared_crs([each.scenes[IMAGE] for each in candidates]) is not None
    attributes = {
        layout.name: pixel_attributes(layout, [each.scenes[layout.name] for each in candidates], crs=crs)
        for layout in layouts
    }
    pixels, small = pixel_arrays(layouts, len(candidates), attributes), small_arrays(layouts, candidates)
    problems = state.problems(agreement)
    skipped = [problems[at] for at in sorted(problems)]
    names = [layout.name for layout in layouts]
    objects = declared([*pixels, *small], names, provenance(candidates, skipped, ignored))
    write_small(place, [*pixels, *small], objects)
    place.write("zarr.json", objects["zarr.json"])
    return _report(order, agreement, candidates, skipped, ignored, [spec.name for spec in small])


def _report(
    order: Order,
    agreement: Agreement,
    candidates: Sequence[Candidate],
    skipped: Sequence[tuple[str, str]],
    ignored: int,
    arrays: Sequence[str],
) -> IngestReport:
    image = agreement.layouts[0]
    scenes = [candidate.scenes[IMAGE] for candidate in candidates]
    return IngestReport(
        target=order.target.url,
        variables=tuple(layout.name for layout in agreement.layouts),
        names=tuple(names_of(candidates)),
        sizes=tuple((scene.height, scene.width) for scene in scenes),
        dtype=image.dtype,
        channels=image.channels,
        labels=image.labels if image.name in channel_dims(agreement.layouts) else None,
        nbytes=sum(scene.nbytes for candidate in candidates for scene in candidate.scenes.values()),
        skipped=tuple(skipped),
        ignored=ignored,
        notes=tuple(_notes(arrays)),
    )


def _notes(arrays: Sequence[str]) -> Iterator[str]:
    """What differs between the images, by the arrays that keep it."""
    kinds = {"nodata_": "nodata differs", "scale_": "the scale differs", "offset_": "the offset differs"}
    for name in arrays:
        if name == "crs":
            yield "the CRS differs between images: each has its own in crs(image)"
        for prefix, what in kinds.items():
            if name.startswith(prefix):
                yield f"{what} between images of {name.removeprefix(prefix)!r}: each has its own in {name}"
