"""A look into stores and patch sets that is cheap however large they are: few pixels, chosen to tell something."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

_MOST_PIXELS = 4096
"""Of an image that is longer, only the middle is read for a thumbnail: thinning by strides decodes every chunk."""


def thumbnail(pixels: Any, shape: tuple[int, int], *, most: int = 256) -> np.ndarray[Any, Any]:
    """An image, every n-th pixel of it along both axes, so that its longer side has at most `most`.

    Of a very large image it is the middle.

    Parameters
    ----------
    pixels : array-like, shape (..., y, x)
        Anything that slices: NumPy, Zarr, xarray, Dask.
    shape : tuple of int
        Extent of the image, (y, x), where the array is larger.
    most : int
        Pixels.

    Examples
    --------
    >>> thumbnail(np.arange(12).reshape(3, 4), (3, 3), most=2)
    array([[ 0,  2],
           [ 8, 10]])
    """
    lengths = [min(n, _MOST_PIXELS) for n in shape]
    firsts = [(n - length) // 2 for n, length in zip(shape, lengths, strict=True)]
    thin = max(1, -(-max(lengths) // most))  # one for both axes: another for each would stretch the picture
    cuts = [slice(first, first + length, thin) for first, length in zip(firsts, lengths, strict=True)]
    return np.asanyarray(pixels[(..., *cuts)])


def chosen(total: int, count: int, seed: int = 0) -> np.ndarray[Any, Any]:
    """At most `count` different numbers below `total`, at random, in order; the same for the same `seed`.

    Examples
    --------
    >>> chosen(3, 5)
    array([0, 1, 2])
    """
    if count >= total:
        return np.arange(total)
    # Drawn until there are enough: of 10**9 patches no permutation is made.
    generator = np.random.default_rng(seed)
    found: set[int] = set()
    while len(found) < count:
        found.update(generator.integers(total, size=count - len(found)).tolist())
    return np.array(sorted(found))


def placed_titles(names: Sequence[Any] | None, image: Sequence[int], origins: np.ndarray[Any, Any]) -> list[str]:
    r"""What to write above patches: of which image, and where in it.

    Examples
    --------
    >>> placed_titles(["retina.jpg"], [0], np.array([[128, 0]]))
    ['retina.jpg\ny 128, x 0']
    """
    return [
        f"{short(str(names[i]) if names is not None else f'image {i}')}\ny {y}, x {x}"
        for i, (y, x) in zip(image, origins, strict=True)
    ]


def short(text: str, length: int = 22) -> str:
    """A name cut to `length` characters, its end kept: it tells files apart.

    Examples
    --------
    >>> short("a_very_long_name_of_a_scene_004.tif", 20)
    'a_very_lo…ne_004.tif'
    """
    text = os.path.basename(text) or text
    half = length // 2
    return text if len(text) <= length else f"{text[: half - 1]}…{text[-half:]}"
