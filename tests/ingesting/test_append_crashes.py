"""An append that is killed, or that can't write: the old store stays readable, and a repeated call ends the same."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import dask
import numpy as np
import pytest

import patchmill
from ingesting.looking import dataset_of, images_of
from ingesting.test_append import filled, root_of, save
from ingesting.test_store import every_object_of as objects_of
from patchmill.errors import HeldError, IncompleteError, PatchmillError
from patchmill.ingesting import appending, publishing
from patchmill.storage import Location, TensorStoreArray

EXTENTS = [(600, 700), (30, 40), (600, 500)]


def begun(folder, old=EXTENTS, new=EXTENTS):
    """A store of `old`, the files for `new`, and what the store shall be at the end."""
    save(folder / "in", filled(old))
    patchmill.ingest(folder / "in", folder / "t.zarr", dims=("y", "x"))
    save(folder / "in", filled(new, len(old)), len(old))
    patchmill.ingest(folder / "in", folder / "once.zarr", dims=("y", "x"))
    return folder / "t.zarr", objects_of(folder / "once.zarr")


def append(folder):
    return patchmill.ingest(folder / "in", folder / "t.zarr", mode="append", dims=("y", "x"))


def looks_right(target, extents=(*EXTENTS, *EXTENTS), least=3):
    """Whatever number of images the root promises, all their pixels are there."""
    found = images_of(target)
    assert len(found) >= least
    for number, pixels in enumerate(found):
        assert pixels.shape == extents[number]
        assert (pixels == number + 1).all()
    return len(found)


# -- killed ---------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """Nothing of ours runs after this, as after SIGKILL."""


@pytest.fixture
def no_tidying(monkeypatch):
    """What is on disk stays as it is, as if the process had been killed."""
    monkeypatch.setattr(appending, "is_publishing", lambda target: True)


def killed_at(step, monkeypatch):
    """Die before the move number `step`."""
    moves, original = iter(range(10**6)), os.replace

    def replace(source, destination):
        if "append/" in str(source) and not str(source).endswith("__tmp") and next(moves) == step:
            raise Killed
        original(source, destination)

    monkeypatch.setattr(appending.os, "replace", replace)


def append_killed_at(step, tmp_path, monkeypatch):
    """An append that dies before the move number `step`, and tidies nothing up."""
    with monkeypatch.context() as patch:
        patch.setattr(publishing.appending, "is_publishing", lambda target: True)
        killed_at(step, patch)
        with pytest.raises(Killed):
            append(tmp_path)


@pytest.mark.slow
def test_killed_before_any_of_the_moves(tmp_path, monkeypatch):
    """Every single step of publishing, one after the other, with a canvas that shares shards."""
    target, expected = begun(tmp_path, [(30, 40)] * 2, [(30, 40), (20, 20)])
    step, images = 0, 2
    kept = tmp_path / "kept"
    os.rename(target, kept)
    while images == 2:
        subprocess.run(["cp", "-a", kept, target], check=True)
        with monkeypatch.context() as patch:
            patch.setattr(publishing.appending, "is_publishing", lambda target: True)
            killed_at(step, patch)
            try:
                append(tmp_path)
                break
            except Killed:
                pass
        images = looks_right(target, [(30, 40)] * 3 + [(20, 20)], 2)
        assert len(dataset_of(target).image) == images
        is_unfinished_and_whole(target)
        report = append(tmp_path)
        assert report.added == 0  # the append was finished from what had been made
        assert len(report) == 4
        assert objects_of(target) == expected
        assert root_of(target)["generation"] == 1
        assert not target.with_name("t.zarr.patchmill").exists()
        step += 1
        subprocess.run(["rm", "-r", target], check=True)
    assert step > 10


def is_unfinished_and_whole(target):
    """A check says what is under way and finds no damage; a repair leaves it alone."""
    before, report = objects_of(target), patchmill.verify(target)
    assert report.ok, report.lines()
    assert report.foreign == ()
    assert any("an append was begun and not finished" in note for note in report.notes)
    with pytest.raises(IncompleteError, match="call ingest again, which finishes it, then repair"):
        patchmill.verify(target, repair=True)
    assert objects_of(target) == before


def test_what_is_damaged_beside_an_unfinished_append_is_found(tmp_path, monkeypatch):
    target, _ = begun(tmp_path)
    append_killed_at(12, tmp_path, monkeypatch)
    is_unfinished_and_whole(target)
    for key in ("height/zarr.json", "height/c/0", "image/c/0/0/0"):
        data = (target / key).read_bytes()
        (target / key).write_bytes(data[:40] + bytes([data[40] ^ 1]) + data[41:])
        assert [each.object for each in patchmill.verify(target).damaged] == [key]
        (target / key).write_bytes(data)


def test_the_root_comes_last(tmp_path, monkeypatch):
    begun(tmp_path, [(30, 40)] * 2, [(30, 40)])
    moved, original = [], os.replace

    def replace(source, destination):
        if "/append/" in str(source) and not str(source).endswith("__tmp"):
            moved.append(os.path.relpath(destination, tmp_path / "t.zarr"))
        original(source, destination)

    monkeypatch.setattr(appending.os, "replace", replace)
    append(tmp_path)
    kinds = [
        "root" if key == "zarr.json" else "metadata" if key.endswith("zarr.json") else key.partition("/")[0]
        for key in moved
    ]
    kinds = ["small" if kind not in ("root", "metadata", "image") else kind for kind in kinds]
    assert list(dict.fromkeys(kinds)) == ["image", "small", "metadata", "root"]
    assert kinds == sorted(kinds, key=["image", "small", "metadata", "root"].index)
    assert kinds.count("root") == 1


@pytest.mark.usefixtures("no_tidying")
def test_killed_while_building_changes_nothing(tmp_path, monkeypatch):
    target, expected = begun(tmp_path)
    before = objects_of(target)
    with monkeypatch.context() as patch:
        patch.setattr(publishing.appending, "publish", lambda *args: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            append(tmp_path)
    assert objects_of(target) == before
    assert (target.with_name("t.zarr.patchmill") / "append" / "zarr.json").exists()
    monkeypatch.undo()
    # The file that was the reason for most of it is gone by now: nothing of it may stay.
    os.unlink(tmp_path / "in" / "3.npy")
    assert append(tmp_path).added == 2
    assert [pixels.max() for pixels in images_of(target)] == [1, 2, 3, 5, 6]
    assert not target.with_name("t.zarr.patchmill").exists()
    assert len(expected) == len(objects_of(target))


SCRIPT = """
import sys, patchmill
print("ready", flush=True)
patchmill.ingest(sys.argv[1], sys.argv[2], mode="append", dims=("y", "x"))
"""


def start(folder):
    """A process that appends; it is running when this returns."""
    environment = os.environ | {"PYTHONPATH": str(Path(patchmill.__file__).parents[1])}
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder / "in"), str(folder / "t.zarr")],
        env=environment,
        stdout=subprocess.PIPE,
    )
    process.stdout.readline()
    return process


def rounds_of_killing(folder, rounds, seed):
    """Kill at random moments, and each time look, then let one call run to its end in the same or the next round."""
    chance = random.Random(seed)
    target, expected = begun(folder, EXTENTS * 4, EXTENTS * 4)
    begin = time.perf_counter()
    kept = folder / "kept"
    subprocess.run(["cp", "-a", target, kept], check=True)
    process = start(folder)
    process.wait()
    process.stdout.close()
    took = time.perf_counter() - begin
    assert objects_of(target) == expected
    killed = 0
    for _ in range(rounds):
        subprocess.run(["rm", "-r", target], check=True)
        subprocess.run(["cp", "-a", kept, target], check=True)
        for _ in range(2):
            process = start(folder)
            time.sleep(chance.uniform(0, took * 0.7))
            process.send_signal(signal.SIGKILL)
            process.stdout.close()
            killed += process.wait() == -signal.SIGKILL
            looks_right(target, EXTENTS * 8, len(EXTENTS) * 4)
        assert len(append(folder)) == len(EXTENTS) * 8
        assert objects_of(target) == expected
        assert not target.with_name("t.zarr.patchmill").exists()
    return killed


def test_killed_by_the_system(tmp_path):
    rounds_of_killing(tmp_path, 2, seed=0)


@pytest.mark.slow
def test_killed_by_the_system_many_times(tmp_path):
    assert rounds_of_killing(tmp_path, 12, seed=1) > 4


# -- readers --------------------------------------------------------------------------------------------------------


READER = """
import json, os, sys, warnings
warnings.simplefilter("error")
sizes, target, stop, engine = eval(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]

def by_xarray():
    import xarray as xr
    store = xr.open_zarr(target)
    return lambda name: store[name].values

def by_tensorstore():
    import tensorstore as ts
    with open(target + "/zarr.json") as root:
        arrays = json.load(root)["consolidated_metadata"]["metadata"]
    def read(name):
        known = {key: value for key, value in arrays[name].items() if key != "storage_transformers"}
        kvstore = {"driver": "file", "path": f"{target}/{name}/"}
        spec = {"driver": "zarr3", "kvstore": kvstore, "metadata": known, "fill_missing_data_reads": False}
        return ts.open(spec, open=True, assume_metadata=True).result().read().result()
    return read

opened = {"xarray": by_xarray, "tensorstore": by_tensorstore}[engine]

def check(read):
    heights, widths, pixels = read("height"), read("width"), read("image")
    for number in range(len(pixels)):
        assert (heights[number], widths[number]) == sizes[number]
        assert (pixels[number, : heights[number], : widths[number]] == number + 1).all(), number
    return len(pixels)

early, counts = opened(), set()
print("ready", flush=True)
while not os.path.exists(stop):
    counts.add(check(opened()))
    check(early)
print(*sorted(counts))
"""


@pytest.mark.parametrize(
    ("engine", "sizes"),
    [
        ("xarray", [(300, 400), (290, 400), (300, 310), (280, 300)]),
        pytest.param("tensorstore", [(300, 400), (290, 400), (300, 400), (280, 300)], marks=pytest.mark.slow),
        ("tensorstore", [(30, 40), (25, 40), (30, 40), (30, 10)]),  # several share a chunk
    ],
)
def test_readers_are_never_disturbed(tmp_path, engine, sizes):
    """New readers, and one that opened before the first append, while a store grows image by image."""
    sizes = sizes * 5
    paths = save(tmp_path / "in", filled(sizes))
    target, stop = tmp_path / "t.zarr", tmp_path / "stop"
    options = {"mode": "append", "dims": ("y", "x")}
    patchmill.ingest(paths[:1], target, **options)
    arguments = [sys.executable, "-c", READER, repr(sizes), str(target), str(stop), engine]
    reader = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert reader.stdout.readline() == "ready\n"
    for number in range(1, len(paths)):
        patchmill.ingest(paths[: number + 1], target, **options)
    stop.touch()
    found, complaints = reader.communicate()
    assert (reader.returncode, complaints) == (0, "")
    assert len(found.split()) > 1  # it read while the store grew
    assert looks_right(target, sizes, 1) == len(sizes)


def test_a_shard_that_is_replaced_begins_with_what_it_held(tmp_path):
    """A reader that took the index from the old object and the chunk from the new one finds what it looked for."""
    target, expected = begun(tmp_path)
    shards = [key for key in objects_of(target) if key.startswith("image/c/0/")]
    before = {key: (target / key).read_bytes() for key in shards}
    append(tmp_path)
    for key, data in before.items():
        length = len(data) - index_bytes(target)
        assert length > 1000
        assert expected[key][-4:] != data[-4:]
        assert expected[key][:length] == data[:length]


def index_bytes(target):
    """Bytes of a shard's index: offset and length of each chunk, and a checksum."""
    array = root_arrays(target)["image"]
    shard = array["chunk_grid"]["configuration"]["chunk_shape"]
    chunk = array["codecs"][0]["configuration"]["chunk_shape"]
    return 16 * int(np.prod([a // b for a, b in zip(shard, chunk, strict=True)])) + 4


def root_arrays(target):
    return json.loads((target / "zarr.json").read_bytes())["consolidated_metadata"]["metadata"]


# -- disks ----------------------------------------------------------------------------------------------------------


def test_a_full_disk_is_one_sentence_and_the_store_stays(tmp_path, monkeypatch):
    target, expected = begun(tmp_path)
    before = objects_of(target)

    def full(*args, **kwargs):
        raise ValueError("RESOURCE_EXHAUSTED: No space left on device [source locations=...]")

    with monkeypatch.context() as patch:
        patch.setattr(TensorStoreArray, "write", full)
        with pytest.raises(PatchmillError, match=r"can't be written, RESOURCE_EXHAUSTED: No space left on device:"):
            append(tmp_path)
    assert objects_of(target) == before
    assert not target.with_name("t.zarr.patchmill").exists()
    assert append(tmp_path).added == 3
    assert objects_of(target) == expected


def test_a_store_that_takes_no_object_can_be_finished_later(tmp_path, monkeypatch):
    target, expected = begun(tmp_path)

    def refuse(source, destination):
        raise PermissionError(13, "Permission denied", str(destination))

    with monkeypatch.context() as patch:
        original = os.replace
        patch.setattr(appending.os, "replace", lambda a, b: refuse(a, b) if "t.zarr/" in str(b) else original(a, b))
        with pytest.raises(PatchmillError, match="can't be written, Permission denied: it holds what it held"):
            append(tmp_path)
    assert looks_right(target) == 3
    report = append(tmp_path)
    assert (report.added, len(report)) == (0, 6)
    assert objects_of(target) == expected
    assert not target.with_name("t.zarr.patchmill").exists()


def test_an_append_to_another_store_is_not_finished(tmp_path, monkeypatch):
    target, _ = begun(tmp_path)
    append_killed_at(0, tmp_path, monkeypatch)
    subprocess.run(["rm", "-r", target], check=True)
    subprocess.run(["cp", "-a", tmp_path / "once.zarr", target], check=True)
    before = objects_of(target)
    with pytest.raises(PatchmillError, match=r"unfinished append to a store that is no longer at .*: remove that"):
        append(tmp_path)
    assert objects_of(target) == before


def test_one_writer_at_a_time(tmp_path):
    import fcntl

    target, _ = begun(tmp_path)
    before = objects_of(target)
    beside = target.with_name("t.zarr.patchmill")
    beside.mkdir()
    with open(beside / "ingest.lock", "a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(PatchmillError, match="held by another process"):
            append(tmp_path)
    assert objects_of(target) == before
    assert append(tmp_path).added == 3


def test_who_repairs_and_who_ingests_wait_for_each_other(tmp_path, monkeypatch):
    target, expected = begun(tmp_path)
    beside, sweep, refused = target.with_name("t.zarr.patchmill"), Location.sweep, []

    def meanwhile(place):
        sweep(place)
        for call in (lambda: append(tmp_path), lambda: patchmill.verify(target, repair=True)):
            with pytest.raises(HeldError, match="held by another process that ingests or repairs") as caught:
                call()
            refused.append(caught.value)

    (target / "image/zarr.json").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(Location, "sweep", meanwhile)
        report = patchmill.verify(target, repair=True)
    assert len(refused) == 2
    assert [each.object for each in report.repaired] == ["image/zarr.json"]
    assert not beside.exists()
    append(tmp_path)
    assert objects_of(target) == expected


def test_overwrite_finishes_what_was_being_published_before_it_replaces(tmp_path, monkeypatch):
    target, expected = begun(tmp_path)
    append_killed_at(2, tmp_path, monkeypatch)
    patchmill.ingest(tmp_path / "in", target, mode="overwrite", dims=("y", "x"))
    assert objects_of(target) == expected
    assert not target.with_name("t.zarr.patchmill").exists()


def test_what_was_moved_away_when_a_process_was_killed_is_out_of_date_too(tmp_path):
    target, arguments = tmp_path / "t.zarr", {"mode": "auto", "dims": ("y", "x")}
    save(tmp_path / "in", filled([(30, 40)] * 2))
    with dask.config.set({"patchmill.stage": "demo/ingest@one"}):
        patchmill.ingest(tmp_path / "in", target, **arguments)
    new = save(tmp_path / "new", filled([(20, 20)]))
    target.with_name("t.zarr.patchmill").mkdir()
    target.rename(target.with_name("t.zarr.patchmill") / "old")
    with dask.config.set({"patchmill.stage": "demo/ingest@two", "patchmill.anew": True}):
        report = patchmill.ingest(new, target, **arguments)
    assert (len(report), [image.shape for image in images_of(target)]) == (1, [(20, 20)])
    assert not target.with_name("t.zarr.patchmill").exists()


def test_pieces_grow_a_store_like_wholes(tmp_path, monkeypatch):
    from patchmill.ingesting import scenes

    rng = np.random.default_rng(0)
    images = [rng.integers(0, 99, (3000, 2000), dtype=np.uint32) for _ in range(3)]
    paths = save(tmp_path / "in", images)
    options = {"dims": ("y", "x")}
    patchmill.ingest(paths, tmp_path / "once.zarr", **options)
    monkeypatch.setattr(scenes, "WHOLE", 1000)
    patchmill.ingest(paths[:1], tmp_path / "t.zarr", **options)
    patchmill.ingest(paths, tmp_path / "t.zarr", mode="append", **options)
    assert objects_of(tmp_path / "t.zarr") == objects_of(tmp_path / "once.zarr")
