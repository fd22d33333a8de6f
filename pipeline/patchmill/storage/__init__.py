"""Where bytes lie: locations, array declarations, and the engine that moves bulk bytes."""

from __future__ import annotations

from patchmill.storage.bulk import BulkArray, Part, Region, TensorStoreArray, open_bulk
from patchmill.storage.declaring import ArraySpec, declare, digest, encoded, root_of
from patchmill.storage.empty import empty_shard
from patchmill.storage.groups import FORMAT, StoredGroup, begun, read_group, write_small
from patchmill.storage.locations import Location

__all__ = [
    "FORMAT",
    "ArraySpec",
    "BulkArray",
    "Location",
    "Part",
    "Region",
    "StoredGroup",
    "TensorStoreArray",
    "begun",
    "declare",
    "digest",
    "empty_shard",
    "encoded",
    "open_bulk",
    "read_group",
    "root_of",
    "write_small",
]
