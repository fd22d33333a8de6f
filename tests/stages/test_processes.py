"""Processes that are begun and ended; signals that end a run raise, those that are ignored stay so."""

from __future__ import annotations

import os
import signal
import threading
import time

import psutil
import pytest

from patchmill.errors import Interrupted
from patchmill.stages.processes import Child, end_all, signals_raise
from stages.notebook_files import wait_until


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_raises_inside_only(number):
    before = signal.getsignal(number)
    with pytest.raises(Interrupted) as caught, signals_raise():
        os.kill(os.getpid(), number)
    assert caught.value.signal == number
    assert signal.getsignal(number) == before


def test_under_nohup_a_run_outlives_its_terminal():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals_raise():
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_in_another_thread_nothing_is_changed():
    seen = []

    def look() -> None:
        with signals_raise():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]


def test_a_signal_waits_for_what_must_not_be_torn_apart():
    done = []

    def work() -> None:
        with signals_raise() as signals:
            with signals.held():
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(0.01)
                done.append("first")
            done.append("second")

    with pytest.raises(Interrupted) as caught:
        work()
    assert caught.value.signal == signal.SIGTERM
    assert done == ["first"]


def child(tmp_path, text: str) -> Child:
    """A process that runs `text`, as ``main`` of a module would."""
    (tmp_path / "some.py").write_text(f"import os, signal, subprocess, sys, time\ndef main():\n    {text}\n")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    return Child("some", str(tmp_path), log=str(tmp_path / "log"), environment=environment)


def status(begun: Child) -> int:
    wait_until(lambda: begun.poll() is not None, seconds=20)
    return begun.poll()


def test_a_child_tells_how_it_ended_and_what_it_took(tmp_path):
    begun = child(tmp_path, "print('said'); sum(range(10**7)); return 3")
    begun.look()
    assert status(begun) == 3
    assert begun.peak_bytes > 0
    assert begun.cpu_seconds > 0.05
    assert (tmp_path / "log").read_text() == "said\n"
    assert status(child(tmp_path, "os.kill(os.getpid(), 9)")) == -9


def test_a_child_imports_nothing_from_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "random.py").write_text("raise RuntimeError")
    monkeypatch.chdir(tmp_path / "here")
    assert status(child(tmp_path, "import random; return 0")) == 0


SPAWNS = "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)']); "


def test_children_end_together_with_all_that_they_started(tmp_path):
    stubborn = "signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    begun = []
    for name, text in (("a", SPAWNS), ("b", stubborn + SPAWNS)):
        (tmp_path / name).mkdir()
        begun.append(child(tmp_path / name, f"{text}time.sleep(300)"))
    tops = [psutil.Process(each.pid) for each in begun]
    wait_until(lambda: all(top.children() for top in tops), seconds=20)
    below = [each for top in tops for each in top.children()]
    began = time.monotonic()
    end_all(begun)
    assert time.monotonic() - began < 6
    assert [each.poll() for each in begun] == [-signal.SIGTERM, -signal.SIGKILL]
    wait_until(lambda: not any(each.is_running() and each.status() != "zombie" for each in below), seconds=5)
    end_all(begun)
