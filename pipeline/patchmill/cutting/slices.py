"""Slices of a cut, for machines that share nothing but a disk: the i-th of n, in any order, on any machine."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from patchmill.types import as_int


@dataclass(frozen=True, slots=True)
class Slice:
    """The `index`-th of `count` parts of all shards, by their numbers; no memory or core has a say in it."""

    index: int
    count: int

    @classmethod
    def parse(cls, value: Any) -> Slice:
        """From a text such as ``"3/8"``, or a pair.

        Raises
        ------
        ValueError
            If it is neither, or the index is not below the count.

        Examples
        --------
        >>> Slice.parse("3/8")
        Slice(index=3, count=8)
        """
        found = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", value) if isinstance(value, str) else None
        numbers = value if found is None else map(int, found.groups())
        try:
            index, count = (as_int(number, "slice", least=0, unit="") for number in numbers)
        except (TypeError, ValueError):
            raise ValueError(f'slice must be written as "i/n", such as "0/8", got {value!r}') from None
        if not 0 <= index < count:
            raise ValueError(f'slice "i/n" must have 0 <= i < n, got {value!r}')
        return cls(index, count)

    def interval(self, shards: int) -> tuple[int, int]:
        """Numbers of its shards: half-open."""
        return shards * self.index // self.count, shards * (self.index + 1) // self.count

    def has(self, number: int, shards: int) -> bool:
        """Whether it has that shard."""
        low, high = self.interval(shards)
        return low <= number < high

    def __str__(self) -> str:
        return f"slice-{self.index}-of-{self.count}"


def slice_of(number: int, shards: int, count: int) -> int:
    """The slice that has a shard.

    Examples
    --------
    >>> [slice_of(number, 5, 2) for number in range(5)]
    [0, 0, 1, 1, 1]
    """
    return ((number + 1) * count - 1) // shards


def missing(numbers: Iterable[int], shards: int, count: int) -> str:
    """A sentence on shards that are not there; empty where all are.

    Parameters
    ----------
    numbers : iterable of int
        Those that are missing.
    shards : int
        In all.
    count : int
        Slices of the cut.

    Examples
    --------
    >>> missing([0, 3, 4], 5, 2)
    '3 shards of 2 slices are missing: slice 0, 1 of 2'
    """
    absent = [slice_of(number, shards, count) for number in numbers]
    if not absent:
        return ""
    slices = sorted(set(absent))
    listed = ", ".join(map(str, slices[:_LISTED])) + (", ..." if len(slices) > _LISTED else "")
    one = "shard" if len(absent) == 1 else "shards"
    parts = "slice" if len(slices) == 1 else "slices"
    verb = "is" if len(absent) == 1 else "are"
    return f"{len(absent):,} {one} of {len(slices):,} {parts} {verb} missing: slice {listed} of {count}"


_LISTED = 20
