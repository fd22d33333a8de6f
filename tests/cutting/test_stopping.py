"""Ending in order: the first signal asks, the second insists, and the command line does not wait for ever."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from patchmill.cli import main
from patchmill.cutting.stopping import StopRequest, stoppable, within
from patchmill.errors import HeldError, Interrupted, LeaseLostError

WORKING = """
import signal, sys, time
import patchmill
from patchmill.cli import entry
from patchmill.cutting.stopping import stoppable
from patchmill.errors import Interrupted

def working(*_, **__):
    with stoppable() as stop:
        {begin}
        print("ready", flush=True)
        while not (stop.requested and {heeds}):
            time.sleep(0.01)
        raise Interrupted("interrupted after 1,204 of 4,096 shards: call again to go on", stop.signal)

patchmill.plan = working
entry._STOP_SECONDS = 1.0
sys.argv = ["patchmill", "plan", "x.zarr", "--patch", "8"]
sys.exit(entry.main())
"""
SENTENCE = "patchmill: interrupted after 1,204 of 4,096 shards: call again to go on\n"
HANGS = "from concurrent.futures import ThreadPoolExecutor; ThreadPoolExecutor(1).submit(time.sleep, 600)"


def end_of(*signals: int, begin: str = "", heeds: bool = True) -> tuple[int, str, float]:
    """A command that works until it is told to end: its exit code, what it says, and how long that takes."""
    script = WORKING.format(begin=begin or "pass", heeds=heeds)
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    told = time.monotonic()
    for number in signals:
        process.send_signal(number)
        time.sleep(0.2)
    _, said = process.communicate(timeout=60)
    return process.returncode, said, time.monotonic() - told


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_command_says_how_far_it_came(number, code):
    assert end_of(number)[:2] == (code, SENTENCE)


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_a_second_ctrl_c_is_heeded_at_once(first):
    assert end_of(first, signal.SIGINT, heeds=False)[:2] == (130, "patchmill: interrupted\n")


def test_a_second_sigterm_asks_no_more_than_the_first():
    code, said, _ = end_of(signal.SIGTERM, signal.SIGTERM)
    assert (code, said) == (143, SENTENCE)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_command_does_not_wait_for_a_thread_that_hangs(number, code):
    ended, said, seconds = end_of(number, begin=HANGS)
    assert ended == code
    assert said.startswith(SENTENCE)
    assert said.endswith("left behind: call again to go on from here\n")
    assert 0.9 < seconds < 30


def test_a_command_does_not_wait_for_work_that_does_not_look():
    code, said, seconds = end_of(signal.SIGTERM, heeds=False)
    assert code == 143
    assert "left behind" in said
    assert 0.9 < seconds < 30


def test_what_is_ignored_stays_so():
    script = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n" + WORKING
    script = script.format(begin="pass", heeds=True)
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143


def _asked(request: StopRequest, seconds: float) -> bool:
    """Wait so long, or until the end is asked for; whether it is."""
    end = time.monotonic() + seconds
    while not request and time.monotonic() < end:
        time.sleep(0.01)
    return bool(request)


def test_nothing_is_raised_and_the_handlers_come_back():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with stoppable() as stop:
        assert not stop.requested
        os.kill(os.getpid(), signal.SIGTERM)
        assert _asked(stop.requested, 5)
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert stop.requested.signal == signal.SIGTERM
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_the_handlers_come_back_after_an_error():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ZeroDivisionError), stoppable():
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGINT) is before


def test_elsewhere_than_in_the_main_thread_nothing_is_installed():
    seen: list[Any] = []

    def work() -> None:
        with stoppable() as stop:
            seen.append((signal.getsignal(signal.SIGINT), bool(stop.requested)))
            stop.requested.set()
            seen.append(stop.requested.signal)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(signal.getsignal(signal.SIGINT), False), signal.SIGINT]


def test_the_first_signal_counts():
    request = StopRequest()
    request.set(signal.SIGTERM)
    request.set(signal.SIGINT)
    assert request.signal == signal.SIGTERM


def test_a_limit_counts_from_the_signal_and_only_then():
    left: list[int] = []
    with within(0.3, left.append):
        time.sleep(0.5)
    with within(0.3, left.append), stoppable() as stop:
        signal.raise_signal(signal.SIGTERM)
        assert stop.requested
        assert left == []
        time.sleep(1.0)
        assert left == [signal.SIGTERM]
    with within(0.3, left.append), stoppable():
        pass
    with stoppable():  # a library alone
        signal.raise_signal(signal.SIGTERM)
    time.sleep(0.6)
    assert left == [signal.SIGTERM]


def test_an_interruption_is_what_a_caller_expects():
    error = pickle.loads(pickle.dumps(Interrupted("a sentence", signal.SIGTERM)))
    assert isinstance(error, KeyboardInterrupt)
    assert (str(error), error.signal) == ("a sentence", signal.SIGTERM)
    assert Interrupted().signal == signal.SIGINT


@pytest.mark.parametrize("kind", [HeldError, LeaseLostError])
def test_a_target_that_somebody_else_holds_is_75(kind, monkeypatch, capsys):
    import patchmill

    def held(*_: Any, **__: Any) -> None:
        raise kind("x is being written by process 4711 on node7")

    monkeypatch.setattr(patchmill, "plan", held)
    assert main(["plan", "x", "--patch", "8"]) == 75
    assert capsys.readouterr().err == "patchmill: x is being written by process 4711 on node7\n"
    assert main(["--help"]) == 0
    assert "75 somebody else holds it" in capsys.readouterr().out


def test_a_notebooks_interrupt_button_does_the_same():
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel()

    def reply_to(asked: str) -> dict[str, Any]:
        # Not the next one: answers to who asked whether the kernel is ready may come late.
        while (reply := client.get_shell_msg(timeout=60))["parent_header"].get("msg_id") != asked:
            pass
        return reply["content"]

    try:
        # What is asked for goes through the kernel's own handler; it must be there again afterwards.
        reply_to(client.execute("import signal; before = signal.getsignal(signal.SIGINT)"))
        asked = client.execute(
            "import time\n"
            "from patchmill.cutting.stopping import stoppable\n"
            "from patchmill.errors import Interrupted\n"
            "with stoppable() as stop:\n"
            "    print('ready', flush=True)\n"
            "    while not stop.requested: time.sleep(0.01)\n"
            "    raise Interrupted('after 3 of 8 shards', stop.requested.signal)",
            stop_on_error=False,  # else what follows at once is not begun
        )
        while client.get_iopub_msg(timeout=60)["content"].get("text") != "ready\n":
            pass
        manager.interrupt_kernel()
        reply = reply_to(asked)
        ended = (reply["status"], reply.get("ename"), reply.get("evalue"))
        assert ended == ("error", "Interrupted", "after 3 of 8 shards")
        asked = client.execute("assert signal.getsignal(signal.SIGINT) is before")
        assert reply_to(asked)["status"] == "ok"
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


UNRAISABLE = """
import os, signal, weakref
from patchmill.cutting.stopping import terminable
class Held: pass
def let_go(_): os.kill(os.getpid(), signal.SIGTERM)
def fail(_): raise ZeroDivisionError
with terminable() as request:
    for call in (let_go, fail):
        held = Held()
        reference = weakref.ref(held, call)
        del held
    print(request.signal)
"""


def test_where_nothing_can_be_raised_a_signal_makes_no_traceback():
    said = subprocess.run([sys.executable, "-c", UNRAISABLE], capture_output=True, text=True, check=True)
    assert said.stdout == f"{int(signal.SIGTERM)}\n"
    assert "Interrupted" not in said.stderr
    assert "ZeroDivisionError" in said.stderr
