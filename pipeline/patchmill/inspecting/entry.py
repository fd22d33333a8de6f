"""`inspect`: exact figures of a source of any size, in one pass, in constant memory."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import reduce
from math import isfinite, prod
from typing import Any

import numpy as np

from patchmill.errors import PatchmillError
from patchmill.inspecting.regions import extents_in, pixels_of, regions_of, shape_of_regions
from patchmill.inspecting.report import ChannelReport, SourceReport, VariableReport
from patchmill.inspecting.tallies import WORKING, Tally, tallies_of
from patchmill.planning import memory_limit, worker_count
from patchmill.planning.memory import LAZY, Piece, crowded, held_beyond, peak, reading_bytes
from patchmill.sources import Dims, Region4, Source, Variable, open_source
from patchmill.sources.model import one_nodata
from patchmill.storage.heap import ease, resident
from patchmill.types import Progress, Watch, as_called, shown_bytes

_TOLD_SECONDS = 0.2


def inspect(
    source: Any,
    *,
    variables: Sequence[str] | None = None,
    dims: Dims = None,
    channels: Sequence[str] | None = None,
    memory: int | str | None = None,
    workers: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
    progress: Watch | None = None,
) -> SourceReport:
    """Say what is in a source: its images and their sizes, and range, mean, deviation and histogram of each channel.

    Every pixel of every image is read once, and no other: what pads smaller images on a canvas does not count, neither
    do NaN, infinities and nodata, which are counted apart. Nothing is estimated. The figures are the same, to the last
    digit, with any `memory` and `workers`.

    Parameters
    ----------
    source : path, URL, ndarray, dask array, DataArray or Dataset
        As for `write_patches`.
    variables : sequence of str, optional
        Which variables; all that have a y and an x axis by default.
    dims : mapping or sequence, optional
        Which axis is which, such as ``{"image": "time"}``.
    channels : sequence of str, optional
        Variables that become the channels of one, or labels of the channels to look at, as for `write_patches`.
    memory : int or str, optional
        What this process may hold, interpreter included, such as ``"1GiB"``; by default half of what the machine or
        the control group has.
    workers : int, optional
        Threads; by default the CPUs that affinity allows.
    storage_options : mapping, optional
        For a URL, in fsspec's spelling; no secrets, which come from the environment.
    progress : callable, optional
        Called with a `patchmill.types.Progress` now and then: pixels done so far, and their raw bytes.

    Returns
    -------
    SourceReport
        Prints well, draws as HTML, and has a `VariableReport` for each variable, in turn with a `ChannelReport` for
        each channel.

    Raises
    ------
    TypeError, ValueError
        If an argument can't be understood.
    SourceError
        If the source can't be read, or changed or vanished while it was.
    CorruptChunkError
        If a chunk is damaged, or missing where one must be.
    PatchmillError
        If `memory` does not hold what is read at a time.

    Notes
    -----
    Moments of pieces are joined by Chan's formula, so that they are as good as NumPy's over the whole array: see
    `patchmill.inspecting.moments`. Of complex numbers, the figures are those of their magnitudes.

    Examples
    --------
    >>> import numpy as np, patchmill
    >>> report = patchmill.inspect(np.arange(12, dtype="uint8").reshape(3, 4))
    >>> report
    SourceReport(1 image of 3 x 4 pixels; image uint8, 0 to 11: memory)
    >>> channel = report["image"].channels[0]
    >>> channel.mean, channel.histogram.counts
    (5.5, (1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1))
    """
    as_called(progress, "progress")
    opened = open_source(source, variables=variables, dims=dims, channels=channels, storage_options=storage_options)
    limit, wanted = memory_limit(memory), worker_count(workers)
    held = opened.held + held_beyond(resident(), opened.held)
    threads = {each.name: _threads(opened, each, wanted, limit, held) for each in opened.variables}
    told = _Told(progress, sum(pixels_of(opened, each) for each in opened.variables))
    reports = tuple(
        _variable(opened, each, _tallied(opened, each, threads[each.name], limit, told)) for each in opened.variables
    )
    opened.check()
    told.end()
    sizes = Counter((height, width) for height, width in opened.sizes.tolist())
    return SourceReport(opened.url, opened.images, tuple(sizes.most_common()), reports)


# -- reading -----------------------------------------------------------------------------------------------------------


def _tallied(source: Source, variable: Variable, threads: int, limit: int, told: _Told) -> list[Tally]:
    """A tally for each channel, joined in the order of the regions, whichever of them are read first."""
    tallies = [Tally() for _ in range(variable.shape[1])]
    with closing(_in_order(regions_of(source, variable), _look(source, variable, limit), threads)) as looks:
        for region, found in looks:
            for at, each in enumerate(found, region[1].start):
                tallies[at] += each
            told.add(sum(each.pixels for each in found), variable.dtype.itemsize)
    return tallies


def _look(source: Source, variable: Variable, limit: int) -> Callable[[Region4], list[Tally]]:
    def look(region: Region4) -> list[Tally]:
        values, extents = source.read(variable, region), extents_in(source, region)
        runs = [
            tallies_of(values[images], extents[images], nodata)
            for images, nodata in variable.nodata_runs((region[0].start, region[0].stop))
        ]
        found = [reduce(Tally.__add__, each) for each in zip(*runs, strict=True)]
        ease(crowded(limit, limit))
        return found

    return look


def _in_order(
    regions: Iterator[Region4], look: Callable[[Region4], list[Tally]], threads: int
) -> Generator[tuple[Region4, list[Tally]], None, None]:
    """What is in each region, in their order. Few are under way, so memory does not grow with their number."""
    with ThreadPoolExecutor(threads, thread_name_prefix="patchmill-inspect") as pool:
        under_way: deque[tuple[Region4, Future[list[Tally]]]] = deque()
        try:
            for region in regions:
                under_way.append((region, pool.submit(look, region)))
                if len(under_way) > 2 * threads:
                    first, future = under_way.popleft()
                    yield first, future.result()
            while under_way:
                first, future = under_way.popleft()
                yield first, future.result()
        finally:
            for _, future in under_way:
                future.cancel()


def _threads(source: Source, variable: Variable, wanted: int, limit: int, held: int) -> int:
    """As many as memory allows.

    Raises
    ------
    PatchmillError
        If it does not allow one.
    """
    shape, item = shape_of_regions(variable), variable.dtype.itemsize
    image, channel, y, x = variable.chunks  # a chunk may hold channels that are not chosen
    images, _, height, width = variable.shape
    region, chunk = prod(shape) * item, min(image, images) * channel * min(y, height) * min(x, width) * item
    # Values are read twice over where images differ in size, or channels are put together.
    piece = Piece(tile=2 * region, changed=0, found=0, reading=reading_bytes(region, chunk), looking=WORKING, writing=0)

    def bytes_with(threads: int) -> int:
        lazy = 0 if variable.lazy is None else LAZY
        return lazy + peak(
            [piece],
            handed=0,
            inflight=threads,
            readers=threads,
            cache=0,
            chunk=chunk,
            astray=False,
            waiting=0,
            held=held,
            shards=0,
            images=source.images,
        )

    fitting = next((threads for threads in range(wanted, 0, -1) if bytes_with(threads) <= limit), 0)
    if not fitting:
        enough = f"{-(-bytes_with(1) // 2**20)} MiB"  # rounded up, so that it is
        raise PatchmillError(
            f"reading {shown_bytes(region)} of {variable.name!r} at a time needs {enough} of memory, and the limit is "
            f"{shown_bytes(limit)}: raise memory to {enough}, or store the source in smaller chunks"
        )
    return fitting


@dataclass(slots=True)
class _Told:
    """Tells a caller how far it is, not too often."""

    watch: Watch | None
    total: int
    done: int = 0
    nbytes: int = 0
    last: float = 0.0

    def add(self, pixels: int, itemsize: int) -> None:
        """So many pixels more are done."""
        self.done += pixels
        self.nbytes += pixels * itemsize
        if time.monotonic() - self.last > _TOLD_SECONDS and self.done < self.total:
            self._tell()

    def end(self) -> None:
        """Everything is done."""
        self._tell()

    def _tell(self) -> None:
        self.last = time.monotonic()
        if self.watch is not None:
            self.watch(Progress(self.done, self.total, self.nbytes))


# -- figures -----------------------------------------------------------------------------------------------------------


def _variable(source: Source, variable: Variable, tallies: Sequence[Tally]) -> VariableReport:
    label = source.labels.get(source.channel_dim(variable)) if variable.has_channel else None
    names: Sequence[str | None] = [None] * len(tallies) if label is None else [str(each) for each in label.values]
    return VariableReport(
        name=variable.name,
        dtype=variable.dtype,
        has_channel=variable.has_channel,
        nodata=_nodata(variable),
        chunks=variable.chunks,
        channels=tuple(_channel(name, tally) for name, tally in zip(names, tallies, strict=True)),
    )


def _nodata(variable: Variable) -> Any:
    """As the report has it: a value, or the ascending values of images that differ."""
    if variable.nodatas is None:
        return variable.nodata
    values = np.unique(variable.nodatas[~np.isnan(variable.nodatas)])
    return tuple(one_nodata(value, variable.dtype) for value in values) or None


def _channel(name: str | None, tally: Tally) -> ChannelReport:
    known = tally.measured
    if known is None:
        return ChannelReport(name, tally.pixels, tally.nodata, tally.nan, tally.infinite)
    return ChannelReport(
        name,
        tally.pixels,
        tally.nodata,
        tally.nan,
        tally.infinite,
        minimum=known.low + 0,  # no -0.0
        maximum=known.high + 0,
        mean=_finite(known.moments.mean),
        std=_finite(known.moments.std),
        histogram=known.bins.finished(),
    )


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None
