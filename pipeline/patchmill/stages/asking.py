"""Looks at object stores that end in time: one that does not answer is asked again by its client for minutes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

Answer = TypeVar("Answer")

_PATIENCE, _QUIET = 20.0, 60.0
"""Seconds for the first answer, and seconds in which nobody asks again who gave none."""

_SILENT: dict[str, float] = {}
"""When which store, its scheme and bucket, gave no answer."""


def answer_of(url: str, ask: Callable[[], Answer]) -> Answer:
    """What `ask`, a small question to the store of `url`, returns.

    Raises
    ------
    TimeoutError
        Where it takes too long, or did a moment ago.
    """
    store = "/".join(url.split("/")[:3])
    if time.monotonic() - _SILENT.get(store, -_QUIET) < _QUIET:
        raise TimeoutError(f"{store} gave no answer")
    answer: Future[Answer] = Future()

    def wait() -> None:
        try:
            answer.set_result(ask())
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            answer.set_exception(error)

    # One that nobody waits for any more must not hold the process, as those of an executor would.
    threading.Thread(target=wait, name="patchmill-ask", daemon=True).start()
    try:
        return answer.result(_PATIENCE)
    except TimeoutError:
        _SILENT[store] = time.monotonic()
        raise
