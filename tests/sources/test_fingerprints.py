"""What is known again: an object of this process by what it holds, a file by its name, size and time."""

from __future__ import annotations

import io
import os
import pickle

import dask.array as da
import numpy as np
import pytest
import xarray as xr
import zarr

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


def test_a_variable_of_a_file_that_only_its_dataset_names(tmp_path):
    """As scipy's NetCDF: the file is looked at, and some rows, since variables move between Datasets."""
    pytest.importorskip("scipy")
    for name, image in (("a", IMAGE), ("b", changed(IMAGE, (0, 0, 0)))):
        xr.Dataset({"v": (("time", "y", "x"), image.astype("i2"))}).to_netcdf(tmp_path / f"{name}.nc", engine="scipy")
    a, again, b = (xr.open_dataset(tmp_path / f"{name}.nc", engine="scipy") for name in "aab")
    assert identity(a) == identity(again)
    assert identity(a)["arrays"]["v"][2][0]["file"] == str(tmp_path / "a.nc")
    assert len({str(identity(each)) for each in (a, b, a.assign(v=b["v"]), a.isel(time=[0, 2]))}) == 4
    for each in (a, again, b):
        each.close()


# -- what has no name --------------------------------------------------------------------------------------------------


def test_what_is_not_loaded_and_has_no_name_is_known_by_its_values(netcdf, tmp_path):
    xr.Dataset({"a": (("time", "y", "x"), changed(IMAGE))}).to_netcdf(tmp_path / "b.nc", engine="h5netcdf")
    mine, same, other = (opened(io.BytesIO(path.read_bytes())) for path in (netcdf, netcdf, tmp_path / "b.nc"))
    assert identity(mine) == identity(same) != identity(other)
    assert identity(mine["a"]) == identity(same["a"]) != identity(other["a"])
    part = identity(mine.isel(time=[0, 2]))
    assert not mine["a"].variable._in_memory
    assert part == identity(xr.Dataset({"a": (("time", "y", "x"), IMAGE[[0, 2]])}))
    for each in (mine, same, other):
        each.close()


@pytest.mark.parametrize("block", [1, 7, 100, 1000, 10_000, 2**20])
@pytest.mark.parametrize("shape", [(5,), (3, 1, 7), (4, 5, 60), (3, 100, 120)])
def test_values_have_one_digest_be_they_loaded_or_not(monkeypatch, block, shape):
    monkeypatch.setattr(fingerprints, "_BLOCK", block)
    array = np.random.default_rng(0).integers(0, 2**16, shape, "u2")
    variable = xr.Variable([f"axis_{n}" for n in range(array.ndim)], array)
    assert fingerprints._digest_unloaded(variable) == fingerprints.digest_of_values(array)


def test_what_is_not_loaded_is_read_in_pieces(monkeypatch):
    monkeypatch.setattr(fingerprints, "_BLOCK", 1000)
    sizes = [
        np.empty((3, 100, 120), "u2")[region].nbytes
        for region in fingerprints.blocks((3, 100, 120), itemsize=2, together=fingerprints._READ)
    ]
    assert sum(sizes) == 2 * 3 * 100 * 120
    assert max(sizes) <= 1000 * fingerprints._READ
    assert len(sizes) <= 3


# -- Zarr stores that xarray opened lazily -----------------------------------------------------------------------------


def stored(path, image=IMAGE, **keywords):
    xr.Dataset({"v": (("time", "y", "x"), image)}).to_zarr(path, mode="w", consolidated=False, **keywords)
    return path


def lazily(path, **keywords):
    return xr.open_dataset(path, engine="zarr", chunks=None, consolidated=False, **keywords)


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("whole", [True, False], ids=["dataset", "array"])
def test_two_stores_are_two_sources(tmp_path, zarr_format, whole):
    paths = [
        stored(tmp_path / f"{name}.zarr", image, zarr_format=zarr_format)
        for name, image in (("a", IMAGE), ("b", changed(IMAGE)))
    ]
    a, again, b = (lazily(path) if whole else lazily(path)["v"] for path in (paths[0], *paths))
    assert identity(a) == identity(again) != identity(b)
    assert identity(a) != identity(a.isel(time=[0, 2])) != identity(b.isel(time=[0, 2]))
    assert not any((each["v"] if whole else each).variable._in_memory for each in (a, again, b))  # nothing was read


def test_another_store_is_not_taken_for_the_one_that_was_cut(tmp_path):
    a, b = stored(tmp_path / "a.zarr"), stored(tmp_path / "b.zarr", changed(IMAGE))
    ps = patchmill.write_patches(lazily(a), tmp_path / "set.zarr", 10)
    assert len(patchmill.write_patches(lazily(a), tmp_path / "set.zarr", 10)) == len(ps)
    for other in (lazily(b), lazily(b)["v"], lazily(a).assign(v=lazily(b)["v"])):
        with pytest.raises(patchmill.PatchmillError, match="overwrite"):
            patchmill.write_patches(other, tmp_path / "set.zarr", 10)


@pytest.mark.parametrize(
    "again",
    [
        lambda path: stored(path, np.concatenate([IMAGE, IMAGE[:1]])),
        lambda path: stored(path, encoding={"v": {"chunks": (1, 50, 60)}}),
        lambda path: zarr.open_array(path / "v", mode="r+").attrs.update({"units": "m"}),
        lambda path: path.rename(path.parent / "moved.zarr"),
    ],
    ids=["grown", "chunks", "attributes", "moved"],
)
def test_a_store_that_grew_or_was_declared_anew_is_another_source(tmp_path, again):
    path = stored(tmp_path / "a.zarr")
    before = identity(lazily(path))
    again(path)
    now = lazily(next(tmp_path.glob("*.zarr")))
    assert identity(now.isel(time=slice(0, 3))) != before


def test_a_store_that_was_ingested_anew_is_another_source(tmp_path):
    seen = []
    for image in (IMAGE[0], IMAGE[1]):
        np.save(tmp_path / "a.npy", image)
        patchmill.ingest([tmp_path / "a.npy"], tmp_path / "a.zarr", mode="overwrite", dims=("y", "x"))
        seen += [identity(lazily(tmp_path / "a.zarr", drop_variables=["name"])) for _ in range(2)]
    assert seen[0] == seen[1] != seen[2] == seen[3]


def test_a_store_that_vanished_is_told_in_one_sentence(tmp_path):
    data = lazily(stored(tmp_path / "a.zarr"))
    (tmp_path / "a.zarr").rename(tmp_path / "b.zarr")
    with pytest.raises(patchmill.PatchmillError, match=r"a\.zarr changed or vanished"):
        identity(data)


def test_stores_without_a_place_are_known_by_their_values():
    def held(image):
        store = zarr.storage.MemoryStore()
        return lazily(stored(store, image))

    assert identity(held(IMAGE)) == identity(held(IMAGE)) != identity(held(changed(IMAGE)))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_archive_is_known_by_its_size_and_time_too(tmp_path):
    seen = []
    for image in (IMAGE, changed(IMAGE)):
        (tmp_path / "a.zip").unlink(missing_ok=True)
        with zarr.storage.ZipStore(tmp_path / "a.zip", mode="w") as store:
            xr.Dataset({"v": (("time", "y", "x"), image)}).to_zarr(store, consolidated=False)
        os.utime(tmp_path / "a.zip", ns=(10**18 + len(seen), 10**18 + len(seen)))
        with zarr.storage.ZipStore(tmp_path / "a.zip", mode="r") as store:
            seen.append(identity(lazily(store)))
    assert seen[0] != seen[1]
    assert {each["arrays"]["v"][2][0]["file"] for each in seen} == {str(tmp_path / "a.zip")}


def test_a_remote_store_is_known_by_its_url():
    pytest.importorskip("aiohttp")
    store = zarr.storage.FsspecStore.from_url("https://host/folder/a.zarr")
    assert fingerprints._place(store) == {"file": "https://host/folder/a.zarr"}
    store = zarr.storage.FsspecStore.from_url("https://ann:secret@host/folder/a.zarr")
    assert fingerprints._place(store) == {"file": "https://host/folder/a.zarr"}
    assert fingerprints._place(zarr.storage.FsspecStore.from_url("memory://a.zarr")) is None


@pytest.mark.parametrize(
    ("url", "bare"),
    [
        ("http://ann:secret@127.0.0.1:80/s.zarr", "http://127.0.0.1:80/s.zarr"),
        ("http://ann:se@cret@host/s.zarr", "http://host/s.zarr"),
        ("http://ann:se?cr#et@host/s.zarr", "http://host/s.zarr"),
        ("https://token@host/s.nc?X-Amz-Signature=1f#mode=bytes", "https://host/s.nc"),
        ("s3://KEY:se/cret@bucket/s.zarr", "s3://bucket/s.zarr"),
        ("simplecache::https://ann:secret@host/s.nc?sig=1f", "simplecache::https://host/s.nc"),
        ("https://host:8080/a@b.nc", "https://host:8080/a@b.nc"),
        ("abfs://box@account.net/s.zarr", "abfs://box@account.net/s.zarr"),
        ("/data/what?#ann:x@1.nc", "/data/what?#ann:x@1.nc"),
        ("file:///data/a#1.nc", "file:///data/a#1.nc"),
    ],
)
def test_what_opens_a_url_is_not_part_of_its_name(url, bare):
    assert fingerprints.bare_name(url) == bare


def test_what_opens_a_url_is_not_stored(tmp_path):
    image = xr.Dataset({"v": (("time", "y", "x"), IMAGE)})
    stored(tmp_path / "s.zarr", IMAGE)
    with lazily(tmp_path / "s.zarr") as lazy:
        for data in (image, lazy):
            data.encoding["source"] = data["v"].encoding["source"] = "http://ann:geheim@host/s.zarr?sig=geheim#geheim"
            target = tmp_path / f"{data is lazy}.zarr"
            assert patchmill.write_patches(data, target, 20).stored.own["source"]["url"] == "http://host/s.zarr"
            assert "geheim" not in (target / "zarr.json").read_text()


def test_files_of_one_url_that_a_query_tells_apart_are_known_by_their_values(tmp_path):
    seen = []
    for number, query in enumerate(["?id=1&sig=a", "?id=1&sig=b", "?id=2"]):
        stored(tmp_path / f"{number}.zarr", changed(IMAGE, at=(0, 0, 0)) if number == 2 else IMAGE)
        data = lazily(tmp_path / f"{number}.zarr")
        data["v"].encoding["source"] = f"https://host/get{query}"
        seen.append(identity(data))
    assert seen[0] == seen[1] != seen[2]


def test_variables_of_one_file_are_told_apart_whatever_they_are_called_by_now(tmp_path):
    path = tmp_path / "several.nc"
    values = np.zeros((4, 5), "uint16")
    xr.Dataset({"a": (("y", "x"), values), "b": (("y", "x"), values + 1)}).to_netcdf(path, engine="h5netcdf")
    xr.Dataset({"a": (("y", "x"), values + 2)}).to_netcdf(path, engine="h5netcdf", mode="a", group="inner")
    with (
        xr.open_dataset(path, engine="h5netcdf") as plain,
        xr.open_dataset(path, engine="h5netcdf", group="inner") as inner,
    ):
        found = [plain.a, plain.b.rename("a"), inner.a]
        assert len({str(fingerprints.fingerprint(each)) for each in found}) == len(found)
        assert fingerprints.fingerprint(plain.a) == fingerprints.fingerprint(plain[["a"]].a)
