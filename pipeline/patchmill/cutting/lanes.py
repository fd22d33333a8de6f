"""Which worker of a cluster cuts which shards: neighbors, since they read the same source chunks.

::

    shards in the order of cutting    0 1 2 3 4 5 6 7 8 9 ...
    lanes                             [worker A] [worker B]     a run of consecutive shards for each
                                      ==>        ==>            begun from the front, a few at a time

A worker whose lane is empty gets the next run; where there is none, what a worker that is gone has left, or the latter
half of the longest lane.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import islice

from patchmill.planning import Key

_LANE = 64
"""Shards of a lane at most: some rows of a band, so that few source chunks are decoded by two workers."""

_TOGETHER = 4
"""Shards of a task at most: losing a worker costs little."""

_BALANCE = 8
"""Tasks at least for each that is worked on at a time, before several shards go into one."""


@dataclass(slots=True, eq=False)
class Lanes:
    """Shards that were taken from the order of cutting and are not begun, by worker.

    Parameters
    ----------
    shards : int
        How many there are at most.
    """

    shards: int
    _lanes: dict[str, deque[Key]] = field(init=False, default_factory=dict)

    def take(self, worker: str, rest: Iterator[Key], at_a_time: dict[str, int]) -> list[Key]:
        """The next shards that `worker` is to cut, as one task; none where nothing is left.

        Parameters
        ----------
        worker : str
            Its address.
        rest : iterator of Key
            Shards that belong to no lane.
        at_a_time : mapping
            Tasks that each worker works on at a time, by address.
        """
        lane = self._lanes.setdefault(worker, deque())
        if not lane:
            size = min(_LANE, -(-self.shards // max(1, len(at_a_time))))
            lane.extend(self._abandoned(at_a_time) or islice(rest, size))
            if not lane:
                lane.extend(self._latter_half())
        together = min(_TOGETHER, self.shards // (_BALANCE * max(1, sum(at_a_time.values()))), -(-len(lane) // 2))
        return [lane.popleft() for _ in range(min(len(lane), max(1, together)))]

    def _abandoned(self, present: Collection[str]) -> deque[Key] | None:
        """The lane of a worker that is gone."""
        gone = next((worker for worker, lane in self._lanes.items() if lane and worker not in present), None)
        return None if gone is None else self._lanes.pop(gone)

    def _latter_half(self) -> list[Key]:
        longest = max(self._lanes.values(), key=len)
        return [longest.pop() for _ in range(-(-len(longest) // 2))][::-1]
