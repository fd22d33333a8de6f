"""Notebooks as stages: their parameters, configs that chain them, runs and their records.

Each name is loaded when it is first used: who needs one light module of this room need not wait for the heavy ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from patchmill.types import loaded_later

if TYPE_CHECKING:
    from patchmill.stages.entering import ParameterError, StageParameters, parameters
    from patchmill.stages.records import Run
    from patchmill.stages.running import run
    from patchmill.stages.samples import patches_or_sample, source_or_sample

_HOMES = {
    "ParameterError": "patchmill.stages.entering",
    "Run": "patchmill.stages.records",
    "StageParameters": "patchmill.stages.entering",
    "parameters": "patchmill.stages.entering",
    "patches_or_sample": "patchmill.stages.samples",
    "run": "patchmill.stages.running",
    "source_or_sample": "patchmill.stages.samples",
}

__all__ = [
    "ParameterError",
    "Run",
    "StageParameters",
    "parameters",
    "patches_or_sample",
    "run",
    "source_or_sample",
]


__getattr__ = loaded_later(__name__, _HOMES)
