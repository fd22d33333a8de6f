"""Leases of what a stage writes to local disks, whatever kind of file it is: no two runs write to one path at a time.

A library call that writes a store takes a lease of its own beside it. These lie in the root of the config, which is
there before any stage begins, in hidden folders that are gone when the stage has ended. So they hold among configs that
have one root.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from contextlib import ExitStack

from patchmill.errors import HeldError, PatchmillError


def hold(paths: Iterable[str], root: str, look: Callable[[], None]) -> ExitStack:
    """Take the lease of each path; they end with what is returned.

    Parameters
    ----------
    paths : iterable of str
        Below `root`.
    root : str
    look : callable
        Called again and again while it is not clear whether a holder on another machine still lives.

    Raises
    ------
    HeldError
        If somebody has one of them.
    PatchmillError
        If nothing can be written there.
    """
    from patchmill.cutting.lease import take
    from patchmill.storage.locations import Location

    with ExitStack() as stack:
        for path in sorted({os.path.realpath(path) for path in paths}):
            place = os.path.join(os.path.realpath(root), f".{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}")
            try:
                stack.enter_context(take(Location.local(place).workshop, patient=True, look=look))
            except (OSError, PatchmillError) as error:
                kind = HeldError if isinstance(error, HeldError) else PatchmillError
                raise kind(str(error).replace(f"{place}.patchmill", path).replace(place, path)) from None
        return stack.pop_all()
