"""What decides whether a patch is kept."""

from __future__ import annotations

import json
import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchmill.cutting.keeping import as_keep
from patchmill.errors import PatchmillError

PATCHES = np.random.default_rng(0).integers(0, 99, (6, 2, 4, 4)).astype("u1")
STATISTICS = {
    "valid_fraction": np.linspace(0.5, 1, 6),
    "std": PATCHES.std(axis=(2, 3)),
    "mean": PATCHES.mean(axis=(2, 3)),
}


def bright(patches):
    return patches.mean(axis=(1, 2, 3)) > 50


def test_nothing_keeps_all():
    assert as_keep(None) is None


@pytest.mark.parametrize("value", ["valid_fraction >= 0.75 and any(std > 28)", bright])
@given(cuts=st.sets(st.integers(0, 6)))
def test_no_split_into_batches_changes_an_answer(value, cuts):
    keep = as_keep(value)
    together = keep(STATISTICS, PATCHES, channels=["a", "b"])
    assert together.shape == (6,)
    assert 0 < together.sum() < 6
    edges = sorted(cuts | {0, 6})
    apart = [
        keep({name: each[a:b] for name, each in STATISTICS.items()}, PATCHES[a:b], channels=["a", "b"])
        for a, b in pairwise(edges)
    ]
    np.testing.assert_array_equal(np.concatenate(apart), together)


def test_what_it_needs():
    condition, function, named = as_keep("mask.mean > 2"), as_keep(bright), as_keep("numpy:isfinite")
    assert (condition.needs_statistics, condition.needs_patches, condition.names) == (True, False, ("mask.mean",))
    assert (function.needs_statistics, function.needs_patches, function.names) == (False, True, ())
    assert named.needs_patches
    for each in (condition, function, named):
        assert as_keep(each) is each
        assert json.loads(json.dumps(each.fingerprint)) == each.fingerprint
        assert pickle.loads(pickle.dumps(each)) == each
    with pytest.raises(TypeError, match="there are none"):
        function(STATISTICS)
    with pytest.raises(ValueError, match="unknown name"):
        condition(STATISTICS)


def test_several_variables_come_as_a_dict():
    keep = as_keep(lambda patches: (patches["mask"] > 0).any(axis=(1, 2, 3)))
    masks = np.zeros((6, 1, 4, 4), "u1")
    masks[2] = 1
    assert keep(patches={"image": PATCHES, "mask": masks}).tolist() == [n == 2 for n in range(6)]
    assert keep.check_alone({"image": PATCHES, "mask": masks})
    assert not keep.check_alone({"image": PATCHES * 0, "mask": masks * 0})


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda p: p > 3, r"got shape \(6, 2, 4, 4\)"),
        (lambda p: True, "got builtins.bool"),
        (lambda p: [True] * 6, "got builtins.list"),
        (lambda p: p.mean(axis=(1, 2, 3)), "got float64: compare"),
        (lambda p: p.mean(axis=(1, 2, 3)) * np.nan, "got float64 with NaN among them"),
        (lambda p: np.ones(6, "u1"), "got uint8"),
    ],
)
def test_what_a_function_returns_is_checked(function, message):
    with pytest.raises(ValueError, match=message):
        as_keep(function)(patches=PATCHES)


def test_a_function_that_mixes_or_fails_is_named():
    with pytest.raises(ValueError, match="mixes patches"):
        as_keep(lambda p: p.mean(axis=(1, 2, 3)) >= p.mean()).check_alone(PATCHES)
    with pytest.raises(PatchmillError, match="failed: ZeroDivisionError"):
        as_keep(lambda p: 1 / 0)(patches=PATCHES)
    assert as_keep("std > 2").check_alone(PATCHES)


@pytest.mark.parametrize("value", [3, True, ["std > 2"], {"std": 2}])
def test_other_things_are_refused(value):
    with pytest.raises(TypeError, match="keep must be a condition"):
        as_keep(value)
