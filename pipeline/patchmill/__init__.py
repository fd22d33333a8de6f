"""as_strided for storage: strided, overlapping patches of images that do not fit in memory.

The names below are the whole public surface; each is loaded when it is first used, so ``import patchmill`` costs no
more than NumPy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "PatchGrid": "patchmill.grid",
    "PatchmillError": "patchmill.errors",
    "PatchSet": "patchmill.reading",
    "Plan": "patchmill.planning",
    "ingest": "patchmill.ingesting",
    "inspect": "patchmill.inspecting",
    "open_patches": "patchmill.reading",
    "parameters": "patchmill.stages",
    "patchify": "patchmill.patches",
    "plan": "patchmill.cutting",
    "run": "patchmill.stages",
    "unpatchify": "patchmill.patches",
    "verify": "patchmill.cutting",
    "view_patches": "patchmill.reading",
    "write_patches": "patchmill.cutting",
}

__all__ = [
    "PatchGrid",
    "PatchSet",
    "PatchmillError",
    "Plan",
    "__version__",
    "ingest",
    "inspect",
    "open_patches",
    "parameters",
    "patchify",
    "plan",
    "run",
    "unpatchify",
    "verify",
    "view_patches",
    "write_patches",
]

if TYPE_CHECKING:
    from patchmill.cutting import plan, verify, write_patches
    from patchmill.errors import PatchmillError
    from patchmill.grid import PatchGrid
    from patchmill.ingesting import ingest
    from patchmill.inspecting import inspect
    from patchmill.patches import patchify, unpatchify
    from patchmill.planning import Plan
    from patchmill.reading import PatchSet, open_patches, view_patches
    from patchmill.stages import parameters, run


def load_ipython_extension(ipython: Any) -> None:
    """What ``%load_ext patchmill`` calls: makes ``%patchmill`` known."""
    from patchmill.stages.magics import register

    register(ipython)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'patchmill' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
