"""What of a generation is there already: which shards are done, and what a killed run left of others.

::

    objects of pixels --counted by shard--> all of them, and a record in the journal    done
                                            some of them                                 left: the others are written
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from patchmill.cutting.job import Job, Left, key_of
from patchmill.cutting.journal import fingerprint
from patchmill.cutting.workplace import Workplace
from patchmill.planning import Key, Shards
from patchmill.storage.checking import ObjectFormat

Flags: TypeAlias = NDArray[np.bool_]
Counts: TypeAlias = NDArray[np.uint16]
Forms: TypeAlias = Mapping[str, ObjectFormat]
"""How each array of pixels is stored, by its name, in the order of the variables."""

_MOST_LEFT = 1_000
"""Shards of which it is known what is left: far more than tasks are under way. Of more, all is written again."""


def take_back(shards: Shards, workplace: Workplace, forms: Forms, look: Callable[[], None]) -> None:
    """Remove objects of other images than the source has now, which no committed set counts, however many there were.

    Those of a shard that the committed set has begun stay: that is cut again as a whole.
    """
    if workplace.trusted is None:
        return
    together = shards.size[0]
    first = max(workplace.trusted // together, -(-workplace.old // together))
    for array, form in forms.items():
        place = workplace.building.child(array)
        for name in place.keys("c"):
            look()
            numbers = form.numbers_of(name)
            if numbers is not None and numbers[0] >= first:
                place.delete(name)
    workplace.trust_all()


def standing(
    job: Job, workplace: Workplace, forms: Forms, look: Callable[[], None]
) -> tuple[Flags, Mapping[Key, Left]]:
    """Which shards are done, by their numbers, and what is left of others that were begun.

    Parameters
    ----------
    job : Job
    workplace : Workplace
    forms : mapping
    look : callable
        Called now and then; raises where it is to stop.
    """
    shards, found = job.shards, np.zeros(len(job.shards), np.uint16)
    for _, _, key in _objects(job, workplace, forms, look):
        found[shards.number(key)] += 1
    known = job.journal.known(shards) if job.journaled else np.ones(len(found), bool)
    rows, together = len(found) // max(1, shards.counts[0]), shards.size[0]
    old, shared = job.old // together * rows, -(-job.old // together) * rows
    done, begun = judged(found, known, job.objects, old=old, shared=shared)
    left: dict[Key, set[tuple[int, str]]] = {}
    if 0 < np.count_nonzero(begun) <= _MOST_LEFT:
        for at, name, key in _objects(job, workplace, forms, look):
            if begun[shards.number(key)]:
                left.setdefault(key, set()).add((at, name))
    return done, _with_records(job, left)


def judged(found: Counts, known: Flags, objects: int, *, old: int, shared: int) -> tuple[Flags, Flags]:
    """Which shards are done, and which of the others begun.

    Parameters
    ----------
    found : ndarray of int, shape (shard,)
        Objects that are there.
    known : ndarray of bool, shape (shard,)
        Whether there is a record.
    objects : int
        Of a shard that is done.
    old : int
        So many shards are of old images alone, and done.
    shared : int
        So many are of old images, be it beside new ones: those are cut again, whatever is there.

    Examples
    --------
    >>> found, known = np.array([1, 2, 2, 1, 2, 0]), np.array([0, 0, 1, 1, 1, 1], bool)
    >>> [flags.nonzero()[0].tolist() for flags in judged(found, known, 2, old=1, shared=2)]
    [[0, 2, 4], [3]]
    """
    done: Flags = known & (found == objects)
    begun: Flags = known & (found > 0) & (found < objects)
    done[:old], begun[:old] = True, False
    done[old:shared], begun[old:shared] = False, False
    return done, begun


def _objects(job: Job, workplace: Workplace, forms: Forms, look: Callable[[], None]) -> Iterator[tuple[int, str, Key]]:
    """Objects of pixels that are there: number of the array, key inside it, shard."""
    axes = len(job.shards.size) - 1
    for at, ((array, form), planned) in enumerate(zip(forms.items(), job.planned, strict=True)):
        for name in workplace.building.child(array).keys("c"):
            look()
            index = form.index_of(name)  # None for what somebody else has put there
            if index is not None:
                yield at, name, key_of(index, planned, axes)


def _with_records(job: Job, left: Mapping[Key, set[tuple[int, str]]]) -> dict[Key, Left]:
    """The same with the record that each was written under."""
    if not left or not job.journaled:
        return {key: Left(frozenset(objects), None) for key, objects in left.items()}
    index = job.journal.index(job.shards)
    try:
        return {
            key: Left(frozenset(objects), fingerprint(key, record))
            for key, objects in left.items()
            if (record := index.read(key)) is not None
        }
    finally:
        index.close()
