"""How fast a cluster of processes cuts, against threads of one process.

    python benchmarks/cluster.py --side 4096 --patch 256 --step 128 --repeats 5
    python benchmarks/run.py --only cluster --size 1GiB

The processes are started before, and both ways run in turn, so a machine whose speed drifts does not spoil the ratio.
Also told: the highest resident memory of a worker against the plan's figure, and, with --trim, the same workers as Dask
starts them, with MALLOC_TRIM_THRESHOLD_=65536.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import dask
from data import write_source
from distributed import Client, LocalCluster
from peaks import peak_bytes
from timing import Way, in_turn, record, show
from writing import FOUR

import patchmill
from patchmill.cutting.clients import TRIMMING

THREADS = "threads of one process"


class Case(NamedTuple):
    """What is cut, and by how many."""

    side: int
    channels: int = 4
    chunk: int = 512
    patch: int = 256
    step: int = 128
    memory: str | None = None
    processes: int = 2
    threads: int = 1

    @property
    def name(self) -> str:
        """For tables."""
        return f"{self.patch} / {self.step}, {self.channels} bands uint16, chunks {self.chunk}"


def measure(folder: Path, size: int, repeats: int) -> list[dict]:
    """The part of `run.py`: patches of `size` bytes."""
    return [_measured(folder, Case(FOUR.side(size, "patches")), repeats, trim=None)]


def _measured(folder: Path, case: Case, repeats: int, *, trim: int | None) -> dict:
    source, target = folder / "source.zarr", folder / "target.zarr"
    write_source(source, (1, case.channels, case.side, case.side), (1, case.channels, case.chunk, case.chunk))
    os.environ.pop(TRIMMING.rpartition(".")[2], None)  # where the nannies of an earlier case left it
    with ExitStack() as stack:
        client = _started(case, trim, stack)
        cleanup = partial(shutil.rmtree, target)
        ways = {
            THREADS: Way(partial(_cut, source, target, case, None), cleanup=cleanup),
            f"{case.processes} processes of {_counted(case.threads)}": Way(
                lambda: _with_workers(client, partial(_cut, source, target, case, client)), cleanup=cleanup
            ),
        }
        plan = patchmill.plan(source, case.patch, case.step, memory=case.memory)
        found = record(
            case.name if trim is None else f"{case.name}, trimmed at {trim}",
            in_turn(ways, repeats),
            bounds=(THREADS,),
            notes={},
            bytes=plan.bytes_written,
            planned=plan.memory,
            peak=max(client.run(peak_bytes).values()),
        )
    shutil.rmtree(source)
    show(found)
    print(f"    a worker held {found['peak'] / 2**20:.0f} MiB at the most, planned {found['planned'] / 2**20:.0f} MiB")
    return found


def _started(case: Case, trim: int | None, stack: ExitStack) -> Client:
    stack.enter_context(dask.config.set({TRIMMING: trim}))
    cluster = LocalCluster(
        n_workers=case.processes, threads_per_worker=case.threads, host="127.0.0.1", dashboard_address="127.0.0.1:0"
    )
    return stack.enter_context(Client(stack.enter_context(cluster), set_as_default=False))


def _counted(threads: int) -> str:
    return "1 thread" if threads == 1 else f"{threads} threads"


def _cut(source: Path, target: Path, case: Case, client: Client | None) -> None:
    with ExitStack() as stack:
        if client is not None:
            stack.enter_context(client.as_current())
        patchmill.write_patches(
            source,
            target,
            case.patch,
            case.step,
            mode="create",
            memory=case.memory,
            cluster=False if client is None else None,
        )


def _with_workers(client: Client, run: Callable[[], Any]) -> tuple[float, float]:
    """Seconds by the clock, and of CPU, the workers' among them."""
    before = sum(client.run(time.process_time).values())
    began, own = time.perf_counter(), time.process_time()
    run()
    seconds, own = time.perf_counter() - began, time.process_time() - own
    return seconds, own + sum(client.run(time.process_time).values()) - before


def main() -> None:
    """Make a source, run both ways in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in Case(4096)._asdict().items():
        parser.add_argument(f"--{name}", type=type(default) if default is not None else str, default=default)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--trim", action="store_true", help="also with Dask's own threshold")
    parser.add_argument("--folder", type=Path, default=None, help="where data go; a temporary folder by default")
    args = parser.parse_args()
    case = Case(**{name: getattr(args, name) for name in Case._fields})
    folder = Path(tempfile.mkdtemp(dir=args.folder))
    warnings.simplefilter("ignore")
    try:
        for trim in [None, 65536] if args.trim else [None]:
            _measured(folder, case, args.repeats, trim=trim)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
