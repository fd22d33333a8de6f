"""The limit is kept: the peak of a fresh process against its plan, and the arithmetic of the plan."""

from __future__ import annotations

import gc
import json
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr

import patchmill
from patchmill.errors import PatchmillError
from patchmill.planning import choosing
from patchmill.planning.memory import INTERPRETER, READING, Piece, crowded, held_beyond, peak, reading_bytes, with_room
from patchmill.storage import Location, bulk, open_bulk
from patchmill.types import as_bytes

MIB = 2**20
BENCHMARK = Path(__file__).parents[2] / "benchmarks/memory.py"


def measured(tmp_path, case, limit="512MiB", layout="patches", size="320MiB", **more):
    """The row that the benchmark gives for a case."""
    out = tmp_path / "memory.json"
    options = {"case": case, "limit": limit, "layout": layout, "size": size, "folder": tmp_path, "out": out} | more
    words = (str(word) for name, value in options.items() for word in (f"--{name}", value))
    subprocess.run([sys.executable, BENCHMARK, *words], check=True, capture_output=True)
    (row,) = json.loads(out.read_text())
    assert "failed" not in row, row["failed"]
    return row


def check(row, limit, most=1.5):
    """The law, and that nothing piles up from the first fifth of a run to its last."""
    assert row["peak"] <= row["plan"] <= limit
    assert row["plan"] <= most * row["peak"]
    assert row["late"] <= row["plan"]


# Short runs do not reach their peak each time: what is measured here is that they stay below it.
@pytest.mark.parametrize(("case", "layout"), [("plain", "patches"), ("misaligned", "canvas"), ("strips", "patches")])
def test_the_peak_is_below_the_plan_and_the_plan_below_the_limit(tmp_path, case, layout):
    check(measured(tmp_path, case, layout=layout), 512 * MIB, most=2)


SLOW = [
    *((case, layout) for case in ("plain", "overlap", "statistics", "strips", "misaligned", "sharded", "cast", "scale",
                                  "keep", "nan", "bands", "times") for layout in ("patches", "canvas")),
    ("standardize", "patches"), ("dask", "patches"), ("dask", "canvas"),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("case", "layout"), SLOW)
def test_whatever_the_source(tmp_path, case, layout):
    row = measured(tmp_path, case, layout=layout, size="2GiB")
    check(row, 512 * MIB)
    if row["decoded"]:  # what Dask reads, tensorstore does not count
        assert row["decoded"] <= 1.1 * row["read"]


CUT = """
import re, sys, patchmill
source, target = sys.argv[1:]
arguments = {arguments}
planned = patchmill.plan(source, **arguments).memory
patchmill.write_patches(source, target, **arguments)
peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) * 1024
print(planned, peak)
"""
ODD = [
    {"side": 3000, "patch_shape": 100, "step": 1, "layout": "canvas", "keep": "std > 3"},
    {"side": 3000, "patch_shape": 256, "step": 2, "layout": "canvas", "keep": "valid_fraction > 0.5"},
    {"side": 3000, "patch_shape": 256, "step": 2, "layout": "canvas", "statistics": True},
    {"side": 60, "patch_shape": 2, "dilation": 10_000, "edge": "pad", "pad_mode": "reflect"},
    {"side": 5000, "patch_shape": 2500, "step": 700, "edge": "pad", "transform": "standardize()", "memory": "672MiB"},
]


@pytest.mark.slow
@pytest.mark.parametrize("odd", ODD, ids=str)
def test_patches_that_overlap_or_reach_far_are_planned_for(tmp_path, odd):
    arguments = {"memory": "512MiB", "workers": 3} | odd
    side = arguments.pop("side")
    pixels = np.random.default_rng(0).integers(0, 255, (1, side, side), "uint8")
    zarr.create_array(tmp_path / "source.zarr", data=pixels, chunks=(1, min(side, 500), min(side, 500)))
    command = [sys.executable, "-c", CUT.format(arguments=arguments), tmp_path / "source.zarr", tmp_path / "out"]
    planned, peak = map(int, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
    assert peak <= planned <= as_bytes(arguments["memory"], "memory")


KEPT = """
import re, sys, numpy as np, xarray as xr, patchmill

def keep(patches):
    return patches["v0"].max(axis=(1, 2, 3)) >= 0

pixels = np.random.default_rng(0).integers(0, 255, (1, 1600, 1600), "uint8")
data = xr.Dataset({f"v{n}": (("time", "y", "x"), pixels) for n in range(12)})
arguments = {"step": 16, "keep": keep, "memory": "500MiB", "workers": 2, "tuning": {"inflight": 1}}
planned = patchmill.plan(data, 64, **arguments).memory
patchmill.write_patches(data, sys.argv[1], 64, **arguments)
peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) * 1024
print(planned, peak)
"""


@pytest.mark.slow
def test_what_a_function_is_handed_of_many_variables_is_planned_for(tmp_path):
    command = [sys.executable, "-c", KEPT, tmp_path / "out"]
    planned, peak = map(int, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
    assert peak <= planned <= 500 * MIB


@pytest.mark.parametrize("far", [{"patch_shape": 10**12}, {"patch_shape": 3, "dilation": 10**9}])
def test_what_reaches_beyond_all_memory_is_refused_at_once(tmp_path, far):
    with pytest.raises(PatchmillError, match="choose a smaller patch"):
        patchmill.write_patches(np.zeros((40, 50), "u1"), tmp_path / "out", edge="pad", **far)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["patches", "canvas"])
def test_what_is_found_out_about_very_many_patches_counts(tmp_path, layout):
    check(measured(tmp_path, "dense", layout=layout), 512 * MIB, most=2)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["small", "tiny"])
def test_many_small_things(tmp_path, case):
    check(measured(tmp_path, case, size="4GiB"), 512 * MIB, most=1.6)


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["patches", "canvas"])
def test_chunks_of_a_quarter_gigabyte_are_unpacked_once(tmp_path, layout):
    row = measured(tmp_path, "quarter", limit="1GiB", layout=layout, size="3GiB")
    check(row, 1024 * MIB)
    assert row["decoded"] <= 1.05 * row["source"]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 4, 8])
def test_any_number_of_workers(tmp_path, workers):
    tuning = json.dumps({"inflight": workers})
    row = measured(tmp_path, "overlap", limit="2GiB", size="3GiB", workers=workers, tuning=tuning)
    check(row, 2048 * MIB, most=1.6)


@pytest.mark.slow
def test_an_array_in_memory_counts(tmp_path):
    check(measured(tmp_path, "numpy", limit="1GiB"), 1024 * MIB)


@pytest.mark.slow
def test_worker_processes_keep_it_too(tmp_path):
    check(measured(tmp_path, "cluster", size="2GiB"), 512 * MIB, most=2.3)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["quarter", "numpy"])
def test_the_number_that_an_error_names_is_enough(tmp_path, case):
    with pytest.raises(AssertionError, match="raise memory to") as refused:
        measured(tmp_path, case)
    least = re.search(r"raise memory to (\d+ MiB)", str(refused.value))[1].replace(" ", "")
    check(measured(tmp_path, case, limit=least), int(least[:-3]) * MIB)


# -- arithmetic --------------------------------------------------------------------------------------------------------


def test_reading_takes_a_few_chunks_or_a_single_one():
    assert reading_bytes(3 * MIB, MIB) == 6 * MIB
    assert reading_bytes(900 * MIB, MIB) == 2 * READING
    assert reading_bytes(900 * MIB, 256 * MIB) == 512 * MIB


def test_tasks_add_up():
    piece = Piece(tile=10 * MIB, changed=0, found=0, reading=5 * MIB, looking=0, writing=8 * MIB)
    rest = {"handed": 0, "cache": 0, "chunk": MIB, "astray": False, "waiting": 0, "held": 0, "shards": 0, "images": 0}
    one, two = (peak([piece], inflight=n, readers=n, **rest) for n in (1, 2))
    assert two - one == 18 * MIB * 9 // 8


def test_tasks_that_wait_for_the_chunks_of_another_do_not_unpack_them_as_well():
    piece = Piece(tile=10 * MIB, changed=0, found=0, reading=300 * MIB, looking=0, writing=8 * MIB)
    rest = {"handed": 0, "cache": 150 * MIB, "chunk": 150 * MIB, "astray": False, "waiting": 0, "held": 0}
    rest |= {"shards": 0, "images": 0}
    one, sharing, two = (peak([piece], inflight=n, readers=m, **rest) for n, m in ((1, 1), (2, 1), (2, 2)))
    assert sharing - one == 18 * MIB * 9 // 8
    assert two - sharing == 292 * MIB + (10 - 18) * MIB // 8  # no eighth of what goes back by itself


@pytest.mark.parametrize(("side", "cache", "readers"), [(512, 0, 3), (512, 2**20, 3), (8192, 0, 3), (8192, 2**28, 2)])
def test_a_kept_chunk_of_several_shards_is_unpacked_by_one_task_at_a_time(tmp_path, monkeypatch, side, cache, readers):
    source = tmp_path / "scene.zarr"
    zarr.create_array(source, shape=(1, 1, 32768, 32768), chunks=(1, 1, side, side), dtype="uint8")
    asked = []
    monkeypatch.setattr(choosing, "peak", lambda *args, **options: asked.append(options) or peak(*args, **options))
    patchmill.plan(source, 256, workers=2, memory="4GiB", tuning={"inflight": 3, "cache": cache})
    assert {options["readers"] for options in asked} == {readers}


def test_small_chunks_that_are_kept_lie_among_what_was_freed():
    piece = Piece(tile=10 * MIB, changed=0, found=0, reading=5 * MIB, looking=0, writing=8 * MIB)
    rest = {"handed": 0, "inflight": 2, "readers": 2, "astray": False, "waiting": 0, "held": 0}
    rest |= {"shards": 0, "images": 0}
    for chunk, times in ((MIB, 2), (64 * MIB, 1)):
        without, kept = (peak([piece], chunk=chunk, cache=cache, **rest) for cache in (0, 100 * MIB))
        assert kept - without == times * 100 * MIB
    for cache in (0, 10 * MIB, 500 * MIB):
        small, large = (peak([piece], chunk=chunk, cache=cache, **rest) for chunk in (64 * 2**10, 64 * MIB))
        assert MIB < small - large <= 150 * MIB  # what is left of each arena, however much is kept


def test_room_is_taken_only_where_there_is_some():
    for limit in (300, 450, 480, 500, 560, 3000):
        promised = with_room(300 * MIB, limit * MIB, MIB)
        assert 300 * MIB <= promised <= max(300, min(limit, 360)) * MIB
        assert 0.66 * promised < crowded(promised, limit * MIB) <= promised - min(64 * MIB, promised // 3)
    assert with_room(300 * MIB, 3000 * MIB, MIB) == 360 * MIB
    assert with_room(2000 * MIB, 9000 * MIB, MIB) == (2000 + 128) * MIB  # more is never kept
    assert with_room(300 * MIB, 3000 * MIB, 64 * MIB) == 300 * MIB  # such chunks go back by themselves


def test_what_else_lies_in_a_process_counts_in_steps():
    assert held_beyond(60 * MIB - 7 * MIB, 0) == 0
    assert held_beyond(INTERPRETER, 0) == held_beyond(INTERPRETER - MIB, 0) > 0
    assert held_beyond(INTERPRETER + 500 * MIB, 500 * MIB) == held_beyond(INTERPRETER, 0)


def test_sources_in_memory_need_no_cache():
    assert patchmill.plan(np.zeros((3, 4000, 4000), "u1"), 256, 128, workers=2).work.cache == 0


# -- reading -----------------------------------------------------------------------------------------------------------


def test_reading_in_parts_gives_the_same(tmp_path, monkeypatch):
    values = np.random.default_rng(0).integers(0, 99, (3, 2, 37, 41), "uint16")
    zarr.create_array(str(tmp_path / "a.zarr"), data=values, chunks=(2, 1, 5, 7))
    array = open_bulk(Location.parse(tmp_path / "a.zarr"))
    for most in (1, 200, 1000, 5000):
        monkeypatch.setattr(bulk, "READING", most)
        for region in (np.s_[0:3, 0:2, 0:37, 0:41], np.s_[1:3, 1:2, 4:21, 6:8], np.s_[2:3, 0:1, 5:10, 7:14]):
            assert (array.read(region) == values[region]).all()


@pytest.mark.parametrize(("side", "crowded"), [(128, None), (128, 5), (1024, None), (1024, 5)])
def test_a_long_read_gives_back_between_its_parts(tmp_path, monkeypatch, side, crowded):
    zarr.create_array(tmp_path / "a.zarr", data=np.ones((4 * side, side), "uint8"), chunks=(side, side))
    above = []
    monkeypatch.setattr(bulk, "READING", 2 * side**2)
    monkeypatch.setattr(bulk, "ease", above.append)
    array = open_bulk(Location.parse(tmp_path / "a.zarr"), crowded=crowded)
    pickle.loads(pickle.dumps(array)).read(np.s_[0 : 4 * side, 0:side])
    assert above == ([5, 5] if crowded else [0, 0] if side == 128 else [])  # what small chunks leave goes back anyway


def test_a_cache_ends_with_the_last_array_that_uses_it(tmp_path):
    zarr.create_array(str(tmp_path / "a.zarr"), data=np.ones((8, 8)))
    first, second = (open_bulk(Location.parse(tmp_path / "a.zarr"), cache_bytes=12345) for _ in range(2))
    assert first.pool is second.pool
    del first, second
    gc.collect()
    assert 12345 not in bulk._pools
