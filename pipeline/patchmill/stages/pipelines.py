"""A config against its notebooks: what a run will do, checked as far as that goes without running."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import yaml

from patchmill.stages.codes import code_cells
from patchmill.stages.config import COMMAND_LINE, UNKNOWN, Config, KeyPath, Problems, literal, read_config
from patchmill.stages.declared import Declaration, declarations, nearest
from patchmill.stages.deploying import import_problem
from patchmill.stages.durations import as_seconds
from patchmill.stages.entering import coerced_all, undeclared
from patchmill.stages.graph import among
from patchmill.stages.kernels import kernel_problem
from patchmill.stages.meeting import Written, check_paths, places_of, writers_of
from patchmill.stages.models import PipelineModel, StageModel
from patchmill.stages.packaged import PACKAGED, notebook_path, packaged_notebooks
from patchmill.stages.places import PARENT, absolute, beside, each_path, is_local
from patchmill.stages.selecting import EVERYTHING, Selection
from patchmill.types import as_bytes


@dataclass(frozen=True, slots=True)
class Stage:
    """One notebook with its parameters, ready to be executed."""

    name: str
    notebook: str
    """Absolute path."""
    params: Mapping[str, Any]
    """As declared, paths absolute."""
    declared: Mapping[str, Declaration]
    needs: frozenset[str] = frozenset()
    """Names of the stages that must be done before."""
    follows: frozenset[str] = frozenset()
    """Those of all that it comes after, whichever run, whose output it does not name as its input."""
    limit: float | None = None
    """Seconds that one attempt may take."""
    retries: int = 0
    """How often it is tried again after it failed."""

    @property
    def outputs(self) -> dict[str, str]:
        """Local paths that are written, by parameter; of a list each by its number, ``further.0``."""
        return dict(self.local_outputs)

    @property
    def local_outputs(self) -> list[tuple[str, str]]:
        """Local paths that are written, each with its parameter."""
        return [(name, path) for name, path in self.paths("out") if is_local(path)]

    @property
    def all_outputs(self) -> list[str]:
        """Paths and URLs that are written."""
        return [path for _, path in self.paths("out")]

    @property
    def inputs(self) -> list[tuple[str, str]]:
        """Local paths and patterns that are read, each with its parameter."""
        return [(name, path) for name, path in self.paths("in") if is_local(path)]

    @property
    def mode(self) -> str:
        """What it is told about outputs that exist; empty where its notebook asks for nothing of that kind."""
        declared = self.declared.get("mode")
        return str(self.params.get("mode", "" if declared is None else declared.default))

    def options(self, way: str) -> Mapping[str, Any] | None:
        """Storage options of what is read ("in") or written ("out"), where its notebook takes some."""
        given = self.params.get("storage_options" if way == "in" else "target_options")
        return given if isinstance(given, Mapping) else None

    def paths(self, way: str) -> Iterator[tuple[str, str]]:
        """Paths and URLs that are read ("in") or written ("out"), each with its parameter, as `outputs` names it."""
        texts = [
            text
            for name, value in self.params.items()
            if self.declared[name].way == way
            for text in _texts(value, name)
        ]
        others = [path for _, path in texts if not path.startswith(PARENT)]
        for name, path in texts:
            yield from ((name, each) for each in (beside(path, others) if path.startswith(PARENT) else [path]))


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A checked config."""

    name: str
    path: str
    root: str
    runs: str
    memory: int | None
    """Bytes of each process that works, or the library's own choice."""
    workers: int | None
    stages: tuple[Stage, ...]
    """Those that run, in an order in which they can."""
    cluster: Mapping[str, Any] | None = None
    """A Dask cluster that they share: its class, arguments and scale."""
    limit: float | None = None
    """Seconds that the whole run may take."""

    @property
    def names(self) -> list[str]:
        """Of its stages."""
        return [stage.name for stage in self.stages]


def read_pipeline(
    path: str,
    overrides: Sequence[str] = (),
    selection: Selection = EVERYTHING,
    *,
    folder: str | None = None,
    thorough: bool = False,
) -> Pipeline:
    """Read a config, and check it against the notebooks and the inputs that it names. Nothing is written.

    Parameters
    ----------
    path, overrides, folder
        As `read_config` takes them.
    selection : Selection
        Which stages shall run; what they read of others must be there.
    thorough : bool
        Whether the class of a cluster is imported and looked at, which takes seconds.

    Raises
    ------
    ConfigError
        With a sentence for each problem.
    """
    config = read_config(path, overrides, folder=folder)
    model, problems = config.model, config.problems
    if thorough:
        _check_cluster(model, problems)
    found = [_stage(config, name, stage) for name, stage in model.stages.items()]
    stages = _ordered([stage for stage in found if stage is not None], config.references, problems)
    for sentence in selection.problems(list(model.stages)):
        problems.add(COMMAND_LINE, sentence)
    written = Written(places_of(stages))
    needs = _needs(stages, config.references, written)
    chosen = selection.chosen(needs)
    check_paths(stages, written, chosen, config, _reserved(config))
    runs = runs_folder(config)
    problems.check()
    follows = {stage.name: needs[stage.name] - writers_of(stage, written) for stage in stages}
    needs = among(needs, chosen)
    stages = [
        replace(stage, needs=needs[stage.name], follows=follows[stage.name]) for stage in stages if stage.name in chosen
    ]
    if not stages:
        problems.add(
            COMMAND_LINE, "--from and --until have no stage in common, so nothing would run: leave one of them out"
        )
        problems.check()
    memory = None if model.compute.memory is None else as_bytes(model.compute.memory, "compute.memory")
    shared = model.compute.cluster
    cluster = None if shared is None else shared.model_dump(by_alias=True, exclude_none=True)
    limit = None if model.limit is None else as_seconds(model.limit, "limit")
    return Pipeline(
        model.name, config.path, model.root, runs, memory, model.compute.workers, tuple(stages), cluster, limit
    )


def config_text(pipeline: Pipeline) -> str:
    """A config that runs the same again from anywhere: interpolated, paths absolute, defaults of paths written out."""
    compute = {"memory": pipeline.memory, "workers": pipeline.workers, "cluster": pipeline.cluster}
    content = {
        "name": pipeline.name,
        "root": pipeline.root,
        "runs": pipeline.runs,
        **({} if pipeline.limit is None else {"limit": pipeline.limit}),
        "compute": {name: value for name, value in compute.items() if value is not None},
        "stages": {stage.name: _stage_content(stage) for stage in pipeline.stages},
    }
    content = each_path(content, literal)
    return f"# Of {pipeline.path}\n{yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True)}"


class _Dumper(yaml.SafeDumper):  # type: ignore[misc, unused-ignore]
    """Quotes every text that begins as a number does: for OmegaConf 1e3 is one, for PyYAML it is not."""


def _dumped_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="'" if text[:1] in "+-.0123456789" else None)


_Dumper.add_representer(str, _dumped_text)


def _stage_content(stage: Stage) -> dict[str, Any]:
    # What refers to others is interpolated by now, so the edges are written out.
    others = {"after": sorted(stage.needs), "limit": stage.limit, "retries": stage.retries}
    content = {"notebook": stage.notebook, "params": dict(stage.params)}
    return content | {name: value for name, value in others.items() if value}


def notebook_declarations(path: str) -> dict[str, Declaration]:
    """What the cell tagged ``parameters`` of a notebook declares; nothing where there is none.

    Raises
    ------
    ValueError
        If the file is no notebook, or the cell can't be read.
    """
    for source, tags in code_cells(path):
        if "parameters" in tags:
            return declarations(source)
    return {}


def _stage(config: Config, name: str, model: StageModel) -> Stage | None:
    keys: KeyPath = ("stages", name)
    path = notebook_path(model.notebook, config.folder)
    if not os.path.isfile(path):
        config.problems.add((*keys, "notebook"), _missing_notebook(model.notebook, path))
        return None
    try:
        declared = notebook_declarations(path)
        wrong = kernel_problem(path)
    except ValueError as error:
        config.problems.add((*keys, "notebook"), f"{model.notebook} can't be a stage: {error}")
        return None
    if wrong:
        config.problems.add((*keys, "notebook"), f"{model.notebook} {wrong}")
    limit = config.model.compute.limit if model.limit is None else model.limit
    return Stage(
        name,
        path,
        _params(config, name, model, declared),
        declared,
        limit=None if limit is None else as_seconds(limit, "limit"),
        retries=model.retries,
    )


def _missing_notebook(notebook: str, path: str) -> str:
    if not notebook.startswith(PACKAGED):
        return f"there is no notebook {path}"
    names = packaged_notebooks()
    hint = nearest(notebook.removeprefix(PACKAGED), names) or f"; there are {', '.join(names)}"
    return f"no notebook {notebook} comes with patchmill{hint}"


def _params(config: Config, name: str, model: StageModel, declared: Mapping[str, Declaration]) -> dict[str, Any]:
    for given in model.params.keys() - declared.keys():
        sentence = undeclared(given, dict(declared)).replace("this notebook", model.notebook)
        config.problems.add(("stages", name, "params", given), f"{name}.{sentence}")
    # What a notebook reads or writes by itself is also given, so that it does not depend on the current folder.
    paths = {one.name: one.default for one in declared.values() if one.way and one.default}
    values = paths | {given: value for given, value in model.params.items() if given in declared}
    result = {}
    for given, value in values.items():
        as_declared, problems = coerced_all({given: value}, dict(declared), [])
        for problem in problems:
            config.problems.add(("stages", name, "params", given), f"{name}.{problem}")
        result.update(as_declared)
    return {
        given: each_path(value, lambda path: absolute(path, config.folder)) if declared[given].way else value
        for given, value in result.items()
    }


def _ordered(stages: list[Stage], references: Mapping[str, frozenset[str]], problems: Problems) -> list[Stage]:
    # Always the first in the file of those that wait for nobody.
    waiting = list(stages)
    order: list[Stage] = []
    while waiting:
        ahead = {stage.name for stage in waiting}
        free = next((stage for stage in waiting if not references[stage.name] & (ahead - {stage.name})), None)
        if free is None:
            circle = _circle([stage.name for stage in waiting], references)
            names = " and ".join(circle)
            problems.add(("stages", circle[0]), f"the stages {names} wait for each other, in a circle")
            return stages
        waiting.remove(free)
        order.append(free)
    return order


def _circle(waiting: Sequence[str], references: Mapping[str, frozenset[str]]) -> list[str]:
    """Stages that wait for each other, of those that wait for somebody: in the order of the file."""
    way: list[str] = []
    name = waiting[0]
    while name not in way:
        way.append(name)
        name = next(other for other in waiting if other in references[name] and other != name)
    circle = way[way.index(name) :]
    return [name for name in waiting if name in circle]


def _needs(
    stages: Sequence[Stage], references: Mapping[str, frozenset[str]], written: Written
) -> dict[str, frozenset[str]]:
    # Who runs behind a stage that it refers to by way of another one, and reads what that writes, needs it itself.
    known = {stage.name for stage in stages}
    return {
        stage.name: (references[stage.name] & known) | writers_of(stage, written, at) for at, stage in enumerate(stages)
    }


def _check_cluster(model: PipelineModel, problems: Problems) -> None:
    cluster = model.compute.cluster
    sentence = "" if cluster is None else import_problem(cluster.kind)
    if sentence:
        problems.add(("compute", "cluster", "class"), sentence)


def _reserved(config: Config) -> dict[str, str]:
    """Where the runner itself writes, with what that is."""
    return {
        _records(config): "the records of runs",
        os.path.join(config.model.root, "report.html"): "the report",
    }


def runs_folder(config: Config) -> str:
    """Where the records of a config's runs go; empty, and a problem noted, where it does not tell."""
    runs = config.model.runs
    if runs is None and is_local(config.model.root):
        return _folder(config, "root", _records(config))
    if config.model.root == UNKNOWN:
        return ""
    if runs is None or not is_local(runs):
        got = f"since root is {config.model.root}" if runs is None else f"got {runs}"
        config.problems.add(("runs",), f"runs must be a local folder for the records of runs, {got}")
        return ""
    return _folder(config, "runs", _records(config))


def _records(config: Config) -> str:
    """The folder that a config names, or else the one in its root, which may be a URL."""
    runs = config.model.runs
    return os.path.join(config.model.root, "records") if runs is None else absolute(runs, config.folder)


def _folder(config: Config, key: str, path: str) -> str:
    """`path`, and a problem noted where a file is in the way of it."""
    above = path
    while not os.path.lexists(above):
        above = os.path.dirname(above)
    if not os.path.isdir(above):
        config.problems.add((key,), f"{key} must lead to a folder, and {above} is a file: choose another place")
    return path


def _texts(value: Any, name: str) -> Iterator[tuple[str, str]]:
    """Texts in a value, each with what it is called there."""
    if isinstance(value, str) and value:
        yield name, value
    elif isinstance(value, list | dict):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _texts(inner, f"{name}.{key}")
