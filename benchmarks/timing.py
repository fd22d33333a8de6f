"""Ways to do the same, timed in turn, so that a machine whose speed drifts does not spoil their ratios."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Way:
    """One way to do a piece of work.

    Parameters
    ----------
    run : callable
        Does it. May return its own (seconds, CPU seconds), where it works in another process.
    most : int
        Repeats at most, for a way that is far slower than the others.
    cleanup : callable
        What lies outside of what is timed, after each run.
    """

    run: Callable[[], tuple[float, float] | None]
    most: int = 1000
    cleanup: Callable[[], None] = lambda: None


@dataclass
class Times:
    """What was measured of one way: seconds, and seconds of CPU over all threads of its process, run by run."""

    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def in_turn(ways: Mapping[str, Way], repeats: int, *, warm: bool = True) -> dict[str, Times]:
    """Every way once, then every way again, and so on; an uncounted round comes first, without the slow ones.

    Each round has an order of its own: what a disk does after the one before was removed hits each of them.
    """
    found = {name: Times() for name in ways}
    shuffled = random.Random(0)
    for repeat in range(-1 if warm else 0, repeats):
        for name, way in shuffled.sample(list(ways.items()), len(ways)):
            if repeat >= way.most or (repeat < 0 and way.most <= repeats):
                continue
            settle()
            began, cpu = time.perf_counter(), time.process_time()
            own = way.run()
            took = (time.perf_counter() - began, time.process_time() - cpu) if own is None else own
            if repeat >= 0:
                found[name].seconds.append(took[0])
                found[name].cpu.append(took[1])
            way.cleanup()
    return found


QUIET, PATIENCE = 0.3, 5.0
"""Seconds without a request that count as quiet, and those to wait for them."""


def settle() -> None:
    """Wait until the disks have done what the way before left to them: dirty pages, and freed blocks to discard."""
    os.sync()
    seen, since, until = _requests(), time.monotonic(), time.monotonic() + PATIENCE
    while (now := time.monotonic()) < until and now - since < QUIET:
        time.sleep(0.02)
        if (requests := _requests()) != seen:
            seen, since = requests, now


def _requests() -> tuple[int, ...]:
    """Requests that Linux counted of all disks, and those under way; nothing elsewhere."""
    try:
        rows = [line.split() for line in Path("/proc/diskstats").read_text().splitlines()]
    except OSError:
        return ()
    done, under_way = (3, 7, 14), 11  # reads, writes and discards
    return tuple(sum(int(row[at]) for row in rows if at < len(row)) for at in (*done, under_way))


def record(
    case: str, times: Mapping[str, Times], *, bounds: tuple[str, ...], notes: Mapping[str, str], **facts: Any
) -> dict:
    """One case for the JSON: every single timing, and each way's share of the bound's speed, pair by pair.

    The bound is the fastest of `bounds` in this case.
    """
    bound = min((name for name in bounds if times[name].seconds), key=lambda name: median(times[name].seconds))
    ways = {}
    for name, each in times.items():
        if not each.seconds:
            continue
        pairs = list(zip(times[bound].seconds, each.seconds, strict=False))
        cpus = list(zip(times[bound].cpu, each.cpu, strict=False))
        ways[name] = {
            "seconds": each.seconds,
            "cpu": each.cpu,
            **summary(each.seconds),
            "ratio": summary([a / b for a, b in pairs]),
            "cpu_ratio": summary([a / b for a, b in cpus if b]) if any(each.cpu) else None,
        }
    ways |= {name: {} for name in notes if name not in ways}
    for name, note in notes.items():
        ways[name]["note"] = note
    return {"case": case, "bound": bound, "ways": ways, **facts}


def summary(values: list[float]) -> dict[str, float]:
    """Median and extent; empty for nothing."""
    return {"median": median(values), "min": min(values), "max": max(values)} if values else {}


def show(each: Mapping[str, Any]) -> None:
    """One case as lines on the terminal."""
    print(f"  {each['case']}", flush=True)
    for name, way in each["ways"].items():
        if "median" not in way:
            print(f"    {name:<26} {way.get('note', '')}")
            continue
        ratio, rate = way["ratio"], each.get("bytes", 0) / 1e6 / way["median"]
        spread = f"{ratio['median']:5.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})"
        print(f"    {name:<26} {way['median']:9.4f} s {rate:7.0f} MB/s  {spread}  {way.get('note', '')}", flush=True)
