"""Leases of what a stage writes, whatever kind of file it is: two configs never write to one place at a time.

A library call that writes a store takes a lease of its own beside it, in ``<path>.patchmill``; these lie in
``<path>.stage.patchmill``, for as long as the stage runs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import ExitStack

from patchmill.errors import HeldError


def hold(paths: Iterable[str]) -> ExitStack:
    """Take the lease of each local path; they end with what is returned.

    Raises
    ------
    HeldError
        If somebody has one of them.
    """
    from patchmill.cutting.lease import take
    from patchmill.storage.locations import Location

    with ExitStack() as stack:
        for path in sorted({os.path.realpath(path) for path in paths}):
            try:
                stack.enter_context(take(Location.local(f"{path}.stage").workshop))
            except HeldError as error:
                raise HeldError(str(error).replace(f"{path}.stage", path)) from None
        return stack.pop_all()
