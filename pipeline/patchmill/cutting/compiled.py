"""Kernels of `cells`, compiled by Numba where that is installed: the same to the last bit, in half the time or less.

They are loaded for large runs only: Numba takes half a second and 110 to 150 MiB.
"""

from __future__ import annotations

import threading
from functools import cache
from types import ModuleType

from patchmill.storage.heap import forget

_LOADING = threading.Lock()

_LOADED: list[ModuleType | None] = []


def load() -> None:
    """Use the compiled kernels from now on, in this process; nothing changes where Numba is not installed."""
    with _LOADING:
        if not _LOADED:
            _LOADED.append(_kernels())
            forget()


def kernels() -> ModuleType | None:
    """`patchmill.cutting.kernels`, once it was loaded."""
    return _LOADED[0] if _LOADED else None


@cache
def installed() -> bool:
    """Whether Numba is there."""
    from importlib.util import find_spec

    try:
        return find_spec("numba") is not None
    except ModuleNotFoundError:
        return False


def _kernels() -> ModuleType | None:
    if not installed():
        return None
    from patchmill.cutting import kernels as module

    return module
