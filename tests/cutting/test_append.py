"""Appending: three appends give the bytes of one cut, whatever was interrupted in between."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import patchmill
from cuts import array_objects, expected_patches, pixels, tiny_shards  # noqa: F401 - a fixture
from patchmill.cutting import tasks, workplace
from patchmill.errors import SourceError, TargetExistsError
from patchmill.planning import shapes
from patchmill.storage import Location

CUT = {"patch_shape": (4, 5), "step": (3, 3), "dilation": (1, 1), "edge": "shift", "pad_mode": "constant"}


def grown(place, image):
    """A source that holds `image`, more than before."""
    if not place.exists():
        zarr.create_array(
            place, data=image, chunks=(1, *image.shape[1:]), dimension_names=("image", "channel", "y", "x")
        )
        return place
    array = zarr.open_array(place, mode="r+")
    before = array.shape[0]
    array.resize(image.shape)
    array[before:] = image[before:]
    return place


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(st.integers(1, 4), min_size=2, max_size=4),
    layout=st.sampled_from(["patches", "canvas"]),
    keep=st.sampled_from([None, "mean[0] > 128"]),
    small=st.booleans(),
)
def test_appends_give_the_bytes_of_one_cut(tmp_path_factory, tiny_shards, steps, layout, keep, small):  # noqa: F811
    folder = tmp_path_factory.mktemp("append")
    shape = (2, 6, 7) if small else (2, 20, 17)  # small images share shards
    image = pixels((sum(steps), *shape), "uint8")
    arguments = CUT | {"layout": layout, "keep": keep}
    count = 0
    for n in steps:
        count += n
        source = grown(folder / "source.zarr", image[:count])
        ps = patchmill.write_patches(source, folder / "grown.zarr", **arguments, mode="append")
    patchmill.write_patches(source, folder / "once.zarr", **arguments)
    assert array_objects(folder / "grown.zarr") == array_objects(folder / "once.zarr")
    assert not (folder / "grown.zarr.patchmill").exists()
    if keep is None:
        np.testing.assert_array_equal(ps.read(np.arange(len(ps))), expected_patches(image, CUT))


class KilledError(Exception):
    pass


@pytest.mark.parametrize("layout", ["patches", "canvas"])
def test_an_append_that_died_and_a_source_that_grew_meanwhile(tmp_path, monkeypatch, tiny_shards, layout):  # noqa: F811
    image = pixels((9, 2, 6, 7), "uint8")
    arguments = CUT | {"layout": layout}
    patchmill.write_patches(grown(tmp_path / "source.zarr", image[:3]), tmp_path / "set.zarr", **arguments)
    real, seen = tasks.write_shard, []

    def dies(*args):
        seen.append(args[1])
        if len(seen) > 1:
            raise KilledError
        return real(*args)

    for count in (5, 7):
        monkeypatch.setattr(tasks, "write_shard", dies)
        seen.clear()
        with pytest.raises(KilledError):
            patchmill.write_patches(
                grown(tmp_path / "source.zarr", image[:count]),
                tmp_path / "set.zarr",
                **arguments,
                mode="append",
                workers=1,
            )
        old = patchmill.open_patches(tmp_path / "set.zarr")
        assert len(old.sizes) == 3
        np.testing.assert_array_equal(old.read(np.arange(len(old))), expected_patches(image[:3], CUT))
        monkeypatch.setattr(tasks, "write_shard", real)
    patchmill.write_patches(grown(tmp_path / "source.zarr", image), tmp_path / "set.zarr", **arguments, mode="append")
    patchmill.write_patches(tmp_path / "source.zarr", tmp_path / "once.zarr", **arguments)
    assert array_objects(tmp_path / "set.zarr") == array_objects(tmp_path / "once.zarr")


@pytest.mark.parametrize("layout", ["patches", "canvas"])
def test_a_set_of_which_an_append_dies_in_its_commit_is_not_damaged(tmp_path, monkeypatch, layout):
    image = pixels((3, 2, 9, 9), "uint8")
    patchmill.write_patches(grown(tmp_path / "source.zarr", image[:1]), tmp_path / "set.zarr", 4, layout=layout)
    grown(tmp_path / "source.zarr", image)
    target = Location.parse(tmp_path / "set.zarr")
    real, metadata = Location.write, sorted((tmp_path / "set.zarr").glob("*/zarr.json"))
    for last in ("valid_fraction/zarr.json", "zarr.json"):

        def dies(place, key, data, last=last):
            if place == target and key == last:
                raise KilledError
            return real(place, key, data)

        monkeypatch.setattr(Location, "write", dies)
        with pytest.raises(KilledError):
            patchmill.write_patches(tmp_path / "source.zarr", tmp_path / "set.zarr", 4, layout=layout, mode="append")
        monkeypatch.undo()
        assert not patchmill.verify(tmp_path / "set.zarr").damaged
    for path in metadata:
        data = path.read_bytes()
        path.write_bytes(data.replace(b"array", b"arraz"))
        assert [each.array for each in patchmill.verify(tmp_path / "set.zarr").damaged] == [path.parent.name]
        path.write_bytes(data)
    patchmill.write_patches(tmp_path / "source.zarr", tmp_path / "set.zarr", 4, layout=layout, mode="append")
    assert patchmill.verify(tmp_path / "set.zarr").ok
    assert len(patchmill.open_patches(tmp_path / "set.zarr").sizes) == 3


@pytest.mark.parametrize("layout", ["patches", "canvas"])
@pytest.mark.parametrize("killed", [False, True])
def test_images_of_one_size_and_then_a_smaller_one(tmp_path, monkeypatch, layout, killed):
    files = [tmp_path / f"{n}.npy" for n in range(3)]
    for file, shape in zip(files, [(60, 50), (60, 50), (40, 45)], strict=True):
        np.save(file, pixels(shape, "uint16"))
    patchmill.ingest(files[:2], tmp_path / "source.zarr")
    arguments = {"patch_shape": 16, "step": 12, "edge": "shift", "layout": layout}
    patchmill.write_patches(tmp_path / "source.zarr", tmp_path / "grown.zarr", **arguments)
    readers = xr.open_zarr(tmp_path / "grown.zarr")  # origins by grid position alone
    patchmill.ingest(files, tmp_path / "source.zarr", mode="append")
    real = workplace._clear

    def clear(target):
        assert readers["origin_y"].values.tolist() == [0, 12, 24, 36, 44]  # by the old metadata, until all is there
        if killed:
            raise KilledError
        real(target)

    monkeypatch.setattr(workplace, "_clear", clear)
    with pytest.raises(KilledError) if killed else nullcontext():
        patchmill.write_patches(tmp_path / "source.zarr", tmp_path / "grown.zarr", **arguments, mode="append")
    monkeypatch.undo()
    patchmill.write_patches(tmp_path / "source.zarr", tmp_path / "grown.zarr", **arguments, mode="append")
    patchmill.write_patches(tmp_path / "source.zarr", tmp_path / "once.zarr", **arguments)
    assert array_objects(tmp_path / "grown.zarr") == array_objects(tmp_path / "once.zarr")
    report = patchmill.verify(tmp_path / "grown.zarr")
    assert report.ok
    assert not report.foreign
    assert not (tmp_path / "grown.zarr.patchmill").exists()


def test_an_append_brings_times_that_xarray_can_not_decode(tmp_path):
    for times in ([0, 1], [0, 1, 10**9]):
        group = zarr.open_group(tmp_path / "source.zarr", mode="a")
        images = pixels((3, 9, 9), "uint8")[: len(times)]
        for name, values, dims in (("im", images, ("time", "y", "x")), ("time", np.array(times), ("time",))):
            array = group.require_array(name, shape=(2, *values.shape[1:]), dtype=values.dtype, dimension_names=dims)
            array.resize(values.shape)
            array[...] = values
        group["time"].attrs["units"] = "days since 1970-01-01"
        ps = patchmill.write_patches(tmp_path / "source.zarr", tmp_path / "grown.zarr", 4, mode="append")
        assert ps.catalog["image"].dtype.kind == ("M" if len(times) == 2 else "i")
    patchmill.write_patches(tmp_path / "source.zarr", tmp_path / "once.zarr", 4)
    assert array_objects(tmp_path / "grown.zarr") == array_objects(tmp_path / "once.zarr")


def test_what_append_refuses(tmp_path):
    image = pixels((4, 2, 20, 17), "uint8")
    source = grown(tmp_path / "source.zarr", image[:2])
    patchmill.write_patches(source, tmp_path / "set.zarr", 4, 3)
    grown(source, image)
    with pytest.raises(patchmill.PatchmillError, match='mode="append"'):
        patchmill.write_patches(source, tmp_path / "set.zarr", 4, 3)
    with pytest.raises(patchmill.PatchmillError, match="step"):
        patchmill.write_patches(source, tmp_path / "set.zarr", 4, 2, mode="append")
    assert len(patchmill.write_patches(source, tmp_path / "set.zarr", 4, 3, mode="append").sizes) == 4
    assert len(patchmill.write_patches(source, tmp_path / "set.zarr", 4, 3, mode="append").sizes) == 4


def assert_seen_until_it_is_back(folder, image, arguments, changed):
    """Where the third of three images has become `changed`, an append of the others fails, and the set stays."""
    source = grown(folder / "source.zarr", image[:3])
    patchmill.write_patches(source, folder / "set.zarr", **arguments)
    before = array_objects(folder / "set.zarr")
    zarr.open_array(source, mode="r+")[2] = changed
    with pytest.raises(SourceError, match=r"image 2 of .* has changed since it was cut"):
        patchmill.write_patches(grown(source, image), folder / "set.zarr", **arguments, mode="append")
    now = array_objects(folder / "set.zarr")
    assert {key: now[key] for key in before} == before
    zarr.open_array(source, mode="r+")[2] = image[2]
    patchmill.write_patches(source, folder / "set.zarr", **arguments, mode="append")
    patchmill.write_patches(source, folder / "once.zarr", **arguments)
    assert array_objects(folder / "set.zarr") == array_objects(folder / "once.zarr")


def test_an_image_that_is_larger_than_all_before_is_said_to_be(tmp_path):
    (tmp_path / "in").mkdir()
    for number, size in enumerate([(20, 30), (40, 30)]):
        np.save(tmp_path / "in" / f"{number}.npy", pixels(size, "uint8"))
        patchmill.ingest(tmp_path / "in", tmp_path / "source.zarr", mode="append")
        if not number:
            patchmill.write_patches(tmp_path / "source.zarr", tmp_path / "set.zarr", 8)
    with pytest.raises(
        TargetExistsError, match='larger than all before, and those of a set share one grid, so use mode="overwrite"'
    ):
        patchmill.write_patches(tmp_path / "source.zarr", tmp_path / "set.zarr", 8, mode="append")


@pytest.mark.parametrize("layout", ["patches", "canvas"])
@pytest.mark.parametrize("keep", [None, "mean[0] > 128"])
def test_an_old_image_that_has_changed_is_seen_where_it_is_cut_again(tmp_path, tiny_shards, layout, keep):  # noqa: F811
    """It shares a shard with new images; the set stays what it was."""
    image = pixels((7, 2, 6, 7), "uint8")
    arguments = CUT | {"layout": layout, "keep": keep}
    assert_seen_until_it_is_back(tmp_path, image, arguments, ~image[2])


@pytest.mark.parametrize("chunk", ["several patches", "one patch"])
@pytest.mark.parametrize("case", ["all are dropped", "some are dropped", "none was kept"])
def test_an_old_image_of_which_other_patches_would_be_kept_is_seen(tmp_path, tiny_shards, monkeypatch, chunk, case):  # noqa: F811
    if chunk == "one patch":
        monkeypatch.setattr(shapes, "_CHUNK", 1)
    image = pixels((7, 2, 6, 7), "uint8") | 1
    if case == "none was kept":
        image[2] = 0
    arguments = CUT | {"keep": "max[0] > 0"}
    changed = image[2].copy()
    if case == "some are dropped":
        changed[:, :4, :5] = 0
    else:
        changed[:] = 0 if case == "all are dropped" else 9
    assert_seen_until_it_is_back(tmp_path, image, arguments, changed)


def test_to_images_of_which_nothing_was_kept_others_are_added(tmp_path, tiny_shards):  # noqa: F811
    image = pixels((5, 2, 6, 7), "uint8") | 1
    image[:3] = 0
    arguments = CUT | {"keep": "max[0] > 0"}
    for count in (2, 3, 5):
        source = grown(tmp_path / "source.zarr", image[:count])
        patchmill.write_patches(source, tmp_path / "set.zarr", **arguments, mode="append")
    patchmill.write_patches(source, tmp_path / "once.zarr", **arguments)
    assert array_objects(tmp_path / "set.zarr") == array_objects(tmp_path / "once.zarr")


def test_what_lies_in_memory_can_not_be_told_to_have_grown(tmp_path):
    images = np.zeros((4, 1, 16, 16), "uint8")
    for source in (images, xr.DataArray(images, dims=("time", "band", "y", "x"))):
        patchmill.write_patches(source[:2], tmp_path / "set.zarr", 8, mode="overwrite")
        with pytest.raises(
            TargetExistsError, match=r"images \(2 there, 4 now\).* only a source that is a Zarr store can"
        ):
            patchmill.write_patches(source, tmp_path / "set.zarr", 8, mode="append")


@pytest.mark.parametrize("kind", ["a set", "a source"])
def test_a_set_does_not_begin_inside_another_one(tmp_path, kind):
    image = np.zeros((1, 16, 16), "uint8")
    if kind == "a set":
        patchmill.write_patches(image, tmp_path / "outer.zarr", 8)
    else:
        patchmill.ingest("sample:", tmp_path / "outer.zarr")
    with pytest.raises(
        ValueError, match=r"target must lie outside of other patch sets and sources, got .*inner.zarr, in"
    ):
        patchmill.write_patches(image, tmp_path / "outer.zarr" / "in" / "inner.zarr", 8)
    assert not (tmp_path / "outer.zarr" / "in").exists()
