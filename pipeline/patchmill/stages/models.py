"""The shape of a config, as pydantic checks it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from patchmill.stages.deploying import lookup_problem
from patchmill.stages.durations import as_seconds
from patchmill.types import as_bytes

_NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$"

OWN_KEYS = ("name", "root", "runs", "limit", "compute", "stages")
"""Keys of a config; no stage is called like one, since the command line could not tell them apart."""


def _checked(check: Callable[[Any, str], object], name: str) -> AfterValidator:
    """A value that `check` takes, or none; it stays as it was written, for people read it again."""

    def checked(value: Any) -> Any:
        if value is not None:
            try:
                check(value, name)
            except TypeError as error:
                raise ValueError(str(error)) from None
        return value

    return AfterValidator(checked)


def _no_flag(value: Any) -> Any:
    """`value`, unless it is true or false, which pydantic would count as 1 and 0."""
    if isinstance(value, bool):
        raise AssertionError("no number")  # pydantic names the value, `shape_problem` what is right
    return value


_Count: TypeAlias = Annotated[int, BeforeValidator(_no_flag)]


def _or_empty(value: Any) -> Any:
    return {} if value is None else value


_Mapping: TypeAlias = Annotated[dict[str, Any], BeforeValidator(_or_empty)]
"""By name; a key with nothing behind it is an empty one."""


def _no_key(name: str) -> str:
    """`name`, unless it is a key of a config."""
    if name in OWN_KEYS:
        raise ValueError(f"no stage can be called {name}, which is a key of the config itself: choose another name")
    return name


StageName: TypeAlias = Annotated[str, Field(pattern=_NAME), AfterValidator(_no_key)]
"""What a stage may be called."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ClusterModel(_Model):
    """A Dask cluster that all stages share."""

    kind: Annotated[str, Field(alias="class", pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$")]
    """The class that deploys it, with its module: ``dask.distributed.LocalCluster``."""
    arguments: _Mapping = Field(default_factory=dict)
    """What that class takes."""
    scale: Annotated[_Count, Field(ge=1)] | None = None
    """So many workers."""

    @field_validator("kind")
    @classmethod
    def _is_there(cls, value: str) -> str:
        problem = lookup_problem(value)
        if problem:
            raise ValueError(problem)
        return value


class ComputeModel(_Model):
    """What a run may use, of each process that works."""

    memory: Annotated[Any, _checked(as_bytes, "compute.memory")] = None
    workers: Annotated[_Count, Field(ge=1)] | None = None
    limit: Annotated[Any, _checked(as_seconds, "compute.limit")] = None
    """How long a stage may take that does not say so itself."""
    cluster: ClusterModel | None = None
    """Where stages compute that use Dask, in place of the threads of their own process."""


class StageModel(_Model):
    """One notebook with its parameters."""

    notebook: str
    params: _Mapping = Field(default_factory=dict)
    after: tuple[str, ...] = ()
    """Stages that must be done before, beside those that `params` refer to."""
    limit: Annotated[Any, _checked(as_seconds, "limit")] = None
    """How long one attempt may take."""
    retries: Annotated[_Count, Field(ge=0)] = 0
    """How often it is tried again after it failed."""

    @field_validator("after", mode="before")
    @classmethod
    def _one_is_several(cls, value: Any) -> Any:
        return [] if value is None else [value] if isinstance(value, str) else value


class PipelineModel(_Model):
    """A whole config."""

    name: Annotated[str, Field(pattern=_NAME)]
    root: Annotated[str, Field(min_length=1)]
    runs: Annotated[str, Field(min_length=1)] | None = None
    limit: Annotated[Any, _checked(as_seconds, "limit")] = None
    """How long the whole run may take."""
    compute: Annotated[ComputeModel, BeforeValidator(_or_empty)] = ComputeModel()
    stages: Annotated[dict[StageName, StageModel], Field(min_length=1)]
