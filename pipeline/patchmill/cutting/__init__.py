"""Cutting a source into a patch set: requests, waves, one task, statistics, commit; later verify and repair."""

from __future__ import annotations

from patchmill.cutting.reports import Report
from patchmill.cutting.verifying import verify
from patchmill.cutting.writing import plan, write_patches

__all__ = ["Report", "plan", "verify", "write_patches"]
