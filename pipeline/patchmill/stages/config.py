"""A pipeline's YAML file, read and shaped. OmegaConf reads and interpolates, pydantic checks the shape.

Nothing is raised at the first mistake: problems are collected, each with the line it stands on.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

import yaml
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from patchmill.errors import ConfigError
from patchmill.stages.around import check_file, check_place
from patchmill.stages.bounds import MOST_FOLLOWED, MOST_NODES, expanded, followed, wrong_numbers
from patchmill.stages.declared import nearest
from patchmill.stages.models import OWN_KEYS, PipelineModel
from patchmill.stages.packaged import PACKAGED, notebook_path, packaged_config
from patchmill.stages.places import SAMPLE, absolute
from patchmill.stages.secrecy import (
    interpolation_problem,
    problem_of,
    problem_of_text,
    taken_from_environment,
    token_problem,
)
from patchmill.stages.wording import called, no_yaml, one_line, shape_problem, unreadable, unresolved

KeyPath: TypeAlias = tuple[str, ...]

T = TypeVar("T")

UNKNOWN = "unknown://"
"""Stands for a root that the config does not tell: nothing is checked against it."""

_FOLDER: ContextVar[str] = ContextVar("folder")
"""What paths are relative to in the config that is being read; an interpolation can't be told otherwise."""

_SEARCHED = 1000
"""Keys of a config of which the nearest is searched for one that is not there: where one is missing, a large config has
thousands of values that refer to it."""

COMMAND_LINE: KeyPath = ("(command line)",)
"""What is wrong with what was given beside the config."""


@dataclass
class Problems:
    """What is wrong with a config: sentences, with the keys they are about."""

    path: str
    lines: dict[KeyPath, int] = field(default_factory=dict)
    """Where keys stand; those that the command line gave have 0."""
    found: list[tuple[KeyPath, str]] = field(default_factory=list)

    def add(self, keys: KeyPath, sentence: str) -> None:
        """Note a problem."""
        self.found.append((keys, sentence))

    def about(self, *keys: str) -> bool:
        """Whether there is one about exactly `keys`."""
        return any(each == keys for each, _ in self.found)

    def check(self) -> None:
        """Raise `ConfigError` with all that was found, in the order of the lines."""
        if self.found:
            placed = sorted((self._line(keys), sentence) for keys, sentence in self.found)
            raise ConfigError("\n".join(dict.fromkeys(f"{self._place(line)}: {text}" for line, text in placed)))

    def _line(self, keys: KeyPath) -> int:
        # The line of the deepest key that is written down.
        return next((self.lines[keys[:n]] for n in range(len(keys), 0, -1) if keys[:n] in self.lines), 1)

    def _place(self, line: int) -> str:
        return f"{os.path.basename(self.path)}:{line}" if line else "command line"


@dataclass(frozen=True, slots=True)
class Config:
    """A config of the right shape, interpolated; what its notebooks declare is not looked at yet."""

    path: str
    folder: str
    """What local paths are relative to."""
    model: PipelineModel
    references: Mapping[str, frozenset[str]]
    """Of each stage, the names of other stages whose values its own refer to, or that it says to run after."""
    problems: Problems
    """Those found so far; whoever reads the config adds to them, and then raises them all."""


def read_config(path: str, overrides: Sequence[str] = (), *, folder: str | None = None) -> Config:
    """Read a config file, replace values by `overrides`, interpolate, and check its shape.

    Parameters
    ----------
    path : str
        A YAML file, to whose folder local paths are relative; or the name of one that comes with patchmill,
        ``patchmill:demo``, read as if it lay in ``configs`` in the current folder.
    overrides : sequence of str
        ``STAGE.PARAM=value``, or ``root=value`` and the like; values are YAML.
    folder : str, optional
        To which local paths are relative, if not to the config's own.

    Returns
    -------
    Config
        With the problems found; what they are about is left out of the model, or is a placeholder.

    Raises
    ------
    ConfigError
        If it is too wrong to go on.
    """
    path, own = _located(path)
    folder = own if folder is None else folder
    problems = Problems(path, {COMMAND_LINE: 0})
    tree = _read_yaml(path, problems)
    _FOLDER.set(folder)
    for text in overrides:
        _override(tree, text, folder, problems)
    raw = OmegaConf.to_container(tree, resolve=False)
    _refuse_secrets(raw, problems)
    _check_written_out(raw, problems)
    _check_references(raw, problems)
    _make_root_absolute(tree, folder, problems)
    values = _without_secrets(_interpolated(tree, (), problems), (), problems)
    model = _shaped(values, problems)
    return Config(path, folder, model, _edges(_references(raw), model, problems), problems)


def _located(path: str) -> tuple[str, str]:
    check_place(path)
    if path.startswith(PACKAGED):
        # Not where it is installed: nobody wants data in there.
        return packaged_config(path), os.path.join(os.getcwd(), "configs")
    check_file(path)
    path = os.path.abspath(os.path.expanduser(path))
    return path, os.path.dirname(path)


def _read_yaml(path: str, problems: Problems) -> DictConfig:
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"the config {path} can't be read: {reason}") from None
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        _check_size(path, node)
        _check_numbers(node, problems)
        tree = _tagged(lambda: _created(text))
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{os.path.basename(path)}{line}: this is no YAML: {no_yaml(error)}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{os.path.basename(path)}: this is no YAML: {no_yaml(error)}") from None
    except OmegaConfBaseException as error:
        problems.lines.update(_lines(node, ()))
        problems.add(*unreadable(error))
        problems.check()
        raise
    except RecursionError:
        raise ConfigError(f"{os.path.basename(path)}: a config can't be nested so deep: write it flatter") from None
    if not isinstance(node, yaml.MappingNode) or not isinstance(tree, DictConfig):
        raise ConfigError(f"{os.path.basename(path)}: a config is a mapping with the keys {', '.join(OWN_KEYS)}")
    problems.lines.update(_lines(node, ()))
    return tree


def _check_size(path: str, node: yaml.Node | None) -> None:
    count = 0 if node is None else expanded(node)
    if count > MOST_NODES:
        raise ConfigError(
            f"{os.path.basename(path)}: a config has at most {MOST_NODES:,} keys and values, with aliases written out, "
            f"got {_shown_count(count)}: make several of it, each with a part of the stages"
        )


def _check_numbers(node: yaml.Node | None, problems: Problems) -> None:
    found = wrong_numbers(node)
    if node is None or not found:
        return
    problems.lines.update(_lines(node, ()))
    for keys, wrong in found:
        problems.add(keys, f"{called(keys) or 'a key'} {wrong}")
    problems.check()


def _tagged(read: Callable[[], T]) -> T:
    """What `read` returns; where a value is not what its tag says, the sentence must not repeat it as Python's does."""
    try:
        return read()
    except OmegaConfBaseException:
        raise
    except (ValueError, TypeError, LookupError, AttributeError):
        raise yaml.YAMLError("a value is not what its tag, such as !!int, says: leave out the tag") from None


def _created(text: str) -> Any:
    # Since 2.4 OmegaConf has a bound of its own, ten times lower; ours has been kept by now.
    bounded = "max_yaml_expanded_nodes" in inspect.signature(OmegaConf.create).parameters
    return OmegaConf.create(text, **({"max_yaml_expanded_nodes": None} if bounded else {}))


def _check_written_out(raw: Any, problems: Problems) -> None:
    """Raise where all stages are one interpolation: what each refers to would be known too late."""
    if isinstance(raw, dict) and isinstance(raw.get("stages"), str):
        problems.add(("stages",), "stages must be written out, each with its notebook, got one text for all")
        problems.check()


def _check_references(raw: Any, problems: Problems) -> None:
    """Raise, with all that was found by now, where following the references of a config would take too long."""
    try:
        total, most = followed(raw)
    except RecursionError:
        problems.add((), "references lead from one to the next too often to be followed: refer to values directly")
        problems.check()
    if total > MOST_FOLLOWED:
        sentence = f"takes {_shown_count(total)} references to be followed, and {MOST_FOLLOWED:,} are the most"
        problems.add(most, f"with {called(most)} this config {sentence}: refer to values directly, each one once")
        problems.check()


def _shown_count(count: int) -> str:
    return f"{count:,}" if count < 10**12 else "more than 10 ** 12"


def _lines(node: yaml.Node, keys: KeyPath) -> Iterator[tuple[KeyPath, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*keys, str(key.value))
            yield inner, key.start_mark.line + 1
            yield from _lines(value, inner)
    if isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*keys, str(index)), value.start_mark.line + 1
            yield from _lines(value, (*keys, str(index)))


def _override(tree: DictConfig, text: str, folder: str, problems: Problems) -> None:
    key, equals, value = text.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        problems.add(COMMAND_LINE, f"{text!r} is no override; it must look like STAGE.PARAM=value")
        return
    told = repr(f"{key}=...")  # the value may be a secret
    if parts[0] not in OWN_KEYS:
        stages = tree.get("stages") or {}
        if len(parts) < 2 or parts[0] not in stages:
            if len(parts) == 1 and parts[0] in stages:
                problems.add(COMMAND_LINE, f"{told} names a stage only; it must look like {parts[0]}.PARAM=value")
                return
            hint = _stages_with(parts[0], stages, folder) if len(parts) == 1 else ""
            hint = hint or nearest(parts[0], [str(name) for name in (*stages, *OWN_KEYS) if name != "stages"])
            known = hint or f"; its stages are {', '.join(map(str, stages)) or 'none'}"
            problems.add(COMMAND_LINE, f"{told} overrides nothing: the config has no stage {parts[0]}{known}")
            return
        parts = ["stages", parts[0], "params", *parts[1:]]
    # To YAML it is a key.
    value = f'"{SAMPLE}"' if value.strip() == SAMPLE else value
    try:
        for _, wrong in wrong_numbers(yaml.compose(value, Loader=yaml.SafeLoader)):
            problems.add(COMMAND_LINE, f"{told} {wrong}")
            return
        read = _tagged(lambda: OmegaConf.from_dotlist([f"value={value}"]))
        parsed = OmegaConf.to_container(read, resolve=False)
        _write_out(tree, parts)
        OmegaConf.update(tree, ".".join(parts), parsed["value"], merge=False, force_add=True)  # type: ignore[call-overload, index]
    except yaml.YAMLError as error:
        problems.add(COMMAND_LINE, f"{told} can't be set: {no_yaml(error)}")
    except (OmegaConfBaseException, TypeError, ValueError, AttributeError, IndexError) as error:
        problems.add(COMMAND_LINE, f"{told} can't be set: {one_line(error)}")
    problems.lines[tuple(parts)] = 0


def _write_out(tree: DictConfig, parts: Sequence[str]) -> None:
    """Replace references on the way to a key by one for each value, so that what is set there is set nowhere else."""
    node: Any = tree
    for part in parts[:-1]:
        if not isinstance(node, DictConfig) or part not in node:
            return
        inner = node[part]
        if OmegaConf.is_interpolation(node, part) and isinstance(inner, DictConfig):
            node[part] = _referring(tree, inner)
        node = node[part]


def _referring(tree: DictConfig, node: DictConfig) -> Any:
    place = node._get_full_key(None)  # noqa: SLF001 - OmegaConf has no other way to say where a node lies
    if OmegaConf.select(tree, place) is not node:  # made by a resolver, it lies nowhere
        return OmegaConf.to_container(node, resolve=False)
    return {key: f"${{{place}.{key}}}" for key in node}


def _stages_with(param: str, stages: Mapping[Any, Any], folder: str) -> str:
    """A hint for a parameter that is given without its stage; nothing where no stage has one of that name."""
    found = [f"{name}.{param}" for name, stage in stages.items() if param in _params_of(stage, folder)]
    return f"; did you mean {' or '.join(found)}?" if found else ""


def _params_of(stage: Any, folder: str) -> set[str]:
    """Parameters that a stage is given or, where that can be told, that its notebook declares."""
    from patchmill.stages.pipelines import notebook_declarations

    found: set[str] = set()
    if not isinstance(stage, DictConfig):
        return found
    with suppress(OmegaConfBaseException, OSError, ValueError, TypeError):
        found |= {str(name) for name in stage.get("params") or {}}
        found |= set(notebook_declarations(notebook_path(str(stage.get("notebook")), folder)))
    return found


def _make_root_absolute(tree: DictConfig, folder: str, problems: Problems) -> None:
    # Before interpolation, so that ${root}/x is absolute wherever it is used.
    if problems.about("root"):
        tree.root = UNKNOWN  # what is refused is in no path below it
        return
    try:
        root = tree.get("root")
    except OmegaConfBaseException:
        return
    if isinstance(root, str) and root:
        tree.root = literal(absolute(root, folder))


def literal(text: str) -> str:
    r"""`text` as it is written for OmegaConf, which shall not interpolate it again: ``\${a}`` for ``${a}``."""
    return re.sub(r"(\\*)\$\{", lambda found: f"{found[1] * 2}\\${{", text)


def _interpolated(node: DictConfig | ListConfig, keys: KeyPath, problems: Problems) -> Any:
    # Node by node, where OmegaConf's own way would stop at the first that fails.
    values: dict[Any, Any] = {}
    names: list[Any] = list(node.keys()) if isinstance(node, DictConfig) else list(range(len(node)))
    for name in names:
        inner = (*keys, str(name))
        if problems.about(*inner):
            continue
        try:
            value = node[name]
        except (OmegaConfBaseException, RecursionError) as error:
            known = map(".".join, problems.lines) if len(problems.lines) <= _SEARCHED else ()
            problems.add(inner, f"{called(inner)} can't be resolved: {unresolved(error, known)}")
            continue
        if isinstance(value, str) and "\0" in value:
            problems.add(inner, f"{'.'.join(inner)} holds a character that is none (NUL): write it without")
            continue
        if isinstance(value, bytes):
            problems.add(
                inner, f"{called(inner)} must be a text, a number, a truth value, a list or a mapping, got bytes"
            )
            continue
        values[name] = _interpolated(value, inner, problems) if isinstance(value, DictConfig | ListConfig) else value
    return values if isinstance(node, DictConfig) else list(values.values())


def _refuse_secrets(raw: Any, problems: Problems) -> None:
    # As they are written: what is refused is not interpolated, which could complain of it and repeat it.
    for keys, text in _texts(raw, ()):
        sentence = token_problem(called(keys), text)
        if sentence:
            problems.add(keys, sentence)
        for variable in taken_from_environment(text):
            problems.add(keys, interpolation_problem(called(keys), variable))


def _without_secrets(value: Any, keys: KeyPath, problems: Problems) -> Any:
    # Left out, they are in no sentence about anything else that is wrong with them.
    if isinstance(value, dict):
        for sentence in filter(None, (problem_of_text(called(keys) or "the config", str(key)) for key in value)):
            problems.add(keys, sentence)
        kept = {key: _without_secrets(inner, (*keys, str(key)), problems) for key, inner in value.items()}
        return {key: inner for key, inner in kept.items() if not problems.about(*keys, str(key))}
    if isinstance(value, list):
        kept = {str(at): _without_secrets(inner, (*keys, str(at)), problems) for at, inner in enumerate(value)}
        return [inner for at, inner in kept.items() if not problems.about(*keys, at)]
    # What lists hold is called by the list's own name.
    name = next((key for key in reversed(keys) if not key.isdigit()), "")
    sentence = problem_of(called(keys), name, value)
    if sentence:
        problems.add(keys, sentence)
    return value


def _shaped(values: Any, problems: Problems) -> PipelineModel:
    try:
        return PipelineModel.model_validate(values)
    except ValidationError as error:
        wrong = [(tuple(str(part) for part in each["loc"] if part != "[key]"), each) for each in error.errors()]
    for keys, each in wrong:
        if not problems.about(*keys):
            problems.add(keys, shape_problem(keys, each))
    try:
        return PipelineModel.model_validate(_without(values, [keys for keys, _ in wrong]))
    except ValidationError:
        problems.check()
        raise


def _without(values: Any, wrong: Sequence[KeyPath]) -> Any:
    # What is wrong, left out or replaced, so that the rest can be looked at: all problems shall be told at once.
    values = {"name": "unnamed", "root": UNKNOWN, **values}
    for keys in wrong:
        if keys in {("name",), ("root",)}:
            values[keys[0]] = "unnamed" if keys == ("name",) else UNKNOWN
        elif keys[0] == "stages" and len(keys) > 1:
            stage = values["stages"].get(keys[1])
            if len(keys) == 2 or keys[2] == "notebook" or not isinstance(stage, dict):
                values["stages"].pop(keys[1], None)
            else:
                stage.pop(keys[2], None)
        elif keys[0] == "compute" and len(keys) > 1 and isinstance(values["compute"], dict):
            _drop(values["compute"], keys[1:])
        elif keys[0] != "stages":
            values.pop(keys[0], None)
    return values


def _drop(compute: dict[str, Any], keys: KeyPath) -> None:
    # Of a cluster, what is wrong; all of it, where nothing is left without that.
    cluster = compute.get(keys[0])
    if len(keys) > 1 and keys[1] != "class" and isinstance(cluster, dict):
        cluster.pop(keys[1], None)
    else:
        compute.pop(keys[0], None)


def _found(*given: Any) -> Any:
    """What ``${found:PATH,OTHER}`` becomes: the path if it offers image files, else the other one."""
    from patchmill.ingesting.finding import find
    from patchmill.storage import Location

    if len(given) != 2 or not all(isinstance(each, str) for each in given):
        raise ValueError(
            "found takes two texts, a path and what stands there if it offers no images: ${found:PATH,OTHER}"
        )
    path, other = given
    place = absolute(path, _FOLDER.get())
    # No place is left out: what is written lies elsewhere.
    return path if find(place, Location.local(os.devnull), or_none=True).files else other


def _register(name: str, resolver: Callable[..., Any]) -> None:
    # OmegaConf 2.4 takes back the plain name; what had it before is another function, and knows no `replace`.
    register = getattr(OmegaConf, "register_resolver", None)
    if register is None or "replace" not in inspect.signature(register).parameters:
        register = OmegaConf.register_new_resolver
    register(name, resolver, replace=True)


_register("found", _found)


def _references(raw: Any) -> dict[str, frozenset[str]]:
    stages = raw["stages"]
    return {
        str(name): frozenset(
            other for keys, text in _texts(stages[name], ("stages", str(name))) for other in _mentioned(keys, text)
        )
        - {str(name)}
        for name in stages
    }


def _edges(
    references: Mapping[str, frozenset[str]], model: PipelineModel, problems: Problems
) -> dict[str, frozenset[str]]:
    edges = dict(references)
    for name, stage in model.stages.items():
        for other in stage.after:
            if other == name or other not in references:
                others = [each for each in references if each != name]
                hint = nearest(other, others) or f"; there are {', '.join(others) or 'no others'}"
                why = "itself" if other == name else f"{other or repr(other)}, which is no stage{hint}"
                problems.add(("stages", name, "after"), f"{name} can't run after {why}")
        edges[name] = edges[name] | (frozenset(stage.after) & references.keys() - {name})
    return edges


def _texts(value: Any, keys: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    if isinstance(value, str):
        yield keys, value
    elif isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _texts(inner, (*keys, str(key)))


def _mentioned(keys: KeyPath, text: str) -> Iterator[str]:
    for inner in re.findall(r"\$\{([^{}]*)\}", text):
        dots = len(inner) - len(inner.lstrip("."))
        target = [*keys[: len(keys) - dots], *inner[dots:].split(".")] if dots else []
        if len(target) > 1 and target[0] == "stages":
            yield target[1]
        yield from re.findall(r"\bstages[.\[]([\w-]+)", inner)
