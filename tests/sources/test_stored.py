"""Sources that are stored: what tells them apart, how they travel, channels out of variables, files beside Zarr."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
import xarray as xr
import zarr

import patchmill
from patchmill.errors import PatchmillError, SourceError
from patchmill.sources import open_source

IMAGE = np.random.default_rng(0).integers(0, 60000, (2, 3, 40, 50), "uint16")
EVERYTHING = tuple(slice(0, n) for n in IMAGE.shape)


def pixels(source, region=EVERYTHING):
    (variable,) = source.variables
    return source.read(variable, region)


@pytest.fixture
def dataset() -> xr.Dataset:
    dims = ("time", "y", "x")
    bands = {name: (dims, IMAGE[:, at], {"units": "1", "band": at}) for at, name in enumerate(("B02", "B03", "B04"))}
    coords = {"y": np.arange(40) * 10.0, "time": ("time", [0, 5], {"units": "days since 2000-01-01"})}
    return xr.Dataset(bands | {"mask": (dims, IMAGE[:, 0] > 30000)}, coords)


@pytest.fixture
def files(dataset, tmp_path):
    """The same pixels as Zarr, sharded Zarr, NetCDF, mapped NumPy."""
    names = {axis: axis for axis in ("image", "channel", "y", "x")}
    data = xr.Dataset({"pixels": (tuple(names), IMAGE)})
    data.to_zarr(tmp_path / "plain.zarr", zarr_format=3, consolidated=False)
    zarr.create_array(tmp_path / "sharded.zarr", data=IMAGE, chunks=(1, 3, 10, 10), shards=(1, 3, 20, 20))
    encoding = {"pixels": {"chunksizes": (1, 1, 20, 25), "zlib": True}}
    data.to_netcdf(tmp_path / "file.nc", engine="h5netcdf", encoding=encoding)
    np.save(tmp_path / "file.npy", IMAGE)
    return [tmp_path / name for name in ("plain.zarr", "sharded.zarr", "file.nc", "file.npy")]


def opened(path):
    return open_source(np.load(path, mmap_mode="r") if path.suffix == ".npy" else path)


# -- identity ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [2, 3])
def test_a_store_that_grew_is_the_same_one(tmp_path, version):
    dims = ["time", "y", "x"]
    data = xr.DataArray(IMAGE[:, 0], dims=dims, name="a").to_dataset()
    data.to_zarr(tmp_path / "a.zarr", zarr_format=version, consolidated=False)
    source = open_source(tmp_path / "a.zarr")
    data.to_zarr(tmp_path / "a.zarr", append_dim="time", consolidated=False)
    grown = open_source(tmp_path / "a.zarr")
    assert (source.images, grown.images) == (2, 4)
    assert grown.identity == source.identity
    with pytest.raises(SourceError, match="changed or vanished"):
        source.check()
    grown.check()
    wider = data.pad(x=(0, 1), constant_values=0)
    wider.to_zarr(tmp_path / "a.zarr", mode="w", zarr_format=version, consolidated=False)
    assert open_source(tmp_path / "a.zarr").identity != source.identity


def test_a_file_that_changed_is_another_one(files):
    for path in files[2:]:
        source = opened(path)
        source.check()
        assert source.identity == opened(path).identity
        os.utime(path, (1e9, 1e9))
        with pytest.raises(SourceError, match="changed or vanished"):
            source.check()
        assert opened(path).identity != source.identity
        path.unlink()
        with pytest.raises(SourceError, match="changed or vanished"):
            source.check()


# -- travelling --------------------------------------------------------------------------------------------------------


def test_a_source_travels(files):
    for path in files:
        source = opened(path)
        data = pickle.dumps(source)
        again = pickle.loads(data)
        assert again.identity == source.identity
        np.testing.assert_array_equal(pixels(again), IMAGE)
        variable = pickle.loads(pickle.dumps(source.variables[0]))
        np.testing.assert_array_equal(variable.read(EVERYTHING), IMAGE)
        if path.suffix != ".npy":
            assert pickle.loads(data) is again
            assert len(data) < 2500
    assert np.array_equal(pixels(pickle.loads(pickle.dumps(open_source(IMAGE)))), IMAGE)


def test_a_mapped_array_travels_by_name(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((400, 500), "u2"))
    whole = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert len(pickle.dumps(open_source(whole).variables)) < 2000
    assert len(pickle.dumps(open_source(whole[1:]).variables)) > 390_000  # its place in the file is not told by NumPy


def test_another_process_opens_it(files):
    script = (
        "import pickle, sys\nfor source in pickle.load(sys.stdin.buffer):\n"
        "    v = source.variables[0]\n    print(int(v.read(tuple(slice(0, n) for n in v.shape)).sum()))"
    )
    data = pickle.dumps([opened(path) for path in files])
    done = subprocess.run([sys.executable, "-c", script], input=data, capture_output=True, check=False, timeout=60)
    assert done.stderr == b""
    assert done.stdout.split() == [str(int(IMAGE.sum())).encode()] * len(files)


def test_another_process_refuses_another_store(files):
    import patchmill.sources.recipes as room

    data = pickle.dumps(open_source(files[0]))
    room._reopened.cache_clear()
    zarr.open_group(files[0])["pixels"].resize((5, 3, 40, 50))
    with pytest.raises(SourceError, match="changed or vanished"):
        pickle.loads(data)


# -- reading -----------------------------------------------------------------------------------------------------------


def test_threads_read_any_region(files):
    random = np.random.default_rng(1)
    regions = []
    for _ in range(64):
        corner = [int(random.integers(n)) for n in IMAGE.shape]
        regions.append(
            tuple(slice(a, int(random.integers(a, n)) + 1) for a, n in zip(corner, IMAGE.shape, strict=True))
        )
    for path in files:
        source = opened(path)
        with ThreadPoolExecutor(8) as pool:
            for region, found in zip(regions, pool.map(partial(pixels, source), regions), strict=True):
                np.testing.assert_array_equal(found, IMAGE[region])


def test_a_cached_source_gives_the_same(files):
    for path in files:
        source = opened(path).cached(1 << 20, 1 << 40)
        np.testing.assert_array_equal(pixels(source), IMAGE)
        np.testing.assert_array_equal(pixels(pickle.loads(pickle.dumps(source))), IMAGE)
    zarred = opened(files[1]).cached(1 << 20, 1 << 40)
    pixels(zarred)
    for path in (files[1] / "c").rglob("*"):
        if path.is_file():
            path.write_bytes(b"damaged")
    np.testing.assert_array_equal(pixels(zarred), IMAGE)


def test_how_well_a_source_is_packed(files, tmp_path):
    plain, sharded, netcdf, mapped = (opened(path) for path in files)
    for source in (plain, sharded):
        assert 0.9 < source.stored_ratio(source.variables[0]) < 1.2  # noise
    assert netcdf.stored_ratio(netcdf.variables[0]) is None
    assert mapped.stored_ratio(mapped.variables[0]) is None
    zarr.create_array(tmp_path / "zeros.zarr", data=np.ones((500, 500), "u2"), chunks=(100, 100))
    zeros = open_source(tmp_path / "zeros.zarr")
    assert zeros.stored_ratio(zeros.variables[0]) < 0.1


def test_a_file_stays_raw(tmp_path):
    """Packed integers stay integers, as in a Zarr store; coordinates are what they mean."""
    attributes = {"scale_factor": 0.1, "add_offset": 5.0, "_FillValue": np.int16(-1)}
    raw = xr.Dataset(
        {"t": (("lat", "lon"), np.arange(600, dtype="i2").reshape(20, 30), attributes)}, {"lat": np.arange(20)}
    )
    raw.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    source = open_source(tmp_path / "a.nc")
    (variable,) = source.variables
    assert (variable.name, variable.dtype, variable.nodata) == ("t", np.dtype("i2"), -1)
    assert source.dims == {"y": "lat", "x": "lon"}
    ps = patchmill.write_patches(tmp_path / "a.nc", tmp_path / "set.zarr", 10)
    np.testing.assert_array_equal(ps[1][:, 0], np.arange(10, 310, 30))


def test_geotiff(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    image = IMAGE[0]
    with rasterio.open(
        tmp_path / "a.tif", "w", driver="GTiff", count=3, height=40, width=50, dtype="uint16", crs="EPSG:32632",
        transform=rasterio.Affine(10, 0, 500000, 0, -10, 5000000), nodata=0, tiled=True, blockxsize=16, blockysize=16,
    ) as file:  # fmt: skip
        file.write(image)
        file.descriptions = ("r", "g", "b")
    source = open_source(tmp_path / "a.tif")
    (variable,) = source.variables
    assert (variable.shape, variable.nodata, variable.chunks[2:]) == ((1, 3, 40, 50), 0, (16, 16))
    assert "32632" in source.crs["crs_wkt"]
    np.testing.assert_array_equal(
        variable.read((slice(0, 1), slice(1, 3), slice(5, 40), slice(0, 7)))[0], image[1:, 5:, :7]
    )
    (chosen,) = open_source(tmp_path / "a.tif", channels=["3", "1"]).variables
    assert chosen.attributes["long_name"] == ["b", "r"]
    ps = patchmill.write_patches(tmp_path / "a.tif", tmp_path / "set.zarr", 16)
    np.testing.assert_array_equal(ps[0], image[:, :16, :16])
    np.testing.assert_array_equal(pixels(pickle.loads(pickle.dumps(source)), (slice(0, 1), *EVERYTHING[1:]))[0], image)


def test_pages_of_a_tiff_are_for_ingest(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    pytest.importorskip("rioxarray")
    tifffile.imwrite(tmp_path / "stack.tif", IMAGE[0], photometric="minisblack")
    with pytest.raises(SourceError, match=r"stack.tif holds 3 pages, .* would be cut: ingest it"):
        open_source(tmp_path / "stack.tif")
    tifffile.imwrite(tmp_path / "one.tif", IMAGE[0, 0])
    assert open_source(tmp_path / "one.tif").variables[0].name == "image"


def test_files_that_can_not_be(tmp_path):
    (tmp_path / "text.nc").write_text("no file of that kind")
    with pytest.raises(SourceError, match="can't be opened"):
        open_source(tmp_path / "text.nc")
    with pytest.raises(FileNotFoundError, match="nothing is at"):
        open_source(tmp_path / "absent.tif")
    with pytest.raises(PatchmillError, match="only Zarr"):
        open_source("s3://bucket/a.nc")
    with pytest.raises(ValueError, match="storage_options are for"):
        open_source(IMAGE, storage_options={"anon": True})


def test_plain_hdf5_needs_to_be_told_its_axes(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["image"] = IMAGE[0]
    dims = {"channel": "phony_dim_0", "y": "phony_dim_1", "x": "phony_dim_2"}
    np.testing.assert_array_equal(pixels(open_source(tmp_path / "a.h5", dims=dims))[0], IMAGE[0])


# -- channels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["zarr", "netcdf", "xarray", "dask"])
def test_variables_become_channels(dataset, tmp_path, kind):
    match kind:
        case "zarr":
            source = tmp_path / "a.zarr"
            dataset.to_zarr(source, zarr_format=3, consolidated=False)
        case "netcdf":
            source = tmp_path / "a.nc"
            dataset.to_netcdf(source, engine="h5netcdf")
        case _:
            source = dataset if kind == "xarray" else dataset.chunk(20)
    ps = patchmill.view_patches(source, 16, channels=["B04", "B02"])
    np.testing.assert_array_equal(ps[0], IMAGE[0, [2, 0], :16, :16])
    opened = open_source(source, channels=["B04", "B02", "B03"], variables="mask")
    assert [each.name for each in opened.variables] == ["image", "mask"]
    image, mask = opened.variables
    assert list(opened.labels["channel"].values) == ["B04", "B02", "B03"]
    assert image.attributes.get("units") == "1"
    assert "band" not in image.attributes
    np.testing.assert_array_equal(opened.read(image, EVERYTHING), IMAGE[:, [2, 0, 1]])
    np.testing.assert_array_equal(mask.read(EVERYTHING)[:, 0], IMAGE[:, 0] > 30000)
    ps = patchmill.write_patches(source, tmp_path / "set.zarr", 16, channels=["B04", "B02"])
    assert list(ps.to_xarray()["channel"].values) == ["B04", "B02"]
    np.testing.assert_array_equal(ps[0], IMAGE[0, [2, 0], :16, :16])
    again = patchmill.plan(source, 16, channels=["B02", "B04"])
    assert again.patches == len(ps)


def test_channels_that_can_not_be(dataset):
    with pytest.raises(ValueError, match=r"one shape and dtype.*B02.*uint16.*mask.*bool"):
        open_source(dataset, channels=["B02", "mask"])
    with pytest.raises(ValueError, match="'B99'"):
        open_source(dataset, channels=["B99"])
    with pytest.raises(ValueError, match="each once"):
        open_source(dataset, channels=["B02", "B02"])
    with pytest.raises(ValueError, match="each once"):
        open_source(dataset, channels=["B02"], variables=["B02"])
    with pytest.raises(ValueError, match="no variables"):
        open_source(IMAGE, channels=["B02"])
    own = xr.Dataset({"a": (("band", "y", "x"), np.ones((2, 9, 9)))})
    with pytest.raises(ValueError, match="'a' has 2"):
        open_source(own, channels=["a"])


@pytest.mark.parametrize(
    ("dtype", "nodata", "kept"),
    [
        ("i2", (0, -9999), "a 0, b -9999"),
        ("i2", (0, None), "a 0, b None"),
        ("i2", (0, 0.0), 0),
        ("u1", (-1, None), -1),
        ("f4", (np.nan, None), np.nan),
        ("f4", (0.1, np.float32(0.1)), 0.1),
    ],
)
def test_channels_share_one_nodata(dtype, nodata, kept):
    own = {
        name: (("y", "x"), np.ones((9, 9), dtype), {"nodata": value}) for name, value in zip("ab", nodata, strict=True)
    }
    if isinstance(kept, str):
        with pytest.raises(ValueError, match=f"agree on nodata, got {kept}: give them one, or cut them as variables="):
            open_source(xr.Dataset(own), channels=["a", "b"])
    else:
        np.testing.assert_equal(open_source(xr.Dataset(own), channels=["a", "b"]).variables[0].nodata, kept)


@pytest.mark.parametrize("other", [(1.0, 2.0), (1.0, 3.0), None])
def test_channels_share_the_nodata_of_each_image(other):
    own = {name: (("image", "y", "x"), np.ones((2, 9, 9))) for name in "ab"}
    own |= {f"nodata_{name}": ("image", list(each)) for name, each in (("a", (1.0, 2.0)), ("b", other)) if each}
    if other == (1.0, 2.0):
        assert open_source(xr.Dataset(own), channels=["a", "b"]).variables[0].nodatas.tolist() == [1, 2]
    else:
        with pytest.raises(ValueError, match="agree on nodata, got a one each image, b "):
            open_source(xr.Dataset(own), channels=["a", "b"])


def test_an_array_may_be_called_like_an_axis(tmp_path):
    """As the canonical one is; only an array of one axis can be a coordinate."""
    group = zarr.open_group(tmp_path / "group.zarr", mode="w")
    names = ["image", "channel", "y", "x"]
    group.create_array("image", data=np.arange(48).reshape(1, 2, 4, 6), dimension_names=names)
    group.create_array("y", data=np.arange(4.0), dimension_names=["y"])
    source = open_source(tmp_path / "group.zarr")
    assert [variable.name for variable in source.variables] == ["image"]
    assert source.variables[0].shape == (1, 2, 4, 6)


# -- channels by label -------------------------------------------------------------------------------------------------

BANDS = ["B02", "B03", "B04", "B08", "B11"]
MANY = np.random.default_rng(1).integers(1, 60000, (2, 5, 40, 50), "uint16")


def labeled(tmp_path, kind):
    """An image of five bands and a mask, behind every kind of source that has labels."""
    dims = ("time", "band", "y", "x")
    data = xr.Dataset(
        {"image": (dims, MANY, {"nodata": 7, "units": "1"}), "mask": (("time", "y", "x"), MANY[:, 0] > 30000)},
        {"band": BANDS, "y": np.arange(40) * 10.0},
    )
    data["image"].encoding |= {"chunks": (1, 4, 20, 20)}
    match kind:
        case "zarr":
            data.to_zarr(tmp_path / "a.zarr", zarr_format=2, consolidated=False)
            return tmp_path / "a.zarr"
        case "netcdf":
            data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf", encoding={"image": {"chunksizes": (1, 4, 20, 20)}})
            return tmp_path / "a.nc"
        case "canonical":
            for at, name in enumerate("ab"):
                np.save(tmp_path / f"{name}.npy", MANY[at])
                np.save(tmp_path / f"{name}_mask.npy", (MANY[at, 0] > 30000).astype("uint8"))
            files = [tmp_path / "a.npy", tmp_path / "b.npy"]
            patchmill.ingest(
                files, tmp_path / "s.zarr", variables={"mask": f"{tmp_path}/{{stem}}_mask.npy"}, channels=BANDS
            )
            return tmp_path / "s.zarr"
        case "dataarray":
            return data["image"]
        case "dask":
            return data.chunk({"band": 2, "y": 16})
    return data


KINDS = ["zarr", "canonical", "netcdf", "xarray", "dataarray", "dask"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("names", [["B04", "B08"], ["B11", "B02", "B08"], ["B03"]])
def test_channels_are_chosen_by_label(tmp_path, kind, names):
    source = labeled(tmp_path, kind)
    numbers = [BANDS.index(name) for name in names]
    opened = open_source(source, channels=names)
    image = opened.variables[0]
    assert (image.name, image.channels) == ("image", len(names))
    assert [each.name for each in opened.variables[1:]] == [] if kind == "dataarray" else ["mask"]
    assert [str(each) for each in opened.labels["channel"].values] == names
    np.testing.assert_array_equal(
        opened.read(image, (slice(0, 2), slice(0, len(names)), *EVERYTHING[2:])), MANY[:, numbers]
    )
    region = (slice(1, 2), slice(1, len(names)), slice(3, 33), slice(18, 50))
    np.testing.assert_array_equal(opened.read(image, region), MANY[:, numbers][region])
    only = None if kind == "dataarray" else "image"
    ps = patchmill.write_patches(source, tmp_path / "set.zarr", 16, 8, channels=names, variables=only)
    assert [str(each) for each in ps.to_xarray()["channel" if kind == "canonical" else "band"].values] == names
    np.testing.assert_array_equal(ps.to_dask(), patchmill.patchify(MANY[:, numbers], 16, 8))
    view = patchmill.view_patches(source, 16, 8, channels=names)
    batch = view.read([5, 0, 30])
    np.testing.assert_array_equal(batch if kind == "dataarray" else batch["image"], ps.read([5, 0, 30]))
    assert patchmill.verify(tmp_path / "set.zarr", deep=True).ok


@pytest.mark.parametrize("name", [5, None])
def test_a_name_that_is_no_text_is_no_variable(tmp_path, name):
    for source in (labeled(tmp_path, "zarr"), labeled(tmp_path, "xarray")):
        with pytest.raises(ValueError, match=f"has no variable {name}, it has image, mask$"):
            open_source(source, variables=[name])


def test_what_belongs_to_chosen_channels_goes_along(tmp_path):
    source = labeled(tmp_path, "zarr")
    image = open_source(source, channels=["B08", "B04"]).variables[0]
    assert (image.nodata, image.attributes["units"]) == (7, "1")
    report = patchmill.inspect(source, channels=["B08", "B04"], variables=["image"])
    assert [each.name for each in report["image"].channels] == ["B08", "B04"]
    assert report["image"].channels[0].maximum == MANY[:, 3].max()
    plan = patchmill.plan(source, 16, channels=["B08", "B04"], variables=["image"])
    assert plan.variables[0].channels == 2
    ps = patchmill.write_patches(
        source, tmp_path / "a.out", 16, channels=["B08", "B04"], variables=["image"], keep='mean["B08"] > 0'
    )
    assert len(ps) == 12
    with pytest.raises(ValueError, match="B02"):
        patchmill.plan(source, 16, channels=["B08", "B04"], variables=["image"], keep='mean["B02"] > 0')
    with pytest.raises(PatchmillError, match=r"other|channels"):
        patchmill.write_patches(source, tmp_path / "a.out", 16, channels=["B04", "B08"], variables=["image"])


def test_texts_of_chosen_channels_go_along_and_other_lists_stay():
    attributes = {"long_name": ["red", "green"], "units": "1", "standard_name": ["a", "b", "c"], "valid_range": [0, 9]}
    data = xr.DataArray(MANY[:, :2], {"band": ["r", "g"]}, ("time", "band", "y", "x"), "image", attributes)
    image = open_source(data, channels=["g"]).variables[0]
    assert image.attributes == attributes | {"long_name": ["green"]}


def test_a_chosen_source_travels_and_keeps_its_order(tmp_path):
    source = open_source(labeled(tmp_path, "zarr"), channels=["B11", "B02"], variables=["mask"])
    again = pickle.loads(pickle.dumps(source))
    assert [each.name for each in again.variables] == ["image", "mask"]
    region = (slice(0, 2), slice(0, 2), *EVERYTHING[2:])
    np.testing.assert_array_equal(again.cached(2**20, 2**40).read(again.variables[0], region), MANY[:, [4, 0]])
    other = open_source(tmp_path / "a.zarr", channels=["B02", "B11"])
    assert dict(other.identity) != dict(source.identity)


def test_channels_that_are_neither_name_what_there_is(tmp_path):
    for kind in KINDS:
        (tmp_path / kind).mkdir()
        source = labeled(tmp_path / kind, kind)
        with pytest.raises(ValueError, match=r"no channel 'B99'.*of image are B02, B03") as found:
            open_source(source, channels=["B04", "B99"])
        assert not {"height", "width", "name", "spatial_ref", "time"} & set(str(found.value).replace(",", "").split())
        if kind != "dataarray":
            assert "its variables are image, mask" in str(found.value)
            with pytest.raises(ValueError, match=r"no variable 'hight', it has image, mask$"):
                open_source(source, variables=["hight"])
    two = xr.Dataset(dict.fromkeys(("raw", "smooth"), (("band", "y", "x"), MANY[0])), {"band": BANDS})
    with pytest.raises(ValueError, match=r"in raw and smooth.*variables="):
        open_source(two, channels=["B04"])
    opened = open_source(two, channels=["B04"], variables=["raw"])
    assert [each.name for each in opened.variables] == ["raw"]
    with pytest.raises(ValueError, match="no labels"):
        open_source(two.drop_vars("band"), channels=["B04"])
