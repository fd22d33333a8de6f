"""Named transforms: their laws, against NumPy in double precision."""

from __future__ import annotations

import json
import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchmill import patchify
from patchmill.transforms import as_transform, clip, named, scale, standardize

DTYPES = ["?", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"]
TEXTS = [
    "scale(0.25)",
    "scale(3, offset=[0, -1.5])",
    "clip(2, 90)",
    "clip(low=[1, 2])",
    "clip(high=7.5)",
    "standardize(mean=[1, 2], std=[3, 4])",
    "standardize()",
    "clip(0, 50) | standardize() | scale(2)",
]


def batch(seed, n, dtype, y, x):
    random = np.random.default_rng(seed)
    if dtype == "?":
        return random.random((n, 2, y, x)) < 0.5
    values = random.integers(0, 120, (n, 2, y, x)).astype(dtype)
    if dtype[0] == "f":
        values[random.random(values.shape) < 0.1] = np.nan
    return values


def usable(text, dtype):
    return not (np.dtype(dtype) == bool and "clip" in text)


PATCHES = st.builds(
    batch,
    st.integers(0, 99),
    st.integers(1, 9),
    st.sampled_from(DTYPES),
    st.integers(1, 40),
    st.integers(1, 40),
)


@pytest.mark.parametrize("text", ["scale(2)", "clip(1, 5)", "standardize(mean=1, std=2)", "standardize()"])
@pytest.mark.parametrize("dtype", [each for each in DTYPES if each != "?"])
def test_the_order_of_bytes_changes_nothing(text, dtype):
    transform, patches = as_transform(text), batch(0, 2, dtype, 5, 4)
    swapped = patches.astype(patches.dtype.newbyteorder("S"))
    assert transform.result_dtype(swapped.dtype, 2, (5, 4)) == transform.result_dtype(patches.dtype, 2, (5, 4))
    assert transform(swapped).dtype == transform(patches).dtype
    assert transform(swapped).tobytes() == transform(patches).tobytes()


@given(patches=PATCHES, text=st.sampled_from(TEXTS), data=st.data())
def test_no_split_into_batches_changes_a_byte(patches, text, data):
    if not usable(text, patches.dtype):
        return
    transform = as_transform(text)
    together = transform(patches)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(patches)), max_size=4)) | {0, len(patches)})
    apart = [transform(patches[a:b]) for a, b in pairwise(cuts)]
    assert np.concatenate(apart).tobytes() == together.tobytes()
    turned = np.asfortranarray(patches)
    assert transform(turned).tobytes() == together.tobytes()
    assert together.dtype == transform.result_dtype(patches.dtype, 2, patches.shape[-2:])
    assert together.shape == patches.shape


@given(
    seed=st.integers(0, 9),
    dtype=st.sampled_from(DTYPES),
    text=st.sampled_from(TEXTS),
    patch=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    step=st.tuples(st.integers(1, 5), st.integers(1, 5)),
)
def test_pointwise_then_cut_is_cut_then_pointwise(seed, dtype, text, patch, step):
    transform = as_transform(text)
    if not transform.pointwise or not usable(text, dtype):
        return
    tile = batch(seed, 2, dtype, 12, 9)

    def cut(pixels):
        windows = patchify(pixels, patch, step)
        return np.moveaxis(windows, 1, 3).reshape(-1, 2, *patch)

    assert cut(transform(tile)).tobytes() == transform(cut(tile)).tobytes()


def test_only_standardize_by_each_patch_looks_around():
    assert [as_transform(text).pointwise for text in TEXTS] == [True] * 6 + [False] * 2


@pytest.mark.parametrize(
    ("text", "mapping", "made", "own"),
    [
        (
            "scale(0.5, offset=[1, 2])",
            {"scale": {"factor": 0.5, "offset": [1, 2]}},
            scale(0.5, [1, 2]),
            lambda p: (p * np.float32(0.5)).astype("f4") + np.array([1, 2], "f4").reshape(-1, 1, 1),
        ),
        ("clip(3, 50)", {"clip": {"low": 3, "high": "50"}}, clip(3, 50), lambda p: p.clip(3, 50)),
        (
            "standardize([10, 20], std=[2, 4e0])",
            {"standardize": {"mean": [10, 20], "std": ["2", 4.0]}},
            standardize([10, 20], [2, 4]),
            lambda p: (p.astype("f4") - np.array([[[10]], [[20]]], "f4")) / np.array([[[2]], [[4]]], "f4"),
        ),
    ],
)
def test_text_mapping_and_callable_are_one(text, mapping, made, own):
    first, *others = (as_transform(each) for each in (text, mapping, made, [mapping], [text], f" {text} "))
    assert all(other == first and hash(other) == hash(first) for other in others)
    assert all(other.fingerprint == first.fingerprint for other in others)
    assert json.loads(json.dumps(first.fingerprint, allow_nan=False)) == first.fingerprint
    assert pickle.loads(pickle.dumps(first)) == first
    for dtype in ("u1", "i2"):
        patches = batch(0, 3, dtype, 8, 8)
        assert first(patches).tobytes() == as_transform(own)(patches).tobytes()


def test_a_list_is_its_steps_in_order():
    transform = as_transform(["clip(0, 50)", {"scale": {"factor": 2}}, np.negative])
    assert transform == as_transform("clip(0, 50) | scale(2) | numpy:negative")
    assert transform(np.full((1, 1, 1, 1), 99, "u1")).item() == -100
    assert as_transform([]) is as_transform(None) is None


@given(patches=PATCHES)
def test_standardized_patches_have_mean_0_and_std_1(patches):
    found = as_transform("standardize()")(patches).astype("f8")
    for patch, result in zip(patches.astype("f8"), found, strict=True):
        for values, channel in zip(patch, result, strict=True):
            assert (np.isnan(values) == np.isnan(channel)).all()
            measured = values[~np.isnan(values)]
            if not measured.size:
                continue
            if measured.min() == measured.max():
                assert not np.nan_to_num(channel).any()
                continue
            expected = (measured - measured.mean()) / measured.std()
            np.testing.assert_allclose(channel[~np.isnan(channel)], expected, atol=1e-5, rtol=1e-5)


def test_a_patch_of_one_value_is_0_whatever_the_rounding():
    assert not as_transform("standardize()")(np.full((2, 1, 37, 41), 0.1)).any()


def test_slabs_of_standardize_change_nothing(monkeypatch):
    patches = batch(3, 7, "f8", 9, 9)
    together = as_transform("standardize()")(patches)
    monkeypatch.setattr(named, "_SLAB", 2 * 9 * 9 * 2)
    assert as_transform("standardize()")(patches).tobytes() == together.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_precision(dtype):
    single = dtype in {"?", "u1", "i2", "u2", "f2", "f4"}
    for text in ("scale(2)", "standardize()", "standardize(0, 1)"):
        assert as_transform(text).result_dtype(dtype, 2, (4, 4)) == ("f4" if single else "f8")
    assert as_transform("clip(0, 1)").result_dtype(dtype, 2, (4, 4)) == dtype


def test_clip_is_to_what_the_dtype_holds():
    ramp = np.arange(256, dtype="u1").reshape(1, 1, 16, 16)
    np.testing.assert_array_equal(as_transform("clip(-5, 100000)")(ramp), ramp)
    np.testing.assert_array_equal(as_transform("clip(2.5, 7.5)")(ramp), ramp.clip(3, 7))
    big = np.array([[[[2**63 - 1, -(2**63)]]]])
    np.testing.assert_array_equal(as_transform(f"clip({-(2**63)}, {2**63 - 1})")(big), big)
    np.testing.assert_array_equal(as_transform("clip(0, 1)")(ramp > 3), ramp > 3)
    for text in ("clip(300, 400)", "clip(high=-1)", "clip(2.2, 2.8)"):
        with pytest.raises(ValueError, match="clip: "):
            as_transform(text).result_dtype("u1", 1, (2, 2))
    with pytest.raises(ValueError, match="leaves nothing of float16"):
        as_transform("clip(1e5)").result_dtype("f2", 1, (2, 2))
    assert as_transform("clip(high=1e5)")(np.full((1, 1, 1, 1), 3, "f2")).item() == 3


@pytest.mark.parametrize("text", ["scale([1, 2, 3])", "clip([1, 2, 3])", "standardize([1, 2, 3], 1)"])
def test_constants_are_one_a_channel(text):
    with pytest.raises(ValueError, match="3 numbers, the patches have 2 channels"):
        as_transform(text).result_dtype("u1", 2, (4, 4))
    with pytest.raises(ValueError, match="3 numbers, the patches have 2 channels"):
        as_transform(text)(np.zeros((1, 2, 4, 4), "u1"))


def test_complex_is_scaled_and_nothing_else():
    patches = np.full((1, 1, 2, 2), 1 + 2j, "c8")
    assert (as_transform("scale(2, 1)")(patches) == 3 + 4j).all()
    for text in ("clip(0, 1)", "standardize()"):
        with pytest.raises(ValueError, match="real numbers"):
            as_transform(text).result_dtype("c8", 1, (2, 2))
