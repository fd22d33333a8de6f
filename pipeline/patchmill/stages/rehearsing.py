"""What a run would do, said before it does it; nothing is written."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from patchmill.stages.deciding import Decision, decide
from patchmill.stages.graph import width
from patchmill.stages.measuring import bytes_at
from patchmill.stages.memos import Memos
from patchmill.stages.needed import require_libraries
from patchmill.stages.owning import checked_pipeline
from patchmill.stages.places import is_local
from patchmill.stages.selecting import Names, selection
from patchmill.types import as_int, shown_bytes

if TYPE_CHECKING:
    from patchmill.stages.pipelines import Pipeline, Stage


def rehearse(
    config: str,
    overrides: Sequence[str] = (),
    *,
    jobs: int = 1,
    from_stages: Names = (),
    until_stages: Names = (),
    only_stages: Names = (),
    force: bool | Names = False,
) -> list[str]:
    """Lines that say what `patchmill.run` would do with the same arguments: which stages, why, what they would replace.

    Raises
    ------
    PatchmillError
        If libraries are missing that running needs.
    ConfigError
        If the config can't be run.
    TargetExistsError
        If a stage would write where something is that it did not write.
    """
    require_libraries()

    jobs = as_int(jobs, "jobs", least=1, unit="")
    chosen = selection(from_stages, until_stages, only_stages, force=force)
    pipeline, forced = checked_pipeline(config, overrides, chosen, thorough=True)
    return list(_lines(pipeline, _decisions(pipeline, forced), jobs))


def _decisions(pipeline: Pipeline, forced: Collection[str]) -> dict[str, Decision]:
    memos = Memos(pipeline.runs, pipeline.name)
    found: dict[str, Decision] = {}
    for stage in pipeline.stages:
        ahead = [name for name, decision in found.items() if decision.runs]
        found[stage.name] = decide(stage, memos, forced=stage.name in forced, ahead=ahead)
    return found


def _lines(pipeline: Pipeline, decisions: Mapping[str, Decision], jobs: int) -> Iterator[str]:
    count = len(pipeline.stages)
    running = [stage for stage in pipeline.stages if decisions[stage.name].runs]
    at_once = min(jobs, width({stage.name: stage.needs for stage in pipeline.stages}), len(running))
    several = f", up to {at_once} at a time" if at_once > 1 else ""
    some = f"{len(running)} of " if len(running) < count else ""
    yield f"{pipeline.name}: {some}{count} {'stage' if count == 1 else 'stages'} would run{several}"
    for number, stage in enumerate(pipeline.stages, 1):
        decision = decisions[stage.name]
        after = f" after {', '.join(sorted(stage.needs))}" if stage.needs else ""
        yield f"[{number}/{count}] {stage.name}{after}: {stage.notebook}"
        yield f"  {'runs' if decision.runs else 'skipped'}: {decision.why}"
        yield from _places(stage, pipeline, decision)
    yield f"its record would lie in {pipeline.runs}; nothing was written"


def _places(stage: Stage, pipeline: Pipeline, decision: Decision) -> Iterator[str]:
    writers = {path: other.name for other in pipeline.stages for _, path in other.paths("out")}
    rows = [("reads", name, path, _from(path, writers, decision)) for name, path in stage.paths("in")]
    rows += [("writes", name, path, _becomes(path, stage, decision)) for name, path in stage.paths("out")]
    width_of_names = max((len(name) for _, name, _, _ in rows), default=0)
    for way, name, path, note in rows:
        yield f"  {way:<6}  {name:<{width_of_names}}  {path}{f'  ({note})' if note else ''}"


def _from(path: str, writers: dict[str, str], decision: Decision) -> str:
    if path in writers:
        return f"of {writers[path]}"
    if "://" in path:
        return _LOOKED.get(decision.basis.inputs[path]["kind"], "not known what it holds")
    return _there(path) if is_local(path) and os.path.exists(path) else ""


_LOOKED = {"store": "exists", "nothing": "not there"}
"""What a look at an object store says; it may not answer, and what others wrote is not known again."""


def _becomes(path: str, stage: Stage, decision: Decision) -> str:
    there = _there(path)
    if not decision.runs or not there.startswith("exists"):
        return there
    if stage.mode == "create":
        return f'{there}, which mode "create" does not touch: the stage would fail'
    if stage.mode == "resume":
        return f'{there}, would be gone on with if it is the same; mode "resume" replaces nothing'
    if decision.anew or stage.mode == "overwrite":
        return f"{there}, would be replaced"
    if decision.begun:
        return f"{there}, would be gone on with"
    return f"{there}, would be {'added to or replaced' if stage.mode in {'auto', 'append'} else 'written again'}"


def _there(path: str) -> str:
    if not is_local(path):
        return "not looked at"
    size = bytes_at(path)
    return "not there yet" if size is None else f"exists, {shown_bytes(size)}"
