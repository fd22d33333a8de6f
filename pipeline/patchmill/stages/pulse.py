"""Whether a kernel still answers its heartbeat, which it does from a thread of its own, however busy it is."""

from __future__ import annotations

import os
import time
from typing import Any

from patchmill.stages.durations import as_seconds

_SILENCE = "PATCHMILL_HEARTBEAT_SECONDS"


def longest_silence() -> float:
    """Seconds after which a kernel that does not answer is given up: two minutes, or as the environment says.

    Raises
    ------
    ValueError
        If what the environment says is no span of time.
    """
    return as_seconds(os.environ.get(_SILENCE, "120"), _SILENCE)


class Pulse:
    """A question to a kernel's heartbeat socket, asked again as soon as it is answered.

    Parameters
    ----------
    url : str
        Of the socket.
    """

    def __init__(self, url: str) -> None:
        import zmq

        socket: Any = zmq.Context.instance().socket(zmq.REQ)
        socket.linger = 0
        socket.connect(url)
        self._socket = socket
        self._asked: float | None = None

    def silence(self) -> float:
        """Seconds since the question was asked that is still not answered; 0 for none. Never waits."""
        if self._asked is not None and self._socket.poll(0):
            self._socket.recv()
            self._asked = None
        if self._asked is None:
            self._socket.send(b"ping")
            self._asked = time.monotonic()
            return 0.0
        return time.monotonic() - self._asked

    def close(self) -> None:
        """Ask no more."""
        self._socket.close()
