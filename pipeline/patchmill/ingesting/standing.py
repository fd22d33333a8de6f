"""A store that exists, read back as what it was made of: layouts, and images whose pixels lie in the store itself.

So whatever describes new images describes old and new ones together, and a store that grew is described like one that
was made in one go.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchmill.errors import PatchmillError
from patchmill.ingesting.agreeing import Layout
from patchmill.ingesting.finding import File
from patchmill.ingesting.pairing import IMAGE, Candidate
from patchmill.ingesting.recognizing import Key, Mark
from patchmill.ingesting.remembering import Files
from patchmill.ingesting.scenes import Scene
from patchmill.planning import Shapes
from patchmill.sources.model import nodata_array, packing_array, packing_attribute
from patchmill.storage import StoredGroup, TensorStoreArray


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """What a store holds.

    Parameters
    ----------
    group : StoredGroup
    layouts : tuple of Layout
        Of the variables.
    candidates : list of Candidate
        Its images, in their order.
    names : list of str
        Of the images.
    whole : list of bool
        Of each image, whether all images of its file were taken.
    """

    group: StoredGroup
    layouts: tuple[Layout, ...]
    candidates: list[Candidate]
    names: list[str]
    whole: list[bool]

    @property
    def generation(self) -> int:
        """How often something was appended."""
        return int(self.group.own["generation"])

    @property
    def small(self) -> frozenset[str]:
        """Names of its arrays that are not pixels."""
        return frozenset(self.group.arrays) - {layout.name for layout in self.layouts}

    def known(self) -> dict[Key, list[Mark]]:
        """Marks of all files: several of one that had changed when it was taken again, beside a new image."""
        found: dict[Key, dict[Mark, None]] = {}
        for each in self.candidates:
            for mark in each.marks.values():
                found.setdefault(mark.key, {})[mark] = None
        return {key: list(marks) for key, marks in found.items()}

    def partly(self) -> frozenset[Key]:
        """Files of which some images could not be taken."""
        return frozenset(
            each.marks[IMAGE].key for each, whole in zip(self.candidates, self.whole, strict=True) if not whole
        )

    def tail(self, layout: Layout) -> list[NDArray[Any]]:
        """Pixels of the images in the last shard along image, where that has room for more.

        Returns
        -------
        list of ndarray, shape (channel, y, x)
        """
        first = len(self.candidates) // layout.shapes.shard[0] * layout.shapes.shard[0]
        return [each.scenes[layout.name].read_all() for each in self.candidates[first:]]


def read_standing(group: StoredGroup) -> Standing:
    """What the store `group` holds.

    Raises
    ------
    PatchmillError
        If it was written before stores could grow, or is damaged.
    """
    if "generation" not in group.own:
        raise PatchmillError(
            f'{group.place.url} was written by a patchmill whose stores can\'t grow: use mode="overwrite", once'
        )
    arrays = {name: group.bulk(name) for name in group.own["variables"]}
    layouts = tuple(_layout(group, name, array) for name, array in arrays.items())
    names = group.values("name").tolist()
    files = Files(group.place, group.own["variables"], len(names))
    scenes = {layout.name: _scenes(group, layout, arrays[layout.name], files.labels) for layout in layouts}
    candidates = []
    for image, each in enumerate(zip(*scenes.values(), strict=True)):
        marks = files.marks(image)
        file = File(marks[IMAGE].path, marks[IMAGE].path, marks[IMAGE].variable)
        candidates.append(Candidate(file, files.labels[image], dict(zip(scenes, each, strict=True)), marks))
    return Standing(group, layouts, candidates, names, files.whole)


def _layout(group: StoredGroup, name: str, array: TensorStoreArray) -> Layout:
    dims = group.arrays[name]["dimension_names"]
    channel = dims[1] if len(dims) == 4 else None
    labels = tuple(group.values(channel).tolist()) if channel in group.arrays else None
    stored = Shapes(_canonical(array.chunk), _canonical(array.shard))
    channels = array.shape[1] if channel is not None else None
    return Layout(name, array.dtype, channels, labels, array.shape[-2], array.shape[-1], stored)


def _canonical(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape if len(shape) == 4 else (shape[0], 1, *shape[1:])


def _scenes(group: StoredGroup, layout: Layout, array: TensorStoreArray, labels: list[str]) -> Iterator[Scene]:
    """The images of one variable."""
    attributes = group.arrays[layout.name]["attributes"]
    places = zip(group.values("height").tolist(), group.values("width").tolist(), strict=True)
    every = zip(
        labels,
        places,
        _nodata(group, layout.name, attributes, len(labels)),
        _crs(group, len(labels)),
        _transforms(group, len(labels)),
        _packings(group, layout, attributes, "scale", len(labels)),
        _packings(group, layout, attributes, "offset", len(labels)),
        strict=True,
    )
    for image, (label, (height, width), nodata, crs, transform, scales, offsets) in enumerate(every):
        yield Scene(
            label=label,
            height=height,
            width=width,
            dtype=layout.dtype,
            read=partial(_read, array, image),
            channels=layout.channels,
            labels=layout.labels,
            title=attributes.get("long_name"),
            nodata=nodata,
            crs=crs,
            transform=transform,
            scales=scales,
            offsets=offsets,
        )


def _read(array: TensorStoreArray, image: int, channel: slice, y: slice, x: slice) -> NDArray[Any]:
    """Pixels of one image, shape (channel, y, x)."""
    one = slice(image, image + 1)
    has_channel = len(array.shape) == 4
    pixels: NDArray[Any] = array.read((one, channel, y, x))[0] if has_channel else array.read((one, y, x))
    return pixels


def _nodata(group: StoredGroup, name: str, attributes: Mapping[str, Any], images: int) -> list[float | None]:
    if nodata_array(name) in group.arrays:
        return [None if math.isnan(value) else value for value in group.values(nodata_array(name)).tolist()]
    shared = attributes.get("nodata")
    return [float(shared) if isinstance(shared, str) else shared] * images


def _crs(group: StoredGroup, images: int) -> list[str | None]:
    if "crs" in group.arrays:
        return [text or None for text in group.values("crs").tolist()]
    shared = group.arrays["spatial_ref"]["attributes"]["crs_wkt"] if "spatial_ref" in group.arrays else None
    return [shared] * images


def _transforms(group: StoredGroup, images: int) -> list[Any]:
    if "transform" not in group.arrays:
        return [None] * images
    return [None if math.isnan(row[0]) else tuple(row) for row in group.values("transform").tolist()]


def _packings(group: StoredGroup, layout: Layout, attributes: Mapping[str, Any], kind: str, images: int) -> list[Any]:
    """Scales or offsets of each image."""
    array, name = packing_array(kind, layout.name), packing_attribute(kind)
    if array in group.arrays:
        rows = np.reshape(group.values(array), (images, -1)).tolist()
        return [tuple(row) for row in rows]
    return [tuple(attributes[name]) if name in attributes else None] * images
