"""How fast a cluster of processes cuts, against threads of one process, in paired runs.

    python benchmarks/cluster.py --side 4096 --patch 256 --step 128 --repeats 5

Each pair is one run with threads and one with processes that were started before, in an order that alternates, so a
machine whose speed drifts does not spoil the ratio. Also told: the highest resident memory of a worker against the
plan's figure, and, with --trim, the same workers as Dask starts them, with MALLOC_TRIM_THRESHOLD_=65536.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
import warnings
from contextlib import ExitStack
from pathlib import Path

import dask
from data import write_source
from distributed import Client, LocalCluster

import patchmill
from patchmill.cutting.clients import TRIMMING


def peak() -> int:
    """Highest resident bytes of this process so far."""
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))


def timed(source: Path, target: Path, args: argparse.Namespace, *, client: Client | None) -> float:
    """Seconds of one cut."""
    os.sync()  # nobody pays for what the one before left to the disk
    began = time.perf_counter()
    with ExitStack() as stack:
        if client is not None:
            stack.enter_context(client.as_current())
        cluster = None if client is not None else False
        patchmill.write_patches(
            source, target, args.patch, args.step, mode="create", cluster=cluster, memory=args.memory
        )
    seconds = time.perf_counter() - began
    shutil.rmtree(target)
    return seconds


def measure(source: Path, folder: Path, args: argparse.Namespace, trim: int | None) -> None:
    """One table for one kind of worker."""
    os.environ.pop(TRIMMING.rpartition(".")[2], None)  # where the nannies of an earlier table left it
    with (
        dask.config.set({TRIMMING: trim}),
        LocalCluster(
            n_workers=args.processes, threads_per_worker=args.threads, host="127.0.0.1", dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        ratios, rates, nbytes = [], [], 0
        for repeat in range(args.repeats + 1):  # the first is a warm-up
            seconds = {}
            for who in (None, client) if repeat % 2 else (client, None):
                seconds[who] = timed(source, folder / "target.zarr", args, client=who)
            one, other = seconds[None], seconds[client]
            if repeat:
                ratios.append(one / other)
                rates.append((one, other))
        plan = patchmill.plan(source, args.patch, args.step, memory=args.memory)
        nbytes = plan.bytes_written
        highest = max(client.run(peak).values())
    one, other = (nbytes / 1e6 / statistics.median(each) for each in zip(*rates, strict=True))
    print(f"trim threshold {trim}: threads {one:6.0f} MB/s, "
          f"{args.processes} x {args.threads} {other:6.0f} MB/s, ratio {statistics.median(ratios):.2f} "
          f"({min(ratios):.2f} to {max(ratios):.2f}); worker {highest / 2**20:.0f} MiB at the peak, "
          f"plan {plan.memory / 2**20:.0f} MiB, {plan.work}")  # fmt: skip


def main() -> None:
    """Make a source, run the pairs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--channels", type=int, default=4)
    parser.add_argument("--chunk", type=int, default=512)
    parser.add_argument("--patch", type=int, default=256)
    parser.add_argument("--step", type=int, default=128)
    parser.add_argument("--memory", default=None)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--trim", action="store_true", help="also with Dask's own threshold")
    parser.add_argument("--folder", type=Path, default=None, help="where data go; a temporary folder by default")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=args.folder))
    warnings.simplefilter("ignore")
    write_source(
        folder / "source.zarr", (1, args.channels, args.side, args.side), (1, args.channels, args.chunk, args.chunk)
    )
    try:
        for trim in [None, 65536] if args.trim else [None]:
            measure(folder / "source.zarr", folder, args, trim)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
