"""What lies at a place of a local disk, summed up so that it is known again: bytes, number of files, a digest.

===================  ======================================================================
a file               of its bytes; of a large one, of its name, size and time
a Zarr store         of its metadata, whole, and of the names and sizes of all other objects
a folder, a pattern  of the names, sizes and times of its files
===================  ======================================================================

So bytes that change in a store behind a size that stays are not seen; its checksums are `patchmill verify`'s matter.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from patchmill.stages.measuring import ROOTS, file_digest, files_below, listing, matching, place_at, store_root

_WHOLE = 32 * 2**20
"""Bytes of a file that is read for its digest."""

_MOST_FILES = 50_000
"""A second or two on a disk; a run shall not wait for its own manifest."""

_METADATA = {*ROOTS, ".zattrs"}


@dataclass(frozen=True, slots=True)
class Content:
    """What lies at a place.

    Parameters
    ----------
    nbytes : int
    files : int
    sha256 : str or None
        None where there are too many files to look at; the other two are of those that were.
    of : str
        Of what the digest is.
    """

    nbytes: int
    files: int
    sha256: str | None
    of: str


def content_at(path: str) -> Content | None:
    """What lies at a path or a pattern, {names} to fill in too, as far as readers find it; None if nothing does.

    Examples
    --------
    >>> content_at("/nowhere") is None
    True
    """
    place = place_at(path)
    if place is None:
        found = _listed((file, file) for file in matching(path))
        return found if found.files else None
    if os.path.isdir(place):
        inside = ((os.path.relpath(file, place), file) for file in files_below(place))
        return _listed(inside, store=store_root(place) is not None)
    if os.stat(place).st_size > _WHOLE:
        return _listed([(os.path.basename(place), place)])
    try:
        return Content(os.stat(place).st_size, 1, file_digest(place), "bytes")
    except PermissionError:
        return Content(os.stat(place).st_size, 1, None, "nothing: it may not be read")


def _listed(files: Iterable[tuple[str, str]], *, store: bool = False) -> Content:
    found = listing(files, says=_metadata, most=_MOST_FILES) if store else listing(files, most=_MOST_FILES)
    of = "metadata, names, sizes" if store else "names, sizes, times"
    return Content(found.nbytes, found.files, found.sha256, of if found.sha256 else f"the first {_MOST_FILES:,} files")


def _metadata(path: str, _: os.stat_result) -> str:
    return file_digest(path) if os.path.basename(path) in _METADATA else ""
