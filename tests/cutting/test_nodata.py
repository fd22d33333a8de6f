"""Images whose nodata values or CRS differ: each is cut as if it were alone."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import patchmill
from cuts import array_objects
from patchmill.planning import shapes
from patchmill.sources import open_source

rasterio = pytest.importorskip("rasterio")

SIZE, SMALL = (30, 45), (8, 28)
FIELDS = ("mean", "std", "min", "max")


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    """Shards that hold half an image, or several small ones."""
    for name, size in {"_SHARD": 9000, "_SMALL": 200, "_CHUNK": 500, "_ROWS": 64}.items():
        monkeypatch.setattr(shapes, name, size)


def write(path, number, nodata, *, size=SIZE, dtype="uint16", crs="EPSG:32633", mask=False):
    """A file of two bands, a third of whose values are 0, 5 or 65535."""
    path.parent.mkdir(exist_ok=True, parents=True)
    random = np.random.default_rng(number)
    values = random.integers(1, 999, (1 if mask else 2, *size)).astype(dtype)
    values[:, : size[0] // 2, :8] = 0
    values[random.random(values.shape) < 0.2] = 5
    values[:, :, 20:27] = 250 if dtype == "uint8" else 65535
    place = {"crs": crs, "transform": rasterio.Affine(10, 0, number, 0, -10, 0)}
    with rasterio.open(path, "w", "GTiff", size[1], size[0], len(values), dtype=dtype, nodata=nodata, **place) as file:
        file.write(values)
    return str(path)


def files_in(folder, nodatas, **options):
    return [write(folder / f"{number:02}.tif", number, nodata, **options) for number, nodata in enumerate(nodatas)]


def alone(folder, paths, **arguments):
    """The sets that are cut of the pixels of each file, without an ingest."""
    for number, path in enumerate(paths):
        with rasterio.open(path) as file:
            attributes = {} if file.nodata is None else {"nodata": file.nodata}
            image = xr.DataArray(file.read()[None], dims=("image", "channel", "y", "x"), name="image", attrs=attributes)
        yield patchmill.write_patches(image, folder / f"alone{number}.patches", **arguments)


def assert_like_alone(ps, sets):
    """Image by image, the catalog is that of the sets."""
    for image, other in enumerate(sets):
        mine, own = ps.catalog.isel(image=image), other.catalog.isel(image=0)
        for name in ("exists", "valid_fraction", *(f"stat_{field}" for field in FIELDS)):
            if name in own:
                there = tuple(slice(0, n) for n in own["exists"].shape)
                np.testing.assert_array_equal(
                    mine[name].values[..., *there], own[name].values, err_msg=f"{image} {name}"
                )


def assert_whole(ps):
    """Pixels agree with the catalog, and all of them are compared where the set says what nodata is."""
    report = patchmill.verify(ps.url, deep=True)
    assert report.ok, report
    return report


NODATAS = st.lists(st.sampled_from([None, 0, 5, 65535]), min_size=2, max_size=4)
CHANGES = {
    "none": ({}, "uint16"),
    "wider": ({"dtype": "float32"}, "uint16"),
    "floats": ({}, "float32"),
    "scaled": ({"transform": "scale(0.5)"}, "uint16"),
    "clipped": ({"transform": "clip(3, 600)"}, "uint16"),
    "as a whole": ({"transform": "standardize()"}, "uint16"),
}


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    nodatas=NODATAS,
    change=st.sampled_from(sorted(CHANGES)),
    layout=st.sampled_from(["patches", "canvas"]),
    keep=st.sampled_from([None, "valid_fraction > 0.6", "mean[0] > 300"]),
    statistics=st.sampled_from([True, None]),
    small=st.booleans(),
    edge=st.sampled_from(["drop", "pad", "shift"]),
)
def test_each_image_has_the_catalog_that_it_has_alone(
    tmp_path_factory,
    nodatas,
    change,
    layout,
    keep,
    statistics,
    small,
    edge,
):
    folder = tmp_path_factory.mktemp("nodata")
    changes, dtype = CHANGES[change]
    if change == "as a whole" and layout == "canvas":
        return
    arguments = {"patch_shape": 7, "step": 5, "layout": layout, "keep": keep, "statistics": statistics, "edge": edge}
    size = SMALL if small else SIZE  # small images share a shard
    paths = files_in(folder, nodatas, size=size, dtype=dtype)
    source = patchmill.ingest(paths, folder / "source.zarr").target
    ps = patchmill.write_patches(source, folder / "set.zarr", **arguments, **changes)
    assert_like_alone(ps, alone(folder, paths, **arguments, **changes))
    assert_whole(ps)


def test_images_of_several_sizes_in_one_shard(tmp_path):
    nodatas, sizes = [0, 65535, 5, None, 5], [SMALL, SMALL, (7, 30), (7, 30), SMALL]
    paths = [
        write(tmp_path / f"{n}.tif", n, nodata, size=size)
        for n, (nodata, size) in enumerate(zip(nodatas, sizes, strict=True))
    ]
    arguments = {"patch_shape": 4, "step": 3, "statistics": True, "keep": "valid_fraction > 0.5"}
    source = patchmill.ingest(paths, tmp_path / "source.zarr").target
    ps = patchmill.write_patches(source, tmp_path / "set.zarr", **arguments)
    assert zarr.open_group(tmp_path / "set.zarr")["patches"].shards[0] > 1
    assert_like_alone(ps, alone(tmp_path, paths, **arguments))
    assert_whole(ps)


def test_slices_give_the_same_bytes(tmp_path):
    source = patchmill.ingest(files_in(tmp_path, [0, 65535, None, 5]), tmp_path / "source.zarr").target
    arguments = {"patch_shape": 7, "step": 5, "statistics": True, "keep": "valid_fraction > 0.6"}
    once = patchmill.write_patches(source, tmp_path / "once.zarr", **arguments)
    for part in ("1/2", "0/2"):
        patchmill.write_patches(source, tmp_path / "sliced.zarr", **arguments, slice=part)
    patchmill.write_patches(source, tmp_path / "sliced.zarr", **arguments)
    assert array_objects(tmp_path / "sliced.zarr") == array_objects(tmp_path / "once.zarr")
    again = pickle.loads(pickle.dumps(open_source(source)))
    np.testing.assert_array_equal(again.variables[0].nodatas, once.catalog["nodata_image"])


def test_half_of_each_of_two_images_is_nodata(tmp_path):
    values = np.full((256, 256), 500, "uint16")
    values[:128] = 0
    profile = {"dtype": "uint16", "transform": rasterio.Affine(10, 0, 0, 0, -10, 0)}
    for name, nodata in (("a", 0), ("b", 65535)):
        with rasterio.open(tmp_path / f"{name}.tif", "w", "GTiff", 256, 256, 1, **profile, nodata=nodata) as file:
            file.write(values[None])
    source = patchmill.ingest(tmp_path / "*.tif", tmp_path / "source.zarr").target
    ps = patchmill.write_patches(source, tmp_path / "set.zarr", 256)
    assert ps.catalog["valid_fraction"].values.ravel().tolist() == [0.5, 1.0]
    assert ps.catalog["stat_mean"].values.ravel().tolist() == [500, 250]
    assert ps.catalog["nodata_image"].values.tolist() == [0, 65535]
    assert "nodata" not in zarr.open_group(tmp_path / "set.zarr")["patches"].attrs
    [channel] = patchmill.inspect(source)["image"].channels
    assert channel.nodata == 128 * 256
    assert channel.mean == pytest.approx(1000 / 3)


def magnitude(patches):
    return abs(patches)


magnitude.pointwise = True


def classes(patches):
    return np.where(patches == -9999, 255, np.clip(np.rint(patches), 0, 254)).astype("uint8")


classes.pointwise = True


def fragile(patches):
    if ((patches != 0) & (abs(patches) < 1e-9)).any():
        raise ValueError("nothing so small was ever measured")
    return patches * 2


fragile.pointwise = True


@pytest.mark.parametrize(
    ("dtype", "nodata", "changed", "stored"),
    [
        ("int16", -5, {"transform": magnitude}, None),  # 5 has become the same
        ("int16", -32767, {"transform": magnitude}, None),
        ("uint16", 7, {"transform": magnitude}, 7),
        ("float32", 0.0, {"dtype": "uint8"}, None),  # fractions have
        ("float32", 0.0, {"dtype": "uint16", "transform": "scale(100)"}, None),
        ("uint8", 0, {"dtype": "float32"}, 0),
        ("float32", -9999.0, {"dtype": "int16"}, -9999),  # nothing is measured beside it
        ("float32", 255.0, {"dtype": "uint8"}, None),
        ("float32", -9999.0, {"transform": classes}, 255),  # it says itself where nodata goes
        ("float32", 0.0, {"dtype": "float16"}, None),  # 1e-8 has
        ("float64", 0.0, {"dtype": "float32"}, None),
        ("float32", 0.0, {"transform": "scale(1e-30)"}, None),
        ("float32", 0.0, {"transform": "scale(1, 100)"}, None),
        ("float32", 0.0, {"transform": "scale(0.5)"}, 0),
        ("float32", 0.0, {"transform": fragile}, 0),
        ("float32", 1e-9, {"dtype": "float16"}, None),
        ("float32", 0.0, {"dtype": "float64"}, 0),
        ("float64", -9999.0, {"dtype": "float32"}, -9999),
        ("float32", -999.0, {"dtype": "float16"}, -999),
        ("float32", -3.4e38, {"dtype": "float64"}, float(np.float32(-3.4e38))),
        ("float64", -3.4e38, {"dtype": "float32"}, float(np.float32(-3.4e38))),
        ("float32", -9999.0, {"transform": "scale(0.01, 5)"}, float(np.float32(-9999) * np.float32(0.01) + 5)),
        ("float32", -9999.0, {"transform": "standardize(3, 2)"}, -5001),
    ],
)
def test_nodata_that_other_values_become_is_left_out(tmp_path, dtype, nodata, changed, stored):
    values = np.abs(np.random.default_rng(0).normal(3, 2, (24, 24)) * (100 if dtype == "int16" else 1)).astype(dtype)
    values[:8, :8] = nodata
    image = xr.DataArray(values, dims=("y", "x"), attrs={"nodata": nodata})
    ps = patchmill.write_patches(image, tmp_path / "set.zarr", 8, statistics=True, **changed)
    assert ps.variables[0].nodata == stored
    assert patchmill.open_patches(tmp_path / "set.zarr").variables[0].nodata == stored
    assert ps.catalog.valid_fraction.values[0, 0, 0] == 0
    assert patchmill.verify(tmp_path / "set.zarr", deep=True).ok


@pytest.mark.parametrize(
    ("values", "nodata", "changed"),
    [
        (np.float32([0, 0, 1e-8, 2e-8, 0.5, 1]), 0, {"dtype": "float16"}),
        (np.float64([0, 0, 1e-53, 2, 3, 4]), 0, {"dtype": "float32"}),
        (np.float32([0, 0, 1e-20, 2, 3, 4]), 0, {"transform": "scale(1e-30)"}),
        (np.float32([255, 255, 254.7, 2, 3, 4]), 255.0, {"dtype": "uint8"}),
    ],
)
def test_what_was_measured_is_not_masked_where_it_becomes_like_nodata(tmp_path, values, nodata, changed):
    image = xr.DataArray(values.reshape(2, 3), dims=("y", "x"), attrs={"nodata": nodata})
    ps = patchmill.write_patches(image, tmp_path / "set.zarr", (2, 3), statistics=True, **changed)
    assert ps.catalog.valid_fraction.values.item() == pytest.approx(4 / 6)
    assert ps.read([0], masked=True).count() == 6
    assert_whole(ps)


@pytest.mark.parametrize("changed", [{}, {"dtype": "float64"}, {"transform": "scale(2)"}], ids=str)
@pytest.mark.parametrize("own", [False, True])
def test_what_is_infinite_is_not_a_nodata_beyond_the_type(tmp_path, own, changed):
    """The least number in double precision would be -inf in single precision."""
    least, values = float(np.finfo(np.float64).min), np.ones((2, 20, 20), np.float32)
    values[:, 3] = -np.inf
    data = xr.Dataset({"img": (("image", "y", "x"), values, {} if own else {"nodata": least})})
    data = data.assign(nodata_img=("image", [least, 7.0])) if own else data
    ps = patchmill.write_patches(data, tmp_path / "set.zarr", 20, statistics=True, **changed)
    assert (ps.catalog.valid_fraction.values == 1).all()
    assert (ps.catalog.stat_min.values == -np.inf).all()
    for each in (ps, patchmill.view_patches(data, 20)):
        assert each.read([0, 1], masked=True).count() == values.size
    assert patchmill.verify(tmp_path / "set.zarr", deep=True).ok


@pytest.mark.parametrize(
    ("dtype", "nodata", "changed"),
    [
        ("uint8", -9999.0, {"dtype": "float32"}),
        ("uint8", -9999.0, {"transform": "clip(0, 200)"}),
        ("uint8", 256.0, {"dtype": "int16"}),
        ("uint8", 3.5, {"dtype": "float32"}),
        ("uint8", np.inf, {"dtype": "float32"}),
        ("uint16", -9999.0, {"transform": "scale(2)"}),
        ("int16", 1e20, {"dtype": "float32"}),
        ("int16", np.nan, {"dtype": "float32"}),
        ("bool", 255, {"dtype": "float32"}),
    ],
)
def test_nodata_that_no_pixel_can_be_stays_none(tmp_path, dtype, nodata, changed):
    values = np.arange(256).reshape(16, 16).astype(dtype)
    image = xr.DataArray(values, dims=("y", "x"), attrs={"nodata": nodata})
    ps = patchmill.write_patches(image, tmp_path / "set.zarr", 16, statistics=True, **changed)
    assert ps.variables[0].nodata is None
    assert "nodata" not in zarr.open_group(tmp_path / "set.zarr")["patches"].attrs
    assert ps.read([0], masked=True).count() == values.size
    assert patchmill.verify(tmp_path / "set.zarr", deep=True).ok


def test_of_each_images_own_only_what_pixels_can_be_goes_along(tmp_path):
    values = np.arange(3 * 64, dtype="uint8").reshape(3, 8, 8)
    data = xr.Dataset({"img": (("image", "y", "x"), values), "nodata_img": ("image", [0.5, np.nan, 150.0])})
    ps = patchmill.write_patches(data, tmp_path / "set.zarr", 8, dtype="float32", statistics=True)
    np.testing.assert_array_equal(ps.catalog["nodata_img"], [np.nan, np.nan, 150])
    assert ps.read([0, 1, 2], masked=True).count(axis=(1, 2)).tolist() == [64, 64, 63]
    assert_whole(ps)


# -- what is appended --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layout", "keep", "small", "change", "first"),
    [
        ("patches", "valid_fraction > 0.6", True, "scaled", 0),
        ("canvas", None, True, "none", 0),
        *(
            pytest.param(*each, marks=pytest.mark.slow)
            for each in (
                ("patches", None, False, "none", 0),
                ("patches", None, True, "none", None),
                ("canvas", "valid_fraction > 0.6", False, "scaled", None),
                ("canvas", "valid_fraction > 0.6", True, "clipped", 0),
            )
        ),
    ],
)
def test_nights_give_the_bytes_of_one_cut(tmp_path, layout, keep, small, change, first):
    options = [
        {"nodata": first}, {"nodata": first},
        {"nodata": 65535, "crs": "EPSG:32632"}, {"nodata": 65535},
        {"nodata": first}, {"nodata": 5, "crs": None},
    ]  # fmt: skip
    size = SMALL if small else SIZE
    paths = [write(tmp_path / "in" / f"{n}.tif", n, size=size, **each) for n, each in enumerate(options)]
    arguments = {"patch_shape": 7, "step": 5, "layout": layout, "keep": keep, "statistics": None, **CHANGES[change][0]}
    for night in (2, 3, 6):
        patchmill.ingest(paths[:night], tmp_path / "source.zarr", mode="append")
        ps = patchmill.write_patches(tmp_path / "source.zarr", tmp_path / "grown.zarr", **arguments, mode="append")
        assert_whole(ps)
    once = patchmill.write_patches(tmp_path / "source.zarr", tmp_path / "once.zarr", **arguments)
    assert array_objects(tmp_path / "grown.zarr") == array_objects(tmp_path / "once.zarr")
    assert_like_alone(once, alone(tmp_path, paths, **arguments))
    assert ("nodata_image" in once.catalog) == (change != "clipped")
    epsg = [rasterio.CRS.from_wkt(str(text)).to_epsg() if text else None for text in once.catalog["crs"].values]
    assert epsg == [32633, 32633, 32632, 32633, 32633, None]
    assert "spatial_ref" not in once.catalog


# -- what goes along ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["patches", "canvas"])
def test_a_path_and_its_dataset_give_one_set(tmp_path, layout):
    paths = [
        write(tmp_path / f"{n}.tif", n, nodata, crs=crs)
        for n, (nodata, crs) in enumerate([(0, "EPSG:32632"), (None, "EPSG:32633"), (65535, None)])
    ]
    source = patchmill.ingest(paths, tmp_path / "source.zarr").target
    arguments = {"patch_shape": 7, "step": 5, "layout": layout, "transform": "scale(0.5)"}
    patchmill.write_patches(source, tmp_path / "path.zarr", **arguments)
    with xr.open_zarr(source, chunks=None) as data:
        patchmill.write_patches(data, tmp_path / "data.zarr", **arguments, variables=["image"])
    assert array_objects(tmp_path / "path.zarr") == array_objects(tmp_path / "data.zarr")
    with xr.open_zarr(tmp_path / "path.zarr") as found:
        np.testing.assert_array_equal(found["nodata_image"], [0, np.nan, 65535 / 2])
        assert [bool(text) for text in found["crs"].values] == [True, True, False]
        assert found["crs"].dims == found["nodata_image"].dims == ("image",)
        assert {"crs", "nodata_image", "transform"} <= set(found.coords)


def test_what_nodata_has_become_is_left_out_where_other_values_become_the_same(tmp_path):
    source = patchmill.ingest(files_in(tmp_path, [0, 65535]), tmp_path / "source.zarr").target
    clipped = patchmill.write_patches(source, tmp_path / "clipped.zarr", 7, transform="clip(3, 600)")
    cast = patchmill.write_patches(source, tmp_path / "cast.zarr", 7, dtype="int32", statistics=True)
    assert "nodata_image" not in clipped.catalog
    turned = patchmill.write_patches(source, tmp_path / "complex.zarr", 7, dtype="complex64")
    assert "nodata_image" not in turned.catalog
    np.testing.assert_array_equal(turned.catalog["valid_fraction"], clipped.catalog["valid_fraction"])
    assert cast.catalog["nodata_image"].values.tolist() == [0, 65535]
    assert not any("only where" in note for note in assert_whole(cast).notes)


@pytest.mark.parametrize(
    ("nodata", "change", "told"),
    [
        (0, {}, False),
        (0, {"dtype": "float32"}, False),
        (None, {"dtype": "uint8", "transform": "scale(0.01)"}, False),
        (math.nan, {"transform": "clip(0, 9)"}, False),
        (0, {"dtype": "uint8", "transform": "scale(0.01)"}, True),
        (0, {"transform": "standardize()"}, True),
    ],
)
def test_where_nothing_marks_nodata_any_more_that_is_said_once(tmp_path, nodata, change, told):
    values = np.arange(40 * 50, dtype="float32" if isinstance(nodata, float) else "uint16").reshape(40, 50)
    source = xr.DataArray(values, dims=("y", "x"), name="sky", attrs={} if nodata is None else {"nodata": nodata})
    for times in (int(told), 0):
        said = []
        patchmill.write_patches(source, tmp_path / "set.zarr", 16, say=said.append, **change)
        assert ["nodata of sky becomes" in sentence for sentence in said] == [True] * times


@pytest.mark.parametrize("number", [0, 1, 2])
def test_an_image_that_was_selected_keeps_what_is_its_own(tmp_path, number):
    arguments = {"patch_shape": 7, "step": 5, "statistics": True}
    sizes, nodatas = [SIZE, (20, 33), SIZE], [0, 65535, None]
    paths = [write(tmp_path / f"{n}.tif", n, nodatas[n], size=sizes[n], crs=f"EPSG:3263{n + 1}") for n in range(3)]
    source = patchmill.ingest(paths, tmp_path / "source.zarr").target
    with xr.open_zarr(source, chunks=None) as data:
        one = patchmill.write_patches(data["image"].isel(image=number), tmp_path / "one.zarr", **arguments)
    assert_like_alone(one, alone(tmp_path, paths[number : number + 1], **arguments))
    assert rasterio.CRS.from_wkt(str(one.catalog["crs"].values[0])).to_epsg() == 32631 + number


def test_pairs_have_nodata_each(tmp_path):
    paths = files_in(tmp_path / "in", [0, 65535, None])
    for number, nodata in enumerate([None, 5, 5]):
        write(tmp_path / "masks" / f"{number:02}.tif", number, nodata, dtype="uint8", mask=True)
    variables = {"mask": f"{tmp_path}/masks/{{stem}}.tif"}
    source = patchmill.ingest(paths, tmp_path / "source.zarr", variables=variables).target
    arguments = {"patch_shape": 7, "statistics": True}
    ps = patchmill.write_patches(source, tmp_path / "set.zarr", **arguments)
    for number, path in enumerate(paths):
        one = patchmill.ingest(path, tmp_path / f"{number}.zarr", variables=variables).target
        own = patchmill.write_patches(one, tmp_path / f"{number}.patches", **arguments).catalog.isel(image=0)
        for name in ("valid_fraction", "stat_image_mean", "stat_mask_mean", "stat_mask_min"):
            np.testing.assert_array_equal(ps.catalog[name].isel(image=number), own[name], err_msg=f"{number} {name}")
    assert_whole(ps)
    assert ps.catalog["nodata_mask"].dropna("image").values.tolist() == [5, 5]


def test_a_repair_gives_back_what_each_image_has(tmp_path):
    source = patchmill.ingest(
        [write(tmp_path / f"{n}.tif", n, n, crs=f"EPSG:3263{n}") for n in (1, 2)], tmp_path / "source.zarr"
    ).target
    target = tmp_path / "set.zarr"
    patchmill.write_patches(source, target, 7, statistics=True)
    before = array_objects(target)
    for name in (
        "nodata_image/c/0",
        "crs/c/0",
        "valid_fraction/c/0/0/0",
        next(k for k in before if k.startswith("patches/c")),
    ):
        (target / name).write_bytes(b"damaged")
    assert len(patchmill.verify(target, repair=True).repaired) == 4
    assert array_objects(target) == before
    assert patchmill.verify(target, deep=True).ok


@pytest.mark.parametrize("layout", ["patches", "canvas", "view"])
def test_masked_reads_go_by_each_images_own(tmp_path, layout):
    paths = files_in(tmp_path / "in", [0, None, 5, 65535])
    patchmill.ingest(paths, tmp_path / "source.zarr")
    cut = {"patch_shape": 8, "step": 6, "edge": "pad"}
    if layout == "view":
        ps = patchmill.view_patches(tmp_path / "source.zarr", **cut)
    else:
        ps = patchmill.write_patches(tmp_path / "source.zarr", tmp_path / "set.zarr", layout=layout, **cut)
    sets = list(alone(tmp_path, paths, **cut))
    found = ps.read(np.arange(len(ps)), masked=True)
    wanted = np.ma.concatenate([each.read(np.arange(len(each)), masked=True) for each in sets])
    np.testing.assert_array_equal(np.ma.getmaskarray(found), np.ma.getmaskarray(wanted))
    np.testing.assert_array_equal(found.data, wanted.data)
