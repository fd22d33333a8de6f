"""Atomic objects, declared metadata, and damage that is noticed."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import tensorstore as ts
import xarray as xr
import zarr

import patchmill
from patchmill.errors import CorruptChunkError
from patchmill.storage import ArraySpec, Location, declare, encoded, open_bulk, read_group, write_small


@pytest.fixture
def stored(tmp_path):
    image = np.random.default_rng(0).integers(0, 60000, (2, 3, 40, 60), "uint16")
    patchmill.write_patches(image, tmp_path / "set.zarr", 8, 4)
    return image, tmp_path / "set.zarr"


def test_every_object_of_a_set_has_a_checksum(stored):
    """A flipped bit in any shard is an error for both readers, never other pixels."""
    _, place = stored
    random = np.random.default_rng(1)
    shards = [path for path in (place / "patches/c").rglob("*") if path.is_file()]
    for _ in range(40):
        shard = shards[random.integers(len(shards))]
        whole = bytearray(shard.read_bytes())
        damaged = whole.copy()
        at = random.integers(len(whole))
        damaged[at] ^= 1 << random.integers(8)
        shard.write_bytes(damaged)
        ps = patchmill.open_patches(place)
        with pytest.raises(CorruptChunkError):
            ps.read(np.arange(len(ps)))
        with pytest.raises((ValueError, RuntimeError)):
            zarr.open_group(place, mode="r")["patches"][...]
        shard.write_bytes(whole)


def test_a_missing_shard_is_an_error(stored):
    _, place = stored
    next(path for path in (place / "patches/c").rglob("*") if path.is_file()).unlink()
    ps = patchmill.open_patches(place)
    with pytest.raises(CorruptChunkError, match="missing"):
        ps.read(np.arange(len(ps)))


def test_changed_metadata_is_noticed(stored):
    _, place = stored
    path = place / "patches/zarr.json"
    whole = path.read_text()
    path.write_text(whole.replace("uint16", "uint32"))
    group = read_group(Location.parse(place))
    with pytest.raises(CorruptChunkError, match=r"'patches'.*changed"):
        group.check_metadata("patches")
    path.write_text(whole)
    group.check_metadata("patches")


def test_the_root_alone_opens_a_set(stored):
    """So that whoever reads has one snapshot, whatever an append or an overwrite is just doing."""
    image, place = stored
    (place / "patches/zarr.json").unlink()
    np.testing.assert_array_equal(patchmill.open_patches(place)[0], image[0, :, :8, :8])


def test_a_root_that_says_otherwise_is_noticed(stored):
    _, place = stored
    path = place / "zarr.json"
    path.write_text(path.read_text().replace('"uint16"', '"uint32"'))
    with pytest.raises(CorruptChunkError, match=r"root.*'patches'"):
        patchmill.open_patches(place)


def test_what_the_root_says_of_an_array_is_what_the_array_says():
    """zarr-python's own bytes, too, which is what the digests rest on."""
    kinds = ("bool", "u2", "f2", "f4", "c8")
    specs = [ArraySpec(kind, ("y",), (4,), np.dtype(kind), (2,), (4,), fill=np.dtype(kind).type(0)) for kind in kinds]
    specs += [ArraySpec("nan", ("y",), (4,), np.dtype("f4"), (2,), fill=float("nan")), ArraySpec.of("t", ("y",), ["a"])]
    objects = declare(specs, {})
    store: dict = {}
    zarr.create_array(
        zarr.storage.MemoryStore(store), name="plain", shape=(4,), chunks=(2,), dtype="f4", fill_value=float("nan")
    )
    assert encoded(json.loads(store["plain/zarr.json"].to_bytes())) == store["plain/zarr.json"].to_bytes()
    for name, entry in json.loads(objects["zarr.json"])["consolidated_metadata"]["metadata"].items():
        assert encoded(entry) == objects[f"{name}/zarr.json"]


@pytest.mark.parametrize(("name", "stored"), [("longlong", "int64"), ("ulonglong", "uint64")])
def test_what_c_calls_long_long_is_stored_as_64_bits(tmp_path, name, stored):
    """NumPy has two types of whole numbers of 64 bits that are equal; zarr-python knows one of them."""
    image = np.arange(16 * 16, dtype=name).reshape(16, 16)
    data = xr.DataArray(image, dims=("y", "x"), coords={"y": np.arange(16, dtype=name)}, name="image")
    patches = patchmill.write_patches(data, tmp_path / "set.zarr", 8, dtype=np.dtype(name))
    assert patches.to_xarray().y.dtype == patches[1].dtype == np.dtype(stored)
    np.testing.assert_array_equal(patches[1], image[:8, 8:])
    spec = ArraySpec.of("n", ("image",), np.arange(3, dtype=name))
    assert json.loads(declare([spec], {})["n/zarr.json"])["data_type"] == stored


def test_an_array_travels_as_its_arguments(stored):
    image, place = stored
    array = read_group(Location.parse(place)).bulk("patches")
    (place / "patches/zarr.json").unlink()  # nothing is read to open it again
    again = pickle.loads(pickle.dumps(array))
    assert pickle.loads(pickle.dumps(array)) is again
    assert len(pickle.dumps(array)) < 3000
    np.testing.assert_array_equal(again.read((slice(0, 1), slice(None), 0, 0))[0], image[0, :, :8, :8])


def test_a_cache_decodes_a_chunk_once(tmp_path):
    """What was decoded is there even when the object is gone; without a cache it is not."""
    zarr.create_array(tmp_path / "a", data=np.arange(100), chunks=10)
    place = Location.parse(tmp_path / "a")
    cached, plain = open_bulk(place, cache_bytes=1 << 20), open_bulk(place)
    for array in (cached, plain):
        np.testing.assert_array_equal(array.read((slice(12, 15),)), [12, 13, 14])
    (tmp_path / "a/c/1").unlink()
    np.testing.assert_array_equal(cached.read((slice(15, 18),)), [15, 16, 17])
    with pytest.raises(CorruptChunkError):
        plain.read((slice(15, 18),))


def test_an_array_that_is_opened_again_is_not_taken_from_the_cache(tmp_path):
    place = Location.parse(tmp_path / "a")
    for value in (1, 2):
        zarr.create_array(tmp_path / "a", data=np.full(10, value), chunks=10, overwrite=True)
        assert int(open_bulk(place, cache_bytes=1 << 20).read((slice(0, 5),)).max()) == value


def test_another_format_is_refused(stored):
    _, place = stored
    path = place / "zarr.json"
    path.write_text(path.read_text().replace('"format": 1', '"format": 7'))
    with pytest.raises(patchmill.PatchmillError, match="format 7"):
        patchmill.open_patches(place)


def test_zeros_are_stored(tmp_path):
    """A chunk equal to the fill value exists, so that a missing one is damage."""
    patchmill.write_patches(np.zeros((40, 40), "uint8"), tmp_path / "set.zarr", 8)
    assert any(path.is_file() for path in (tmp_path / "set.zarr/patches/c").rglob("*"))
    assert (patchmill.open_patches(tmp_path / "set.zarr").read([0, 24]) == 0).all()


def test_a_view_that_overlaps_itself_is_copied_where_chunks_hold_several_patches(tmp_path):
    """tensorstore 0.1.86 writes zeros when it reads such views in place; this goes red if it is let to."""
    image = np.arange(1, 1 + 200 * 200, dtype="uint16").reshape(200, 200)
    ps = patchmill.write_patches(image, tmp_path / "set.zarr", 16, 8)
    array = zarr.open_group(tmp_path / "set.zarr", mode="r")["patches"]
    assert array.chunks[1] > 1
    np.testing.assert_array_equal(ps.to_dask().compute()[0], patchmill.patchify(image, 16, 8))


def test_objects_appear_whole(tmp_path):
    place = Location.parse(tmp_path / "store")
    place.write("a/b", b"one")
    place.write("a/b", b"two")
    assert place.read("a/b") == b"two"
    assert place.read("a") is None
    assert list(place.keys()) == ["a/b"]


def test_declared_bytes_are_the_same_each_time(tmp_path):
    names = np.array([f"image {n} \u00e4" for n in range(5000)], dtype=object)
    specs = [ArraySpec.of("name", ("image",), names), ArraySpec.of("n", ("image",), np.arange(5000))]
    runs = [declare(specs, {"a": 1}) for _ in range(5)]
    assert all(run == runs[0] for run in runs)
    place = Location.parse(tmp_path)
    write_small(place, specs, runs[0])
    place.write("zarr.json", runs[0]["zarr.json"])
    group = zarr.open_group(tmp_path, mode="r")
    assert group["name"][...].tolist() == names.tolist()
    np.testing.assert_array_equal(group["n"][...], np.arange(5000))


@pytest.mark.parametrize(("dims", "row"), [(("image",), ()), (("image", "affine"), (6,)), (("image", "x"), (700_000,))])
def test_chunks_along_image_do_not_know_how_many_there_are(dims, row):
    specs = [ArraySpec.of("a", dims, np.broadcast_to(np.uint8(1), (images, *row))) for images in (1, 3, 5000)]
    assert {spec.chunk for spec in specs} == {(4096 if row != (700_000,) else 1, *row)}


@pytest.mark.parametrize("values", [np.arange(1, 9001), np.array([f"n{n}" for n in range(9000)], dtype=object)])
def test_who_reads_by_old_metadata_finds_what_was_there(tmp_path, values):
    """A small array is written again, longer, under a reader that knows the shorter one only."""
    place = Location.parse(tmp_path)
    for images in (1, 4000, 4096, 9000):
        spec = ArraySpec.of("a", ("image",), values[:images])
        objects = declare([spec], {})
        write_small(place, [spec], objects)
        place.write("zarr.json", objects["zarr.json"])
        if images == 1:
            early = zarr.open_group(tmp_path, mode="r")["a"]
        assert early[...].tolist() == values[:1].tolist()
    assert zarr.open_group(tmp_path, mode="r")["a"][...].tolist() == values.tolist()


def test_one_context_for_the_process(tmp_path):
    zarr.create_array(tmp_path / "a", data=np.arange(4))
    one, two = (open_bulk(Location.parse(tmp_path / "a"), missing_is_error=False) for _ in range(2))
    np.testing.assert_array_equal(one.read((slice(1, 3),)), [1, 2])
    assert two.handle.spec(retain_context=True).to_json(include_defaults=False)
    assert isinstance(one.handle, ts.TensorStore)
