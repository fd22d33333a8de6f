"""Parts of a patch set, chosen so that a look at it stays cheap, and its key figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from patchmill.show.accounts import none_kept
from patchmill.show.peeks import chosen, placed_titles
from patchmill.types import counted, shown_bytes, shown_shape

if TYPE_CHECKING:
    from patchmill.reading import PatchSet

Array = np.ndarray[Any, Any]

_MOST_BYTES = 64 * 2**20
"""Read for one picture."""

_MOST_DRAWN = 1600
"""Patches on one picture: beyond, their outlines are all there is to see."""

_MOST_CLASSES = 64
"""Values of a mask; more are shades of gray."""

_MOST_BESIDE = 6
"""Pictures in a row, where one patch has no more."""

_MOST_LOCATED = 2**18
"""Patches of one image among which its middle is looked for."""


def one_variable(batch: Array | Mapping[str, Array], name: str | None = None) -> Array:
    """The patches of one variable, out of what `PatchSet.read` gives.

    Parameters
    ----------
    batch : array or mapping of arrays
        As read.
    name : str, optional
        Which variable; the first without.

    Raises
    ------
    ValueError
        If there is no such variable.

    Examples
    --------
    >>> one_variable({"image": np.zeros((1, 3, 2, 2)), "mask": np.ones((1, 2, 2))}, "mask").shape
    (1, 2, 2)
    """
    if not isinstance(batch, Mapping):
        return batch
    found = batch.get(name or next(iter(batch)))
    if found is None:
        raise ValueError(f"variable must be one of {', '.join(batch)}, got {name!r}")
    return found


def channel_names(patches: PatchSet, name: str | None = None) -> list[str]:
    """What the channels of a variable are called, of the first without `name`; empty where they have no names."""
    found = [each for each in patches.variables if name in {None, each.name}]
    dim = found[0].channel_dim if found else ""
    coords = patches.catalog.coords
    return [str(label) for label in coords[dim].values] if dim in coords else []


def pictures(patches: PatchSet, numbers: Array, name: str | None = None) -> Array:
    """Patches of one variable as they are drawn: what is not measured is masked, and colors are chosen by name.

    Parameters
    ----------
    patches : PatchSet
    numbers : array of int, shape (n,)
    name : str, optional
        Which variable; the first without.

    Returns
    -------
    masked array, shape (n, channel, y, x)
        Red, green and blue where names of channels tell which these are, else all channels; (n, y, x) without channels.

    Raises
    ------
    ValueError
        If there is no such variable.
    """
    from patchmill.show.figures import color_channels

    pixels = one_variable(patches.read(numbers, masked=True), name)
    colors = color_channels(channel_names(patches, name)) if pixels.ndim == 4 else None
    return pixels if colors is None else pixels[:, list(colors)]


def drawn_limits(pixels: Array) -> tuple[float, float]:
    """What of some pictures is drawn black and white; of few classes without channels the least and the greatest.

    Parameters
    ----------
    pixels : array, shape (n, channel, y, x) or (n, y, x)
        As `pictures` gives them.

    Examples
    --------
    >>> drawn_limits(np.array([[[0, 4]]], "uint8")), drawn_limits(np.array([[[[0, 4]]]], "uint8"))
    ((0.0, 4.0), (0.0, 255.0))
    """
    from patchmill.show.figures import limits, measured

    if pixels.ndim == 3 and pixels.dtype.kind in "ui":
        known = measured(pixels)
        low, high = (int(known.min()), int(known.max())) if known.size else (0, 1)
        if high - low < _MOST_CLASSES:
            return float(low), float(high)
    return limits(list(pixels))


def side_by_side(patches: PatchSet, numbers: Array) -> tuple[list[Array], list[str], int]:
    """All variables of some patches beside each other, such as an image and its mask, for `gallery` with drawn=(0, 1).

    Parameters
    ----------
    patches : PatchSet
    numbers : array of int, shape (n,)

    Returns
    -------
    pictures : list of arrays, shape (3, y, x), between 0 and 1
        Of the first patch each variable, then of the second; every variable with limits of its own.
    titles : list of str
    columns : int
        How many stand side by side, so that no patch is torn apart.
    """
    from patchmill.show.figures import rendered

    drawn = {}
    for name in (each.name for each in patches.variables):
        pixels = pictures(patches, numbers, name)
        low, high = drawn_limits(pixels)
        drawn[name] = [np.moveaxis(rendered(each, low=low, high=high), -1, 0) for each in pixels]
    image, origins = patches.locate(numbers)
    names = None if patches.names is None else patches.names.tolist()
    places = placed_titles(names, image.tolist(), origins)
    order = [(at, name) for at in range(len(places)) for name in drawn]
    titles = [f"{name} of {places[at]}" for at, name in order]
    return [drawn[name][at] for at, name in order], titles, len(drawn) * max(1, _MOST_BESIDE // len(drawn))


def gray_note(pixels: Any) -> str:
    """What a caption says of pictures in which something is not measured, else nothing.

    Examples
    --------
    >>> gray_note(np.ma.masked_equal([[0, 1]], 0)), gray_note(np.ones((2, 2)))
    (' What is not measured is light gray.', '')
    """
    return " What is not measured is light gray." if any(np.ma.is_masked(each) for each in pixels) else ""


def some_patches(patches: PatchSet, count: int, seed: int = 0) -> Array:
    """Numbers of at most `count` patches chosen at random, fewer where they are very large.

    Parameters
    ----------
    patches : PatchSet
    count : int
        At least one.
    seed : int
        Another number, other patches.

    Raises
    ------
    ValueError
        If `count` is less than one.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    return chosen(len(patches), min(count, _affordable(patches)), seed)


def patches_of_image(patches: PatchSet, image: int | None = None) -> tuple[int, Array]:
    """Which image to look at, and the numbers of its patches; of very many, those of the middle.

    Parameters
    ----------
    patches : PatchSet
        With at least one patch.
    image : int, optional
        Number of the image; without, the first of those with most patches.

    Raises
    ------
    ValueError
        If there is no such image, or it has no patch.
    """
    counts = patches.numbering.per_image
    if not counts.any():
        raise ValueError(f"{kept_of(patches)} patches were kept, so no image has any: choose another set")
    if image is None:
        image = int(np.argmax(counts))
    if not 0 <= image < len(counts):
        raise ValueError(f"image must be a number from 0 to {len(counts) - 1}, got {image}")
    if not counts[image]:
        raise _without_patches(patches, image)
    first, count = int(counts[:image].sum()), int(counts[image])
    most = min(_MOST_DRAWN, _affordable(patches))
    return image, first + np.arange(count) if count <= most else _in_the_middle(patches, first, count, isqrt(most))


def _without_patches(patches: PatchSet, image: int) -> ValueError:
    positions = int(patches.grids.counts[image].prod())
    if positions:
        return ValueError(f"none of the {positions:,} patches of image {image} was kept, choose another one")
    return ValueError(f"image {image} is smaller than a patch and has none, choose another one")


def _in_the_middle(patches: PatchSet, first: int, count: int, side: int) -> Array:
    """Of an image's `count` patches from number `first` on, those in a square of `side` x `side` positions."""
    numbers = first + _middle(count, _MOST_LOCATED)
    _, position = patches.numbering.locate(numbers)
    corner = np.floor(np.median(position, axis=0) - (side - 1) / 2)
    inside = ((position >= corner) & (position < corner + side)).all(axis=1)
    # Where a hole is in the middle, neighbors in number do.
    return numbers[inside] if inside.any() else first + _middle(count, side * side)


def kept_of(patches: PatchSet) -> str:
    """How many patches there are of how many positions: ``"89 of 172"``, where some were not kept."""
    return f"{len(patches):,} of {len(patches.grids):,}"


def patch_figures(patches: PatchSet) -> dict[str, Any]:
    """The figures of a patch set that a person wants to know, by what they are."""
    dropped = len(patches) < len(patches.grids)
    kinds = dict.fromkeys(str(variable.dtype) for variable in patches.variables)
    channels = patches.variables[0].channels
    shape = patches.grid.patch_shape
    return {
        "patches": len(patches),
        **({"kept": kept_of(patches)} if dropped else {}),
        "images": len(patches.sizes),
        "patch": f"{shown_shape((channels, *shape) if channels else shape)} {', '.join(kinds)}",
        "step": shown_shape(patches.grid.step),
        "raw size": shown_bytes(patches.nbytes),
    }


def value_figures(values: Array) -> dict[str, Any]:
    """Range and mean of values, by what they are; nothing where all are masked or not finite.

    Examples
    --------
    >>> value_figures(np.array([1.0, 4.0, np.nan]))
    {'values': '1 to 4', 'mean': 2.5}
    """
    from patchmill.show.figures import measured

    known = measured(values)
    if not known.size:
        return {}
    return {"values": f"{known.min():.4g} to {known.max():.4g}", "mean": known.mean(dtype=_wide(known.dtype)).item()}


def _wide(dtype: np.dtype[Any]) -> np.dtype[Any]:
    # As `inspect` adds: single precision over 10**7 pixels differs in the digits that people compare.
    return np.dtype("complex128" if dtype.kind == "c" else "float64")


def too_small(patches: PatchSet) -> list[tuple[str, str]]:
    """Images that gave no patch, by name, with the reason."""
    span = shown_shape(patches.grid.span)
    names = patches.names
    return [
        (
            str(names[i]) if names is not None else f"image {i}",
            f"it has {shown_shape(patches.sizes[i].tolist())} pixels, a patch needs {span}",
        )
        for i in patches.grids.too_small
    ]


def without_patches(patches: PatchSet) -> list[str]:
    """What a person should not overlook: that images gave no patch, that no patch was kept; a sentence each."""
    none = none_kept(len(patches), len(patches.grids))
    return [*_too_small_sentences(patches), *([f"{none}, so the patch set is empty"] if none else [])]


def _too_small_sentences(patches: PatchSet) -> list[str]:
    names = patches.too_small
    if not names:
        return []
    of = f"{len(names):,} of {counted(len(patches.sizes), 'image')}"
    gave = "is smaller than a patch and gave none" if len(names) == 1 else "are smaller than a patch and gave none"
    return [f"{of} {gave}: {listed(names)}"]


def listed(names: Sequence[str]) -> str:
    """The first few names, and how many more there are.

    Examples
    --------
    >>> listed(list("abcdefg"))
    'a, b, c, d, e and 2 more'
    """
    return ", ".join(names[:5]) + (f" and {len(names) - 5:,} more" if len(names) > 5 else "")


def _affordable(patches: PatchSet) -> int:
    return int(max(1, _MOST_BYTES * len(patches) // max(1, patches.nbytes)))


def _middle(count: int, most: int) -> Array:
    length = min(count, most)
    return np.arange(length) + (count - length) // 2
