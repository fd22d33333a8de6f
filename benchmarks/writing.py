"""How fast both layouts are written, against hand-written loops and peers.

    python benchmarks/run.py --only writing --size 1GiB

The size is that of what is written, before compression.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import hand
import numpy as np
import zarr
from data import metadata_of, write_source
from peers import Peers
from timing import Way, in_turn, record, show

import patchmill

BOUNDS = ("by hand", "by hand, cached")
CACHE = 2**28
SLOW = 2
"""Runs of a peer at most."""


@dataclass(frozen=True)
class Case:
    """A source and how to cut it.

    Parameters
    ----------
    patch, step : int
    channels : int
    dtype : str
    chunk : tuple of int
        (y, x) of the source; 0 stands for all of that axis.
    """

    patch: int
    step: int
    channels: int
    dtype: str
    chunk: tuple[int, int] = (512, 512)
    peers: bool = False

    @property
    def name(self) -> str:
        """For tables."""
        bands = "band" if self.channels == 1 else "bands"
        return f"{self.patch} / {self.step}, {self.channels} {bands} {self.dtype}, {self._stored()}"

    def _stored(self) -> str:
        y, x = self.chunk
        if not y:
            return "one chunk"
        return f"strips of {y}" if not x else f"chunks {y}"

    def side(self, size: int, layout: str) -> int:
        """Side of a square image of which patches, or pixels, take about `size` bytes."""
        pixel = self.channels * np.dtype(self.dtype).itemsize
        if layout == "canvas":
            return max(self.patch, int(math.sqrt(size / pixel)))
        count = max(2, round(math.sqrt(size / (pixel * self.patch**2))))
        return (count - 1) * self.step + self.patch

    def write_source(self, place: Path, side: int) -> None:
        """Generate it."""
        y, x = (min(n or side, side) for n in self.chunk)
        write_source(place, (1, self.channels, side, side), (1, self.channels, y, x), self.dtype)


FOUR = Case(256, 128, 4, "uint16", peers=True)
CASES = [
    FOUR,
    Case(224, 100, 1, "float32", peers=True),
    Case(64, 32, 3, "uint8", peers=True),
    Case(512, 512, 4, "uint16"),
    Case(64, 64, 200, "uint16", (64, 64)),
    Case(256, 128, 4, "uint16", (16, 0)),
    Case(256, 128, 4, "uint16", (1, 0)),
    Case(256, 128, 4, "uint16", (500, 500)),
    Case(256, 128, 4, "uint16", (0, 0)),
]
CANVAS_CASES = [
    FOUR,
    Case(224, 100, 1, "float32"),
    Case(64, 32, 3, "uint8"),
    Case(256, 128, 4, "uint16", (16, 0)),
    Case(256, 128, 4, "uint16", (500, 500)),
]


def measure(folder: Path, size: int, repeats: int, peers: Peers, cases: Sequence[Case] = CASES) -> list[dict]:
    """Layout "patches"."""
    return [_measured(folder, case, size, repeats, peers, "patches") for case in cases]


def measure_canvas(folder: Path, size: int, repeats: int, cases: Sequence[Case] = CANVAS_CASES) -> list[dict]:
    """Layout "canvas"."""
    return [_measured(folder, case, size, repeats, Peers(folder, wanted=False), "canvas") for case in cases]


def _measured(folder: Path, case: Case, size: int, repeats: int, peers: Peers, layout: str) -> dict:
    source, target = folder / "source.zarr", folder / "target.zarr"
    side = case.side(size, layout)
    case.write_source(source, side)
    ours = partial(_ours, source, target, case, layout)
    ours()
    plan = patchmill.plan(source, case.patch, case.step, layout=layout)
    stored = metadata_of(target / layout)
    on_disk = sum(path.stat().st_size for path in (target / layout).rglob("*") if path.is_file())
    correct = _is_right(source, target / layout, case, layout)
    remove(target)
    ways, notes = _ways(source, target, case, stored, ours, peers, layout), {}
    for name, way in list(ways.items()):
        problem = (
            _tried(name, way, source, target, case, layout)
            if name not in ("patchmill", "patchmill, statistics")
            else None
        )
        if problem:
            notes[name] = problem
            if problem != WRONG:
                del ways[name]
    if not correct:
        notes["patchmill"] = WRONG
    if case.peers and layout == "patches":
        notes |= {f"{name}": note for name, note in peers.notes.items()}
    found = record(
        case.name,
        in_turn(ways, repeats, warm=False),
        bounds=BOUNDS,
        notes=notes,
        layout=layout,
        bytes=plan.bytes_written,
        bytes_source=plan.bytes_source,
        bytes_stored=on_disk,
        side=side,
        patches=plan.patches,
        shards=plan.shards,
        statistics=plan.statistics,
    )
    remove(source)
    show(found)
    return found


def _ways(
    source: Path, target: Path, case: Case, stored: dict, ours: Callable[..., None], peers: Peers, layout: str
) -> dict[str, Way]:
    cleanup = partial(remove, target)
    arguments = (source, target, case.patch, case.step)
    better = {"threads": 3, "cache": CACHE, "band": 4}
    if layout == "canvas":
        return {
            "by hand": Way(lambda: hand.write_canvas(source, target, stored), cleanup=cleanup),
            "patchmill": Way(partial(ours, statistics=False), cleanup=cleanup),
            "by hand, cached": Way(lambda: hand.write_canvas(source, target, stored, **better), cleanup=cleanup),
            "patchmill, statistics": Way(partial(ours, statistics=True), cleanup=cleanup),
        }
    by_hand = partial(hand.write_patches, source, target, stored, case.patch, case.step)
    ways = {
        "by hand": Way(by_hand, cleanup=cleanup),
        "patchmill": Way(partial(ours, statistics=False), cleanup=cleanup),
        "by hand, cached": Way(partial(by_hand, **better), cleanup=cleanup),
        "patchmill, statistics": Way(partial(ours, statistics=True), cleanup=cleanup),
        "dask sliding_window_view": Way(partial(hand.dask_windows, *arguments), SLOW, cleanup),
        "zarr-python loop": Way(partial(hand.zarr_loop, *arguments), SLOW, cleanup),
    }
    if not case.peers:
        return {name: ways[name] for name in list(ways)[:4]}

    def of(name: str, *words: object) -> Callable[[], tuple[float, float]]:
        def run() -> tuple[float, float]:
            said = peers.run(name, *words)
            return said["seconds"], said["cpu"]

        return run

    if peers.python("xbatcher"):
        ways["xbatcher, in memory"] = Way(of("xbatcher", "write", *arguments), SLOW, cleanup)
    if peers.python("patchify"):
        ways["patchify, in memory, Zarr"] = Way(of("patchify", "zarr", *arguments), SLOW, cleanup)
        ways["patchify, in memory, npy"] = Way(of("patchify", "npy", *arguments), SLOW, cleanup)
    return ways


def _ours(source: Path, target: Path, case: Case, layout: str, *, statistics: bool | None = None) -> None:
    patchmill.write_patches(
        source, target, case.patch, case.step, layout=layout, mode="create", workers=2, statistics=statistics
    )


WRONG = "its patches are wrong"


def _tried(name: str, way: Way, source: Path, target: Path, case: Case, layout: str) -> str | None:
    """Run a way once, which also warms it up, and look at what it wrote; what is wrong with it, if anything."""
    try:
        way.run()
        right = _is_right(source, target, case, layout)
    except Exception as error:
        if name in BOUNDS:
            raise
        return f"failed: {type(error).__name__}: {str(error)[:150]}"
    finally:
        way.cleanup()
    return None if right else WRONG


def _is_right(source: Path, target: Path, case: Case, layout: str) -> bool:
    """Whether some patches, the first and last among them, are those of the source, whatever the order of the axes."""
    image = zarr.open_array(source, mode="r")
    found = np.load(target, mmap_mode="r") if target.is_file() else zarr.open_array(target, mode="r")
    counts = [(n - case.patch) // case.step + 1 for n in image.shape[2:]]
    random = np.random.default_rng(0)
    places = [(0, 0), (counts[0] - 1, counts[1] - 1), *(tuple(random.integers(0, counts)) for _ in range(6))]
    for row, column in places:
        y, x = row * case.step, column * case.step
        wanted = image[0, :, y : y + case.patch, x : x + case.patch]
        if layout == "canvas":
            got = found[0, :, y : y + case.patch, x : x + case.patch]
        elif len(found.shape) == 4:
            if found.shape[0] != counts[0] * counts[1]:
                return False
            got = found[int(row * counts[1] + column)]
        else:
            got = found[0, :, int(row), int(column)]
        if not np.array_equal(got, wanted):
            return False
    return True


def remove(place: Path) -> None:
    """A file or a folder, if it is there."""
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)
