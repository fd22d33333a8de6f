"""What the command line says: results to stdout, all else to stderr.

A reader that has seen enough, such as ``head``, closes the pipe. Only here that is no error: any other broken pipe, of
a connection to a store, is one. Nor is a terminal that was closed. A stream that was closed before we began is nowhere.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class OutputClosedError(Exception):
    """Nobody reads what we say any more; the text is a sentence where that has another reason than that they left."""


def prepare_streams() -> None:
    """Let both streams be there, and take any letter: what their encoding does not know is written as an escape."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - as long as the process
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


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
    except OSError as error:
        left = error.errno in {errno.EPIPE, errno.EIO}  # EIO: a terminal that was closed
        why = () if left else (f"the output can't be written ({error.strerror}): free space, or send it elsewhere",)
        raise OutputClosedError(*why) from error


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
