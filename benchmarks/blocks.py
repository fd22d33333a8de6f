"""What a run costs beside moving pixels: for each block, for a plan, and for a call that has hardly anything to do.

    python benchmarks/run.py --only blocks

Nothing here touches pixels: the source makes them up and the targets count calls. Each measurement runs in a process of
its own, so that its peak of memory is its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from peaks import peak_bytes


def measure(size: int) -> list[dict]:
    """Every task at several sizes; smaller ones for a small `size`."""
    full = size >= 2**27
    small, large = (1000, 1_000_000) if full else (100, 10_000)
    tasks = [
        ("loop", small),
        ("loop", large),
        ("whole", small),
        ("whole", large // 10),
        ("prepare", small),
        ("prepare", large // 100),
        ("plan", 10**9 if full else 10**6),
        ("plan-images", 10**7 if full else 10**5),
        ("plan-sizes", 10**5 if full else 10**4),
        ("call", 1),
    ]
    found = []
    for name, count in tasks:
        done = subprocess.run([sys.executable, __file__, name, str(count)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        each = {"case": TITLES[name], "task": name} | json.loads(done.stdout)
        found.append(each)
        per = f"{each['microseconds']:10.1f} us each" if "microseconds" in each else " " * 18
        memory = f"{each['allocated'] / 2**20:8.1f} MiB allocated"
        print(f"  {each['case']:<44} {each['count']:>13,} {each['seconds']:9.3f} s {per} {memory}", flush=True)
    return found


TITLES = {
    "loop": "blocks handed out and counted, no task done",
    "whole": "blocks cut and written, no bytes moved",
    "prepare": "shards looked up by a resume",
    "plan": "a plan, by number of patches",
    "plan-images": "a plan, by number of images",
    "plan-sizes": "a plan, by number of images of many sizes",
    "call": "write_patches of one patch",
}


# -- a storage that records --------------------------------------------------------------------------------------------


@dataclass
class Recording:
    """A target that counts what is asked of it."""

    calls: int = 0

    def write(self, parts: Any, *, reference: bool = False) -> None:  # noqa: ARG002 - as `BulkArray` has it
        """Count a shard."""
        self.calls += 1

    def write_empty(self, key: str) -> None:  # noqa: ARG002
        """Count a shard."""
        self.calls += 1


@dataclass
class MadeUp:
    """A reader whose pixels cost nothing."""

    dtype: str = "uint8"
    calls: int = 0

    def __call__(self, region: tuple[slice, ...]) -> np.ndarray:
        """Zeros that take no memory."""
        self.calls += 1
        return np.broadcast_to(np.zeros((), self.dtype), tuple(side.stop - side.start for side in region))

    def cached(self, nbytes: int, crowded: int) -> MadeUp:  # noqa: ARG002
        """Itself."""
        return self

    def stored_ratio(self) -> None:
        """Not known."""


@dataclass
class Idle:
    """A crew that says done at once."""

    inflight: int = 3
    submitted: int = 0

    def begin(self, tasks: Iterator[Any]) -> Future[list[Any]] | None:
        """Count a task, and call it done."""
        from patchmill.cutting.tasks import Done

        task = next(tasks, None)
        if task is None:
            return None
        self.submitted += 1
        future: Future[list[Any]] = Future()
        future.set_result([Done(task, 1, 1)])
        return future

    def look(self) -> None:
        """Nobody goes away."""

    def stop(self) -> None:
        """Nothing is under way."""

    def close(self) -> None:
        """Nothing to close."""


def request_of(images: int, side: tuple[int, int], *, sizes: np.ndarray | None = None, patch: int = 256) -> Any:
    """A request for a source that does not exist: `images` of `side`, one band of uint8, no overlap."""
    from patchmill.cutting.request import Change, Request
    from patchmill.grid import ImageGrids, PatchGrid
    from patchmill.patches.views import Padding
    from patchmill.planning import Part, make_plan
    from patchmill.sources.model import Source, Variable

    grid = PatchGrid(side, patch, patch)
    grids = ImageGrids.uniform(grid, images) if sizes is None else ImageGrids(grid, sizes)
    chunk = (1, 1, min(512, side[0]), min(512, side[1]))
    variable = Variable(
        "image", has_channel=True, shape=(images, 1, *side), dtype=np.dtype("uint8"), chunks=chunk, read=MadeUp()
    )
    source = Source("made up", (variable,), grids.sizes, {}, identity={"made": "up"})
    part = Part("image", "|u1", "|u1", 1, chunk, missing=False, changed=False, transformed=False)
    plan = make_plan(
        grids,
        [part],
        layout="patches",
        statistics=False,
        looked_at=False,
        handed_over=False,
        lazy=False,
        held=0,
        limit=2**31,
        workers=2,
        tuning={},
        free=None,
    )
    change = Change(None, np.dtype("uint8"), asked=False, padding=Padding("constant", np.uint8(0)), nodata=None)
    return Request(source, grids, plan, (change,), None, "constant", 0)


# -- tasks, each in a fresh process ------------------------------------------------------------------------------------


def shards_request(count: int) -> Any:
    """A request of about `count` shards, of one image: squares of 4 x 4 shards of 512 patches and more."""
    square = max(1, round(count**0.5))
    shard = 32 * 2**20 // 256**2  # patches: 32 x 16
    return request_of(1, (square * 32 * 256, (count // square) * (shard // 32) * 256))


def generation_of(request: Any, folder: Path) -> Any:
    """What `prepare` makes, with targets that record."""
    from patchmill.cutting.building import Generation
    from patchmill.cutting.job import Job
    from patchmill.cutting.journal import Journal
    from patchmill.cutting.workplace import Workplace
    from patchmill.planning import shards_of
    from patchmill.planning.memory import crowded
    from patchmill.storage import Location

    place = Location.parse(folder / "target.zarr")
    shards = shards_of(request.plan, request.grids)
    job = Job(
        source=request.source,
        shards=shards,
        planned=request.plan.variables,
        changes=request.changes,
        keep=None,
        statistics=False,
        targets=(Recording(),),
        journal=Journal(place.workshop),
        labels={},
        crowded=crowded(request.plan.memory, request.plan.limit),
    )
    return Generation(
        request=request,
        workplace=Workplace(place, place),
        pixels=[],
        catalog=[],
        objects={},
        job=job,
        done=np.zeros(len(shards), bool),
    )


def loop(count: int) -> dict:
    """Blocks walked, handed to a crew that does nothing, collected and counted."""
    from patchmill.cutting.building import cut

    with tempfile.TemporaryDirectory() as folder:
        generation = generation_of(shards_request(count), Path(folder))
        crew = Idle()
        cost = cost_of(lambda: cut(generation, crew, None, None, lambda: False))
        if crew.submitted != len(generation.job.shards) or not generation.done.all():
            raise AssertionError("not every block was handed out")
    return cost | each(cost, crew.submitted)


def whole(count: int) -> dict:
    """The same with threads that cut pixels which cost nothing, and targets that only count."""
    from patchmill.cutting.building import cut
    from patchmill.cutting.crews import Threads

    with tempfile.TemporaryDirectory() as folder:
        generation = generation_of(shards_request(count), Path(folder))
        crew = Threads(generation.job, 3)
        cost = cost_of(lambda: cut(generation, crew, None, None, lambda: False))
        crew.close()
        (target,) = generation.job.targets
        if target.calls != len(generation.job.shards):
            raise AssertionError("not every block was written")
    return cost | each(cost, target.calls)


def prepare(count: int) -> dict:
    """What a resume does first: every shard's object is looked up in a folder that holds all of them."""
    from patchmill.cutting.building import prepare as prepared
    from patchmill.cutting.workplace import Workplace
    from patchmill.storage import Location

    request = shards_request(count)
    with tempfile.TemporaryDirectory() as folder:
        place = Location.parse(Path(folder) / "target.zarr")
        down, across = shards_of_request(request)
        for y in range(down):
            for x in range(across):
                row = Path(folder) / "target.zarr" / "patches" / "c" / "0" / "0" / str(y) / str(x) / "0"
                row.mkdir(parents=True)
                (row / "0").touch()
        cost = cost_of(lambda: prepared(request, Workplace(place, place), lambda: None))
        if not prepared(request, Workplace(place, place), lambda: None).done.all():
            raise AssertionError("objects that are there were not found")
    return cost | each(cost, down * across)


def shards_of_request(request: Any) -> tuple[int, int]:
    """Shards down and across."""
    from patchmill.planning import shards_of

    return shards_of(request.plan, request.grids).counts[1:]


def plan(count: int) -> dict:
    """One image with `count` patches."""
    square = round(count**0.5)
    return cost_of(lambda: request_of(1, (square * 256, square * 256))) | {"count": square**2}


def plan_images(count: int) -> dict:
    """`count` images of 28 x 28."""
    return cost_of(lambda: request_of(count, (28, 28), patch=14)) | {"count": count}


def plan_sizes(count: int) -> dict:
    """`count` images of which hardly two have one size."""
    sizes = np.random.default_rng(0).integers(256, 4096, (count, 2))
    side = tuple(sizes.max(axis=0).tolist())
    return cost_of(lambda: request_of(count, side, sizes=sizes)) | {"count": count}


def call(count: int) -> dict:
    """The whole of `write_patches` for one patch: files, lease, catalog, commit."""
    import patchmill

    image = np.zeros((1, 64, 64), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        patchmill.write_patches(image, f"{folder}/warm.zarr", 64)

        def run() -> None:
            for at in range(5):
                patchmill.write_patches(image, f"{folder}/{at}.zarr", 64)

        cost = cost_of(run)
        cost |= {"seconds": cost["seconds"] / 5, "cpu": cost["cpu"] / 5}
    return cost | each(cost, count)


def cost_of(run: Any) -> dict:
    """Seconds, and by how much the process's peak of resident memory rose."""
    before = peak_bytes()
    began, cpu = time.perf_counter(), time.process_time()
    run()
    return {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu, "resident": peak_bytes() - before}


def each(cost: dict, count: int) -> dict:
    """Microseconds of one."""
    return {
        "count": count,
        "microseconds": cost["seconds"] / count * 1e6,
        "cpu_microseconds": cost["cpu"] / count * 1e6,
    }


def main() -> None:
    """One task; prints JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=list(TITLES))
    parser.add_argument("count", type=int)
    args = parser.parse_args()
    run = globals()[args.task.replace("-", "_")]
    run(1)  # imports
    found = run(args.count)
    tracemalloc.start()  # slows Python down: a run of its own, of a tenth where the number of blocks does not matter
    run(args.count if args.count <= 10**4 or args.task.startswith("plan") else args.count // 10)
    print(json.dumps(found | {"allocated": tracemalloc.get_traced_memory()[1]}))


if __name__ == "__main__":
    main()
