"""Which axis is which, and the same pixels whatever lies behind."""

from __future__ import annotations

import json

import dask.array as da
import numpy as np
import pytest
import xarray as xr
import zarr

import patchmill
from patchmill.errors import SourceError
from patchmill.sources import open_source
from patchmill.sources.naming import canonical_axes
from patchmill.sources.zarrs import nodata_of

IMAGE = np.arange(2 * 3 * 20 * 30, dtype="uint16").reshape(2, 3, 20, 30)


@pytest.mark.parametrize(
    ("names", "dims", "axes"),
    [
        (("image", "channel", "y", "x"), None, {"image": 0, "channel": 1, "y": 2, "x": 3}),
        (("time", "latitude", "longitude"), None, {"image": 0, "y": 1, "x": 2}),
        (("time", "south_north", "west_east"), None, {"image": 0, "y": 1, "x": 2}),
        (("row", "col", "band"), None, {"y": 0, "x": 1, "channel": 2}),
        (
            ("a", "b", "c0", "d"),
            {"image": "a", "channel": "b", "y": "c0", "x": "d"},
            {"image": 0, "channel": 1, "y": 2, "x": 3},
        ),
        (None, ("y", "x", "channel"), {"y": 0, "x": 1, "channel": 2}),
    ],
)
def test_axes_by_name(names, dims, axes):
    assert canonical_axes(names, len(names or dims), dims, "it") == axes


@pytest.mark.parametrize(
    ("names", "ndim", "dims", "words"),
    [
        (("time", "depth", "y", "x"), 4, None, "'depth'.*dims="),
        (("time", "t", "y", "x"), 4, None, "several"),
        (("y", "z"), 2, None, "'z'"),
        (None, 5, None, "2 to 4 axes.*5"),
        (None, 3, ("y", "x"), "3 axes"),
        (("y", "x"), 2, {"y": "lat"}, "'lat'"),
        (("y", "x"), 2, {"row": "y"}, "'row'"),
        (("y", "x", "band"), 3, {"band": "channel"}, "dims maps from image, channel, y, x, got 'band'"),
    ],
)
def test_axes_that_can_not_be_told(names, ndim, dims, words):
    with pytest.raises(ValueError, match=words):
        canonical_axes(names, ndim, dims, "it")


def test_an_axis_without_a_meaning_is_named_where_the_others_are_known():
    levels = xr.Dataset({"u": (("time", "level", "lat", "lon"), np.zeros((2, 3, 20, 30)))})
    with pytest.raises(ValueError, match=r"axis 'level' of variable 'u' has no known meaning.* or select one of it"):
        open_source(levels)
    assert open_source(levels, dims={"channel": "level"}).variables[0].channels == 3
    with pytest.raises(ValueError, match=r"dims goes from .* so give {'image': 'time', 'channel': 'level'}"):
        open_source(levels, dims={"time": "image", "level": "channel"})


def test_a_variable_that_is_not_there_gets_the_nearest():
    scene = xr.Dataset({name: (("y", "x"), np.zeros((20, 30))) for name in ("image", "mask")})
    with pytest.raises(ValueError, match=r"has no variable 'msk', it has image, mask; did you mean mask[?]"):
        open_source(scene, variables=["msk"])


@pytest.fixture
def sources(tmp_path):
    """The same pixels behind every kind of source."""
    turned = IMAGE.transpose(2, 3, 0, 1)
    zarr.create_array(tmp_path / "two.zarr", data=IMAGE, chunks=(1, 1, 7, 8), zarr_format=2)
    zarr.create_array(tmp_path / "sharded.zarr", data=IMAGE, chunks=(1, 3, 5, 5), shards=(1, 3, 10, 10))
    xr.Dataset({"a": (("y", "x", "time", "band"), turned), "count": ("time", [1, 2])}).to_zarr(
        tmp_path / "turned.zarr", consolidated=False
    )
    return [
        IMAGE,
        da.from_array(IMAGE, chunks=(1, 2, 9, 9)),
        xr.DataArray(turned, dims=("y", "x", "time", "band")),
        xr.Dataset({"a": (("y", "x", "time", "band"), turned)}).chunk(),
        IMAGE.astype(">u2"),
        str(tmp_path / "two.zarr"),
        tmp_path / "sharded.zarr",
        f"file://{tmp_path}/turned.zarr",
        tmp_path / "turned.zarr" / "a",
    ]


def test_every_source_gives_the_same(sources, tmp_path):
    for at, each in enumerate(sources):
        source = open_source(each)
        (variable,) = source.variables
        assert variable.shape == IMAGE.shape
        region = (slice(1, 2), slice(0, 2), slice(3, 9), slice(5, 30))
        np.testing.assert_array_equal(source.read(variable, region), IMAGE[region])
        ps = patchmill.write_patches(each, tmp_path / f"{at}.out", 8, 4)
        np.testing.assert_array_equal(ps.to_dask(), patchmill.patchify(IMAGE, 8, 4))


def test_variables_on_other_canvases_are_refused():
    data = xr.Dataset({"a": (("y", "x"), np.zeros((4, 4))), "b": (("lat", "lon"), np.zeros((5, 5)))})
    with pytest.raises(ValueError, match="variables="):
        open_source(data)
    assert open_source(data, variables=["b"]).canvas == (5, 5)
    with pytest.raises(ValueError, match=r"'c'.*a, b"):
        open_source(data, variables=["c"])


def test_a_missing_path_is_a_missing_file():
    with pytest.raises(FileNotFoundError, match="nothing is at"):
        open_source("/nowhere/at/all.zarr")


def test_a_folder_that_is_no_store(tmp_path):
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(patchmill.PatchmillError, match="not a Zarr"):
        open_source(tmp_path)
    with pytest.raises(ValueError, match="ftp://"):
        open_source("ftp://bucket/x.zarr")


@pytest.fixture
def photographs(tmp_path):
    """A canonical store of images of different sizes, with masks."""
    for name, (height, width) in {"a": (40, 30), "b": (20, 50)}.items():
        np.save(tmp_path / f"{name}.npy", np.full((height, width, 3), 7, "uint8"))
        np.save(tmp_path / f"{name}_mask.npy", np.ones((height, width), "uint8"))
    files = [tmp_path / "a.npy", tmp_path / "b.npy"]
    patchmill.ingest(files, tmp_path / "source.zarr", variables={"mask": f"{tmp_path}/{{stem}}_mask.npy"})
    return tmp_path / "source.zarr"


def test_a_path_and_its_xarray_object_give_the_same_set(photographs):
    by_path = patchmill.view_patches(photographs, 8, 4)
    for data in (xr.open_zarr(photographs), xr.open_zarr(photographs, chunks=None)):
        ps = patchmill.view_patches(data, 8, 4)
        assert len(ps) == len(by_path)
        assert list(ps.names) == ["a", "b"]
        assert [each.name for each in ps.variables] == ["image", "mask"]
        np.testing.assert_array_equal(ps.read([0, 90])["image"], by_path.read([0, 90])["image"])
        image = patchmill.view_patches(data["image"], 8, 4)
        assert len(image) == len(by_path)


def test_image_and_mask_with_labels_and_named_axes(tmp_path):
    data = xr.Dataset(
        {
            "image": (("time", "feature", "lat", "lon"), np.ones((2, 3, 20, 20), "uint8")),
            "mask": (("time", "lat", "lon"), np.ones((2, 20, 20), "uint8")),
        },
        coords={"time": np.array(["2001-05-01", "1999-01-01"], "M8[s]")},
    )
    ps = patchmill.write_patches(data, tmp_path / "set.zarr", 8, dims={"channel": "feature"})
    assert set(ps[0]) == {"image", "mask"}
    back = ps.to_xarray()
    assert back["image"].dims[:2] == ("time", "feature")
    assert (back["time"].values.astype("M8[s]") == data["time"].values).all()
    assert (xr.open_zarr(tmp_path / "set.zarr")["time"].values.astype("M8[s]") == data["time"].values).all()
    with pytest.raises(ValueError, match="'nowhere'"):
        patchmill.view_patches(data, 8, dims={"channel": "nowhere"})


@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize(
    ("axis", "names", "label", "given"),
    [
        ("image", ["a", "b", "mask"], "image_label", {"channels": ["a", "b"], "variables": ["mask"]}),
        ("exists", ["image", "mask"], "image_label", {"dims": {"image": "exists"}}),
        ("valid_fraction", ["image", "image_label"], "image_label_", {"dims": {"image": "valid_fraction"}}),
    ],
)
def test_labels_never_lie_where_pixels_do(tmp_path, images, axis, names, label, given):
    pixels = np.arange(images * 256).reshape(images, 16, 16)
    labels = [f"label {n}" for n in range(images)]
    several = {name: ((axis, "y", "x"), pixels + at) for at, name in enumerate(names)}
    data = xr.Dataset(several, coords={axis: labels})
    ps = patchmill.write_patches(data, tmp_path / "set.zarr", 16, **given)
    cut = ps.read(range(images))["image"]
    expected = np.stack([pixels, pixels + 1], axis=1) if "channels" in given else pixels[:, None]
    np.testing.assert_array_equal(cut.reshape(expected.shape), expected)
    assert list(ps.to_xarray()[label].values) == labels
    assert patchmill.verify(tmp_path / "set.zarr", deep=True).ok


@pytest.mark.parametrize(("name", "length"), [("time", 2), ("band", 3), ("y", 30), ("x", 7)])
def test_labels_of_another_length_than_their_axis_are_refused(tmp_path, name, length):
    group = zarr.open_group(tmp_path / "source.zarr", mode="w")
    group.create_array("im", shape=(3, 2, 20, 20), dtype="u2", dimension_names=("time", "band", "y", "x"))
    group.create_array(name, data=np.arange(length), dimension_names=(name,))
    with pytest.raises(SourceError, match=rf"got {length} in {name} and a length of \d+ in im, "):
        patchmill.write_patches(tmp_path / "source.zarr", tmp_path / "set.zarr", 8)
    assert not (tmp_path / "set.zarr").exists()


def test_planning_over_a_file_reads_no_pixel(tmp_path):
    lazy = xr.Dataset({"it": (("t", "c", "y", "x"), IMAGE)}).chunk(5)
    lazy.to_zarr(tmp_path / "lazy.zarr", consolidated=False, zarr_format=3)
    data = xr.open_zarr(tmp_path / "lazy.zarr", chunks=None, consolidated=False)
    for chunk in (tmp_path / "lazy.zarr/it/c").rglob("*"):
        if chunk.is_file():
            chunk.write_bytes(b"damaged")
    assert patchmill.plan(data, 8).patches == 2 * 2 * 3


def test_dates_out_of_reach_become_text(tmp_path):
    times = np.array(["2001-05-01", "1500-01-01"], "M8[s]")
    data = xr.DataArray(np.ones((2, 20, 20), "uint8"), dims=("time", "y", "x"), coords={"time": times})
    patchmill.write_patches(data, tmp_path / "set.zarr", 8)
    assert list(xr.open_zarr(tmp_path / "set.zarr")["image"].values) == ["2001-05-01T00:00:00", "1500-01-01T00:00:00"]


UNDECODED = [
    ({"units": "months since 1960-01-01"}, [0, 1, 2]),
    ({"units": "days since 2000-01-01", "calendar": "noleap"}, [0, 1, 2]),
    ({"units": "hours since 0001-01-01"}, [17529000, 17529001, 17529002]),
    ({"units": "days since 1970-01-01"}, [0, 1, 10**9]),
    ({"units": "days since 1970-01-01"}, ["a", "b", "c"]),
    ({"units": "days_since_launch"}, [0.5, 1, 2]),
]


@pytest.mark.parametrize(("attributes", "times"), UNDECODED)
@pytest.mark.parametrize("layout", ["patches", "canvas"])
def test_times_that_xarray_can_not_decode_stay_as_they_are(tmp_path, attributes, times, layout):
    places = {
        "time": ("time", times, attributes),
        "y": ("y", range(9), {"units": "seconds since trigger", "axis": "Y"}),
    }
    data = xr.Dataset({"im": (("time", "y", "x"), np.ones((3, 9, 9), "u1"), attributes)}, coords=places)
    data.coords["spatial_ref"] = ((), 0, {"units": "days since launch"})
    ps = patchmill.write_patches(data, tmp_path / "set.zarr", 4, layout=layout)
    assert ps.catalog["image"].values.tolist() == times
    opened = xr.open_zarr(tmp_path / "set.zarr")
    assert opened["y"].attrs == {"axis": "Y"}
    assert opened["spatial_ref"].attrs == {}
    source = ps.stored.own["source"]
    assert source["labels"] == {
        "image": attributes, "y": {"units": "seconds since trigger"}, "spatial_ref": {"units": "days since launch"}
    }  # fmt: skip
    assert source["variables"]["im"]["attributes"] == attributes


def test_times_that_xarray_decodes_are_dates(tmp_path):
    times = ("time", [0.5, np.nan], {"units": "days since 2000-1-1 12:00", "calendar": "standard"})
    data = xr.Dataset({"im": (("time", "y", "x"), np.ones((2, 9, 9), "u1"))}, coords={"time": times})
    ps = patchmill.write_patches(data, tmp_path / "set.zarr", 4)
    np.testing.assert_array_equal(ps.catalog["image"], np.array(["2000-01-02", "NaT"], "M8[ns]"))
    assert "labels" not in ps.stored.own["source"]


@pytest.mark.parametrize("suffix", ["", ".nc", ".zarr"])
@pytest.mark.parametrize(
    ("name", "value", "named"), [("crs", 0, True), ("crs", "", False), ("utm", 0, True), ("spatial_ref", 0, False)]
)
@pytest.mark.parametrize("dims", [("y", "x"), ("time", "y", "x")])
def test_the_scalar_that_tells_the_crs_is_kept_whatever_it_is_called(tmp_path, suffix, name, value, named, dims):
    pixels = np.ones((2, 9, 9)[-len(dims) :], "u1")
    data = xr.Dataset({"im": (dims, pixels, {"grid_mapping": name} if named else {})})
    data[name] = ((), np.array(value), {"crs_wkt": "GEOGCRS[...]"})
    source = f"{tmp_path}/source{suffix}"
    if suffix == ".nc":
        data.to_netcdf(source, engine="h5netcdf")
    elif suffix == ".zarr":
        data.to_zarr(source, zarr_format=2)
    patchmill.write_patches(source if suffix else data, tmp_path / "set.zarr", 4)
    opened = xr.open_zarr(tmp_path / "set.zarr")
    assert opened["spatial_ref"].attrs == {"crs_wkt": "GEOGCRS[...]"}
    assert "crs" not in opened


def labeled(axis, labels):
    sizes = {"image": 2, "y": 8, "x": 8} | {axis: len(labels)}
    return xr.DataArray(np.ones(tuple(sizes.values()), "u1"), dims=tuple(sizes), coords={axis: labels})


def objects(*labels):
    found = np.empty(len(labels), object)
    found[:] = labels
    return found


@pytest.mark.parametrize(
    ("labels", "stored"),
    [
        (np.array(["Münster".encode(), b"b"]), ["Münster", "b"]),
        (np.array([b"M\xfcnster", b"b"]), ["M\\xfcnster", "b"]),
        (objects(b"M\xfcnster", 3), ["M\\xfcnster", "3"]),
        (objects("M\udcfcnster", 2.5), ["M\\udcfcnster", "2.5"]),
        (np.array(["M\udcfcnster", "b"]), ["M\\udcfcnster", "b"]),
        (objects(("a", 1), (b"b", ("c", np.int64(2)))), ["a, 1", "b, c, 2"]),
    ],
)
def test_labels_of_any_kind_become_text(tmp_path, labels, stored):
    ps = patchmill.write_patches(labeled("image", labels), tmp_path / "set.zarr", 4)
    assert list(xr.open_zarr(tmp_path / "set.zarr")["image"].values) == stored
    assert list(ps.to_xarray()["image"].values) == stored
    assert patchmill.verify(tmp_path / "set.zarr", deep=True).ok


def test_a_stacked_axis_is_labeled_by_its_parts(tmp_path):
    scenes = {"scene": ["a", "b"], "time": [1, 2]}
    data = xr.DataArray(np.ones((2, 2, 8, 8), "u1"), dims=("scene", "time", "y", "x"), coords=scenes)
    patchmill.write_patches(data.stack(image=("scene", "time")), tmp_path / "set.zarr", 4)
    assert list(xr.open_zarr(tmp_path / "set.zarr")["image"].values) == ["a, 1", "a, 2", "b, 1", "b, 2"]


@pytest.mark.parametrize(("wide", "stored"), [(np.longdouble, np.float64), (np.clongdouble, np.complex128)])
def test_coordinates_are_kept_in_double_precision(tmp_path, wide, stored):
    values = np.arange(8, dtype=wide) / 3
    values[0] = np.nan
    patchmill.write_patches(labeled("x", values), tmp_path / "set.zarr", 4, edge="pad", step=1)
    kept = xr.open_zarr(tmp_path / "set.zarr")["x"]
    assert kept.dtype == stored
    np.testing.assert_array_equal(kept, values.astype(stored)[: len(kept)])


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize(
    ("labels", "error", "words"),
    [
        (np.zeros(8, "i4,f4"), TypeError, r"numbers, dates or texts, got .* in 'x': drop it with source.drop_vars"),
        (np.zeros(8, "V3"), TypeError, r"numbers, dates or texts, got .* in 'x'"),
        pytest.param(
            np.full(8, np.finfo(np.longdouble).max),
            ValueError,
            "double precision, got numbers beyond it in 'x'",
            marks=pytest.mark.skipif(np.dtype(np.longdouble).itemsize == 8, reason="here it is double precision"),
        ),
    ],
)
def test_coordinates_that_can_not_be_stored_are_told_before_anything_is_cut(tmp_path, labels, error, words, there):
    seen = []
    data = labeled("x", labels)
    if there:
        patchmill.write_patches(data.drop_vars("x"), tmp_path / "set.zarr", 4)
    with pytest.raises(error, match=words):
        patchmill.write_patches(
            data, tmp_path / "set.zarr", 4, mode="overwrite" if there else "resume", progress=seen.append
        )
    assert not seen
    assert [path.name for path in tmp_path.iterdir()] == (["set.zarr"] if there else [])


def test_channels_keep_their_own_labels(tmp_path):
    coords = {"band": ["r", "g"], "c": ["u", "v"]}
    one = np.ones((2, 9, 9), "u1")
    data = xr.Dataset({"p": (("band", "y", "x"), one), "q": (("c", "y", "x"), one)}, coords=coords)
    patchmill.write_patches(data, tmp_path / "set.zarr", 4)
    opened = xr.open_zarr(tmp_path / "set.zarr")
    assert opened["p"].dims[1] == "channel_p"
    assert list(opened["channel_p"].values) == ["r", "g"]
    assert list(opened["channel_q"].values) == ["u", "v"]


def test_coordinates_are_what_they_mean(tmp_path):
    packed = {"scale_factor": 0.5, "add_offset": 10.0, "_FillValue": float("nan")}
    raw = xr.Dataset(
        {"a": (("y", "x"), np.ones((9, 9), "i2"))},
        coords={"y": ("y", np.arange(9, dtype="i2"), packed)},
    )
    ps = patchmill.write_patches(raw, tmp_path / "set.zarr", 4)
    np.testing.assert_array_equal(xr.open_zarr(tmp_path / "set.zarr")["y"], [10, 12])
    np.testing.assert_array_equal(ps.to_xarray()["y"], [10, 12])


def test_a_masked_array_is_refused():
    masked = np.ma.masked_greater(np.arange(100).reshape(10, 10), 50)
    for array in (masked, da.from_array(masked)):
        with pytest.raises(TypeError, match="filled"):
            open_source(array)


def test_nodata_as_xarray_writes_it_into_zarr(tmp_path):
    values = np.full((20, 20), 5, "f4")
    values[:7] = -9999
    data = xr.Dataset({"a": (("y", "x"), values)})
    encoding = {"a": {"_FillValue": np.float32(-9999)}}
    data.to_zarr(tmp_path / "a.zarr", encoding=encoding, consolidated=False, zarr_format=3)
    ps = patchmill.write_patches(tmp_path / "a.zarr", tmp_path / "set.zarr", 20)
    assert float(ps.catalog["valid_fraction"][0, 0, 0]) == pytest.approx(13 / 20)
    assert float(ps.catalog["stat_min"].squeeze()) == 5


@pytest.mark.parametrize("nodata", [np.inf, -np.inf, np.nan])
def test_nodata_that_json_has_no_word_for(tmp_path, nodata):
    """From a DataArray, a Zarr store and its attributes as text, through a set, and out of it again."""
    image = np.arange(64, dtype="float32").reshape(8, 8)
    image[:4, :2] = nodata
    array = xr.DataArray(image, dims=("y", "x"), attrs={"nodata": np.float32(nodata)})
    xr.Dataset({"a": array.drop_attrs()}).to_zarr(
        tmp_path / "a.zarr", encoding={"a": {"_FillValue": np.float32(nodata)}}, consolidated=False
    )
    for at, given in enumerate((array, tmp_path / "a.zarr", array.assign_attrs(nodata=str(nodata).upper()))):
        (variable,) = open_source(given).variables
        np.testing.assert_equal(variable.nodata, nodata)
        place = tmp_path / f"{at}.out"
        ps = patchmill.write_patches(given, place, 4, statistics=True)
        assert ps.catalog["valid_fraction"].values.ravel().tolist() == [0.5, 1, 1, 1]
        assert ps.catalog["stat_min"].values.ravel()[0] == image[0, 2]
        json.loads((place / "zarr.json").read_text(), parse_constant=pytest.fail)
        report = patchmill.verify(place)
        assert report.ok, report


@pytest.mark.parametrize("name", ["nodata", "_FillValue", "missing_value"])
def test_nodata_in_a_list_of_one(tmp_path, name):
    """As NetCDF's attributes come through some converters; of several values none is the one."""
    values = np.full((20, 20), 5, "int16")
    values[:7] = -9999
    for attributes, share in (({name: [-9999]}, 13 / 20), ({name: [-9999, 5]}, 1)):
        zarr.create_array(tmp_path / "a.zarr", data=values, attributes=attributes, overwrite=True)
        (variable,) = open_source(tmp_path / "a.zarr").variables
        assert variable.nodata == (-9999 if share < 1 else None)
        ps = patchmill.write_patches(tmp_path / "a.zarr", tmp_path / "set.zarr", 20, mode="overwrite")
        assert float(ps.catalog["valid_fraction"].squeeze()) == pytest.approx(share)
    array = xr.DataArray(values, dims=("y", "x"), attrs={name: np.array([-9999], "int16")})
    assert open_source(array).variables[0].nodata == -9999


def test_infinite_nodata_that_is_transformed(tmp_path):
    image = np.arange(64, dtype="float32").reshape(8, 8)
    image[:4, :2] = -np.inf
    array = xr.DataArray(image, dims=("y", "x"), attrs={"nodata": -np.inf})
    ps = patchmill.write_patches(array, tmp_path / "a.zarr", 4, transform="scale(2.0)", statistics=True)
    assert ps.catalog["valid_fraction"].values.ravel().tolist() == [0.5, 1, 1, 1]
    json.loads((tmp_path / "a.zarr/patches/zarr.json").read_text(), parse_constant=pytest.fail)
    with xr.open_zarr(tmp_path / "a.zarr") as data:
        assert nodata_of(data["patches"].attrs, data["patches"].dtype) == -np.inf
    report = patchmill.verify(tmp_path / "a.zarr")
    assert report.ok, report


@pytest.mark.parametrize(
    ("text", "value"),
    [("Infinity", np.inf), ("-infinity", -np.inf), ("+INF", np.inf), ("NaN", np.nan), ("none", None), ("1_0", None)],
)
def test_nodata_as_text(text, value):
    np.testing.assert_equal(nodata_of({"nodata": text}, np.dtype("f4")), value)


@pytest.mark.parametrize(
    ("shape", "dims"),
    [((50, 60, 3), 'dims=("y", "x", "channel")'), ((2, 50, 60, 4), 'dims=("image", "y", "x", "channel")')],
)
def test_an_unnamed_array_whose_channels_may_come_last_gets_a_hint(shape, dims, tmp_path):
    zarr.create_array(tmp_path / "unnamed.zarr", shape=shape, dtype="uint8")
    for source in (np.zeros(shape, "uint8"), tmp_path / "unnamed.zarr"):
        with pytest.raises(ValueError, match="a patch must fit") as found:
            patchmill.plan(source, 16)
        assert f"if channels come last, say {dims}" in str(found.value)


@pytest.mark.parametrize("source", [
    np.zeros((3, 50, 10), "uint8"),
    np.zeros((50, 3), "uint8"),
    xr.DataArray(np.zeros((50, 60, 3), "uint8"), dims=("channel", "y", "x")),
])  # fmt: skip
def test_no_other_array_gets_it(source):
    with pytest.raises(ValueError, match="a patch must fit") as found:
        patchmill.plan(source, 16)
    assert "channels come last" not in str(found.value)


def test_patterns_and_folders_of_files_are_for_ingest(tmp_path):
    np.save(tmp_path / "a.npy", IMAGE[0])
    for given in (tmp_path / "*.tif", tmp_path / "[ab].zarr"):
        with pytest.raises(FileNotFoundError) as found:
            patchmill.plan(given, 8)
        assert f"patchmill ingest '{given}' --target source.zarr" in str(found.value)
    with pytest.raises(patchmill.PatchmillError, match=f"patchmill ingest {tmp_path} --target source.zarr"):
        patchmill.plan(tmp_path, 8)


@pytest.mark.parametrize(
    ("dims", "got"),
    [
        ({"y": ["p"], "x": "q"}, r"\['p'\]"),
        ({"y": None, "x": "q"}, "None"),
        ({("y",): "p", "x": "q"}, r"\('y',\)"),
        ((["y"], "x"), r"\['y'\]"),
        ((0, 1), "0"),
    ],
)
def test_axes_that_are_not_named_by_texts(dims, got):
    with pytest.raises(TypeError, match=rf"dims must name each axis by a text, such as .* got {got} in "):
        open_source(xr.DataArray(np.zeros((9, 9)), dims=("p", "q")), dims=dims)


@pytest.mark.parametrize("dims", [5, "yx"])
def test_dims_that_are_no_names(dims):
    with pytest.raises(TypeError, match=f"dims must be a mapping or a list such as .* got {dims!r}"):
        open_source(np.zeros((9, 9)), dims=dims)
