"""Which process is which: across reused numbers, containers, reboots and machines. psutil is not needed for it."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache

_NAMESPACES = ("pid", "time")


@cache
def this_place() -> str:
    """What processes have in common that share a table of processes and a monotonic clock; "" where unknown.

    Containers of one machine have the boot in common, and often the host's name, yet not the table of processes: there
    a living process of a neighbor looks as if it were gone. So the namespaces belong to it.
    """
    try:
        if sys.platform == "darwin":
            return _said("sysctl", "-n", "kern.bootsessionuuid")
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = file.read().strip()
        spaces = [
            os.readlink(f"/proc/self/ns/{name}") for name in _NAMESPACES if os.path.lexists(f"/proc/self/ns/{name}")
        ]
    except OSError:
        return ""
    return " ".join([boot, *spaces])


def started(pid: int) -> str:
    """When a process began, in the system's words: only good for comparing. "" where it can't be told."""
    return _state_and_start(pid)[1]


def is_gone(pid: int, began: str) -> bool:
    """Whether the process `pid` that began at `began` has ended, be it that its number is another's by now."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass  # it lives, and is somebody else's
    state, now = _state_and_start(pid)
    # One that has ended keeps its number until its parent asks for it.
    return state[:1] in {"Z", "X"} or ("" not in {began, now} and began != now)


def _state_and_start(pid: int) -> tuple[str, str]:
    try:
        if sys.platform == "darwin":
            state, _, start = _said("ps", "-o", "stat=,lstart=", "-p", str(pid)).partition(" ")
            return state, start.strip()
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            # The name stands in parentheses, and may itself hold any character.
            fields = file.read().rpartition(")")[2].split()
        return fields[0], fields[19]
    except (OSError, IndexError):
        return "", ""


def _said(*command: str) -> str:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - literals and a number
    return ended.stdout.strip()
