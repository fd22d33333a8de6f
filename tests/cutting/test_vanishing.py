"""Sources that vanish while they are cut: an error, no shard of zeros that counts, and a way on when they are back.

Of targets that vanish too: no set that lacks shards, and what the error says to do helps.
"""

from __future__ import annotations

import os
import shutil
import threading
from contextlib import suppress

import numpy as np
import pytest
import xarray as xr
import zarr

import patchmill
from cuts import array_objects, pixels, tiny_shards  # noqa: F401 - a fixture
from dying import in_memory  # noqa: F401 - a fixture
from patchmill.cutting.holders import this_process, to_json
from patchmill.errors import LeaseLostError, PatchmillError, SourceError, TargetExistsError
from patchmill.storage import Location

IMAGE = np.maximum(pixels((3, 2, 40, 30), "uint8"), 1)  # without zeros
DIMS = ("image", "channel", "y", "x")
CUT = {"patch_shape": 4, "step": 3}


def write_zarr(place, image=IMAGE, shards=None):
    zarr.create_array(place, data=image, chunks=(1, 2, 10, 30), shards=shards, dimension_names=DIMS)


def move_away(source):
    source.rename(source.with_name("away"))


def remove_all(source):
    shutil.copytree(source, source.with_name("away"))
    shutil.rmtree(source)


def remove_metadata(source):
    shutil.copytree(source, source.with_name("away"))
    (source / "zarr.json").unlink()


def remove_a_folder_of_chunks(source):
    shutil.copytree(source, source.with_name("away"))
    shutil.rmtree(source / "c/2")


def remove_all_chunks(source):
    shutil.copytree(source, source.with_name("away"))
    shutil.rmtree(source / "c")


def replace_by_another(source):
    move_away(source)
    write_zarr(source, IMAGE[:, ::-1] // 2 + 1)


def bring_back(source):
    shutil.rmtree(source, ignore_errors=True)
    source.with_name("away").rename(source)


@pytest.mark.parametrize("way", ["region", "overlap"])
@pytest.mark.parametrize(
    "vanish", [move_away, remove_all, remove_metadata, remove_a_folder_of_chunks, remove_all_chunks, replace_by_another]
)
def test_a_source_that_vanishes(tmp_path, tiny_shards, vanish, way):  # noqa: F811
    source, target = tmp_path / "source.zarr", tmp_path / "set.zarr"
    write_zarr(source)
    arguments = CUT | {"statistics": True, "tuning": {"read": way, "rows": 1, "band": 1}, "workers": 2}
    patchmill.write_patches(source, tmp_path / "once.zarr", **arguments)
    expected = array_objects(tmp_path / "once.zarr")

    def watch(now):
        if now.shards > 2 and not source.with_name("away").exists():
            vanish(source)

    with pytest.raises(SourceError, match=r"vanished|missing|can't be read") as caught:
        patchmill.write_patches(source, target, **arguments, progress=watch)
    assert "\n" not in str(caught.value)
    cut = {key: data for key, data in array_objects(target).items() if key.startswith("patches/c")}
    assert 0 < len(cut) < len([key for key in expected if key.startswith("patches/c")])
    assert all(data == expected[key] for key, data in cut.items() if not key.endswith(".__lock"))
    bring_back(source)
    patchmill.write_patches(source, target, **arguments)
    assert array_objects(target) == expected


@pytest.mark.parametrize("kind", ["nc", "tif", "npy"])
@pytest.mark.parametrize("how", ["moved away", "replaced"])
def test_a_file_that_vanishes(tmp_path, tiny_shards, kind, how):  # noqa: F811
    file = tmp_path / f"source.{kind}"
    write_file(file, IMAGE)
    opened = np.load(file, mmap_mode="r") if kind == "npy" else file
    patchmill.write_patches(opened, tmp_path / "once.zarr", **CUT)
    expected = array_objects(tmp_path / "once.zarr")

    def watch(now):
        if now.shards > 2 and not (tmp_path / "away").exists():
            file.rename(tmp_path / "away")
            if how == "replaced":
                write_file(file, IMAGE // 2 + 1)

    with pytest.raises(SourceError, match="changed or vanished"):
        patchmill.write_patches(opened, tmp_path / "set.zarr", **CUT, progress=watch)
    cut = {key: data for key, data in array_objects(tmp_path / "set.zarr").items() if key.startswith("patches/c")}
    assert cut
    assert all(data == expected[key] for key, data in cut.items())
    (tmp_path / "away").replace(file)
    patchmill.write_patches(opened, tmp_path / "set.zarr", **CUT)
    assert array_objects(tmp_path / "set.zarr") == expected


def write_file(file, image):
    if file.suffix == ".nc":
        pytest.importorskip("h5netcdf")
        xr.DataArray(image, dims=DIMS, name="image").to_netcdf(file, engine="h5netcdf")
    elif file.suffix == ".npy":
        np.save(file, image)
    else:
        rasterio = pytest.importorskip("rasterio")
        profile = {"driver": "GTiff", "count": 2, "height": 40, "width": 30, "dtype": "uint8"}
        with rasterio.open(
            file, "w", **profile, crs="EPSG:32633", transform=rasterio.Affine(10, 0, 0, 0, -10, 0)
        ) as out:
            out.write(image[0])


def test_a_source_in_an_object_store_that_vanishes(tmp_path, tiny_shards, s3):  # noqa: F811
    write_zarr(tmp_path / "source.zarr")
    place = Location.parse(f"{s3}/source.zarr")
    objects = {
        path.relative_to(tmp_path / "source.zarr").as_posix(): path.read_bytes()
        for path in (tmp_path / "source.zarr").rglob("*")
        if path.is_file()
    }
    for key, data in objects.items():
        place.write(key, data)
    patchmill.write_patches(place.url, tmp_path / "once.zarr", **CUT)

    def watch(now):
        if now.shards > 2 and place.exists():
            place.remove()

    with pytest.raises(SourceError):
        patchmill.write_patches(place.url, tmp_path / "set.zarr", **CUT, progress=watch, tuning={"inflight": 1})
    expected = array_objects(tmp_path / "once.zarr")
    assert all(data == expected[key] for key, data in array_objects(tmp_path / "set.zarr").items() if "/c/" in key)
    for key, data in objects.items():
        place.write(key, data)
    patchmill.write_patches(place.url, tmp_path / "set.zarr", **CUT)
    assert array_objects(tmp_path / "set.zarr") == expected


def test_a_source_that_vanishes_while_it_is_read(tmp_path, tiny_shards):  # noqa: F811
    """From another thread, at no particular moment: whatever was cut by then is right."""
    source, target = tmp_path / "source.zarr", tmp_path / "set.zarr"
    write_zarr(source)
    patchmill.write_patches(source, tmp_path / "once.zarr", **CUT)
    expected = array_objects(tmp_path / "once.zarr")
    for delay in (0.02, 0.05, 0.08, 0.12):
        shutil.copytree(source, source.with_name("away"))
        thread = threading.Timer(delay, shutil.rmtree, [source], {"ignore_errors": True})
        thread.start()
        with suppress(SourceError):
            patchmill.write_patches(source, target, **CUT)
        thread.join()
        bring_back(source)
        assert all(
            data == expected[key]
            for key, data in array_objects(target).items()
            if "/c/" in key and os.path.splitext(key)[1] != ".__lock"
        )
    patchmill.write_patches(source, target, **CUT)
    assert array_objects(target) == expected


# -- targets -----------------------------------------------------------------------------------------------------------


def removing(*places):
    """A watch that removes places once, while shards are cut."""
    left = list(places)

    def watch(now):
        while now.shards > 2 and left:
            shutil.rmtree(left.pop())

    return watch


@pytest.mark.parametrize("arguments", [{}, {"layout": "canvas"}, {"keep": "mean > 120", "statistics": True}], ids=str)
def test_a_target_that_is_removed_is_gone_on_with(tmp_path, tiny_shards, arguments):  # noqa: F811
    target, arguments = tmp_path / "set.zarr", CUT | arguments
    patchmill.write_patches(IMAGE, tmp_path / "once.zarr", **arguments)
    with pytest.raises(PatchmillError, match="call again to go on from here"):
        patchmill.write_patches(IMAGE, target, **arguments, tuning={"inflight": 1}, progress=removing(target))
    assert not (target / "zarr.json").exists()
    patchmill.write_patches(IMAGE, target, **arguments)
    assert array_objects(target) == array_objects(tmp_path / "once.zarr")


@pytest.mark.parametrize("arguments", [{}, {"keep": "mean > 120", "statistics": True}], ids=str)
@pytest.mark.parametrize("mode", ["append", "resume"])
def test_a_set_that_is_removed_while_it_grows_is_gone_on_with(tmp_path, tiny_shards, arguments, mode):  # noqa: F811
    target, arguments = tmp_path / "set.zarr", CUT | arguments
    write_zarr(tmp_path / "source.zarr", IMAGE[:1])
    patchmill.write_patches(tmp_path / "source.zarr", target, **arguments)
    zarr.open_array(tmp_path / "source.zarr", mode="r+").append(IMAGE[1:])
    patchmill.write_patches(tmp_path / "source.zarr", tmp_path / "once.zarr", **arguments)
    watch = {"tuning": {"inflight": 1}, "progress": removing(target)}
    with pytest.raises(PatchmillError, match="call again to go on from here"):
        patchmill.write_patches(tmp_path / "source.zarr", target, **arguments, mode="append", **watch)
    patchmill.write_patches(tmp_path / "source.zarr", target, **arguments, mode=mode)
    assert array_objects(target) == array_objects(tmp_path / "once.zarr")


@pytest.mark.parametrize("both", [False, True])
def test_a_workshop_that_is_removed_takes_the_way_on_with_it(tmp_path, tiny_shards, both):  # noqa: F811
    target, work = tmp_path / "set.zarr", tmp_path / "set.zarr.patchmill"
    with pytest.raises(LeaseLostError, match=r"was removed .*: remove .*set.zarr, then call again$"):
        patchmill.write_patches(IMAGE, target, **CUT, tuning={"inflight": 1}, progress=removing(work, *[target] * both))
    with pytest.raises(TargetExistsError, match="left alone"):
        patchmill.write_patches(IMAGE, target, **CUT)
    shutil.rmtree(target)
    assert len(patchmill.write_patches(IMAGE, target, **CUT)) == 3 * 13 * 9


def test_who_was_taken_over_is_told_so_though_the_workshop_was_removed(tmp_path, tiny_shards):  # noqa: F811
    target, work = tmp_path / "set.zarr", Location.parse(tmp_path / "set.zarr").workshop
    remove, other = removing(tmp_path / "set.zarr.patchmill"), this_process("whole", 2)

    def watch(now):
        remove(now)
        if not work.exists():
            work.write(other.key, to_json(other))

    with pytest.raises(LeaseLostError, match="was taken over by this process"):
        patchmill.write_patches(IMAGE, target, **CUT, tuning={"inflight": 1}, progress=watch)


def test_shards_without_metadata_are_ours_only_by_the_name_of_what_was_begun(tmp_path, tiny_shards):  # noqa: F811
    target = tmp_path / "set.zarr"
    with pytest.raises(ZeroDivisionError):
        patchmill.write_patches(IMAGE, target, **CUT, progress=lambda now: now.shards > 2 and 1 / 0)
    (target / "patches").rename(target / "image")
    (target / "image/zarr.json").unlink()
    for mode in ("resume", "overwrite"):
        with pytest.raises(TargetExistsError, match="left alone"):
            patchmill.write_patches(IMAGE, target, **CUT, mode=mode)
