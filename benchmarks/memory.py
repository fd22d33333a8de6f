"""What a run holds in memory, against its plan and its limit, each in a fresh process.

    python benchmarks/memory.py --case strips --limit 512MiB --layout canvas --size 2GiB

Sources cost no time and no disk, whatever their size: one chunk is packed, and every chunk of the source is a link to
it. Prints a row a case and writes JSON, to runs/benchmarks/memory.json unless told otherwise:

    peak      highest resident memory of the process, interpreter included, by the kernel's count
    ratio     plan / peak
    early     highest resident memory in the first fifth of the run; late: in the last
    decoded   bytes of source chunks that were unpacked, by tensorstore's count of bytes read, against the plan's
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

MIB = 2**20

OUT = Path(__file__).parents[1] / "runs" / "benchmarks" / "memory.json"


@dataclass(frozen=True)
class Case:
    """A source, and how it is cut.

    Parameters
    ----------
    chunk : tuple of int
        (image, channel, y, x) of the source.
    canvas : tuple of int
        (channel, y, x); as many images as `size` asks for.
    dtype : str
    shard : tuple of int, optional
    patch, step : int
    options : mapping
        Further arguments of `write_patches`.
    kind : str
        What is handed over: "zarr" a path, "dask" a Dask array, "numpy" an array in memory, "cluster" a path cut by
        processes.
    share : float
        Of `size`, for what is slow.
    """

    chunk: tuple[int, int, int, int]
    canvas: tuple[int, int, int]
    dtype: str = "uint16"
    shard: tuple[int, int, int, int] | None = None
    patch: int = 256
    step: int = 256
    options: dict[str, Any] = field(default_factory=dict)
    kind: str = "zarr"
    share: float = 1.0


LARGE = (4, 8192, 8192)
SQUARE = (1, 4, 512, 512)
CASES = {
    "plain": Case(SQUARE, LARGE),
    "overlap": Case(SQUARE, LARGE, step=128, share=0.5),
    "statistics": Case(SQUARE, LARGE, step=128, options={"statistics": True}, share=0.5),
    "quarter": Case((1, 4, 8192, 4096), (4, 16384, 16384)),
    "strips": Case((1, 4, 1, 8192), LARGE),
    "misaligned": Case((1, 4, 500, 500), (4, 8000, 8000)),
    "times": Case((24, 1, 256, 256), (1, 4096, 4096)),
    "sharded": Case((1, 4, 256, 256), LARGE, shard=(1, 4, 2048, 2048)),
    "cast": Case(SQUARE, LARGE, options={"dtype": "float32"}, share=0.5),
    "scale": Case(SQUARE, LARGE, options={"transform": "scale(0.0001)"}, share=0.5),
    "standardize": Case(SQUARE, LARGE, options={"transform": "changes:centered"}, share=0.5),
    "keep": Case(SQUARE, LARGE, options={"keep": "std > 2"}),
    "dense": Case(SQUARE, (4, 2048, 2048), patch=8, step=1, options={"statistics": True}, share=0.0),
    "nan": Case(SQUARE, LARGE, dtype="float32", options={"statistics": True}),
    "bands": Case((1, 200, 128, 128), (200, 2048, 2048)),
    "small": Case((500, 1, 28, 28), (1, 28, 28), dtype="uint8", patch=28, step=28, share=0.1),
    "tiny": Case((1, 3, 512, 512), (3, 4096, 4096), dtype="uint8", patch=16, step=8, share=0.05),
    "dask": Case(SQUARE, LARGE, step=128, kind="dask", share=0.5),
    "numpy": Case(SQUARE, LARGE, step=128, kind="numpy", share=0.0),
    "cluster": Case(SQUARE, LARGE, step=128, kind="cluster", share=0.5),
}


# -- sources -----------------------------------------------------------------------------------------------------------


def scene(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """A chunk that packs like a real one, to about three fifths: a slope and noise, with gaps where it is of floats."""
    random, kind = np.random.default_rng(0), np.dtype(dtype)
    bits = 8 if NOISE else min(6, 8 * kind.itemsize - 2)
    noise = random.integers(0, 2**bits, shape, np.uint8)
    if NOISE:
        noise = random.integers(0, 256, (*shape, kind.itemsize), np.uint8).view(kind)[..., 0]
        return np.nan_to_num(noise) if kind.kind == "f" else noise
    slope = (np.arange(shape[-1], dtype=np.uint32) // 8 % 64).astype(np.uint8)
    tile = np.add(noise, slope, dtype=kind)
    if kind.kind == "f":
        tile += random.random(shape, np.float32) * np.float32(1e-2)
        tile[..., ::3, ::5] = np.nan
    return tile


NOISE = bool(os.environ.get("NOISE"))
"""Whether sources don't pack at all."""


def write_source(place: Path, case: Case, nbytes: int) -> tuple[float, int]:
    """A Zarr array of about `nbytes`; returns raw bytes for each packed one, and how many there are."""
    import tensorstore as ts

    item = np.dtype(case.dtype).itemsize
    images = max(1, round(nbytes / (math.prod(case.canvas) * item)))
    unit = case.shard or case.chunk
    shape = (max(unit[0], images // unit[0] * unit[0]) if unit[0] > 1 else images, *case.canvas)
    settings = {"cname": "lz4", "clevel": 5, "shuffle": "shuffle", "typesize": item, "blocksize": 0}
    codecs: list[dict] = [
        {"name": "bytes", "configuration": {"endian": "little"}}, {"name": "blosc", "configuration": settings}
    ]  # fmt: skip
    if case.shard:
        codecs = [{"name": "sharding_indexed", "configuration": {"chunk_shape": case.chunk, "codecs": codecs}}]
    metadata = {
        "shape": shape,
        "data_type": case.dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": unit}},
        "codecs": codecs,
        "dimension_names": ["image", "channel", "y", "x"],
    }
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{place}/"}, "metadata": metadata, "create": True}
    array = ts.open(spec).result()
    array[tuple(slice(0, min(n, length)) for n, length in zip(unit, shape, strict=True))].write(
        scene(tuple(min(n, length) for n, length in zip(unit, shape, strict=True)), case.dtype)
    ).result()
    first = place / "c/0/0/0/0"
    link = first
    for number, key in enumerate(product(*(range(-(-n // size)) for n, size in zip(shape, unit, strict=True)))):
        path = place.joinpath("c", *map(str, key))
        if path == first:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if number % 30_000 == 0:  # a file has 65,000 names at most
            shutil.copyfile(first, path)
            link = path
        else:
            os.link(link, path)
    return math.prod(unit) * item / first.stat().st_size, math.prod(shape) * item


# -- one process -------------------------------------------------------------------------------------------------------


def resident(name: str = "VmHWM") -> int:
    """Bytes that are resident ("VmRSS"), or were at most; of getrusage the peak begins with that of the parent."""
    found = re.search(rf"{name}:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


class Watching:
    """Resident memory over the run, as (share done, bytes)."""

    def __init__(self) -> None:
        self.share, self.samples, self.ends = 0.0, [], threading.Event()
        threading.Thread(target=self._look, daemon=True).start()

    def __call__(self, progress: Any) -> None:
        self.share = progress.done / max(1, progress.total)

    def _look(self) -> None:
        while not self.ends.wait(0.05):
            self.samples.append((self.share, resident("VmRSS")))

    def highest(self, low: float, high: float) -> int:
        """Between two shares of the run."""
        return max((nbytes for share, nbytes in self.samples if low <= share <= high), default=0)


def measure(case: Case, source: str, target: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Cut in this process; what it held."""
    import patchmill

    given: Any = source
    watch = Watching()
    options = case.options | arguments
    if case.kind == "dask":
        import dask.array as da

        given = da.from_zarr(source)
    elif case.kind == "numpy":
        given = np.zeros((1, *case.canvas), case.dtype)
        given[...] = 7
    planned = patchmill.plan(given, case.patch, case.step, **options)
    before = resident()
    began, cpu = time.perf_counter(), time.process_time()
    workers: list[int] = []
    if case.kind == "cluster":
        workers = on_cluster(given, target, case, watch, options)
    else:
        patchmill.write_patches(given, target, case.patch, case.step, mode="create", progress=watch, **options)
    seconds = time.perf_counter() - began
    watch.ends.set()
    return {
        "peak": max([resident(), *workers]),
        "plan": planned.memory,
        "before": before,
        "early": watch.highest(0, 0.2),
        "late": watch.highest(0.8, 1),
        "read": planned.bytes_read,
        "files": files_read(),
        "written": planned.bytes_written,
        "seconds": seconds,
        "cpu": time.process_time() - cpu,
        "work": asdict(planned.work),
        "tasks": planned.tasks,
    }


def on_cluster(given: Any, target: str, case: Case, watch: Any, options: dict) -> list[int]:
    """Cut on a cluster of processes; the peak of each worker."""
    import distributed

    import patchmill

    how = {"n_workers": 2, "threads_per_worker": 3, "dashboard_address": None}
    with distributed.LocalCluster(**how) as here, distributed.Client(here) as client:
        patchmill.write_patches(given, target, case.patch, case.step, mode="create", progress=watch, **options)
        return list(client.run(resident).values())


def files_read() -> int:
    """Bytes that tensorstore has read from files."""
    import tensorstore as ts

    found = ts.experimental_collect_matching_metrics("/tensorstore/kvstore/file/bytes_read")
    return sum(value["value"] for each in found for value in each["values"])


# -- all ---------------------------------------------------------------------------------------------------------------


def run(name: str, folder: Path, size: int, arguments: dict[str, Any]) -> dict[str, Any]:
    """One case in a process of its own."""
    case = CASES[name]
    place = Path(tempfile.mkdtemp(dir=folder))
    try:
        ratio, nbytes = 1.0, math.prod(case.canvas) * np.dtype(case.dtype).itemsize
        if case.kind != "numpy":
            ratio, nbytes = write_source(place / "source.zarr", case, round(size * case.share))
        command = [sys.executable, __file__, "--measure", json.dumps([name, str(place), arguments])]
        here = str(Path(__file__).parent)
        path = os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = os.environ | {"PYTHONPATH": path}
        ended = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
        if ended.returncode:
            return {"case": name, "failed": ended.stderr.strip().splitlines()[-1:], "source": nbytes} | arguments
        found = json.loads(ended.stdout.strip().splitlines()[-1])
        found["decoded"] = round(found.pop("files") * ratio)
        return {"case": name, "source": nbytes} | arguments | found
    finally:
        shutil.rmtree(place)


def shown(row: dict[str, Any]) -> str:
    """A row of the table."""
    head = f"{row['case']:<12} {row.get('layout', 'patches'):<8} {row['memory']:>7} {row.get('workers') or '':>2} "
    if "failed" in row:
        return head + " ".join(row["failed"])
    peak, plan, early, late = (row[key] / MIB for key in ("peak", "plan", "early", "late"))
    work = row["work"]
    read, planned = (row[key] / row["source"] for key in ("decoded", "read"))
    return head + (
        f"{row['source'] / MIB:8.0f} {peak:6.0f} {plan:6.0f} {plan / peak:5.2f} {early:6.0f} {late:6.0f} "
        f"{read:6.2f} {planned:6.2f} {row['seconds']:6.1f}s {row['cpu']:5.1f}s "
        f"{work['inflight']} x band {work['band']}, cache {work['cache'] / MIB:.0f}"
    )


HEAD = "case         layout     limit  w   source   peak   plan ratio  early   late decode  plan  seconds"


def command_line() -> argparse.ArgumentParser:
    """What may be asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--limit", nargs="+", default=["512MiB", "1GiB"])
    parser.add_argument("--layout", nargs="+", default=["patches", "canvas"], choices=["patches", "canvas"])
    parser.add_argument("--size", default=None, help="of the source; ten times the limit by default")
    parser.add_argument("--workers", nargs="+", type=int, default=[None])
    parser.add_argument("--folder", type=Path, default=None, help="where data go; a temporary folder by default")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--tuning", type=json.loads, default=None, help='such as {"inflight": 1}')
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    return parser


def main() -> None:
    """Every case that was asked for."""
    args = command_line().parse_args()
    if args.measure:
        name, place, arguments = json.loads(args.measure)
        print(json.dumps(measure(CASES[name], f"{place}/source.zarr", f"{place}/target.zarr", arguments)))
        return
    from patchmill.types import as_bytes

    rows = []
    for folder in (args.out.parent, *filter(None, [args.folder])):
        folder.mkdir(parents=True, exist_ok=True)
    print(HEAD)
    for limit, layout, workers, name in product(args.limit, args.layout, args.workers, args.case):
        size = as_bytes(args.size, "size") if args.size else 10 * as_bytes(limit, "limit")
        arguments = {"memory": limit, "layout": layout} | ({"workers": workers} if workers else {})
        arguments |= {"tuning": args.tuning} if args.tuning else {}
        rows.append(run(name, args.folder or Path(tempfile.gettempdir()), size, arguments))
        print(shown(rows[-1]), flush=True)
        args.out.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
