"""The libraries that running notebooks needs, and what brings a library that is missing."""

from __future__ import annotations

from importlib.util import find_spec

from patchmill.errors import PatchmillError, missing_library

_NEEDED = ("omegaconf", "pydantic", "papermill", "nbconvert", "ipykernel", "psutil")


def require_libraries() -> None:
    """Raise if libraries are missing without which no config can be run.

    Raises
    ------
    PatchmillError
        With the command that brings them.
    """
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise PatchmillError(missing_library("running notebooks", *missing))
