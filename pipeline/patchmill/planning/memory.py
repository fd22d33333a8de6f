"""What a run holds in memory: integer arithmetic over named byte counts.

::

    peak = interpreter + tiles + working

    interpreter  the process with its libraries loaded
    tiles        source pixels that wait for their neighbors: two rows of a wave, since halos reach into the next row
    working      what each worker holds at a time: a block's tile joined with its halo, one shard on its way to the
                 store, and what its statistics need
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from pathlib import Path

from patchmill.types import as_bytes, as_int

INTERPRETER = 200 * 2**20
"""Resident bytes of a process with numpy, dask, zarr, xarray and tensorstore loaded; 142 MiB were measured."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One variable's share of a block.

    Parameters
    ----------
    pixel : int
        Bytes of a pixel with all its channels.
    shard : int
        Bytes of a shard, raw.
    """

    pixel: int
    shard: int


def peak(pieces: Iterable[Piece], tile: tuple[int, ...], halo: tuple[int, ...], across: int, workers: int) -> int:
    """Bytes that a run holds at most.

    Parameters
    ----------
    pieces : iterable of Piece
        The variables.
    tile, halo : tuple of int
        Pixels of a block's own tile, and beyond it, along each axis.
    across : int
        Blocks along a wave's row.
    workers : int
        Threads.
    """
    own, joined = prod(tile), prod(n + h for n, h in zip(tile, halo, strict=True))
    waiting = sum(piece.pixel for piece in pieces) * own * 2 * (across + 1) if any(halo) else 0
    working = sum(piece.pixel * joined * 2 + piece.shard * 3 for piece in pieces)
    return INTERPRETER + waiting + workers * working


def memory_limit(memory: int | str | None) -> int:
    """Bytes that each working process may hold: as given, or as Dask's configuration ``patchmill.memory`` says.

    The default is half of what the control group or the machine has.
    """
    if memory is None:
        from dask import config

        memory = config.get("patchmill.memory", None)
    return as_bytes(memory, "memory") if memory is not None else _machine_memory() // 2


def worker_count(workers: int | None) -> int:
    """Threads that work at a time: as given, or as ``patchmill.workers`` says, or the CPUs that affinity allows."""
    if workers is None:
        from dask import config

        workers = config.get("patchmill.workers", None)
    return as_int(workers, "workers", least=1, unit="") if workers is not None else _cpus()


def _cpus() -> int:
    from dask.system import cpu_count  # knows affinity and quotas, on every system

    return int(cpu_count())


def _machine_memory() -> int:
    """RAM, or the least limit of the control groups that this process is in, from its own up to the root."""
    least = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for folder in _control_groups():
        for name in ("memory.max", "memory.limit_in_bytes"):
            try:
                text = (folder / name).read_text().strip()
            except OSError:
                continue
            least = min(least, int(text)) if text.isdigit() else least
    return least


def _control_groups() -> set[Path]:
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return set()
    found = set()
    for line in lines:
        _, controllers, path = line.split(":", 2)
        root = Path("/sys/fs/cgroup") / ("memory" if "memory" in controllers else "")
        own = root / path.lstrip("/")
        found |= {folder for folder in (own, *own.parents) if folder == root or root in folder.parents}
    return found
