"""Where bytes lie: locations, array declarations, and the engine that moves bulk bytes.

Each name is loaded when it is first used: who needs one light module of this room need not wait for the heavy ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from patchmill.types import loaded_later

if TYPE_CHECKING:
    from patchmill.storage.bulk import BulkArray, Part, Region, TensorStoreArray, open_bulk
    from patchmill.storage.declaring import ArraySpec, declare, declare_arrays, digest, encoded, root_of
    from patchmill.storage.empty import empty_shard
    from patchmill.storage.groups import FORMAT, StoredGroup, begun, read_group, root_problem, write_small
    from patchmill.storage.locations import Location

_HOMES = {
    "ArraySpec": "patchmill.storage.declaring",
    "BulkArray": "patchmill.storage.bulk",
    "FORMAT": "patchmill.storage.groups",
    "Location": "patchmill.storage.locations",
    "Part": "patchmill.storage.bulk",
    "Region": "patchmill.storage.bulk",
    "StoredGroup": "patchmill.storage.groups",
    "TensorStoreArray": "patchmill.storage.bulk",
    "begun": "patchmill.storage.groups",
    "declare": "patchmill.storage.declaring",
    "declare_arrays": "patchmill.storage.declaring",
    "digest": "patchmill.storage.declaring",
    "empty_shard": "patchmill.storage.empty",
    "encoded": "patchmill.storage.declaring",
    "open_bulk": "patchmill.storage.bulk",
    "read_group": "patchmill.storage.groups",
    "root_of": "patchmill.storage.declaring",
    "root_problem": "patchmill.storage.groups",
    "write_small": "patchmill.storage.groups",
}

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
    "declare_arrays",
    "digest",
    "empty_shard",
    "encoded",
    "open_bulk",
    "read_group",
    "root_of",
    "root_problem",
    "write_small",
]


__getattr__ = loaded_later(__name__, _HOMES)
