"""Progress: what is told, how often, and what stays."""

from __future__ import annotations

import io
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchmill.show import progress as told
from patchmill.show.progress import NotebookReporter, PlainReporter, State, TerminalReporter, reporter, shown_seconds


class Clock:
    """Time that passes when it is told to."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(told, "time", made)
    return made


def run(report, clock, seconds: float, steps: int = 100) -> None:
    with report:
        for done in range(steps + 1):
            clock.now = seconds * done / steps
            report(done, steps, done * 2**20)


def test_what_is_soon_over_says_nothing(clock):
    stream = io.StringIO()
    run(PlainReporter("cutting", "patches", stream=stream, began=0.0), clock, 1.5)
    assert stream.getvalue() == ""


def test_a_long_call_says_a_line_now_and_then_and_the_last_one(clock):
    stream = io.StringIO()
    run(PlainReporter("cutting", "patches", stream=stream, began=0.0), clock, 60, steps=1000)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 7
    assert lines[0].startswith("cutting: 34 of 1,000 patches (3 %), 34.0 MiB, ")
    assert lines[-1].endswith("(100 %), 1000 MiB, 16.7 MiB/s, 1 min 0 s")


def test_a_call_that_fails_leaves_its_last_state(clock):
    stream = io.StringIO()
    report = PlainReporter("cutting", "patches", stream=stream, began=0.0)

    def fails() -> None:
        with report:
            clock.now = 5.0
            report(1, 10, 0)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert stream.getvalue().splitlines()[-1] == "cutting: 1 of 10 patches (10 %), 45 s left"


def test_a_notebook_keeps_one_display_whose_last_state_stays(clock, monkeypatch):
    shown = []
    monkeypatch.setattr(
        "patchmill.show.notebook.show_bundle", lambda bundle, replaces: shown.append(bundle) or "handle"
    )
    run(NotebookReporter("<cutting>", "patches", began=0.0), clock, 1.0, steps=1000)
    assert len(shown) <= 6
    assert shown[-1]["text/plain"].startswith("<cutting>: 1,000 of 1,000 patches (100 %)")
    assert "&lt;cutting&gt;" in shown[-1]["text/html"]


def test_a_terminal_has_a_bar_that_is_gone_at_the_end(clock, capsys):
    run(TerminalReporter("cutting", "patches", began=0.0), clock, 30)
    assert capsys.readouterr().err.splitlines()[-1].startswith("cutting: 100 of 100 patches (100 %)")


def test_the_place_decides(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    assert isinstance(reporter(), PlainReporter)
    monkeypatch.setattr(told, "_in_kernel", lambda: True)
    assert isinstance(reporter(), NotebookReporter)


@given(st.integers(0, 100), st.integers(0, 100), st.integers(0, 2**50), st.floats(0, 1e6))
def test_every_state_can_be_told(done, total, nbytes, seconds):
    state = State("x", "y", done, total, nbytes, seconds)
    assert 0 <= state.fraction <= 1
    assert "nan" not in str(state)


@given(st.floats(0, 1e7))
def test_seconds_are_close_to_what_they_say(seconds):
    units = {"h": 3600, "min": 60, "s": 1}
    words = shown_seconds(seconds).split()
    said = sum(float(n) * units[unit] for n, unit in zip(words[::2], words[1::2], strict=True))
    assert abs(said - seconds) <= (60 if seconds >= 3600 else 0.51)
    assert " 60 " not in shown_seconds(seconds)
