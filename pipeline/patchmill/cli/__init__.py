"""The command ``patchmill``: parse, one call, exit code."""

from __future__ import annotations

from patchmill.cli.entry import main

__all__ = ["main"]
