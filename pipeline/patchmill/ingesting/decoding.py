"""Pixels out of files, some images ahead of where they are needed, within a budget of bytes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future
from typing import Any

from numpy.typing import NDArray

from patchmill.ingesting.pairing import Candidate
from patchmill.ingesting.scenes import Scene, UnfitError, first_line
from patchmill.ingesting.tiling import Window

Pixels = Mapping[str, NDArray[Any] | None]
"""For each variable all pixels, shape (channel, y, x), or None where they are read in pieces."""


def read(scene: Scene, window: Window | None = None) -> NDArray[Any]:
    """Pixels of a window, or all, exactly as the header promised.

    Raises
    ------
    UnfitError
        If they can't be decoded.
    """
    try:
        pixels = scene.read_all() if window is None else scene.read(*window)
    except UnfitError:
        raise
    except Exception as error:  # whatever a decoder raises for damaged pixels
        raise UnfitError(f"can't be decoded: {first_line(error)}") from error
    promised = scene.shape if window is None else tuple(side.stop - side.start for side in window)
    if pixels.shape != promised or pixels.dtype != scene.dtype:
        raise UnfitError(
            f"decodes to {pixels.dtype} of shape {pixels.shape}, and its header promised {scene.dtype} of {promised}"
        )
    return pixels


def ahead(
    pool: Executor,
    numbered: Iterable[tuple[int, Candidate]],
    room: Callable[[], float],
    settle: Callable[[], None],
    most: int,
) -> Iterator[tuple[int, Pixels | UnfitError]]:
    """Decode candidates in parallel, and give the results in order.

    One that is read in pieces has the budget to itself: nothing behind it is begun before it is done with. So has one
    that alone is too large for what is free.

    Parameters
    ----------
    pool : Executor
    numbered : iterable of (int, Candidate)
    room : callable
        Bytes that are free just now, for all that is on its way.
    settle : callable
        Makes room: writes what waits to be written.
    most : int
        Candidates on their way at a time.
    """
    waiting: deque[tuple[int, Candidate, Future[Pixels]]] = deque()
    coming = iter(numbered)
    following = next(coming, None)
    while waiting or following is not None:
        while following is not None and _fits(following[1], [each for _, each, _ in waiting], room, most):
            waiting.append((*following, pool.submit(_decoded, following[1])))
            following = next(coming, None)
        if not waiting and following is not None:
            settle()
            waiting.append((*following, pool.submit(_decoded, following[1])))
            following = next(coming, None)
        number, _, future = waiting.popleft()
        error = future.exception()
        if error is not None and not isinstance(error, UnfitError):
            raise error
        result: Pixels | UnfitError = error if error is not None else future.result()
        del future
        yield number, result
        del result  # before the next ones are begun, the last one is let go


def _fits(candidate: Candidate, waiting: list[Candidate], room: Callable[[], float], most: int) -> bool:
    """Whether a candidate can be begun beside those that wait."""
    pieces = any(not scene.is_read_whole for each in (candidate, *waiting) for scene in each.scenes.values())
    beside = len(waiting) < most and not (pieces and waiting)
    return beside and sum(map(cost, (candidate, *waiting))) <= room()


def cost(candidate: Candidate) -> float:
    """Bytes held while what is read in one go of a candidate is decoded."""
    return sum(scene.whole_cost for scene in candidate.scenes.values())


def _decoded(candidate: Candidate) -> Pixels:
    return {name: read(scene) if scene.is_read_whole else None for name, scene in candidate.scenes.items()}
