"""What a run holds in memory: integer arithmetic over named byte counts.

::

    by region    peak = interpreter + held + books + cache + loose + tasks under way
    overlap      the same, with `waiting` for the cache

    interpreter  the process with its libraries loaded
    held         what lies in it anyway: an array that is the source, other libraries
    books        what is known of each image and shard
    cache        decoded source chunks kept for the next tasks
    waiting      tiles that wait for their neighbors: two rows of a wave, since halos reach into the next row
    loose        what the allocator has got back, and not given back yet

    task         tile + changed + the most of reading, looking, writing, which come one after the other,
                 the last two beside what was found out about the patches,
                 looking beside what a function gets of all variables;
                 no reading where another task has just unpacked its chunks, and the cache keeps them

                 read              look                     write
                 +--------------+  +---------------------+  +----------------------------+
                 | source chunks|  | statistics, copies  |  | copies, shard as stored    |
                 +--------------+--+---------------------+--+----------------------------+
                 | tile, and where values are changed, what became of them              |
                 +----------------------------------------------------------------------+

Pixels are taken to pack not at all: noise does not, and a limit is a promise.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from patchmill.types import as_bytes, as_int

INTERPRETER = 104 * 2**20
"""Resident bytes of a process that has cut something small, with numpy, dask, zarr and tensorstore loaded: 88 to 109
MiB were measured."""

LIBRARIES = 48 * 2**20
"""How many of these come with the libraries that the first cut loads: 35 to 48 MiB were measured."""

LAZY = 64 * 2**20
"""On top where the source is a Dask array: dask.array, xarray and pandas."""

WORKER = 40 * 2**20
"""On top in a worker of a Dask cluster: distributed, and its own threads."""

COMPILER = 144 * 2**20
"""On top where kernels are compiled: 110 MiB were measured where they come from Numba's cache, 150 where not."""

_LOOSE = 32 * 2**20
"""Loose bytes of a process, see `patchmill.storage.heap`."""

_LOOSE_SHARE = 8
"""Beside them one for so many that tasks hold, and as much again as a cache holds, whose chunks lie among what is
freed."""

_SCATTERED = 96 * 2**20
"""Beside them at most where chunks are small: what is left of each arena is not given back, 490 MiB with 186 of them in
a cache where 423 were counted, and 462 without a cache where 443 were."""

_ASTRAY = 96 * 2**20
"""Beside them where tiles begin inside of chunks, so that more is unpacked than is kept: 389 to 437 MiB were measured
where 315 to 380 were without."""

_MAPPED = 32 * 2**20
"""Larger allocations go back when they are freed: glibc maps each one by itself."""

_SHARD, _IMAGE = 24, 64
"""Bytes of books for each shard, and each image."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One variable's share of a task, in bytes.

    Parameters
    ----------
    tile : int
        Its source pixels, halo included.
    changed : int
        What becomes of them, all the time that the task has them; 0 where nothing does.
    found : int
        What is found out about its patches: there while they are looked at and written.
    reading : int
        Source chunks that are on their way in, packed and unpacked.
    looking : int
        Working space of statistics, and of functions.
    writing : int
        Copies of patches, and the shard as it is stored.
    """

    tile: int
    changed: int
    found: int
    reading: int
    looking: int
    writing: int


def task_bytes(pieces: Sequence[Piece], *, handed: int, reads: bool = True) -> int:
    """Bytes that one task holds at most: the tiles of all variables, and one variable's work at a time.

    Parameters
    ----------
    pieces : sequence of Piece
    handed : int
        Bytes of finished patches, of all variables, that a function of ``keep`` gets at a time, and of its copy.
    reads : bool
        Whether it unpacks chunks itself, rather than wait until another task has.
    """
    tiles = sum(piece.tile + piece.changed for piece in pieces)
    found = sum(piece.found for piece in pieces)
    reading = max(piece.reading for piece in pieces) if reads else 0
    looking, writing = max(piece.looking for piece in pieces), max(piece.writing for piece in pieces)
    return tiles + max(reading, found + max(handed + looking, writing))


def reading_bytes(touched: int, chunk: int) -> int:
    """Bytes that a read holds beside its result: a few source chunks or a single one, packed and unpacked.

    The chunks of a shard are packed until the last is unpacked: tensorstore reads what lies side by side in one piece.
    """
    return 2 * max(chunk, min(touched, READING))


HANDED = 32 * 2**20
"""Bytes of finished patches, of all variables together, that a function of ``keep`` gets at a time, or a single row of
positions. A constant: a matrix product, for one, may round otherwise for another number of patches."""


READING = 16 * 2**20
"""Bytes of chunks that one read unpacks at a time, or a single chunk. tensorstore unpacks all chunks of a read before
it copies the first: 128 MiB of strips of one row, for a tile of 32. So `patchmill.storage.bulk` reads in parts."""


SMALL = 256 * 2**10
"""Bytes of chunks so small that packed and unpacked ones lie among each other: strips of 64 KiB held 510 MiB where 300
were in use, and 370 where what was freed goes back between the parts of a read."""


def peak(
    pieces: Sequence[Piece],
    *,
    handed: int,
    inflight: int,
    readers: int,
    cache: int,
    chunk: int,
    astray: bool,
    waiting: int,
    held: int,
    shards: int,
    images: int,
) -> int:
    """Bytes that a process holds at most.

    Parameters
    ----------
    pieces : sequence of Piece
        The variables.
    handed : int
        Bytes that a task hands to a function of ``keep``, see `task_bytes`.
    inflight : int
        Tasks under way at a time.
    readers : int
        Those of them that unpack chunks at a time; the others find theirs in the cache.
    cache : int
        Bytes of the cache of decoded chunks.
    chunk : int
        Bytes of a decoded chunk.
    astray : bool
        Whether tiles begin inside of chunks.
    waiting : int
        Bytes of tiles that wait for neighbors.
    held : int
        Bytes that lie in this process anyway.
    shards, images : int
        How many there are.
    """
    books = shards * _SHARD + images * _IMAGE
    reading, others = (task_bytes(pieces, handed=handed, reads=reads) for reads in (True, False))
    tasks = readers * reading + (inflight - readers) * others
    small = tasks + waiting if chunk <= _MAPPED else tasks - readers * 2 * chunk
    loose = _LOOSE + max(0, small) // _LOOSE_SHARE
    if chunk <= SMALL:
        loose += min(_SCATTERED, cache + tasks)
    elif chunk <= _MAPPED:
        loose += cache + (_ASTRAY if astray else 0)
    return INTERPRETER + held + books + cache + waiting + loose + tasks


def with_room(memory: int, limit: int, chunk: int) -> int:
    """Bytes that a plan promises: the peak, and a fifth on top where the limit leaves room.

    So much of what was freed may stay for what comes next: to give it back and get it again costs a tenth of the time.
    Decoded chunks of so many bytes that they are mapped go back anyway.
    """
    return memory if chunk > _MAPPED else max(memory, min(memory + min(memory // 5, _ROOM), _roomy(limit)))


def has_room(memory: int, limit: int) -> bool:
    """Whether a limit leaves room above a plan."""
    return memory <= _roomy(limit)


def _roomy(limit: int) -> int:
    return limit * 5 // 8


def crowded(memory: int, limit: int) -> int:
    """Resident bytes from which on what was freed goes back, so that `memory`, as planned, is not exceeded."""
    return memory - max(memory // 8, _MARGIN) if has_room(memory, limit) else memory * 2 // 3


_ROOM = 128 * 2**20

_MARGIN = 64 * 2**20
"""Of what tasks may get between two looks: 16 MiB more than 8 % of 461 were measured."""


def held_beyond(resident: int, held: int) -> int:
    """Bytes of a process that `INTERPRETER` does not count, in steps.

    Parameters
    ----------
    resident : int
        Bytes that are resident before the run.
    held : int
        Bytes of the source among them.
    """
    beyond = resident + LIBRARIES - held - INTERPRETER
    return -(-max(0, beyond) // STEP) * STEP


STEP = 32 * 2**20
"""So that two plans in a row are the same one."""


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
    return as_int(workers, "workers", least=1, most=_MOST_WORKERS, unit="") if workers is not None else _cpus()


_MOST_WORKERS = 4096
"""No machine has more CPUs."""


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
