"""Real photographs to begin with, which come with scikit-image's wheel: nothing is downloaded."""

from __future__ import annotations

import os
from importlib.util import find_spec

from patchmill.errors import SourceError

_NAMES = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "motorcycle_left.png",
    "retina.jpg",
    "rocket.jpg",
)


def sample_images() -> list[str]:
    """Paths of eight color photographs: three channels, uint8, from 300 x 451 to 1411 x 1411 pixels.

    Raises
    ------
    SourceError
        If scikit-image is not installed, or came without its photographs.

    Examples
    --------
    >>> [os.path.basename(path) for path in sample_images()][:3]
    ['astronaut.png', 'chelsea.png', 'coffee.png']
    """
    # Found, not imported: reading files needs none of its 300 modules.
    spec = find_spec("skimage")
    if spec is None or spec.origin is None:
        raise SourceError(
            "the packaged sample is made of scikit-image's photographs, and scikit-image is not installed: "
            "pip install 'patchmill[notebooks]'"
        )
    paths = [os.path.join(os.path.dirname(spec.origin), "data", name) for name in _NAMES]
    missing = [os.path.basename(path) for path in paths if not os.path.isfile(path)]
    if missing:
        raise SourceError(
            f"the packaged sample lacks {', '.join(missing)}, which come with scikit-image's wheels: "
            "pip install --force-reinstall scikit-image"
        )
    return paths
