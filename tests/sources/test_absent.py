"""What was never stored is fill; what vanishes while a source is read is an error, never zeros."""

from __future__ import annotations

import os
import pickle
import shutil
import sys

import numpy as np
import pytest
import zarr

import patchmill
from patchmill.errors import CorruptChunkError, SourceError
from patchmill.sources import absent, open_source
from patchmill.sources.absent import changed_since, disk_clock

KINDS = {
    "v3": {"zarr_format": 3},
    "v3 with dots": {"zarr_format": 3, "chunk_key_encoding": {"name": "default", "separator": "."}},
    "v2": {"zarr_format": 2},
    "v2 with slashes": {"zarr_format": 2, "chunk_key_encoding": {"name": "v2", "separator": "/"}},
    "sharded": {"zarr_format": 3, "shards": (1, 20, 20)},
}


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


@pytest.fixture
def stored(kind, tmp_path):
    """(image, y, x) of 3 x 40 x 40, filled with 7, in which image 1 was never written."""
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=(3, 40, 40), chunks=(1, 10, 10), dtype="u2", fill_value=7,
        dimension_names=None if kind["zarr_format"] == 2 else ("image", "y", "x"), **kind,
    )  # fmt: skip
    array[0], array[2] = 1, 3
    if kind["zarr_format"] == 2:
        array.attrs["_ARRAY_DIMENSIONS"] = ["image", "y", "x"]
    for folder, _, files in os.walk(tmp_path / "a.zarr"):  # an hour ago
        for name in (folder, *(os.path.join(folder, file) for file in files)):
            os.utime(name, (1e9, 1e9))
    return tmp_path / "a.zarr"


def read(source, image, size=40):
    (variable,) = source.variables
    return source.read(variable, (slice(image, image + 1), slice(0, 1), slice(0, size), slice(0, size)))


def objects(place):
    """Files of image 0 or 2, by what they hold."""
    return sorted(path for path in place.rglob("*") if path.is_file() and not path.name.startswith((".z", "zarr")))


def test_what_was_never_there_is_fill(stored):
    source = open_source(stored)
    for _ in range(2):
        assert [int(read(source, image).max()) for image in range(3)] == [1, 7, 3]
    ps = patchmill.write_patches(stored, stored.with_name("set.zarr"), 8)
    assert int(ps[0].max()) == 1


@pytest.mark.parametrize("sparse_before", [False, True])
def test_a_chunk_that_vanishes_is_an_error(stored, sparse_before):
    source = open_source(stored)
    if sparse_before:
        read(source, 1)  # from now on the fill value is taken without a strict try
    objects(stored)[0].unlink()
    with pytest.raises(SourceError, match="changed or vanished"):
        read(source, 0)
    assert int(read(source, 2).max()) == 3


def test_a_folder_that_vanishes_is_an_error(stored):
    source = open_source(stored)
    objects_before = objects(stored)
    shutil.rmtree(objects_before[0].parent)
    with pytest.raises(SourceError, match="changed or vanished"):
        read(source, 0)


def test_a_store_that_vanishes_is_an_error(stored):
    source = pickle.loads(pickle.dumps(open_source(stored)))
    shutil.rmtree(stored)
    with pytest.raises(SourceError, match="changed or vanished"):
        read(source, 0)
    with pytest.raises(SourceError, match="changed or vanished"):
        source.check()


def test_a_chunk_that_is_damaged_is_no_missing_one(tmp_path):
    zarr.create_array(tmp_path / "a.zarr", data=np.ones((20, 20), "u2"), chunks=(10, 10))
    source = open_source(tmp_path / "a.zarr")
    (tmp_path / "a.zarr/c/0/0").write_bytes(b"no chunk")
    with pytest.raises(CorruptChunkError, match="damaged"):
        read(source, 0, 20)


def test_only_the_nearest_folder_counts(tmp_path):
    """Something new beside, as an append makes it, is no sign that anything vanished."""
    folder = tmp_path / "a"
    (folder / "c/0").mkdir(parents=True)
    for each in (folder, folder / "c", folder / "c/0"):
        os.utime(each, (1e9, 1e9))
    moment = disk_clock()
    missing = str(folder / "c/0/5")
    assert not changed_since(missing, str(folder), moment)
    (folder / "c/1").mkdir()
    assert not changed_since(missing, str(folder), moment)
    shutil.rmtree(folder / "c/0")
    assert changed_since(missing, str(folder), moment)
    shutil.rmtree(folder)
    assert changed_since(missing, str(folder), moment)


def test_a_chunk_that_goes_at_once_is_seen(tmp_path):
    """Files are dated by a clock that is some milliseconds behind; the moment of opening must be too."""
    (tmp_path / "c").mkdir()
    for number in range(50):
        (tmp_path / f"c/{number}").touch()
    for number in range(50):
        moment = disk_clock()
        (tmp_path / f"c/{number}").unlink()
        assert changed_since(str(tmp_path / f"c/{number}"), str(tmp_path), moment)


def test_what_was_just_written_may_lack_chunks(tmp_path):
    """Folders that changed within the tick of the clock in which a source is opened changed before it."""
    for number in range(20):
        place = tmp_path / f"{number}.zarr"
        array = zarr.create_array(place, shape=(2, 20, 20), chunks=(1, 10, 10), dtype="u2", fill_value=7)
        array[0] = 1
        source = open_source(place, dims=("image", "y", "x"))
        assert [int(read(source, image, 20).max()) for image in range(2)] == [1, 7]


def test_the_clock_of_the_disk_is_past_what_was_written(tmp_path):
    """Of kernels with finer times too, which date a file that was looked at exactly, ahead of the tick."""
    for number in range(50):
        (tmp_path / f"{number}").touch()
        os.stat(tmp_path)
        (tmp_path / f"again{number}").touch()
        assert os.stat(tmp_path).st_mtime_ns < disk_clock()


@pytest.mark.skipif(sys.platform != "linux", reason="others date files exactly")
def test_a_clock_that_stands_still_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(absent.time, "clock_gettime_ns", lambda clock: 1)
    assert disk_clock() == 1
