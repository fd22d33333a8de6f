"""Weights: positive, symmetric, products of one profile an axis."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchmill.patches.windows import as_window, weights


@given(st.sampled_from(["hann", "triangle"]), st.lists(st.integers(1, 9), min_size=1, max_size=3))
def test_named_windows(name: str, shape: list[int]):
    found = weights(name, shape)
    assert found.shape == tuple(shape)
    assert (found > 0).all()
    assert (found <= 1).all()
    np.testing.assert_allclose(found, np.flip(found))
    profiles = [weights(name, [n]) for n in shape]
    for index in np.ndindex(*shape):
        assert found[index] == pytest.approx(np.prod([p[i] for p, i in zip(profiles, index, strict=True)]))


@pytest.mark.parametrize("n", [1, 2, 7, 256])
def test_profiles_are_those_of_others_at_the_middles_of_pixels(n):
    """Every second sample of a window twice as fine, whose first sample is 0, is one at the middle of a pixel."""
    np.testing.assert_allclose(weights("hann", [n]), np.hanning(2 * n + 1)[1::2], atol=1e-12)
    np.testing.assert_allclose(weights("triangle", [n]), np.bartlett(2 * n + 1)[1::2], atol=1e-12)


@pytest.mark.parametrize(("name", "step"), [("hann", 4), ("triangle", 4)])
def test_half_overlapping_windows_add_up_to_one(name, step):
    found = weights(name, [2 * step])
    np.testing.assert_allclose(found[:step] + found[step:], 1)


def test_uniform_needs_no_weights():
    assert weights(as_window("uniform", (2, 2)), (2, 2)) is None


def test_own_weights_are_scaled():
    np.testing.assert_array_equal(as_window([[1, 2], [4, 2]], (2, 2)), [[0.25, 0.5], [1, 0.5]])
    assert as_window(np.float32([1e-30, 1e30]), (2,)).min() > 0


def test_weights_beyond_floats_are_refused():
    with pytest.raises(ValueError, match="too many powers of ten"):
        as_window([1e-300, 1e300], (2,))
