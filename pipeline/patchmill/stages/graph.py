"""Which stage waits for which, as plain names: what lies before and behind, and how many can run at a time.

::

    ingest ---> patchify ---> explore        needs = {"ingest": {}, "masks": {}, "patchify": {"ingest", "masks"},
    masks  ------^                                    "explore": {"patchify"}}        width(needs) == 2
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TypeAlias

Needs: TypeAlias = Mapping[str, frozenset[str]]
"""Of each stage, those that must be done before it; without circles."""


def before(needs: Needs, names: Collection[str]) -> frozenset[str]:
    """`names`, and all that they need, directly or not.

    Examples
    --------
    >>> sorted(before({"a": frozenset(), "b": frozenset("a"), "c": frozenset("b")}, ["b"]))
    ['a', 'b']
    """
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(needs.get(name, ()))
    return frozenset(found)


def behind(needs: Needs, names: Collection[str]) -> frozenset[str]:
    """`names`, and all that need them, directly or not.

    Examples
    --------
    >>> sorted(behind({"a": frozenset(), "b": frozenset("a"), "c": frozenset("b")}, ["b"]))
    ['b', 'c']
    """
    return frozenset(name for name in needs if before(needs, [name]) & set(names)) | frozenset(names)


def among(needs: Needs, chosen: Collection[str]) -> dict[str, frozenset[str]]:
    """What each of the `chosen` needs of the others, also where only stages that were left out lie between them.

    Examples
    --------
    >>> among({"a": frozenset(), "b": frozenset("a"), "c": frozenset("b")}, ["a", "c"])["c"]
    frozenset({'a'})
    """
    chosen = frozenset(chosen)

    def nearest(name: str) -> frozenset[str]:
        return frozenset().union(*({each} if each in chosen else nearest(each) for each in needs[name]))

    return {name: nearest(name) for name in needs if name in chosen}


def width(needs: Needs) -> int:
    """How many stages can run at one time at most: the largest set of which none waits for another.

    As many as there are stages, less the largest number of pairs (stage, one before it) in which each stage stands at
    most once on either side: Dilworth's theorem by way of König's.

    Examples
    --------
    >>> width({"a": frozenset(), "b": frozenset("a"), "c": frozenset("a"), "d": frozenset("bc")})
    2
    """
    earlier = {name: before(needs, [name]) - {name} for name in needs}
    partner: dict[str, str] = {}

    def paired(name: str, seen: set[str]) -> bool:
        for other in sorted(earlier[name]):
            if other in seen:
                continue
            seen.add(other)
            if other not in partner or paired(partner[other], seen):
                partner[other] = name
                return True
        return False

    return len(needs) - sum(paired(name, set()) for name in needs)
