"""What a check of a store found, as data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from patchmill.types import counted, shown_bytes


@dataclass(frozen=True, slots=True)
class Finding:
    """One object that is not as it was written.

    Parameters
    ----------
    array : str
        Which array; empty for the root.
    object : str
        Key of the object in the store, such as ``"patches/c/0/0/1/2/0/0"``.
    index : tuple of int or None
        Which object of the array, one number an axis; None for metadata.
    problem : str
        What is wrong, in a sentence.
    where : mapping
        What it concerns: half-open intervals by dimension, such as ``{"image": (3, 4), "grid_y": (0, 8)}``.
    kind : {"damaged", "missing", "extra", "differs"}
        "extra" is an object of an array where nothing may be; "differs" is one that is whole, but not what the catalog
        says of it.
    """

    array: str
    object: str
    index: tuple[int, ...] | None
    problem: str
    where: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    kind: str = "damaged"

    def __str__(self) -> str:
        sides = ", ".join(f"{dim} {_interval(*side)}" for dim, side in self.where.items())
        return f"{self.object}: {self.problem}" + (f" ({sides})" if sides else "")


def _interval(start: int, stop: int) -> str:
    return str(start) if stop - start == 1 else f"{start} to {stop - 1}"


@dataclass(frozen=True, slots=True)
class Report:
    """What `verify` found.

    Parameters
    ----------
    url : str
        Where the store is.
    kind : {"patches", "source"}
    damaged : tuple of Finding
        Objects whose bytes are not those that were written.
    missing : tuple of Finding
        Objects that must be there and are not.
    foreign : tuple of str
        Keys of objects that belong to no array: never touched, and no damage.
    repaired : tuple of Finding
        What was damaged or missing, and is as it was written again.
    objects : int
        Objects that were looked at.
    nbytes : int
        Their stored bytes.
    seconds : float
    deep : bool
        Whether pixels were compared with the catalog too.
    notes : tuple of str
        What could not be told, and why.
    """

    url: str
    kind: str
    damaged: tuple[Finding, ...]
    missing: tuple[Finding, ...]
    foreign: tuple[str, ...]
    repaired: tuple[Finding, ...]
    objects: int
    nbytes: int
    seconds: float
    deep: bool
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every byte is as it was written."""
        return not self.damaged and not self.missing

    def counted(self) -> dict[str, tuple[Any, ...]]:
        """What was found, by what it is; what there is none of is left out."""
        found = {name: getattr(self, name) for name in ("damaged", "missing", "repaired", "foreign")}
        return {name: each for name, each in found.items() if each}

    def rows(self) -> list[tuple[str, str]]:
        """The figures, a label and a text each."""
        pace = f" in {self.seconds:.1f} s, {shown_bytes(self.nbytes / max(self.seconds, 1e-9))}/s"
        checks = "checksums, and pixels against the catalog" if self.deep else "checksums"
        return [
            ("result", "as it was written" if self.ok else "damaged"),
            ("objects", f"{self.objects:,}, {shown_bytes(self.nbytes)}{pace}"),
            ("checked", checks),
            *((name, f"{len(found):,}") for name, found in self.counted().items()),
            *(("note", note) for note in self.notes),
            ("place", self.url),
        ]

    def lines(self) -> list[str]:
        """All of it as text, a line a finding."""
        rows = self.rows()
        width = max(len(label) for label, _ in rows)
        return [
            *(f"{label:<{width}}  {text}" for label, text in rows),
            *(f"{name}: {each}" for name, found in self.counted().items() for each in found),
        ]

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return {"ok": self.ok, **asdict(self)}

    def to_json(self) -> str:
        """The same as text."""
        return json.dumps(self.to_dict(), indent=2)

    def __repr__(self) -> str:
        found = "".join(f", {len(each):,} {name}" for name, each in self.counted().items())
        state = "ok" if self.ok else "not ok"
        return f"Report({state}: {counted(self.objects, 'object')}, {shown_bytes(self.nbytes)}{found}: {self.url})"

    def _repr_html_(self) -> str:
        from patchmill.show.verified import report_html

        return report_html(self)
