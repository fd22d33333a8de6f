"""Which images go together: one dtype, one set of channels, one canvas for each variable. Pure decisions.

The first image decides dtype and channels; those that differ are named with their reason. Sizes may differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from patchmill.ingesting.pairing import IMAGE, Candidate
from patchmill.ingesting.scenes import Scene
from patchmill.planning import Shapes, image_shapes
from patchmill.types import shown_shape


@dataclass(frozen=True, slots=True)
class Layout:
    """One variable of the store.

    Parameters
    ----------
    name : str
    dtype : numpy.dtype
    channels : int, optional
        None without such an axis.
    labels : tuple of str, optional
        Names of the channels.
    height, width : int
        Of the canvas, pixels.
    stored : Shapes, optional
        Chunk and shard of a store that exists already, which keeps them and its axes whatever comes later.
    """

    name: str
    dtype: np.dtype[Any]
    channels: int | None
    labels: tuple[str, ...] | None
    height: int
    width: int
    stored: Shapes | None = None

    @property
    def shapes(self) -> Shapes:
        """Chunk and shard along (image, channel, y, x), with 1 where there are no channels."""
        return self.stored or self.chosen

    @property
    def chosen(self) -> Shapes:
        """What a store of this canvas gets that is written in one go."""
        shapes = image_shapes(self.channels, (self.height, self.width), self.dtype.itemsize)
        return shapes if self.channels is not None else Shapes(_with_channel(shapes.chunk), _with_channel(shapes.shard))


def _with_channel(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[0], 1, *shape[1:])


@dataclass(frozen=True, slots=True)
class Agreement:
    """What all images agree on.

    Parameters
    ----------
    layouts : tuple of Layout
        Of the variables; empty where no image is left.
    accepted : tuple of int
        Numbers of the candidates that agree.
    reasons : dict
        Number of each other candidate to why it does not.
    """

    layouts: tuple[Layout, ...]
    accepted: tuple[int, ...]
    reasons: Mapping[int, str]


_SHARED = 128 * 2**20
"""Bytes that the images of one shard may have together, once a canvas has grown: they are held until it is written."""


def agree(
    candidates: Sequence[Candidate],
    failed: Mapping[int, str],
    names: tuple[str, ...] | None,
    standing: Sequence[Layout] = (),
    place: str = "",
) -> Agreement:
    """Find what the candidates agree on, as if those that failed had never been listed.

    Parameters
    ----------
    candidates : sequence of Candidate
    failed : mapping
        Number of each candidate that could not be decoded, to the reason.
    names : tuple of str, optional
        Names of the image's channels that replace those of the files.
    standing : sequence of Layout
        Of the store that the images are appended to; then it decides what the first image would.
    place : str
        Of that store, for people.

    Raises
    ------
    ValueError
        If `names` are not as many as the channels.
    """
    layouts = {layout.name: layout for layout in standing}
    first = ("the store", place)
    accepted, reasons = [], {}
    for number, candidate in enumerate(candidates):
        if number in failed:
            continue
        if not layouts:
            layouts = {name: _first(name, scene, names) for name, scene in candidate.scenes.items()}
            first = ("the first image", candidate.shown)
        reason = _difference(candidate, layouts, first, relabeled=names is not None)
        grown = {name: _grown(layouts[name], scene) for name, scene in candidate.scenes.items()}
        reason = reason or _too_large(candidate, grown.values())
        if reason is None:
            accepted.append(number)
            layouts = grown
        else:
            reasons[number] = reason
    return Agreement(tuple(_settled(layout) for layout in layouts.values()), tuple(accepted), reasons)


def _first(name: str, scene: Scene, names: tuple[str, ...] | None) -> Layout:
    labels = scene.labels
    if name == IMAGE and names is not None:
        labels = names
        if len(names) != (scene.channels or 1):
            raise ValueError(f"channels names {len(names)} channels, and the first image has {scene.channels or 1}")
    return Layout(name, scene.dtype, scene.channels, labels, scene.height, scene.width)


def _difference(
    candidate: Candidate, layouts: Mapping[str, Layout], first: tuple[str, str], *, relabeled: bool
) -> str | None:
    """Why a candidate does not go with the first one, None where it does."""
    for name, scene in candidate.scenes.items():
        layout = layouts[name]
        what = "" if name == IMAGE else f"as {name!r} "
        if scene.dtype != layout.dtype:
            return f"has {what}another dtype, {scene.dtype}, than {first[0]} ({layout.dtype}, {first[1]})"
        mine, its = scene.channels or 1, layout.channels or 1
        if mine != its:
            return f"has {what}other channels, {_count(mine)}, than {first[0]} ({_count(its)}, {first[1]})"
        named = scene.labels is not None and layout.labels is not None and not (relabeled and name == IMAGE)
        if named and scene.labels != layout.labels:
            here, before = (", ".join(labels or ()) for labels in (scene.labels, layout.labels))
            return f"has {what}other channels, {here}, than the images before it ({before}): name them with channels"
    return None


def _count(channels: int) -> str:
    return "one channel" if channels == 1 else f"{channels} channels"


def _too_large(candidate: Candidate, grown: Iterable[Layout]) -> str | None:
    """Why a canvas must not grow so far, None where it may: what shares a shard has to fit into memory together."""
    for layout in grown:
        together = layout.shapes.shard[0]
        nbytes = together * (layout.channels or 1) * layout.height * layout.width * layout.dtype.itemsize
        if layout.stored is not None and together > 1 and nbytes > _SHARED:
            scene = candidate.scenes[layout.name]
            return (
                f"has {shown_shape((scene.height, scene.width))} pixels, and the store was begun with images so small "
                f'that {together} of them share an object: use another target, or mode="overwrite"'
            )
    return None


def _grown(layout: Layout, scene: Scene) -> Layout:
    return replace(
        layout,
        channels=scene.channels if layout.channels is None and layout.stored is None else layout.channels,
        labels=scene.labels if layout.labels is None else layout.labels,
        height=max(layout.height, scene.height),
        width=max(layout.width, scene.width),
    )


def _settled(layout: Layout) -> Layout:
    """A further variable, such as a mask, has no axis for a single channel."""
    if layout.name != IMAGE and layout.channels == 1:
        return replace(layout, channels=None, labels=None)
    return layout
