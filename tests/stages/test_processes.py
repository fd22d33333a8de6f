"""Signals: those that end a run raise, those that are ignored stay so, and all is as before behind it."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from patchmill.errors import Interrupted
from patchmill.stages.processes import signals_raise


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
