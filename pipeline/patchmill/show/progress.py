"""How far a long call is: rich on a terminal, one display in a notebook, few plain lines elsewhere.

Who works knows nothing of this: it calls a function with a `Progress`. Who watches asks `reporter` for the one that
fits the place::

    with reporter("cutting", unit="patches") as report:
        ...
        report(Progress(done, total, nbytes))      # totals so far, from any thread, as often as one likes
"""

from __future__ import annotations

import html
import os
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Self, TextIO

from patchmill.show.pace import Pace
from patchmill.types import Progress, counted, shown_megabytes, shown_rate

_PLAIN_SECONDS = 10.0
"""Between two plain lines: a log of a night stays readable."""

_QUIET_SECONDS = 2.0
"""What ends sooner says nothing."""

_NOTEBOOK_SECONDS = 0.25
"""Between two states of a notebook's display: each is a message, and may be saved to disk."""


@dataclass(frozen=True, slots=True)
class State:
    """How far a call is, for people.

    Parameters
    ----------
    label : str
        What is being done.
    unit : str
        What is counted, in the plural.
    now : Progress
    seconds : float
        Since it began.
    rate : float, optional
        Bytes a second, of late.
    left : float, optional
        Seconds to the end, at the pace of late.
    idle : bool
        Whether there was nothing left to do when it began.
    stopped : bool
        Whether it ended before everything was done.
    """

    label: str
    unit: str
    now: Progress
    seconds: float
    rate: float | None = None
    left: float | None = None
    idle: bool = False
    stopped: bool = False

    @property
    def is_over(self) -> bool:
        """Whether nothing follows."""
        return self.stopped or self.now.done >= self.now.total

    def __str__(self) -> str:
        """One line.

        Examples
        --------
        >>> print(State("cutting", "patches", Progress(43, 172, 8_454_144, 12, 48), 4.0, rate=2_113_536.0, left=12.0))
        cutting: 43 of 172 patches (25 %), 12 of 48 shards, 8.5 MB, 2.1 MB/s, 12 s left
        >>> print(State("cutting", "patches", Progress(172, 172, 33_816_576), 16.0))
        cutting: 172 of 172 patches (100 %), 33.8 MB, 2.1 MB/s, 16 s
        >>> print(State("cutting", "patches", Progress(172, 172), 0.0, idle=True))
        cutting: nothing left to do, 172 of 172 patches are there
        """
        now = self.now
        if self.idle:
            return f"{self.label}: nothing left to do, {now.done:,} of {now.total:,} {self.unit} are there"
        # Rounded down: 100 % is said when it is.
        parts = [f"{self.label}: {now.done:,} of {now.total:,} {self.unit} ({int(100 * now.fraction)} %)"]
        if now.shards_total:
            parts.append(f"{now.shards:,} of {counted(now.shards_total, 'shard')}")
        return ", ".join([*parts, *self._flow(), *self._time()])

    def _flow(self) -> list[str]:
        # At the end what this call has written in all its time; before, how fast it is by now.
        over = self.now.nbytes / self.seconds if self.is_over and self.seconds > 0 else None
        rate = over or self.rate
        written = [shown_megabytes(self.now.nbytes)] if self.now.nbytes else []
        return written + ([shown_rate(rate)] if rate and self.now.nbytes else [])

    def _time(self) -> list[str]:
        if self.stopped:
            return [f"stopped after {shown_seconds(self.seconds)}"]
        if self.is_over:
            return [shown_seconds(self.seconds)]
        return [] if self.left is None else [f"{shown_seconds(self.left)} left"]


def shown_moment(moment: str) -> str:
    """A moment, ISO 8601, for people.

    Examples
    --------
    >>> shown_moment("2025-01-31T22:15:00+00:00")
    '2025-01-31 22:15:00 UTC'
    """
    return moment.replace("T", " ").replace("+00:00", " UTC")


def shown_state(state: str, trouble: str) -> str:
    """The state of a run or of a stage; of one that `trouble` says something about, what it was by then.

    Examples
    --------
    >>> shown_state("running", ""), shown_state("running", "the runner is gone"), shown_state("done", "")
    ('running', 'was running', 'done')
    """
    return f"was {state}" if trouble and state == "running" else state


def shown_why(state: str, why: str) -> str:
    """Why a stage runs or is skipped, behind its state; of one that has ended, why it ran.

    Examples
    --------
    >>> shown_why("done", "the notebook's code changed"), shown_why("skipped", "nothing changed"), shown_why("done", "")
    ("it ran: the notebook's code changed", 'nothing changed', '')
    """
    return f"it ran: {why}" if why and state in {"done", "failed", "killed", "interrupted"} else why


def shown_seconds(seconds: float) -> str:
    """A span of time for people.

    Examples
    --------
    >>> [shown_seconds(s) for s in (0.42, 7.31, 42, 150, 4000)]
    ['0.4 s', '7.3 s', '42 s', '2 min 30 s', '1 h 6 min']
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


@dataclass
class Reporter:
    """Told how far a call is, it shows that in one of three ways, and its last state stays. Leave it through `with`."""

    label: str
    unit: str
    began: float = field(default_factory=time.monotonic)
    last: State | None = field(default=None, init=False)
    _pace: Pace = field(default_factory=Pace, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def __call__(self, now: Progress, /) -> None:
        """Show how far it is."""
        with self._lock:
            idle = now.done >= now.total and now.nbytes == 0 and (self.last is None or self.last.idle)
            seconds = time.monotonic() - self.began
            self._pace.add(seconds, now)
            self.last = State(self.label, self.unit, now, seconds, self._pace.rate, self._pace.left, idle)
            self.show(self.last)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            if self.last is not None:
                seconds = time.monotonic() - self.began
                self.last = replace(self.last, seconds=seconds, stopped=self.last.stopped or kind is not None)
                self.close(self.last)

    def show(self, state: State) -> None:
        """Show a state, if it is time to."""

    def close(self, state: State) -> None:
        """Show the last state."""


@dataclass
class PlainReporter(Reporter):
    """A line now and then, for logs. A call that is soon over leaves none."""

    stream: TextIO | None = None
    _next: float = field(default=_QUIET_SECONDS, init=False, repr=False)

    def show(self, state: State) -> None:
        """Write a line, if the last one is long ago."""
        if state.seconds >= self._next and not state.is_over:
            self._write(state)
            self._next = state.seconds + _PLAIN_SECONDS

    def close(self, state: State) -> None:
        """Write the last line, for a call that took its time."""
        if state.seconds >= _QUIET_SECONDS:
            self._write(state)

    def _write(self, state: State) -> None:
        _write_line(state, self.stream or sys.stderr)


@dataclass
class NotebookReporter(Reporter):
    """One display that is replaced in place; the saved notebook keeps its last state."""

    _handle: Any = field(default=None, init=False, repr=False)
    _next: float = field(default=0.0, init=False, repr=False)

    def show(self, state: State) -> None:
        """Replace the display, if the last time is long enough ago."""
        if state.seconds >= self._next:
            self._draw(state)
            self._next = state.seconds + _NOTEBOOK_SECONDS

    def close(self, state: State) -> None:
        """Replace the display by the last state, and hand it to whoever runs the notebook."""
        self._draw(state, state_figures(state))

    def _draw(self, state: State, figures: Mapping[str, Any] | None = None) -> None:
        from patchmill.show.notebook import show_bundle

        value = f'value="{state.now.fraction:.4f}" max="1"'
        bar = f'<progress {value} style="width: 16em; vertical-align: middle"></progress>'
        bundle = {"text/plain": str(state), "text/html": f"{bar} <span>{html.escape(str(state))}</span>"}
        self._handle = show_bundle({**bundle, **(figures or {})}, replaces=self._handle)


def state_figures(state: State) -> dict[str, Any]:
    """What a call hands over when it is over: what it did, in what time, and how much memory this process came to."""
    from patchmill.show.handed import figures_of, own_peak

    now = state.now
    return figures_of(
        state.label,
        {
            "unit": state.unit,
            "done": now.done,
            "total": now.total,
            "bytes": now.nbytes,
            **({"shards": now.shards, "shards_total": now.shards_total} if now.shards_total else {}),
            "seconds": round(state.seconds, 3),
            "megabytes_per_second": round(now.nbytes / 1e6 / state.seconds, 3) if state.seconds > 0 else None,
            "idle": state.idle,
            "stopped": state.stopped,
            "peak_bytes": own_peak(),
        },
    )


@dataclass
class TerminalReporter(Reporter):
    """A bar of rich's, gone when the call is over unless it took its time."""

    _bar: Any = field(default=None, init=False, repr=False)
    _task: Any = field(default=None, init=False, repr=False)

    def show(self, state: State) -> None:
        """Move the bar; rich itself draws ten times a second."""
        if self._bar is None:
            self._bar = _rich_bar()
            self._task = self._bar.add_task("", total=None, text="")
            self._bar.start()
        self._bar.update(self._task, total=1.0, completed=state.now.fraction, text=str(state))

    def close(self, state: State) -> None:
        """Take the bar away, and leave the last state as a line."""
        if self._bar is not None:
            self._bar.stop()
        if state.seconds >= _QUIET_SECONDS:
            _write_line(state, sys.stderr)


def reporter(label: str = "working", unit: str = "patches") -> Reporter:
    """The reporter that fits the place: a notebook, a terminal, or a log.

    Parameters
    ----------
    label : str
        What is being done, one or two words.
    unit : str
        What is counted, in the plural.
    """
    if _in_kernel():
        return NotebookReporter(label, unit)
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and _has_rich():
        return TerminalReporter(label, unit)
    return PlainReporter(label, unit)


def _write_line(state: State, stream: TextIO) -> None:
    stream.write(f"{state}\n")
    stream.flush()


def _in_kernel() -> bool:
    # Whoever runs in a kernel has IPython loaded; nobody else shall load it for this question.
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


def _has_rich() -> bool:
    from importlib.util import find_spec

    return find_spec("rich") is not None


def _rich_bar() -> Any:
    from rich import progress as bars
    from rich.console import Console

    columns = bars.SpinnerColumn(), bars.BarColumn(), bars.TextColumn("{task.fields[text]}", markup=False)
    return bars.Progress(*columns, console=Console(stderr=True), transient=True, expand=False)
