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
from patchmill.storage.declaring import ArraySpec, digest
from patchmill.storage.locations import Location

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

    def bulk(self, name: str) -> TensorStoreArray:
        """The array `name`, for reading and writing pixels; its metadata must be what was committed.

        Raises
        ------
        CorruptChunkError
            If the array's metadata is missing or no longer has the digest that the root keeps.
        """
        data = self.place.read(f"{name}/zarr.json")
        if data is None or digest(data) != self.own["digests"].get(name):
            raise CorruptChunkError(
                f"the metadata of {name!r} in {self.place.url} is missing or was changed after it was written"
            )
        return open_bulk(self.place.child(name))

    def values(self, name: str) -> NDArray[Any]:
        """All values of a small array; texts come as objects."""
        if self.arrays[name]["data_type"] == "string":
            import zarr

            return np.asarray(zarr.open_array(self.place.path / name, mode="r")[...]).astype(object)
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
    """The request of a target that was begun and is not finished; None where there is none."""
    data = place.workshop.read("request.json")
    try:
        request = json.loads(data or b"null")
    except ValueError:  # not ours, which is written whole or not at all
        return None
    return dict(request) if isinstance(request, dict) and "format" in request else None


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
