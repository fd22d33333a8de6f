"""What may be done to patches before they are written: named transforms, users' functions, the last cast."""

from __future__ import annotations

from patchmill.transforms.casting import cast, is_storable
from patchmill.transforms.guarding import check_alone
from patchmill.transforms.transform import Transform, as_transform, clip, scale, standardize

__all__ = ["Transform", "as_transform", "cast", "check_alone", "clip", "is_storable", "scale", "standardize"]
