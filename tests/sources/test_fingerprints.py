"""What is known again: an object of this process by what it holds, a file by its name, size and time."""

from __future__ import annotations

import os
import pickle

import dask.array as da
import numpy as np
import pytest
import xarray as xr

import patchmill
from patchmill.sources import fingerprints, open_source

IMAGE = np.arange(3 * 100 * 120, dtype="uint16").reshape(3, 100, 120)


def identity(source, **keywords):
    return dict(open_source(source, **keywords).identity)


def changed(array, at=(1, 37, 41)):
    other = array.copy()
    other[at] += 1
    return other


@pytest.mark.parametrize(
    "given",
    [
        lambda array: array,
        lambda array: xr.DataArray(array, dims=("image", "y", "x")),
        lambda array: xr.Dataset({"a": (("image", "y", "x"), array)}),
        lambda array: da.from_array(array, chunks=50),
    ],
    ids=["numpy", "array", "dataset", "dask"],
)
def test_one_pixel_makes_another_source(given):
    assert identity(given(IMAGE)) == identity(given(IMAGE.copy()))
    assert identity(given(IMAGE)) != identity(given(changed(IMAGE)))


def test_a_changed_array_is_not_taken_for_the_old_one(tmp_path):
    ps = patchmill.write_patches(IMAGE, tmp_path / "a.zarr", 10)
    assert len(patchmill.write_patches(IMAGE.copy(), tmp_path / "a.zarr", 10)) == len(ps)
    with pytest.raises(patchmill.PatchmillError, match="overwrite"):
        patchmill.write_patches(changed(IMAGE), tmp_path / "a.zarr", 10)


@pytest.mark.parametrize("block", [1, 7, 100, 1000, 2**20])
@pytest.mark.parametrize("shape", [(5,), (0, 3), (3, 1, 7), (4, 5, 6)])
def test_equal_values_have_one_digest_however_they_lie(monkeypatch, block, shape):
    monkeypatch.setattr(fingerprints, "_BLOCK", block)
    array = np.random.default_rng(0).integers(0, 2**16, shape, "u2")
    wide = np.zeros((*shape[:-1], 2 * shape[-1]), "u2")
    wide[..., ::2] = array
    digest = fingerprints.digest_of_values(array)
    for same in (np.asfortranarray(array), wide[..., ::2], array.copy()):
        assert fingerprints.digest_of_values(same) == digest
    for at in np.ndindex(shape):
        assert fingerprints.digest_of_values(changed(array, at)) != digest


def test_blocks_are_small_whatever_the_shape(monkeypatch):
    """Nothing is copied as a whole: an array that lies crosswise goes through in blocks."""
    monkeypatch.setattr(fingerprints, "_BLOCK", 1000)
    for shape in ((7, 11, 13), (1, 5000), (5000, 1), (3, 2000)):
        regions = list(fingerprints.blocks(shape, itemsize=2))
        counts = np.zeros(shape, int)
        for region in regions:
            counts[region] += 1
            assert counts[region].size * 2 <= 1000
        assert (counts == 1).all()
        assert len(regions) <= 4 * counts.nbytes / 8 * 2 / 1000 + 1


def test_to_look_at_an_array_does_not_read_it(monkeypatch):
    def read(array):
        raise AssertionError(array.shape)

    monkeypatch.setattr(fingerprints, "digest_of_values", read)
    data = xr.Dataset(dict.fromkeys("ab", (("y", "x"), IMAGE[0])))
    patchmill.view_patches(IMAGE, 10)
    patchmill.plan(IMAGE, 10)
    patchmill.view_patches(data, 10, channels=["a", "b"])
    with pytest.raises(AssertionError):
        identity(IMAGE)


def test_identities_travel():
    source = open_source(IMAGE)
    assert pickle.loads(pickle.dumps(source)).identity == source.identity
    assert len(pickle.dumps(source.identity)) < 500


# -- files mapped into memory ------------------------------------------------------------------------------------------


@pytest.fixture
def mapped(tmp_path):
    np.save(tmp_path / "a.npy", IMAGE)
    os.utime(tmp_path / "a.npy", ns=(10**18, 10**18))
    return tmp_path / "a.npy"


def test_a_file_that_is_only_read_is_known_by_name_size_and_time(mapped, monkeypatch):
    monkeypatch.setattr(fingerprints, "_SAMPLES", 1)
    before = identity(np.load(mapped, mmap_mode="r"))
    assert before == identity(np.load(mapped, mmap_mode="r"))
    data = bytearray(mapped.read_bytes())
    data[-5000] ^= 1
    mapped.write_bytes(data)
    assert identity(np.load(mapped, mmap_mode="r")) != before
    os.utime(mapped, ns=(10**18, 10**18))
    assert identity(np.load(mapped, mmap_mode="r")) == before  # which hides it: nothing else tells


def test_a_file_in_the_place_of_another_of_its_size_and_time(mapped):
    """As of an archive, whose times are whole seconds."""
    before = identity(np.load(mapped, mmap_mode="r"))
    np.save(mapped, IMAGE[:, ::-1])
    os.utime(mapped, ns=(10**18, 10**18))
    assert identity(np.load(mapped, mmap_mode="r")) != before


@pytest.mark.parametrize("mode", ["r+", "c"])
def test_a_map_that_may_be_written_is_known_by_its_values(mapped, mode):
    """The time of its file may stand still while pages are written, and copies on write never reach the file."""
    array = np.load(mapped, mmap_mode=mode)
    seen = [identity(array)]
    for number in range(3):
        array[1, 2, 3] = number
        os.utime(mapped, ns=(10**18, 10**18))
        seen.append(identity(array))
    assert len({str(each) for each in seen}) == 4


def test_copies_on_write_travel(mapped):
    array = np.load(mapped, mmap_mode="c")
    array[1, 2, 3] = 7
    (variable,) = pickle.loads(pickle.dumps(open_source(array))).variables
    assert variable.read((slice(0, 1), slice(1, 2), slice(2, 3), slice(3, 4))).item() == 7


# -- files that xarray has not loaded ----------------------------------------------------------------------------------


@pytest.fixture
def netcdf(tmp_path):
    pytest.importorskip("h5netcdf")
    xr.Dataset({"a": (("time", "y", "x"), IMAGE)}).to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    return tmp_path / "a.nc"


def opened(path):
    return xr.open_dataset(path, engine="h5netcdf", decode_cf=False)


@pytest.mark.parametrize(
    "part",
    [
        {"time": slice(1, 3)},
        {"time": [0, 2]},
        {"time": slice(0, 2), "x": slice(None, None, -1)},
    ],
)
def test_parts_of_a_file_are_told_apart(netcdf, part):
    with opened(netcdf) as data:
        first, other = data.isel(time=slice(0, 2)), data.isel(part)
        assert identity(first) == identity(data.isel(time=slice(0, 2)))
        assert identity(first) != identity(other)
        assert not data["a"].variable._in_memory  # nothing was read


def test_a_file_that_changed_is_another_source(netcdf):
    with opened(netcdf) as data:
        before = identity(data)
    xr.Dataset({"a": (("time", "y", "x"), changed(IMAGE))}).to_netcdf(netcdf, engine="h5netcdf")
    with opened(netcdf) as data:
        assert identity(data) != before
