"""One process for each notebook: started, looked after, and ended with everything it started."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

from patchmill.errors import Interrupted


def signal_name(number: int) -> str:
    """What a signal is called: ``"SIGKILL"``, and ``"unknown"`` for one of those without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"


_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_GRACE_SECONDS = 3.0
"""What a process that is told to end is given before it is killed."""

_POLL_SECONDS = 0.05


_MARK = "PATCHMILL_STARTED_BY"
"""The environment variable by which all that a `Child` has started is known."""


class Child:
    """A process that runs the ``main`` of a module, with all that it starts.

    Its stdin is a pipe that stays open as long as this process lives, so that it can end with us.

    Parameters
    ----------
    module : str
        Whose ``main`` is run.
    argument : str
        Its only argument.
    log : path
        What it says is added to this file.
    environment : mapping
    """

    def __init__(self, module: str, argument: str, *, log: str, environment: Mapping[str, str]) -> None:
        self._mark = uuid.uuid4().hex
        with open(log, "ab") as out:
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, a module of our own, a path
                # Not "-m": a module that its own package has imported would be run a second time, under a warning.
                # "-P": what lies in the current folder, a random.py say, is not ours to import.
                [sys.executable, "-P", "-c", f"import sys; from {module} import main; sys.exit(main())", argument],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**environment, _MARK: self._mark},
                # A terminal's Ctrl-C goes to us alone: we say how everything ends.
                start_new_session=True,
            )
        self.pid = self._process.pid
        self.cpu_seconds: float | None = None
        """Known once it has ended: its own, and of all that were waited for. What was killed in mid-work is missing."""
        self.peak_bytes = 0
        """Resident memory of all together, the most that `look` has seen."""

    def poll(self) -> int | None:
        """Exit status, minus the signal where one killed it; None while it runs."""
        if self._process.returncode is not None:
            return self._process.returncode
        try:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
        except ChildProcessError:  # somebody else in this process has asked for it
            return self._process.poll()
        if pid:
            self._process.returncode = os.waitstatus_to_exitcode(status)
            self.cpu_seconds = round(usage.ru_utime + usage.ru_stime, 2)
            self.let_go()
        return self._process.returncode

    def let_go(self) -> None:
        """Close its stdin: it sees that nobody needs it, as if this process were gone."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    def look(self) -> None:
        """Take notice of the memory that it and all that it started hold at this moment; shared pages count in each."""
        import psutil

        held = 0
        for each in _descendants(self.pid):
            with suppress(psutil.Error):
                held += each.memory_info().rss
        self.peak_bytes = max(self.peak_bytes, held)

    def sweep(self) -> None:
        """Kill what it started and left behind: once it has ended, whatever ended it, and whoever is a parent now."""
        for each in _marked(self._mark):
            _tell(each, signal.SIGKILL)


def end_all(children: Iterable[Child]) -> None:
    """End processes and all that they started: they are told to, and killed after a few seconds."""
    with signals_wait():
        living = [child for child in children if child.poll() is None]
        started = [each for child in living for each in _descendants(child.pid)]
        for each in started:
            _tell(each, signal.SIGTERM)
        end = time.monotonic() + _GRACE_SECONDS
        while time.monotonic() < end and _any_lives(living, started):
            time.sleep(_POLL_SECONDS)
        # What began while it was told to end belongs to it too.
        for each in [*started, *(late for child in living for late in _descendants(child.pid))]:
            _tell(each, signal.SIGKILL)
        end = time.monotonic() + _GRACE_SECONDS  # one that waits for a disk that is gone can't even be killed
        while time.monotonic() < end and any(child.poll() is None for child in living):
            time.sleep(_POLL_SECONDS)
        for child in living:
            child.sweep()


def wait_for_parent() -> None:
    """Return when the process of which this one is a `Child` lets it go, or is gone, however it went."""
    while os.read(sys.stdin.fileno(), 1):
        pass


def adopt() -> None:
    """Become the parent of all that this process starts and that loses its own, so that `end_rest` finds it (Linux)."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


_PR_SET_CHILD_SUBREAPER = 36


def reap_adopted(own: Collection[int]) -> None:
    """Let adopted processes that have ended go from the system's table; not `own`, for which somebody waits."""
    import psutil

    for child in psutil.Process().children():
        with suppress(psutil.Error, ChildProcessError):
            if child.pid not in own and child.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(child.pid, os.WNOHANG)


def end_rest() -> None:
    """End all that this process started and that is still there, at once."""
    for process in _descendants(os.getpid())[1:]:
        _tell(process, signal.SIGKILL)


def end_here() -> NoReturn:
    """End this process and all that it started, at once."""
    end_rest()
    os._exit(1)


class Signals:
    """Signals that ask this process to end; see `signals_raise`."""

    def __init__(self) -> None:
        self._held = False
        self._number = 0

    def came(self, number: int, _: Any) -> None:
        """The handler."""
        if not self._held:
            raise Interrupted(signal=number)
        self._number = self._number or number

    @contextmanager
    def held(self) -> Iterator[None]:
        """Inside, a signal waits: for steps of which one without the other would be wrong."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
            if self._number:
                raise Interrupted(signal=self._number)


@contextmanager
def signals_raise() -> Iterator[Signals]:
    """Inside, a signal that asks this process to end raises `Interrupted`; only the main thread can ask for that."""
    signals = Signals()
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return
    # What is ignored stays so: under nohup a run outlives its terminal. None is not Python's, and can't be put back.
    heeded = [number for number in _SIGNALS if signal.getsignal(number) not in {signal.SIG_IGN, None}]
    before = {number: signal.signal(number, signals.came) for number in heeded}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _descendants(pid: int) -> list[Any]:
    import psutil

    try:
        top = psutil.Process(pid)
        return [top, *top.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _marked(mark: str) -> Iterator[Any]:
    """All processes that have inherited a mark."""
    import psutil

    for each in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if each.environ().get(_MARK) == mark:
                yield each


def _any_lives(children: Iterable[Child], started: Iterable[Any]) -> bool:
    # Our own are asked for first: until then they are kept, as dead, in the table of processes.
    statuses = [child.poll() for child in children]
    return None in statuses or any(_lives(each) for each in started)


def _lives(process: Any) -> bool:
    import psutil

    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _tell(process: Any, number: int) -> None:
    import psutil

    with suppress(psutil.Error):  # it is gone, or somebody else's
        process.send_signal(number)


@contextmanager
def signals_wait() -> Iterator[None]:
    """Inside, signals that ask this process to end are not heard: a second Ctrl-C shall not leave a kernel behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heeded = [number for number in _SIGNALS if signal.getsignal(number) is not None]
    before = {number: signal.signal(number, signal.SIG_IGN) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
