"""Any wrong byte is found, and a repair gives every byte back."""

from __future__ import annotations

import errno
import itertools
import json
import os
import signal
import subprocess
import sys
from types import MappingProxyType

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import patchmill
from cuts import array_objects, pixels
from patchmill.cutting import verifying
from patchmill.cutting.expected import Pixels
from patchmill.cutting.lease import take
from patchmill.cutting.repairing import Bench
from patchmill.cutting.surveying import Survey
from patchmill.errors import IncompleteError, NotAPatchSetError, PatchmillError, SourceError
from patchmill.planning import shapes
from patchmill.storage import Location, StoredGroup
from patchmill.storage.checking import ObjectFormat
from patchmill.storage.seals import BLANK, is_sealed, mended, sealed


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    """Shards of few kilobytes, so that small images have several, of several chunks."""
    for name, size in SHAPES.items():
        monkeypatch.setattr(shapes, name, size)


SHAPES = {"_SHARD": 9000, "_SMALL": 100, "_CHUNK": 2000, "_ROWS": 64}


def dataset():
    """An image of three channels and a mask."""
    random = np.random.default_rng(0)
    image = random.integers(1, 60000, (3, 3, 37, 45), "uint16")
    image[1, :, :20, :20] = 7
    return xr.Dataset(
        {"image": (("time", "band", "y", "x"), image), "mask": (("time", "y", "x"), image[:, 0] > 30000)},
        {"band": ["B02", "B03", "B04"], "y": np.arange(37) * 10.0, "time": [2, 5, 9]},
    )


def sizes(folder):
    """A canonical store of images of different sizes, with values that stand for nothing."""
    for number, size in enumerate([(30, 41), (5, 60), (44, 23), (44, 23)]):
        np.save(folder / f"{number}.npy", np.random.default_rng(number).integers(0, 255, size, "uint8"))
    patchmill.ingest(str(folder / "*.npy"), folder / "source.zarr")
    return folder / "source.zarr"


def stored(folder):
    dataset().to_zarr(folder / "source.zarr", zarr_format=2)
    return folder / "source.zarr"


KINDS = {
    "two variables": (stored, {"keep": "image.std > 100"}),
    "canvas of two": (stored, {"layout": "canvas", "keep": "image.std > 100", "statistics": True}),
    "everything kept": (
        stored,
        {"variables": ["image"], "edge": "pad", "statistics": False, "transform": "scale(0.5)"},
    ),
    "all dropped": (stored, {"variables": ["image"], "keep": "valid_fraction > 2"}),
    "sizes": (sizes, {"edge": "shift", "statistics": True}),
    "canvas of sizes": (sizes, {"layout": "canvas", "edge": "shift", "keep": "mean > 126"}),
    "many patches a chunk": (sizes, {"patch_shape": 3, "step": 3, "keep": "mean > 180"}),
    "sizes, dropped": (sizes, {"edge": "pad", "pad_mode": "reflect", "keep": "mean > 126"}),
}


@pytest.fixture(params=KINDS, ids=str)
def place(request, tmp_path):
    """A set; its source lies beside it."""
    make, arguments = KINDS[request.param]
    patchmill.write_patches(make(tmp_path), tmp_path / "set.zarr", **({"patch_shape": 8, "step": 5} | arguments))
    return tmp_path / "set.zarr"


def objects(place):
    return {str(path.relative_to(place)): path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file()}


def restore(place, wanted):
    for key, data in wanted.items():
        (place / key).parent.mkdir(parents=True, exist_ok=True)
        (place / key).write_bytes(data)


def flipped(data, at, mask=0x10):
    return data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]


def found(report):
    return {each.object for each in (*report.damaged, *report.missing)}


# -- finding -----------------------------------------------------------------------------------------------------------


def test_healthy_sets_are_well(place):
    for deep in (False, True):
        report = patchmill.verify(place, deep=deep)
        assert report.ok, report.lines()
        assert not report.foreign
    assert report.objects == len(objects(place))
    assert report.nbytes == sum(map(len, objects(place).values())) - len(objects(place)["zarr.json"])


def batches(place):
    """Objects to harm at once: what says which pixels must be there apart from the pixels."""
    pixels = [key for key in objects(place) if key.startswith(("image/c/", "mask/c/", "patches/c/", "canvas/c/"))]
    beside = [key for key in objects(place) if key not in pixels]
    return pixels, beside


def test_every_wrong_byte_is_found(place):
    healthy = objects(place)
    for keys in batches(place):
        for part in (0, 0.13, 0.29, 0.5, 0.71, 0.93, 1):
            for key in keys:
                at = int(part * (len(healthy[key]) - 1))
                (place / key).write_bytes(flipped(healthy[key], at, 1 << at % 8))
            assert set(keys) <= found(patchmill.verify(place)), part
        restore(place, healthy)
    assert patchmill.verify(place).ok


HARMS = {
    "a byte less": lambda data: data[:-1],
    "half": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "a byte more": lambda data: data + b"\0",
    "a byte before": lambda data: b"\0" + data,
    "a byte within": lambda data: data[:40] + b"\0" + data[40:],
}


def test_whatever_is_missing_cut_off_or_too_long_is_found(place):
    healthy = objects(place)
    for batch in batches(place):
        keys = [key for key in batch if key != "zarr.json"]
        for how, harm in HARMS.items():
            restore(place, {key: harm(healthy[key]) for key in keys})
            assert set(keys) <= found(patchmill.verify(place)), how
        for key in keys:
            (place / key).unlink()
        assert set(keys) <= {each.object for each in patchmill.verify(place).missing}
        restore(place, healthy)
    restore(place, {"zarr.json": healthy["zarr.json"] + b" "})
    assert found(patchmill.verify(place)) == {"zarr.json"}


def test_objects_where_nothing_may_be_and_those_of_others(place):
    name = next(key.split("/")[0] for key in objects(place) if key.startswith(("image/c", "patches/c", "canvas/c")))
    some = next(key for key in objects(place) if key.startswith(f"{name}/c"))
    far = "/".join(str(9000) if part.isdigit() and n == 2 else part for n, part in enumerate(some.split("/")))
    for key in ("notes.txt", f"{name}/c/notes", far, f"{some}.old"):
        (place / key).parent.mkdir(parents=True, exist_ok=True)
        (place / key).write_bytes(b"mine")
    report = patchmill.verify(place)
    assert report.ok
    assert set(report.foreign) == {"notes.txt", f"{name}/c/notes", far, f"{some}.old"}
    patchmill.verify(place, repair=True)
    assert (place / "notes.txt").read_bytes() == b"mine"


def test_a_shard_outside_of_every_image_is_damage_that_a_repair_removes(tmp_path):
    patchmill.write_patches(sizes(tmp_path), place := tmp_path / "set.zarr", 8, 5)
    healthy = objects(place)
    shards = [key for key in healthy if key.startswith("patches/c/1/")]
    assert not shards  # that image is smaller than a patch
    some = next(key for key in healthy if key.startswith("patches/c/0/"))
    extra = some.replace("patches/c/0/", "patches/c/1/")
    restore(place, {extra: healthy[some]})
    (each,) = patchmill.verify(place).damaged
    assert (each.object, each.kind) == (extra, "extra")
    assert patchmill.verify(place, repair=True).ok
    assert objects(place) == healthy


@pytest.mark.parametrize(
    ("layout", "inner", "edge", "where"),
    [
        ("patches", "patches/c/0/0/0/0/0/0", "patches/c/0/0/1/0/0/0", {"grid_y": (4, 6), "grid_x": (0, 4)}),
        ("canvas", "canvas/c/0/0/0/0", "canvas/c/0/0/0/1", {"y": (0, 20), "x": (40, 45)}),
    ],
)
def test_a_shard_at_the_edge_that_holds_more_than_its_array(tmp_path, layout, inner, edge, where):
    place = tmp_path / "set.zarr"
    patchmill.write_patches(dataset(), place, 8, 5, layout=layout, variables=["image"])
    (place / edge).write_bytes((place / inner).read_bytes())
    (each,) = patchmill.verify(place).damaged
    assert (each.object, each.where) == (edge, {"image": (0, 1)} | where)
    assert each.problem.endswith("chunks are wrong, the first must not be there: they lie beyond the end of the array")


def test_a_small_array_in_the_place_of_another_is_found(tmp_path):
    """Its checksum is right; how much it holds is not."""
    image = np.arange(90 * 70, dtype="uint16").reshape(1, 90, 70)
    ps = patchmill.write_patches(image, tmp_path / "set.zarr", 16, step=8)
    before = objects(tmp_path / "set.zarr")
    for name, other in (("origin_y", "origin_x"), ("stat_max", "exists")):
        target, source = (next(key for key in before if key.startswith(f"{each}/c")) for each in (name, other))
        (tmp_path / "set.zarr" / target).write_bytes(before[source])
        report = patchmill.verify(ps.url)
        assert [each.array for each in report.damaged] == [name]
        assert "belong, as of another array" in report.damaged[0].problem
        assert patchmill.verify(ps.url, repair=True, source=image).ok
        assert objects(tmp_path / "set.zarr") == before


@pytest.mark.slow
def test_swapped_shards_are_found_by_a_deep_look(tmp_path):
    for layout in ("patches", "canvas"):
        place = tmp_path / f"{layout}.zarr"
        patchmill.write_patches(dataset(), place, 8, 8, layout=layout, edge="shift", statistics=True)
        healthy = objects(place)
        pairs = [key for key, data in healthy.items() if key.startswith("image/c/")]
        for a, b in [*itertools.pairwise(pairs), *zip(pairs, pairs[len(pairs) // 3 :], strict=False)][::3]:
            restore(place, {a: healthy[b], b: healthy[a]})
            report = patchmill.verify(place, deep=True)
            assert {a, b} <= found(report)
            assert patchmill.verify(place, deep=True, repair=True, source=dataset()).ok
            assert objects(place) == healthy


# -- repairing ---------------------------------------------------------------------------------------------------------


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), how=st.sampled_from(["flip", "flip", "delete", "cut", "append", "mix"]))
def test_a_repair_gives_every_byte_back(place, seed, how):
    healthy, random = objects(place), np.random.default_rng(seed)
    for key, data in healthy.items():
        each = random.choice(["flip", "delete", "cut", "append", "leave"]) if how == "mix" else how
        if key == "zarr.json" and each != "leave":
            each = "flip"
        match each:
            case "flip":
                (place / key).write_bytes(flipped(data, random.integers(len(data)), random.integers(1, 256)))
            case "delete":
                (place / key).unlink()
            case "cut":
                (place / key).write_bytes(data[: random.integers(len(data))])
            case "append":
                (place / key).write_bytes(data + random.bytes(1 + random.integers(9)))
    before = found(patchmill.verify(place))
    report = patchmill.verify(place, repair=True)
    assert report.ok, report.lines()
    assert objects(place) == healthy
    repaired = {each.object for each in report.repaired}
    assert before <= repaired
    assert how == "mix" or repaired == set(healthy)
    assert not (place.parent / "set.zarr.patchmill").exists()


@pytest.mark.parametrize("layout", ["patches", "canvas"])
def test_what_damage_hides_is_repaired_in_the_same_call(tmp_path, layout):
    """Only pixels tell of a shard in the place of another, and they are compared where all that is needed is whole."""
    place, cut = tmp_path / "set.zarr", {"layout": layout, "variables": ["image"], "statistics": True}
    patchmill.write_patches(stored(tmp_path), place, 8, 5, **cut)
    healthy = objects(place)
    first, *others = [key for key in healthy if key.startswith(f"{layout}/c/")]
    alike = next(key for key in others if key.split("/")[3:] == first.split("/")[3:])
    for hiding in ("zarr.json", f"{layout}/zarr.json", "stat_min/zarr.json", "stat_min/c/0/0/0/0", others[0]):
        restore(place, {first: healthy[alike], hiding: flipped(healthy[hiding], 100)})
        report = patchmill.verify(place, deep=True, repair=True)
        assert report.ok, report.lines()
        assert {first, hiding} <= {each.object for each in report.repaired}  # neighbors on a canvas are suspected too
        assert objects(place) == healthy


def test_what_can_not_be_repaired_is_tried_once(tmp_path, monkeypatch):
    patchmill.write_patches(stored(tmp_path), place := tmp_path / "set.zarr", 8, variables=["image"])
    (place / one_shard(place)).write_bytes(b"torn")
    monkeypatch.setattr(Bench, "_move", lambda *_: None)  # a disk that loses what is written
    report = patchmill.verify(place, repair=True)
    assert not report.ok
    assert len(report.repaired) == len(report.damaged) == 1


def test_metadata_needs_no_source(place):
    healthy = objects(place)
    (place.parent / "source.zarr").rename(place.parent / "away.zarr")
    for key in healthy:
        if key.endswith("zarr.json"):
            (place / key).write_bytes(flipped(healthy[key], 3))
    assert patchmill.verify(place, repair=True).ok
    assert objects(place) == healthy


def one_shard(place):
    return next(
        key for key in objects(place) if key.split("/")[0] in {"image", "patches", "canvas"} and key.count("/") > 3
    )


def test_a_source_that_moved(place):
    healthy, key = objects(place), one_shard(place)
    (place.parent / "source.zarr").rename(place.parent / "away.zarr")
    (place / key).unlink()
    with pytest.raises(SourceError, match="pass it as source="):
        patchmill.verify(place, repair=True)
    assert patchmill.verify(place, repair=True, source=place.parent / "away.zarr").ok
    assert objects(place) == healthy


def unloaded(path):
    """What lies at `path`, read by xarray, without Dask and not loaded."""
    if path.suffix == ".nc":
        return xr.open_dataset(path, engine="h5netcdf", cache=False)
    return xr.open_zarr(path, chunks=None, consolidated=False)


@pytest.mark.parametrize("kind", ["nc", "zarr"])
def test_an_object_that_is_not_loaded_is_known_where_its_file_moved(tmp_path, kind):
    old, new, place = tmp_path / f"a.{kind}", tmp_path / f"b.{kind}", tmp_path / "set.zarr"
    data = dataset()[["image"]]
    data.to_netcdf(old, engine="h5netcdf") if kind == "nc" else data.to_zarr(old, zarr_format=2, consolidated=False)
    with unloaded(old) as source:
        patchmill.write_patches(source, place, 8)
    healthy = objects(place)
    (place / one_shard(place)).unlink()
    old.rename(new)
    with unloaded(new) as source:
        assert patchmill.verify(place, repair=True, source=source).ok
    assert objects(place) == healthy


@pytest.mark.parametrize("name", [None, "https://host/{}.nc"])
def test_a_file_that_was_written_again_is_another_source(tmp_path, name):
    """Its time, or its URL, is all that tells where a set has no statistics and nothing of a shard is left."""
    old, new, place = tmp_path / "a.nc", tmp_path / "b.nc", tmp_path / "set.zarr"
    data = dataset()[["image"]]
    data.to_netcdf(old, engine="h5netcdf")
    (data + 1).astype("uint16").to_netcdf(new, engine="h5netcdf")
    os.utime(new, ns=(0, 0))
    with unloaded(old) as source, unloaded(new) as other:
        for number, each in enumerate((source, other) if name else ()):
            each["image"].encoding["source"] = name.format(number)
        patchmill.write_patches(source, place, 8, statistics=False)
        (place / one_shard(place)).unlink()
        with pytest.raises(SourceError, match="is not what"):
            patchmill.verify(place, repair=True, source=other)


@pytest.mark.parametrize("harm", ["flip", "delete"])
def test_another_source_is_refused_and_nothing_replaced(tmp_path, harm):
    source, place = stored(tmp_path), tmp_path / "set.zarr"
    patchmill.write_patches(source, place, 8, 5, statistics=True)
    key = next(key for key in objects(place) if key.startswith("image/c/1/"))
    if harm == "flip":
        (place / key).write_bytes(flipped((place / key).read_bytes(), 9))
    else:
        (place / key).unlink()
    broken = objects(place)
    other = dataset()
    other["image"] = other["image"].astype("int32")
    other.to_zarr(tmp_path / "other.zarr", zarr_format=2)
    with pytest.raises(SourceError, match="is not what"):
        patchmill.verify(place, repair=True, source=tmp_path / "other.zarr")
    same = dataset()
    same["image"] = same["image"] + 1  # declared alike, other pixels
    same.to_zarr(tmp_path / "same.zarr", zarr_format=2)
    with pytest.raises(SourceError, match="no longer holds the pixels"):
        patchmill.verify(place, repair=True, source=tmp_path / "same.zarr")
    assert objects(place) == broken


def test_another_source_is_known_by_the_variables_that_are_whole(tmp_path):
    source, place = stored(tmp_path), tmp_path / "set.zarr"
    patchmill.write_patches(source, place, 8, statistics=False)
    (place / next(key for key in objects(place) if key.startswith("image/c/1/"))).unlink()
    broken, same = objects(place), dataset()
    same["mask"] = ~same["mask"]
    same.to_zarr(tmp_path / "same.zarr", zarr_format=2)
    with pytest.raises(SourceError, match="no longer holds the pixels"):
        patchmill.verify(place, repair=True, source=tmp_path / "same.zarr")
    assert objects(place) == broken


@pytest.mark.parametrize("mode", ["r", "r+"])
def test_arrays_that_a_file_was_mapped_into_come_as_source_again(tmp_path, mode):
    """The file may be of any kind, so that it is not opened: an error says what to pass."""
    place = tmp_path / "set.zarr"
    np.save(tmp_path / "a.npy", dataset()["image"].values)
    patchmill.write_patches(np.load(tmp_path / "a.npy", mmap_mode=mode), place, 8)
    (place / one_shard(place)).unlink()
    with pytest.raises(ValueError, match=r"mapped from .*a\.npy, .*: pass it as source=, such as np\.load\('.*a\.npy'"):
        patchmill.verify(place, repair=True)
    assert patchmill.verify(place, repair=True, source=np.load(tmp_path / "a.npy", mmap_mode=mode)).ok


def test_arrays_in_memory_come_as_source_again(tmp_path):
    image, place = dataset()["image"].values, tmp_path / "set.zarr"
    patchmill.write_patches(image.transpose(0, 2, 3, 1), place, 8, dims=("image", "y", "x", "channel"))
    healthy = objects(place)
    (place / one_shard(place)).unlink()
    with pytest.raises(ValueError, match="pass it as source="):
        patchmill.verify(place, repair=True)
    with pytest.raises(SourceError, match="is not what"):
        patchmill.verify(place, repair=True, source=image.transpose(0, 2, 3, 1) + 1)
    assert patchmill.verify(place, repair=True, source=image.transpose(0, 2, 3, 1)).ok
    assert objects(place) == healthy


def test_channels_of_variables(tmp_path):
    bands = xr.Dataset({name: (("y", "x"), np.random.default_rng(n).random((30, 31))) for n, name in enumerate("ab")})
    bands.to_zarr(tmp_path / "source.zarr", zarr_format=2)
    patchmill.write_patches(tmp_path / "source.zarr", place := tmp_path / "set.zarr", 8, channels=["b", "a"])
    healthy = objects(place)
    (place / one_shard(place)).unlink()
    assert patchmill.verify(place, repair=True).ok
    assert objects(place) == healthy


@pytest.mark.parametrize(
    "asked",
    [
        {"variables": {"image": 1, "mask": 2}.keys()},
        {"variables": dataset().data_vars},
        {"variables": "mask"},
        {"channels": {"mask": 1}.keys()},
        {"dims": MappingProxyType({"channel": "band"})},
    ],
    ids=["keys", "data variables", "a name", "keys as channels", "a mapping"],
)
def test_what_was_asked_for_as_a_view_is_found_again(tmp_path, asked):
    place = tmp_path / "set.zarr"
    patchmill.write_patches(dataset(), place, 20, **asked)
    healthy = objects(place)
    (place / next(key for key in healthy if "/c/0/0/0/0/0" in key)).unlink()
    assert patchmill.verify(place, repair=True, source=dataset()).ok
    assert objects(place) == healthy


def test_functions_come_by_name_or_are_passed_again(tmp_path):
    def plus(patches):
        return patches + 1

    plus.pointwise = True

    def bright(patches):
        return patches.max(axis=(1, 2, 3)) > 50000

    source, place = stored(tmp_path), tmp_path / "set.zarr"
    for arguments in ({"transform": plus}, {"keep": bright}):
        patchmill.write_patches(source, place, 8, variables=["image"], mode="overwrite", **arguments)
        healthy = objects(place)
        (place / one_shard(place)).unlink()
        (name,) = arguments
        with pytest.raises(ValueError, match=f"repair=True, {name}="):
            patchmill.verify(place, repair=True)
        with pytest.raises(SourceError, match="is not what"):
            patchmill.verify(place, repair=True, **{name: "clip(0, 9)" if name == "transform" else "mean > 1"})
        assert patchmill.verify(place, repair=True, **arguments).ok
        assert objects(place) == healthy


def test_a_function_of_a_module_is_found_again(tmp_path, monkeypatch):
    (tmp_path / "mine_for_verify.py").write_text("def bright(p):\n    return p.max(axis=(1, 2, 3)) > 50000\n")
    monkeypatch.syspath_prepend(tmp_path)
    place = tmp_path / "set.zarr"
    patchmill.write_patches(stored(tmp_path), place, 8, variables=["image"], keep="mine_for_verify:bright")
    healthy = objects(place)
    (place / one_shard(place)).unlink()
    assert patchmill.verify(place, repair=True).ok
    assert objects(place) == healthy


def test_a_set_that_grew(tmp_path):
    data, place = dataset(), tmp_path / "set.zarr"
    data.isel(time=slice(0, 2)).to_zarr(tmp_path / "source.zarr", zarr_format=2)
    patchmill.write_patches(tmp_path / "source.zarr", place, 8)
    before = objects(place)
    data.isel(time=slice(2, 3)).to_zarr(tmp_path / "source.zarr", append_dim="time")
    (place / one_shard(place)).unlink()
    with pytest.raises(SourceError, match="append these first"):
        patchmill.verify(place, repair=True)
    restore(place, before)
    patchmill.write_patches(tmp_path / "source.zarr", place, 8, mode="append")
    healthy = objects(place)
    assert patchmill.verify(place, deep=True).ok
    for key in [key for key in healthy if key.endswith("zarr.json") is False]:
        (place / key).unlink()
    assert patchmill.verify(place, repair=True).ok
    assert objects(place) == healthy


@pytest.mark.parametrize("layout", ["patches", "canvas"])
def test_a_set_that_is_growing_is_not_damaged(tmp_path, monkeypatch, layout):
    """Its last shard holds images that the root knows nothing of yet."""
    monkeypatch.setattr(shapes, "_SHARD", 40_000_000)
    data, place, cut = dataset(), tmp_path / "set.zarr", {"layout": layout, "variables": ["image"]}
    data.isel(time=slice(0, 2)).to_zarr(tmp_path / "source.zarr", zarr_format=2)
    patchmill.write_patches(tmp_path / "source.zarr", place, 8, **cut)
    before = objects(place)
    data.isel(time=slice(2, 3)).to_zarr(tmp_path / "source.zarr", append_dim="time")
    monkeypatch.setattr("patchmill.cutting.conducting.commit", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        patchmill.write_patches(tmp_path / "source.zarr", place, 8, mode="append", **cut)
    assert objects(place) != before
    report = patchmill.verify(place)
    assert report.ok, report.lines()
    assert report.notes == ("a generation was begun and not finished: its objects are not looked at",)
    between = objects(place)
    assert patchmill.verify(place, repair=True).repaired == ()
    assert objects(place) == between


def once(act):
    """For `progress`: does it the first time that it is called."""
    calls = itertools.count()
    return lambda _: None if next(calls) else act()


@pytest.mark.parametrize("mode", ["append", "overwrite"])
@pytest.mark.parametrize("layout", ["patches", "canvas"])
def test_a_set_that_is_written_during_a_check_is_not_damaged(tmp_path, monkeypatch, layout, mode):
    monkeypatch.setattr(shapes, "_SHARD", 40_000_000)
    data, source, place = dataset(), tmp_path / "source.zarr", tmp_path / "set.zarr"
    data.isel(time=slice(0, 2)).to_zarr(source, zarr_format=2)
    patchmill.write_patches(source, place, 8, layout=layout, variables=["image"])

    def write():
        data.isel(time=slice(2, 3)).to_zarr(source, append_dim="time")
        patch = 8 if mode == "append" else 7
        patchmill.write_patches(source, place, patch, layout=layout, variables=["image"], mode=mode)

    report = patchmill.verify(place, progress=once(write))
    assert report.ok, report.lines()
    assert report.objects == len(objects(place))
    assert report.notes == ()


def test_a_check_is_told_of_a_generation_that_begins_meanwhile(tmp_path, monkeypatch):
    monkeypatch.setattr(shapes, "_SHARD", 40_000_000)
    data, source, place = dataset(), tmp_path / "source.zarr", tmp_path / "set.zarr"
    data.isel(time=slice(0, 2)).to_zarr(source, zarr_format=2)
    patchmill.write_patches(source, place, 8, variables=["image"])
    data.isel(time=slice(2, 3)).to_zarr(source, append_dim="time")

    def write():
        monkeypatch.setattr("patchmill.cutting.conducting.commit", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            patchmill.write_patches(source, place, 8, variables=["image"], mode="append")

    report = patchmill.verify(place, progress=once(write))
    assert report.ok, report.lines()
    assert report.notes == ("a generation was begun and not finished: its objects are not looked at",)


@pytest.mark.parametrize("shard", [9000, 40_000_000])
def test_a_source_that_is_added_to_during_a_check_is_not_damaged(tmp_path, monkeypatch, shard):
    """A new shard would be foreign to it, and one that was filled up hold too much."""
    monkeypatch.setattr(shapes, "_SHARD", shard)
    place = sizes(tmp_path)

    def add():
        np.save(tmp_path / "4.npy", pixels((23, 90), "uint8"))
        patchmill.ingest(str(tmp_path / "*.npy"), place, mode="append")

    report = patchmill.verify(place, progress=once(add))
    assert report.ok, report.lines()
    assert report.objects == len(objects(place))


@pytest.mark.parametrize(("written", "looks"), [(False, 1), (True, 3)])
def test_a_check_of_what_is_damaged_ends(tmp_path, monkeypatch, written, looks):
    source, place, seen, everything = sizes(tmp_path), tmp_path / "set.zarr", [], Survey.everything
    monkeypatch.setattr(shapes, "_SHARD", 40_000_000)

    def look(survey):
        seen.append(survey)
        everything(survey)
        if written:
            patchmill.write_patches(source, place, 8 - len(seen), mode="overwrite")
            (place / one_shard(place)).unlink()

    patchmill.write_patches(source, place, 8)
    (place / one_shard(place)).unlink()
    monkeypatch.setattr(Survey, "everything", look)
    report = patchmill.verify(place)
    assert (len(seen), len(report.missing)) == (looks, 1)
    told = ("somebody wrote during each of several looks, so what was found may be no damage",)
    assert report.notes == (told if written else ())


@pytest.mark.parametrize("at", [0, 5])
def test_who_meets_a_damaged_root_is_sent_to_verify(tmp_path, at):
    source, place = sizes(tmp_path), tmp_path / "set.zarr"
    patchmill.write_patches(source, place, 8)
    for root in (place / "zarr.json", source / "zarr.json"):
        root.write_bytes(flipped(root.read_bytes(), at))
    calls = [
        lambda: patchmill.open_patches(place),
        lambda: patchmill.write_patches(np.ones((40, 50), "uint8"), place, 8),
        lambda: patchmill.ingest(tmp_path / "0.npy", source, mode="append"),
    ]
    for call in calls:
        with pytest.raises(PatchmillError, match=r"zarr\.json, is damaged: patchmill\.verify says how far"):
            call()
    foreign = {"node_type": "group", "zarr_format": 3, "attributes": {"sha": "a1" * 64}}
    (place / "zarr.json").write_text(json.dumps(foreign))
    with pytest.raises(PatchmillError, match="is not a patch set, something else is there"):
        patchmill.open_patches(place)


def test_more_than_one_wrong_byte_of_the_root(place):
    root = (place / "zarr.json").read_bytes()
    (place / "zarr.json").write_bytes(flipped(flipped(root, 300), 900))
    report = patchmill.verify(place)
    assert found(report) == {"zarr.json"}
    with pytest.raises(PatchmillError, match="more than one byte of the root"):
        patchmill.verify(place, repair=True)
    (place / "zarr.json").unlink()
    with pytest.raises(NotAPatchSetError, match="without its root"):
        patchmill.verify(place)


def test_a_repair_says_what_it_waits_for(tmp_path, monkeypatch):
    patchmill.write_patches(stored(tmp_path), place := tmp_path / "set.zarr", 8, variables=["image"])
    quick = {"beat_seconds": 0.05, "look_seconds": 0.1, "dead_seconds": 0.2}
    monkeypatch.setattr(verifying, "take", lambda work, **how: take(work, **quick, **how))
    (place / one_shard(place)).unlink()
    Location.parse(place).workshop.write("leases/whole.1.json", b"{}")
    with pytest.warns(UserWarning, match=r"lease leases/whole.1.json can't be read gives no sign of life"):
        assert patchmill.verify(place, repair=True).ok


@pytest.mark.parametrize("kind", ["patches", "source"])
def test_where_nothing_can_be_written_only_damage_is_an_error(tmp_path, monkeypatch, kind):
    place = sizes(tmp_path)
    if kind == "patches":
        patchmill.write_patches(place, place := tmp_path / "set.zarr", 8)

    def refuse(path, *_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    for verb in ("mkdir", "link", "replace", "unlink"):
        monkeypatch.setattr(os, verb, refuse)
    report = patchmill.verify(place, repair=True)
    assert report.ok
    assert report.repaired == ()
    with (place / "zarr.json").open("ab") as root:
        root.write(b" ")
    with pytest.raises(PatchmillError, match="can't be written: Read-only file system"):
        patchmill.verify(place, repair=True)


KILLED = """
import os, signal, sys
from patchmill.cutting.lease import take
from patchmill.cutting.repairing import Bench
from patchmill.planning import shapes
import patchmill
shapes._SHARD, shapes._SMALL, shapes._CHUNK, shapes._ROWS = 9000, 100, 2000, 64
move, moved = Bench._move, []

def until(bench, key):
    if len(moved) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    moved.append(key)
    move(bench, key)

Bench._move = until
patchmill.verify(sys.argv[1], repair=True)
"""


def test_a_repair_that_is_killed_is_finished_by_the_next(place):
    healthy = objects(place)
    harmed = [key for key in healthy if not key.endswith("zarr.json")]
    for key in harmed:
        (place / key).write_bytes(b"torn")
    ended = subprocess.run([sys.executable, "-c", KILLED, place], env=os.environ, check=False)
    assert ended.returncode == -signal.SIGKILL
    left = found(patchmill.verify(place))
    assert left < set(harmed)
    for key in set(harmed) - left:
        assert (place / key).read_bytes() == healthy[key]
    assert patchmill.verify(place, repair=True).ok
    assert objects(place) == healthy


# -- sources -----------------------------------------------------------------------------------------------------------


def test_sources_are_checked_too(tmp_path):
    place = sizes(tmp_path)
    healthy = objects(place)
    report = patchmill.verify(place, deep=True)
    assert report.ok
    assert report.objects == len(healthy)
    assert patchmill.verify(place).foreign == ()
    for key, data in healthy.items():
        for at in range(0, len(data), 1 + len(data) // 4):
            (place / key).write_bytes(flipped(data, at))
            assert key in found(patchmill.verify(place))
        if key != "zarr.json":
            (place / key).unlink()
            assert key in found(patchmill.verify(place))
        (place / key).write_bytes(data)
    shard = next(key for key in healthy if key.startswith("image/c/"))
    (place / "image/zarr.json").unlink()
    assert patchmill.verify(place, repair=True).ok
    for lost in (shard, "provenance/zarr.json", "provenance/path/zarr.json", "provenance/path/c/0"):
        (place / lost).unlink()
        with pytest.raises(PatchmillError, match="ingest the images again"):
            patchmill.verify(place, repair=True)
        (place / lost).write_bytes(healthy[lost])


# -- anywhere, and of any size -----------------------------------------------------------------------------------------


def test_on_an_object_store(s3, tmp_path):
    source = stored(tmp_path)
    patchmill.write_patches(source, f"{s3}/set.zarr", 16, keep="image.std > 100")
    place = Location.parse(f"{s3}/set.zarr")
    healthy = {key: place.read(key) for key in place.keys()}  # noqa: SIM118 - not a mapping
    assert patchmill.verify(f"{s3}/set.zarr", deep=True).ok
    harmed = [*[key for key in healthy if "/c/" in key][::7], "zarr.json", "exists/zarr.json"]
    for key in harmed:
        place.write(key, flipped(healthy[key], len(healthy[key]) // 2))
    assert found(patchmill.verify(f"{s3}/set.zarr")) == set(harmed)
    assert patchmill.verify(f"{s3}/set.zarr", repair=True).ok
    assert {key: place.read(key) for key in place.keys()} == healthy  # noqa: SIM118


def test_very_many_shards_are_walked_one_by_one(monkeypatch):
    form = ObjectFormat((10**6, 3, 10**6, 10**6), (1, 3, 1000, 1000), (1, 3, 100, 100), sharded=True)
    many = Pixels(form, np.full((10**6, 2), 10**6), channels=True)
    assert len(many) == 10**12
    assert list(itertools.islice(many, 2)) == [(0, 0, 0, 0), (0, 0, 0, 1)]
    looked, ahead = [], []
    survey = Survey(StoredGroup(None, {}, {}), 2, None, type("Stop", (), {"requested": False, "signal": 2}))
    monkeypatch.setattr(Survey, "_look", lambda self, name, index, expected: (looked.append(index), (None, 1))[1])

    def targets():
        for number, index in enumerate(itertools.islice(many, 5000)):
            ahead.append(number - survey.objects)
            yield "image", index, many

    survey.these(targets())
    assert len(looked) == survey.objects == 5000
    assert max(ahead) <= 4


def test_the_catalog_is_opened_once(tmp_path, monkeypatch):
    patchmill.write_patches(stored(tmp_path), place := tmp_path / "set.zarr", 8, statistics=True)
    opened, bulk = [], StoredGroup.bulk
    monkeypatch.setattr(
        StoredGroup, "bulk", lambda self, name, **how: (opened.append(name), bulk(self, name, **how))[1]
    )
    assert patchmill.verify(place, deep=True).ok
    catalog = [name for name in opened if name.startswith("stat_")]
    assert len(catalog) == len(set(catalog)) == 6


def test_a_stop_ends_it(place, monkeypatch):
    from contextlib import contextmanager

    @contextmanager
    def stopped():
        yield type("Stop", (), {"requested": True, "signal": signal.SIGINT})

    monkeypatch.setattr("patchmill.cutting.verifying.stoppable", stopped)
    with pytest.raises(KeyboardInterrupt, match="interrupted after"):
        patchmill.verify(place)


@pytest.mark.parametrize("dtype", ["uint8", "complex128"])
def test_as_many_threads_as_memory_has_room_for_objects(tmp_path, dtype):
    patchmill.write_patches(np.ones((1, 1, 512, 512), dtype), tmp_path / "set.zarr", 64, statistics=False)
    metadata = json.loads((tmp_path / "set.zarr/patches/zarr.json").read_text())
    shard = int(np.prod(metadata["chunk_grid"]["configuration"]["chunk_shape"])) * np.dtype(dtype).itemsize
    held, place = 4 * shard, Location.parse("memory://somewhere/set.zarr")
    group = StoredGroup(place, {}, {"patches": metadata})
    call = verifying._Call(place, None, 3 * held, 8, None, deep=False, stop=None)
    assert call.threads(group) == 3


def test_progress_and_what_is_said(place, capsys):
    from patchmill.cli import main

    told = []
    report = patchmill.verify(place, progress=told.append)
    assert told[-1].done == told[-1].total >= report.objects
    assert told[-1].nbytes == report.nbytes
    assert repr(report).startswith("Report(ok: ")
    assert main(["verify", str(place)]) == 0
    key = one_shard(place)
    (place / key).write_bytes(b"torn")
    report = patchmill.verify(place)
    assert "Report" in report._repr_html_()
    assert key in report._repr_html_()
    capsys.readouterr()
    assert main(["verify", str(place)]) == 1
    assert f"damaged: {key}: its index" in capsys.readouterr().out
    assert main(["verify", str(place), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["damaged"][0]["object"] == key
    assert main(["verify", str(place), "--repair"]) == 0
    assert "repaired: " in capsys.readouterr().out
    assert main(["verify", str(place.parent)]) == 2
    assert main(["verify", str(place), "--source", "x"]) == 2


def test_what_was_begun_is_no_set(tmp_path, capsys):
    from patchmill.cli import main

    with pytest.raises(NotAPatchSetError, match="nothing is there"):
        patchmill.verify(tmp_path / "none.zarr")
    place = tmp_path / "set.zarr"
    patchmill.write_patches(dataset(), place, 8, slice="0/2")
    for repair in (False, True):
        with pytest.raises(IncompleteError, match="begun and not finished"):
            patchmill.verify(place, repair=repair)
    assert main(["verify", str(place)]) == 2


@given(st.binary(max_size=200), st.binary(max_size=200), st.integers(0), st.integers(1, 255))
def test_a_seal_finds_and_mends_any_byte(before, after, at, wrong):
    root = sealed(before + b'"seal": "' + BLANK.encode() + b'"' + after)
    if not is_sealed(root):  # the text happens to hold the same words
        return
    at %= len(root)
    broken = flipped(root, at, wrong)
    assert not is_sealed(broken)
    assert mended(broken) == root
    assert mended(root) == root


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("uint8", 7),
        ("uint8", np.uint8(7)),
        ("uint8", np.array(7)),
        ("float32", -0.0),
        ("float32", np.longdouble(1.5)),
        ("complex64", np.clongdouble(1.5 + 2j)),
    ],
)
def test_a_repair_pads_as_the_cut_did(tmp_path, dtype, value):
    np.save(tmp_path / "a.npy", pixels((12, 12), dtype))
    patchmill.ingest(tmp_path / "a.npy", tmp_path / "source.zarr")
    patchmill.write_patches(tmp_path / "source.zarr", tmp_path / "set.zarr", 8, edge="pad", pad_value=value)
    before = array_objects(tmp_path / "set.zarr")
    next(path for path in (tmp_path / "set.zarr" / "patches" / "c").rglob("*") if path.is_file()).unlink()
    assert patchmill.verify(tmp_path / "set.zarr", repair=True).ok
    assert array_objects(tmp_path / "set.zarr") == before
