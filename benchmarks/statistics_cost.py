"""What statistics of patches cost, against a plain NumPy loop and against a copy of the tile.

    python benchmarks/statistics_cost.py --repeats 9

CPU time of this thread, in nanoseconds a pixel; ratios are taken pair by pair. The loop takes each patch by itself, or
a sample of very many. "MiB peak" is what NumPy reports, "found" what of it is the result.
"""

from __future__ import annotations

import argparse
import statistics
import time
import tracemalloc
import warnings
from collections.abc import Callable
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from patchmill.cutting import compiled
from patchmill.cutting.statistics import Along, patch_statistics
from patchmill.grid import Axis

LOOPED = 40
"""Patches that the loop takes at most."""


class Case(NamedTuple):
    shape: tuple[int, ...]
    dtype: str
    patch: int
    step: int
    dilation: int = 1
    edge: str = "drop"
    nodata: float | None = None
    holes: str = ""


CASES = {
    "uint16, 256/128": Case((1, 4, 1152, 1152), "u2", 256, 128),
    "uint16, 256/128, large tile": Case((1, 4, 2304, 2304), "u2", 256, 128),
    "uint8, 256/128": Case((1, 3, 1152, 1152), "u1", 256, 128),
    "bool, 256/128": Case((1, 4, 1152, 1152), "?", 256, 128),
    "float16, 256/128": Case((1, 4, 1152, 1152), "f2", 256, 128),
    "float32, 256/128": Case((1, 4, 1152, 1152), "f4", 256, 128),
    "float64, 256/128": Case((1, 4, 1152, 1152), "f8", 256, 128),
    "int32, 256/128": Case((1, 4, 1152, 1152), "i4", 256, 128),
    "complex64, 256/128": Case((1, 4, 1152, 1152), "c8", 256, 128),
    "int16, few nodata": Case((1, 4, 1152, 1152), "i2", 256, 128, nodata=5),
    "int16, much nodata": Case((1, 4, 1152, 1152), "i2", 256, 128, nodata=0, holes="many"),
    "float32, NaN here and there": Case((1, 4, 1152, 1152), "f4", 256, 128, holes="many"),
    "float32, NaN in a third": Case((1, 4, 1152, 1152), "f4", 256, 128, holes="block"),
    "uint16, 200 bands, 64/32": Case((1, 200, 288, 288), "u2", 64, 32),
    "uint8, 64 small images, 16/8": Case((64, 1, 28, 28), "u1", 16, 8, edge="shift"),
    "uint8, 64 small images, 2/1": Case((64, 1, 28, 28), "u1", 2, 1),
    "uint16, 256/1": Case((1, 1, 511, 511), "u2", 256, 1),
    "float32, 256/1": Case((1, 1, 511, 511), "f4", 256, 1),
    "uint16, 256/16": Case((1, 1, 2048, 2048), "u2", 256, 16),
    "uint16, 256/100": Case((1, 4, 956, 956), "u2", 256, 100),
    "uint16, 100/37": Case((1, 4, 396, 396), "u2", 100, 37),
    "float32, 100/37": Case((1, 4, 396, 396), "f4", 100, 37),
    "uint16, 224/100, padded": Case((1, 4, 1000, 1000), "u2", 224, 100, edge="pad"),
    "uint16, 64/32, dilation 2": Case((1, 4, 1024, 1024), "u2", 64, 32, dilation=2),
    "uint16, 256/256": Case((1, 4, 2048, 2048), "u2", 256, 256),
}


def tile_of(case: Case) -> np.ndarray:
    """Pixels, shape (image, channel, y, x)."""
    random = np.random.default_rng(0)
    dtype = np.dtype(case.dtype)
    top = {1: 200, 2: 9000}.get(dtype.itemsize, 1e6) if dtype.kind in "ui" else 100
    values = random.random(case.shape) * top
    tile = values > 50 if dtype.kind == "b" else values.astype(dtype)
    absent = np.nan if dtype.kind == "f" else 0
    if case.holes == "many":
        tile[random.random(case.shape) < 0.25] = absent
    elif case.holes == "block":
        tile[..., : case.shape[-1] // 3] = absent
    return tile


def by_loop(tile: np.ndarray, axes: list[Axis], nodata: Any, places: list[tuple[int, int]]) -> None:
    """NumPy on every patch."""
    for i, j in places:
        patch = tile[:, :, axes[0].pixels(i), axes[1].pixels(j)]
        if nodata is None and not (patch.dtype.kind in "fc" and np.isnan(patch).any()):
            found = (np.mean, np.std, np.min, np.max) if patch.dtype.kind != "c" else ()
        else:
            found = (np.nanmean, np.nanstd, np.nanmin, np.nanmax) if patch.dtype.kind != "c" else ()
            patch = patch if nodata is None else np.where(patch == nodata, np.nan, patch)
        for statistic in found:
            statistic(patch, axis=(2, 3))


def cpu(work: Callable[[], object]) -> float:
    """Seconds of this thread."""
    began = time.thread_time()
    work()
    return time.thread_time() - began


def measure(case: Case, repeats: int) -> str:
    """One row of the table."""
    tile = tile_of(case)
    axes = [Axis(n, case.patch, case.step, case.dilation, case.edge) for n in case.shape[2:]]
    along = [Along(axis, 0, len(axis), 0) for axis in axes]
    places = list(product(*(range(len(axis)) for axis in axes)))
    some = places[:: -(-len(places) // LOOPED)]
    own, loop, copy = [], [], []
    for _ in range(repeats):
        own.append(cpu(lambda: patch_statistics(tile, along, case.nodata)))
        loop.append(cpu(lambda: by_loop(tile, axes, case.nodata, some)) * len(places) / len(some))
        copy.append(cpu(tile.copy))
    tracemalloc.start()
    found = patch_statistics(tile, along, case.nodata)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    middle = statistics.median
    return (
        f"{middle(own) * 1e9 / tile.size:8.2f}{middle(a / b for a, b in zip(loop, own, strict=True)):10.1f}"
        f"{middle(a / b for a, b in zip(own, copy, strict=True)):10.1f}{peak / 2**20:10.1f}"
        f"{sum(values.nbytes for values in found.values()) / 2**20:8.1f}{tile.nbytes / 2**20:8.1f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--compiled", action="store_true", help="with the kernels that large runs load")
    options = parser.parse_args()
    if options.compiled:
        compiled.load()
    warnings.simplefilter("ignore", RuntimeWarning)  # the loop's, of patches that are all NaN
    print(f"{'':32}{'ns/px':>8}{'loop/own':>10}{'own/copy':>10}{'MiB peak':>10}{'found':>8}{'tile':>8}")
    for name, case in CASES.items():
        if options.only in name:
            print(f"{name:32}{measure(case, options.repeats)}", flush=True)


if __name__ == "__main__":
    main()
