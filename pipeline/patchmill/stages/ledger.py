"""A run's record while it runs: each change is on disk before anybody is told of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeAlias

from patchmill.errors import PatchmillError
from patchmill.stages.records import Run, StageRecord, now, write_status

Watch: TypeAlias = Callable[[Run], None]

_BEAT_SECONDS = 3.0


class Ledger:
    """The run as it stands.

    Parameters
    ----------
    record : Run
        As it begins.
    watch : callable
        Called with the run whenever a stage begins or ends.
    """

    def __init__(self, record: Run, watch: Watch) -> None:
        self.record = record
        self._watch = watch
        self._began = time.monotonic()
        self._written = self._began

    def note(self, *stages: StageRecord, **changes: Any) -> None:
        """Take changed stages and fields into the record."""
        self.put(*stages, **changes)
        self._watch(self.record)

    def put(self, *stages: StageRecord, **changes: Any) -> None:
        """The same, and nobody is told."""
        record = self.record
        for stage in stages:
            record = record.with_stage(stage)
        self.record = replace(record, **changes, beat=now(), seconds=round(time.monotonic() - self._began, 2))
        write_status(self.record)
        self._written = time.monotonic()

    def beat(self) -> None:
        """Tell that the run lives, if it is time to."""
        if time.monotonic() - self._written < _BEAT_SECONDS:
            return
        self._written = time.monotonic()
        with suppress(PatchmillError):  # a disk that is full for a moment ends no run
            self.put()

    def stage(self, name: str) -> StageRecord:
        """One stage as it stands."""
        return next(stage for stage in self.record.stages if stage.name == name)
