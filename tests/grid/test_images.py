"""Many images on one canvas: what numbers, positions and origins mean, beside the list of all patches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchmill.grid import Axis, ImageGrids, PatchGrid


@st.composite
def sets(draw: st.DrawFn) -> ImageGrids:
    axes = draw(st.lists(st.from_type(Axis), min_size=1, max_size=2))
    number = draw(st.integers(0, 4))
    sizes = [[draw(st.integers(0, axis.n)) for axis in axes] for _ in range(number)]
    grid = PatchGrid(
        [a.n for a in axes], [a.patch for a in axes], [a.step for a in axes], [a.dilation for a in axes], axes[0].edge
    )
    return ImageGrids(grid, np.array(sizes, np.int64).reshape(number, len(axes)))


def enumerated(grids: ImageGrids) -> list[tuple[int, tuple[int, ...]]]:
    """(image, position) of every patch, in the order in which they are numbered."""
    return [(i, index) for i in range(len(grids.sizes)) for index in grids.of(i).indices()]


@given(sets())
def test_numbers_are_those_of_the_list(grids: ImageGrids):
    expected = enumerated(grids)
    assert len(grids) == len(expected)
    numbers = np.arange(-len(expected), len(expected))
    image, position = grids.locate(numbers)
    assert image.shape == (len(numbers),)
    assert position.shape == (len(numbers), grids.canvas.ndim)
    assert [(int(i), tuple(p.tolist())) for i, p in zip(image, position, strict=True)] == expected + expected


@given(sets())
def test_origins_are_those_of_each_grid(grids: ImageGrids):
    expected = [grids.of(i).origin(index) for i, index in enumerated(grids)]
    found = grids.origins(*grids.locate(np.arange(len(grids))))
    assert [tuple(row) for row in found.tolist()] == expected


@given(sets(), st.data())
def test_exists_says_which_positions_are_listed(grids: ImageGrids, data: st.DataObject):
    here = np.zeros((len(grids.sizes), *grids.canvas.counts), bool)
    for i, index in enumerated(grids):
        here[(i, *index)] = True
    parts = [slice(*sorted((data.draw(st.integers(0, n)), data.draw(st.integers(0, n))))) for n in here.shape]
    assert (grids.exists(*parts) == here[tuple(parts)]).all()
    assert grids.exists(*parts).shape == here[tuple(parts)].shape


@given(sets())
def test_counts_ends_and_what_is_too_small(grids: ImageGrids):
    per_image = [grids.of(i) for i in range(len(grids.sizes))]
    assert grids.counts.tolist() == [list(grid.counts) for grid in per_image]
    assert grids.ends.tolist() == np.cumsum([len(grid) for grid in per_image], dtype=int).tolist()
    assert grids.too_small.tolist() == [i for i, grid in enumerate(per_image) if len(grid) == 0]
    assert grids.differ == any(grid.shape != grids.canvas.shape for grid in per_image)


@given(sets(), st.booleans())
def test_a_total_is_the_sum_of_products_over_axes(grids: ImageGrids, alike: bool):
    if alike:
        grids = ImageGrids.uniform(grids.canvas, len(grids.sizes))
    weights = [3, 5]
    expected = 0
    for image in range(len(grids.sizes)):
        own = grids.of(image).axes
        expected += int(np.prod([weights[at] * len(axis) + axis.n for at, axis in enumerate(own)]))
    assert grids.total(lambda at, axis: weights[at] * len(axis) + axis.n) == expected


def test_uniform_images_number_a_thousand_million_patches():
    grids = ImageGrids.uniform(PatchGrid((10**5 + 7,) * 2, 8, 1), 10**3)
    assert len(grids) == 10**13
    image, position = grids.locate([0, -1, 10**10 + 10**5 + 3])
    assert image.tolist() == [0, 999, 1]
    assert position.tolist() == [[0, 0], [10**5 - 1] * 2, [1, 3]]
    assert not grids.differ


@pytest.mark.parametrize(
    ("numbers", "error", "words"),
    [
        ([0, 36], IndexError, "patch 36 is outside a set of 36 patches"),
        (np.array([2**63], "u8"), IndexError, "patch 9223372036854775808 is outside a set of 36 patches"),
        ([-37], IndexError, "patch -37 is outside a set of 36 patches"),
        ([0.5], TypeError, "patch numbers must be integers, got float64"),
        ([True], TypeError, "patch numbers must be integers, got bool"),
    ],
)
def test_wrong_numbers_are_named(numbers, error, words):
    with pytest.raises(error, match=words):
        ImageGrids.uniform(PatchGrid((4, 4), 2), 4).locate(numbers)


def test_numbers_beyond_any_integer_of_numpy_are_outside():
    grids = ImageGrids.uniform(PatchGrid((9, 9), 3), 1)
    for number in (2**64, 2**70, -(2**70)):
        with pytest.raises(IndexError, match=f"patch {number} is outside a set of 49 patches"):
            grids.locate([0, number])


def test_no_numbers_mean_no_patches():
    image, position = ImageGrids.uniform(PatchGrid((4, 4), 2), 4).locate([])
    assert image.shape == (0,)
    assert position.shape == (0, 2)


@pytest.mark.parametrize("edge", ["drop", "pad", "shift"])
@pytest.mark.parametrize(("step", "dilation"), [(4, 1), (2, 1), (7, 1), (3, 3)])
def test_uncovered_is_the_sum_over_images(edge, step, dilation):
    sizes = np.array([[30, 41], [12, 41], [3, 20], [30, 9], [17, 17], [30, 41]])
    grids = ImageGrids(PatchGrid((30, 41), 4, step, dilation, edge), sizes)
    per_image = [grids.of(at) for at in range(len(sizes))]
    assert grids.uncovered == sum(grid.uncovered for grid in per_image)
    assert grids.pixels == sizes.prod(axis=1).sum()
    whole = ImageGrids.uniform(grids.canvas, 3)
    assert (whole.uncovered, whole.pixels) == (3 * grids.canvas.uncovered, 3 * 30 * 41)
