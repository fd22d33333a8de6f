"""An ingest as asked for, and what is known of it while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from patchmill.ingesting.agreeing import Agreement
from patchmill.ingesting.limits import Limits
from patchmill.ingesting.pairing import Candidate
from patchmill.ingesting.problems import OnError
from patchmill.ingesting.publishing import IngestMode
from patchmill.ingesting.scenes import Reading
from patchmill.ingesting.standing import Standing
from patchmill.storage import Location
from patchmill.types import Watch


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Order:
    """An ingest as asked for, every argument checked.

    Parameters
    ----------
    images : Any
        As the user gave it.
    target : Location
    patterns : mapping
        Further variables.
    channels : tuple of str, optional
    on_error : {"raise", "skip"}
    max_errors : int, optional
    mode : {"create", "overwrite", "append"}
    readings : mapping
        How the files of each variable are read.
    limits : Limits
    workers : int
    progress : callable, optional
    arguments : dict
        As plain JSON, those that decide what an image is: an append must have the same.
    """

    images: Any
    target: Location
    patterns: Mapping[str, str]
    channels: tuple[str, ...] | None
    on_error: OnError
    max_errors: int | None
    mode: IngestMode
    readings: Mapping[str, Reading]
    limits: Limits
    workers: int
    progress: Watch | None
    arguments: Mapping[str, Any]


@dataclass(slots=True, eq=False)
class Work:
    """What is known so far.

    Parameters
    ----------
    standing : Standing, optional
        The store that images are appended to.
    candidates : list of Candidate
    places : list of (int, int)
        Of each candidate, its file's place in the list, and its own in the file.
    refused : dict
        Place to what is not taken and why, as found before decoding.
    failed : dict
        Number of each candidate that could not be decoded, to the reason.
    """

    standing: Standing | None = None
    candidates: list[Candidate] = field(default_factory=list)
    places: list[tuple[int, int]] = field(default_factory=list)
    refused: dict[tuple[int, int], tuple[str, str]] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)

    @property
    def before(self) -> list[Candidate]:
        """Images that the store holds already."""
        return self.standing.candidates if self.standing is not None else []

    def problems(self, agreement: Agreement) -> dict[tuple[int, int], tuple[str, str]]:
        """Everything that is not taken."""
        reasons = {**agreement.reasons, **self.failed}
        return self.refused | {self.places[n]: (self.candidates[n].shown, reason) for n, reason in reasons.items()}

    def skipped(self, agreement: Agreement) -> list[tuple[str, str]]:
        """The same in the order of the files."""
        problems = self.problems(agreement)
        return [problems[place] for place in sorted(problems)]
