"""The shape of a config, as pydantic checks it."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from patchmill.stages.durations import as_seconds
from patchmill.types import as_bytes

_NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"


def _span(name: str) -> AfterValidator:
    """What `name` holds is a time, as `durations` reads it, or none."""

    def check(value: Any) -> Any:
        if value is not None:
            as_seconds(value, name)
        return value

    return AfterValidator(check)


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ClusterModel(_Model):
    """A Dask cluster that all stages share."""

    kind: Annotated[str, Field(alias="class", pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$")]
    """The class that deploys it, with its module: ``dask.distributed.LocalCluster``."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """What that class takes."""
    scale: Annotated[int, Field(ge=1)] | None = None
    """So many workers."""

    @field_validator("arguments", mode="before")
    @classmethod
    def _nothing_is_empty(cls, value: Any) -> Any:
        return {} if value is None else value

    @field_validator("kind")
    @classmethod
    def _is_installed(cls, value: str) -> str:
        package = value.partition(".")[0]
        # Looked for, not imported: Dask takes longer to load than everything that is checked here.
        if find_spec(package) is None:
            raise ValueError(f"compute.cluster.class is {value}, and {package} is not installed: install it")
        return value


class ComputeModel(_Model):
    """What a run may use, of each process that works."""

    memory: str | int | None = None
    workers: Annotated[int, Field(ge=1)] | None = None
    limit: Annotated[Any, _span("compute.limit")] = None
    """How long a stage may take that does not say so itself."""
    cluster: ClusterModel | None = None
    """Where stages compute that use Dask, in place of the threads of their own process."""

    @field_validator("memory")
    @classmethod
    def _is_size(cls, value: str | int | None) -> str | int | None:
        if value is not None:
            as_bytes(value, "compute.memory")
        return value


class StageModel(_Model):
    """One notebook with its parameters."""

    notebook: str
    params: dict[str, Any] = Field(default_factory=dict)
    after: tuple[str, ...] = ()
    """Stages that must be done before, beside those that `params` refer to."""
    limit: Annotated[Any, _span("limit")] = None
    """How long one attempt may take."""
    retries: Annotated[int, Field(ge=0)] = 0
    """How often it is tried again after it failed."""

    @field_validator("params", mode="before")
    @classmethod
    def _nothing_is_empty(cls, value: Any) -> Any:
        return {} if value is None else value

    @field_validator("after", mode="before")
    @classmethod
    def _one_is_several(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value


class PipelineModel(_Model):
    """A whole config."""

    name: Annotated[str, Field(pattern=_NAME)]
    root: Annotated[str, Field(min_length=1)]
    runs: Annotated[str, Field(min_length=1)] | None = None
    limit: Annotated[Any, _span("limit")] = None
    """How long the whole run may take."""
    compute: ComputeModel = ComputeModel()
    stages: Annotated[dict[Annotated[str, Field(pattern=_NAME)], StageModel], Field(min_length=1)]
