"""Leases: one writer a target, whatever dies, sleeps or races."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from patchmill.cutting import holders as told
from patchmill.cutting import lease as leases
from patchmill.cutting.holders import LEASES, Holder, conflict, holders, this_process, to_json
from patchmill.cutting.identity import is_gone, started, this_place
from patchmill.cutting.lease import take
from patchmill.errors import HeldError, LeaseLostError
from patchmill.storage import Location

QUICK: dict[str, Any] = {"beat_seconds": 0.05, "look_seconds": 0.4, "dead_seconds": 1.0}
PATIENT: dict[str, Any] = QUICK | {"dead_seconds": 30.0}
NEVER: dict[str, Any] = {"beat_seconds": 100, "look_seconds": 100, "dead_seconds": 100}


@pytest.fixture
def work(tmp_path: Path) -> Location:
    return Location.parse(tmp_path / "out.zarr").workshop


# -- whole, slices, close --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "at_a_time"),
    [
        ("whole", "whole", False),
        ("whole", "slice-0-of-2", False),
        ("whole", "close", False),
        ("whole", "begin", False),
        ("begin", "begin", False),
        ("begin", "close", True),
        ("slice-0-of-2", "begin", True),
        ("slice-0-of-2", "slice-0-of-2", False),
        ("slice-0-of-2", "slice-1-of-2", True),
        ("slice-0-of-2", "slice-0-of-12", False),
        ("slice-0-of-2", "slice-1-of-12", False),
        ("slice-0-of-2", "close", True),
        ("close", "close", False),
    ],
)
def test_what_can_be_held_at_a_time(work, one, other, at_a_time):
    assert conflict(one, other) == conflict(other, one) == (not at_a_time)
    for first, second in ((one, other), (other, one)):
        with take(work, first):
            if at_a_time:
                with take(work, second) as lease:
                    lease.check()
            else:
                with pytest.raises(HeldError):
                    take(work, second)


@pytest.mark.parametrize(
    "part", ["", "all", "slice-3-of-2", "slice-8-of-8", "slice-1-of-0", "slice-1", "slice--1-of-2", "whole/../x"]
)
def test_a_part_that_is_none(work, part):
    with pytest.raises(ValueError, match="part must be"):
        take(work, part)


def test_a_second_call_is_refused_at_once_in_one_sentence(work):
    began = time.monotonic()
    with take(work), pytest.raises(HeldError) as caught:
        take(work)
    assert time.monotonic() - began < 15
    sentence = str(caught.value)
    assert sentence.startswith(f"{work.url.removesuffix('.patchmill')} is being written by this process since 20")
    assert sentence.endswith(": wait until that has ended, or stop it there, then call again")


def test_threads_of_one_process_exclude_each_other(work):
    inside, most, taken, lock = 0, 0, 0, threading.Lock()

    def work_a_while() -> None:
        nonlocal inside, most, taken
        for _ in range(10):
            with suppress(HeldError), take(work, **PATIENT):
                with lock:
                    inside, taken = inside + 1, taken + 1
                    most = max(most, inside)
                time.sleep(0.005)
                with lock:
                    inside -= 1

    threads = [threading.Thread(target=work_a_while) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert taken


def test_released_whatever_happens_and_nothing_is_left(work):
    with pytest.raises(ZeroDivisionError), take(work):
        raise ZeroDivisionError
    assert not work.exists()
    lease = take(work)
    lease.release()
    lease.release()
    with pytest.raises(LeaseLostError):
        lease.check()
    assert not work.exists()


def test_what_else_is_in_the_workshop_stays(work):
    work.write("request.json", b"{}")
    take(work).release()
    assert list(work.keys()) == ["request.json"]


def test_a_lease_that_nobody_has_any_more_is_let_go(work):
    take(work)
    assert holders(work) == []


def test_a_fork_does_not_have_it(work):
    with take(work) as lease:
        pid = os.fork()
        if pid == 0:
            try:
                lease.check()
            except LeaseLostError:
                lease.release()
                os._exit(7)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        lease.check()


# -- the dead and the sleeping ---------------------------------------------------------------------------------------

HOLD = """
import sys, time
from patchmill.cutting.lease import take
from patchmill.errors import LeaseLostError
from patchmill.storage import Location
lease = take(Location.parse(sys.argv[1]), beat_seconds=0.05, look_seconds=0.4, dead_seconds=1.0)
print("taken", flush=True)
sys.stdin.readline()
try:
    lease.check()
    print("still mine", flush=True)
except LeaseLostError as error:
    print(error, flush=True)
"""


@pytest.fixture
def other(work):
    """Another process that holds the target."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, work.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "taken\n"
    yield process
    process.kill()
    process.communicate()


def test_another_process_is_named(work, other):
    with pytest.raises(HeldError, match=rf"written by process {other.pid} on \S+ since 20\d\d-"):
        take(work, **QUICK)


def test_a_killed_one_is_taken_over_at_once(work, other):
    other.send_signal(signal.SIGKILL)  # and nobody has asked for its exit status: a zombie
    while not is_gone(other.pid, ""):
        time.sleep(0.01)
    began = time.monotonic()
    with take(work, **NEVER) as lease:
        assert time.monotonic() - began < 15
        lease.check()
        assert [holder.number for holder in holders(work)] == [2]
    assert not work.exists()


def test_what_a_killed_one_had_half_written_goes_too(work):
    dead = replace(this_process("whole", 1), began="long ago")
    work.write(dead.key, to_json(dead))
    (work.path / f"{dead.beat_key}.__tmp").touch()
    take(work, **NEVER).release()
    assert not work.exists()


def test_one_that_sleeps_is_taken_over_after_a_while_and_knows_when_it_wakes(work, other):
    other.send_signal(signal.SIGSTOP)
    time.sleep(0.5)
    said: list[str] = []
    with take(work, **QUICK, say=said.append) as lease:
        assert len(said) == 1
        assert "no sign of life: taken over in" in said[0]
        other.send_signal(signal.SIGCONT)
        time.sleep(0.3)  # for some beats, had it any
        out, _ = other.communicate("\n")
        assert f"was taken over by process {os.getpid()}" in out
        lease.check()
    assert not work.exists()


def test_one_that_slept_less_keeps_it(work, other):
    other.send_signal(signal.SIGSTOP)
    time.sleep(0.6)
    threading.Timer(0.2, other.send_signal, [signal.SIGCONT]).start()
    with pytest.raises(HeldError):
        take(work, **PATIENT)
    assert other.communicate("\n")[0] == "still mine\n"


def test_who_is_patient_takes_nothing_from_one_that_sleeps(work, other):
    other.send_signal(signal.SIGSTOP)
    time.sleep(0.5)
    with pytest.raises(HeldError, match=f"written by process {other.pid} on "):
        take(work, **QUICK, patient=True)
    other.send_signal(signal.SIGCONT)
    assert other.communicate("\n")[0] == "still mine\n"


@pytest.mark.parametrize("began", ["long ago", ""])
def test_who_is_patient_is_so_with_a_process_that_is_surely_there(work, began):
    holder = replace(this_process("whole", 1), began=began, at=-1e9)
    work.write(holder.key, to_json(holder))
    take(work, **QUICK, patient=True).release()


def test_one_that_wakes_after_everything_is_over_knows(work, other):
    other.send_signal(signal.SIGSTOP)
    time.sleep(0.5)
    take(work, **QUICK).release()
    with take(work, **QUICK):  # which has the number of the sleeper
        other.send_signal(signal.SIGCONT)
        assert "taken over" in other.communicate("\n")[0]
    assert not work.exists()


def test_a_beat_that_was_under_way_brings_nothing_back(work, monkeypatch):
    """It has looked, sleeps, is taken over, the other ends, it writes its beat."""
    looked, go_on = threading.Event(), threading.Event()
    real = leases._is_ours

    def slow(*args: Any) -> bool:
        found = real(*args)
        if threading.current_thread().name.startswith("patchmill-lease"):
            looked.set()
            go_on.wait()
        return found

    monkeypatch.setattr(leases, "_is_ours", slow)
    lease = take(work, **QUICK)
    looked.wait()
    monkeypatch.setattr(leases, "_is_ours", real)
    monkeypatch.setattr(told, "this_place", lambda: "elsewhere")
    take(work, **QUICK).release()
    go_on.set()
    time.sleep(0.2)
    assert holders(work) == []
    with pytest.raises(LeaseLostError):
        lease.check()
    lease.release()
    assert not work.exists()


# -- other machines --------------------------------------------------------------------------------------------------


def forge(work: Location, **changes: Any) -> Holder:
    holder = replace(this_process("whole", 1), host="node7", place="another boot", pid=4711, **changes)
    work.write(holder.key, to_json(holder))
    return holder


def test_another_machine_that_beats_is_refused_at_its_next_beat(work):
    holder, stop = forge(work), threading.Event()

    def beat() -> None:
        number = 0
        while not stop.wait(0.1):
            number += 1
            # Its clock and its wall clock are of no interest.
            work.write(holder.beat_key, to_json(replace(holder, beat=number, at=-1e9, since="1970-01-01")))

    thread = threading.Thread(target=beat)
    thread.start()
    began = time.monotonic()
    with pytest.raises(HeldError, match="written by process 4711 on node7 since "):
        take(work, **PATIENT)
    assert time.monotonic() - began < 15
    stop.set()
    thread.join()


@pytest.mark.parametrize("at", [-1e9, 0.0, 1e9])
def test_another_machine_that_is_silent_is_watched_before_it_is_taken_over(work, at):
    forge(work, at=at)
    said: list[str] = []
    began = time.monotonic()
    with take(work, **QUICK, say=said.append) as lease:
        assert 1.0 <= time.monotonic() - began < 15
        assert "process 4711 on node7" in said[0]
        lease.check()


def test_our_own_number_on_another_machine_is_not_us(work):
    holder = replace(forge(work), pid=os.getpid())
    work.write(holder.key, to_json(holder))
    assert f"process {os.getpid()} on node7" in str(holder)


def test_a_number_that_was_given_again_is_not_the_dead_one(work):
    holder = replace(this_process("whole", 1), began="long ago")
    work.write(holder.key, to_json(holder))
    take(work, **NEVER).release()


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b'{"pid": "x"}', b'{"pid": 1}', b"\xff\xfe"])
def test_a_lease_that_can_not_be_read_is_watched_too(work, data):
    work.write(f"{LEASES}/whole.1.json", data)
    began, said = time.monotonic(), []
    take(work, beat_seconds=0.05, look_seconds=0.1, dead_seconds=0.2, say=said.append).release()
    assert time.monotonic() - began >= 0.2
    (sentence,) = said
    lease = "somebody whose lease leases/whole.1.json can't be read"
    assert sentence.startswith(f"{lease} gives no sign of life: taken over in ")
    assert not work.exists()


def test_clocks_that_jump_do_not_matter(work, monkeypatch):
    lease = take(work, **QUICK)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    with pytest.raises(HeldError):
        take(work, **QUICK)
    lease.check()
    lease.release()


def test_a_disk_that_is_full_for_a_while_is_survived(work, monkeypatch):
    real, fails = Location.write, [True]

    def write(self: Location, key: str, data: bytes) -> None:
        if fails[0] and threading.current_thread().name.startswith("patchmill-lease"):
            raise OSError("no space")
        real(self, key, data)

    with take(work, **QUICK) as lease:
        monkeypatch.setattr(Location, "write", write)
        time.sleep(0.3)
        lease.check()
        fails[0] = False
        time.sleep(0.3)
        assert holders(work)[0].beat > 5


# -- races -----------------------------------------------------------------------------------------------------------


def race(url: str, part: str, begin: Any, end: Any, out: Any) -> None:
    """Take part in rounds: hold the target a moment, alone, and say how it went."""
    while True:
        begin.wait(60)
        if not os.path.exists(f"{url}.go"):
            return
        out.put(went_in(Location.parse(url), part))
        end.wait(60)


def went_in(work: Location, part: str) -> str:
    marker = f"{work.url}.inside"
    try:
        with take(work, part, **PATIENT) as lease:
            os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
            time.sleep(0.02)
            lease.check()
            os.unlink(marker)
    except LeaseLostError as error:
        return f"lost: {error}"
    except HeldError:
        return "refused"
    except Exception:  # noqa: BLE001 - whatever it is, the round must know
        return traceback.format_exc()
    return "held"


@pytest.mark.parametrize(
    ("dead_part", "rounds"),
    [
        ("whole", 4),
        pytest.param("whole", 30, marks=pytest.mark.slow),
        pytest.param("slice-1-of-2", 30, marks=pytest.mark.slow),
    ],
)
def test_of_many_who_want_a_dead_lease_one_has_it_at_a_time(work, dead_part, rounds):
    context = multiprocessing.get_context("spawn")
    begin, end, out = context.Barrier(9), context.Barrier(9), context.Queue()
    go = Path(f"{work.url}.go")
    go.touch()
    arguments = (work.url, "whole", begin, end, out)
    processes = [context.Process(target=race, args=arguments, daemon=True) for _ in range(8)]
    for process in processes:
        process.start()
    for number in range(rounds):
        holder = replace(this_process(dead_part, number + 1), pid=os.getpid(), began="long ago")
        work.write(holder.key, to_json(holder))
        begin.wait(60)
        went = [out.get(timeout=60) for _ in processes]
        assert set(went) <= {"held", "refused"}, went
        assert "held" in went
        end.wait(60)
        assert holders(work) == []
        assert not work.exists()
    go.unlink()
    begin.wait(60)
    for process in processes:
        process.join(60)


def test_who_comes_between_the_look_and_the_lease_is_seen(work, monkeypatch):
    """Parts that exclude each other have objects of their own: only a second look tells that both are there."""
    quicker: list[Any] = []
    real = Location.write_new

    def write_new(self: Location, key: str, data: bytes) -> bool:
        monkeypatch.setattr(Location, "write_new", real)
        quicker.append(take(work, "slice-1-of-2"))
        return real(self, key, data)

    monkeypatch.setattr(Location, "write_new", write_new)
    with pytest.raises(HeldError, match="slice 1 of 2"):
        take(work)
    quicker[0].check()
    assert [holder.part for holder in holders(work)] == ["slice-1-of-2"]


# -- who is who ------------------------------------------------------------------------------------------------------


def test_processes_are_told_apart():
    assert started(os.getpid())
    assert this_place()
    assert not is_gone(os.getpid(), started(os.getpid()))
    assert not is_gone(os.getpid(), "")
    assert is_gone(os.getpid(), "long ago")
    assert not is_gone(1, started(1))
    ended = subprocess.Popen(["true"])
    ended.wait()
    assert is_gone(ended.pid, "")


def test_an_answer_that_was_lost_locks_nobody_out(work, monkeypatch):
    """An object store takes the lease, the answer is lost, the question asked again: there it is, and it is ours."""
    real = Location.write_new

    def write_new(self, key, data):
        real(self, key, data)
        return False

    monkeypatch.setattr(Location, "write_new", write_new)
    with take(work) as lease:
        lease.check()
        with pytest.raises(HeldError):
            take(work)
    assert not work.exists()


def test_what_a_lease_says_comes_back(work):
    with take(work, "slice-3-of-8") as lease:
        found = json.loads(work.read(lease.holder.key))
        assert {"host", "place", "pid", "began", "since", "token", "beat", "at"} < set(found)
        assert replace(holders(work)[0], at=lease.holder.at) == lease.holder
        assert "this process (slice 3 of 8) since" in str(lease.holder)
