"""What killed runs left behind is in no set: neither beside its images, nor in a shard that holds some of them."""

from __future__ import annotations

import pickle
import shutil
from contextlib import suppress
from itertools import pairwise

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import patchmill
from cuts import array_objects
from dying import CALLS, SHARDS, Killed, dying, in_memory  # noqa: F401 - a fixture
from patchmill.cutting import conducting, job, lease, running, tasks
from patchmill.errors import LeaseLostError, PatchmillError, TargetExistsError
from patchmill.planning import shapes
from patchmill.storage import Location

NAMES = ["image", "channel", "y", "x"]
NEVER = float("inf")


def write_images(place, versions, variables=("image",)):
    """A source whose i-th image has pixels of its `versions[i]`."""
    shutil.rmtree(place, ignore_errors=True)
    group = zarr.create_group(place, zarr_format=3)
    for at, name in enumerate(variables):
        images = [np.random.default_rng([at, n, v]).integers(0, 9, (2, 6, 7), "uint8") for n, v in enumerate(versions)]
        group.create_array(name, data=np.stack(images), chunks=(1, 2, 6, 7), dimension_names=NAMES)


def steps(draw):
    """Appends to a source that grows and shrinks behind what is committed: images, version of new ones, when killed."""
    count = st.tuples(st.integers(0, 4), st.integers(0, 2), st.one_of(st.just(NEVER), st.integers(0, 90)))
    return draw(st.lists(count, min_size=2, max_size=5))


@pytest.mark.parametrize("examples", [15, pytest.param(200, marks=pytest.mark.slow)])
def test_appends_that_were_killed_leave_nothing_behind(tmp_path, monkeypatch, examples):
    """Images that were taken out of the source, and came back with other pixels after an append without them."""
    monkeypatch.setattr(shapes, "_SMALL", 120)
    monkeypatch.setattr(shapes, "_CHUNK", 60)
    source, target, once = tmp_path / "source.zarr", tmp_path / "set.zarr", tmp_path / "once.zarr"

    @settings(max_examples=examples, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def law(data):
        monkeypatch.setattr(shapes, "_SHARD", data.draw(st.sampled_from([100, 400, 1500])))
        layout, variables = data.draw(st.sampled_from(["patches", "canvas"])), data.draw(st.sampled_from(["a", "ab"]))
        how = {
            "patch_shape": 3,
            "step": 2,
            "layout": layout,
            "statistics": data.draw(st.booleans()),
            "keep": data.draw(st.sampled_from([None, "a.mean > 3.9" if variables == "ab" else "mean > 3.9"])),
        }
        for place in (target, tmp_path / "set.zarr.patchmill"):
            shutil.rmtree(place, ignore_errors=True)
        images = [0, 0]
        write_images(source, images, variables)
        patchmill.write_patches(source, target, **how)
        committed, tried = 2, [0, 0]
        for more, version, kill in steps(data.draw):
            # What was tried last is known by how many images it had: those may not change unnoticed.
            same = tried[: committed + more]
            images = same + [version] * (committed + more - len(same))
            write_images(source, images, variables)
            with dying(kill, CALLS + SHARDS), suppress(Killed):
                patchmill.write_patches(source, target, mode="append", **how)
            ended = len(patchmill.open_patches(target).sizes) == len(images)
            committed = len(images) if ended else committed
            tried = images if ended or len(images) > len(tried) else tried
        write_images(source, [*tried, 9], variables)  # where there is nothing new, nobody looks
        patchmill.write_patches(source, target, mode="append", **how)
        shutil.rmtree(once, ignore_errors=True)
        patchmill.write_patches(source, once, **how)
        assert array_objects(target) == array_objects(once)
        assert patchmill.verify(target, deep=True).ok

    law()


def killed_at_its_commit(monkeypatch, source, target, **how):
    def die(*_):
        raise Killed

    with monkeypatch.context() as patch, suppress(Killed):
        patch.setattr(conducting, "commit", die)
        patchmill.write_patches(source, target, **how)


@pytest.mark.parametrize("layout", ["patches", "canvas"])
@pytest.mark.parametrize("shard", [400, 5000])
def test_an_image_that_was_taken_out_and_came_back(tmp_path, monkeypatch, layout, shard):
    monkeypatch.setattr(shapes, "_SHARD", shard)
    monkeypatch.setattr(shapes, "_SMALL", 120)
    source, target, once = tmp_path / "source.zarr", tmp_path / "set.zarr", tmp_path / "once.zarr"
    how = {"patch_shape": 3, "step": 1, "layout": layout, "statistics": False}
    write_images(source, [0, 0, 0])
    patchmill.write_patches(source, target, **how)
    write_images(source, [0, 0, 0, 0, 1])
    killed_at_its_commit(monkeypatch, source, target, mode="append", **how)
    for versions in ([0, 0, 0, 0], [0, 0, 0, 0, 2]):
        write_images(source, versions)
        patchmill.write_patches(source, target, mode="append", **how)
        assert patchmill.verify(target)
        assert not patchmill.verify(target).foreign
    patchmill.write_patches(source, once, **how)
    assert array_objects(target) == array_objects(once)


@pytest.mark.parametrize("patch_shape", [3, 5])
def test_what_was_written_under_another_record_is_written_again(tmp_path, monkeypatch, patch_shape):
    """Killed between two variables; then pixels that decide what is kept were mended in place."""
    source, target = tmp_path / "source.zarr", tmp_path / "set.zarr"
    write_images(source, [0], ("deciding", "other"))
    deciding = zarr.open_group(source, mode="r+")["deciding"]
    deciding[..., :4] = 0
    how = {"patch_shape": patch_shape, "step": 2, "keep": "deciding.mean > 2", "variables": ["other", "deciding"]}
    real, calls = tasks._write, []

    def dies(*given):
        calls.append(given)
        if len(calls) == 2:
            raise Killed
        return real(*given)

    with monkeypatch.context() as patch, suppress(Killed):
        patch.setattr(tasks, "_write", dies)
        patchmill.write_patches(source, target, **how)
    deciding[..., :4] = 7
    ps = patchmill.write_patches(source, target, **how)
    patchmill.write_patches(source, tmp_path / "once.zarr", **how)
    assert array_objects(target) == array_objects(tmp_path / "once.zarr")
    assert patchmill.verify(target, deep=True)
    assert len(ps)


def test_nothing_is_left_out_where_very_many_shards_were_begun(tmp_path, monkeypatch):
    """One variable's objects are gone: what is left of each shard is not remembered, but the set comes out right."""
    from patchmill.cutting import standing

    monkeypatch.setattr(shapes, "_SHARD", 60)
    monkeypatch.setattr(standing, "_MOST_LEFT", 3)
    source, target, once = tmp_path / "source.zarr", tmp_path / "set.zarr", tmp_path / "once.zarr"
    write_images(source, [0, 0], ("a", "b"))
    killed_at_its_commit(monkeypatch, source, target, patch_shape=3, step=2)
    shutil.rmtree(target / "b/c")
    patchmill.write_patches(source, target, 3, 2)
    patchmill.write_patches(source, once, 3, 2)
    assert array_objects(target) == array_objects(once)


@pytest.mark.parametrize("mode", ["resume", "append"])
def test_what_another_version_stores_otherwise_is_not_gone_on_with(tmp_path, monkeypatch, mode):
    source, target = tmp_path / "source.zarr", tmp_path / "set.zarr"
    write_images(source, [0, 0])
    how = {"patch_shape": 3, "step": 1, "layout": "canvas"}
    if mode == "append":
        patchmill.write_patches(source, target, **how)
        write_images(source, [0, 0, 0])
    else:
        killed_at_its_commit(monkeypatch, source, target, **how)
    before = array_objects(target)
    monkeypatch.setattr(shapes, "_SHARD", 60)
    with pytest.raises(TargetExistsError, match="has another chunk_grid than this patchmill gives it"):
        patchmill.write_patches(source, target, mode=mode, **how)
    assert array_objects(target) == before
    if mode == "append":
        assert patchmill.verify(target)
        assert not (tmp_path / "set.zarr.patchmill").exists()


def test_a_writer_that_slept_asks_whether_the_target_is_still_its_own(tmp_path, monkeypatch):
    """Before each object, where it has not asked for long; here the lease goes in mid-cut, and only tasks look."""
    monkeypatch.setattr(shapes, "_SHARD", 60)
    monkeypatch.setattr(job, "_CONFIRMED", -1.0)
    monkeypatch.setattr(running, "_LOOK", 60.0)
    source, target = tmp_path / "source.zarr", tmp_path / "set.zarr"
    write_images(source, [0] * 3)
    seen = []

    def watch(progress):
        objects = sorted(each.name for each in target.rglob("c/**/*") if each.is_file())
        seen.append(len(objects))
        for each in (tmp_path / "set.zarr.patchmill/leases").glob("*.json"):
            each.unlink()

    with pytest.raises((LeaseLostError, PatchmillError), match="no longer this call's to write"):
        patchmill.write_patches(source, target, 3, 1, workers=1, tuning={"inflight": 1}, progress=watch)
    assert all(b - a <= 1 for a, b in pairwise(seen))
    written = sum(each.is_file() for each in target.rglob("patches/c/**/*"))
    assert written <= 2


def test_records_that_others_remove_are_missed_at_the_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(shapes, "_SHARD", 60)
    source, target = tmp_path / "source.zarr", tmp_path / "set.zarr"
    write_images(source, [0] * 3)
    real = conducting.commit

    def robbed(*given):
        shutil.rmtree(tmp_path / "set.zarr.patchmill/journal")
        return real(*given)

    how = {"patch_shape": 3, "step": 1, "keep": "mean > 3.9"}
    with monkeypatch.context() as patch:
        patch.setattr(conducting, "commit", robbed)
        with pytest.raises(PatchmillError, match="call again, which cuts the shard again"):
            patchmill.write_patches(source, target, **how)
    patchmill.write_patches(source, target, **how)
    patchmill.write_patches(source, tmp_path / "once.zarr", **how)
    assert array_objects(target) == array_objects(tmp_path / "once.zarr")


def test_workers_of_a_client_that_was_killed_ask_for_its_lease(tmp_path):
    work = Location.parse(tmp_path / "set.zarr.patchmill")
    with lease.take(work) as taken:
        halt = job.Halt(confirm=taken.claim)
        elsewhere = pickle.loads(pickle.dumps(halt))
        elsewhere.confirmed -= 60
        elsewhere.check()
    elsewhere.check()  # asked a moment ago
    elsewhere.confirmed -= 60
    with lease.take(work), pytest.raises(LeaseLostError, match="was taken over by"):
        elsewhere.check()
