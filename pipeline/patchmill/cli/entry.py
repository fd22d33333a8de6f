"""`main`: a command line in, an exit code out. What the user did wrong is one sentence, never a traceback."""

from __future__ import annotations

import argparse
import os
import signal
import warnings
from collections.abc import Callable, Collection, Sequence
from typing import NoReturn

from patchmill.cli.arguments import make_parser
from patchmill.cli.output import OutputClosedError, complain, let_go, prepare_streams, unheard
from patchmill.cli.wording import as_commands
from patchmill.errors import EXIT_FAILED, PatchmillError, exit_code, missing_library

EXIT_SIGNAL = 128
"""Plus the signal: 130 for SIGINT, 143 for SIGTERM."""

_STOP_SECONDS = 8.0
"""From a signal to the end of the process; schedulers kill ten seconds after they ask."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Without the program's name; by default those of this process, which then ends soon after a signal, whatever
        its threads do.

    Returns
    -------
    int
        0 done, 1 it failed or is damaged, 2 wrong usage or configuration, 75 somebody else holds it, 124 a time
        limit, 130 and 143 interrupted, 137 a kernel was killed.

    Examples
    --------
    >>> main(["--version"])
    patchmill ...
    0
    """
    prepare_streams()
    try:
        parsed = make_parser().parse_args(arguments)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else EXIT_FAILED
    warnings.showwarning = lambda message, *_, **__: _say(f"warning: {message}")
    return _limited(parsed) if arguments is None else _run(parsed)


def _limited(parsed: argparse.Namespace) -> int:
    from patchmill.cutting.stopping import terminable, within

    with within(_STOP_SECONDS) as limit, terminable() as request:
        code = _run(parsed, lambda: request.signal)
        if request and code == EXIT_SIGNAL + request.signal:
            _leave(code)
        if code - EXIT_SIGNAL in {signal.SIGINT, signal.SIGTERM}:
            limit.begin(code - EXIT_SIGNAL)
        return code


def _leave(code: int) -> NoReturn:
    """End now: libraries that were interrupted at anything, while they are imported too, complain on their way out."""
    let_go()
    os._exit(code)


def _nobody() -> int:
    return 0


def _run(parsed: argparse.Namespace, asked: Callable[[], int] = _nobody) -> int:
    """Run a command; `asked` tells which signal has asked for the end by now, 0 for none."""
    try:
        return _called(parsed, asked)
    except OutputClosedError as error:
        let_go()
        if str(error):
            _say(str(error))
        return EXIT_FAILED


def _called(parsed: argparse.Namespace, asked: Callable[[], int]) -> int:
    try:
        return int(parsed.command(parsed))
    except OutputClosedError:
        raise
    except KeyboardInterrupt as error:
        return _interrupted(str(error), int(getattr(error, "signal", signal.SIGINT)))
    except Exception as error:
        if parsed.debug:
            raise
        if isinstance(error, ImportError) and asked():
            return _interrupted("", asked())  # a module written in C makes another error of what a signal raises
        return _explain(error, vars(parsed))


def _interrupted(text: str, number: int) -> int:
    warnings.showwarning = lambda *_, **__: None  # of what was begun and is not ended: nobody waits for it
    _say(text or "interrupted")
    return EXIT_SIGNAL + number


def _explain(error: Exception, options: Collection[str]) -> int:
    text = as_commands(str(error).strip(), options)
    if isinstance(error, PatchmillError | ValueError | TypeError | FileNotFoundError) and text:
        _say(text)
        return exit_code(error)
    if isinstance(error, ModuleNotFoundError) and error.name:
        _say(missing_library("this", error.name))
        return EXIT_FAILED
    _say(f"{type(error).__name__}: {text.partition(chr(10))[0]} (patchmill --debug shows where)")
    return EXIT_FAILED


def _say(text: str) -> None:
    with unheard():  # the exit code tells the same
        complain(f"patchmill: {text}")
