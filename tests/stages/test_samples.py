"""The photographs that come along."""

from __future__ import annotations

import importlib.util
import os

import numpy as np
import pytest
from PIL import Image

from patchmill.errors import SourceError
from patchmill.sources import sample
from patchmill.stages import patches_or_sample, source_or_sample


def test_they_are_color_photographs_of_different_sizes_some_of_them_large():
    sizes = []
    for path in sample.sample_images():
        with Image.open(path) as image:
            pixels = np.asarray(image)
        assert (pixels.dtype, pixels.shape[2:]) == (np.uint8, (3,))
        sizes.append(pixels.shape[:2])
    assert len(set(sizes)) > 5
    assert max(sizes) == (1411, 1411)


def test_without_scikit_image_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(sample, "find_spec", lambda _: None)
    with pytest.raises(SourceError, match=r"pip install 'patchmill\[notebooks\]'"):
        sample.sample_images()


def test_a_photograph_that_is_missing_is_named(monkeypatch):
    found = importlib.util.find_spec("skimage")
    real = os.path.isfile
    monkeypatch.setattr(sample, "find_spec", lambda _: found)
    monkeypatch.setattr(os.path, "isfile", lambda path: not path.endswith("coffee.png") and real(path))
    with pytest.raises(SourceError, match=r"lacks coffee\.png"):
        sample.sample_images()


def test_what_is_given_is_worked_on():
    assert source_or_sample("/a/b.zarr") == patches_or_sample("/a/b.zarr") == "/a/b.zarr"
