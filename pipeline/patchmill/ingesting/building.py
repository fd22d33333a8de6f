"""The pixel arrays of a store while they are written: each image gets the next free place once it is decoded.

An image that fails has no place, and one that fails half-way gives it back, so nothing of it stays. Each shard is one
write; a shard that holds several images is written when it is full.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, as_completed, wait
from functools import partial
from math import prod
from typing import Any

from numpy.typing import NDArray

from patchmill.errors import PatchmillError
from patchmill.ingesting.agreeing import Layout
from patchmill.ingesting.decoding import Pixels, read
from patchmill.ingesting.describing import pixel_arrays
from patchmill.ingesting.pairing import Candidate
from patchmill.ingesting.scenes import Scene, UnfitError, first_line
from patchmill.ingesting.standing import Standing
from patchmill.ingesting.tiling import Window, group_shape, parts_of, windows
from patchmill.storage import Location, declare_arrays, open_bulk

_GROUP = 128 * 2**20
"""Most bytes that are read together, however much memory there is."""


class Building:
    """Pixel arrays that are being written.

    Parameters
    ----------
    place : Location
        The store's folder, not yet where it shall be.
    layouts : sequence of Layout
    bound : int
        Images at most.
    pool : Executor
    workers : int
        Threads of `pool`.
    budget : int
        Bytes for pixels on their way.
    grown : callable
        Told how many bytes of pixels more are written, of an image that is read in pieces.
    standing : Standing, optional
        The store whose images come first. Those in its last shards are written here again, with what shares these.
    """

    def __init__(
        self,
        place: Location,
        layouts: Sequence[Layout],
        bound: int,
        *,
        pool: Executor,
        workers: int,
        budget: int,
        grown: Callable[[int], None],
        standing: Standing | None = None,
    ) -> None:
        self.done = 0 if standing is None else len(standing.candidates)
        self._place, self._layouts, self._bound = place, {layout.name: layout for layout in layouts}, bound
        self._pool, self._workers, self._budget, self._grown = pool, workers, budget, grown
        self._pending: dict[str, list[NDArray[Any]]] = {
            layout.name: [] if standing is None else standing.tail(layout) for layout in layouts
        }
        self._writes: deque[tuple[Future[None], int]] = deque()
        specs = pixel_arrays(layouts, bound, {})
        for key, data in declare_arrays(specs).items():
            place.write(key, data)
        self._arrays = {layout.name: open_bulk(place.child(layout.name)) for layout in layouts}

    @property
    def held(self) -> int:
        """Bytes of pixels that wait to be written."""
        waiting = sum(part.nbytes for parts in self._pending.values() for part in parts)
        return waiting + sum(nbytes for _, nbytes in self._writes)

    def add(self, candidate: Candidate, pixels: Pixels) -> None:
        """Give an image the next place.

        Raises
        ------
        UnfitError
            If what is read in pieces can't be decoded; then the place stays free.
        PatchmillError
            If the store can't be written.
        """
        pixels = {name: self._whole_where_shared(name, candidate, values) for name, values in pixels.items()}
        pieces = [name for name, values in pixels.items() if values is None]
        try:
            for name in pieces:
                self.flush()
                self._add_pieces(self._layouts[name], candidate.scenes[name])
        except UnfitError:
            for name in pieces:
                self._place.child(f"{name}/c/{self.done}").remove()
            raise
        self.done += 1
        for name, values in pixels.items():
            if values is not None:
                self._pending[name].append(values)
                if len(self._pending[name]) >= self._layouts[name].shapes.shard[0]:
                    self._write_pending(name)

    def _whole_where_shared(self, name: str, candidate: Candidate, values: NDArray[Any] | None) -> NDArray[Any] | None:
        """Pixels to be read in pieces are read whole where others share their shard, which is one write."""
        shared = self._layouts[name].shapes.shard[0] > 1
        return read(candidate.scenes[name]) if values is None and shared else values

    def finish(self) -> None:
        """Write what is left."""
        for name in self._layouts:
            self._write_pending(name)
        self.flush()

    def flush(self, most: int = 0) -> None:
        """Wait until no more than `most` shards are on their way."""
        while len(self._writes) > most:
            future, _ = self._writes[0]
            future.result()
            self._writes.popleft()

    def _write_pending(self, name: str) -> None:
        """Write the images that wait, of which there are no more than a shard holds."""
        layout, pixels = self._layouts[name], self._pending[name]
        self._pending[name] = []
        if not pixels:
            return
        first = self.done - len(pixels)
        shard = layout.shapes.shard[1:]
        extent = [max(part.shape[axis] for part in pixels) for axis in range(3)]
        for window in windows(extent, shard):
            origin = [side.start for side in window]
            inside = [part[window] for part in pixels]
            nbytes = sum(part.nbytes for part in inside)
            self.flush(self._workers)
            self._writes.append((self._pool.submit(self._write, layout, first, inside, origin), nbytes))

    def _write(self, layout: Layout, first: int, pixels: Sequence[NDArray[Any]], origin: Sequence[int]) -> None:
        """Write one shard."""
        parts = parts_of(layout, first, pixels, origin, self._bound)
        try:
            # No chunk is given two views of the same memory, so tensorstore may read these copies in place.
            self._arrays[layout.name].write(parts, reference=True)
        except (ValueError, OSError) as error:
            what = first_line(error).split(" [")[0]
            raise PatchmillError(
                f"{self._place.url} can't be written, {what}: see that the disk has room, and to the permissions"
            ) from error

    # -- images in pieces -----------------------------------------------------------------------------------------

    def _add_pieces(self, layout: Layout, scene: Scene) -> None:
        """Read and write one image, group of shards by group of shards."""
        one = prod(layout.shapes.shard[1:]) * layout.dtype.itemsize
        # Rather few wide groups than many narrow ones: a strip would be decoded once for each.
        room = (self._budget - scene.piece_nbytes - 2 * one) / scene.cost
        group = group_shape(layout, scene, int(min(room, _GROUP)))
        each = prod(group) * layout.dtype.itemsize * scene.cost + scene.piece_nbytes + 2 * one
        most = max(1, min(self._workers, int(self._budget // each)))
        self._in_parallel((partial(self._copy, layout, scene, window) for window in windows(scene.shape, group)), most)

    def _copy(self, layout: Layout, scene: Scene, window: Window) -> int:
        """Read a group of shards, and write each; how many bytes that were."""
        pixels = read(scene, window)
        ends, start = [side.stop for side in window], [side.start for side in window]
        for shard in windows(ends, layout.shapes.shard[1:], start):
            inside = tuple(slice(side.start - a, side.stop - a) for side, a in zip(shard, start, strict=True))
            self._write(layout, self.done, [pixels[inside]], [side.start for side in shard])
        return pixels.nbytes

    def _in_parallel(self, tasks: Iterable[Callable[[], int]], most: int) -> None:
        """Run tasks, at most so many at a time; after a failure none is begun, and all that were have ended."""
        running: set[Future[int]] = set()
        try:
            for task in tasks:
                if len(running) >= most:
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    self._grown(sum(each.result() for each in done))
                running.add(self._pool.submit(task))
            for each in as_completed(running):
                self._grown(each.result())
        finally:
            wait(running)
