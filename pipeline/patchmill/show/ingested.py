"""The report of an ingest as HTML."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from patchmill.show.drawing import card_html, table_html

if TYPE_CHECKING:
    from patchmill.ingesting import IngestReport

_SHOWN = 50
_LONGEST = 300
"""Characters of a reason: what decoders say can be long."""


def report_html(report: IngestReport) -> str:
    """The figures of an ingest, and the first of what was skipped, each with its reason; reads no pixel."""
    return card_html("IngestReport", report.rows(), "") + _skipped(report)


def _skipped(report: IngestReport) -> str:
    if not report.skipped:
        return ""
    rows = [(_cut(name), _cut(reason)) for name, reason in report.skipped[:_SHOWN]]
    more = len(report.skipped) - len(rows)
    rest = f"<p>{escape(f'and {more:,} more')}</p>" if more > 0 else ""
    return f"<details open><summary>skipped</summary>{table_html(rows)}{rest}</details>"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
