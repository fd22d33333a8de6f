"""Which stage of which pipeline writes: what it leaves in a store says so, and what it may replace follows from that.

Whoever runs notebooks as stages tells by Dask's configuration:

::

    patchmill.stage   demo/patchify        the stage patchify of the pipeline demo
                      demo/patchify@4f1a   the same, and a name of this piece of its work, by which it is gone on with
    patchmill.anew    true                 what it made on another piece of work is out of date, though it may not show

Where nothing is told, as by hand, nobody is named, and nothing is replaced for belonging to oneself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KEY = "patchmill.stage"
"""In Dask's configuration."""


def maker() -> str:
    """The stage that this process works for, such as ``demo/patchify``; empty where it works for none."""
    return _told()[0]


def task() -> str:
    """The name of this piece of the stage's work; empty if not told."""
    return _told()[1]


def signature() -> dict[str, str]:
    """What a store's provenance says about who made it."""
    stage, digest = _told()
    return ({"stage": stage} if stage else {}) | ({"task": digest} if digest else {})


def is_mine(own: Mapping[str, Any] | None) -> bool:
    """Whether the stage that this process works for made a store, whose ``patchmill`` attribute is `own`."""
    stage = maker()
    return bool(stage) and own is not None and own.get("provenance", {}).get("stage") == stage


def is_stale(own: Mapping[str, Any] | None) -> bool:
    """Whether this stage made a store, and has been told that what it made then is not to be gone on with."""
    return own is not None and is_mine(own) and told_anew() and own["provenance"].get("task", "") != task()


def told_anew() -> bool:
    """Whether the stage that this process works for was told that what it made before is out of date."""
    from dask import config

    return bool(config.get("patchmill.anew", default=False))


def work_for(stage: str) -> None:
    """Let this process work for a stage, such as ``demo/patchify``, from now on."""
    from dask import config

    config.set({KEY: stage})


def _told() -> tuple[str, str]:
    from dask import config

    stage, _, digest = str(config.get(KEY, None) or "").partition("@")
    return stage, digest
