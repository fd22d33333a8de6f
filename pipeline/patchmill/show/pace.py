"""How fast a call is by now: over the last half minute, not since it began.

A resume begins at sixty percent with no byte written, and a disk's cache is full after the first gigabytes: an average
from the beginning would lie about both.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from patchmill.types import Progress

_WINDOW_SECONDS = 30.0

_SAMPLE_SECONDS = 0.25
"""Between two that are kept, so that there are few however often we are told; over less no pace can be told."""


@dataclass(slots=True)
class Pace:
    """What was told in the last seconds.

    ::

        told at     0 .   10 . . . . 25 . . 35 now
        kept        (0)   10 . . . . 25 . . 35        the window begins at 5: 0 is the last one before it, and stays
    """

    window: float = _WINDOW_SECONDS
    _told: deque[tuple[float, Progress]] = field(default_factory=deque)

    def add(self, seconds: float, now: Progress) -> None:
        """Take what is told, so many seconds after the beginning."""
        if len(self._told) > 1 and seconds - self._told[-2][0] < _SAMPLE_SECONDS:
            self._told.pop()
        self._told.append((seconds, now))
        while len(self._told) > 2 and self._told[1][0] <= seconds - self.window:
            self._told.popleft()

    @property
    def rate(self) -> float | None:
        """Bytes a second; None where that can't be told yet."""
        seconds, _, nbytes = self._moved()
        return nbytes / seconds if seconds >= _SAMPLE_SECONDS and nbytes > 0 else None

    @property
    def left(self) -> float | None:
        """Seconds to the end, if it goes on like this; None where that can't be told yet."""
        seconds, done, _ = self._moved()
        if seconds < _SAMPLE_SECONDS or done <= 0:
            return None
        now = self._told[-1][1]
        return max(0, now.total - now.done) * seconds / done

    def _moved(self) -> tuple[float, int, int]:
        """Seconds, units and bytes between the first and the last that is kept."""
        if not self._told:
            return 0.0, 0, 0
        (began, first), (now, last) = self._told[0], self._told[-1]
        return now - began, last.done - first.done, last.nbytes - first.nbytes
