"""Numbers of kept patches, beside a flat loop over all positions."""

from __future__ import annotations

import pickle

import cloudpickle
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchmill.errors import CorruptChunkError
from patchmill.grid import ImageGrids, PatchGrid, numbering
from patchmill.grid.numbering import KeptPatches


class Reader:
    """Which positions exist, and what was asked of it."""

    def __init__(self, here):
        self.here = here
        self.asked = []

    def __call__(self, region):
        self.asked.append(region)
        return self.here[region]


@st.composite
def kept(draw: st.DrawFn) -> tuple[KeptPatches, np.ndarray]:
    shape = tuple(draw(st.integers(1, 6)) for _ in range(3))
    share = draw(st.sampled_from([0, 0.1, 0.5, 0.9, 1]))
    here = np.random.default_rng(draw(st.integers(0, 99))).random(shape) < share
    here[draw(st.integers(0, shape[0] - 1))] = False
    grids = ImageGrids.uniform(PatchGrid(shape[1:], 1), shape[0])
    return KeptPatches(grids, here.sum((1, 2)), Reader(here)), here


@given(kept(), st.sampled_from([1, 3, 7, 12, 40, 2**18]), st.randoms())
def test_numbers_are_those_of_the_list(pair, strip, random):
    numbers, here = pair
    expected = [index for index in np.ndindex(here.shape) if here[index]]
    assert len(numbers) == len(expected)
    order = list(range(-len(expected), len(expected))) * 2
    random.shuffle(order)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numbering, "_STRIP", strip)
        image, position = numbers.locate(np.array(order, int))
    found = [(int(i), *map(int, p)) for i, p in zip(image, position, strict=True)]
    assert found == [expected[i] for i in order]


@given(kept())
def test_what_exists_is_what_is_read(pair):
    numbers, here = pair
    assert (numbers.exists(slice(None), slice(1, None), slice(0, -1)) == here[:, 1:, :-1]).all()


def test_strips_are_read_once_and_nothing_else():
    here = np.ones((5, 600, 1000), bool)
    here[:, ::2] = False
    read = Reader(here)
    numbers = KeptPatches(ImageGrids.uniform(PatchGrid((600, 1000), 1), 5), here.sum((1, 2)), read)
    image, position = numbers.locate([300_000, 300_999])
    assert image.tolist() == [1, 1]
    assert position.tolist() == [[1, 0], [1, 999]]
    assert all(region[0] == slice(1, 2) for region in read.asked)
    seen = len(read.asked)
    numbers.locate(np.arange(300_000, 300_500))
    assert len(read.asked) == seen
    assert max(here[region].size for region in read.asked) <= 2**18


def test_many_small_images_are_one_strip():
    here = np.zeros((20_000, 2, 2), bool)
    here[:, 1] = True
    read = Reader(here)
    numbers = KeptPatches(ImageGrids.uniform(PatchGrid((2, 2), 1), 20_000), here.sum((1, 2)), read)
    image, position = numbers.locate(np.arange(len(numbers)))
    assert image.tolist() == [i for i in range(20_000) for _ in range(2)]
    assert (position == [[1, 0], [1, 1]] * 20_000).all()
    assert len(read.asked) == 1


def test_counts_that_say_more_than_exists():
    here = np.zeros((2, 2, 2), bool)
    numbers = KeptPatches(ImageGrids.uniform(PatchGrid((2, 2), 1), 2), np.array([1, 1]), Reader(here))
    with pytest.raises(CorruptChunkError, match="counts more patches than exist"):
        numbers.locate([0])


@pytest.mark.parametrize(("numbers", "error"), [([3], IndexError), ([-4], IndexError), ([0.5], TypeError)])
def test_wrong_numbers_are_named(numbers, error):
    here = np.array([[[True, False, True, True]]])
    kept = KeptPatches(ImageGrids.uniform(PatchGrid((1, 4), 1), 1), np.array([3]), Reader(here))
    with pytest.raises(error):
        kept.locate(numbers)


@pytest.mark.parametrize("library", [pickle, cloudpickle])
def test_numbers_travel(library):
    """Before and after a read, and what was found out stays at home."""
    here = np.random.default_rng(0).random((3, 400, 900)) < 0.5
    numbers = KeptPatches(ImageGrids.uniform(PatchGrid((400, 900), 1), 3), here.sum((1, 2)), Reader(here))
    fresh = len(library.dumps(numbers))
    wanted = np.arange(0, len(numbers), 1000)
    for each in (numbers.locate(wanted), library.loads(library.dumps(numbers)).locate(wanted)):
        np.testing.assert_array_equal(np.column_stack(each), np.argwhere(here)[wanted])
    numbers.read.asked.clear()
    assert len(library.dumps(numbers)) == fresh
