"""What it costs to let `map_overlap` bring the halos, against tasks that read their own region, halo included.

    python benchmarks/overlap.py --side 4096 --repeats 5

Both write the same patch set from the same Zarr array. Seconds, CPU seconds and peak memory of a process of its own
each, in pairs; prints the ratios overlap / region.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from data import write_source

ONE = """
import json, re, sys, time
import patchmill
source, target, read = sys.argv[1:]
began, cpu = time.perf_counter(), time.process_time()
patchmill.write_patches(source, target, 256, 128, tuning={"read": read})
took = [time.perf_counter() - began, time.process_time() - cpu]
# Not ru_maxrss: that also counts what the parent held when it started this process.
peak = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
print(json.dumps([*took, peak / 1024]))
"""


def main() -> None:
    """Run both ways in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    write_source(folder / "source.zarr", (1, 4, args.side, args.side), (1, 4, 512, 512))
    found: dict[str, list[list[float]]] = {"region": [], "overlap": []}
    for repeat in range(args.repeats + 1):  # the first is a warm-up
        for read, rows in found.items():
            command = [sys.executable, "-c", ONE, str(folder / "source.zarr"), str(folder / "target.zarr"), read]
            row = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            shutil.rmtree(folder / "target.zarr")
            if repeat:
                rows.append(row)
    shutil.rmtree(folder)
    for at, name in enumerate(("seconds", "CPU seconds", "peak MiB")):
        pairs = [a[at] / b[at] for a, b in zip(found["overlap"], found["region"], strict=True)]
        middle = {read: statistics.median(row[at] for row in rows) for read, rows in found.items()}
        print(
            f"{name:<12} region {middle['region']:8.2f}   overlap {middle['overlap']:8.2f}   "
            f"ratio {statistics.median(pairs):.2f} ({min(pairs):.2f} to {max(pairs):.2f})"
        )


if __name__ == "__main__":
    main()
