"""All of the engine against bounds and peers, in one run, on generated data.

    python benchmarks/run.py --size 1GiB --folder /data/scratch

Writes `runs/benchmarks/benchmarks.json` (every single timing) and `benchmarks.png` beside it; parts that are not asked
for stay as an earlier run left them. `python benchmarks/page.py` then fills docs/benchmarks.md from the JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from peers import Peers

from patchmill.types import as_bytes

LIBRARIES = ("patchmill", "numpy", "tensorstore", "zarr", "dask", "xarray")


def main() -> None:
    """Run the parts that are asked for, keep what was measured after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="256MiB", help="bytes that each case writes, before compression")
    parser.add_argument("--folder", type=Path, default=None, help="where data and the peers' environments go")
    parser.add_argument("--only", nargs="+", default=list(PARTS), choices=list(PARTS), metavar="PART")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parents[1] / "runs" / "benchmarks", help="where JSON and picture go"
    )
    parser.add_argument("--no-peers", action="store_true", help="leave out what needs an environment of its own")
    args = parser.parse_args()
    base = args.folder or Path(tempfile.gettempdir()) / "patchmill-benchmarks"
    base.mkdir(parents=True, exist_ok=True)
    args.out.mkdir(parents=True, exist_ok=True)
    place = args.out / "benchmarks.json"
    size = as_bytes(args.size, "--size")
    peers = Peers(base / "peers", wanted=not args.no_peers)
    folder = Path(tempfile.mkdtemp(dir=base, prefix="run-"))
    found = json.loads(place.read_text()) if place.exists() else {"parts": {}}
    try:
        for name in args.only:
            print(name, flush=True)
            began = time.perf_counter()
            cases = PARTS[name](folder, size, args.repeats, peers)
            found["machine"] = machine(folder) | {"peers": peers.versions()}
            found["parts"][name] = {
                "settings": {"size": size, "repeats": args.repeats, "date": time.strftime("%Y-%m-%d")},
                "load": os.getloadavg()[0],
                "seconds": time.perf_counter() - began,
                "cases": cases,
            }
            place.write_text(json.dumps(found, indent=1))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    from picture import draw

    draw(found, args.out / "benchmarks.png")
    print(f"{place} and {args.out / 'benchmarks.png'}")


def machine(folder: Path) -> dict:
    """What figures depend on, without names of machines or places."""
    return {
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in LIBRARIES},
        "filesystem": _filesystem(folder),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _filesystem(folder: Path) -> str:
    """Type of the file system that holds `folder`."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return "unknown"
    inside = [(len(at), kind) for at, kind in mounts if folder.resolve().is_relative_to(at)]
    return max(inside)[1] if inside else "unknown"


# -- parts -------------------------------------------------------------------------------------------------------------

Part = Callable[[Path, int, int, Peers], list[dict]]


def _writing(folder: Path, size: int, repeats: int, peers: Peers) -> list[dict]:
    import writing

    return writing.measure(folder, size, repeats, peers)


def _canvas(folder: Path, size: int, repeats: int, peers: Peers) -> list[dict]:  # noqa: ARG001 - parts are alike
    import writing

    return writing.measure_canvas(folder, size, repeats)


def _small(folder: Path, size: int, repeats: int, peers: Peers) -> list[dict]:  # noqa: ARG001
    import small

    return small.measure(folder, size, repeats)


def _reading(folder: Path, size: int, repeats: int, peers: Peers) -> list[dict]:
    import reading

    return reading.measure(folder, size, repeats, peers)


def _blocks(folder: Path, size: int, repeats: int, peers: Peers) -> list[dict]:  # noqa: ARG001
    import blocks

    return blocks.measure(size)


def _memory(folder: Path, size: int, repeats: int, peers: Peers) -> list[dict]:  # noqa: ARG001
    import peaks as memory

    return memory.measure(folder, size)


def _cluster(folder: Path, size: int, repeats: int, peers: Peers) -> list[dict]:  # noqa: ARG001
    import cluster

    return cluster.measure(folder, size, repeats)


PARTS: dict[str, Part] = {
    "writing": _writing,
    "canvas": _canvas,
    "small": _small,
    "reading": _reading,
    "blocks": _blocks,
    "memory": _memory,
    "cluster": _cluster,
}


if __name__ == "__main__":
    main()
