"""The report of a check as HTML."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from patchmill.show.drawing import card_html, table_html

if TYPE_CHECKING:
    from patchmill.cutting.reports import Report

_SHOWN = 50


def report_html(report: Report) -> str:
    """The figures of a check, and the first of what it found; reads no pixel."""
    found = [
        *((each.object, each.problem) for each in (*report.damaged, *report.missing)),
        *((each.object, f"repaired: {each.problem}") for each in report.repaired),
        *((key, "foreign") for key in report.foreign),
    ]
    more = len(found) - _SHOWN
    rest = f"<p>{escape(f'and {more:,} more')}</p>" if more > 0 else ""
    listed = f"<details open><summary>found</summary>{table_html(found[:_SHOWN])}{rest}</details>" if found else ""
    return card_html("Report", report.rows(), "") + listed
