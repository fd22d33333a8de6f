"""Slices: any order, several at once, killed and run again, and byte for byte the set that one call cuts."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import dask.array as da
import numpy as np
import pytest

import patchmill
from cuts import array_objects, stored_image, tiny_shards
from patchmill.cutting import building, conducting, workplace
from patchmill.cutting.lease import take
from patchmill.cutting.slices import Slice, missing, slice_of
from patchmill.errors import HeldError, Interrupted, TargetExistsError
from patchmill.storage import Location

IMAGE = np.random.default_rng(0).integers(1, 60000, (2, 3, 90, 80), "uint16")
SCRIPT = Path(__file__).parents[2] / "configs" / "schedule" / "slurm-array.sh"


tiny = tiny_shards  # a fixture


@pytest.fixture
def stored(tmp_path):
    return stored_image(tmp_path / "source.zarr", IMAGE)


def in_one_go(tmp_path, source, **options):
    patchmill.write_patches(source, tmp_path / "whole", 16, 8, **options)
    return array_objects(tmp_path / "whole")


# -- the arithmetic ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shards", [1, 2, 5, 12, 97])
@pytest.mark.parametrize("count", [1, 2, 3, 8, 100])
def test_every_shard_is_in_one_slice(shards, count):
    slices = [Slice(index, count) for index in range(count)]
    for number in range(shards):
        assert [each.index for each in slices if each.has(number, shards)] == [slice_of(number, shards, count)]
    sizes = [high - low for low, high in (each.interval(shards) for each in slices)]
    assert sum(sizes) == shards
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(
    "value",
    [
        "",
        "1",
        "1/",
        "2/2",
        "-1/2",
        "0/0",
        "a/b",
        (1, 2, 3),
        1,
        None,
        "1/2/3",
        (2, 1),
        (1.9, 3),
        (1, 3.0),
        (True, 3),
        "13",
    ],
)
def test_a_slice_that_is_none(value):
    with pytest.raises(ValueError, match="slice"):
        Slice.parse(value)


def test_what_is_missing_is_a_sentence():
    assert missing([], 10, 4) == ""
    assert missing([9], 10, 4) == "1 shard of 1 slice is missing: slice 3 of 4"
    assert missing(range(100), 100, 50).endswith("slice 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, "
                                                 "18, 19, ... of 50")  # fmt: skip


# -- one after the other -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        ("stored", 7),
        ("dask", 2),
        *(pytest.param(*each, marks=pytest.mark.slow) for each in [("stored", 2), ("dask", 7)]),
    ],
)
def test_any_order_gives_the_bytes_of_one_go(tmp_path, tiny, stored, kind, count):
    source = stored if kind == "stored" else da.from_array(IMAGE, chunks=(1, 3, 50, 40))
    expected = in_one_go(tmp_path, source)
    indices = list(range(count))
    random.Random(count).shuffle(indices)
    said = []
    for at, index in enumerate(indices):
        told = []
        ps = patchmill.write_patches(
            source, tmp_path / "out", 16, 8, slice=f"{index}/{count}", progress=told.append, say=said.append
        )
        assert told[-1].shards == told[-1].shards_total
        assert told[-1].done == told[-1].total
        assert (ps is None) == (at < len(indices) - 1)
    assert len(said) == len(indices) - 1
    assert all("missing" in sentence for sentence in said)
    assert array_objects(tmp_path / "out") == expected
    assert not (tmp_path / "out.patchmill").exists()
    again = patchmill.write_patches(source, tmp_path / "out", 16, 8, slice=f"0/{count}")
    assert len(again) == len(ps)


def test_slices_without_shards_are_done_at_once(tmp_path, stored):
    """More slices than shards: the images share one, which the last slice has."""
    found = [patchmill.write_patches(stored, tmp_path / "out", 16, 8, slice=(index, 5)) for index in (0, 3, 4, 1, 2)]
    assert [each is None for each in found] == [True, True, False, False, False]
    assert array_objects(tmp_path / "out") == in_one_go(tmp_path, stored)


def test_a_whole_run_finishes_what_slices_began(tmp_path, tiny, stored):
    assert patchmill.write_patches(stored, tmp_path / "out", 16, 8, slice="1/3") is None
    told = []
    patchmill.write_patches(stored, tmp_path / "out", 16, 8, progress=told.append)
    assert 0 < told[0].done < told[0].total
    assert array_objects(tmp_path / "out") == in_one_go(tmp_path, stored)


def test_another_number_of_slices_and_another_request_are_refused(tmp_path, tiny, stored):
    patchmill.write_patches(stored, tmp_path / "out", 16, 8, slice="1/3")
    before = array_objects(tmp_path / "out")
    with pytest.raises(TargetExistsError, match='is cut in 3 slices, got one of 4: use slice="i/3"'):
        patchmill.write_patches(stored, tmp_path / "out", 16, 8, slice="1/4")
    with pytest.raises(TargetExistsError, match="another request"):
        patchmill.write_patches(stored, tmp_path / "out", 16, 4, slice="0/3")
    with pytest.raises(ValueError, match='mode="resume"'):
        patchmill.write_patches(stored, tmp_path / "out", 16, 8, slice="0/3", mode="overwrite")
    assert array_objects(tmp_path / "out") == before


def test_a_second_writer_of_a_slice_is_refused(tmp_path, tiny, stored):
    work = Location.parse(tmp_path / "out").workshop
    with take(work, "slice-1-of-3"):
        with pytest.raises(HeldError, match="slice 1 of 3"):
            patchmill.write_patches(stored, tmp_path / "out", 16, 8, slice="1/3")
        assert patchmill.write_patches(stored, tmp_path / "out", 16, 8, slice="0/3") is None
        with run_slice(stored, tmp_path / "out", "1/3") as ended:
            assert ended.wait() == 75


# -- closing -----------------------------------------------------------------------------------------------------------


def test_a_closer_that_died_is_replaced_by_any_slice(tmp_path, tiny, stored, monkeypatch):
    def dies(*_):
        raise MemoryError

    patchmill.write_patches(stored, tmp_path / "out", 16, 8, slice="0/2")
    with monkeypatch.context() as patched:
        patched.setattr(conducting, "commit", dies)
        with pytest.raises(MemoryError):
            patchmill.write_patches(stored, tmp_path / "out", 16, 8, slice="1/2")
    assert len(patchmill.write_patches(stored, tmp_path / "out", 16, 8, slice="0/2"))
    assert array_objects(tmp_path / "out") == in_one_go(tmp_path, stored)


def test_while_one_closes_another_does_not(tmp_path, tiny, stored, monkeypatch):
    """The second slice ends while the first one, which saw all shards, completes the set."""
    commits, said, real = [], [], building.commit

    def slow(generation, look):
        commits.append(1)
        assert patchmill.write_patches(stored, tmp_path / "out", 16, 8, slice="0/2", say=said.append) is None
        real(generation, look)

    patchmill.write_patches(stored, tmp_path / "out", 16, 8, slice="0/2")
    with monkeypatch.context() as patched:
        patched.setattr(conducting, "commit", slow)
        assert patchmill.write_patches(stored, tmp_path / "out", 16, 8, slice="1/2") is not None
    assert commits == [1]
    assert "another one completes the set" in said[0]
    assert array_objects(tmp_path / "out") == in_one_go(tmp_path, stored)


@pytest.mark.parametrize("moment", ["begin", "prepare"])
def test_a_slice_that_comes_while_the_set_is_completed_cuts_nothing_anew(tmp_path, tiny, stored, monkeypatch, moment):
    """Whatever it reads of the journal then, which is being removed."""
    patchmill.write_patches(stored, tmp_path / "out", 16, 8, slice="0/2")
    real, inside, cuts = getattr(conducting, moment), [], []

    def meanwhile(*given):
        found = real(*given) if moment == "begin" else None
        if not inside:
            inside.append(1)
            patchmill.write_patches(stored, tmp_path / "out", 16, 8, slice="1/2")
        return found if moment == "begin" else real(*given)

    monkeypatch.setattr(conducting, moment, meanwhile)
    monkeypatch.setattr(conducting, "cut", lambda *given: cuts.append(given[2]) or building.cut(*given))
    assert patchmill.write_patches(stored, tmp_path / "out", 16, 8, slice="0/2") is not None
    assert [each.index for each in cuts] == [1]
    assert array_objects(tmp_path / "out") == in_one_go(tmp_path, stored)


def test_while_one_begins_another_waits(tmp_path, tiny, stored, monkeypatch):
    """Else the first would clear away what the second has found out about its shards meanwhile."""
    found, real = {}, workplace.tidy

    def cut(index):
        found[index] = patchmill.write_patches(stored, tmp_path / "out", 16, 8, slice=(index, 2))

    def slow(work):
        if not second.ident:
            second.start()
            second.join(1)
        real(work)

    second = threading.Thread(target=cut, args=(1,))
    monkeypatch.setattr(workplace, "tidy", slow)
    cut(0)
    second.join()
    assert any(ps is not None for ps in found.values())
    assert array_objects(tmp_path / "out") == in_one_go(tmp_path, stored)
    assert not (tmp_path / "out.patchmill").exists()


def test_who_closes_can_be_stopped_while_it_looks_what_is_there(tmp_path, tiny, stored, monkeypatch):
    looks, real = [], conducting.prepare

    def slow(request, where, look):
        looks.append(1)
        if len(looks) == 2:  # the first was before the cut
            signal.raise_signal(signal.SIGTERM)
            until = time.monotonic() + 20
            while time.monotonic() < until:
                look()
                time.sleep(0.05)
        return real(request, where, look)

    patchmill.write_patches(stored, tmp_path / "out", 16, 8, slice="0/2")
    with monkeypatch.context() as patched:
        patched.setattr(conducting, "prepare", slow)
        with pytest.raises(Interrupted, match="call again"):
            patchmill.write_patches(stored, tmp_path / "out", 16, 8, slice="1/2")
    assert len(looks) == 2
    assert patchmill.write_patches(stored, tmp_path / "out", 16, 8, slice="1/2") is not None
    assert array_objects(tmp_path / "out") == in_one_go(tmp_path, stored)


def test_files_of_others_among_the_shards_are_passed_over(tmp_path, tiny, stored):
    patchmill.write_patches(stored, tmp_path / "out", 16, 8, slice="1/3")
    for name in ("c/.DS_Store", "c/0/.DS_Store", "c/0/0/9999/0/0/0", "c/0/0/x/0/0/0"):
        place = tmp_path / "out" / "patches" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"")
    ps = patchmill.write_patches(stored, tmp_path / "out", 16, 8)
    assert np.array_equal(ps[0], IMAGE[0, :, :16, :16])
    report = patchmill.verify(tmp_path / "out")
    assert report.ok
    assert len(report.foreign) == 4


# -- at once -----------------------------------------------------------------------------------------------------------


SMALL = """
import sys
from patchmill.planning import shapes
shapes._SHARD, shapes._SMALL, shapes._CHUNK, shapes._ROWS = 600, 60, 200, 64
from patchmill.cli import main
sys.exit(main())
"""
"""The command line, with shards as small as `tiny` has them."""


def run_slice(source, target, part, *more):
    """A process that cuts a slice."""
    arguments = ["patchify", source, target, "--patch", "16", "--step", "8", "--slice", part, *more]
    command = [sys.executable, "-c", SMALL, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_all_at_once_and_killed_at_random(tmp_path, tiny, stored, seed):
    chance, count = random.Random(seed), 4
    running = {index: run_slice(stored, tmp_path / "out", f"{index}/{count}") for index in range(count)}
    kills, said = 3, []
    until = time.monotonic() + 120
    while running:
        assert time.monotonic() < until
        time.sleep(chance.uniform(0, 0.3))
        if kills and chance.random() < 0.3 and any((tmp_path / "out").glob("patches/c/*")):
            index = chance.choice(list(running))
            running[index].send_signal(signal.SIGKILL)
            kills -= 1
        for index, process in list(running.items()):
            if process.poll() is not None:
                assert process.returncode in {0, 75, -signal.SIGKILL}, process.communicate()
                said.append(process.communicate()[0])
                del running[index]
                if process.returncode:
                    running[index] = run_slice(stored, tmp_path / "out", f"{index}/{count}")
    if not (tmp_path / "out" / "zarr.json").exists():  # whoever came last was killed over it
        assert run_slice(stored, tmp_path / "out", f"{chance.randrange(count)}/{count}").wait() == 0
    assert array_objects(tmp_path / "out") == in_one_go(tmp_path, stored)
    left = list((tmp_path / "out.patchmill").glob("*"))  # at most a lease that a killed process was just writing
    assert {path.name for path in left} <= {"leases"}
    patchmill.open_patches(tmp_path / "out")


# -- Slurm -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_the_job_array(tmp_path, tiny, stored, first):
    """The script as Slurm runs it: one process for each index, in an order of its own."""
    indices = list(range(first, first + 4))
    random.Random(first).shuffle(indices)
    said = [job(stored, tmp_path / "out", index, first, "4") for index in indices]
    assert all(text.splitlines()[-1].endswith("is done") for text in said[:-1])
    assert "missing" in said[0]
    assert said[-1].splitlines()[-1].startswith("open it with")
    assert array_objects(tmp_path / "out") == in_one_go(tmp_path, stored)


def test_few_tasks_of_an_array_run_again(tmp_path, tiny, stored):
    job(stored, tmp_path / "out", 0, 0, "2")
    assert "open it with" in job(stored, tmp_path / "out", 1, 1, "1", SLICES="2")


@pytest.mark.parametrize("there", [{}, {"SLURM_ARRAY_TASK_ID": "1"}, {"SLURM_ARRAY_TASK_COUNT": "4"}, {"SLICES": "8"}])
def test_outside_of_a_job_array_the_script_says_how_to_submit_it(there):
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")} | there
    script = ["bash", SCRIPT, "scenes.zarr", "patches.zarr", "--patch", "16"]
    ended = subprocess.run(script, env=environ | {"PATCHMILL": "false"}, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    assert "runs as a task of a Slurm job array" in line
    assert line.endswith(f"submit it with: sbatch {SCRIPT} SOURCE TARGET --patch N")


def job(source, target, index, first, count, **more):
    command = target.with_name("command.py")
    command.write_text(SMALL)
    environ = os.environ | {
        "SLURM_ARRAY_TASK_ID": str(index),
        "SLURM_ARRAY_TASK_MIN": str(first),
        "SLURM_ARRAY_TASK_COUNT": count,
        "SLURM_MEM_PER_NODE": "1024",
        "PATCHMILL": f"{sys.executable} {command}",
        **more,
    }
    script = ["bash", SCRIPT, source, target, "--patch", "16", "--step", "8"]
    ended = subprocess.run(script, env=environ, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout
