"""`manifest.json`: with what a run was made, what it took, and what it wrote."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from patchmill.show.handed import plain
from patchmill.stages.contents import content_at
from patchmill.stages.records import Run, StageRecord, now, write_whole

if TYPE_CHECKING:
    from patchmill.stages.pipelines import Pipeline
    from patchmill.stages.telling import Told

_LIBRARIES = ("numpy", "zarr", "tensorstore", "dask", "xarray", "papermill")

_GIT_SECONDS = 10.0
"""What git is given to answer: a large repository on a slow disk shall not hold up a run."""

_MEASURES = (
    "began, ended, seconds: of the last attempt, by the runner's clock. cpu_seconds: of its process and all that this "
    "waited for, as the system counts them; what was killed in mid-work is missing. peak_bytes: resident memory of its "
    "processes together, the most that one look a second saw, pages that several share counted in each. memory_bytes: "
    "what each of them that works was given. figures: what the notebook handed over; bytes there are raw bytes of "
    "pixels that were written, before compression, or bytes that were read where nothing is written. sha256: of what, "
    "`of` says; the content of a store is vouched for by its own checksums."
)


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a run begins with, looked at when it begins."""

    jobs: int
    versions: dict[str, str | None]
    git: dict[str, Any] | None
    """Commit of the config's folder, and whether tracked files differ from it; None where that is no repository."""
    machine: dict[str, Any]
    inputs: dict[str, dict[str, dict[str, Any]]]
    """What each stage reads that no stage of the run writes: by stage, then by path."""


def provenance(pipeline: Pipeline, jobs: int) -> Provenance:
    """With what `pipeline` is going to run."""
    return Provenance(
        jobs=jobs,
        versions=_versions(),
        git=_git(os.path.dirname(pipeline.path)),
        machine=_machine(),
        inputs=_inputs(pipeline),
    )


def write_manifest(run: Run, began_with: Provenance) -> None:
    """Write the manifest of a run that has ended."""
    content = {
        "name": run.name,
        "state": run.state,
        "exit_code": run.exit_code,
        "config": run.config,
        "root": run.root,
        "began": run.began,
        "ended": now(),
        "seconds": run.seconds,
        "jobs": began_with.jobs,
        "versions": began_with.versions,
        "git": began_with.git,
        "machine": began_with.machine,
        "measures": _MEASURES,
        "stages": [_stage(stage, began_with) for stage in run.stages],
    }
    write_whole(os.path.join(run.folder, "manifest.json"), json.dumps(plain(content), indent=2) + "\n")


def read_manifest(folder: str) -> dict[str, Any]:
    """The manifest in a record; empty where there is none that can be read."""
    with suppress(OSError, ValueError), open(os.path.join(folder, "manifest.json"), encoding="utf-8") as file:
        content = json.load(file)
        return content if isinstance(content, dict) else {}
    return {}


def _stage(stage: StageRecord, began_with: Provenance) -> dict[str, Any]:
    told = _told(stage)
    return {
        "name": stage.name,
        "state": stage.state,
        "why": stage.why or None,
        "needs": list(stage.needs),
        "notebook": stage.source,
        "sha256": stage.sha256 or None,
        "parameters": stage.parameters,
        "began": stage.began or None,
        "ended": stage.ended or None,
        "attempts": stage.attempt,
        "seconds": stage.seconds,
        "limit_seconds": stage.limit,
        "cpu_seconds": stage.cpu_seconds,
        "peak_bytes": stage.peak_bytes,
        "memory_bytes": stage.memory,
        "error": None if stage.failure is None else {"where": stage.failure.where, "text": str(stage.failure)},
        "figures": told.figures,
        "skipped": [{"what": what, "why": why} for what, why in told.skipped],
        "inputs": began_with.inputs.get(stage.name, {}),
        "outputs": {name: _output(path, stage) for name, path in stage.outputs.items()},
    }


def _told(stage: StageRecord) -> Told:
    from patchmill.stages.telling import told_by

    return told_by(stage.executed)


def _output(path: str, stage: StageRecord) -> dict[str, Any]:
    # What is there after a stage that did not come to its end, an earlier one may have left.
    whole = stage.state in {"done", "skipped"}
    return {"path": path, **(_summed_up(path) if whole else {"bytes": None})}


def _summed_up(path: str) -> dict[str, Any]:
    content = content_at(path)
    if content is None:
        return {"bytes": None}
    return {"bytes": content.nbytes, "files": content.files, "sha256": content.sha256, "of": content.of}


def _inputs(pipeline: Pipeline) -> dict[str, dict[str, dict[str, Any]]]:
    from patchmill.stages.meeting import Written, places_of

    written = Written(places_of(pipeline.stages))
    known: dict[str, dict[str, Any]] = {}  # several stages may read the same
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for stage in pipeline.stages:
        read = {path for _, path in stage.inputs if not written.around(path)}
        known |= {path: _summed_up(path) for path in sorted(read - known.keys())}
        found[stage.name] = {path: known[path] for path in sorted(read)}
    return found


def _versions() -> dict[str, str | None]:
    from importlib.metadata import PackageNotFoundError, version

    from patchmill import __version__

    found: dict[str, str | None] = {"python": platform.python_version(), "patchmill": __version__}
    for name in _LIBRARIES:
        found[name] = None
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _git(folder: str) -> dict[str, Any] | None:
    commit = _said_by_git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    # What a run writes may lie in the repository too, so files that git does not know say nothing.
    changed = _said_by_git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": None if changed is None else changed != ""}


def _said_by_git(folder: str, *words: str) -> str | None:
    """What git answers; None where it can't, or is not installed."""
    try:
        ended = subprocess.run(  # noqa: S603 - literals and a folder
            ["git", "-C", folder, *words],  # noqa: S607 - whichever git the user has
            capture_output=True,
            text=True,
            check=True,
            timeout=_GIT_SECONDS,
            # To look shall change nothing, the index included.
            env=os.environ | {"GIT_OPTIONAL_LOCKS": "0"},
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return ended.stdout.strip()


def _machine() -> dict[str, Any]:
    import psutil

    return {
        "host": platform.node(),
        "system": platform.platform(),
        "cpus": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
    }
