"""Dropping patches by content while cutting, transforms and casts on the way: against NumPy on the finished patches."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import patchmill
from cuts import CUTS, array_objects, expected_patches, pixels, tiny_shards  # noqa: F401 - a fixture
from patchmill.cutting import tasks
from patchmill.patches.views import source_pixels  # noqa: F401
from patchmill.planning import shapes


def bright(patches):
    """Patches whose first channel has a mean above the middle."""
    return patches[:, 0].mean(axis=(-2, -1)) > 127


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cut=CUTS,
    layout=st.sampled_from(["patches", "canvas"]),
    by=st.sampled_from(["function", "condition"]),
    shape=st.tuples(st.integers(1, 4), st.integers(1, 2), st.integers(5, 20), st.integers(5, 20)),
)
def test_what_is_dropped_is_gone_and_known(tmp_path_factory, tiny_shards, cut, layout, by, shape):  # noqa: F811
    image = pixels(shape, "uint8")
    everything = expected_patches(image, cut)
    if not len(everything):
        return
    place = tmp_path_factory.mktemp("keep") / "set.zarr"
    ps = patchmill.write_patches(
        image, place, **cut, layout=layout, keep=bright if by == "function" else "max >= 250", statistics=True
    )
    whole = patchmill.write_patches(image, place.with_name("whole.zarr"), **cut, statistics=True).catalog
    if by == "function":
        kept = bright(everything)
    else:  # of pixels inside the image
        exists = whole["exists"].values
        kept = (whole["stat_max"].values >= 250).all(axis=1)[exists]
    assert len(ps) == kept.sum()
    if len(ps):
        np.testing.assert_array_equal(ps.read(np.arange(len(ps))), everything[kept])
    catalog = ps.catalog
    np.testing.assert_array_equal(catalog["exists"] | catalog["dropped"], whole["exists"])
    assert not (catalog["exists"] & catalog["dropped"]).any()
    for name in ("valid_fraction", "stat_mean", "stat_max"):
        np.testing.assert_array_equal(catalog[name], whole[name])
    if layout == "patches":
        flat = zarr.open_group(place, mode="r")["patches"][...]
        mask = np.broadcast_to(catalog["exists"].values[:, None, :, :, None, None], flat.shape)
        assert not flat[~mask].any()


@pytest.mark.parametrize("layout", ["patches", "canvas"])
def test_a_function_gets_some_rows_of_all_variables_at_a_time(tmp_path, monkeypatch, layout):
    images = pixels((3, 50, 60), "uint8")
    data = xr.Dataset({name: (("time", "y", "x"), images + n) for n, name in enumerate(["a", "b", "c"])})
    handed = []

    def keep(patches):
        handed.append(sum(each.nbytes for each in patches.values()))
        return patches["b"].max(axis=(1, 2, 3)) > patches["c"].max(axis=(1, 2, 3))

    arguments = {"patch_shape": 4, "step": 3, "edge": "pad", "layout": layout, "keep": keep}
    once = patchmill.write_patches(data, tmp_path / "once.zarr", **arguments)
    assert 0 < len(once) < once.catalog["exists"].size
    assert max(handed) > 10_000
    for most in (10_000, 1):
        handed.clear()
        monkeypatch.setattr(tasks, "HANDED", most)
        again = patchmill.write_patches(data, tmp_path / f"{most}.zarr", **arguments)
        assert max(handed) <= max(most, 3 * 20 * 16 * 3)
        np.testing.assert_array_equal(again.catalog["exists"], once.catalog["exists"])
    assert array_objects(tmp_path / "1.zarr") == array_objects(tmp_path / "once.zarr")


@pytest.mark.parametrize("read", ["region", "overlap"])
@pytest.mark.parametrize("mode", ["reflect", "symmetric"])
def test_a_function_sees_the_patches_that_the_set_gives(tmp_path, monkeypatch, mode, read):
    monkeypatch.setattr(shapes, "_SHARD", 64)
    seen = set()

    def keep(patches):
        seen.update(each.tobytes() for each in patches)
        return np.ones(len(patches), bool)

    arguments = {"edge": "pad", "pad_mode": mode, "layout": "canvas", "keep": keep, "tuning": {"read": read}}
    ps = patchmill.write_patches(pixels((1, 16, 16), "uint16"), tmp_path / "set.zarr", 5, **arguments)
    assert len(ps) == 16
    assert {each.tobytes() for each in ps.read(np.arange(len(ps)))} <= seen


def test_dropped_patches_take_no_space(tmp_path):
    image = np.random.default_rng(0).integers(0, 60_000, (1, 2, 512, 512)).astype("uint16")
    image[..., 256:] = 0
    sizes = {}
    for keep in (None, "std > 0"):
        ps = patchmill.write_patches(image, tmp_path / f"{keep}.zarr", 64, 64, keep=keep)
        sizes[keep] = sum(p.stat().st_size for p in (tmp_path / f"{keep}.zarr" / "patches").rglob("*") if p.is_file())
    assert len(ps) == 32
    none = patchmill.write_patches(image[..., 256:], tmp_path / "none.zarr", 64, 64, keep="std > 0")
    assert len(none) == 0
    assert not zarr.open_group(tmp_path / "none.zarr")["patches"][...].any()
    assert sum(p.stat().st_size for p in (tmp_path / "none.zarr" / "patches" / "c").rglob("*") if p.is_file()) < 10_000


def test_a_condition_that_asks_for_what_is_not_there_writes_nothing(tmp_path):
    with pytest.raises(ValueError, match="stdd"):
        patchmill.write_patches(np.zeros((8, 8)), tmp_path / "set.zarr", 4, keep="stdd > 2")
    assert list(tmp_path.iterdir()) == []


def test_the_only_variable_may_be_named(tmp_path):
    image = pixels((1, 2, 40, 40), "uint8")
    bare = patchmill.write_patches(image, tmp_path / "set.zarr", 8, keep="any(max > 250) and valid_fraction > 0")
    named = patchmill.write_patches(
        image, tmp_path / "set.zarr", 8, keep='any(image.max > 250) and "image".max[0] >= 0 and valid_fraction > 0',
        mode="overwrite",
    )  # fmt: skip
    assert 0 < len(bare) == len(named) < 25
    again = patchmill.write_patches(image, tmp_path / "again.zarr", 8, keep="image.std > 2")
    assert again.stored.own["request"]["keep"] == {"condition": "std > 2"}
    with pytest.raises(ValueError, match=r"unknown name; there are .*: 'mask.std'"):
        patchmill.write_patches(image, tmp_path / "other.zarr", 8, keep="mask.std > 2")


def half(patches):
    return patches.astype("float32") / 2


half.pointwise = True


def centered(patches):
    return patches - patches.mean(axis=(-2, -1), keepdims=True, dtype="float32")


def mixing(patches):
    return patches - patches.mean(dtype="float32")


@pytest.mark.parametrize("pointwise", [True, False])
def test_functions_are_tried_on_few_patches(tmp_path, monkeypatch, pointwise):
    """They are called several times for it, for which a plan leaves no room."""
    monkeypatch.setattr(tasks, "_TRIED", set())
    seen, real = [], tasks.check_alone
    monkeypatch.setattr(tasks, "check_alone", lambda what, given: (seen.append(given.shape), real(what, given))[1])

    def brighter(patches):
        return patches + 1

    brighter.pointwise = pointwise
    image = np.random.default_rng(0).integers(0, 99, (3, 2, 70, 90)).astype("uint16")
    patchmill.write_patches(image, tmp_path / "set.zarr", (8, 12), 4, transform=brighter)
    assert seen == [(2 if pointwise else 4, 2, 8, 12)]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cut=CUTS,
    layout=st.sampled_from(["patches", "canvas"]),
    transform=st.sampled_from(["scale(0.5, offset=3)", "clip(20, 200)", half, centered, "standardize()"]),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 2), st.integers(5, 20), st.integers(5, 20)),
)
def test_transforms_are_fused_into_the_cut(tmp_path_factory, tiny_shards, cut, layout, transform, shape):  # noqa: F811
    from patchmill.transforms import as_transform

    image = pixels(shape, "uint8")
    everything = expected_patches(image, cut)
    if not len(everything) or (layout == "canvas" and not as_transform(transform).pointwise):
        return
    place = tmp_path_factory.mktemp("transform") / "set.zarr"
    ps = patchmill.write_patches(image, place, **cut, layout=layout, transform=transform, statistics=True)
    np.testing.assert_array_equal(ps.read(np.arange(len(ps))), as_transform(transform)(everything))


def test_casts_have_a_rule_and_do_not_wrap(tmp_path):
    image = np.array([[0.5, 1.5, 2.5, 254.6], [1, 2, 3, 255.0]], "float32")
    ps = patchmill.write_patches(image, tmp_path / "set.zarr", 2, dtype="uint8")
    np.testing.assert_array_equal(ps[1], [[2, 255], [3, 255]])
    assert ps[0].dtype == np.uint8
    with pytest.raises(ValueError, match="clip"):
        patchmill.write_patches(image + 1, tmp_path / "over.zarr", 2, dtype="uint8", transform="scale(1)")
    both = patchmill.write_patches(image + 1, tmp_path / "clip.zarr", 2, dtype="uint8", transform="clip(0, 255)")
    assert both[1].max() == 255


def test_functions_that_mix_patches_or_are_not_pointwise_are_refused(tmp_path):
    image = pixels((1, 40, 40), "uint8")
    with pytest.raises(ValueError, match="mixes patches"):
        patchmill.write_patches(image, tmp_path / "set.zarr", 8, transform=mixing)
    with pytest.raises(
        ValueError, match=r'use layout="patches", or set \S*centered.pointwise = True if it does'
    ) as found:
        patchmill.write_patches(image, tmp_path / "set.zarr", 8, transform=[half, centered], layout="canvas")
    assert "canvas" in str(found.value)
    with pytest.raises(ValueError, match=r'use layout="patches", or give standardize its constants'):
        patchmill.write_patches(image, tmp_path / "set.zarr", 8, transform="standardize()", layout="canvas")


@pytest.mark.parametrize("pointwise", [False, True])
def test_a_function_of_two_dtypes_is_refused_unless_one_is_asked_for(tmp_path, pointwise):
    def shares(patches):
        return patches / 255 if patches.any() else patches

    shares.pointwise = pointwise
    image = pixels((1, 20, 20), "uint8")
    with pytest.raises(ValueError, match=r"shares must return one dtype, got float64 in image and uint8 for zeros: "):
        patchmill.write_patches(image, tmp_path / "set.zarr", 8, transform=shares)
    assert list(tmp_path.iterdir()) == []
    ps = patchmill.write_patches(image, tmp_path / "set.zarr", 8, transform=shares, dtype="float32")
    np.testing.assert_array_equal(ps[0], (image[:, :8, :8] / 255).astype("float32"))


def test_image_and_mask_have_transforms_of_their_own(tmp_path):
    data = xr.Dataset(
        {
            "scene": (("image", "channel", "y", "x"), pixels((2, 3, 30, 30), "uint16")),
            "mask": (("image", "y", "x"), pixels((2, 30, 30), "uint8") // 200),
        }
    )
    ps = patchmill.write_patches(
        data, tmp_path / "set.zarr", 8, 4, transform={"scene": "scale(0.001)"}, dtype={"mask": "int16"},
        keep="mask.mean > 0.1 and scene.valid_fraction >= 0" if False else "mask.mean > 0.1",
    )  # fmt: skip
    first = ps[0]
    assert first["scene"].dtype == np.float32
    assert first["mask"].dtype == np.int16
    means = patchmill.patchify(data["mask"].values, 8, 4).mean(axis=(-2, -1))
    assert len(ps) == (means.astype("float32") > 0.1).sum()
    with pytest.raises(ValueError, match="which of the variables"):
        patchmill.write_patches(data, tmp_path / "other.zarr", 8, 4, transform="scale(2)")


def test_a_resume_with_another_transform_is_refused(tmp_path):
    image = pixels((1, 40, 40), "uint8")
    patchmill.write_patches(image, tmp_path / "set.zarr", 8, transform="scale(2)")
    with pytest.raises(patchmill.PatchmillError, match="transform"):
        patchmill.write_patches(image, tmp_path / "set.zarr", 8, transform="scale(3)")
    with pytest.raises(patchmill.PatchmillError, match="keep"):
        patchmill.write_patches(image, tmp_path / "set.zarr", 8, transform="scale(2)", keep="std > 1")


ASKED = [
    ("valid_fraction >= .9", {"image": {"valid"}, "mask": {"valid"}}),
    ("mask.mean > .4", {"image": {"valid"}, "mask": {"valid", "mean"}}),
    ("image.std > 70 and mask.max > 0", {"image": {"valid", "std"}, "mask": {"valid", "max"}}),
]


@pytest.mark.parametrize(("keep", "asked"), ASKED)
def test_only_the_statistics_that_a_condition_asks_for_are_computed(tmp_path, monkeypatch, keep, asked):
    random, computed, found_out = np.random.default_rng(0), {}, tasks.patch_statistics

    def noted(values, along, nodata, *, fields, **more):
        computed.setdefault("mask" if values.dtype == bool else "image", set()).update(fields)
        return found_out(values, along, nodata, fields=fields, **more)

    image = np.where(random.random((2, 60, 50)) < 0.1, np.nan, random.normal(99, 70, (2, 60, 50)))
    mask = random.random((60, 50)) < 0.45
    source = xr.Dataset({"image": (("channel", "y", "x"), image), "mask": (("y", "x"), mask)})
    whole = patchmill.write_patches(source, tmp_path / "whole", 8, keep=keep, statistics=True)
    monkeypatch.setattr(tasks, "patch_statistics", noted)
    ps = patchmill.write_patches(source, tmp_path / "set", 8, keep=keep, statistics=False)
    assert computed == asked
    assert 0 < len(ps) < len(ps.catalog["exists"].values.ravel())
    np.testing.assert_array_equal(ps.catalog["exists"], whole.catalog["exists"])
    np.testing.assert_array_equal(ps.catalog["valid_fraction"], whole.catalog["valid_fraction"])
