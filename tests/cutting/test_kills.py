"""A process that cuts, killed or told to end at random times: the next one goes on, and says how far it is."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest
import zarr

import patchmill
from cuts import array_objects, pixels, tiny_shards  # noqa: F401 - a fixture
from dying import in_memory  # noqa: F401 - a fixture
from patchmill.cutting.holders import holders
from patchmill.errors import HeldError, Interrupted
from patchmill.sources import Source
from patchmill.storage import Location

LIBRARY = """
import json, sys
import patchmill
{before}
print("ready", flush=True)
patchmill.write_patches(**json.loads(sys.argv[1]))
"""
COMMAND = """
import sys
import patchmill.cutting.writing
from patchmill.cli import main
{before}
print("ready", flush=True)
sys.argv[0] = "patchmill"
sys.exit(main())
"""
TINY = """
from patchmill.planning import shapes
shapes._SHARD, shapes._SMALL, shapes._CHUNK, shapes._ROWS = 600, 60, 200, 64
"""
SLOW = """
import time
from patchmill.sources import Source
read = Source.read
Source.read = lambda *given: (time.sleep({seconds}), read(*given))[1]
"""
CUT = {"patch_shape": 4, "step": 3}
DIMS = ("image", "channel", "y", "x")


def started(script, *arguments, before="", errors=subprocess.PIPE):
    """A process that is about to begin."""
    command = [sys.executable, "-c", script.format(before=before), *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def ended(process, seconds=10):
    """Exit code, and what was said."""
    told = time.monotonic()
    try:
        said = process.communicate(timeout=3 * seconds)[1]
    finally:
        process.kill()
    assert time.monotonic() - told < seconds
    return process.returncode, said


def sentences(said):
    """What is not about progress."""
    return [line for line in said.splitlines() if not line.startswith("cutting: ")]


def some(place, seconds=60):
    """Wait until a shard is there."""
    until = time.monotonic() + seconds
    while not any(path.is_file() and path.suffix != ".__lock" for path in place.rglob("c/*/*/*/*/*/*")):
        assert time.monotonic() < until
        time.sleep(0.02)


def shards(place):
    return {
        path: path.stat().st_mtime_ns
        for path in place.glob("patches/c/**/*")
        if path.is_file() and path.suffix != ".__lock"
    }


@pytest.fixture
def source(tmp_path):
    place = tmp_path / "source.zarr"
    zarr.create_array(place, data=pixels((2, 2, 40, 30), "uint8"), chunks=(1, 2, 20, 30), dimension_names=DIMS)
    return place


# -- SIGKILL ---------------------------------------------------------------------------------------------------------


QUICK = [("resume", 0), ("overwrite", 1), ("append", 2)]
SLOW_ONES = [(mode, seed) for mode in ("resume", "overwrite", "append") for seed in range(3, 10)]


@pytest.mark.parametrize(
    ("mode", "seed"), [*QUICK, *(pytest.param(*each, marks=pytest.mark.slow) for each in SLOW_ONES)]
)
def test_killed_at_a_random_time(tmp_path, tiny_shards, source, mode, seed):  # noqa: F811
    dice, target = random.Random(f"{mode} {seed}"), tmp_path / "set.zarr"
    arguments = CUT | {
        "layout": dice.choice(["patches", "canvas"]),
        "keep": dice.choice([None, "mean > 120"]),
        "statistics": dice.choice([None, True]),
    }
    if mode == "overwrite":
        patchmill.write_patches(source, target, 6)
    elif mode == "append":
        patchmill.write_patches(source, target, **arguments)
        zarr.open_array(source, mode="r+").append(pixels((1, 2, 40, 30), "uint8", 1))
    patchmill.write_patches(source, tmp_path / "once.zarr", **arguments)
    for _ in range(3):
        given = arguments | {"source": str(source), "target": str(target), "mode": mode, "workers": dice.choice([1, 2])}
        process = started(LIBRARY, json.dumps(given), before=TINY)
        time.sleep(dice.uniform(0, 0.8))
        process.kill()
        process.communicate()
        if mode != "resume" and not (tmp_path / "set.zarr.patchmill/old").exists():
            ps = patchmill.open_patches(target)
            ps.read(np.arange(len(ps)))
    before, finished = shards(target), (target / "zarr.json").exists()
    patchmill.write_patches(source, target, **arguments, mode=mode)
    assert array_objects(target) == array_objects(tmp_path / "once.zarr")
    assert not (tmp_path / "set.zarr.patchmill/request.json").exists()
    if mode == "resume" and not finished:
        after = shards(target)
        assert sum(after[path] != moment for path, moment in before.items()) <= 2


def test_whoever_lives_is_named_and_whoever_died_is_succeeded_at_once(tmp_path, tiny_shards, source):  # noqa: F811
    target = tmp_path / "set.zarr"
    given = CUT | {"source": str(source), "target": str(target)}
    process = started(LIBRARY, json.dumps(given), before=TINY + SLOW.format(seconds=1))
    some(target)
    with pytest.raises(HeldError, match=rf"being written by process {process.pid} on {os.uname().nodename} since 20"):
        patchmill.write_patches(**given)
    second = started(COMMAND, "patchify", source, target, "--patch", 4, "--step", 3, before=TINY)
    code, said = ended(second)
    assert code == 75
    assert f"process {process.pid} on" in said
    assert said.count("\n") == 1
    process.kill()
    process.communicate()
    began = time.monotonic()
    patchmill.write_patches(**given)
    assert time.monotonic() - began < 10
    with patchmill.cutting.lease.take(Location.parse(target).workshop):  # somebody appends
        assert len(patchmill.write_patches(**given)) == len(patchmill.open_patches(target))


# -- SIGINT and SIGTERM ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [*range(4), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(4, 24))])
def test_told_to_end_at_a_random_time(tmp_path, tiny_shards, source, seed):  # noqa: F811
    dice, target = random.Random(seed), tmp_path / "set.zarr"
    number = [signal.SIGINT, signal.SIGTERM][seed % 2]
    slow = SLOW.format(seconds=0.02)
    process = started(COMMAND, "patchify", source, target, "--patch", 4, "--step", 3, before=TINY + slow)
    time.sleep(dice.uniform(0, 1.5))
    process.send_signal(number)
    code, said = ended(process)
    outside = (target / "zarr.json").exists() or not target.exists()  # before the command begins, or when it has ended
    assert code in (128 + number, 0) or (code == -number and outside), said
    assert "Traceback" not in said
    if code > 0:
        assert said.splitlines()[-1].startswith("patchmill: interrupted"), said
    assert holders(Location.parse(target).workshop) == []
    patchmill.write_patches(source, target, **CUT)
    patchmill.write_patches(source, tmp_path / "once.zarr", **CUT)
    assert array_objects(target) == array_objects(tmp_path / "once.zarr")


HANGING = """
import functools, time
import patchmill
from patchmill.sources import Source
read = Source.read

def hangs(self, variable, region):
    time.sleep(40 if region[0].start else 0)
    return read(self, variable, region)

Source.read = hangs
patchmill.write_patches = functools.partial(patchmill.write_patches, tuning={"read": "WAY", "rows": 1, "band": 1})
"""


@pytest.mark.parametrize(
    ("number", "way"),
    [
        (signal.SIGTERM, "overlap"),
        pytest.param(signal.SIGINT, "overlap", marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, "region", marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, "region", marks=pytest.mark.slow),
    ],
)
def test_a_source_that_hangs_does_not_hold_the_process(tmp_path, source, number, way):
    before = TINY + HANGING.replace("WAY", way)
    process = started(COMMAND, "patchify", source, tmp_path / "set.zarr", "--patch", 4, "--step", 3, before=before)
    some(tmp_path / "set.zarr")
    time.sleep(1.5)
    process.send_signal(number)
    code, said = ended(process)
    assert code == 128 + number
    first, *rest = sentences(said)
    assert first.startswith("patchmill: interrupted after "), said
    assert first.endswith(" shards: call again to go on from here")
    assert not first.startswith("patchmill: interrupted after 0 of")
    assert rest == ["patchmill: a thread does not end, so it is left behind: call again to go on from here"]
    assert holders(Location.parse(tmp_path / "set.zarr").workshop) == []


def test_a_second_ctrl_c_is_heeded_at_once(tmp_path, source):
    process = started(
        COMMAND, "patchify", source, tmp_path / "set.zarr", "--patch", 4, before=TINY + SLOW.format(seconds=30)
    )
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    time.sleep(1)
    told = time.monotonic()
    process.send_signal(signal.SIGINT)
    code, said = ended(process)
    assert (code, sentences(said)[0]) == (130, "patchmill: interrupted")
    assert time.monotonic() - told < 3
    assert holders(Location.parse(tmp_path / "set.zarr").workshop) == []


def test_the_command_itself(tmp_path, source):
    large = tmp_path / "large.zarr"
    zarr.create_array(large, data=pixels((2, 3, 1024, 1024), "uint8"), chunks=(1, 3, 256, 256), dimension_names=DIMS)
    command = [
        sys.executable,
        "-m",
        "patchmill",
        "patchify",
        large,
        tmp_path / "set.zarr",
        "--patch",
        "256",
        "--step",
        "16",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while not (tmp_path / "set.zarr.patchmill/request.json").exists():
        assert time.monotonic() < until
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    code, said = ended(process)
    assert code == 143
    assert "patchmill: interrupted " in said
    assert said.endswith(": call again to go on from here\n")
    assert "Traceback" not in said


@contextmanager
def slow_reads(monkeypatch, seconds):
    real = Source.read
    with monkeypatch.context() as patch:
        patch.setattr(Source, "read", lambda *given: (time.sleep(seconds), real(*given))[1])
        yield


@pytest.mark.parametrize(
    ("number", "way"),
    [
        (signal.SIGINT, "overlap"),
        (signal.SIGTERM, "region"),
        pytest.param(signal.SIGINT, "region", marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, "overlap", marks=pytest.mark.slow),
    ],
)
def test_a_library_raises_and_its_handlers_come_back(tmp_path, tiny_shards, source, monkeypatch, number, way):  # noqa: F811
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    threads = threading.active_count()
    arguments = CUT | {"tuning": {"read": way}}
    with slow_reads(monkeypatch, 0.2):
        threading.Timer(0.6, os.kill, [os.getpid(), number]).start()
        with pytest.raises(Interrupted, match=r"^interrupted after \d+ of \d+ shards: call again") as caught:
            patchmill.write_patches(source, tmp_path / "set.zarr", **arguments)
    assert caught.value.signal == number
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert holders(Location.parse(tmp_path / "set.zarr").workshop) == []
    counted = int(str(caught.value).split()[2])
    assert len(shards(tmp_path / "set.zarr")) == counted
    time.sleep(0.5)
    assert len(shards(tmp_path / "set.zarr")) == counted  # nobody writes any more
    assert threading.active_count() <= threads
    patchmill.write_patches(source, tmp_path / "set.zarr", **CUT)
    patchmill.write_patches(source, tmp_path / "once.zarr", **CUT)
    assert array_objects(tmp_path / "set.zarr") == array_objects(tmp_path / "once.zarr")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_comes_too_late_is_not_passed_over(tmp_path, number):
    once = Once(lambda: os.kill(os.getpid(), number))
    with pytest.raises(Interrupted, match=r"^interrupted when the set was complete$") as caught:
        patchmill.write_patches(np.zeros((16, 16), "uint8"), tmp_path / "set.zarr", 8, progress=once)
    assert caught.value.signal == number
    assert len(patchmill.open_patches(tmp_path / "set.zarr")) == 4
    assert len(patchmill.write_patches(np.zeros((16, 16), "uint8"), tmp_path / "set.zarr", 8)) == 4


class Once:
    """Calls something when all shards are there."""

    def __init__(self, call):
        self.call = call

    def __call__(self, far):
        if far.done == far.total and self.call is not None:
            call, self.call = self.call, None
            call()


def test_what_a_hanging_read_gives_at_last_is_not_written(tmp_path, tiny_shards, source, monkeypatch):  # noqa: F811
    """The lease is gone by then, so the target may be somebody else's."""
    monkeypatch.setattr("patchmill.cutting.running._PATIENCE", 0.2)
    target = tmp_path / "set.zarr"
    with slow_reads(monkeypatch, 2.5):
        threading.Timer(0.8, os.kill, [os.getpid(), signal.SIGINT]).start()
        with pytest.raises(Interrupted, match="after 0 of"):
            patchmill.write_patches(source, target, **CUT)
    patchmill.write_patches(source, target, 8, 8, mode="overwrite")
    objects = array_objects(target)
    time.sleep(2.5)
    assert array_objects(target) == objects


def test_in_a_thread_nothing_is_asked_of_signals(tmp_path, source):
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    found = []
    thread = threading.Thread(
        target=lambda: found.append(len(patchmill.write_patches(source, tmp_path / "set.zarr", 8)))
    )
    thread.start()
    thread.join()
    assert found == [2 * 5 * 3]
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers
