"""Which stage wrote a store, and what "auto" may therefore do there."""

from __future__ import annotations

import json
import os

import dask
import numpy as np
import pytest
import zarr

import patchmill
from cuts import array_objects, tiny_shards  # noqa: F401 - a fixture
from patchmill.cutting import tasks
from patchmill.errors import SourceError, TargetExistsError
from patchmill.storage.makers import maker, signature, task


class KilledError(Exception):
    pass


def stage(name: str):
    return dask.config.set({"patchmill.stage": name})


def own(store) -> dict:
    return json.loads((store / "zarr.json").read_text())["attributes"]["patchmill"]


def images(folder, *names: str, value: int = 0):
    folder.mkdir(exist_ok=True)
    for name in names:
        np.save(folder / f"{name}.npy", np.full((20, 24, 3), value, np.uint8))
    return folder


def test_who_works_is_told_by_dasks_configuration():
    assert (maker(), task(), signature()) == ("", "", {})
    with stage("demo/cut@4f1a"):
        assert (maker(), task(), signature()) == ("demo/cut", "4f1a", {"stage": "demo/cut", "task": "4f1a"})
    with stage("demo/cut"):
        assert signature() == {"stage": "demo/cut"}


def test_stores_name_the_stage_that_made_them(tmp_path):
    source = images(tmp_path / "files", "a")
    with stage("demo/read@1"):
        patchmill.ingest(source, tmp_path / "source.zarr")
        patchmill.write_patches(tmp_path / "source.zarr", tmp_path / "set.zarr", 8)
    for name in ("source.zarr", "set.zarr"):
        provenance = own(tmp_path / name)["provenance"]
        assert (provenance["stage"], provenance["task"]) == ("demo/read", "1")
    patchmill.ingest(source, tmp_path / "by-hand.zarr")
    assert "stage" not in own(tmp_path / "by-hand.zarr")["provenance"]


def test_auto_goes_on_appends_and_replaces_only_what_the_same_stage_made(tmp_path):
    source, target = tmp_path / "source.zarr", tmp_path / "set.zarr"
    files = images(tmp_path / "files", "a", "b")
    patchmill.ingest(files, source, mode="auto")
    with stage("demo/cut"):
        patchmill.write_patches(source, target, 8, mode="auto")
    root = os.stat(target / "zarr.json").st_mtime_ns
    patchmill.write_patches(source, target, 8, mode="auto")
    assert os.stat(target / "zarr.json").st_mtime_ns == root

    images(files, "c")
    assert patchmill.ingest(files, source, mode="auto").added == 1
    assert own(source)["generation"] == 1
    with stage("demo/cut"):
        assert patchmill.write_patches(source, target, 8, mode="auto").sizes.shape[0] == 3
    patchmill.write_patches(source, tmp_path / "once.zarr", 8)
    assert array_objects(target) == array_objects(tmp_path / "once.zarr")

    before = array_objects(target)
    for another in ("", "demo/other", "other/cut"):
        with stage(another), pytest.raises(TargetExistsError, match=r"another request.*mode=\"overwrite\""):
            patchmill.write_patches(source, target, 8, step=4, mode="auto")
    assert array_objects(target) == before
    with stage("demo/cut"):
        patchmill.write_patches(source, target, 8, step=4, mode="auto")
    assert own(target)["grid"]["step"] == [4, 4]


def test_auto_ingests_changed_files_anew_only_where_the_same_stage_made_the_store(tmp_path):
    files, target = images(tmp_path / "files", "a", "b"), tmp_path / "source.zarr"
    with stage("demo/read"):
        patchmill.ingest(files, target, mode="auto")
    images(files, "a", value=7)
    with pytest.raises(TargetExistsError, match=r"1 have changed and 0 vanished, such as .*a\.npy: use mode="):
        patchmill.ingest(files, target, mode="auto")
    with pytest.raises(TargetExistsError, match=r"level was 0 when .* and is 1 now"):
        patchmill.ingest(files, target, mode="auto", level=1)
    with stage("demo/read"):
        report = patchmill.ingest(files, target, mode="auto")
    assert report.names == ("a", "b")
    patchmill.ingest(files, tmp_path / "once.zarr")
    assert array_objects(target) == array_objects(tmp_path / "once.zarr")
    (files / "a.npy").unlink()
    with stage("demo/read"):
        assert patchmill.ingest(files, target, mode="auto").names == ("b",)


@pytest.mark.parametrize(("again", "reads"), [("demo/cut@1", "fewer"), ("demo/cut", "fewer"), ("demo/cut@2", "all")])
def test_a_stage_goes_on_with_what_it_began_on_the_same_inputs_only(tmp_path, monkeypatch, tiny_shards, again, reads):  # noqa: F811
    """The request alone does not tell inputs apart: of a stored source it knows the metadata."""
    source, target = tmp_path / "source.zarr", tmp_path / "set.zarr"
    patchmill.ingest(images(tmp_path / "files", *"abcdef"), source)
    real, seen = tasks.write_shard, []

    def counted(*args):
        seen.append(args[1])
        if len(seen) == 3 and not target.with_name("died").exists():
            target.with_name("died").touch()
            raise KilledError
        return real(*args)

    monkeypatch.setattr(tasks, "write_shard", counted)
    with stage("demo/cut@1"), pytest.raises(KilledError):
        patchmill.write_patches(source, target, 8, mode="auto", tuning={"inflight": 1})
    seen.clear()
    with stage(again):
        patchmill.write_patches(source, target, 8, mode="auto", workers=1)
    again_cut = len(seen)
    patchmill.write_patches(source, tmp_path / "once.zarr", 8, workers=1)
    everything = len(seen) - again_cut
    assert again_cut == everything if reads == "all" else again_cut < everything
    assert array_objects(target) == array_objects(tmp_path / "once.zarr")


@pytest.mark.parametrize("begun", ["demo/cut@1", "demo/other@1"])
def test_what_is_to_be_made_anew_is_made_once_and_only_by_whom_it_belongs_to(tmp_path, begun):
    """Another source with the same metadata, which somebody else wrote: the request does not show it."""
    source, target = tmp_path / "source.zarr", tmp_path / "set.zarr"

    def somebody_writes(value):
        zarr.create_array(source, data=np.full((1, 16, 16), value, "uint8"), chunks=(1, 8, 8), overwrite=True)

    somebody_writes(1)
    with stage(begun):
        patchmill.write_patches(source, target, 8, mode="auto")
    before = array_objects(target)
    somebody_writes(9)
    with dask.config.set({"patchmill.stage": "demo/cut@2", "patchmill.anew": True}):
        for _ in range(2):
            ps = patchmill.write_patches(source, target, 8, mode="auto")
            seen = os.stat(target / "zarr.json").st_mtime_ns
        patchmill.write_patches(source, target, 8, mode="auto")
    assert os.stat(target / "zarr.json").st_mtime_ns == seen
    assert bool((ps[0] == 9).all()) == (begun == "demo/cut@1")
    assert (array_objects(target) == before) == (begun == "demo/other@1")


def test_a_store_is_ingested_anew_where_that_was_told(tmp_path):
    files, target = images(tmp_path / "files", "a"), tmp_path / "source.zarr"
    with stage("demo/read@1"):
        patchmill.ingest(files, target, mode="auto")
    next(path for path in (target / "image" / "c").rglob("*") if path.is_file()).unlink()
    with dask.config.set({"patchmill.stage": "demo/read@2", "patchmill.anew": True}):
        patchmill.ingest(files, target, mode="auto")
        root = os.stat(target / "zarr.json").st_mtime_ns
        patchmill.ingest(files, target, mode="auto")
    assert os.stat(target / "zarr.json").st_mtime_ns == root
    assert patchmill.verify(target).ok


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_auto_makes_a_store_anew_that_can_t_hold_an_image_which_one_go_would_take(tmp_path, on_error):
    files, target = images(tmp_path / "files", "a", "b"), tmp_path / "source.zarr"
    with stage("demo/read"):
        patchmill.ingest(files, target, mode="auto")
    np.save(files / "c.npy", np.ones((200, 300, 3), np.uint8))
    with pytest.raises(TargetExistsError, match=r"can't hold 1 of the new images, .*c\.npy, which one made anew"):
        patchmill.ingest(files, target, mode="auto", on_error=on_error)
    with stage("demo/read"):
        assert len(patchmill.ingest(files, target, mode="auto", on_error=on_error)) == 3
    np.save(files / "d.npy", np.ones((20, 30, 3), np.float32))  # which no store of these would take
    with stage("demo/read"):
        if on_error == "skip":
            report = patchmill.ingest(files, target, mode="auto", on_error=on_error)
            assert [path for path, _ in report.skipped] == [str(files / "d.npy")]
            assert own(target)["generation"] == 0
        else:
            with pytest.raises(SourceError, match=r"d\.npy"):
                patchmill.ingest(files, target, mode="auto")
