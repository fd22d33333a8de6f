"""Progress: what is told, how often, and what stays."""

from __future__ import annotations

import io
import subprocess
import sys

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchmill.show import progress as told
from patchmill.show.pace import Pace
from patchmill.show.progress import NotebookReporter, PlainReporter, State, TerminalReporter, reporter, shown_seconds
from patchmill.types import Progress, shown_megabytes, shown_rate


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
            report(Progress(done, steps, done * 10**6))


def test_what_is_soon_over_says_nothing(clock):
    stream = io.StringIO()
    run(PlainReporter("cutting", "patches", stream=stream, began=0.0), clock, 1.5)
    assert stream.getvalue() == ""


def test_a_long_call_says_a_line_now_and_then_and_the_last_one(clock):
    stream = io.StringIO()
    run(PlainReporter("cutting", "patches", stream=stream, began=0.0), clock, 60, steps=1000)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 7
    assert lines[0].startswith("cutting: 34 of 1,000 patches (3 %), 34.0 MB, 16.7 MB/s, 58 s left")
    assert lines[-1].endswith("(100 %), 1.00 GB, 16.7 MB/s, 1 min 0 s")


def test_a_call_that_fails_leaves_its_last_state(clock):
    stream = io.StringIO()
    report = PlainReporter("cutting", "patches", stream=stream, began=0.0)

    def fails() -> None:
        with report:
            report(Progress(0, 10))
            clock.now = 5.0
            report(Progress(1, 10))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert stream.getvalue().splitlines()[-1] == "cutting: 1 of 10 patches (10 %), stopped after 5.0 s"


def test_a_resume_tells_the_pace_of_now(clock):
    """Sixty percent were there; what was written, and how long the rest takes, is of this call alone."""
    report = PlainReporter("cutting", "patches", stream=io.StringIO(), began=0.0)
    report(Progress(600, 1000, 0, 60, 100))
    assert str(report.last) == "cutting: 600 of 1,000 patches (60 %), 60 of 100 shards"
    clock.now = 10.0
    report(Progress(610, 1000, 50_000_000, 61, 100))
    assert str(report.last).endswith("(61 %), 61 of 100 shards, 50.0 MB, 5.0 MB/s, 6 min 30 s left")
    for _ in range(39):
        clock.now += 10.0
        done = report.last.now.done + 10
        report(Progress(done, 1000, (done - 600) * 5_000_000, done // 10, 100))
    report.close(report.last)
    assert report.stream.getvalue().splitlines()[-1] == (
        "cutting: 1,000 of 1,000 patches (100 %), 100 of 100 shards, 2.00 GB, 5.0 MB/s, 6 min 40 s"
    )


def test_a_disk_that_slows_down_is_told_within_half_a_minute(clock):
    report = PlainReporter("cutting", "patches", stream=io.StringIO(), began=0.0)
    nbytes = 0
    for second in range(200):
        clock.now, nbytes = float(second), nbytes + (10**9 if second < 100 else 10**7)
        report(Progress(nbytes // 10**6, 10**6, nbytes))
        if second == 99:
            assert report.last.rate == pytest.approx(1e9)
    assert report.last.rate == pytest.approx(1e7)
    assert report.last.left == pytest.approx((10**6 - nbytes // 10**6) / 10, rel=0.01)


def test_nothing_left_to_do_is_said_so(clock, monkeypatch):
    shown = []
    monkeypatch.setattr(
        "patchmill.show.notebook.show_bundle", lambda bundle, replaces: shown.append(bundle) or "handle"
    )
    with NotebookReporter("cutting", "patches", began=0.0) as report:
        report(Progress(172, 172, 0, 4, 4))
    assert shown[-1]["text/plain"] == "cutting: nothing left to do, 172 of 172 patches are there"


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(0, 50), st.integers(0, 10**9)), max_size=60), st.floats(1, 99))
def test_the_window_is_as_long_as_it_says_and_few_are_kept(steps, window):
    pace, seconds, now = Pace(window), 0.0, Progress(0, 10**6)
    told = []
    for after, more, written in steps:
        seconds, now = seconds + after, Progress(now.done + more, 10**6, now.nbytes + written)
        pace.add(seconds, now)
        told.append((seconds, now))
        kept = list(pace._told)
        assert set(kept) <= set(told)
        assert kept[-1] == told[-1]
        assert len(kept) <= 2 * window / 0.25 + 4
        assert all(at > seconds - window for at, _ in kept[1:-1])  # and the one before it, or the first of all
        assert kept[0] == told[0] or kept[0][0] <= seconds - window
        if pace.rate is not None:
            assert pace.rate * (seconds - kept[0][0]) == pytest.approx(now.nbytes - kept[0][1].nbytes)
        if pace.left is not None:
            assert pace.left >= 0


def test_however_often_it_is_told_few_are_kept():
    pace = Pace(30.0)
    for number in range(50_000):
        pace.add(number / 1000, Progress(number, 50_000, number * 1000))
    assert len(pace._told) < 250
    assert pace.rate == pytest.approx(1e6)


@pytest.mark.slow
def test_a_notebook_under_papermill_keeps_the_last_state_and_its_log_has_no_ticks(tmp_path):
    cell = """
import time
from patchmill.show import Progress, reporter
with reporter("cutting") as report:
    for done in range(201):
        time.sleep(0.005)
        report(Progress(done, 200, done * 10**6, done // 10, 20))
"""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, tmp_path / "in.ipynb")
    command = [sys.executable, "-m", "papermill", "in.ipynb", "out.ipynb", "--log-output", "--no-progress-bar"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    (output,) = nbformat.read(tmp_path / "out.ipynb", 4).cells[0].outputs
    assert output.output_type == "display_data"
    assert output.data["text/plain"].startswith("cutting: 200 of 200 patches (100 %), 20 of 20 shards, 200 MB, ")
    assert 'value="1.0000"' in output.data["text/html"]
    assert (ended.stdout + ended.stderr).count("cutting: ") <= 1


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


@given(
    st.builds(Progress, *[st.integers(0, 100)] * 2, st.integers(0, 2**50), *[st.integers(0, 9)] * 2),
    st.floats(0, 1e6),
    st.none() | st.floats(0, 1e12),
    st.none() | st.floats(0, 1e9),
    st.booleans(),
    st.booleans(),
)
def test_every_state_can_be_told(now, seconds, rate, left, idle, stopped):
    state = State("x", "y", now, seconds, rate, left, idle, stopped)
    assert 0 <= now.fraction <= 1
    assert "nan" not in str(state)
    assert ("100 %" in str(state)) <= (now.done >= now.total)


@given(st.floats(0, 1e15))
def test_bytes_that_flow_are_close_to_what_they_say(count):
    number, unit = shown_megabytes(count).replace(",", "").split()
    assert abs(float(number) * {"MB": 1e6, "GB": 1e9, "TB": 1e12}[unit] - count) <= max(0.006 * count, 5.1e4)
    number, unit = shown_rate(count).replace(",", "").split()
    assert unit == "MB/s"
    assert abs(float(number) * 1e6 - count) <= max(0.006 * count, 5.1e3)


@given(st.floats(0, 1e7))
def test_seconds_are_close_to_what_they_say(seconds):
    units = {"h": 3600, "min": 60, "s": 1}
    words = shown_seconds(seconds).split()
    said = sum(float(n) * units[unit] for n, unit in zip(words[::2], words[1::2], strict=True))
    assert abs(said - seconds) <= (60 if seconds >= 3600 else 0.51)
    assert " 60 " not in shown_seconds(seconds)
