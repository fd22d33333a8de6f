"""How far a long call is: rich on a terminal, one display in a notebook, few plain lines elsewhere.

Who works knows nothing of this: it calls a `Progress` with the numbers it has. Who watches asks `reporter` for the one
that fits the place::

    with reporter("cutting", unit="patches") as report:
        ...
        report(done, total, nbytes)      # totals so far, from any thread, as often as one likes
"""

from __future__ import annotations

import html
import os
import sys
import threading
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol, Self, TextIO

from patchmill.types import shown_bytes

_PLAIN_SECONDS = 10.0
"""Between two plain lines: a log of a night stays readable."""

_QUIET_SECONDS = 2.0
"""What ends sooner says nothing."""

_NOTEBOOK_SECONDS = 0.25
"""Between two states of a notebook's display: each is a message, and may be saved to disk."""


class Progress(Protocol):
    """What a long call calls: how much is done, of how much, and how many bytes that was."""

    def __call__(self, done: int, total: int, nbytes: int, /) -> None:
        """Totals since the beginning, not steps."""


@dataclass(frozen=True, slots=True)
class State:
    """How far a call is: counts of `unit`, bytes, and seconds since it began."""

    label: str
    unit: str
    done: int
    total: int
    nbytes: int
    seconds: float

    @property
    def fraction(self) -> float:
        """Done of total, between 0 and 1; nothing to do is done."""
        return min(1.0, self.done / self.total) if self.total else 1.0

    def __str__(self) -> str:
        """One line.

        Examples
        --------
        >>> print(State("cutting", "patches", 43, 172, 8_454_144, 4.0))
        cutting: 43 of 172 patches (25 %), 8.1 MiB, 2.0 MiB/s, 12 s left
        >>> print(State("cutting", "patches", 172, 172, 0, 16.0))
        cutting: 172 of 172 patches (100 %), 16 s
        """
        parts = [f"{self.label}: {self.done:,} of {self.total:,} {self.unit} ({100 * self.fraction:.0f} %)"]
        if self.nbytes:
            parts.append(shown_bytes(self.nbytes))
        if self.nbytes and self.seconds > 0:
            parts.append(f"{shown_bytes(self.nbytes / self.seconds)}/s")
        if self.done >= self.total:
            parts.append(shown_seconds(self.seconds))
        elif self.fraction > 0:
            parts.append(f"{shown_seconds(self.seconds * (1 - self.fraction) / self.fraction)} left")
        return ", ".join(parts)


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
    """A `Progress` that shows itself in one of three ways, and whose last state stays. Leave it through `with`."""

    label: str
    unit: str
    began: float = field(default_factory=time.monotonic)
    last: State | None = field(default=None, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def __call__(self, done: int, total: int, nbytes: int = 0, /) -> None:
        """Show `done` of `total`; the numbers are totals so far."""
        with self._lock:
            self.last = State(self.label, self.unit, done, total, nbytes, time.monotonic() - self.began)
            self.show(self.last)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            if self.last is not None:
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
        if state.seconds >= self._next and state.done < state.total:
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
        """Replace the display by the last state."""
        self._draw(state)

    def _draw(self, state: State) -> None:
        from patchmill.show.notebook import show_bundle

        bar = f'<progress value="{state.fraction:.4f}" max="1" style="width: 16em; vertical-align: middle"></progress>'
        bundle = {"text/plain": str(state), "text/html": f"{bar} <span>{html.escape(str(state))}</span>"}
        self._handle = show_bundle(bundle, replaces=self._handle)


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
        self._bar.update(self._task, total=max(state.total, 1), completed=state.fraction * state.total, text=str(state))

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
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

    columns = SpinnerColumn(), BarColumn(), TextColumn("{task.fields[text]}", markup=False)
    return Progress(*columns, console=Console(stderr=True), transient=True, expand=False)
