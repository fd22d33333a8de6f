"""Patches in memory: cutting them out of arrays, and putting them back."""

from __future__ import annotations

from patchmill.patches.dispatch import patchify, unpatchify

__all__ = ["patchify", "unpatchify"]
