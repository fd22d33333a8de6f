"""Which Dask cluster to use: one to start, the client that is active, or the scheduler whose address is configured.

A call inside a task of a cluster uses none of these, but threads of its worker: shards that it sent to the cluster
would wait for the slot that it holds itself.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, Literal

from patchmill.errors import PatchmillError

_EXAMPLE = 'such as {"class": "dask.distributed.LocalCluster", "arguments": {"n_workers": 2}, "scale": 2}'

TRIMMING = "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_"
"""Dask's setting, 65536 by default, for how soon workers give freed memory back. With it glibc maps arrays of some MiB,
and clears their pages, anew for every task, which can take as long as cutting. Null leaves the variable out, and glibc
to itself, as in any other process."""

Wanted = Mapping[str, Any] | Literal[False] | None
"""What `write_patches` takes as ``cluster``."""


def find_client(cluster: Wanted, stack: ExitStack) -> Any:
    """The client to use, None for threads of this process; what is started here ends with `stack`.

    Parameters
    ----------
    cluster : mapping, None or False
        As for `write_patches`.
    stack : ExitStack

    Raises
    ------
    ValueError
        If `cluster` does not say what to start.
    PatchmillError
        If nobody answers at the address that is configured, or the active client is asynchronous.
    """
    if cluster is False:
        return None
    if cluster is not None:
        return _started(check_cluster(cluster), stack)
    if _is_in_task():
        return None
    client = _active()
    if client is not None:
        return _refuse_asynchronous(client)
    address = _configured()
    return None if address is None else _connected(address, stack)


def is_on_cluster(cluster: Wanted) -> bool:
    """Whether workers of a cluster will cut, found out without starting or asking one.

    Raises
    ------
    ValueError
        If `cluster` does not say what to start.
    """
    if cluster is False:
        return False
    if cluster is not None:
        return bool(check_cluster(cluster))
    return not _is_in_task() and (_active() is not None or _configured() is not None)


def check_cluster(cluster: Any) -> Mapping[str, Any]:
    """`cluster`, where it has the right form.

    Raises
    ------
    ValueError
        If it has not.
    """
    if not isinstance(cluster, Mapping):
        raise ValueError(f"cluster must be a mapping with a class, {_EXAMPLE}, got {cluster!r}")
    unknown = sorted(set(cluster) - {"class", "arguments", "scale"})
    if unknown or "class" not in cluster:
        raise ValueError(
            f"cluster takes class, arguments and scale, {_EXAMPLE}, got {', '.join(unknown) or 'no class'}"
        )
    return cluster


def _is_in_task() -> bool:
    """Whether a worker of a cluster is running this thread's task."""
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return False
    try:
        distributed.get_worker()
    except ValueError:
        return False
    return True


def _active() -> Any:
    """The client of this process; None where there is none."""
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return None
    try:
        return distributed.get_client()
    except ValueError:
        return None


def _refuse_asynchronous(client: Any) -> Any:
    """`client`, unless nobody can wait for it."""
    if client.asynchronous:
        raise PatchmillError(
            "the active client is asynchronous, and write_patches waits: make a client without asynchronous=True, "
            "or pass cluster=False to cut with the threads of this process"
        )
    return client


def _configured() -> str | None:
    """``DASK_SCHEDULER_ADDRESS``, or ``scheduler-address`` in Dask's configuration."""
    from dask import config

    return os.environ.get("DASK_SCHEDULER_ADDRESS") or config.get("scheduler-address", None)


def _connected(address: str, stack: ExitStack) -> Any:
    from distributed import Client

    try:
        return stack.enter_context(Client(address, set_as_default=False))
    except (OSError, ValueError) as error:
        raise PatchmillError(
            f"no Dask scheduler answers at {address} ({error}): start it, or unset DASK_SCHEDULER_ADDRESS "
            "and scheduler-address in Dask's configuration to cut with the threads of this process"
        ) from error


def _started(cluster: Mapping[str, Any], stack: ExitStack) -> Any:
    from distributed import Client

    return stack.enter_context(Client(deployed(cluster, stack), set_as_default=False))


def deployed(cluster: Mapping[str, Any], stack: ExitStack) -> Any:
    """Start a cluster, which ends with `stack`: one of Dask's deployments, asked for its workers.

    Parameters
    ----------
    cluster : mapping
        As `check_cluster` takes it.
    stack : ExitStack

    Raises
    ------
    ValueError
        If its class can't be imported, or deploys nothing.
    """
    kind, arguments = deployment(str(cluster["class"])), dict(cluster.get("arguments") or {})
    if kind.__name__ == "LocalCluster":
        arguments = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"} | arguments
    stack.callback(_restore, _VARIABLE, os.environ.get(_VARIABLE))
    if os.environ.get(_VARIABLE) == str(_TRIMMED):
        del os.environ[_VARIABLE]  # where an earlier nanny left it
    stack.enter_context(_settings())
    made = stack.enter_context(kind(**arguments))
    if cluster.get("scale") is not None:
        made.scale(cluster["scale"])
    return made


def _settings() -> Any:
    """Dask's configuration for the workers that are started here, while they are wanted."""
    from dask import config

    spawn = {"distributed.worker.multiprocessing-method": "spawn"}  # tensorstore's threads do not survive a fork
    chosen = config.get(TRIMMING, None) != _TRIMMED
    return config.set(spawn if chosen else spawn | {TRIMMING: None})


_VARIABLE = TRIMMING.rpartition(".")[2]
_TRIMMED = 65536


def _restore(name: str, value: str | None) -> None:
    """Nannies put what their workers get into the environment of this process, and leave it there."""
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


def deployment(path: str) -> Any:
    """The class that a path names, such as ``dask.distributed.LocalCluster``.

    Raises
    ------
    ValueError
        If it can't be imported, or deploys nothing.
    """
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:  # whatever a module raises that can't be loaded
        raise ValueError(
            f"cluster class {path!r} can't be imported ({error}): install its package, {_EXAMPLE}"
        ) from error
    # A config may come from somebody else: os.system is no deployment, and subprocess.Popen none either.
    if not (isinstance(found, type) and hasattr(found, "scale") and hasattr(found, "scheduler_address")):
        raise ValueError(f"cluster class {path!r} is no class that Dask deploys with, {_EXAMPLE}")
    return found
