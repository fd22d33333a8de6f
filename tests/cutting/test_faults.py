"""A cut survives being killed at any moment: made again, it gives the bytes of one that was not."""

from __future__ import annotations

import threading
from contextlib import suppress

import numpy as np
import pytest
import zarr

import patchmill
from cuts import array_objects, tiny_shards  # noqa: F401 - a fixture
from dying import CALLS, CASES, SHARDS, VERBS, Killed, Stage, dying, in_memory, write_source  # noqa: F401 - fixtures
from patchmill.cutting import conducting, running, tasks
from patchmill.errors import HeldError
from patchmill.planning import shapes
from patchmill.storage import TensorStoreArray

pytestmark = pytest.mark.usefixtures("tiny_shards")


def steps_of(stage, steps):
    """How many steps an uninterrupted run takes."""
    stage.reset()
    with dying(float("inf"), steps) as death:
        stage.write()
    stage.check()
    return death.steps


def killed(stage, at, steps):
    """Kill a run before its `at`-th step."""
    with dying(at, steps), suppress(Killed):
        stage.write()


def goes_on(stage, **changes):
    """Look at what the killed left, then finish it; asserts all that must hold."""
    swapping = not stage.target.exists() and (stage.work / "old").exists()
    if stage.case.mode != "resume" and not swapping:
        assert stage.old_is_readable()
    complete = stage.is_swapped() and not (stage.work / "request.json").exists()
    before = stage.shards()
    stage.write(**changes)
    after = stage.shards()
    rewritten = [name for name in before if name in after and after[name] != before[name]]
    if not complete:  # to overwrite what is complete is another cut
        assert not rewritten
    stage.check()


QUICK = [case for case in CASES if str(case) in {"patches", "overwrite patches", "append canvas and keep"}]
OTHERS = [pytest.param(case, marks=pytest.mark.slow, id=str(case)) for case in CASES if case not in QUICK]


@pytest.mark.parametrize("case", [*(pytest.param(case, id=str(case)) for case in QUICK), *OTHERS])
def test_killed_before_any_verb_of_the_store(tmp_path, case):
    stage = Stage(tmp_path, case)
    for at in range(steps_of(stage, VERBS + SHARDS)):
        stage.reset()
        killed(stage, at, VERBS + SHARDS)
        goes_on(stage)


@pytest.mark.parametrize("mode", ["resume", "append"])
def test_a_set_that_was_swapped_in_is_tidied_up_by_a_call_of_any_mode(tmp_path, mode):
    stage, found = Stage(tmp_path, next(case for case in CASES if str(case) == "overwrite patches")), 0
    count = steps_of(stage, VERBS + SHARDS)
    for at in range(count - 12, count):
        stage.reset()
        killed(stage, at, VERBS + SHARDS)
        if stage.is_swapped():
            found += stage.work.exists()
            stage.write(mode=mode)
            stage.check()
            assert not (stage.work / "request.json").exists()
    assert found > 2


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=str)
def test_killed_before_any_call_of_the_system(tmp_path, case):
    """Half a temporary file, a lease that was not linked, a folder that is empty."""
    stage = Stage(tmp_path, case)
    for at in range(steps_of(stage, CALLS + SHARDS)):
        stage.reset()
        killed(stage, at, CALLS + SHARDS)
        goes_on(stage)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_killed_again_and_again_and_taken_up_on_other_machines(tmp_path, case):
    stage = Stage(tmp_path, case)
    count = steps_of(stage, CALLS + SHARDS)
    machines = [{"workers": 1}, {"workers": 3, "memory": "2GiB"}, {"tuning": {"read": "overlap", "band": 2}}]
    stage.reset()
    for number in range(12):
        with dying(5 + (number * 29) % (count // 3), CALLS + SHARDS), suppress(Killed):
            stage.write(**machines[number % 3])
            break
    goes_on(stage, tuning={"band": 1, "inflight": 1})


@pytest.mark.parametrize("at", [pytest.param(at, marks=[pytest.mark.slow] if at % 3 else []) for at in range(45)])
def test_an_append_that_was_killed_and_a_source_that_grew_meanwhile(tmp_path, monkeypatch, at):
    """Twice: what the first left of its last, partly filled shards must not count, whenever the second is killed."""
    source, target, small = tmp_path / "source.zarr", tmp_path / "set.zarr", (1, 4, 5)
    monkeypatch.setattr(shapes, "_SHARD", 120)  # so that two images share one, of a canvas

    def cut(images, kill):
        write_source(source, images, several=False, shape=small)
        with dying(kill, CALLS + SHARDS), suppress(Killed):
            patchmill.write_patches(source, target, 3, 1, layout="canvas", mode="append")

    def die(*_):
        raise Killed

    cut(2, float("inf"))
    with monkeypatch.context() as patch:
        patch.setattr(conducting, "commit", die)  # when all shards are there, of which the last holds one image
        cut(5, float("inf"))
    cut(6, at)
    cut(6, float("inf"))
    patchmill.write_patches(source, tmp_path / "once.zarr", 3, 1, layout="canvas")
    assert array_objects(target) == array_objects(tmp_path / "once.zarr")
    assert not (tmp_path / "set.zarr.patchmill/request.json").exists()


@pytest.mark.parametrize("fails_at", [0, 1, 3])
def test_an_append_that_fails_in_its_first_tasks_goes_on(tmp_path, monkeypatch, fails_at):
    images = np.random.default_rng(0).integers(0, 255, (400, 1, 8, 8), "uint8")
    monkeypatch.setattr(shapes, "_SHARD", 2**12)
    monkeypatch.setattr(shapes, "_SMALL", 200)
    source = tmp_path / "source.zarr"
    names = ["image", "channel", "y", "x"]
    grown = zarr.create_array(source, shape=(5, 1, 8, 8), dtype="uint8", dimension_names=names)
    grown[:] = images[:5]
    patchmill.write_patches(source, tmp_path / "set.zarr", 4, 2, statistics=False)
    grown.resize(images.shape)
    grown[:] = images
    real, begun = tasks.write_shard, []

    def fails(*given):
        begun.append(given[1])
        if len(begun) == fails_at + 1:
            raise RuntimeError("for once")
        return real(*given)

    monkeypatch.setattr(tasks, "write_shard", fails)
    with pytest.raises(RuntimeError, match="for once"):
        patchmill.write_patches(source, tmp_path / "set.zarr", 4, 2, statistics=False, mode="append")
    assert len(patchmill.open_patches(tmp_path / "set.zarr")) == 5 * 9
    patchmill.write_patches(source, tmp_path / "set.zarr", 4, 2, statistics=False, mode="append")
    patchmill.write_patches(source, tmp_path / "once.zarr", 4, 2, statistics=False)
    assert array_objects(tmp_path / "set.zarr") == array_objects(tmp_path / "once.zarr")
    assert patchmill.verify(tmp_path / "set.zarr", deep=True).ok
    assert not (tmp_path / "set.zarr.patchmill").exists()


def test_a_task_that_did_not_end_with_its_run_is_waited_for(tmp_path, monkeypatch):
    """It may write one last object: neither alone where all was removed, nor into a set that was begun anew."""
    monkeypatch.setattr(running, "_PATIENCE", 0.1)
    monkeypatch.setattr(conducting, "_LEFT_SECONDS", 0.1)
    goes_on, write = threading.Event(), TensorStoreArray.write

    def slow(self, parts, **how):
        if self.location.url.endswith("patches"):
            assert goes_on.wait(20)
        return write(self, parts, **how)

    monkeypatch.setattr(TensorStoreArray, "write", slow)
    image = np.zeros((2, 1, 64, 64), "uint16")
    image[1, 0, 5, 5] = 300
    target = tmp_path / "set.zarr"
    with pytest.raises(ValueError, match="300"):
        patchmill.write_patches(image, target, 64, dtype="uint8", workers=2, tuning={"inflight": 2})
    with pytest.raises(HeldError, match="still written by 1 task of an earlier call in this process"):
        patchmill.write_patches(image, target, 64, mode="overwrite")
    goes_on.set()
    monkeypatch.setattr(conducting, "_LEFT_SECONDS", 20)
    found = patchmill.write_patches(image, target, 64, mode="overwrite")
    assert (found.read([0, 1]) == image).all()
    assert patchmill.verify(target).ok
