"""Groups that patchmill wrote: reading their root, and storing small arrays."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchmill.errors import CorruptChunkError, NotAPatchSetError
from patchmill.storage.bulk import TensorStoreArray, open_bulk
from patchmill.storage.declaring import ArraySpec, digest, encoded
from patchmill.storage.locations import Location
from patchmill.storage.seals import is_damaged

FORMAT = 1


@dataclass(frozen=True, slots=True, eq=False)
class StoredGroup:
    """A committed group: where it lies, and what its root says.

    Parameters
    ----------
    place : Location
    attributes : dict
        Of the group; patchmill's own are below ``"patchmill"``.
    arrays : dict
        Name to the array's metadata document, as consolidated in the root.
    """

    place: Location
    attributes: dict[str, Any]
    arrays: dict[str, dict[str, Any]]

    @property
    def own(self) -> dict[str, Any]:
        """What patchmill keeps about the group: format, kind, layout, grid, source, provenance, digests."""
        return dict(self.attributes["patchmill"])

    def bulk(self, name: str, *, cache_bytes: int = 0) -> TensorStoreArray:
        """The array `name`, for reading pixels, as the root describes it.

        The array's own metadata object is not read: the root, read once, is a snapshot that an append or an overwrite
        in progress does not disturb. `check_metadata` compares the two.

        Raises
        ------
        CorruptChunkError
            If what the root says of the array is not what its own digest of it says.
        """
        entry = self.arrays.get(name)
        if entry is None or digest(encoded(entry)) != self._digest_of(name):
            raise CorruptChunkError(
                f"what the root of {self.place.url} says of {name!r} was changed after it was written"
            )
        return open_bulk(self.place.child(name), metadata=entry, cache_bytes=cache_bytes)

    def check_metadata(self, name: str) -> None:
        """Read the array's own metadata, which other readers use, and compare it with what was committed.

        Raises
        ------
        CorruptChunkError
            If it is missing or no longer has the digest that the root keeps.
        """
        data = self.place.read(f"{name}/zarr.json")
        if data is None or digest(data) != self._digest_of(name):
            raise CorruptChunkError(
                f"the metadata of {name!r} in {self.place.url} is missing or was changed after it was written"
            )

    def _digest_of(self, name: str) -> str | None:
        digests = self.own.get("digests")
        found = digests.get(name) if isinstance(digests, dict) else None
        return str(found) if found is not None else None

    def values(self, name: str) -> NDArray[Any]:
        """All values of a small array; texts come as objects."""
        if self.arrays[name]["data_type"] == "string":
            import zarr
            from zarr.storage import StorePath

            texts = zarr.Array.from_dict(StorePath(self.place.store(), name), self.arrays[name])
            return np.asarray(texts[...]).astype(object)
        array = self.bulk(name)
        return array.read(tuple(slice(0, n) for n in array.shape))


def read_group(place: Location) -> StoredGroup | None:
    """The group that patchmill committed at `place`; None where there is none of its making.

    Raises
    ------
    NotAPatchSetError
        If patchmill wrote it in a format that this version does not know.
    """
    root = place.read("zarr.json")
    if root is None:
        return None
    try:
        document = json.loads(root)
        attributes, own = document["attributes"], document["attributes"]["patchmill"]
        arrays = document["consolidated_metadata"]["metadata"]
        known = own.get("format")
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    if known != FORMAT:
        raise NotAPatchSetError(
            f"{place.url} has format {known!r} and this patchmill reads format {FORMAT}: use the version that wrote it"
        )
    return StoredGroup(place, attributes, arrays)


def begun(place: Location) -> dict[str, Any] | None:
    """The request of a target that was begun and is not finished; None where there is none.

    Raises
    ------
    NotAPatchSetError
        If it was begun in a format that this version does not know.
    """
    data = place.workshop.read("request.json")
    try:
        request = json.loads(data or b"null")
    except ValueError:  # not ours, which is written whole or not at all
        return None
    if not isinstance(request, dict) or "format" not in request:
        return None
    if request["format"] != FORMAT:
        raise NotAPatchSetError(
            f"{place.url} was begun in format {request['format']!r} and this patchmill knows format {FORMAT}: "
            "go on with the version that began it, or choose another target"
        )
    return dict(request)


def root_problem(place: Location) -> str | None:
    """A sentence, where the root is one of ours that was damaged, so that the group is not known as what it is."""
    root = place.read("zarr.json") or b""
    if b"patchmill" not in root or not is_damaged(root):  # others have as many digits as a seal for their own reasons
        return None
    return (
        f"{place.url} was written by patchmill, and its root, zarr.json, is damaged: patchmill.verify says how far, "
        "and its repair mends a single byte"
    )


def write_small(place: Location, arrays: Iterable[ArraySpec], objects: Mapping[str, bytes]) -> None:
    """Store metadata and values of small arrays below `place`; the root is not among them.

    Numbers go through tensorstore: numcodecs' blosc gives other bytes from run to run where it uses threads.
    """
    for spec in arrays:
        for key, data in objects.items():
            if key.startswith(f"{spec.name}/"):
                place.write(key, data)
        if spec.data is not None and not isinstance(spec.dtype, str) and spec.data.size:
            region = tuple(slice(0, n) for n in spec.shape)
            open_bulk(place.child(spec.name)).write([(region, np.asarray(spec.data, order="C"))])
