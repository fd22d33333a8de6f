"""A run, and the parameters of a stage, as tables of a notebook: HTML where it is drawn, text where it is not."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from urllib.parse import quote

from patchmill.show.progress import shown_moment, shown_seconds, shown_state, shown_why
from patchmill.show.report import RunPage, StagePage

_LEFT = 'style="text-align:left"'
_HEADS = ("stage", "state", "time", "why", "executed notebook")


@dataclass(frozen=True, slots=True)
class RunTable:
    """How a run goes or went: a row for each stage, then what failed where, and what to do next."""

    page: RunPage
    place: str
    """Folder that links are relative to: that of the notebook in which this is drawn."""
    trouble: str = ""
    """A sentence, where the record says that the run is running and it is not."""
    remarks: Sequence[str] = ()
    """Sentences about what else the record can't know."""

    def __repr__(self) -> str:
        rows = [[*self._cells(stage), self._path(stage.executed)] for stage in self.page.stages]
        return "\n".join([self._title(), *_text_table(_HEADS, rows), *self._ends()])

    def _repr_html_(self) -> str:
        rows = [[*map(escape, self._cells(stage)), self._link(stage.executed)] for stage in self.page.stages]
        ends = "".join(f"<div>{escape(line)}</div>" for line in self._ends())
        report = self._link(os.path.join(self.page.folder, "report.html"))
        return (
            f"<div><strong>{escape(self._title())}</strong>{_html_table(_HEADS, rows)}{ends}<div>{report}</div></div>"
        )

    def _title(self) -> str:
        began, took = shown_moment(self.page.began), shown_seconds(self.page.seconds)
        return f"{self.page.name}: {shown_state(self.page.state, self.trouble)}, begun {began}, {took}"

    def _cells(self, stage: StagePage) -> list[str]:
        took = "" if stage.seconds is None else shown_seconds(stage.seconds)
        return [stage.name, shown_state(stage.state, self.trouble), took, shown_why(stage.state, stage.why)]

    def _ends(self) -> list[str]:
        """What ended badly, and how to go on from there."""
        failed = [stage for stage in self.page.stages if stage.error]
        left = [stage for stage in self.page.stages if self.trouble and stage.state == "running"]
        lines = [f"{stage.name} {stage.state} in {stage.where}: {stage.error}" for stage in failed]
        lines += [line for sentence in (self.trouble, *self.remarks) for line in sentence.splitlines()]
        again = [
            f"to go on from there: %patchmill load {stage.name} --run {shlex.quote(self.page.folder)}"
            for stage in [*failed, *left]
        ]
        return [*lines, *again]

    def _path(self, path: str) -> str:
        return min(os.path.relpath(path, self.place), path, key=len) if path else ""

    def _link(self, path: str) -> str:
        # Relative: Jupyter opens what lies below its root, and nothing by an absolute path.
        if not path or not os.path.isfile(path):
            return ""
        return f'<a href="{quote(os.path.relpath(path, self.place))}">{escape(self._path(path))}</a>'


@dataclass(frozen=True, slots=True)
class ValueTable:
    """Values by name, each with where it came from."""

    title: str
    rows: Sequence[tuple[str, str, str]]
    """Name, value, origin."""
    note: str = ""
    """A sentence below."""

    def __repr__(self) -> str:
        table = _text_table(("parameter", "value", "from"), self.rows)
        return "\n".join([self.title, *table, *([self.note] if self.note else [])])

    def _repr_html_(self) -> str:
        rows = [[escape(name), f"<code>{escape(value)}</code>", escape(origin)] for name, value, origin in self.rows]
        table = _html_table(("parameter", "value", "from"), rows)
        return f"<div><strong>{escape(self.title)}</strong>{table}<div>{escape(self.note)}</div></div>"


def _text_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    return ["  ".join(cell.ljust(n) for cell, n in zip(row, widths, strict=True)).rstrip() for row in (heads, *rows)]


def _html_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; its cells are markup."""
    head = "".join(f"<th {_LEFT}>{escape(cell)}</th>" for cell in heads)
    body = "".join(f"<tr>{''.join(f'<td {_LEFT}>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
