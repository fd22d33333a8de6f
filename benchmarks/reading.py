"""How fast batches of patches are read, against a hand-written tensorstore loop, zarr-python and xbatcher.

    python benchmarks/run.py --only reading --size 256MiB

The bound is a loop that asks tensorstore for every patch of a batch at once and copies each into its place when it
comes; for layouts "canvas" and "view" it reads windows, for "patches" patches.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import hand
import numpy as np
import tensorstore as ts
import zarr
from data import write_digits, write_source
from peers import Peers
from timing import Times, Way, in_turn, record, summary
from writing import WRONG, remove

import patchmill

BATCHES = 3
"""A repeat is this many repeats of a batch: batches are short."""


def measure(folder: Path, size: int, repeats: int, peers: Peers) -> list[dict]:
    """Large patches out of one image, tiny ones out of many."""
    return large(folder, size, repeats * BATCHES, peers) + small(folder, size, repeats * BATCHES)


def large(folder: Path, size: int, repeats: int, peers: Peers) -> list[dict]:
    """Batches of 32 patches of 256, step 128, of one image of 4 bands of uint16."""
    side = max(768, int(math.sqrt(size / 8 / 4)))
    source = folder / "source.zarr"
    write_source(source, (1, 4, side, side), (1, 4, 512, 512))
    places = {name: folder / f"{name}.zarr" for name in ("patches", "canvas")}
    for layout, place in places.items():
        patchmill.write_patches(source, place, 256, 128, layout=layout)
    sets = {
        "patches": (patchmill.open_patches(places["patches"]), places["patches"] / "patches"),
        "canvas": (patchmill.open_patches(places["canvas"]), places["canvas"] / "canvas"),
        "view of chunks of 512": (patchmill.view_patches(source, 256, 128), source),
    }
    random = np.random.default_rng(0)
    found = []
    for name, (ps, place) in sets.items():
        for kind in ("random", "in a row"):
            count = min(32, len(ps))
            numbers = [_drawn(random, len(ps), count, kind) for _ in range(repeats + 1)]
            peer = peers if name.startswith("view") and kind == "random" else None
            found.append(compared(f"{count} of 256 / 128, {name}, {kind}", ps, place, numbers, folder, peer))
    for place in (source, *places.values()):
        remove(place)
    return found


def small(folder: Path, size: int, repeats: int) -> list[dict]:
    """Thousands of tiny patches of images of 28 x 28."""
    source = folder / "digits.zarr"
    images = max(64, min(20_000, size // 4096))
    write_digits(source, images)
    random = np.random.default_rng(0)
    found = []
    for patch, step in ((16, 8), (2, 1)):
        for layout in ("patches", "canvas"):
            place = folder / f"{layout}{patch}.zarr"
            ps = patchmill.write_patches(source, place, patch, step, layout=layout)
            for count, kind in ((32, "random"), (4096, "random"), (4096, "in a row")):
                numbers = [_drawn(random, len(ps), min(count, len(ps) // 2), kind) for _ in range(repeats + 1)]
                title = f"{count:,} of {patch} / {step}, {layout}, {kind}"
                found.append(compared(title, ps, place / layout, numbers, folder, None))
            remove(place)
    remove(source)
    return found


def _drawn(random: np.random.Generator, most: int, count: int, kind: str) -> np.ndarray:
    if kind == "random":
        return random.integers(0, most, count)
    return random.integers(0, most - count + 1) + np.arange(count)


def compared(
    title: str,
    ps: patchmill.PatchSet,
    place: Path,
    batches: list[np.ndarray],
    folder: Path,
    peers: Peers | None,
) -> dict:
    """Every way over the same batches, in turn; the first is a warm-up, and all must find the same."""
    array = hand.opened(place, fill_missing_data_reads=False)
    slow, shape = zarr.open_array(place, mode="r"), ps[0].shape
    stored = [regions_of(ps, numbers, stored=len(array.shape) > 4, channels=len(shape) == 3) for numbers in batches]
    wanted, notes = by_hand(array, stored[0], shape), {}
    ways: dict[str, Callable[[int], np.ndarray]] = {
        "by hand": lambda at: by_hand(array, stored[at], shape),
        "patchmill": lambda at: ps.read(batches[at]),
        "zarr-python": lambda at: with_zarr(slow, stored[at], shape),
    }
    for name, run in ways.items():
        if not np.array_equal(run(0), wanted):
            notes[name] = WRONG
    left = {name: iter(range(1, len(batches))) for name in ways}
    turns = {
        name: Way(lambda name=name: (ways[name](next(left[name])), None)[1], 3 if name == "zarr-python" else 1000)
        for name in ways
    }
    times = in_turn(turns, len(batches) - 1, warm=False)
    if peers is not None:
        times["xbatcher"], notes["xbatcher"] = _xbatcher(ps, place, batches[:4], folder, peers)
    notes = {name: note for name, note in notes.items() if note}
    found = record(title, times, bounds=("by hand",), notes=notes, count=len(batches[0]), bytes=wanted.nbytes)
    for way in found["ways"].values():
        if "seconds" in way:
            way["rate"] = summary([found["count"] / each for each in way["seconds"]])
    texts = [
        f"{name} {way['rate']['median']:8,.0f} ({way['ratio']['median']:.2f})"
        for name, way in found["ways"].items()
        if "rate" in way
    ]
    print(f"  {title:<46} {'  '.join(texts)}", *notes.values(), flush=True)
    return found


def _xbatcher(
    ps: patchmill.PatchSet, place: Path, batches: list[np.ndarray], folder: Path, peers: Peers
) -> tuple[Times, str]:
    """The same batches in the peer's own process; what is wrong with it, if anything."""
    if peers.python("xbatcher") is None:
        return Times(), peers.notes["xbatcher"]
    asked, got = folder / "numbers.npy", folder / "found.npy"
    np.save(asked, batches)
    try:
        said = peers.run("xbatcher", "read", place, asked, got, ps.grid.patch_shape[0], ps.grid.step[0])
    except RuntimeError as error:
        return Times(), f"failed: {error}"
    same = np.array_equal(np.load(got), ps.read(batches[-1]))
    return Times(said["each"][1:], [0.0] * (len(said["each"]) - 1)), "" if same else WRONG


# -- ways --------------------------------------------------------------------------------------------------------------


def regions_of(ps: patchmill.PatchSet, numbers: np.ndarray, *, stored: bool, channels: bool) -> list[tuple]:
    """What the hand-written loops ask for; made outside of what is timed."""
    image, origin = ps.locate(numbers)
    (py, px), (sy, sx), every = ps.grid.patch_shape, ps.grid.step, (slice(None),) if channels else ()
    places = zip(image.tolist(), origin.tolist(), strict=True)
    if stored:
        return [(i, *every, y // sy, x // sx) for i, (y, x) in places]
    return [(i, *every, slice(y, y + py), slice(x, x + px)) for i, (y, x) in places]


def by_hand(array: ts.TensorStore, regions: list[tuple], shape: tuple[int, ...]) -> np.ndarray:
    """The bound."""
    found = np.empty((len(regions), *shape), array.dtype.numpy_dtype)
    for at, future in enumerate([array[region].read() for region in regions]):
        found[at] = future.result()
    return found


def with_zarr(array: zarr.Array, regions: list[tuple], shape: tuple[int, ...]) -> np.ndarray:
    """A loop of zarr-python."""
    found = np.empty((len(regions), *shape), array.dtype)
    for at, region in enumerate(regions):
        found[at] = array[region]
    return found
