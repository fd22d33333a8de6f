"""One process for each notebook: started, waited for, and ended with everything it started."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from patchmill.errors import Interrupted

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)

_GRACE_SECONDS = 3.0
"""What a process that is told to end is given before it is killed."""


def wait_for(module: str, argument: str, *, log: str, environment: Mapping[str, str]) -> int:
    """Run the ``main`` of `module` with `argument` in a process, to its end; what it says goes to the file `log`.

    Its stdin is a pipe that stays open as long as this process lives, so that it can end with us.

    Returns
    -------
    int
        Exit status, minus the signal where one killed it.

    Raises
    ------
    KeyboardInterrupt
        If this process was told to end; the other one and all it started are gone then.
    """
    with open(log, "ab") as out:
        process = subprocess.Popen(  # noqa: S603 - this interpreter, a module of our own, a path
            # Not "-m": a module that its own package has imported would be run a second time, under a warning.
            [sys.executable, "-c", f"import sys; from {module} import main; sys.exit(main())", argument],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            # A terminal's Ctrl-C goes to us alone: we say how everything ends.
            start_new_session=True,
        )
        try:
            return process.wait()
        except BaseException:
            _end_all(process)
            raise
        finally:
            if process.stdin is not None:
                process.stdin.close()


@contextmanager
def signals_raise() -> Iterator[None]:
    """Inside, a signal that asks this process to end raises `Interrupted`; only the main thread can ask for that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def raised(number: int, _: Any) -> None:
        raise Interrupted(signal=number)

    # What is ignored stays so: under nohup a run outlives its terminal.
    heeded = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, raised) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_all(process: subprocess.Popen[bytes]) -> None:
    import psutil

    with _signals_wait():
        running = _descendants(process.pid)
        for each in running:
            _tell(each, signal.SIGTERM)
        _, stubborn = psutil.wait_procs(running, timeout=_GRACE_SECONDS)
        for each in stubborn:
            _tell(each, signal.SIGKILL)
        process.wait()


def _descendants(pid: int) -> list[Any]:
    import psutil

    try:
        top = psutil.Process(pid)
        return [top, *top.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _tell(process: Any, number: int) -> None:
    import psutil

    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)


@contextmanager
def _signals_wait() -> Iterator[None]:
    # A second Ctrl-C shall not leave a kernel behind.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, *_SIGNALS)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
