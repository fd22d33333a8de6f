"""Reading patch sets: by number, as batches, as Dask and xarray."""

from __future__ import annotations

from patchmill.reading.opening import open_patches, view_patches
from patchmill.reading.patchset import PatchSet

__all__ = ["PatchSet", "open_patches", "view_patches"]
