"""Makes the picture of the README from the packaged sample: python docs/pictures.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

import patchmill
from patchmill.show import gallery, placement
from patchmill.sources.sample import sample_images

FOLDER = Path(__file__).parent / "images"


def main() -> None:
    """Cut one photograph, draw where its patches lie, and some of them."""
    path = next(path for path in sample_images() if "hubble" in path)
    image = np.moveaxis(np.asarray(Image.open(path)), -1, 0)
    patches = patchmill.view_patches(image, 256, 128, edge="shift")
    numbers = np.arange(len(patches))
    _, origins = patches.locate(numbers)
    FOLDER.mkdir(exist_ok=True)
    place = placement(image, origins, (256, 256))
    place.savefig(FOLDER / "placement.png", dpi=110)
    some = gallery(patches.read(numbers[:14]), columns=7)
    some.savefig(FOLDER / "patches.png", dpi=110)


if __name__ == "__main__":
    main()
