"""The eight orientations, against Pillow's own transposing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from patchmill.ingesting.turning import ORIENTATIONS, stored_window, turned, turned_size


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_pixels_turn_as_pillow_turns_them(orientation: int):
    stored = np.arange(5 * 7, dtype=np.uint8).reshape(5, 7)
    image = Image.fromarray(stored)
    image.getexif()[274] = orientation
    expected = np.asarray(ImageOps.exif_transpose(image))
    assert (turned(stored, orientation) == expected).all()
    assert turned_size(orientation, 5, 7) == expected.shape


@given(st.sampled_from(ORIENTATIONS), st.integers(1, 9), st.integers(1, 9), st.data())
def test_a_window_of_the_turned_image_is_the_turned_window_of_the_stored_one(orientation, height, width, data):
    stored = np.arange(height * width).reshape(height, width)
    whole = turned(stored, orientation)
    ys, xs = (slice(*sorted(data.draw(st.lists(st.integers(0, n), min_size=2, max_size=2)))) for n in whole.shape)
    window = stored[stored_window(orientation, *whole.shape, ys, xs)]
    assert (turned(window, orientation) == whole[ys, xs]).all()
