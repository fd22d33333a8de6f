"""What YAML, OmegaConf and pydantic find wrong with a config, in the words of those who write one.

Each sentence has the rule, what was got, and the way out; what may be a secret is never repeated.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from omegaconf.errors import (
    GrammarParseError,
    InterpolationKeyError,
    KeyValidationError,
    MissingMandatoryValue,
    OmegaConfBaseException,
    UnsupportedInterpolationType,
)

from patchmill.stages.bounds import Keys
from patchmill.stages.declared import nearest
from patchmill.stages.models import ClusterModel, ComputeModel, PipelineModel, StageModel

if TYPE_CHECKING:
    import yaml
    from pydantic import BaseModel


def no_yaml(error: yaml.YAMLError) -> str:
    """Why a text is no YAML, without what stands in it: a password may begin with a sign that has a meaning there.

    Examples
    --------
    >>> import yaml
    >>> no_yaml(yaml.MarkedYAMLError(problem="found undefined alias 'a7'"))
    "found undefined alias '...': put a text that begins with ! or * in quotes"
    """
    said = getattr(error, "problem", None) or one_line(error)
    told, found = re.subn(r"(tag|alias|handle) (['\"]).*\2$", r"\1 '...'", said, flags=re.DOTALL)
    return f"{told}: put a text that begins with ! or * in quotes" if found else told


def unreadable(error: OmegaConfBaseException) -> tuple[Keys, str]:
    """Where OmegaConf could not make a tree of YAML, and why, without what is written there: it may be a secret."""
    keys = tuple(re.findall(r"[^.\[\]]+", error.full_key or ""))
    name = called(keys) or "the config"
    if isinstance(error, GrammarParseError):
        way = "close its braces, and write \\${ where no value is meant"
        return keys, f"{name} holds a ${{...}} that can't be read: {way}"
    if isinstance(error, KeyValidationError):
        return keys, f"{name} has a key that is no text: put it in quotes, or remove it"
    return keys, f"{name} must be a text, a number, a truth value, a list or a mapping: {one_line(error)}"


def unresolved(error: BaseException, names: Iterable[str]) -> str:
    """Why a value can't be interpolated, `names` being what it could have referred to."""
    said = one_line(error)
    if isinstance(error, InterpolationKeyError):
        missing = re.sub(r"^Interpolation key '(.*?)' not found.*$", r"\1", said)
        return f"there is no ${{{missing}}}{nearest(missing, names)}"
    if isinstance(error, UnsupportedInterpolationType):
        resolver = said.rpartition(" ")[2]
        hint = nearest(resolver, _RESOLVERS) or f"; there are {', '.join(_RESOLVERS)}"
        return f"there is no ${{{resolver}:...}}{hint}"
    if isinstance(error, MissingMandatoryValue):
        return "??? stands for a value that is to be given: give it here or on the command line"
    return said


_RESOLVERS = ("oc.env", "oc.select", "oc.decode", "oc.create", "oc.dict.keys", "oc.dict.values", "found")
"""What ``${NAME:...}`` can begin with."""


def shape_problem(keys: Keys, error: Any) -> str:
    """What pydantic found wrong at some keys, as a sentence."""
    name, kind, got = ".".join(keys), error["type"], _in_yaml(error["input"])
    if kind == "value_error":
        return str(error["ctx"]["error"])
    if kind in {"extra_forbidden", "invalid_key"}:
        return f"{name} is no key of a config{_hint(keys)}"
    if kind in _LACKING:
        return f"{name} {_LACKING[kind]}"
    if kind == "string_pattern_mismatch" and keys[-1] != "class":
        return f"{name}: a name has letters, digits, - and _ only, at most 100, got {got}"
    if kind == "greater_than_equal":
        return f"{name} must be at least {error['ctx']['ge']}, got {got}"
    way = ": put it in quotes" if kind == "string_type" and isinstance(error["input"], int | float) else ""
    return f"{name} must be {_wanted(keys, kind)}, got {got}{way}"


_LACKING = {
    "missing": "is missing",
    "too_short": "is empty: name at least one",
    "string_too_short": "is empty: name one",
}
"""What is said of a key with nothing behind it."""

_WANTED = {
    "class": "a class with its module, such as dask.distributed.LocalCluster",
    "cluster": "a mapping, such as {class: dask.distributed.LocalCluster}",
    "arguments": "a mapping, such as {n_workers: 2}",
    "compute": "a mapping, such as {memory: 4GiB, workers: 2}",
    "stages": "a mapping of names to notebooks, such as {ingest: {notebook: patchmill:ingest}}",
    "params": "a mapping, such as {patch_shape: [256, 256]}",
    "notebook": "a text: one that comes with patchmill, such as patchmill:ingest, or a path",
    "after": "the name of a stage, or a list of such",
    "retries": "a whole number, such as 2",
    "workers": "a whole number, such as 2",
    "scale": "a whole number, such as 2",
}
"""What is right for a key, by its last part."""


def _wanted(keys: Keys, kind: str) -> str:
    if keys[0] == "stages" and len(keys) == 2:
        return "a text" if kind == "string_type" else "a mapping, such as {notebook: patchmill:ingest}"
    return _WANTED.get(keys[2] if keys[0] == "stages" and len(keys) > 2 else keys[-1], "a text")


def _in_yaml(value: Any) -> str:
    """A value as those write it who write YAML, cut short."""
    known = {None: "nothing", True: "true", False: "false"}
    text = known[value] if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


def _hint(keys: Keys) -> str:
    model: type[BaseModel] = PipelineModel
    if keys[0] == "compute":
        model = ComputeModel if len(keys) == 2 else ClusterModel
    if keys[0] == "stages" and len(keys) == 3:
        model = StageModel
    names = [field.alias or name for name, field in model.model_fields.items()]
    return nearest(keys[-1], names) or f"; there are {', '.join(names)}"


def called(keys: Keys) -> str:
    """What people call a value: a stage's parameter as on the command line.

    Examples
    --------
    >>> called(("stages", "patchify", "params", "step", "0")), called(("compute", "memory"))
    ('patchify.step.0', 'compute.memory')
    """
    return ".".join((keys[1], *keys[3:]) if keys[:1] == ("stages",) and keys[2:3] == ("params",) else keys)


def one_line(error: BaseException) -> str:
    """What OmegaConf or YAML says, without where in the tree it was."""
    # OmegaConf appends lines on where in the tree it was, and says in front what it caught.
    line = str(error).strip().partition("\n")[0]
    return re.sub(r"^\w+ raised while resolving interpolation: (['\"]?)(.*)\1$", r"\2", line)
