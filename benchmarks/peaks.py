"""What a fresh process really holds at its peak, against what the plan said and what it was allowed.

    python benchmarks/peaks.py --case strips --limit 512MiB --layout canvas --size 2GiB

One case in a few seconds; prints JSON. The source is generated, several times larger than the limit by default; it is
kept in --folder for the next call.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from data import write_source

CHUNKS: dict[str, tuple[int, int]] = {
    "tiles": (512, 512),
    "strips": (1, 0),
    "misaligned": (500, 500),
    "quarter GB": (5792, 5792),
}
"""Source chunks (y, x); 0 stands for the whole width. A quarter GB holds four bands of uint16."""

LIMITS = ("512MiB", "1GiB")
CHANNELS, PATCH, STEP = 4, 256, 128


def measure(folder: Path, size: int) -> list[dict]:
    """All cases, both limits and layouts, few of them for a small `size`; what is written is four times that."""
    found = []
    tiny = size < 2**26
    for case in ("tiles", "strips") if tiny else CHUNKS:
        for limit in LIMITS[:1] if tiny else LIMITS:
            for layout in ("patches", "canvas"):
                each = one(folder, case, limit, layout, 4 * size)
                found.append(each)
                print(f"  {shown(each)}", flush=True)
        for place in folder.glob("memory-*"):
            shutil.rmtree(place)
    return found


def shown(each: dict) -> str:
    """One case as a line."""
    title = f"{each['case']:<11} {each['layout']:<8} {each['limit_text']:>7}"
    if "refused" in each:
        return f"{title}  {each['refused']}"
    limit, planned, peak = (each[name] / 2**20 for name in ("limit", "planned", "peak"))
    figures = f"limit {limit:5.0f}  planned {planned:5.0f}  peak {peak:5.0f} MiB"
    return f"{title}  {figures}   planned / peak {planned / peak:.2f}"


def one(folder: Path, case: str, limit: str, layout: str, size: int, **more: object) -> dict:
    """One case in a process of its own; what it prints."""
    command = [sys.executable, __file__, "--case", case, "--limit", limit, "--layout", layout, "--size", str(size)]
    command += ["--folder", str(folder)]
    for name, value in more.items():
        command += [f"--{name}", str(value)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout)


def source_of(folder: Path, case: str, size: int, channels: int) -> Path:
    """The generated source of a case, about `size` bytes, made in another process if it is not there."""
    side = max(2 * PATCH, int(math.sqrt(size / (channels * 2))))
    place = folder / f"memory-{case.replace(' ', '-')}-{channels}-{side}.zarr"
    if not place.exists():
        y, x = (min(n or side, side) for n in CHUNKS[case])
        aside = place.with_suffix(".new")
        write_source(aside, (1, channels, side, side), (1, channels, y, x))
        aside.rename(place)
    return place


def in_child(source: Path, target: Path, args: argparse.Namespace) -> dict:
    """Cut in this process, which nothing else was done in, and look at its peak."""
    import patchmill

    statistics = {"default": None, "on": True, "off": False}[args.statistics]
    arguments = {"layout": args.layout, "memory": args.limit, "workers": args.workers, "statistics": statistics}
    try:
        plan = patchmill.plan(source, args.patch, args.step, **arguments)
    except patchmill.PatchmillError as error:
        return {"refused": str(error)}
    before = peak_bytes()
    began = time.perf_counter()
    patchmill.write_patches(source, target, args.patch, args.step, mode="create", **arguments)
    work = plan.work
    return {
        "limit": plan.limit,
        "planned": plan.memory,
        "before": before,
        "peak": peak_bytes(),
        "seconds": time.perf_counter() - began,
        "bytes": plan.bytes_written,
        "bytes_source": plan.bytes_source,
        "read_amplification": plan.read_amplification,
        "statistics": plan.statistics,
        "work": {"inflight": work.inflight, "cache": work.cache, "band": work.band, "read": work.read},
        "planned_to_peak": plan.memory / peak_bytes(),
    }


def peak_bytes() -> int:
    """Resident bytes of this process at their highest.

    Linux hands the peak of the process that started this one on to ``ru_maxrss``; ``VmHWM`` is our own.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        pass
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def main() -> None:
    """One case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=list(CHUNKS), default="tiles")
    parser.add_argument("--limit", default="512MiB")
    parser.add_argument("--layout", choices=["patches", "canvas"], default="patches")
    parser.add_argument("--size", default="1GiB", help="bytes of the source, or with layout patches of what is written")
    parser.add_argument("--statistics", choices=["default", "on", "off"], default="default")
    parser.add_argument("--channels", type=int, default=CHANNELS)
    parser.add_argument("--patch", type=int, default=PATCH)
    parser.add_argument("--step", type=int, default=STEP)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=None, help="where data go; a temporary folder by default")
    parser.add_argument("--child", type=Path, default=None, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(in_child(args.child, args.child.with_name(f"target-{os.getpid()}.zarr"), args)))
        return
    from patchmill.types import as_bytes

    base = args.folder or Path(tempfile.gettempdir()) / "patchmill-benchmarks"
    base.mkdir(parents=True, exist_ok=True)
    size = as_bytes(args.size, "--size")
    if args.layout == "patches":  # patches overlap, and the source of as many is smaller
        size = int(size * (args.step / args.patch) ** 2)
    source = source_of(base, args.case, size, args.channels)
    done = subprocess.run(
        [sys.executable, *sys.argv, "--child", str(source)], capture_output=True, text=True, check=False
    )
    for place in base.glob("target-*"):
        shutil.rmtree(place)
    if done.returncode:
        sys.exit(done.stderr)
    facts = {"case": args.case, "layout": args.layout, "limit_text": args.limit}
    print(json.dumps(facts | json.loads(done.stdout), indent=1))


if __name__ == "__main__":
    main()
