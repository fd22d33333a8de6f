"""What an ingest did, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from patchmill.types import shown_bytes, shown_extent


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What an ingest wrote and what it left out.

    Parameters
    ----------
    target : str
        Where the store is.
    variables : tuple of str
        Arrays of pixels; "image" is the first.
    names : tuple of str
        Of the images, in their order in the store.
    sizes : tuple of (int, int)
        Height and width of each image in pixels.
    dtype : numpy.dtype
        Of the images.
    channels : int or None
        Of the images; None where the store has no such axis.
    labels : tuple of str or None
        Names of the channels.
    nbytes : int
        Bytes of all pixels of all variables, raw.
    skipped : tuple of (str, str)
        Files, or images in files, that were not taken, each with its reason.
    ignored : int
        Files in folders that are not called like images, or hidden.
    notes : tuple of str
        What differs between the images, and where the store keeps it.
    added : int or None
        With mode="append", how many of the images are new: the last ones.
    changed : tuple of (str, str)
        Files that are no longer what they were when they were ingested, and how they differ; the store keeps what it
        has.
    vanished : tuple of str
        Files that are no longer there; the store keeps what it has.
    """

    target: str
    variables: tuple[str, ...]
    names: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    dtype: np.dtype[Any]
    channels: int | None
    labels: tuple[str, ...] | None
    nbytes: int
    skipped: tuple[tuple[str, str], ...] = ()
    ignored: int = 0
    notes: tuple[str, ...] = ()
    added: int | None = None
    changed: tuple[tuple[str, str], ...] = ()
    vanished: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Number of images."""
        return len(self.names)

    def rows(self) -> list[tuple[str, str]]:
        """The figures, a label and a text each."""
        skipped = [("skipped", f"{len(self.skipped):,}")] if self.skipped else []
        ignored = [("ignored", self._ignored_shown())] if self.ignored else []
        added = [] if self.added is None else [("new", self._added_shown())]
        return [
            ("images", f"{len(self):,}, {self.extent}"),
            *added,
            ("pixels", f"{self.dtype}, {self._channels_shown()}"),
            ("variables", ", ".join(self.variables)),
            ("size", f"{shown_bytes(self.nbytes)} raw"),
            ("place", self.target),
            *(("note", note) for note in self.notes),
            *ignored,
            *skipped,
            *self._differing(),
        ]

    def warnings(self) -> tuple[str, ...]:
        """What became of files since they were ingested, a sentence each; empty where all are as they were."""
        changed = [f"{path} changed since it was ingested: it {reason}" for path, reason in self.changed]
        return (*changed, *(f"{path} was ingested and is no longer there" for path in self.vanished))

    def _added_shown(self) -> str:
        return f"{self.added:,} of them" if self.added else "none, nothing was changed"

    def _ignored_shown(self) -> str:
        if self.ignored == 1:
            return "1 file that is not called like an image"
        return f"{self.ignored:,} files that are not called like images"

    def _differing(self) -> list[tuple[str, str]]:
        kept = 'the store keeps what was ingested, mode="overwrite" makes it anew'
        return [(what, f"{count:,}: {kept}") for what, count in self._counts() if count]

    def _counts(self) -> list[tuple[str, int]]:
        return [("changed", len(self.changed)), ("vanished", len(self.vanished))]

    @property
    def extent(self) -> str:
        """Sizes for people: ``"height 300 to 1411, width 451 to 1411 pixels"``."""
        return shown_extent(self.sizes)

    def _channels_shown(self) -> str:
        if self.channels is None:
            return "no channels"
        names = f" ({', '.join(self.labels)})" if self.labels and len(self.labels) <= 8 else ""
        return f"{self.channels} channel{'s' if self.channels > 1 else ''}{names}"

    def __repr__(self) -> str:
        left_out = f", {len(self.skipped):,} skipped" if self.skipped else ""
        left_out += "".join(f", {count:,} {what}" for what, count in self._counts() if count)
        added = "" if self.added is None else f" ({self.added:,} new)" if self.added else " (nothing new)"
        images = f"{len(self):,} image{'s' * (len(self) != 1)}"
        noted = "".join(f"; {note}" for note in self.notes)
        return (
            f"IngestReport({images}{added} of {self.extent}, {self.dtype}, {self._channels_shown()}, "
            f"{shown_bytes(self.nbytes)}{left_out}{noted}: {self.target})"
        )

    def _repr_html_(self) -> str:
        from patchmill.show.ingested import report_html

        return report_html(self)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        from patchmill.show.ingested import report_figures

        return report_figures(self)
