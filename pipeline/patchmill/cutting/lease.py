"""One writer a target: a lease in the workshop, with a heartbeat.

::

    out.zarr.patchmill/leases/
      whole.1.json              the lease: who; made once, deleted at the end, never rewritten
      whole.1.<token>.beat      the heartbeat, rewritten every few seconds

A dead holder's lease is not replaced: who takes over makes the *next number*, which of several at once one alone can
do (`Location.write_new`), looks whether anybody else has come in the meantime, and then deletes the dead one. So the
old holder, should it only have slept, misses its lease and knows; and since its heartbeat is another object, no beat
that was already under way can bring the lease back.
"""

from __future__ import annotations

import os
import random
import re
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from patchmill.cutting.holders import (
    LEASES,
    Holder,
    Pace,
    check_part,
    conflict,
    holder_at,
    holders,
    is_dead,
    this_process,
    to_json,
)
from patchmill.cutting.identity import is_gone
from patchmill.errors import HeldError, LeaseLostError, PatchmillError
from patchmill.storage import Location
from patchmill.storage.local import unwritable
from patchmill.storage.locations import WORKSHOP

_ATTEMPTS = 20

_UNHELD = 5
"""So many times in a row nobody comes and goes just so: some object stores answer so where there is no bucket."""

_UNFINISHED = re.compile(r".*\.(?P<pid>\d+)-[0-9a-f]+\.__tmp")
"""A file that `Folder.write` has not finished."""

_JOIN_SECONDS = 5.0
"""What a beat that is under way is given to end."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A lease as tasks know it, in whatever process: called, it raises `LeaseLostError` where it is somebody else's.

    Parameters
    ----------
    work : Location
        The workshop.
    holder : Holder
        Who took it.
    """

    work: Location
    holder: Holder

    def __call__(self) -> None:
        """One small read."""
        if not _is_ours(self.work, self.holder):
            raise LeaseLostError(_lost(self.work, self.holder))


class Lease:
    """The right to write a part of a target, until it is released; use it in a ``with``. Made by `take`.

    Parameters
    ----------
    work : Location
        The workshop.
    holder : Holder
        This process.
    pace : Pace
    """

    def __init__(self, work: Location, holder: Holder, pace: Pace) -> None:
        self.work = work
        self.holder = holder
        stop = threading.Event()
        # The thread knows nothing of this object: a lease that nobody has any more is let go.
        beating = threading.Thread(
            target=_beat, args=(work, holder, pace, stop), name=f"patchmill-lease-{holder.part}", daemon=True
        )
        self._end = weakref.finalize(self, _end, work, holder, stop, beating)
        beating.start()

    def __repr__(self) -> str:
        return f"<Lease of {self.holder.part!r} in {self.work.url}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    @property
    def claim(self) -> Claim:
        """What tasks of this process, and of others, ask whether the lease is still ours."""
        return Claim(self.work, self.holder)

    def check(self) -> None:
        """Return if the lease is still ours: one small read.

        Raises
        ------
        LeaseLostError
            If somebody took over, since this process gave no sign of life; in a fork, which never had it; or after
            `release`.
        """
        if not self._end.alive or os.getpid() != self.holder.pid:
            raise LeaseLostError(_lost(self.work, self.holder))
        self.claim()

    def release(self) -> None:
        """Let go. A second time, and in a fork, nothing happens."""
        self._end()


def take(
    work: Location,
    part: str = "whole",
    *,
    beat_seconds: float = 5.0,
    look_seconds: float = 12.0,
    dead_seconds: float = 60.0,
    patient: bool = False,
    say: Callable[[str], None] | None = None,
    look: Callable[[], None] | None = None,
) -> Lease:
    """Take a part of a target, or be told who has it.

    Parameters
    ----------
    work : Location
        The target's workshop; made if need be, and gone with the lease if nothing else is in it.
    part : str
        "whole", "slice-<i>-of-<n>", "begin" or "close": see `holders.conflict`.
    beat_seconds : float
        How often to tell that we live.
    look_seconds : float
        After so long without a beat a holder is suspected, and `say` is called.
    dead_seconds : float
        After so long it is taken for dead; the same for all who may want this target.
    patient : bool
        Whether a holder on this machine lives as long as its process is there, even if that was stopped for hours: for
        what is written by other processes, which are not stopped with it.
    say : callable, optional
        Told, in a sentence, how long the waiting takes.
    look : callable, optional
        Called again and again while waiting; what it raises ends that.

    Returns
    -------
    Lease

    Raises
    ------
    ValueError
        If `part` is none.
    HeldError
        If somebody holds what is asked for, and lives.
    """
    check_part(part)
    pace = Pace(beat_seconds, look_seconds, dead_seconds, patient)
    unheld = 0
    for _ in range(_ATTEMPTS):
        lease = _try(work, part, pace, say, look or _go_on)
        if lease is not None:
            return lease
        unheld = 0 if _rivals(work, part) else unheld + 1
        if unheld == _UNHELD:
            raise unwritable(_target(work), "it takes nothing new, though nobody holds it; is there such a bucket?")
        # Others came at the same moment; whoever wakes first has it.
        time.sleep(random.uniform(0, 2 * pace.poll))  # noqa: S311 - no secret
    raise HeldError(f"{_target(work)} is being taken by several at this moment: call again")


def warn(text: str) -> None:
    """Say it as a warning, where nobody has asked to be told."""
    warnings.warn(text, stacklevel=2)


def _go_on() -> None:
    """Nobody asks to stop."""


def _try(
    work: Location, part: str, pace: Pace, say: Callable[[str], None] | None, look: Callable[[], None]
) -> Lease | None:
    """Take it; None where somebody came in between."""
    look()
    dead = _rivals(work, part)
    for rival in dead:
        if not is_dead(work, rival, pace, say, look):
            raise HeldError(
                f"{_target(work)} is being written by {rival}: "
                "wait until that has ended, or stop it there, then call again"
            )
    mine = this_process(part, 1 + max((rival.number for rival in dead if rival.part == part), default=0))
    if not _put_new(work, mine):
        return None
    try:
        if not _alone(work, mine, dead):
            work.delete(mine.key)
            return None
        for rival in dead:
            _forget(work, rival)
        if _tell(work, mine):
            return Lease(work, mine, pace)
    except BaseException:
        _forget(work, mine)
        raise
    return None  # we slept so long that we were taken for dead


def _put_new(work: Location, mine: Holder) -> bool:
    data = to_json(mine)
    try:
        # An object store may have taken it, lost the answer, and found it there when asked again.
        return work.write_new(mine.key, data) or work.read(mine.key) == data
    except PatchmillError as error:
        if isinstance(error.__cause__, FileNotFoundError) and work.path.parent.is_dir():
            return False  # whoever let go at this moment has tidied the folder away
        _tidy(work)  # the folders that were made for it
        raise


def _rivals(work: Location, part: str) -> list[Holder]:
    return [holder for holder in holders(work) if conflict(holder.part, part)]


def _alone(work: Location, mine: Holder, dead: Collection[Holder]) -> bool:
    known = {(holder.key, holder.token) for holder in [mine, *dead]}
    return all((rival.key, rival.token) in known for rival in _rivals(work, mine.part))


def _forget(work: Location, holder: Holder) -> None:
    if _is_ours(work, holder):
        work.delete(holder.key)
    work.delete(holder.beat_key)


def _is_ours(work: Location, holder: Holder) -> bool:
    current = holder_at(work, holder.key)
    return current is not None and current.token == holder.token


def _tell(work: Location, holder: Holder) -> bool:
    """One beat, unless the lease is lost."""
    alive = replace(holder, at=time.monotonic())
    if not _is_ours(work, holder):
        return False
    work.write(holder.beat_key, to_json(alive))
    return True


def _beat(work: Location, holder: Holder, pace: Pace, stop: threading.Event) -> None:
    """Tell that we live, until told to stop or the lease is lost. Where it fails it is tried again: `check` decides."""
    number = 0
    while not stop.wait(pace.beat):
        number += 1
        with suppress(Exception):
            if not _tell(work, replace(holder, beat=number)):
                work.delete(holder.beat_key)
                _tidy(work)
                return


def _end(work: Location, holder: Holder, stop: threading.Event, beating: threading.Thread) -> None:
    """Let go, in the process that took it; what can't be deleted is as good as a dead holder's."""
    if os.getpid() != holder.pid:
        return
    stop.set()
    if beating.is_alive():
        beating.join(_JOIN_SECONDS)
    with suppress(PatchmillError, OSError):
        _forget(work, holder)
        _tidy(work)


def _tidy(work: Location) -> None:
    """Remove beats that have no lease, what killed writers left half written, and the folders if nothing is in them."""
    if not work.is_local:
        return
    folder = os.path.join(work.url, LEASES)
    with suppress(OSError):
        for name in os.listdir(folder):
            stem, beat, _ = name.partition(".beat")
            lease = f"{stem.rpartition('.')[0]}.json"
            if (beat and not os.path.exists(os.path.join(folder, lease))) or _is_left_over(name):
                os.unlink(os.path.join(folder, name))
        os.rmdir(folder)
    with suppress(OSError):
        os.rmdir(work.url)


def _is_left_over(name: str) -> bool:
    """Whether a process that is gone was writing this file; one of another machine that lives just writes it again."""
    writer = _UNFINISHED.fullmatch(name)
    return writer is not None and is_gone(int(writer["pid"]), "")


def _lost(work: Location, mine: Holder) -> str:
    with suppress(PatchmillError, OSError):
        for rival in _rivals(work, mine.part):
            if rival.token != mine.token:
                return f"{_target(work)} was taken over by {rival}, as this call was silent: wait until that has ended"
    return f"{_target(work)} is no longer this call's to write, its lease is gone: call again to go on from here"


def _target(work: Location) -> str:
    return work.url.removesuffix(WORKSHOP)
