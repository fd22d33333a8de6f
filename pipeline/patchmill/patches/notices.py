"""Where a warning points: at the line of the caller, not at ours."""

from __future__ import annotations

import inspect


def caller_level() -> int:
    """`stacklevel` for `warnings.warn`, called beside it, of the first frame outside this package."""
    package = __name__.partition(".")[0]
    frame, level = inspect.currentframe(), 0
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        frame, level = frame.f_back, level + 1
    return level
