"""`write_patches` against the slow loop, and against other readers."""

from __future__ import annotations

import json

import dask.array as da
import numpy as np
import pytest
import tensorstore as ts
import xarray as xr
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import patchmill
from cuts import DTYPES, pixels, tiny_shards  # noqa: F401 - a fixture
from patchmill.cutting import request as requests
from patchmill.errors import PatchmillError
from slow_loops import cut

SIZES = st.integers(1, 24)


def stored(place):
    """The patches through zarr-python."""
    return zarr.open_group(place, mode="r")["patches"][...]


@st.composite
def cuts(draw):
    """Arguments of a cut, related to a small image."""
    pair = lambda low, high: st.tuples(st.integers(low, high), st.integers(low, high))  # noqa: E731
    return {
        "patch_shape": draw(pair(1, 5)),
        "step": draw(pair(1, 7)),
        "dilation": draw(pair(1, 3)),
        "edge": draw(st.sampled_from(["drop", "pad", "shift"])),
        "pad_mode": draw(st.sampled_from(["constant", "edge", "reflect", "symmetric"])),
    }


def same_as_loop(place, image, arguments):
    """Whether every patch of the set at `place` is the loop's, and no other patch is there."""
    ps = patchmill.open_patches(place)
    steps = {"mode": arguments["pad_mode"]}
    expected = [
        patch
        for one in image
        for patch in cut(
            one, arguments["patch_shape"], arguments["step"], arguments["dilation"], arguments["edge"], **steps
        ).values()
    ]
    assert len(ps) == len(expected)
    np.testing.assert_array_equal(ps.read(np.arange(len(ps))), np.stack(expected))
    return ps


@settings(max_examples=45, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), arguments=cuts(), shape=st.tuples(st.integers(1, 3), st.integers(1, 3), SIZES, SIZES))
def test_any_cut_is_the_loops(tmp_path_factory, tiny_shards, data, arguments, shape):  # noqa: F811
    image = pixels(shape, data.draw(st.sampled_from(DTYPES)))
    grid = patchmill.PatchGrid(shape[2:], *(arguments[k] for k in ("patch_shape", "step", "dilation", "edge")))
    place = tmp_path_factory.mktemp("cut") / "set.zarr"
    if len(grid) == 0:
        with pytest.raises(ValueError, match="a patch must fit"):
            patchmill.write_patches(image, place, **arguments)
        assert not place.exists()
        return
    chunks = data.draw(st.sampled_from([None, (1, 2, 5, 7), (2, 1, 24, 3)]))
    source = image if chunks is None else da.from_array(image, chunks=chunks)
    ps = patchmill.write_patches(source, place, **arguments)
    same_as_loop(place, image, arguments)
    view = patchmill.view_patches(source, **arguments)
    np.testing.assert_array_equal(view.read(np.arange(len(view))), ps.read(np.arange(len(ps))))
    np.testing.assert_array_equal(ps.to_dask().compute(), stored(place))


@pytest.mark.parametrize("edge", ["drop", "pad", "shift"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_three_readers_see_the_same(tmp_path, dtype, edge):
    image = pixels((2, 3, 90, 160), dtype)
    place = tmp_path / "set.zarr"
    patchmill.write_patches(image, place, 32, 24, edge=edge)
    expected = patchmill.patchify(image, 32, 24, edge=edge)
    np.testing.assert_array_equal(stored(place), expected)
    np.testing.assert_array_equal(xr.open_zarr(place)["patches"].values, expected)
    array = ts.open({"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{place}/patches/"}}).result()
    np.testing.assert_array_equal(array.read().result(), expected)
    assert xr.open_zarr(place)["patches"].dtype == image.dtype


def test_a_wide_scene_in_many_waves(tmp_path, tiny_shards):  # noqa: F811
    image = pixels((1, 1, 40, 400), "uint8")
    arguments = {"patch_shape": (4, 4), "step": (3, 3), "dilation": (1, 1), "edge": "shift", "pad_mode": "constant"}
    patchmill.write_patches(image, tmp_path / "set.zarr", **arguments, workers=3)
    same_as_loop(tmp_path / "set.zarr", image, arguments)


def test_zarr_sources_of_both_versions(tmp_path):
    image = pixels((3, 70, 90), "uint16")
    for version in (2, 3):
        source = tmp_path / f"v{version}.zarr"
        zarr.create_array(source, data=image, chunks=(1, 20, 30), zarr_format=version)
        ps = patchmill.write_patches(source, tmp_path / f"{version}.zarr", 16, 8)
        np.testing.assert_array_equal(ps.to_dask().compute()[0], patchmill.patchify(image, 16, 8))


def test_image_and_mask_in_one_pass(tmp_path):
    image, mask = pixels((2, 3, 50, 60), "uint16"), pixels((2, 50, 60), "uint8")
    data = xr.Dataset(
        {"image": (("time", "band", "lat", "lon"), image), "mask": (("time", "lat", "lon"), mask)},
        coords={"lat": np.linspace(50, 40, 50), "lon": np.linspace(0, 9, 60), "band": ["r", "g", "b"]},
    )
    ps = patchmill.write_patches(data, tmp_path / "set.zarr", 16, 8)
    np.testing.assert_array_equal(ps[3]["image"], image[0][:, :16, 24:40])
    np.testing.assert_array_equal(ps[3]["mask"], mask[0][:16, 24:40])
    opened = xr.open_zarr(tmp_path / "set.zarr")
    assert opened["mask"].dims == ("image", "grid_y", "grid_x", "patch_y", "patch_x")
    assert list(opened["channel"].values) == ["r", "g", "b"]
    back = ps.to_xarray()
    assert back["image"].dims == ("time", "band", "grid_lat", "grid_lon", "patch_lat", "patch_lon")
    np.testing.assert_array_equal(back["lat"], data["lat"][::8][: len(back["lat"])])


def test_scale_and_offset_do_not_change_what_is_read(tmp_path):
    raw = pixels((40, 40), "int16")
    attributes = {
        "scale_factor": 0.5,
        "add_offset": 3.0,
        "_FillValue": -1,
        "units": "days since 2000-01-01",
        "long_name": "x",
    }
    data = xr.DataArray(raw, dims=("y", "x"), attrs=attributes)
    patchmill.write_patches(data, tmp_path / "set.zarr", 8)
    opened = xr.open_zarr(tmp_path / "set.zarr")
    assert opened["patches"].dtype == np.int16
    assert opened["patches"].attrs["long_name"] == "x"
    kept = opened.attrs["patchmill"]["source"]["variables"]["image"]["attributes"]
    assert kept == {key: value for key, value in attributes.items() if key != "long_name"}


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"patch_shape": 300}, ValueError, "300 x 300.*60 x 70"),
        ({"patch_shape": 8, "step": 0}, ValueError, "step.*at least 1.*0"),
        ({"patch_shape": 8, "step": -3}, ValueError, "step.*-3"),
        ({"patch_shape": (8, 8, 8)}, ValueError, "patch_shape.*2 spatial axes.*3"),
        ({"patch_shape": 8.5}, TypeError, "patch_shape.*8.5"),
        ({"patch_shape": 8, "edge": "wrap"}, ValueError, "edge.*wrap"),
        ({"patch_shape": 8, "edge": "pad", "pad_value": -1}, ValueError, "pad_value.*-1"),
        ({"patch_shape": 8, "mode": "new"}, ValueError, "mode.*new"),
        ({"patch_shape": 8, "layout": "tar"}, ValueError, "layout.*tar"),
        ({"patch_shape": 8, "memory": "10MiB"}, patchmill.PatchmillError, "memory.*10.0 MiB"),
        ({"patch_shape": 8, "memory": "much"}, ValueError, "memory.*much"),
        ({"patch_shape": 8, "workers": 0}, ValueError, "workers.*0"),
    ],
)
def test_bad_arguments_write_nothing(tmp_path, arguments, error, words):
    with pytest.raises(error, match=words) as caught:
        patchmill.write_patches(np.zeros((60, 70), "uint8"), tmp_path / "set.zarr", **arguments)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "source", [np.zeros((0, 3, 9, 9)), np.zeros((9, 9), "M8[s]"), np.zeros((9, 9), "i4,f4"), [[1]], 3, "no.zarr"]
)
def test_bad_sources_write_nothing(tmp_path, source):
    with pytest.raises((ValueError, TypeError, patchmill.PatchmillError)) as caught:
        patchmill.write_patches(source, tmp_path / "set.zarr", 4)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_already(tmp_path):
    image, place = pixels((40, 40), "uint8"), tmp_path / "set.zarr"
    other = tmp_path / "notes"
    other.mkdir()
    (other / "thesis.txt").write_text("mine")
    for mode in ("resume", "create", "overwrite"):
        with pytest.raises(FileExistsError, match="not a patch set"):
            patchmill.write_patches(image, other, 8, mode=mode)
    assert (other / "thesis.txt").read_text() == "mine"
    patchmill.write_patches(image, place, 8, mode="create")
    with pytest.raises(patchmill.PatchmillError, match="create"):
        patchmill.write_patches(image, place, 8, mode="create")
    with pytest.raises(patchmill.PatchmillError, match=r"step \(\[8, 8\] there, \[4, 4\] now\)"):
        patchmill.write_patches(image, place, 8, 4)
    with pytest.raises(patchmill.PatchmillError, match="source"):
        patchmill.write_patches(image + 1, place, 8)
    before = (place / "zarr.json").stat().st_mtime_ns
    assert len(patchmill.write_patches(image, place, 8)) == 25
    assert (place / "zarr.json").stat().st_mtime_ns == before
    assert len(patchmill.write_patches(image, place, 8, 4, mode="overwrite")) == 81
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes", "set.zarr"]


def test_the_root_comes_last_and_a_resume_finishes(tmp_path, tiny_shards, monkeypatch):  # noqa: F811
    image, place = pixels((2, 40, 60), "uint16"), tmp_path / "set.zarr"
    whole = patchmill.write_patches(image, tmp_path / "whole.zarr", 8, 4)

    class StopError(Exception):
        pass

    def stop_at(now):
        if now.done > now.total / 2:
            raise StopError

    with pytest.raises(StopError):
        patchmill.write_patches(image, place, 8, 4, progress=stop_at, workers=1)
    assert not (place / "zarr.json").exists()
    with pytest.raises(patchmill.PatchmillError, match="not finished"):
        patchmill.open_patches(place)
    with pytest.raises(patchmill.PatchmillError, match="step"):
        patchmill.write_patches(image, place, 8, 8)
    shards = {path: path.stat().st_mtime_ns for path in place.rglob("c/**/*") if path.is_file()}
    patchmill.write_patches(image, place, 8, 4)
    assert shards
    assert all(path.stat().st_mtime_ns == then for path, then in shards.items() if "patches" in path.parts)
    assert objects(place) == objects(tmp_path / "whole.zarr")
    assert len(whole) == len(patchmill.open_patches(place))
    assert not (tmp_path / "set.zarr.patchmill").exists()


def objects(place):
    """Every object of a set but its root, which tells times."""
    return {p.relative_to(place): p.read_bytes() for p in place.rglob("*") if p.is_file() and p.name != "zarr.json"}


def test_blocks_do_not_change_a_byte(tmp_path, tiny_shards, monkeypatch):  # noqa: F811
    image = pixels((1, 3, 50, 60), "float32")
    places = []
    ways = [{"band": 1, "inflight": 1}, {"band": 4, "inflight": 3}, {"read": "overlap", "band": 2, "rows": 2}]
    for at, tuning in enumerate(ways):
        patchmill.write_patches(image, tmp_path / f"{at}.zarr", 8, 3, edge="pad", tuning=tuning)
        places.append(objects(tmp_path / f"{at}.zarr"))
    assert places[0] == places[1] == places[2]


def test_the_size_of_blocks_is_one_number_or_one_for_each_axis():
    image = pixels((1, 3, 50, 60), "uint8")
    for block, blocks in ((2, (2, 2)), ([2, 3], (2, 3)), (np.int64(1), (1, 1))):
        assert patchmill.plan(image, 8, tuning={"read": "overlap", "block": block}).work.block == blocks


def test_a_block_is_never_narrower_than_its_halo(tmp_path, tiny_shards):  # noqa: F811
    image = pixels((1, 1, 40, 40), "uint8")
    arguments = {"patch_shape": 16, "step": (2, 16)}
    tuning = {"read": "overlap", "block": 1}
    down, across = patchmill.plan(image, **arguments, tuning=tuning).work.block
    assert down > across == 1
    patchmill.write_patches(image, tmp_path / "set.zarr", **arguments, tuning=tuning)
    patchmill.write_patches(image, tmp_path / "again.zarr", **arguments)
    assert objects(tmp_path / "set.zarr") == objects(tmp_path / "again.zarr")


def test_one_write_a_shard_and_each_source_pixel_once(tmp_path, monkeypatch):
    """What a task asks of the store, recorded."""
    from patchmill.storage import TensorStoreArray

    written = []
    write = TensorStoreArray.write
    monkeypatch.setattr(
        TensorStoreArray,
        "write",
        lambda self, parts, **how: (written.append((self.place, parts[0][0])), write(self, parts, **how))[1],
    )
    image = pixels((1, 2, 3000, 3000), "uint16")
    patchmill.write_patches(image, tmp_path / "set.zarr", 256, 128)
    patches = [region for place, region in written if place.endswith("patches")]
    files = [path for path in (tmp_path / "set.zarr/patches/c").rglob("*") if path.is_file()]
    assert len(patches) == len(files) == len({str(region) for region in patches})


def test_a_source_that_vanishes_is_noticed(tmp_path, tiny_shards):  # noqa: F811
    source = tmp_path / "source.zarr"
    zarr.create_array(source, data=np.ones((4, 60, 60), "uint8"), chunks=(1, 60, 60))

    def vanish(now):
        (source / "zarr.json").unlink(missing_ok=True)

    with pytest.raises(patchmill.PatchmillError, match="changed or vanished"):
        patchmill.write_patches(source, tmp_path / "set.zarr", 8, 4, progress=vanish)
    assert not [path for path in (tmp_path / "set.zarr/patches").rglob("c/*/*/*") if path.is_file()]


def test_target_inside_its_source(tmp_path):
    zarr.create_array(tmp_path / "source.zarr", data=np.ones((60, 60), "uint8"))
    for target in (tmp_path / "source.zarr", tmp_path / "source.zarr/set", tmp_path):
        with pytest.raises(ValueError, match="outside"):
            patchmill.write_patches(tmp_path / "source.zarr", target, 8)


def test_no_request_is_left_out_of_what_a_resume_compares():
    """A new field of a request must be compared too, or be known to change no byte."""
    assert set(requests.Request.__slots__) == {
        "source", "grids", "plan", "changes", "keep", "pad_mode", "pad_value", "asked",
    }  # fmt: skip


def test_what_a_killed_writer_left_is_swept_away(tmp_path):
    place = tmp_path / "set.zarr"
    (place / "patches/c/0").mkdir(parents=True)
    (place / "patches/c/0/9.__lock").write_text("")
    (place / "patches/zarr.json").write_text("{}")
    (tmp_path / "set.zarr.patchmill").mkdir()
    image = pixels((20, 20), "uint8")
    arguments = {"patch_shape": 8, "step": 4}
    whole = patchmill.write_patches(image, tmp_path / "whole.zarr", **arguments)
    request = json.dumps({"format": 1, "old": 0, "request": whole.stored.own["request"]})
    (tmp_path / "set.zarr.patchmill/request.json").write_text(request)
    patchmill.write_patches(image, place, **arguments)
    assert objects(place) == objects(tmp_path / "whole.zarr")


@pytest.mark.parametrize("target", ["file/x.zarr", "/dev/null/x.zarr", "a\0b", " ", b"x"])
def test_targets_that_can_not_be(tmp_path, monkeypatch, target):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    with pytest.raises((patchmill.PatchmillError, ValueError, TypeError)) as caught:
        patchmill.write_patches(np.zeros((9, 9), "u1"), target, 4)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_file_url(tmp_path):
    for url in (f"file://{tmp_path}/one.zarr", f"file:{tmp_path}/two.zarr"):
        assert len(patchmill.write_patches(np.zeros((9, 9), "u1"), url, 4)) == 4
    assert {path.name for path in tmp_path.iterdir()} == {"one.zarr", "two.zarr"}


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "exists", "stat_x", "grid_y", "patches"])
def test_variables_that_can_not_be_named_so(tmp_path, name):
    data = xr.Dataset({"image": (("y", "x"), np.ones((9, 9))), name: (("y", "x"), np.ones((9, 9)))})
    with pytest.raises(ValueError, match="rename"):
        patchmill.write_patches(data, tmp_path / "set.zarr", 4)
    assert list(tmp_path.iterdir()) == []


def test_attributes_of_every_kind_become_strict_json(tmp_path):
    odd = {
        "a": np.float32(1.5),
        "b": np.arange(3),
        "_FillValue": float("nan"),
        ("k",): {("t",): 1},
        "_Encoding": "utf8",
    }
    data = xr.DataArray(np.ones((9, 9), "u2"), dims=("y", "x"), attrs=odd)
    patchmill.write_patches(data, tmp_path / "set.zarr", 4, edge="pad", pad_value=3)
    assert xr.open_zarr(tmp_path / "set.zarr")["patches"].dtype == np.uint16

    def refuse(constant):
        raise AssertionError(constant)

    for path in (tmp_path / "set.zarr").rglob("zarr.json"):
        if path.parent.name in ("set.zarr", "patches"):
            text = path.read_text().replace('"fill_value": NaN', '"fill_value": 0')
            json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize(("value", "same"), [(np.longdouble(1.5), 1.5), (np.clongdouble(1.5 + 2j), 1.5 + 2j)])
def test_pad_values_of_more_than_double_precision_are_the_numbers_they_become(tmp_path, value, same):
    image = np.ones((9, 9), "c16")
    patchmill.write_patches(image, tmp_path / "set.zarr", 4, edge="pad", pad_value=value)
    again = patchmill.write_patches(image, tmp_path / "set.zarr", 4, edge="pad", pad_value=same)
    assert again[-1][-1, -1] == same


def test_a_pad_value_of_minus_zero_is_another_request_than_zero(tmp_path):
    image = np.ones((9, 9), "f4")
    ps = patchmill.write_patches(image, tmp_path / "set.zarr", 4, edge="pad", pad_value=-0.0)
    assert np.signbit(ps[-1][-1, -1])
    with pytest.raises(PatchmillError, match=r"differs in grid\.pad_value"):
        patchmill.write_patches(image, tmp_path / "set.zarr", 4, edge="pad", pad_value=0)


def test_a_folder_where_the_workshop_would_be_is_left_alone(tmp_path):
    image = pixels((20, 20), "uint8")
    (tmp_path / "out.patchmill").mkdir()
    (tmp_path / "out.patchmill/thesis.txt").write_text("mine")
    patchmill.write_patches(image, tmp_path / "x.patchmill", 8)
    for target in ("out", "x"):
        for mode in ("create", "resume", "overwrite"):
            with pytest.raises(FileExistsError, match="prepared"):
                patchmill.write_patches(image, tmp_path / target, 8, mode=mode)
    assert (tmp_path / "out.patchmill/thesis.txt").read_text() == "mine"
    assert len(patchmill.open_patches(tmp_path / "x.patchmill")) == 4
    with pytest.raises(ValueError, match="backslash"):
        patchmill.write_patches(image, str(tmp_path / "a\\b"), 8)


def test_a_target_inside_its_source_by_another_name(tmp_path):
    zarr.create_array(tmp_path / "source.zarr", data=np.ones((60, 60), "uint8"))
    (tmp_path / "link").symlink_to("source.zarr")
    for source, target in (("source.zarr", "link/in"), ("link", "source.zarr/in")):
        with pytest.raises(ValueError, match="outside"):
            patchmill.write_patches(tmp_path / source, tmp_path / target, 8)


def test_very_many_bands_have_a_catalog_of_small_chunks(tmp_path):
    image = pixels((1100, 64, 64), "float32")
    ps = patchmill.write_patches(image, tmp_path / "set.zarr", 16)
    catalog = zarr.open_group(tmp_path / "set.zarr", mode="r")["stat_mean"]
    assert np.prod(catalog.chunks) <= 2**18
    np.testing.assert_allclose(catalog[0, :, 1, 2], image[:, 16:32, 32:48].mean((1, 2)), atol=1e-4)
    np.testing.assert_array_equal(ps[6], image[:, 16:32, 32:48])


def _mixes(patches):
    return patches[:1]


def _fails(_):
    raise ZeroDivisionError


@pytest.mark.parametrize(
    "wrong",
    [
        {"transform": _mixes},
        {"transform": _fails},
        {"keep": _mixes},
        {"keep": _fails},
        {"dtype": "int8"},
        {"progress": 1},
    ],
)
@pytest.mark.parametrize("there", [False, True])
def test_a_request_that_turns_out_wrong_leaves_nothing(tmp_path, wrong, there):
    """What was there, an empty folder perhaps, stays; the call as it should have been needs no other mode."""
    image = np.full((2, 40, 50), 300, "uint16")
    if there:
        (tmp_path / "out").mkdir()
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever a function raises
        patchmill.write_patches(image, tmp_path / "out", 16, **wrong)
    assert [path.name for path in tmp_path.iterdir()] == (["out"] if there else [])
    assert len(patchmill.write_patches(image, tmp_path / "out", 16)) == 6


def test_a_folder_that_can_not_be_made_is_no_other_writer():
    with pytest.raises(PatchmillError, match="can't be written"):
        patchmill.write_patches(np.zeros((40, 50), "uint8"), "/proc/nothing/out", 16)


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({"statistics": "no"}, TypeError, "statistics must be True, False or None, got 'no'"),
        ({"say": 1}, TypeError, "say must be a function"),
        ({"progress": 1}, TypeError, "progress must be a function"),
        ({"tuning": []}, TypeError, "tuning must be a mapping"),
        (
            {"tuning": {"block": (1,)}},
            ValueError,
            r"tuning\['block'\] must have one number for each of the 2 .*, got 1:",
        ),
        ({"tuning": {"block": (1, 1, 1), "read": "overlap"}}, ValueError, r"tuning\['block'\] must have .*, got 3:"),
        ({"tuning": {"block": 2.5}}, TypeError, r"tuning\['block'\] must be a whole number of shards, got 2.5"),
        ({"tuning": {"block": (0, 1)}}, ValueError, r"tuning\['block'\]\[0\] must be at least 1, got 0"),
        ({"variables": []}, ValueError, "variables must name at least one"),
        ({"channels": ()}, ValueError, "channels must name at least one"),
        ({"variables": 3}, TypeError, r"variables must be a name or a list of names .*, got 3$"),
        ({"variables": [["a"]]}, TypeError, r"variables must be a name or a list of names .*, got \[\['a'\]\]$"),
        ({"variables": b"a"}, TypeError, "variables must be a name or a list of names .*, got b'a'$"),
        ({"variables": {"a"}}, TypeError, "variables must be a name or a list of names .*, got {'a'}$"),
        ({"channels": frozenset("a")}, TypeError, "channels must be a name or a list of names .*, got frozenset"),
        ({"channels": 3}, TypeError, "channels must be a name or a list of names .*, got 3$"),
        ({"channels": np.array(3)}, TypeError, "channels must be a name or a list of names .*, got array"),
        ({"channels": (n for n in "ab")}, TypeError, "channels must be a name or a list of names .*, got <gen"),
        ({"memory": "9" * 400 + "GiB"}, ValueError, r"memory must be at most 8.0 PiB, got '9{30}\.\.\.'$"),
        ({"memory": "9000TiB"}, ValueError, "memory must be at most 8.0 PiB, got '9000TiB'$"),
        ({"workers": 10**9}, ValueError, "workers must be at most 4,096"),
    ],
)
def test_arguments_that_say_nothing_are_refused(tmp_path, wrong, error, words):
    with pytest.raises(error, match=words):
        patchmill.write_patches(np.zeros((40, 50), "uint8"), tmp_path / "out", 16, **wrong)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("dtype", "nodata", "how", "stored"),
    [
        ("uint16", 65535, {"transform": "clip(0, 10000)"}, None),  # so are all bright pixels
        ("uint16", 65535, {"transform": "scale(0.02)|clip(0, 200)", "dtype": "uint8"}, None),
        ("uint16", 0, {"transform": "scale(0.001)", "dtype": "uint8"}, None),  # so are all below 500
        ("uint16", 0, {"transform": "clip(0, 10000)"}, 0),
        ("uint16", 65535, {"transform": "scale(2)"}, 131070),
        ("uint16", 255, {"dtype": "uint8"}, 255),
        ("float32", -9999, {"dtype": "int16"}, -9999),
        ("float32", -1e30, {"transform": "clip(-1, 1)"}, None),
    ],
)
def test_nodata_is_what_no_pixel_has_become(tmp_path, dtype, nodata, how, stored):
    values = np.arange(16 * 16).reshape(1, 16, 16).astype(dtype)
    values[0, 0, :2] = nodata
    array = xr.DataArray(values, dims=("image", "y", "x"), attrs={"nodata": nodata}, name="image")
    patchmill.write_patches(array, tmp_path / "out", 8, statistics=True, **how)
    kept = zarr.open_array(tmp_path / "out" / "patches", mode="r").attrs.get("nodata")
    assert kept == stored
    assert patchmill.verify(tmp_path / "out", deep=True).ok
