"""Looks at patch sets: few patches, but the right ones."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import patchmill
from patchmill.show import (
    channel_names,
    chosen,
    gray_note,
    kept_of,
    one_variable,
    patch_figures,
    patches_of_image,
    picks,
    pictures,
    side_by_side,
    some_patches,
    thumbnail,
    thumbnails,
    too_small,
    value_figures,
)
from patchmill.show.peeks import placed_titles, short


def a_set(shape=(3, 2, 20, 30), patch=(4, 5), step=(2, 5)):
    return patchmill.view_patches(np.arange(np.prod(shape)).reshape(shape), patch, step)


@given(st.integers(1, 10**12), st.integers(1, 40), st.integers(0, 9))
def test_chosen_numbers_are_different_in_order_and_the_same_again(total, count, seed):
    numbers = chosen(total, count, seed)
    assert len(numbers) == min(total, count)
    assert (np.diff(numbers) > 0).all()
    assert 0 <= numbers.min() <= numbers.max() < total
    assert (numbers == chosen(total, count, seed)).all()


@pytest.mark.parametrize("image", [None, 0, 2])
def test_all_patches_of_an_image_are_found(image):
    patches = a_set()
    which, numbers = patches_of_image(patches, image)
    of, _ = patches.locate(np.arange(len(patches)))
    assert which == (image or 0)
    assert numbers.tolist() == np.flatnonzero(of == which).tolist()


def kept_set(place, keep, layout="patches"):
    """Three images of 8 x 10 patches, each patch of one value: its place among all, from 0 to 239."""
    values = np.arange(240, dtype="int16").reshape(3, 1, 8, 10).repeat(2, axis=2).repeat(2, axis=3)
    return patchmill.write_patches(values, place, 2, keep=keep, layout=layout)


@pytest.mark.parametrize("layout", ["patches", "canvas"])
@pytest.mark.parametrize("image", [None, 0, 1])
def test_where_patches_were_dropped_those_kept_of_the_image_are_found(tmp_path, layout, image):
    patches = kept_set(tmp_path / "p.zarr", "mean > 12 and mean < 101 or mean == 230", layout)
    which, numbers = patches_of_image(patches, image)
    of, _ = patches.locate(np.arange(len(patches)))
    assert which == (image or 0)
    assert numbers.tolist() == np.flatnonzero(of == which).tolist()


def test_of_very_many_kept_patches_those_of_their_middle_are_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(picks, "_MOST_DRAWN", 9)
    patches = kept_set(tmp_path / "p.zarr", "mean != 114")
    _, numbers = patches_of_image(patches, 1)
    of, origins = patches.locate(numbers)
    assert set(of.tolist()) == {1}
    assert 8 <= len(set(map(tuple, origins.tolist()))) == len(numbers)
    assert (np.ptp(origins, axis=0) == 4).all()  # a square of 3 x 3 positions, each 2 pixels from the next
    assert (abs(origins.mean(axis=0) - (7, 9)) <= 2).all()
    apart = kept_set(tmp_path / "q.zarr", "mean < 33 or mean >= 47")
    assert 1 <= len(patches_of_image(apart, 0)[1]) <= 9


def test_an_image_of_which_nothing_was_kept_is_a_sentence(tmp_path):
    patches = kept_set(tmp_path / "p.zarr", "mean < 100")
    with pytest.raises(ValueError, match="none of the 80 patches of image 2 was kept, choose another one"):
        patches_of_image(patches, 2)
    small = patchmill.view_patches(np.zeros((2, 1, 9, 9)), 4)
    assert patches_of_image(small, 1)[1].tolist() == [4, 5, 6, 7]


def test_a_set_of_which_nothing_was_kept_says_so(tmp_path):
    patches = kept_set(tmp_path / "p.zarr", "mean < 0")
    assert kept_of(patches) == "0 of 240"
    assert some_patches(patches, 24).tolist() == []
    with pytest.raises(ValueError, match="0 of 240 patches were kept"):
        patches_of_image(patches)
    assert patch_figures(patches)["kept"] == "0 of 240"
    assert value_figures(patches.read(some_patches(patches, 24))) == {}


def test_of_very_many_patches_those_of_the_middle_are_taken(monkeypatch):
    monkeypatch.setattr(picks, "_MOST_DRAWN", 9)
    patches = a_set(shape=(2, 1, 50, 50), patch=5, step=5)
    _, numbers = patches_of_image(patches, 1)
    _, origins = patches.locate(numbers)
    assert sorted(map(tuple, origins.tolist())) == [(y, x) for y in (15, 20, 25) for x in (15, 20, 25)]


def test_large_patches_are_few(monkeypatch):
    patches = a_set()
    monkeypatch.setattr(picks, "_MOST_BYTES", 3 * patches.nbytes // len(patches))
    assert len(some_patches(patches, 100)) == 3
    assert len(patches_of_image(patches)[1]) == 1


@pytest.mark.parametrize("image", [-1, 3])
def test_an_image_that_is_not_there_is_a_sentence(image):
    with pytest.raises(ValueError, match=f"image must be a number from 0 to 2, got {image}"):
        patches_of_image(a_set(), image)


def test_no_patches_is_a_sentence():
    with pytest.raises(ValueError, match="count must be at least 1, got 0"):
        some_patches(a_set(), 0)


def test_a_variable_by_name():
    batch = {"a": np.zeros(1), "b": np.ones(1)}
    assert one_variable(batch)[0] == 0
    assert one_variable(batch, "b")[0] == 1
    assert one_variable(batch["b"], "whatever")[0] == 1
    with pytest.raises(ValueError, match="variable must be one of a, b, got 'c'"):
        one_variable(batch, "c")


def test_channels_have_the_names_of_the_source(tmp_path):
    labels = xr.DataArray(np.zeros((2, 8, 8)), dims=("band", "y", "x"), coords={"band": ["red", "nir"]})
    patches = patchmill.write_patches(labels, tmp_path / "p.zarr", 4, dims={"channel": "band"})
    assert channel_names(patches) == ["red", "nir"]
    assert channel_names(a_set()) == []
    assert channel_names(patchmill.view_patches(np.zeros((8, 8)), 4)) == []


def test_figures_of_a_set():
    assert patch_figures(a_set()) == {
        "patches": 162, "images": 3, "patch": "2 x 4 x 5 int64", "step": "2 x 5", "raw size": "50.6 KiB"
    }  # fmt: skip
    assert too_small(a_set()) == []


def test_figures_of_values_leave_out_what_is_not_measured():
    assert value_figures(np.array([[1.0, np.nan], [4.0, np.inf]])) == {"values": "1 to 4", "mean": 2.5}
    assert value_figures(np.full((2, 2), np.nan)) == {}
    assert value_figures(np.ma.masked_equal([[-9, 1], [2, 4]], -9)) == {
        "values": "1 to 4",
        "mean": pytest.approx(7 / 3),
    }
    assert value_figures(np.ma.masked_all((2, 2))) == {}
    assert value_figures(np.array([[True, False]])) == {"values": "0 to 1", "mean": 0.5}


def test_a_thumbnail_is_the_image_thinned_and_of_a_large_one_the_middle():
    image = np.arange(9000 * 4).reshape(9000, 4)
    assert (thumbnail(image[:300], (300, 3), most=100) == image[:300:3, :3:3]).all()
    middle = thumbnail(image, (9000, 4), most=4096)
    assert (middle == image[2452:6548]).all()


@pytest.mark.parametrize("size", [(400, 600), (500, 741), (427, 640), (199, 523), (523, 199), (257, 256)])
def test_a_thumbnail_has_the_sides_of_its_image(size):
    height, width = thumbnail(np.zeros((3, *size), "uint8"), size).shape[1:]
    assert max(height, width) <= 256
    assert height / width == pytest.approx(size[0] / size[1], rel=0.02)


def test_names_are_cut_but_told_apart():
    assert short("/a/b/c.tif") == "c.tif"
    assert len(short("x" * 50)) <= 22
    assert placed_titles(None, [3], np.array([[1, 2]])) == ["image 3\ny 1, x 2"]


@pytest.mark.parametrize("way", ["patches", "canvas", "view"])
def test_pictures_are_in_the_colors_that_names_tell_and_leave_out_nodata(tmp_path, way):
    values = np.arange(4 * 8 * 8, dtype="int16").reshape(1, 4, 8, 8)
    values[:, :, :2] = -1
    names = {"channel": ["B02", "B03", "B04", "B08"]}
    dims = ("image", "channel", "y", "x")
    scene = xr.DataArray(values, dims=dims, coords=names, attrs={"nodata": -1}, name="scene")
    layout = {} if way == "view" else {"layout": way}
    made = patchmill.view_patches if way == "view" else patchmill.write_patches
    patches = made(scene, *(() if way == "view" else (tmp_path / "p.zarr",)), 4, **layout)
    seen = pictures(patches, np.arange(4))
    np.testing.assert_array_equal(seen.data, patches.read(np.arange(4))[:, [2, 1, 0]])
    np.testing.assert_array_equal(np.ma.getmaskarray(seen), seen.data == -1)
    assert gray_note(seen) == " What is not measured is light gray."
    assert gray_note(seen[2:]) == ""
    (small,) = thumbnails(scene, [0])
    np.testing.assert_array_equal(small.pixels.data, values[0, [2, 1, 0]])
    np.testing.assert_array_equal(small.pixels.mask, small.pixels.data == -1)


def test_variables_of_a_patch_stand_side_by_side_each_in_its_own_limits():
    scene = np.zeros((1, 3, 4, 8), "uint8")
    scene[..., 4:] = 255
    labels = np.array([[0, 2] * 4] * 4, "uint8")[None]
    source = xr.Dataset({"image": (("image", "channel", "y", "x"), scene), "mask": (("image", "y", "x"), labels)})
    pixels, titles, columns = side_by_side(patchmill.view_patches(source, 4), np.arange(2))
    assert [each.shape for each in pixels] == [(3, 4, 4)] * 4
    assert columns == 6
    assert [float(each.max()) for each in pixels] == [0, 1, 1, 1]
    assert titles[1:3] == ["mask of image 0\ny 0, x 0", "image of image 0\ny 0, x 4"]
