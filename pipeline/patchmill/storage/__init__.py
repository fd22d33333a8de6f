"""Where bytes lie: locations, array declarations, and the engine that moves bulk bytes."""

from __future__ import annotations

from patchmill.storage.bulk import BulkArray, Part, TensorStoreArray, open_bulk
from patchmill.storage.declaring import ArraySpec, declare, digest
from patchmill.storage.groups import FORMAT, StoredGroup, begun, read_group, write_small
from patchmill.storage.locations import Location

__all__ = [
    "FORMAT",
    "ArraySpec",
    "BulkArray",
    "Location",
    "Part",
    "StoredGroup",
    "TensorStoreArray",
    "begun",
    "declare",
    "digest",
    "open_bulk",
    "read_group",
    "write_small",
]
