"""Ending in order: the first signal asks, the second one insists.

::

    with stoppable() as stop:
        for shard in shards:
            if stop.requested:
                raise Interrupted(f"interrupted after {done:,} of {total:,} shards: ...", stop.signal)

A library never ends its process. The command line does, and gives its threads a few seconds for it: `within`.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from patchmill.errors import Interrupted

_INTERRUPT = signal.SIGINT
_SIGNALS = (_INTERRUPT, signal.SIGTERM)

_POLL_SECONDS = 0.1

_INSISTED_SECONDS = 1.0
"""What a second Ctrl-C leaves at the command line to let go of the lease."""


@dataclass(slots=True)
class StopRequest:
    """Whether somebody asked for the end.

    No `threading.Event`: to set one takes a lock, which the thread that the signal interrupts may just hold.
    """

    signal: int = 0
    """Number of the first signal; 0 as long as there is none."""

    def __bool__(self) -> bool:
        return self.signal != 0

    def set(self, number: int = _INTERRUPT) -> None:
        """Ask for the end, as the signal `number` does; the first one counts."""
        self.signal = self.signal or int(number)


@dataclass(frozen=True, slots=True)
class Stop:
    """What `stoppable` gives."""

    requested: StopRequest = field(default_factory=StopRequest)

    @property
    def signal(self) -> int:
        """The signal that asked for the end; SIGINT where none did."""
        return self.requested.signal or _INTERRUPT


@contextmanager
def stoppable() -> Iterator[Stop]:
    """Inside, SIGINT and SIGTERM only set `Stop.requested`; a SIGINT after that raises KeyboardInterrupt at once.

    Only the main thread can ask for signals; in another one nothing happens by itself. What the process ignores it goes
    on ignoring, such as SIGINT in a script's background.
    """
    stop = Stop()

    def asked(number: int, _: FrameType | None) -> None:
        if stop.requested and number == _INTERRUPT:
            _insist()
            raise KeyboardInterrupt
        stop.requested.set(number)
        _note(number)

    before = _install(asked)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _install(handler: Callable[[int, FrameType | None], None]) -> dict[int, Callable[..., object] | int]:
    """Install a handler; returns those that it replaces."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    before: dict[int, Callable[..., object] | int] = {}
    for number in _SIGNALS:
        current = signal.getsignal(number)
        # None: it is not Python's, so it could not be put back.
        if current is not None and current is not signal.SIG_IGN:
            before[number] = current
            signal.signal(number, handler)
    return before


@contextmanager
def terminable() -> Iterator[StopRequest]:
    """Inside, SIGTERM and SIGINT raise `Interrupted`, and are told of; `stoppable` inside goes before.

    For the command line alone: elsewhere signals are their owner's.
    """
    request = StopRequest()

    def asked(number: int, _: FrameType | None) -> None:
        request.set(number)
        _note(number)
        raise Interrupted(signal=number)

    untouched = {signal.SIGTERM: signal.SIG_DFL, _INTERRUPT: signal.default_int_handler}
    here = threading.current_thread() is threading.main_thread()
    before = {number: found for number, found in untouched.items() if here and signal.getsignal(number) is found}
    for number in before:
        signal.signal(number, asked)
    try:
        with _unraised():
            yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _unraised() -> Iterator[None]:
    """Inside, an `Interrupted` that was raised where none can pass, as while Python lets go of a lock, is not told."""
    tell = sys.unraisablehook

    def told(raised: Any) -> None:
        if not isinstance(raised.exc_value, Interrupted):
            tell(raised)

    sys.unraisablehook = told
    try:
        yield
    finally:
        sys.unraisablehook = tell


# -- the end of the process ------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Limit:
    """How long the end may take; counted from the first signal, see `within`."""

    seconds: float
    leave: Callable[[int], None]
    _asked: tuple[float, int] | None = None
    _off: bool = False

    def begin(self, number: int) -> None:
        """The end was asked for by the signal `number`; safe to call in a handler."""
        self._asked = self._asked or (time.monotonic(), number)

    def insist(self) -> None:
        """The end was asked for again, so it comes soon; safe to call in a handler."""
        if self._asked is not None:
            self.seconds = min(self.seconds, time.monotonic() - self._asked[0] + _INSISTED_SECONDS)

    def watch(self) -> None:
        """Wait, and leave when the time is over."""
        while not self._off or self._asked is not None:
            if self._asked is not None and time.monotonic() - self._asked[0] >= self.seconds:
                self.leave(self._asked[1])
                return
            time.sleep(_POLL_SECONDS)

    def lift(self) -> None:
        """Nobody asked, and everything is done."""
        self._off = True


_limits: list[Limit] = []


def _note(number: int) -> None:
    for limit in _limits:
        limit.begin(number)


def _insist() -> None:
    for limit in _limits:
        limit.insist()


@contextmanager
def within(seconds: float, leave: Callable[[int], None] | None = None) -> Iterator[Limit]:
    """Inside and after it, a stop that takes longer than `seconds` ends the process: for the command line alone.

    An interpreter that ends waits for its threads, and one of them may hang in a read for minutes. So the limit goes on
    after the ``with`` if a signal came: a daemon thread watches until the process is gone.

    Parameters
    ----------
    seconds : float
        From the first signal on.
    leave : callable, optional
        Called with the signal then; by default flushes and ends the process with exit code 128 + signal.
    """
    limit = Limit(seconds, leave or _leave)
    # Started beforehand: a handler must not start threads.
    threading.Thread(target=limit.watch, name="patchmill-limit", daemon=True).start()
    _limits.append(limit)
    try:
        yield limit
    finally:
        _limits.remove(limit)
        limit.lift()


def _leave(number: int) -> None:
    with suppress(Exception):
        sys.stderr.write("patchmill: a thread does not end, so it is left behind: call again to go on from here\n")
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(128 + number)
