"""Cutting a source into a patch set: requests, waves, one task, statistics, commit."""

from __future__ import annotations

from patchmill.cutting.writing import plan, write_patches

__all__ = ["plan", "write_patches"]
