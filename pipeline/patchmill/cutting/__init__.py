"""Cutting a source into a patch set: requests, waves, one task, statistics, commit; later verify and repair.

Each name is loaded when it is first used: who needs one light module of this room need not wait for the heavy ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from patchmill.types import loaded_later

if TYPE_CHECKING:
    from patchmill.cutting.reports import Report
    from patchmill.cutting.verifying import verify
    from patchmill.cutting.writing import plan, write_patches

_HOMES = {
    "Report": "patchmill.cutting.reports",
    "plan": "patchmill.cutting.writing",
    "verify": "patchmill.cutting.verifying",
    "write_patches": "patchmill.cutting.writing",
}

__all__ = [
    "Report",
    "plan",
    "verify",
    "write_patches",
]


__getattr__ = loaded_later(__name__, _HOMES)
