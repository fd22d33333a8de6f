"""A state machine: whatever is begun, killed, taken up, appended to and replaced, readers see a whole set or none."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

import patchmill
from cuts import array_objects, expected_patches, pixels
from dying import CALLS, SHARDS, Killed, dying, write_source
from patchmill.errors import IncompleteError, NotAPatchSetError, PatchmillError
from patchmill.planning import shapes

SHAPE = (1, 6, 7)
IMAGE = pixels((8, *SHAPE), "uint8")
NEVER = 10**6
KILLS = st.one_of(st.just(NEVER), st.integers(0, 40), st.integers(0, 110))


class Machine(RuleBasedStateMachine):
    """A source that grows, and one target, whose readers see ``seen``: (images, step) of a set, or None."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
        self.patch = pytest.MonkeyPatch()
        for name, size in {"_SHARD": 200, "_SMALL": 120, "_CHUNK": 60, "_ROWS": 64}.items():
            self.patch.setattr(shapes, name, size)
        self.images, self.seen, self.may = 2, None, {None}
        write_source(self.source, self.images, several=False, shape=SHAPE)

    def teardown(self):
        self.patch.undo()
        shutil.rmtree(self.folder)

    @property
    def source(self):
        return self.folder / "source.zarr"

    @property
    def target(self):
        return self.folder / "set.zarr"

    def arguments(self, step):
        return {"patch_shape": (3, 3), "step": (step, step), "statistics": step == 2, "workers": 2}

    def write(self, step, kill, **how):
        """One call; True where it came to its end."""
        self.may = {self.seen, (self.images, step)}
        with dying(kill, CALLS + SHARDS), suppress(Killed, PatchmillError):
            return patchmill.write_patches(self.source, self.target, **self.arguments(step), **how) is not None
        return False

    @rule()
    def grow(self):
        if self.images < len(IMAGE):
            self.images += 1
            shutil.rmtree(self.folder / "more.zarr", ignore_errors=True)
            write_source(self.folder / "more.zarr", self.images, several=False, shape=SHAPE)
            shutil.rmtree(self.source)
            (self.folder / "more.zarr").rename(self.source)

    @rule(step=st.sampled_from([2, 3]), kill=KILLS, mode=st.sampled_from(["resume", "create", "append"]))
    def cut(self, step, kill, mode):
        if self.write(step, kill, mode=mode):
            assert self.now() == (self.images, step)

    @rule(step=st.sampled_from([2, 3]), kill=KILLS)
    def overwrite(self, step, kill):
        if self.write(step, kill, mode="overwrite"):
            assert self.now() == (self.images, step)
        else:
            assert kill != NEVER

    @rule(kill=KILLS, parts=st.permutations([0, 1, 2]))
    def slices(self, kill, parts):
        ended = [self.write(2, kill if part == 1 else NEVER, slice=(part, 3)) for part in parts]
        if ended[-1]:
            assert self.now() == (self.images, 2)

    def now(self):
        """What readers see."""
        try:
            ps = patchmill.open_patches(self.target)
        except (IncompleteError, NotAPatchSetError):
            return None
        return len(ps.sizes), ps.grid.step[0]

    @invariant()
    def readers_see_a_whole_set(self):
        seen = self.now()
        swapping = seen is None and (self.folder / "set.zarr.patchmill/old").exists()
        assert seen in self.may or swapping
        if seen is not None:
            ps = patchmill.open_patches(self.target)
            cut = {
                "patch_shape": (3, 3),
                "step": (seen[1], seen[1]),
                "dilation": (1, 1),
                "edge": "drop",
                "pad_mode": "constant",
            }
            np.testing.assert_array_equal(ps.read(np.arange(len(ps))), expected_patches(IMAGE[: seen[0]], cut))
        self.seen = seen if not swapping else self.seen
        self.may = {seen, self.seen} | (self.may if swapping else set())

    @rule(step=st.sampled_from([2, 3]))
    def finish(self, step):
        """Whatever was there: it can be replaced, and then has the bytes of a set that was cut at once."""
        self.overwrite(step, NEVER)
        with tempfile.TemporaryDirectory(dir=self.folder) as once:
            patchmill.write_patches(self.source, Path(once) / "set.zarr", **self.arguments(step))
            assert array_objects(self.target) == array_objects(Path(once) / "set.zarr")
        assert not (self.folder / "set.zarr.patchmill").exists()


@pytest.mark.parametrize("examples", [8, pytest.param(120, marks=pytest.mark.slow)])
def test_machine(examples):
    run_state_machine_as_test(Machine, settings=settings(max_examples=examples, stateful_step_count=12))
