"""PatchSet: numbers, batches, catalog, what people see."""

from __future__ import annotations

import re
import shutil
import time

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given
from hypothesis import strategies as st

import patchmill

IMAGE = np.random.default_rng(0).integers(0, 60000, (3, 2, 50, 70), "uint16")


@pytest.fixture(scope="module", params=["stored", "view"])
def ps(request, tmp_path_factory):
    if request.param == "view":
        return patchmill.view_patches(IMAGE, 16, 8, edge="shift")
    place = tmp_path_factory.mktemp("reading") / "set.zarr"
    return patchmill.write_patches(IMAGE, place, 16, 8, edge="shift")


EXPECTED = patchmill.patchify(IMAGE, 16, 8, edge="shift").transpose(0, 2, 3, 1, 4, 5).reshape(-1, 2, 16, 16)


@given(numbers=st.lists(st.integers(-len(EXPECTED), len(EXPECTED) - 1), max_size=20))
def test_batches_in_any_order(ps, numbers):
    np.testing.assert_array_equal(ps.read(numbers), EXPECTED[np.array(numbers, int)])


def test_a_sequence(ps):
    assert len(ps) == len(EXPECTED)
    np.testing.assert_array_equal(ps[5], EXPECTED[5])
    np.testing.assert_array_equal(ps[-1], EXPECTED[-1])
    np.testing.assert_array_equal(ps[np.int64(7)], EXPECTED[7])
    assert sum(1 for _ in ps) == len(ps)
    with pytest.raises(IndexError, match=str(len(ps))):
        ps[len(ps)]
    for wrong in ("a", 1.5, slice(0, 2), [1]):
        with pytest.raises(TypeError, match="read"):
            ps[wrong]


def test_where_patches_come_from(ps):
    image, origin = ps.locate(np.arange(len(ps)))
    for number in (0, 17, len(ps) - 1):
        y, x = origin[number]
        np.testing.assert_array_equal(IMAGE[image[number], :, y : y + 16, x : x + 16], EXPECTED[number])


def test_catalog(ps):
    catalog = ps.catalog.compute()
    assert catalog["exists"].dims == ("image", "grid_y", "grid_x")
    assert int(catalog["exists"].sum()) == len(ps)
    np.testing.assert_array_equal(catalog["origin_y"], list(ps.grid.axes[0]))
    if "stat_mean" in catalog:
        mean = catalog["stat_mean"].transpose("image", "grid_y", "grid_x", "channel").values.reshape(-1, 2)
        np.testing.assert_allclose(mean, EXPECTED.mean((2, 3)), rtol=1e-6)
        assert (catalog["valid_fraction"] == 1).all()


def test_dask_and_xarray(ps):
    array = ps.to_dask()
    assert array.shape == (3, 2, *ps.grid.counts, 16, 16)
    expected = patchmill.patchify(IMAGE, 16, 8, edge="shift")
    np.testing.assert_array_equal(array[1:, 1, 2:4, 3, 5:].compute(), expected[1:, 1, 2:4, 3, 5:])
    data = ps.to_xarray()
    assert isinstance(data, xr.Dataset)
    np.testing.assert_array_equal(data["patches"].isel(image=2, grid_x=slice(1, 5)), expected[2, :, :, 1:5])


def test_reprs(ps):
    assert re.fullmatch(r"<PatchSet: .*135 patches of 2 x 16 x 16 uint16.*>", repr(ps)) or str(len(ps)) in repr(ps)
    assert "\n" not in repr(ps)
    html = ps._repr_html_()
    assert html.count("<svg") == 1
    assert len(html) < 50_000


def test_nothing_of_the_name_reaches_the_html(tmp_path):
    place = tmp_path / "<script>alert(1)<"
    ps = patchmill.write_patches(IMAGE, place, 16)
    assert "<script" not in ps._repr_html_()


def test_padding_of_views_is_the_whole_images():
    for mode in ("constant", "edge", "reflect", "symmetric"):
        view = patchmill.view_patches(IMAGE, 32, 20, edge="pad", pad_mode=mode)
        expected = patchmill.patchify(IMAGE, 32, 20, edge="pad", pad_mode=mode)
        np.testing.assert_array_equal(view.to_dask().compute(), expected)


@pytest.mark.parametrize("place", ["nothing", "folder", "source"])
def test_what_is_not_a_patch_set(tmp_path, place):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a").write_text("a")
    xr.Dataset({"a": (("y", "x"), np.zeros((4, 4)))}).to_zarr(tmp_path / "source", consolidated=False)
    with pytest.raises(patchmill.PatchmillError, match="not a patch set"):
        patchmill.open_patches(tmp_path / place)


def test_the_catalog_of_a_huge_view_is_lazy():
    """Ten billion positions: built at once they would take 10 GB, and computed a part at a time they take little."""
    image = np.broadcast_to(np.uint8(7), (100_000, 100_000))
    ps = patchmill.view_patches(image, 8, 1, edge="pad")
    began = time.monotonic()
    catalog, data = ps.catalog, ps.to_xarray()
    assert time.monotonic() - began < 5
    for each in (catalog["exists"], data["exists"]):
        assert each.shape == (1, *ps.grid.counts)
        assert each.chunks is not None
        assert each.data.npartitions < 10_000
        assert each[0, -3:, ::30_000].values.all()


def test_the_catalog_of_images_that_differ(tmp_path):
    images = [np.ones((20, 24), "uint8"), np.ones((9, 24), "uint8")]
    for at, image in enumerate(images):
        np.save(tmp_path / f"{at}.npy", image)
    patchmill.ingest(tmp_path, tmp_path / "source.zarr")
    ps = patchmill.view_patches(tmp_path / "source.zarr", 5, 4)
    exists = ps.catalog["exists"]
    np.testing.assert_array_equal(exists, ps.grids.exists(*(slice(None),) * 3))
    np.testing.assert_array_equal(exists[1:, 1, ::2], ps.grids.exists(*(slice(None),) * 3)[1:, 1, ::2])
    assert int(exists.sum()) == len(ps)


@pytest.mark.parametrize("layout", ["patches", "canvas"])
@pytest.mark.parametrize("keep", [None, "mean > 100"])
def test_a_set_that_grew_since_it_was_opened(tmp_path, layout, keep):
    """Who reads the old part goes on as if nothing were new."""
    image = np.random.default_rng(0).integers(0, 255, (5, 2, 20, 17), "uint8")
    dims = ("image", "channel", "y", "x")
    array = zarr.create_array(tmp_path / "source.zarr", data=image[:2], chunks=(1, 2, 20, 17), dimension_names=dims)
    arguments = {"patch_shape": 4, "edge": "shift", "layout": layout, "keep": keep, "statistics": True}
    ps = patchmill.write_patches(tmp_path / "source.zarr", tmp_path / "set.zarr", **arguments)
    before, patches = ps.to_xarray().load(), ps.read(np.arange(len(ps)))
    array.resize(image.shape)
    array[2:] = image[2:]
    grown = patchmill.write_patches(tmp_path / "source.zarr", tmp_path / "set.zarr", **arguments, mode="append")
    assert dict(ps.catalog.sizes) == {**grown.catalog.sizes, "image": 2}
    xr.testing.assert_equal(ps.to_xarray().load(), before)
    np.testing.assert_array_equal(ps.read(np.arange(len(ps))), patches)
    assert grown.to_xarray().sizes["image"] == 5


def test_masks_and_slices_are_told_how_numbers_are_made_of_them():
    ps = patchmill.view_patches(np.arange(36).reshape(6, 6), 2)
    with pytest.raises(TypeError, match=r"got bool: of a mask they are numpy\.flatnonzero\(mask\)$"):
        ps.read(np.ones(9, bool))
    with pytest.raises(TypeError, match=r"got slice\(0, 3\): give range\(0, 3\)$"):
        ps.read(slice(0, 3))
    with pytest.raises(TypeError, match=r"read\(range\(0, 9, 2\)\)$"):
        ps[::2]
    with pytest.raises(TypeError, match=r"read\(indices\)$"):
        ps["a"]
    assert ps.read(range(3)).shape == (3, 2, 2)


def test_what_a_set_gives_away_changes_nothing_in_it():
    data = xr.Dataset(
        {"image": (("image", "y", "x"), np.ones((2, 8, 8)))},
        coords={
            "height": ("image", [6, 8]),
            "width": ("image", [6, 8]),
            "nodata_image": ("image", [1.0, 2.0]),
            "transform": (("image", "affine"), np.ones((2, 6))),
        },
    )
    ps, before = patchmill.view_patches(data, 4, 2), data.copy(deep=True)
    for array in ps.catalog.coords.values():
        array.values[...] = 7
    xr.testing.assert_identical(data, before)
    assert ps.sizes.tolist() == [[6, 6], [8, 8]]
    with pytest.raises(ValueError, match="read-only"):
        ps.sizes[:] = 3


def test_a_pad_value_that_nothing_is_padded_with_may_be_any(tmp_path):
    image = np.zeros((8, 8), "uint8")
    for how in ({"edge": "drop"}, {"edge": "pad", "pad_mode": "reflect"}):
        view = patchmill.view_patches(image, 4, 3, pad_value=-1, **how)
        stored = patchmill.write_patches(image, tmp_path / f"{how['edge']}.zarr", 4, 3, pad_value=-1, **how)
        np.testing.assert_array_equal(view.read([0, -1]), stored.read([0, -1]))


def test_the_catalog_of_a_set_that_was_removed(tmp_path):
    ps = patchmill.write_patches(np.zeros((8, 8)), tmp_path / "set.zarr", 4)
    shutil.rmtree(tmp_path / "set.zarr")
    with pytest.raises(patchmill.errors.NotAPatchSetError, match="was removed since it was opened"):
        ps.to_xarray()


def test_a_variable_of_a_view_hides_no_field_of_the_catalog():
    data = xr.Dataset({name: (("y", "x"), np.ones((8, 8))) for name in ("exists", "other")})
    ps = patchmill.view_patches(data, 4)
    assert ps.read([0])["exists"].all()
    with pytest.raises(ValueError, match="rename the variable in the source"):
        ps.to_xarray()
