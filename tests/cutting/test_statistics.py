"""Statistics of patches against NumPy's, patch by patch."""

from __future__ import annotations

import warnings

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from patchmill.cutting.statistics import Along, patch_statistics
from patchmill.grid import Axis

AXES = st.builds(
    Axis,
    n=st.integers(1, 30),
    patch=st.integers(1, 7),
    step=st.integers(1, 9),
    dilation=st.integers(1, 3),
    edge=st.sampled_from(["drop", "pad", "shift"]),
)


@st.composite
def parts(draw):
    """A rectangle of positions, and a tile that begins anywhere before it."""
    sides = []
    for _ in range(2):
        axis = draw(AXES)
        assume(len(axis) > 0)
        start = draw(st.integers(0, len(axis) - 1))
        stop = draw(st.integers(start + 1, len(axis)))
        sides.append(Along(axis, start, stop, draw(st.integers(0, min(axis[start], axis[stop - 1])))))
    return sides


def image_of(sides, dtype, holes):
    random = np.random.default_rng(1)
    image = (random.random((2, 3, *(side.axis.n for side in sides))) * 200 - 100 * (dtype[0] in "if")).astype(dtype)
    if holes and dtype[0] == "f":
        image[random.random(image.shape) < 0.4] = np.nan
    return image


@given(
    sides=parts(),
    dtype=st.sampled_from(["u1", "i2", "u2", "f4", "f8", "i4", "u8", "?"]),
    nodata=st.sampled_from([None, 5, 0, float("nan")]),
    holes=st.booleans(),
)
def test_statistics_are_numpys(sides, dtype, nodata, holes):
    image = image_of(sides, dtype, holes)
    nodata = None if dtype == "?" else nodata
    found = patch_statistics(image[:, :, sides[0].begin :, sides[1].begin :], sides, nodata)
    for i in range(sides[0].start, sides[0].stop):
        for j in range(sides[1].start, sides[1].stop):
            patch = image[:, :, sides[0].axis.pixels(i), sides[1].axis.pixels(j)].astype("f8")
            patch[patch == (np.nan if nodata is None else nodata)] = np.nan
            at = (slice(None), slice(None), i - sides[0].start, j - sides[1].start)
            share = (~np.isnan(patch)).sum((2, 3)) / (sides[0].axis.patch * sides[1].axis.patch)
            np.testing.assert_allclose(found["valid"][at], share)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # numpy's, where all is NaN
                for name in ("mean", "std", "min", "max"):
                    np.testing.assert_allclose(found[name][at], getattr(np, f"nan{name}")(patch, (2, 3)), atol=1e-5)


@given(sides=parts(), dtype=st.sampled_from(["f4", "f8", "u2"]))
def test_the_tile_does_not_change_a_bit(sides, dtype):
    """The same patches seen by a larger tile, one position at a time or together."""
    image = image_of(sides, dtype, holes=True)
    together = patch_statistics(image[:, :, sides[0].begin :, sides[1].begin :], sides, None)
    for i in range(sides[0].start, sides[0].stop):
        side = Along(sides[0].axis, i, i + 1, 0)
        alone = patch_statistics(image[:, :, :, sides[1].begin :], [side, sides[1]], None)
        for name, values in alone.items():
            np.testing.assert_array_equal(values[:, :, 0], together[name][:, :, i - sides[0].start], strict=True)


def test_complex_numbers_have_no_order():
    sides = [Along(Axis(4, 2, 2, 1, "drop"), 0, 2, 0)] * 2
    assert set(patch_statistics(np.zeros((1, 1, 4, 4), "complex64"), sides, None)) == {"valid"}
