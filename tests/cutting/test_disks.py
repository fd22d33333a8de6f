"""Disks that are full, that may not be written, that hold something else: one sentence, and nothing is left behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from contextlib import suppress

import numpy as np
import pytest
import zarr

import patchmill
from cuts import array_objects, pixels, tiny_shards  # noqa: F401 - a fixture
from dying import CASES, Stage, filling, in_memory  # noqa: F401 - a fixture
from patchmill.cutting import looking
from patchmill.errors import DiskFullError, HeldError, IncompleteError, PatchmillError, TargetExistsError
from patchmill.storage import ArraySpec, Location, declare

IMAGE = pixels((2, 2, 40, 30), "uint8")


def is_a_sentence(error):
    assert isinstance(error, PatchmillError)
    assert "\n" not in str(error)
    assert ": " in str(error), str(error)


# -- full ------------------------------------------------------------------------------------------------------------

FULL = """
import json, os, subprocess, sys
import zarr
import patchmill
from patchmill.planning import shapes
from patchmill.cutting import conducting

shapes._SHARD, shapes._SMALL, shapes._CHUNK, shapes._ROWS = 600, 60, 200, 64
source, once, disk, arguments = sys.argv[1], sys.argv[2], sys.argv[3], json.loads(sys.argv[4])
if sys.argv[5:] == ["unchecked"]:
    conducting.refuse_full_disk = lambda *_: None


def objects(place):
    found = {}
    for folder, _, files in os.walk(place):
        for file in files:
            path = os.path.join(folder, file)
            if not file.endswith((".__lock", ".__tmp")) and path != os.path.join(place, "zarr.json"):
                with open(path, "rb") as opened:
                    found[os.path.relpath(path, place)] = opened.read()
    return found


def pixels_of(objects):
    return {key: data for key, data in objects.items() if key.startswith(("patches/c", "canvas/c"))}


patchmill.write_patches(source, once, **arguments)
expected, seen = objects(once), []
for size in json.load(sys.stdin):
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "none", disk], check=True)
    target, said, free = f"{disk}/a/set.zarr", "", os.statvfs(disk).f_bfree
    try:
        patchmill.write_patches(source, target, **arguments)
    except patchmill.PatchmillError as error:
        said = str(error)
    wrong = [key for key, data in pixels_of(objects(target)).items() if data != expected[key]]
    left = sorted(os.listdir(disk))
    subprocess.run(["mount", "-o", "remount,size=20m", disk], check=True)
    before = len(pixels_of(objects(target)))
    patchmill.write_patches(source, target, **arguments)
    same = objects(target) == expected and os.listdir(f"{disk}/a") == ["set.zarr"]
    seen.append({"size": size, "said": said, "wrong": wrong, "left": left, "before": before, "same": same})
    subprocess.run(["umount", "-l", disk], check=True)
print(json.dumps(seen))
"""


def can_mount():
    with suppress(OSError):
        return subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode == 0
    return False


@pytest.mark.skipif(not can_mount(), reason="a disk of our own needs a mount namespace")
@pytest.mark.parametrize(
    ("arguments", "check", "sizes"),
    [
        ({}, "unchecked", [16, 60, 200, 232, 252]),
        ({"keep": "mean > 120", "statistics": True, "layout": "canvas"}, "checked", [8, 120, 160, 176, 192, 200]),
        pytest.param({}, "checked", [*range(4, 480, 4)], marks=pytest.mark.slow),
        pytest.param(
            {"keep": "mean > 120", "statistics": True}, "unchecked", [*range(4, 480, 4)], marks=pytest.mark.slow
        ),
        pytest.param({"layout": "canvas", "statistics": True}, "checked", [*range(4, 480, 4)], marks=pytest.mark.slow),
    ],
)
def test_a_disk_that_fills_up_anywhere(tmp_path, arguments, check, sizes):
    zarr.create_array(
        tmp_path / "source.zarr", data=IMAGE[:1], chunks=(1, 2, 20, 30), dimension_names=("image", "channel", "y", "x")
    )
    (tmp_path / "disk").mkdir()
    given = json.dumps({"patch_shape": 4, "step": 3} | arguments)
    command = [
        "unshare",
        "-rm",
        sys.executable,
        "-c",
        FULL,
        *(f"{tmp_path}/{name}" for name in ("source.zarr", "once.zarr", "disk")),
        given,
        check,
    ]
    ended = subprocess.run(command, capture_output=True, text=True, input=json.dumps(sizes), check=False)
    assert ended.returncode == 0, ended.stderr
    seen = json.loads(ended.stdout)
    for each in seen:
        assert not each["wrong"], each
        assert each["same"], each
        assert (
            not each["said"]
            or each["said"].endswith("call again to go on from here")
            or "free, and about" in each["said"]
        ), each
        if "free, and about" in each["said"]:
            assert each["left"] == [], each
    assert sum("No space left" in each["said"] for each in seen) > min(20, len(seen) / 3), seen


@pytest.mark.parametrize(
    "case", [case for case in CASES if str(case) in {"canvas and keep", "overwrite patches", "append patches"}], ids=str
)
def test_a_disk_that_is_full_from_some_step_on(tmp_path, tiny_shards, case):  # noqa: F811
    stage = Stage(tmp_path, case)
    for at in (0, 2, 8, 20, 31, 36):
        stage.reset()
        with filling(at), pytest.raises(PatchmillError, match="No space left on device") as caught:
            stage.write()
        is_a_sentence(caught.value)
        assert not list(tmp_path.rglob("*.__tmp"))  # which would take what little room there is
        if at < 3:
            assert not stage.work.exists()
        stage.write()
        stage.check()


# -- the check beforehand --------------------------------------------------------------------------------------------


def with_room(monkeypatch, nbytes):
    monkeypatch.setattr(Location, "free", lambda self: nbytes)


@pytest.mark.parametrize("there", ["nothing", "an empty folder", "a set"])
@pytest.mark.parametrize("layout", ["patches", "canvas"])
def test_what_can_not_fit_is_refused_before_the_first_byte(tmp_path, monkeypatch, there, layout):
    target, mode = tmp_path / "a/b/set.zarr", "overwrite" if there == "a set" else "resume"
    if there == "a set":
        patchmill.write_patches(IMAGE, target, 8)
    elif there == "an empty folder":
        target.mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    with_room(monkeypatch, 1000)
    with pytest.raises(
        DiskFullError,
        match=r"set.zarr has 1000 B free, and about .* are needed: make room, (or )?choose another target",
    ) as caught:
        patchmill.write_patches(IMAGE, target, 4, 1, layout=layout, mode=mode)
    is_a_sentence(caught.value)
    for way in ("canvas", "a larger step", "keep="):
        assert (way in str(caught.value)) == (layout == "patches")
    assert sorted(tmp_path.rglob("*")) == before


def test_canvas_is_no_way_out_where_patches_do_not_overlap(tmp_path, monkeypatch):
    with_room(monkeypatch, 1000)
    with pytest.raises(DiskFullError, match=r"or use a larger step or keep=$"):
        patchmill.write_patches(IMAGE, tmp_path / "set.zarr", 5)


def test_what_keep_may_drop_is_not_refused(tmp_path, monkeypatch):
    """Nobody knows how much that is, so a cut that would fit must not be turned away."""
    with_room(monkeypatch, 1000)
    with pytest.warns(
        UserWarning, match="1000 B free, and about .* are needed if keep drops nothing: make room"
    ) as told:
        ps = patchmill.write_patches(IMAGE, tmp_path / "set.zarr", 4, 1, keep="min > 200")
    assert len(ps) < 20
    assert [each.filename for each in told] == [__file__]
    with pytest.raises(DiskFullError, match=r"make room, or choose another target$"):
        patchmill.write_patches(IMAGE, tmp_path / "canvas.zarr", 4, 1, keep="min > 200", layout="canvas")


def test_what_packs_well_is_not_refused(tmp_path, monkeypatch):
    source = tmp_path / "source.zarr"
    zarr.create_array(source, data=np.ones((1, 3, 512, 512), "uint8"), dimension_names=("image", "channel", "y", "x"))
    with_room(monkeypatch, 2 * 3 * 512 * 512)  # of 10 MB raw
    patchmill.write_patches(source, tmp_path / "set.zarr", 128, 64)


def test_a_resume_counts_what_is_left_only(tmp_path, tiny_shards, monkeypatch):  # noqa: F811
    source = tmp_path / "source.zarr"
    zarr.create_array(source, data=IMAGE, dimension_names=("image", "channel", "y", "x"))

    def stops(now):
        if now.shards > now.shards_total * 3 / 4:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        patchmill.write_patches(source, tmp_path / "set.zarr", 4, 3, progress=stops)
    with_room(monkeypatch, patchmill.plan(source, 4, 3).bytes_written // 2)
    with pytest.raises(DiskFullError):
        patchmill.write_patches(source, tmp_path / "other.zarr", 4, 3)
    patchmill.write_patches(source, tmp_path / "set.zarr", 4, 3)


# -- forbidden, or taken ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["parent", "target", "workshop"])
def test_a_folder_that_may_not_be_written(tmp_path, monkeypatch, where):
    """Told by the calls of the system: who is root may write anywhere."""
    target = tmp_path / "parent/set.zarr"
    (target if where == "target" else target.parent).mkdir(parents=True)
    forbidden = {"parent": f"{target.parent}/", "target": f"{target}/", "workshop": f"{target}.patchmill/"}[where]
    real_open, real_mkdir = open, os.mkdir

    def refuse(real):
        def call(path, *args, **kwargs):
            writes = real is real_mkdir or any(letter in (args[0] if args else "r") for letter in "wxa")
            if writes and f"{path}/".startswith(forbidden):
                raise PermissionError(13, os.strerror(13), str(path))
            return real(path, *args, **kwargs)

        return call

    monkeypatch.setattr("builtins.open", refuse(real_open))
    monkeypatch.setattr(os, "mkdir", refuse(real_mkdir))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(PatchmillError, match="can't be written: Permission denied") as caught:
        patchmill.write_patches(IMAGE, target, 8)
    is_a_sentence(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("mode", ["resume", "create", "overwrite", "append"])
def test_a_file_in_the_way(tmp_path, mode):
    (tmp_path / "set.zarr").write_text("mine")
    (tmp_path / "other.zarr.patchmill").write_text("mine")
    (tmp_path / "folder.zarr.patchmill").mkdir()
    (tmp_path / "folder.zarr.patchmill/thesis.txt").write_text("mine")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for name in ("set.zarr", "other.zarr", "folder.zarr", "set.zarr/inside.zarr"):
        with pytest.raises(PatchmillError) as caught:
            patchmill.write_patches(IMAGE, tmp_path / name, 8, mode=mode)
        is_a_sentence(caught.value)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert len(list(tmp_path.iterdir())) == 3


def test_links(tmp_path):
    """Who writes by a link and who writes by the name itself meet; what the link points to is what is replaced."""
    (tmp_path / "large").mkdir()
    (tmp_path / "large/set.zarr").mkdir()
    (tmp_path / "link.zarr").symlink_to(tmp_path / "large/set.zarr")
    (tmp_path / "nowhere.zarr").symlink_to(tmp_path / "gone")
    patchmill.write_patches(IMAGE, tmp_path / "link.zarr", 8)
    with patchmill.cutting.lease.take(Location.parse(tmp_path / "large/set.zarr").workshop), pytest.raises(HeldError):
        patchmill.write_patches(IMAGE, tmp_path / "link.zarr", 4, mode="overwrite")
    ps = patchmill.write_patches(IMAGE, tmp_path / "link.zarr", 4, mode="overwrite")
    assert (tmp_path / "link.zarr").is_symlink()
    assert len(patchmill.open_patches(tmp_path / "large/set.zarr")) == len(ps)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["large", "link.zarr", "nowhere.zarr"]
    assert os.listdir(tmp_path / "large") == ["set.zarr"]
    with pytest.raises(ZeroDivisionError):
        patchmill.write_patches(IMAGE, tmp_path / "nowhere.zarr", 4, progress=lambda now: now.shards and 1 / 0)
    for name in ("nowhere.zarr", "gone"):
        with pytest.raises(IncompleteError):
            patchmill.open_patches(tmp_path / name)
    patchmill.write_patches(IMAGE, tmp_path / "nowhere.zarr", 4)
    assert (tmp_path / "gone/zarr.json").exists()


@pytest.mark.parametrize("moment", ["before the workshop is listed", "before the request is read"])
def test_a_writer_that_begins_while_another_looks_is_no_stranger(tmp_path, monkeypatch, moment):
    image = np.zeros((64, 64), np.uint8)
    target = Location.parse(tmp_path / "set.zarr")
    with pytest.raises(ZeroDivisionError):  # what it leaves is what is there while it works
        patchmill.write_patches(image, target.path, 8, progress=lambda now: now.shards and 1 / 0)
    (tmp_path / "set.zarr.patchmill").rename(tmp_path / "later.patchmill")
    name = "_is_ours" if moment == "before the workshop is listed" else "begun"
    real = getattr(looking, name)

    def begins(place):
        if (tmp_path / "later.patchmill").exists():
            (tmp_path / "later.patchmill").rename(tmp_path / "set.zarr.patchmill")
        return real(place)

    monkeypatch.setattr(looking, name, begins)
    assert looking.look(target).foreign is False


UNREADABLE = r"set.zarr.patchmill holds the record of an unfinished cut, which can't be read: remove .*\.patchmill and "


@pytest.mark.parametrize(
    ("spoiled", "error", "words"),
    [
        (b"", TargetExistsError, UNREADABLE),
        (b"\xff\x00garbage", TargetExistsError, UNREADABLE),
        (b"[1]", TargetExistsError, UNREADABLE),
        (b'{"format": 1}', TargetExistsError, UNREADABLE),
        (b'{"format": 1, "request": 3}', TargetExistsError, UNREADABLE),
        (b'{"format": 1, "old": "x", "request": {}}', TargetExistsError, UNREADABLE),
        (b'{"format": 2, "whatever": 0}', PatchmillError, "begun in format 2 and this patchmill knows format 1"),
    ],
)
def test_a_request_that_can_not_be_understood(tmp_path, tiny_shards, spoiled, error, words):  # noqa: F811
    def stops(now):
        if now.shards:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        patchmill.write_patches(IMAGE, tmp_path / "set.zarr", 4, progress=stops)
    (tmp_path / "set.zarr.patchmill/request.json").write_bytes(spoiled)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for mode in ("resume", "create", "overwrite", "append"):
        with pytest.raises(error, match=words) as caught:
            patchmill.write_patches(IMAGE, tmp_path / "set.zarr", 4, mode=mode)
        is_a_sentence(caught.value)
    with pytest.raises(PatchmillError):
        patchmill.open_patches(tmp_path / "set.zarr")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    if error is TargetExistsError:
        shutil.rmtree(tmp_path / "set.zarr.patchmill")
        shutil.rmtree(tmp_path / "set.zarr")
        patchmill.write_patches(IMAGE, tmp_path / "set.zarr", 4)


def test_of_a_set_only_the_record_that_can_not_be_read_is_to_go(tmp_path):
    patchmill.write_patches(IMAGE, tmp_path / "set.zarr", 4)
    (tmp_path / "set.zarr.patchmill").mkdir()
    (tmp_path / "set.zarr.patchmill/request.json").touch()
    with pytest.raises(TargetExistsError, match=r"remove \S+\.patchmill, then call again"):
        patchmill.write_patches(IMAGE, tmp_path / "set.zarr", 8, mode="overwrite")
    shutil.rmtree(tmp_path / "set.zarr.patchmill")
    patchmill.write_patches(IMAGE, tmp_path / "set.zarr", 8, mode="overwrite")


def test_a_resume_by_another_request_names_what_differs(tmp_path, tiny_shards):  # noqa: F811
    def stops(now):
        if now.shards:
            raise ZeroDivisionError

    target = tmp_path / "set.zarr"
    with pytest.raises(ZeroDivisionError):
        patchmill.write_patches(IMAGE, target, 4, 2, progress=stops)
    for changes, words in [
        ({"step": 3}, r"grid\.step \(\[2, 2\] there, \[3, 3\] now\)"),
        ({"patch_shape": 5}, "patch_shape"),
        ({"layout": "canvas"}, "layout"),
        ({"edge": "pad", "pad_value": 3}, "pad_value"),
        ({"keep": "mean > 3"}, "keep"),
        ({"dtype": "int16"}, "dtype"),
        ({"transform": "clip(0, 3)"}, "transform"),
        ({"statistics": True}, "statistics"),
        ({"source": IMAGE + 1}, "source"),
        ({"source": IMAGE[:1]}, "images"),
    ]:
        arguments = {"source": IMAGE, "patch_shape": 4, "step": 2} | changes
        with pytest.raises(TargetExistsError, match=f"which differs in .*{words}.*: use mode=") as caught:
            patchmill.write_patches(target=target, **arguments)
        is_a_sentence(caught.value)
    patchmill.write_patches(IMAGE, target, 4, 2)


@pytest.mark.parametrize("how", ["cut short", "flipped", "gone", "of another set", "empty"])
def test_a_journal_that_is_spoiled(tmp_path, tiny_shards, how):  # noqa: F811
    """Its shards are cut again."""

    def stops(now):
        if now.shards > now.shards_total / 3:
            raise ZeroDivisionError

    target, arguments = tmp_path / "set.zarr", {"patch_shape": 4, "step": 3, "statistics": True, "keep": "mean > 120"}
    for place, source in ((tmp_path / "other.zarr", np.tile(IMAGE, (3, 1, 2, 2))), (target, IMAGE)):
        with pytest.raises(ZeroDivisionError):
            patchmill.write_patches(source, place, **arguments, progress=stops)
    for file in (tmp_path / "set.zarr.patchmill/journal").iterdir():
        data = file.read_bytes()
        if how == "gone":
            file.unlink()
        elif how == "of another set":
            other = next((tmp_path / "other.zarr.patchmill/journal").iterdir())
            (file.parent / "00000000000000000000-x-1").write_bytes(other.read_bytes())
        else:
            half = len(data) // 2
            file.write_bytes(
                {
                    "cut short": data[:half],
                    "flipped": data[:half] + bytes([data[half] ^ 1]) + data[half + 1 :],
                    "empty": b"",
                }[how]
            )
    patchmill.cutting.journal._writer.cache_clear()
    patchmill.write_patches(IMAGE, target, **arguments)
    patchmill.write_patches(IMAGE, tmp_path / "once.zarr", **arguments)
    assert array_objects(target) == array_objects(tmp_path / "once.zarr")


# -- several at a time, and what stays open ----------------------------------------------------------------------------


def test_two_targets_at_once_and_one_target_twice(tmp_path, tiny_shards):  # noqa: F811
    found = {}

    def write(name, number):
        try:
            found[number] = len(patchmill.write_patches(IMAGE, tmp_path / name, 4, 3))
        except HeldError as error:
            found[number] = str(error)

    threads = [
        threading.Thread(target=write, args=(name, at)) for at, name in enumerate(["a.zarr", "b.zarr", "a.zarr"])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[1] == 2 * 13 * 9
    twice = [found[0], found[2]]
    assert found[1] in twice
    assert all(each == found[1] or "is being written by this process since" in each for each in twice)
    assert array_objects(tmp_path / "a.zarr") == array_objects(tmp_path / "b.zarr")


def test_threads_that_declare_arrays_do_not_bring_back_each_others_warnings():
    failed = []

    def work():
        for _ in range(15):
            try:
                declare([ArraySpec.of("a", ("y",), np.arange(3))], {})
            except Warning as warning:  # which are errors here
                failed.append(warning)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_nothing_stays_open_or_running(tmp_path, tiny_shards):  # noqa: F811
    source = tmp_path / "source.zarr"
    zarr.create_array(source, data=IMAGE, chunks=(1, 2, 20, 30), dimension_names=("image", "channel", "y", "x"))

    def stops(now):
        if now.shards > 2:
            raise ZeroDivisionError

    def call(number):
        arguments = {
            "patch_shape": 4,
            "step": 3,
            "statistics": True,
            "tuning": {"read": ["region", "overlap"][number % 2]},
        }
        with suppress(ZeroDivisionError):
            patchmill.write_patches(
                source, tmp_path / f"{number}.zarr", **arguments, progress=stops if number % 3 else None
            )

    call(0), call(3)
    files, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    for number in range(4, 24):
        call(number)
    assert len(os.listdir("/proc/self/fd")) <= files
    assert threading.active_count() <= threads
