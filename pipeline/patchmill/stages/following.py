"""What the stages of a run say, as they say it, until the run is over: other processes write, here it is only read."""

from __future__ import annotations

import codecs
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from patchmill.stages.finding import trouble
from patchmill.stages.records import Run, StageRecord, read_status

_LOOK_SECONDS = 0.3


def follow(run: Run, names: Collection[str]) -> Iterator[tuple[StageRecord, str]]:
    """Whole lines of the logs of a run: those that are there, then those that come, until the run is over.

    Parameters
    ----------
    run : Run
        One that runs, or has ended: then all that it said comes at once.
    names : collection of str
        Of the stages that are listened to.

    Yields
    ------
    (StageRecord, str)
        Who says it, and one or more lines, without the last line's end.
    """
    logs = {stage.name: _Log(stage.log) for stage in run.stages if stage.name in names}
    while True:
        # Asked before the logs are read: so what was said last is read too.
        over = run.state != "running" or trouble(run) != ""
        for stage in run.stages:
            said = logs[stage.name].more(last=over) if stage.name in logs else ""
            if said:
                yield stage, said
        if over:
            return
        time.sleep(_LOOK_SECONDS)
        run = read_status(run.folder)


@dataclass
class _Log:
    """A file that somebody else writes."""

    path: str
    _read: int = 0
    _begun: str = ""
    _decoder: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace")
    )

    def more(self, *, last: bool) -> str:
        """Whole lines that were not there before; at last also one that has no end."""
        try:
            with open(self.path, "rb") as file:
                file.seek(self._read)
                new = file.read()
        except OSError:  # it has not begun
            new = b""
        self._read += len(new)
        text = self._begun + self._decoder.decode(new, final=last)
        lines, end, self._begun = text.rpartition("\n")
        if last and self._begun:
            lines, self._begun = f"{lines}{end}{self._begun}", ""
        return lines
