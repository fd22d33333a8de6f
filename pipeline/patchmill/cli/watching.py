"""A run, told on the terminal: a line when a stage begins, one when it ends, and at last what to open."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from patchmill.cli.output import complain, say, shown_path
from patchmill.show.progress import shown_seconds

if TYPE_CHECKING:
    from patchmill.stages import Run
    from patchmill.stages.records import StageRecord


_STATES = {"running": "runs"}


@dataclass
class RunWatch:
    """Called with a run whenever it changes; tells each change once."""

    _told: dict[str, str] = field(default_factory=dict, init=False)

    def __call__(self, run: Run) -> None:
        """Tell what is new."""
        if not self._told:
            stages = "1 stage" if len(run.stages) == 1 else f"{len(run.stages)} stages"
            say(f"{run.name}: {stages}, record {shown_path(run.folder)}")
        for number, stage in enumerate(run.stages, 1):
            if self._told.get(stage.name, "waiting") != stage.state:
                took = "" if stage.seconds is None else f" in {shown_seconds(stage.seconds)}"
                if stage.state == "waiting":
                    took += f", for attempt {stage.attempt + 1}; log {shown_path(stage.log)}"
                if stage.state == "running" and stage.attempt > 1:
                    took = f", attempt {stage.attempt}"
                took += left_out(stage)
                why = f": {stage.why}" if stage.state in {"running", "skipped"} and stage.attempt < 2 else ""
                say(f"[{number}/{len(run.stages)}] {stage.name}: {_STATES.get(stage.state, stage.state)}{took}{why}")
            self._told[stage.name] = stage.state

    def end(self, run: Run) -> None:
        """Tell where everything is; of a run that ended badly last of all which stage, which cell, why."""
        from patchmill.stages.reporting import what_to_open, written
        from patchmill.stages.running import failure_text

        idle = run.stages and all(stage.state == "skipped" for stage in run.stages)
        say(f"{run.name}: {'nothing to do' if idle else run.state} in {shown_seconds(run.seconds)}")
        rows = [*written(run).items(), ("report", run.report)]
        width = max(len(name) for name, _ in rows)
        for name, path in rows:
            say(f"  {name:<{width}}  {shown_path(path)}")
        if run.exit_code == 0:
            lines = what_to_open(run)
            say(f"open {shown_path(run.report)} in a browser{'; in Python:' if lines else ''}")
            for line in lines:
                say(f"  {line}")
            return
        texts = [failure_text(stage) for stage in run.stages if stage.failure is not None]
        for text in texts or [run.state]:
            complain(f"patchmill: {text}")


def left_out(stage: StageRecord) -> str:
    """Behind the time of a stage that ended well, how much it left out; of an empty patch set, that it is."""
    if stage.state not in {"done", "skipped"}:
        return ""
    from patchmill.show.accounts import nothing_kept
    from patchmill.stages.telling import told_by

    told = told_by(stage.executed)
    sentence = nothing_kept(told.figures)
    skipped = f"{len(told.skipped):,} left out" if told.skipped and stage.state == "done" else ""
    return "".join(f", {text}" for text in (skipped, sentence) if text)
