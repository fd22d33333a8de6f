"""Memory that was freed goes back to the system before it is missed.

glibc keeps what is freed, in one arena for each thread, up to 64 MiB in each. Two threads cutting, and those of
tensorstore beside them, so held 500 to 630 MiB where 180 were in use; given back before each shard is packed, 260 to
300, for a tenth of the time or a fifth. Raising its thresholds or lowering the number of arenas would do as much, but
can't be undone in a process that is not ours.
"""

from __future__ import annotations

import ctypes
import os
import sys
from dataclasses import dataclass
from functools import cache
from typing import Any


def ease(above: int) -> None:
    """Give back what was freed, where this process holds more than `above` bytes and there is something to give.

    Where all of that is in use, it would come to nothing, 30 ms each time: so not before a little more is held than was
    left the last time.
    """
    held = resident()
    _SEEN.eased = min(_SEEN.eased, held)
    if held > max(above, _SEEN.eased + _WORTH):
        trim()
        _SEEN.eased = resident()


_WORTH = 16 * 2**20


def resident() -> int:
    """Bytes that this process holds; 0 where the system does not say."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


@dataclass
class _Seen:
    """Bytes that a run found at its beginning and left at its end, and the least since something was given back."""

    in_use: int = 0
    left: int = -1
    eased: int = 0


_SEEN = _Seen()


def in_use(step: int) -> int:
    """Resident bytes without what was freed.

    It goes back to see that, unless this process holds hardly more than our last run left, by less than `step`: what
    that had freed is then there for the next one.
    """
    if not _SEEN.in_use <= resident() <= _SEEN.left + step:
        trim()
        _SEEN.in_use = resident()
        leave()
    return _SEEN.in_use


def forget() -> None:
    """What is in use has grown for good: it is looked at anew the next time."""
    _SEEN.in_use = sys.maxsize


def leave() -> None:
    """What is resident now, beyond what was in use at the beginning, comes from us."""
    _SEEN.left = resident()


def trim() -> None:
    """Give back what was freed; nothing happens where the allocator has no such call."""
    library = _allocator()
    if library is not None:
        library.malloc_trim(0)


@cache
def _allocator() -> Any:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "malloc_trim") else None
