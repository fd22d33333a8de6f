"""Plans: figures against counting, JSON there and back, instant for any size."""

from __future__ import annotations

import inspect
import time
from functools import partial

import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

import patchmill
from patchmill.cutting import compiled, request
from patchmill.planning import choosing, making
from patchmill.planning.memory import COMPILER, STEP
from patchmill.storage import heap


@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(4, 60), st.integers(4, 60)),
    patch=st.integers(1, 4),
    step=st.integers(1, 9),
    edge=st.sampled_from(["drop", "pad", "shift"]),
)
def test_figures_are_those_of_the_patches(shape, patch, step, edge):
    image = np.zeros(shape, "uint16")
    plan = patchmill.plan(image, patch, step, edge=edge)
    cut = patchmill.patchify(image, patch, step, edge=edge)
    assert plan.patches * shape[1] * patch**2 == cut.size
    assert plan.bytes_written == cut.nbytes
    assert plan.bytes_source == image.nbytes
    held = np.zeros(shape[2:], bool)
    for pixels in plan.grid:
        held[pixels] = True
    assert plan.uncovered == (~held).sum() * shape[0]
    assert plan.overlap_factor == pytest.approx(cut.size / image.size)
    assert type(plan).from_json(plan.to_json()) == plan
    assert hash(plan) == hash(type(plan).from_json(plan.to_json()))


def test_a_billion_patches_take_no_time():
    big = da.zeros((1, 1, 40_000, 40_000), dtype="uint8", chunks=(1, 1, 8000, 8000))
    began = time.perf_counter()
    plan = patchmill.plan(big, 256, 1)
    assert time.perf_counter() - began < 5  # a count that walks would take hours
    assert plan.patches == 39_745**2


def test_shards_and_blocks_are_those_that_a_run_makes(tmp_path):
    image = np.random.default_rng(0).integers(0, 99, (2, 3, 700, 900), "uint8")
    plan = patchmill.plan(image, 32, 16)
    patchmill.write_patches(image, tmp_path / "set.zarr", 32, 16)
    assert plan.shards == sum(path.is_file() for path in (tmp_path / "set.zarr/patches/c").rglob("*"))


def test_kernels_are_compiled_where_there_is_much_to_look_at_and_memory_enough():
    big = da.zeros((1, 4, 8192, 8192), dtype="uint16", chunks=(1, 4, 1024, 1024))
    plan = partial(patchmill.plan, big, 256, 128, workers=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "installed", lambda: True)
        patch.setattr(compiled, "kernels", lambda: None)
        much, blind = plan(memory="4GiB"), plan(memory="4GiB", statistics=False)
        small = patchmill.plan(big[..., :1000, :1000], 256, 128, memory="4GiB")
        with pytest.MonkeyPatch.context() as short:
            short.setattr(making, "_COMPILED_LIMIT", 2**33)  # what else these tests hold leaves no room for less
            little = plan(memory="4GiB")
        patch.setattr(compiled, "installed", lambda: False)
        absent = plan(memory="4GiB")
    assert much.compiled
    assert not any(each.compiled for each in (little, blind, small, absent))
    assert COMPILER <= much.memory - absent.memory <= COMPILER * 6 // 5
    assert type(much).from_json(much.to_json()) == much


@pytest.mark.parametrize(("in_use", "least", "most"), [(120 * 2**20, COMPILER // 2, COMPILER), (500 * 2**20, 0, STEP)])
def test_kernels_count_once_in_a_process_that_has_them(monkeypatch, in_use, least, most):
    """Whether they came before we looked, and are among what is in use, or after."""
    monkeypatch.setattr(request, "in_use", lambda step: in_use)
    found = []
    for kernels in (None, compiled):
        monkeypatch.setattr(compiled, "kernels", lambda loaded=kernels: loaded)
        found.append(patchmill.plan(np.zeros((600, 600), "uint8"), 64, memory="16GiB", statistics=False).memory)
    assert least <= found[1] - found[0] <= most * 6 // 5


def test_kernels_are_in_use_once_they_were_loaded(monkeypatch):
    """Else they are taken off from what was in use before them."""
    monkeypatch.setattr(compiled, "_LOADED", [])
    monkeypatch.setattr(compiled, "_kernels", lambda: compiled)
    looked = []
    monkeypatch.setattr(heap, "resident", lambda: 2**28)
    monkeypatch.setattr(heap, "_SEEN", heap._Seen())
    monkeypatch.setattr(heap, "trim", lambda: looked.append(1))
    heap.in_use(STEP)
    heap.leave()
    looked.clear()
    for _ in range(2):
        compiled.load()
        heap.leave()
        heap.in_use(STEP)
    assert looked == [1]


def test_memory_that_does_not_suffice_names_the_knob():
    with pytest.raises(patchmill.PatchmillError, match="memory"):
        patchmill.plan(np.zeros((9000, 9000)), 4096, 4096, memory="210MiB")


def test_reprs_are_escaped_and_small():
    html = patchmill.plan(np.zeros((900, 1600), "u1"), 64, 3)._repr_html_()
    assert len(html) < 50_000
    assert "<script" not in html
    assert "patches" in repr(patchmill.plan(np.zeros((900, 1600), "u1"), 64))


def test_a_plan_takes_what_a_cut_does():
    def keywords(function):
        return set(inspect.signature(function).parameters)

    of_a_run = {"mode", "slice", "target_options", "progress", "say"}
    assert keywords(patchmill.write_patches) - keywords(patchmill.plan) == of_a_run
    with pytest.raises(ValueError, match="pad_value"):
        patchmill.plan(np.zeros((9, 9), "uint8"), 4, edge="pad", pad_value=300)


@pytest.mark.parametrize("dtype", ["unit8", "longdouble", "U4", "M8[s]", object, 3, ["u1"]])
@pytest.mark.parametrize("transform", [None, "standardize()"])
def test_a_dtype_that_is_none_is_a_sentence(dtype, transform):
    with pytest.raises(TypeError, match="dtype must be one that can be stored, got ") as caught:
        patchmill.plan(np.zeros((9, 9), "uint8"), 4, dtype=dtype, transform=transform)
    assert f"got {dtype!r}: " in str(caught.value)
    assert "here are 'bool', " in str(caught.value)
    assert dtype != "unit8" or "did you mean 'uint8'?" in str(caught.value)


@pytest.mark.parametrize("dtype", ["uint8", ">u2", np.float32, float, "c16", bool])
def test_a_dtype_may_be_written_in_any_way(dtype):
    plan = patchmill.plan(np.zeros((9, 9), "uint8"), 4, dtype=dtype)
    assert plan.variables[0].dtype == np.dtype(dtype).newbyteorder("=").str


def test_few_tasks_for_many_cores_are_as_many_as_memory_allows(tmp_path):
    zarr.create_array(tmp_path / "a.zarr", shape=(1, 4, 40_000, 40_000), chunks=(1, 4, 512, 512), dtype="uint16")
    plan = partial(patchmill.plan, tmp_path / "a.zarr", 256)
    work = [plan(workers=workers, memory="2GiB").work.inflight for workers in (4, 16, 64, 256)]
    assert work[0] <= work[1] <= work[2] <= work[3]
    assert work[-1] > 4


def test_many_workers_price_few_ways_to_work(monkeypatch):
    priced, memory = [], choosing._memory
    monkeypatch.setattr(choosing, "_memory", lambda *given: priced.append(given) or memory(*given))
    for limit, least in [("64GiB", 100), ("1GiB", 2)]:
        priced.clear()
        plan = patchmill.plan(np.zeros((1, 4, 8_000, 8_000), "u1"), 256, 128, workers=4096, memory=limit)
        assert len(priced) < 2_000
        assert plan.work.inflight >= least


@pytest.mark.parametrize("edge", ["drop", "shift"])
def test_more_workers_walk_no_axis_again(monkeypatch, edge):
    walked, touched = [], choosing._touched
    monkeypatch.setattr(choosing, "_touched", lambda *given: walked.append(given) or touched(*given))

    def walks(workers):
        for each in (choosing._decoded, choosing._most_touched, choosing._is_aligned):
            each.cache_clear()
        walked.clear()
        big = da.zeros((1, 1, 30_000, 20_000), dtype="uint8", chunks=(1, 1, 512, 512))
        patchmill.plan(big, 256, 128, edge=edge, memory="64GiB", workers=workers, tuning={"read": "region"})
        return len(walked)

    assert 0 < walks(64) <= 2 * walks(4)
