"""The parameters of a stage, as a run had them or a config gives them, for a notebook in which to work on them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from patchmill.errors import ConfigError, PatchmillError
from patchmill.stages import samples
from patchmill.stages.config import read_config
from patchmill.stages.declared import Declaration, declarations, nearest, split_history
from patchmill.stages.entering import executed_cells, resolved
from patchmill.stages.finding import latest_run
from patchmill.stages.pipelines import Pipeline, notebook_declarations, read_pipeline
from patchmill.stages.places import TemporaryFolder
from patchmill.stages.records import Run, StageRecord

BY_HAND = "the cell behind the parameters"
CELL = "the parameters cell"
EDITED = "the parameters cell, changed since"
LINE = "this line"
SCHEDULER = "the scheduler"

_INJECTED = re.compile(r"\s*#\s*(injected\s+)?parameters\b", re.IGNORECASE)
"""How papermill begins the cell that it puts behind the parameters."""


@dataclass(frozen=True, slots=True)
class Given:
    """What a run or a config gives to a stage."""

    stage: str
    origin: str
    """Who gives it, for people."""
    values: Mapping[str, Any]
    """Coerced, paths absolute; what is left out has the notebook's default."""
    declared: Mapping[str, Declaration]
    changed: frozenset[str] = frozenset()
    """Names of values that were replaced on the line."""
    pipeline: str = ""
    """Whose stage it is."""


@dataclass(frozen=True, slots=True)
class Value:
    """One parameter with where it came from."""

    name: str
    value: Any
    origin: str


def given_by_config(stage: str, config: str, overrides: Sequence[str] = ()) -> Given:
    """What a config gives to one of its stages.

    Raises
    ------
    ConfigError
        If the config can't be run, or has no such stage.
    """
    name = os.path.basename(config)
    known = read_config(config)
    if stage not in known.model.stages:
        known.problems.check()
    _check_stage(stage, known.model.stages, f"the config {name}")
    overrides = _of_stage(stage, overrides)
    return _given(stage, read_pipeline(config, overrides), name, overrides)


def given_by_run(stage: str, place: str = "", overrides: Sequence[str] = ()) -> Given:
    """What the latest run gave to one of its stages.

    Parameters
    ----------
    stage : str
        Its name.
    place : str
        As for `find_runs`.
    overrides : sequence of str
        ``PARAM=value`` or ``STAGE.PARAM=value``, of this stage only: in a record, references are values already. Local
        paths are relative to the current folder; those of a record are absolute.

    Raises
    ------
    PatchmillError
        If there is no run, no such stage in it, or its notebook is gone.
    ConfigError
        If an override can't be.
    """
    run = latest_run(place)
    origin = f"run {os.path.basename(run.folder)}"
    record = _record(stage, run, origin)
    overrides = _of_stage(stage, overrides)
    if not overrides:
        return Given(stage, origin, record.parameters, _declared(record), pipeline=run.name)
    others = [text for text in overrides if "=" in text and not text.startswith(f"{stage}.")]
    if others:
        raise ConfigError(
            f"{others[0]!r} changes nothing of {stage}: in a record the values of stages are final; "
            "with --config CONFIG they follow each other"
        )
    pipeline = read_pipeline(os.path.join(run.folder, "config.yaml"), overrides, folder=os.getcwd())
    return _given(stage, pipeline, origin, overrides)


def scheduled(namespace: Mapping[str, Any]) -> list[Value]:
    """The parameters of the running notebook, if a scheduler gave them; empty if none did.

    A scheduler has the last word, and where it runs a notebook nothing need lie around: a line that was left in there
    must not look for configs and runs.
    """
    cell, injected, by_scheduler = _cells(namespace)
    if not by_scheduler:
        return []
    return [
        Value(name, namespace.get(name, one.default), SCHEDULER if name in injected else CELL)
        for name, one in cell.items()
    ]


def put(given: Given, namespace: dict[str, Any], seen: dict[str, Any] | None = None) -> list[Value]:
    """Put the parameters of a stage into the variables of the running notebook.

    What stands later wins, as with papermill: the `parameters` cell, what `given` says, and
    then what a cell right behind the parameters assigned. A value that was changed in the `parameters` cell after the
    same was loaded before is what the user wants by now: it wins over what `given` says.

    Parameters
    ----------
    given : Given
        What is loaded.
    namespace : dict
        The notebook's variables.
    seen : dict, optional
        What the `parameters` cell said when the same was loaded first, by name; filled here.

    Returns
    -------
    list of Value
        As they are now in the notebook.

    Raises
    ------
    ParameterError
        If a value is not what the notebook declares.
    """
    cell, injected, _ = _cells(namespace)
    seen = {} if seen is None else seen
    edited = frozenset(name for name, one in cell.items() if seen.setdefault(name, one.default) != one.default)
    assigned = {name: namespace[name] for name in injected if name in namespace}
    values = [_value(name, given, cell, assigned, edited) for name in given.declared]
    declared = {**given.declared, **cell}
    result = resolved(
        {each.name: each.value for each in values},
        declared,
        given=[],
        base=os.getcwd(),
        folder=samples.use(TemporaryFolder()),
    )
    namespace.update(result)
    return [Value(each.name, result[each.name], each.origin) for each in values]


def _value(
    name: str, given: Given, cell: Mapping[str, Declaration], assigned: Mapping[str, Any], edited: AbstractSet[str]
) -> Value:
    if name in assigned:
        return Value(name, assigned[name], BY_HAND)
    if name in given.changed:
        return Value(name, given.values[name], LINE)
    if name in given.values and name in edited:
        return Value(name, cell[name].default, EDITED)
    if name in given.values:
        return Value(name, given.values[name], given.origin)
    if name in cell:
        return Value(name, cell[name].default, CELL)
    return Value(name, given.declared[name].default, "default")


def _cells(namespace: Mapping[str, Any]) -> tuple[dict[str, Declaration], list[str], bool]:
    """What the `parameters` cell declares, what was assigned right behind it, and whether a scheduler did that."""
    cells = executed_cells(namespace)
    source, names = split_history(cells)
    if source is None:
        return {}, [], False
    at = len(cells) - cells[::-1].index(source)
    # A cell that can't be read is what `patchmill.parameters` complains of; here it declares nothing.
    with suppress(ValueError):
        return declarations(source), names, _INJECTED.match("".join(cells[at : at + 1])) is not None
    return {}, [], False


def _given(stage: str, pipeline: Pipeline, origin: str, overrides: Sequence[str]) -> Given:
    found = next(each for each in pipeline.stages if each.name == stage)
    changed = frozenset(text.partition("=")[0].strip().removeprefix(f"{stage}.") for text in overrides)
    return Given(stage, origin, found.params, found.declared, changed, pipeline.name)


def _record(stage: str, run: Run, origin: str) -> StageRecord:
    stages = {each.name: each for each in run.stages}
    _check_stage(stage, stages, origin)
    return stages[stage]


def _declared(record: StageRecord) -> Mapping[str, Declaration]:
    anything = {name: Declaration(name, "", None, "", "") for name in record.parameters}
    # As executed, if it came to that: the notebook may have changed since.
    for path in (record.executed, record.source):
        if os.path.isfile(path):
            with suppress(ValueError):
                return {**anything, **notebook_declarations(path)}
    raise PatchmillError(
        f"the notebook {record.source} of stage {record.name} can't be read any more; restore it first"
    )


def _check_stage(stage: str, stages: Iterable[str], origin: str) -> None:
    names = list(stages)
    if stage not in names:
        hint = nearest(stage, names) or f"; its stages are {', '.join(names)}"
        raise ConfigError(f"{origin} has no stage {stage}{hint}")


def _of_stage(stage: str, overrides: Sequence[str]) -> list[str]:
    # step=64 is of the stage that is loaded; root=... is the config's own.
    return [text if _is_whole(text) else f"{stage}.{text}" for text in overrides]


def _is_whole(text: str) -> bool:
    key = text.partition("=")[0]
    return "=" not in text or "." in key or key.strip() == "root"
