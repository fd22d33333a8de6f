"""What is there at a place of a local disk, and how many bytes."""

from __future__ import annotations

import os
from contextlib import suppress


def bytes_at(path: str) -> int | None:
    """Bytes of a file, or of all files below a folder, links not followed; None where there is nothing.

    Examples
    --------
    >>> bytes_at("/nowhere") is None
    True
    """
    try:
        if not os.path.isdir(path):
            return os.stat(path).st_size
    except OSError:
        return None
    total = 0
    waiting = [path]
    while waiting:
        with suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                    continue
                with suppress(OSError):  # it went while we looked
                    total += entry.stat(follow_symlinks=False).st_size
    return total
