"""Pure geometry: where patches lie, in integers, without a pixel or a file."""

from __future__ import annotations

from patchmill.grid.axis import Axis, Halo
from patchmill.grid.images import ImageGrids, alike
from patchmill.grid.numbering import KeptPatches, Numbering
from patchmill.grid.patchgrid import PatchGrid

__all__ = ["Axis", "Halo", "ImageGrids", "KeptPatches", "Numbering", "PatchGrid", "alike"]
