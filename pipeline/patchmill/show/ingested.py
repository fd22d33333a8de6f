"""The report of an ingest as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from patchmill.show.drawing import card_html, table_html
from patchmill.show.handed import figures_of

if TYPE_CHECKING:
    from patchmill.ingesting import IngestReport

_SHOWN = 50
_LONGEST = 300
"""Characters of a reason: what decoders say can be long."""


def report_html(report: IngestReport) -> str:
    """The figures of an ingest, and the first of what was skipped or is gone, each with its reason; reads no pixel."""
    gone = [(path, "is no longer there") for path in report.vanished]
    listed = {"skipped": report.skipped, "changed since they were ingested": (*report.changed, *gone)}
    return card_html("IngestReport", report.rows(), "") + "".join(
        _listed(what, files) for what, files in listed.items()
    )


def report_figures(report: IngestReport) -> dict[str, Any]:
    """What the report of an ingest hands to whoever runs the notebook that shows it."""
    return figures_of(
        "ingest",
        {
            "images": len(report),
            "added": report.added,
            "skipped": len(report.skipped),
            "ignored": report.ignored,
            "changed": len(report.changed),
            "vanished": len(report.vanished),
            "variables": report.variables,
            "dtype": report.dtype,
            "bytes": report.nbytes,
        },
    )


def _listed(what: str, files: Sequence[tuple[str, str]]) -> str:
    if not files:
        return ""
    rows = [(_cut(name), _cut(reason)) for name, reason in files[:_SHOWN]]
    more = len(files) - len(rows)
    rest = f"<p>{escape(f'and {more:,} more')}</p>" if more > 0 else ""
    return f"<details open><summary>{escape(what)}</summary>{table_html(rows)}{rest}</details>"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
