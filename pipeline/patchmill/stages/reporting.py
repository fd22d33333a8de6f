"""A run's record as pages for people: the executed notebooks as HTML, and the report."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from patchmill.stages.records import Run, StageRecord, write_whole

if TYPE_CHECKING:
    from patchmill.show.report import RunPage


def write_notebook_html(stage: StageRecord) -> None:
    """Write the executed notebook of a stage as HTML, if it came to one."""
    from patchmill.show.executed import notebook_html

    if not os.path.isfile(stage.executed):
        return
    try:
        write_whole(stage.html, notebook_html(stage.executed))
    except Exception as error:  # noqa: BLE001 - a notebook that can't be drawn did run; how it ended is not this one's to say
        with open(stage.log, "a", encoding="utf-8") as log:
            log.write(f"the executed notebook could not be turned into HTML: {type(error).__name__}: {error}\n")


def write_reports(record: Run) -> None:
    """Write the report into the record, and where the run's data is; that one is of the latest run."""
    from patchmill.show.report import report_html

    page = run_page(record)
    for path in {os.path.join(record.folder, "report.html"), record.report}:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        write_whole(path, report_html(page, os.path.dirname(path)))


def run_page(record: Run) -> RunPage:
    """What people are told about a run."""
    from patchmill.show.report import RunPage

    return RunPage(
        name=record.name,
        state=record.state,
        seconds=record.seconds,
        began=record.began,
        version=record.version,
        config=record.config,
        folder=record.folder,
        outputs=written(record),
        stages=[_page(stage) for stage in record.stages],
    )


def written(record: Run) -> dict[str, str]:
    """What stages that are done have written, now or in an earlier run: local path by stage and parameter."""
    return {
        f"{stage.name}.{parameter}": path
        for stage in record.stages
        if stage.state in {"done", "skipped"}
        for parameter, path in stage.outputs.items()
        if os.path.exists(path)
    }


def what_to_open(record: Run) -> list[str]:
    """Lines of Python that the stages recommend, the last stage's last."""
    found = [_excerpt(stage) for stage in record.stages]
    return list(dict.fromkeys(each.opens for each in found if each is not None and each.opens))


def _page(stage: StageRecord) -> Any:
    from patchmill.show.report import StagePage

    failure = stage.failure
    return StagePage(
        name=stage.name,
        state=stage.state,
        seconds=stage.seconds,
        error="" if failure is None else str(failure),
        where="" if failure is None else failure.where,
        parameters=stage.parameters,
        executed=_if_there(stage.executed),
        html=_if_there(stage.html),
        log=_if_there(stage.log),
        excerpt=_excerpt(stage),
    )


def _excerpt(stage: StageRecord) -> Any:
    from patchmill.show.executed import excerpt

    if not os.path.isfile(stage.executed):
        return None
    with open(stage.executed, encoding="utf-8") as file:
        return excerpt(json.load(file))


def _if_there(path: str) -> str:
    return path if os.path.isfile(path) else ""
