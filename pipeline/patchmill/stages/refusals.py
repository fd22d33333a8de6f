"""Attempts at a run that were refused before anything ran, which leave no record: a night on which nothing happened.

::

    <runs>/demo.stages/refused.json      of the last one: when, and the sentences
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress

from patchmill.errors import ConfigError
from patchmill.stages.memos import memory_folder
from patchmill.stages.records import Run, now, write_whole

_COMMAND_LINE = "command line:"


def note_refusal(config: str, overrides: Sequence[str], sentences: str) -> None:
    """Note that a run of a config was refused, if it has run before; not what was only typed wrongly.

    Parameters
    ----------
    config : str
    overrides : sequence of str
    sentences : str
        Why, a line each.
    """
    from patchmill.stages.config import read_config
    from patchmill.stages.pipelines import runs_folder

    if all(line.startswith(_COMMAND_LINE) for line in sentences.splitlines()):
        return
    with suppress(ConfigError, OSError):
        found = read_config(config, overrides)
        note(runs_folder(found), found.model.name, sentences)


def note(runs: str, name: str, sentences: str) -> None:
    """Note that a run of the pipeline `name` was refused, if there is a folder of its records and the disk takes it."""
    if not os.path.isdir(runs):
        return
    path = _path(runs, name)
    with suppress(OSError):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        write_whole(path, json.dumps({"when": now(), "why": sentences}, indent=1) + "\n")


def refused_since(run: Run) -> str:
    """A sentence, if the last attempt at a run of the same pipeline was refused after this run had begun; else ""."""
    from patchmill.show.progress import shown_moment

    try:
        with open(_path(os.path.dirname(run.folder), run.name), encoding="utf-8") as file:
            told = json.load(file)
        when, why = str(told["when"]), str(told["why"])
    except (OSError, ValueError, TypeError, KeyError):
        return ""
    return f"a later run was refused, {shown_moment(when)}: {why}" if when > run.began else ""


def _path(runs: str, name: str) -> str:
    return os.path.join(memory_folder(runs, name), "refused.json")
