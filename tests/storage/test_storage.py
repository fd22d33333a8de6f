"""Atomic objects, declared metadata, and damage that is noticed."""

from __future__ import annotations

import numpy as np
import pytest
import tensorstore as ts
import zarr

import patchmill
from patchmill.errors import CorruptChunkError
from patchmill.storage import ArraySpec, Location, declare, open_bulk, write_small


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
    path.write_text(path.read_text().replace("uint16", "uint32"))
    with pytest.raises(CorruptChunkError, match="changed"):
        patchmill.open_patches(place)


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


def test_one_context_for_the_process(tmp_path):
    zarr.create_array(tmp_path / "a", data=np.arange(4))
    one, two = (open_bulk(Location.parse(tmp_path / "a"), missing_is_error=False) for _ in range(2))
    np.testing.assert_array_equal(one.read((slice(1, 3),)), [1, 2])
    assert two.handle.spec(retain_context=True).to_json(include_defaults=False)
    assert isinstance(one.handle, ts.TensorStore)
