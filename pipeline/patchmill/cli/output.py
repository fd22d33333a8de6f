"""What the command line says: results to stdout, all else to stderr.

A reader that has seen enough, such as ``head``, closes the pipe. Only here that is no error: any other broken pipe, of
a connection to a store, is one. Nor is a terminal that was closed.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class OutputClosedError(Exception):
    """Nobody reads what we say any more."""


def say(thing: Any) -> None:
    """A line of the result."""
    with _read_by_somebody():
        sys.stdout.write(f"{thing}\n")
        sys.stdout.flush()


def complain(text: str) -> None:
    """A line beside the result, after what was said before it."""
    with _read_by_somebody():
        sys.stdout.flush()
        sys.stderr.write(f"{text}\n")


@contextmanager
def _read_by_somebody() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise OutputClosedError from error
    except OSError as error:
        if error.errno == errno.EIO:  # a terminal that was closed
            raise OutputClosedError from error
        raise


@contextmanager
def unheard() -> Iterator[None]:
    """Inside, what is said may be heard by nobody: what goes on in the background goes on."""
    try:
        yield
    except OutputClosedError:
        let_go()


def shown_path(path: str) -> str:
    """A path as it is called from the current folder, if it lies below."""
    relative = os.path.relpath(path)
    return path if relative.startswith(os.pardir) else relative


def let_go() -> None:
    """Write what is left of closed pipes to nowhere: the interpreter shall not complain on its way out."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
