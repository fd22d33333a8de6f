"""From a request to a complete set: the lease, the shards, the commit; and what becomes of it if somebody says stop."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from patchmill.cutting.building import Generation, commit, cut, prepare
from patchmill.cutting.clusters import crew_for
from patchmill.cutting.disk import refuse_full_disk
from patchmill.cutting.holders import holders
from patchmill.cutting.lease import Lease, take, warn
from patchmill.cutting.looking import is_begun, is_tidy, look
from patchmill.cutting.request import Request
from patchmill.cutting.running import Clock, left_behind
from patchmill.cutting.slices import Slice, missing
from patchmill.cutting.stopping import Stop, stoppable
from patchmill.cutting.workplace import Workplace, begin
from patchmill.errors import HeldError, Interrupted, LeaseLostError, PatchmillError
from patchmill.storage import Location
from patchmill.types import Mode, Watch, counted

Say: TypeAlias = Callable[[str], None]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Order:
    """What one call of `write_patches` is to do.

    Parameters
    ----------
    request : Request
    target : Location
    mode : str
    part : Slice or None
        Which slice of it; None for all.
    cluster : mapping or None
        A Dask deployment to start.
    watch : callable or None
        Told how far it is.
    say : callable or None
        Told what is no result: how long a wait takes, which slices are missing.
    """

    request: Request
    target: Location
    mode: Mode
    part: Slice | None
    cluster: Any
    watch: Watch | None
    say: Say | None

    def begin(self) -> Workplace | None:
        """Where to build; None where the set is complete already."""
        slices = None if self.part is None else self.part.count
        return self._unless_closed(
            lambda: begin(self.target, self.request.to_dict(), self.request.to_dict, self.mode, slices)
        )

    def prepare(self, workplace: Workplace, look: Callable[[], None]) -> Generation | None:
        """What is to be built; None where another slice has completed the set meanwhile."""
        return self._unless_closed(lambda: prepare(self.request, workplace, look))

    def is_closed(self) -> bool:
        """Whether somebody has completed the set, and may be removing what said which shards are there."""
        return look(self.target).stored == self.request.to_dict()

    def _unless_closed(self, find: Callable[[], T | None]) -> T | None:
        """What `find` finds, None where another slice completes the set and so removes what there is to find."""
        try:
            found = find()
        except (OSError, PatchmillError):
            if self.part is None or not self.is_closed():
                raise
            return None
        return None if self.part is not None and self.is_closed() else found


def carry_out(order: Order) -> bool:
    """Take the lease, cut, commit; whether the set is complete."""
    with stoppable() as stop:
        complete = _carried_out(order, stop)
    if stop.requested:  # too late to change anything, but whoever asked shall not be passed over
        raise Interrupted(f"interrupted when {'the set was complete' if complete else 'all was done'}", stop.signal)
    return complete


def _carried_out(order: Order, stop: Stop) -> bool:
    with _no_empty_folders(order.target), _way_on(order.target), ExitStack() as stack:
        lease = stack.enter_context(_taken(order, "whole" if order.part is None else str(order.part), stop))
        _await_left(order.target, stop)
        with _turn(order, stop):
            workplace = order.begin()
        if workplace is None:
            return True
        with _in_vain(workplace) if order.part is None else nullcontext():
            generation = order.prepare(workplace, _look(stop, lease, "before the first shard"))
            if generation is None:
                return True
            for sentence in order.request.unmarked():
                (order.say or _keep_quiet)(sentence)
            refuse_full_disk(order.request, generation.done, order.target)
            generation.job.halt.confirm = lease.claim
            crew = crew_for(generation.job, order.request.plan, order.cluster, stack)
        with _in_vain(workplace, generation) if order.part is None else nullcontext():
            tally = cut(generation, crew, order.part, order.watch, lambda: _pause(stop, lease))
        if tally.stopped:
            raise Interrupted(_how_far(f"after {tally.shards_done:,} of {tally.shards:,} shards"), stop.signal)
        if order.part is None:
            _complete(generation, stop, lease)
            return True
        stack.close()
        return _close(order, workplace, order.part, stop)


def tidy_up(request: Request, target: Location) -> None:
    """Remove what a writer left that was killed when the set was complete; a set that can be read needs no more."""
    if not is_tidy(target, request.to_dict()):
        with suppress(PatchmillError), take(target.workshop):
            begin(target, request.to_dict(), request.to_dict, "resume")


def _complete(generation: Generation, stop: Stop, lease: Lease) -> None:
    """All shards are there: commit."""
    lease.check()
    commit(generation, _look(stop, lease, "after the last shard, before the catalog was whole"))
    lease.check()
    generation.workplace.finish()


def _close(order: Order, workplace: Workplace, part: Slice, stop: Stop) -> bool:
    """Complete a set whose slices are all there, unless somebody else does; whether it is complete.

    Whoever wrote the last shard sees all of them, so that one closes, or two try and one gets the lease.
    """
    say = order.say or _keep_quiet
    generation = order.prepare(workplace, _look(stop, None, "before the set was complete"))
    if generation is None:
        return True
    shards = generation.job.shards
    absent = missing(map(shards.number, generation.todo()), len(shards), part.count)
    if absent:
        say(absent)
        return False
    try:
        with _taken(order, "close", stop) as lease:
            again = order.begin()
            if again is not None:
                _complete(prepare(order.request, again, _look(stop, lease, "before the set was complete")), stop, lease)
    except LeaseLostError:
        raise
    except HeldError as error:
        say(f"all slices are there, and another one completes the set: {error}")
        return order.is_closed()
    return True


# -- leases, and whoever asks to stop ----------------------------------------------------------------------------------


def _taken(order: Order, part: str, stop: Stop) -> Lease:
    """The lease; waiting for it ends where somebody asks to."""

    def look() -> None:
        if stop.requested:
            raise Interrupted("interrupted while waiting for another writer: call again", stop.signal)

    return take(order.target.workshop, part, say=order.say or warn, look=look)


@contextmanager
def _turn(order: Order, stop: Stop) -> Iterator[None]:
    """Inside, no other slice begins the cut: the first one clears the place and remembers what is cut in it."""
    if order.part is None or is_begun(order.target, order.request.to_dict(), order.part.count):
        yield
        return
    while True:
        try:
            turn = _taken(order, "begin", stop)
            break
        except HeldError:
            time.sleep(_TURN_SECONDS)
    with turn:
        yield


_TURN_SECONDS = 0.05


def _await_left(target: Location, stop: Stop) -> None:
    """Wait for tasks of an earlier run in this process that had not ended with it: what they write is of that run."""
    until = time.monotonic() + _LEFT_SECONDS
    while left := left_behind(target.workshop.url):
        if stop.requested:
            raise Interrupted("interrupted while tasks of an earlier call were ending: call again", stop.signal)
        if time.monotonic() > until:
            raise HeldError(
                f"{target.url} is still written by {counted(left, 'task')} of an earlier call in "
                "this process: call again later, or from another process once this one has ended"
            )
        time.sleep(_TURN_SECONDS)


_LEFT_SECONDS = 60.0


def _look(stop: Stop, lease: Lease | None, where: str) -> Callable[[], None]:
    """What to call between pieces of work that are no shards; raises where somebody asks to stop."""
    clock = Clock(lambda: _pause(stop, lease))

    def look() -> None:
        if clock.stops():
            raise Interrupted(_how_far(where), stop.signal)

    return look


def _pause(stop: Stop, lease: Lease | None) -> bool:
    if lease is not None:
        lease.check()
    return bool(stop.requested)


def _how_far(what: str) -> str:
    return f"interrupted {what}: call again to go on from here"


def _keep_quiet(_: str) -> None:
    """For what is no news to a program."""


@contextmanager
def _way_on(target: Location) -> Iterator[None]:
    """Who lost the lease to nobody may call again to go on, unless what that needs was removed with it."""
    try:
        yield
    except LeaseLostError as error:
        if holders(target.workshop) or look(target).what != "something else":
            raise
        raise LeaseLostError(
            f"{target.url} is no longer this call's to write, {target.workshop.url} was removed and with it what is "
            f"needed to go on: remove {target.url}, then call again"
        ) from error


# -- what was made in vain ---------------------------------------------------------------------------------------------


@contextmanager
def _in_vain(workplace: Workplace, generation: Generation | None = None) -> Iterator[None]:
    """Inside nothing counts yet: what fails here leaves nothing behind, most often since the request is wrong.

    While shards of a `generation` are cut that holds until the first one is done, and whoever interrupts keeps what
    was begun; so does whoever leaves a task behind, which may write its shard yet, and whoever adds to a set, whose
    last shards may be other ones by then.
    """
    try:
        yield
    except LeaseLostError:
        raise  # it is somebody else's
    except (Exception, Interrupted) as error:
        wrong = isinstance(error, Exception) and not workplace.old
        vain = generation is None or (wrong and not generation.done.any())
        if vain and not left_behind(workplace.work.url):
            workplace.forget()
        raise


@contextmanager
def _no_empty_folders(target: Location) -> Iterator[None]:
    """Folders around a target that were made in vain go again."""
    around = target.path.parents if target.is_local else []
    made = [folder for folder in around if not os.path.lexists(folder)]
    try:
        yield
    except BaseException:
        for folder in made:  # the innermost first
            with suppress(OSError):
                folder.rmdir()
        raise
