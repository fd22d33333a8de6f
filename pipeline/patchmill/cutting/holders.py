"""Who holds a target: what a lease says of them, and whether they still live.

Clocks of two machines are never compared. Who shares our place (see `identity`) shares our table of processes and our
monotonic clock; of anybody else only this is known: whether the beat moves while we look.
"""

from __future__ import annotations

import json
import os
import re
import socket
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from patchmill.cutting.identity import is_gone, started, this_place
from patchmill.storage import Location

LEASES = "leases"
"""The folder in the workshop where leases lie."""

_PART = re.compile(r"whole|begin|close|slice-(?P<index>\d+)-of-(?P<count>[1-9]\d*)")
_KEY = re.compile(rf"{LEASES}/(?P<part>.+)\.(?P<number>\d+)\.json")


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds of a lease's life.

    Parameters
    ----------
    beat : float
        Between two beats.
    look : float
        Without a beat after which a holder is suspected.
    dead : float
        Without a beat after which it is taken for dead.
    patient : bool
        Whether none is taken for dead whose process is there, on this machine, however long it is silent.
    """

    beat: float
    look: float
    dead: float
    patient: bool = False

    @property
    def poll(self) -> float:
        """Between two looks at somebody's beat."""
        return min(1.0, self.beat / 5)


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a part of a target.

    Parameters
    ----------
    part : str
        "whole", "slice-3-of-8", "begin" or "close".
    number : int
        Which holder of this part in a row: who takes over has the next number.
    host : str
        Name of the machine, for people.
    place : str
        Equal for those that share a table of processes and a clock; "" where unknown.
    pid : int
    began : str
        When the process began, in the system's words.
    since : str
        When the lease was taken, by the clock of that machine: for people.
    token : str
        Random, of this lease alone; "" where the lease can't be read.
    beat : int
        How often it has told that it lives.
    at : float
        When it last did, in seconds of its monotonic clock.
    """

    part: str
    number: int
    host: str = "an unknown machine"
    place: str = ""
    pid: int = 0
    began: str = ""
    since: str = "an unknown time"
    token: str = ""
    beat: int = 0
    at: float = 0.0

    @property
    def key(self) -> str:
        """The lease: an object that is made and deleted, never rewritten, so that no late beat can bring it back."""
        return f"{LEASES}/{self.part}.{self.number}.json"

    @property
    def beat_key(self) -> str:
        """The beat: an object that is rewritten as long as the holder lives."""
        return f"{LEASES}/{self.part}.{self.number}.{self.token}.beat"

    @property
    def is_here(self) -> bool:
        """Whether we would see its process, and read the same clock."""
        return bool(self.place) and self.place == this_place()

    @property
    def is_seen(self) -> bool:
        """Whether its process is here beyond doubt, and not another one that got its number."""
        return self.is_here and self.began != "" and self.began == started(self.pid)

    def __str__(self) -> str:
        if not self.token:
            return f"somebody whose lease {self.key} can't be read"
        ours = self.is_here and self.pid == os.getpid()
        who = "this process" if ours else f"process {self.pid} on {self.host}"
        part = "" if self.part == "whole" else f" ({self.part.replace('-', ' ')})"
        return f"{who}{part} since {self.since}"


def this_process(part: str, number: int) -> Holder:
    """Ourselves, as a holder from now on."""
    return Holder(
        part=part,
        number=number,
        host=socket.gethostname(),
        place=this_place(),
        pid=os.getpid(),
        began=started(os.getpid()),
        since=datetime.now(UTC).isoformat(timespec="seconds"),
        token=uuid.uuid4().hex,
        at=time.monotonic(),
    )


def to_json(holder: Holder) -> bytes:
    """What lies in the object of a lease, and in that of its beat."""
    return json.dumps(asdict(holder), indent=1).encode()


def holders(work: Location) -> list[Holder]:
    """Who holds parts of the target of a workshop, dead or alive."""
    found = [holder_at(work, key) for key in sorted(work.keys(LEASES)) if key.endswith(".json")]
    return [holder for holder in found if holder is not None]


def holder_at(work: Location, key: str) -> Holder | None:
    """The holder whose lease is `key`, with its last beat; None where there is no lease, or no longer."""
    named = _KEY.fullmatch(key)
    lease = work.read(key) if named else None
    if named is None or lease is None:
        return None
    holder = _parsed(lease, Holder(named["part"], int(named["number"])))
    beat = work.read(holder.beat_key)
    return holder if beat is None else _parsed(beat, holder)


def _parsed(data: bytes, known: Holder) -> Holder:
    """What `data` says; where it is not to be understood only what is `known`."""
    try:
        said = json.loads(data)
        own = {name: type(value)(said[name]) for name, value in asdict(known).items()}
    except (ValueError, TypeError, KeyError):
        return known
    return Holder(**(own | {"part": known.part, "number": known.number}))


def conflict(one: str, other: str) -> bool:
    """Whether two parts of a target can't be held at a time.

    Slices go on while another one begins, one at a time, and while somebody tries to close the set: who closes looks
    whether all of them are there.

    Examples
    --------
    >>> conflict("slice-1-of-8", "slice-2-of-8"), conflict("slice-1-of-8", "slice-1-of-4")
    (False, True)
    >>> conflict("whole", "close"), conflict("slice-1-of-8", "close"), conflict("begin", "begin")
    (True, False, True)
    """
    if one == other or "whole" in {one, other}:
        return True
    slices = not {"begin", "close"} & {one, other}
    return slices and one.rpartition("-")[2] != other.rpartition("-")[2]


def check_part(part: str) -> str:
    """`part`, where it names one.

    Raises
    ------
    ValueError
        If it names none.
    """
    found = _PART.fullmatch(part)
    if found is None or (found["count"] and int(found["index"]) >= int(found["count"])):
        raise ValueError(f'part must be "whole", "begin", "close", or "slice-<i>-of-<n>" with i below n, got {part!r}')
    return part


def is_dead(
    work: Location, holder: Holder, pace: Pace, say: Callable[[str], None] | None, look: Callable[[], None]
) -> bool:
    """Whether a holder is dead or has let go. Waits only as long as that can't be told: at most ``pace.dead``."""
    if holder.is_here and is_gone(holder.pid, holder.began):
        return True
    if pace.patient and holder.is_seen:
        return False
    now = time.monotonic()
    first = holder_at(work, holder.key)
    heard = first.at if first is not None and first.is_here else now
    told = False
    while True:
        # The clock before the beat: if we sleep in between, the beat is newer than we think, never older.
        now = time.monotonic()
        current = holder_at(work, holder.key)
        if first is None or current is None or current.token != holder.token:
            return True
        silent = now - heard
        if current.beat != first.beat or (holder.is_here and silent < pace.look):
            return False
        if silent >= pace.dead:
            return True
        if silent >= pace.look and not told and say is not None:
            say(f"{holder} gives no sign of life: taken over in {pace.dead - silent:.0f} s, unless it does")
            told = True
        look()
        time.sleep(pace.poll)
