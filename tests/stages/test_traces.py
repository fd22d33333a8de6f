"""What is at a place, known again: on a local disk and in an object store."""

from __future__ import annotations

import os
from pathlib import Path

import dask
import numpy as np
import pytest

import patchmill
from patchmill.errors import TargetExistsError
from patchmill.stages.contents import content_at
from patchmill.stages.memos import Memos
from patchmill.stages.owning import refuse_foreign
from patchmill.stages.pipelines import read_pipeline
from patchmill.stages.traces import is_known, is_left, is_trace, left_at, only_grew, stamp, trace
from patchmill.storage import Location
from stages.notebook_files import write_config, write_notebook


def test_a_place_is_known_again_until_something_in_it_changes(tmp_path):
    assert trace(str(tmp_path / "a")) == {"kind": "nothing"}
    folder = tmp_path / "a"
    (folder / "b").mkdir(parents=True)
    assert trace(str(folder))["kind"] == "nothing"
    (folder / "b" / "c").write_text("12")
    first = trace(str(folder))
    assert first == trace(str(folder))
    assert (first["kind"], first["files"], first["bytes"]) == ("folder", 1, 2)
    (folder / "b" / "c").rename(folder / "c")
    assert trace(str(folder)) != first


@pytest.mark.parametrize("name", ["c.__lock", "c.7f.__tmp", ".DS_Store", ".ipynb_checkpoints"])
def test_what_is_hidden_or_unfinished_does_not_count(tmp_path, name):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_text("1")
    before = trace(str(tmp_path / "a"))
    (tmp_path / "a" / name).write_text("1")
    assert trace(str(tmp_path / "a")) == before


@pytest.mark.parametrize("place", ["a", "a/b", "a/*", "a/b:depth"])
def test_whoever_writes_leaves_another_stamp_be_it_the_same_bytes_and_times(tmp_path, place):
    (tmp_path / "a").mkdir()
    file = tmp_path / "a" / "b"
    file.write_text("1")
    path, then = f"{tmp_path}/{place}", file.stat()
    first = stamp(path)
    assert first == stamp(path)
    assert is_trace(first)
    file.write_text("1")
    os.utime(file, ns=(then.st_atime_ns, then.st_mtime_ns))
    assert stamp(path) != first


def test_a_link_that_is_made_again_and_a_folder_that_is_touched_are_told(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_text("1")
    (tmp_path / "c").symlink_to("a/b")
    link, folder = stamp(str(tmp_path / "c")), stamp(str(tmp_path / "a"))
    (tmp_path / "c").unlink()
    (tmp_path / "c").symlink_to("a/b")
    (tmp_path / "a").touch()
    assert stamp(str(tmp_path / "c")) != link
    assert stamp(str(tmp_path / "a")) != folder


def test_what_is_not_there_and_sets_that_patchmill_wrote_have_no_stamp(tmp_path):
    (tmp_path / "empty").mkdir()
    patchmill.write_patches(np.zeros((1, 1, 4, 4)), tmp_path / "sets" / "a.zarr", 2)
    places = ["nowhere", "no*", "empty", "sets/a.zarr", "sets", "sets/*.zarr"]
    assert [stamp(f"{tmp_path}/{place}") for place in places] == [{}] * 6


def test_links_are_followed_and_circles_end(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "near").symlink_to(tmp_path / "far")
    (tmp_path / "far" / "back").symlink_to(tmp_path / "a")
    before = trace(str(tmp_path / "a"))
    (tmp_path / "far" / "new").write_text("1")
    assert trace(str(tmp_path / "a")) != before
    (tmp_path / "a" / "broken").symlink_to("nowhere")
    assert trace(str(tmp_path / "a"))["files"] == 1


def test_a_variable_of_a_file_and_a_pattern_with_a_stem(tmp_path):
    (tmp_path / "a.nc").write_text("1")
    assert trace(f"{tmp_path}/a.nc:depth") == trace(f"{tmp_path}/a.nc")
    assert trace(f"{tmp_path}/{{stem}}.nc")["files"] == 1
    assert trace(f"{tmp_path}/*.tif")["kind"] == "nothing"
    (tmp_path / "b.dir").mkdir()
    (tmp_path / "b.dir" / "inside").write_text("12")
    assert (trace(f"{tmp_path}/*.dir")["files"], content_at(f"{tmp_path}/*.dir").nbytes) == (1, 2)


def test_zarr_of_either_version_is_a_store(tmp_path):
    import zarr

    for version, name in ((2, "two"), (3, "three")):
        zarr.create_array(tmp_path / name, shape=(2, 2), dtype="u1", zarr_format=version, overwrite=True)
        assert trace(str(tmp_path / name))["kind"] == "store"
        before = trace(str(tmp_path / name))
        root = tmp_path / name / ("zarr.json" if version == 3 else ".zarray")
        os.utime(root, (1, 1))
        assert trace(str(tmp_path / name)) != before
        assert trace(f"{tmp_path / name}:depth") == trace(str(tmp_path / name))


def test_what_can_t_be_known_again_has_not_only_grown():
    for path in ("https://example.org/a.tif", "memory://here/a", "temp:a"):
        assert not is_known(trace(path))
        assert not only_grew(trace(path), trace(path))
    assert is_known(trace("sample:"))


def images(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        np.save(folder / f"{name}.npy", np.zeros((16, 16, 3), np.uint8))
    return folder


def test_a_set_in_an_object_store_is_known_by_its_root_and_its_names(tmp_path, s3):
    patchmill.ingest(images(tmp_path / "files", "a"), tmp_path / "source.zarr")
    url = f"{s3}/set.zarr"
    assert trace(url) == {"kind": "nothing"}
    patchmill.write_patches(tmp_path / "source.zarr", url, 8)
    first = trace(url)
    assert (first["kind"], is_known(first)) == ("store", True)
    assert trace(url) == first
    place = Location.parse(url)
    (key, *_) = (key for key in place.keys("patches") if "/c/" in key)
    data = place.read(key)
    place.delete(key)
    assert trace(url) != first
    place.write(key, data)
    assert trace(url) == first
    patchmill.write_patches(tmp_path / "source.zarr", url, 8, 4, mode="overwrite")
    assert trace(url) != first
    Location.parse(f"{s3}/other").write("a.tif", b"1")
    assert trace(f"{s3}/other") == {"kind": "unknown"}


def test_a_set_in_an_object_store_is_its_whom_its_provenance_names(tmp_path, s3):
    patchmill.ingest(images(tmp_path / "files", "a"), tmp_path / "source.zarr")
    write_notebook(tmp_path / "cuts.ipynb", 'target: str = "temp:a"  # out: a set\nmode: str = "auto"  # how')
    stages = {"cuts": {"params": {"target": "${root}/set.zarr"}}}
    pipeline = read_pipeline(str(write_config(tmp_path / "pipeline.yaml", stages, root=s3, runs="runs")))
    memos = Memos(pipeline.runs, pipeline.name)
    refuse_foreign(pipeline, memos)
    for stage in ("other/cuts", ""):
        with dask.config.set({"patchmill.stage": stage}):
            patchmill.write_patches(tmp_path / "source.zarr", f"{s3}/set.zarr", 8, mode="overwrite")
        with pytest.raises(TargetExistsError, match="choose another place"):
            refuse_foreign(pipeline, memos)
    with dask.config.set({"patchmill.stage": "test/cuts"}):
        patchmill.write_patches(tmp_path / "source.zarr", f"{s3}/set.zarr", 8, mode="overwrite")
    refuse_foreign(pipeline, memos)


def test_of_a_pattern_the_content_decides_and_each_file_counts_once(tmp_path):
    for name in ("a/1.txt", "a/b/2.txt", "a/b/c/3.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("12")
    pattern = f"{tmp_path}/a/**"
    left = left_at(pattern)
    assert (left["files"], left["bytes"]) == (3, 6)
    os.utime(tmp_path / "a/b/2.txt", ns=(1, 1))
    assert is_left(pattern, trace(pattern), left)
    (tmp_path / "a/b/2.txt").write_text("34")
    assert not is_left(pattern, trace(pattern), left)


@pytest.mark.parametrize("place", ["a/1", "a", "a/*"])
def test_what_was_moved_with_all_around_it_has_the_same_trace(tmp_path, place):
    (tmp_path / "one" / "a").mkdir(parents=True)
    (tmp_path / "one" / "a" / "1").write_text("12")
    before = trace(f"{tmp_path}/one/{place}")
    (tmp_path / "one").rename(tmp_path / "two")
    assert trace(f"{tmp_path}/two/{place}") == before
