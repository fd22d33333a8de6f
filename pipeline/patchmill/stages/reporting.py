"""A run's record as pages for people: the executed notebooks as HTML, and the report."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from patchmill.stages.finding import condition
from patchmill.stages.manifest import read_manifest
from patchmill.stages.records import Run, StageRecord, write_whole
from patchmill.stages.telling import Notebook, read_notebook

if TYPE_CHECKING:
    from patchmill.show.report import Placed, RunPage, StagePage
    from patchmill.show.runs import RunTable

_FILES = {"manifest": "manifest.json", "status": "status.json", "config as it was run": "config.yaml"}

_RAN = {"done", "skipped"}


def write_notebook_html(stage: StageRecord) -> None:
    """Write the executed notebook of a stage as HTML, if it came to one."""
    from patchmill.show.pages import notebook_html

    if not os.path.isfile(stage.executed):
        return
    try:
        write_whole(stage.html, notebook_html(stage.executed))
    except Exception as error:  # noqa: BLE001 - a notebook that can't be drawn did run; how it ended is not this one's to say
        with suppress(OSError), open(stage.log, "a", encoding="utf-8") as log:  # the disk may be full
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

    manifest = read_manifest(record.folder)
    told = {str(stage.get("name")): stage for stage in manifest.get("stages", [])}
    files = {what: os.path.join(record.folder, name) for what, name in _FILES.items()}
    return RunPage(
        name=record.name,
        state=record.state,
        seconds=record.seconds,
        began=record.began,
        version=record.version,
        config=record.config,
        folder=record.folder,
        outputs=written(record),
        stages=[_page(stage, told.get(stage.name, {})) for stage in record.stages],
        provenance=_provenance(record, manifest),
        files={what: path for what, path in files.items() if os.path.isfile(path)},
    )


def run_table(record: Run) -> RunTable:
    """What a notebook in the current folder shows of a run."""
    from patchmill.show.runs import RunTable

    known = condition(record)
    return RunTable(run_page(record), os.getcwd(), known.trouble, known.remarks)


def written(record: Run) -> dict[str, str]:
    """What the stages have written, in this run or in the one whose result they still have: path by stage.parameter."""
    return {
        f"{stage.name}.{parameter}": path
        for stage in record.stages
        if stage.state in _RAN
        for parameter, path in stage.outputs.items()
        if os.path.exists(path)
    }


def what_to_open(record: Run) -> list[str]:
    """Lines of Python that the stages recommend, the last stage's last."""
    found = [_excerpt(stage) for stage in record.stages]
    return list(dict.fromkeys(each.opens for each in found if each is not None and each.opens))


def _page(stage: StageRecord, told: Mapping[str, Any]) -> StagePage:
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
        needs=stage.needs,
        why=stage.why,
        cell=None if failure is None else _failed_cell(stage),
        began=stage.began,
        attempt=stage.attempt,
        cpu_seconds=stage.cpu_seconds,
        peak_bytes=stage.peak_bytes,
        memory=stage.memory,
        limit=stage.limit,
        inputs=[_placed("", path, each) for path, each in told.get("inputs", {}).items()],
        outputs=[_placed(name, path, told.get("outputs", {}).get(name, {})) for name, path in stage.outputs.items()],
    )


def _placed(name: str, path: str, told: Mapping[str, Any]) -> Placed:
    from patchmill.show.report import Placed

    return Placed(name, path, told.get("bytes"), told.get("sha256") or "")


def _provenance(record: Run, manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """With what a run was made, a label and a text each."""
    from patchmill.types import shown_bytes

    git, machine = manifest.get("git"), manifest.get("machine") or {}
    versions = manifest.get("versions") or {"patchmill": record.version}
    rows = [
        ("config", record.config),
        ("root", record.root),
        ("record", record.folder),
        ("packages", ", ".join(f"{name} {version}" for name, version in versions.items() if version)),
    ]
    if git:
        rows.append(("git commit", f"{git['commit']}{', with changes' * bool(git.get('dirty'))}"))
    if machine:
        memory = f", {shown_bytes(machine['memory_bytes'])} of memory" if machine.get("memory_bytes") else ""
        rows.append(("machine", f"{machine.get('host')}, {machine.get('system')}, {machine.get('cpus')} CPUs{memory}"))
    if manifest.get("jobs"):
        rows.append(("stages at a time", f"up to {manifest['jobs']}"))
    return rows


def _excerpt(stage: StageRecord) -> Any:
    from patchmill.show.executed import excerpt

    return _read_by(excerpt, stage)


def _failed_cell(stage: StageRecord) -> Any:
    from patchmill.show.executed import failed_cell

    return _read_by(failed_cell, stage)


def _read_by(reader: Callable[[Notebook], Any], stage: StageRecord) -> Any:
    notebook = read_notebook(stage.executed)
    # Whatever lies there: a report without pictures is better than none.
    with suppress(LookupError, TypeError, ValueError, AttributeError):
        return None if notebook is None else reader(notebook)
    return None


def _if_there(path: str) -> str:
    return path if os.path.isfile(path) else ""
