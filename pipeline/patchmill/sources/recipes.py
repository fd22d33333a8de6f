"""How another process opens a stored source again: by its arguments, once, and only if it is the same."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from patchmill.sources.absent import disk_clock
from patchmill.sources.merging import with_channels
from patchmill.sources.model import Source, vanished
from patchmill.sources.naming import Dims
from patchmill.storage import Location


@dataclass(frozen=True, slots=True)
class Recipe:
    """The arguments of `open_source` for something stored.

    Parameters
    ----------
    place : Location
    variables, channels : tuple of str, optional
    dims : mapping or sequence, optional
    cache_bytes : int
        Decoded chunks to keep.
    crowded : int or None
        Resident bytes from which on what was freed goes back.
    identity : mapping
        Of the source when it was first opened.
    images : int
        Number of its images then.
    opened : int
        When that was, by the disk's clock, 0 for now: a chunk that vanished since is an error in every process, also in
        one that opens the source later.
    """

    place: Location
    variables: tuple[str, ...] | None
    dims: Dims
    channels: tuple[str, ...] | None
    cache_bytes: int = 0
    crowded: int | None = None
    identity: Mapping[str, Any] | None = None
    images: int = 0
    opened: int = 0


def open_stored(recipe: Recipe) -> Source:
    """The Zarr store or file that `recipe` names.

    Raises
    ------
    SourceError, ValueError
        As `open_source`.
    """
    opened = recipe.opened or disk_clock()
    source = with_channels(
        lambda names: _open(recipe.place, names, recipe.dims, opened), recipe.channels, recipe.variables
    )
    if recipe.place.in_process:
        return source  # which no other process can open; a pickle says so
    return replace(source, recipe=replace(recipe, identity=source.identity, images=source.images, opened=opened))


def _open(place: Location, names: Sequence[str] | None, dims: Dims, opened: int) -> Source:
    from patchmill.sources.files import is_image_file, open_file_source
    from patchmill.sources.zarrs import open_zarr_source

    if is_image_file(place):
        return open_file_source(place, variables=names, dims=dims)
    return open_zarr_source(place, variables=names, dims=dims, opened=opened)


def reopened(recipe: Recipe) -> Source:
    """What `recipe` names, for a process that got it from another.

    Raises
    ------
    SourceError
        If it is no longer the source that was opened there.
    """
    return _reopened(pickle.dumps(recipe))


@lru_cache(maxsize=16)
def _reopened(pickled: bytes) -> Source:
    """Kept for the tasks that follow; by its pickle, since dims may be a mapping, which has no hash."""
    recipe: Recipe = pickle.loads(pickled)  # noqa: S301 - made by the caller
    source = open_stored(recipe)
    if (source.identity, source.images) != (recipe.identity, recipe.images):
        raise vanished(recipe.place.url)
    return source if recipe.crowded is None else source.cached(recipe.cache_bytes, recipe.crowded)
