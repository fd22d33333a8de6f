"""What a run would do, said before it does it; nothing is written."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from patchmill.stages.graph import width
from patchmill.stages.measuring import bytes_at
from patchmill.stages.pipelines import Pipeline, Stage, read_pipeline
from patchmill.stages.places import is_local
from patchmill.stages.selecting import Names, selection
from patchmill.types import as_int, shown_bytes


def rehearse(
    config: str,
    overrides: Sequence[str] = (),
    *,
    jobs: int = 1,
    from_stages: Names = (),
    until_stages: Names = (),
    only_stages: Names = (),
) -> list[str]:
    """Lines that say what `patchmill.run` would do with the same arguments: what each stage reads and writes.

    Raises
    ------
    ConfigError
        If the config can't be run.
    """
    jobs = as_int(jobs, "jobs", least=1, unit="")
    return list(_lines(read_pipeline(config, overrides, selection(from_stages, until_stages, only_stages)), jobs))


def _lines(pipeline: Pipeline, jobs: int) -> Iterator[str]:
    count = len(pipeline.stages)
    at_once = min(jobs, width({stage.name: stage.needs for stage in pipeline.stages}))
    several = f", up to {at_once} at a time" if at_once > 1 else ""
    yield f"{pipeline.name}: {count} {'stage' if count == 1 else 'stages'} would run{several}"
    for number, stage in enumerate(pipeline.stages, 1):
        after = f" after {', '.join(sorted(stage.needs))}" if stage.needs else ""
        yield f"[{number}/{count}] {stage.name}{after}: {stage.notebook}"
        yield from _places(stage, pipeline)
    yield f"its record would lie in {pipeline.runs}; nothing was written"


def _places(stage: Stage, pipeline: Pipeline) -> Iterator[str]:
    writers = {path: other.name for other in pipeline.stages for _, path in other.paths("out")}
    rows = [("reads", name, path, _from(path, writers)) for name, path in stage.paths("in")]
    rows += [("writes", name, path, _there(path)) for name, path in stage.paths("out")]
    width_of_names = max((len(name) for _, name, _, _ in rows), default=0)
    for way, name, path, note in rows:
        yield f"  {way:<6}  {name:<{width_of_names}}  {path}{f'  ({note})' if note else ''}"


def _from(path: str, writers: dict[str, str]) -> str:
    if path in writers:
        return f"of {writers[path]}"
    return _there(path) if is_local(path) and os.path.exists(path) else ""


def _there(path: str) -> str:
    if not is_local(path):
        return "not looked at"
    size = bytes_at(path)
    return "not there yet" if size is None else f"exists, {shown_bytes(size)}"
