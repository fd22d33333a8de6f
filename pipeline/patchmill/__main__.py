"""``python -m patchmill``: the same as the command ``patchmill``."""

from __future__ import annotations

import sys

from patchmill.cli import main

if __name__ == "__main__":
    sys.exit(main())
