"""Commands about runs that were begun: how they are, what they said, and away with old records."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from patchmill.cli.output import complain, say, shown_path

if TYPE_CHECKING:
    from patchmill.stages.records import Run, StageRecord


def status(given: argparse.Namespace) -> int:
    """Say how the latest run is."""
    from patchmill.show.progress import shown_moment
    from patchmill.stages.finding import condition, latest_run

    run = latest_run(given.where)
    known = condition(run)
    gone = known.trouble
    code = 0 if run.state in {"done", "running"} and not known.sentences else 1
    if given.json:
        say(_as_json(run, known.sentences))
        return code
    say(f"{run.name}: {_state(run, gone)}, began {shown_moment(run.began)}, record {shown_path(run.folder)}")
    width = max(len(stage.name) for stage in run.stages)
    for number, stage in enumerate(run.stages, 1):
        say(f"[{number}/{len(run.stages)}] {stage.name:<{width}}  {_row(stage, gone)}")
    _tell_failures(run)
    for sentence in known.sentences:
        complain(f"patchmill: {sentence}")
    return code


def logs(given: argparse.Namespace) -> int:
    """Print what the stages of the latest run said."""
    from patchmill.stages.finding import latest_run

    where, wanted = given.where, given.stage
    if wanted is None and where is not None and not _is_place(where):
        where, wanted = None, where
    run = latest_run(where)
    names = [stage.name for stage in run.stages]
    if wanted is not None and wanted not in names:
        raise ValueError(f"the run {shown_path(run.folder)} has no stage {wanted}; its stages are {', '.join(names)}")
    stages = [stage for stage in run.stages if wanted in {None, stage.name}]
    if given.follow:
        _follow(run, [stage.name for stage in stages])
    missing = [stage for stage in stages if not os.path.isfile(stage.log)]
    for stage in stages:
        if not given.follow and stage not in missing:
            if wanted is None:
                say(_head(stage))
            with open(stage.log, encoding="utf-8", errors="replace") as file:
                say(file.read().rstrip("\n"))
    for stage in missing:
        complain(f"patchmill: there is no log {shown_path(stage.log)}: {stage.name} has not begun, or it was removed")
    return 1 if missing == stages else 0


def _follow(run: Run, names: list[str]) -> None:
    from patchmill.stages.following import follow

    speaker = ""
    for stage, said in follow(run, names):
        if len(names) > 1 and stage.name != speaker:
            say(_head(stage))
        speaker = stage.name
        say(said)


def _head(stage: StageRecord) -> str:
    return f"==> {stage.name}: {shown_path(stage.log)}"


def _as_json(run: Run, sentences: list[str]) -> str:
    import json
    from dataclasses import asdict

    return json.dumps(asdict(run) | {"trouble": "\n".join(sentences) or None}, indent=2, default=str)


def clean(given: argparse.Namespace) -> int:
    """Remove old records."""
    from patchmill.stages.cleaning import clean
    from patchmill.types import shown_bytes

    removed = clean(given.where, keep=given.keep)
    for folder, size in removed:
        say(f"removed {shown_path(folder)}, {shown_bytes(size)}")
    if not removed:
        say("nothing to remove")
    return 0


def _state(run: Run, gone: str) -> str:
    from patchmill.show.progress import shown_seconds, shown_state
    from patchmill.stages.finding import seconds_since

    if run.state == "running":
        seconds = run.seconds if gone else seconds_since(run.began)
        return f"{shown_state(run.state, gone)} for {shown_seconds(seconds)}"
    return f"{run.state} in {shown_seconds(run.seconds)}"


def _row(stage: StageRecord, gone: str) -> str:
    from patchmill.cli.watching import left_out
    from patchmill.show.progress import shown_seconds, shown_state, shown_why
    from patchmill.stages.finding import seconds_since

    tries = f", attempt {stage.attempt}" if stage.attempt > 1 else ""
    if stage.state == "running":
        since = "" if gone or not stage.began else f" for {shown_seconds(seconds_since(stage.began))}"
        return f"{shown_state(stage.state, gone)}{since}{tries}: {stage.why}; log {shown_path(stage.log)}"
    took = "" if stage.seconds is None or stage.state == "waiting" else f" in {shown_seconds(stage.seconds)}"
    why = shown_why(stage.state, stage.why)
    joined = f"{'; ' if why != stage.why else ': '}{why}" if why else ""
    return f"{stage.state}{took}{tries}{left_out(stage)}{joined}"


def _tell_failures(run: Run) -> None:
    from patchmill.stages.running import failure_text

    for stage in run.stages:
        if stage.failure is not None:
            complain(f"patchmill: {failure_text(stage)}")


def _is_place(where: str) -> bool:
    return where.startswith("patchmill:") or os.path.exists(where) or os.sep in where
