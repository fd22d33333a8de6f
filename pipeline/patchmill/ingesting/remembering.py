"""From which files a store was made: a Zarr group ``provenance`` inside it, with one value an image.

::

    provenance/
      label(image)      what tells the image from others in its file
      whole(image)      whether all images of its file were taken; if not, the file is tried again by an append
      path, part, bytes, modified, digest (image)    the marks of its file, `patchmill.ingesting.recognizing`
      path_mask, part_mask, ...                      and of further variables' files

It is not listed in the root's consolidated metadata, so that opening the store costs the same whatever is kept here;
``xarray.open_zarr(f"{target}/provenance")`` opens it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchmill.errors import CorruptChunkError
from patchmill.ingesting.describing import declared
from patchmill.ingesting.pairing import IMAGE, Candidate
from patchmill.ingesting.recognizing import Mark
from patchmill.storage import ArraySpec, Location, read_group, write_small

GROUP = "provenance"

_TIME = {"units": "nanoseconds since 1970-01-01", "calendar": "proleptic_gregorian"}


def write_files(place: Location, candidates: Sequence[Candidate], whole: Sequence[bool]) -> None:
    """Store the marks of all files, the group's root last.

    Parameters
    ----------
    place : Location
        Of the store.
    candidates : sequence of Candidate
        Its images.
    whole : sequence of bool
        Of each, whether all images of its file are there.
    """
    specs = [
        ArraySpec.of("label", ("image",), [each.label for each in candidates]),
        ArraySpec.of("whole", ("image",), np.array(whole, bool)),
    ]
    for name in candidates[0].marks:
        specs += _mark_arrays(_suffix(name), [each.marks[name] for each in candidates])
    objects = declared(specs, [], {"kind": GROUP})
    write_small(place.child(GROUP), specs, objects)
    place.child(GROUP).write("zarr.json", objects["zarr.json"])


def _suffix(variable: str) -> str:
    return "" if variable == IMAGE else f"_{variable}"


def _mark_arrays(suffix: str, marks: Sequence[Mark]) -> list[ArraySpec]:
    values: dict[str, Any] = {
        "path": [each.path for each in marks],
        "part": [each.variable for each in marks],
        "bytes": np.array([each.nbytes for each in marks], np.int64),
        "modified": np.array([each.modified for each in marks], np.int64),
        "digest": np.array([each.digest for each in marks], np.uint64),
    }
    return [
        ArraySpec.of(f"{name}{suffix}", ("image",), value, _TIME if name == "modified" else None)
        for name, value in values.items()
    ]


class Files:
    """The marks of a store's files, as stored.

    Parameters
    ----------
    place : Location
        Of the store.
    variables : sequence of str
    images : int
        How many the store holds.

    Raises
    ------
    CorruptChunkError
        If they are missing, or are those of another number of images.
    """

    def __init__(self, place: Location, variables: Sequence[str], images: int) -> None:
        group = read_group(place.child(GROUP))
        if group is None or group.arrays["label"]["shape"] != [images]:
            raise CorruptChunkError(
                f"the files that {place.url} was made of are not recorded in it, so nothing can be appended: "
                'ingest them anew with mode="overwrite"'
            )
        self.labels: list[str] = group.values("label").tolist()
        self.whole: list[bool] = group.values("whole").tolist()
        self._columns: dict[str, list[list[Any]]] = {}
        for name in variables:
            fields = (f"{field}{_suffix(name)}" for field in ("path", "part", "bytes", "modified", "digest"))
            columns: list[NDArray[Any]] = [group.values(field) for field in fields]
            self._columns[name] = [column.tolist() for column in columns]

    def marks(self, image: int) -> dict[str, Mark]:
        """Of the files of one image, by variable."""
        return {name: Mark(*(column[image] for column in columns)) for name, columns in self._columns.items()}
