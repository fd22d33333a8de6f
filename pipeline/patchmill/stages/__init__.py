"""Notebooks as stages: their parameters, configs that chain them, runs and their records."""

from __future__ import annotations

from patchmill.stages.entering import ParameterError, StageParameters, parameters
from patchmill.stages.records import Run
from patchmill.stages.running import run
from patchmill.stages.samples import patches_or_sample, source_or_sample

__all__ = ["ParameterError", "Run", "StageParameters", "parameters", "patches_or_sample", "run", "source_or_sample"]
