"""An ingest from files to the finished store: look, agree, decode, write, publish."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from patchmill.errors import SourceError
from patchmill.ingesting.agreeing import Agreement, agree
from patchmill.ingesting.building import Building
from patchmill.ingesting.concluding import describe, report_of
from patchmill.ingesting.decoding import ahead, cost
from patchmill.ingesting.finding import File, Found, find
from patchmill.ingesting.ordering import Order, Work
from patchmill.ingesting.pairing import Candidate, Problem, candidates_of
from patchmill.ingesting.problems import listed, refuse_problems
from patchmill.ingesting.publishing import built_aside, refuse_taken
from patchmill.ingesting.report import IngestReport
from patchmill.ingesting.scenes import UnfitError
from patchmill.ingesting.whereabouts import Own
from patchmill.storage import Location
from patchmill.types import Progress, Watch

_AHEAD = 2
"""Images on their way for each worker."""


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
        with threads(order.workers) as pool:
            state = look(order, Work(), found, pool)
        agreement = agreed(order, state)
        with built_aside(order.target, order.mode) as place:
            agreement = write_pixels(order, state, agreement, place)
            arrays = describe(order, state, agreement, place, found.ignored)
            return report_of(order, state, agreement, found.ignored, arrays)
    finally:
        let_go(order)


def let_go(order: Order) -> None:
    """Close what the readers keep open."""
    for reading in order.readings.values():
        reading.files.clear()
        reading.arrays.clear()


@contextmanager
def threads(workers: int) -> Iterator[Executor]:
    """Threads; what they have not begun when something fails is dropped."""
    pool = ThreadPoolExecutor(workers, thread_name_prefix="patchmill-ingest")
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


# -- before decoding ------------------------------------------------------------------------------------------------


def look(order: Order, state: Work, found: Found, pool: Executor) -> Work:
    """Open every file, decode none; images that the store holds already are passed over."""
    held, own = {each.key for each in state.before}, Own.of(order.target)
    for number, name in enumerate(found.missing):
        state.refused[len(found.files) + number, 0] = (name, "is not there")
    refuse(order, state.refused)

    def opened(file: File) -> list[Candidate | Problem]:
        return candidates_of(file, order.patterns, order.readings, order.limits, own)

    for number, images in enumerate(pool.map(opened, found.files)):
        for at, each in enumerate(images):
            if isinstance(each, Problem):
                state.refused[number, at] = (each.shown, each.reason)
                refuse(order, state.refused)
            elif each.key not in held:
                state.candidates.append(each)
                state.places.append((number, at))
    return state


def refuse(order: Order, problems: Mapping[tuple[int, int], tuple[str, str]]) -> None:
    """Raise where there are more problems than the user allows."""
    refuse_problems(problems, on_error=order.on_error, max_errors=order.max_errors)


def agreed(order: Order, state: Work) -> Agreement:
    """What the images that are left agree on; raises where too few are."""
    layouts = state.standing.layouts if state.standing is not None else ()
    agreement = agree(state.candidates, state.failed, order.channels, layouts, order.target.url)
    refuse(order, state.problems(agreement))
    if not agreement.accepted and state.standing is None:
        raise SourceError(f"none of the images can be taken: {listed(state.skipped(agreement))}")
    return agreement


# -- decoding and writing -------------------------------------------------------------------------------------------


def write_pixels(order: Order, state: Work, agreement: Agreement, place: Location) -> Agreement:
    """Write all pixels; begin again where an image fails on which shape, dtype or channels had hung."""
    while agreement.accepted:
        workers = _as_many(order, [state.candidates[number] for number in agreement.accepted])
        with threads(workers) as pool:
            written = _try(order, state, agreement, place, pool, workers)
        if written is not None:
            return written
        agreement = agreed(order, state)
        for child in list(place.path.iterdir()):
            place.child(child.name).remove()
    return agreement


def _as_many(order: Order, candidates: Sequence[Candidate]) -> int:
    """As many as can decode the largest image at a time.

    More would not only wait: the C library keeps for each thread what a decoder once asked for.
    """
    largest = max(map(cost, candidates))
    return min(order.workers, max(1, int(order.limits.budget // max(largest, 1))))


def _try(
    order: Order, state: Work, agreement: Agreement, place: Location, pool: Executor, workers: int
) -> Agreement | None:
    """Write the images that agree; None once one fails without which the others would be written differently."""
    budget, tally = order.limits.budget, _Tally(len(agreement.accepted), order.progress)
    building = Building(
        place,
        agreement.layouts,
        len(state.before) + tally.total,
        pool=pool,
        workers=workers,
        budget=budget,
        grown=tally.piece,
        standing=state.standing,
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
            left = agreed(order, state)
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
            self.progress(Progress(self.images, self.total, self.nbytes + self.pieces))
