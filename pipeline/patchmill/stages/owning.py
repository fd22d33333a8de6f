"""Whose an output is. A stage replaces what it wrote itself, and nothing else.

::

    store that patchmill wrote    the stage's that its provenance names
    anything else                 the stage's, if it is what that is known to have left, or to have begun: see `memos`
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from patchmill.errors import PatchmillError, TargetExistsError
from patchmill.stages.asking import answer_of
from patchmill.stages.memos import Memo, Memos, writers_known
from patchmill.stages.places import is_local
from patchmill.stages.traces import Trace, is_left, own_attributes, trace

if TYPE_CHECKING:
    from patchmill.stages.pipelines import Pipeline, Stage
    from patchmill.stages.selecting import Selection

_ON_REQUEST = ("overwrite", "append", "resume")
"""Modes that say, in the config, what becomes of something that nobody is named for."""


def checked_pipeline(
    config: str, overrides: Sequence[str], chosen: Selection, *, thorough: bool = False
) -> tuple[Pipeline, frozenset[str]]:
    """The pipeline of a config, as `read_pipeline` reads it, and names of the stages that are forced.

    Raises
    ------
    ConfigError
        If the config can't be run.
    TargetExistsError
        If a stage would write where something is that it did not write.
    """
    from patchmill.stages.pipelines import read_pipeline

    pipeline = read_pipeline(config, overrides, chosen, thorough=thorough)
    forced = chosen.forced(pipeline.names)
    refuse_foreign(pipeline, Memos(pipeline.runs, pipeline.name), forced)
    return pipeline, forced


def refuse_foreign(pipeline: Pipeline, memos: Memos, forced: Collection[str] = ()) -> None:
    """Raise where a stage would write over what is not its own.

    Parameters
    ----------
    pipeline : Pipeline
    memos : Memos
    forced : collection of str
        Stages that may replace what was changed since they wrote it.

    Raises
    ------
    TargetExistsError
        With a sentence for each such output.
    """
    sentences = [
        sentence
        for stage in pipeline.stages
        for sentence in foreign(stage, pipeline.name, memos[stage.name], pipeline.runs, forced=stage.name in forced)
    ]
    if sentences:
        raise TargetExistsError("\n".join(sentences))


def foreign(stage: Stage, pipeline: str, memo: Memo, runs: str, *, forced: bool) -> list[str]:
    """A sentence for each output of a stage that is not its own to replace."""
    return [
        f"{stage.name}.{param}: {sentence}"
        for param, path in stage.paths("out")
        if (sentence := _problem(stage, path, pipeline, memo, runs, forced=forced))
    ]


def made_by(path: str, options: Mapping[str, Any] | None = None) -> tuple[bool, str]:
    """Whether patchmill wrote, or has begun, what is at an output, and for which stage of which pipeline."""
    own = own_attributes(_root(path, options))
    if own is not None:
        return True, str(own.get("provenance", {}).get("stage", ""))
    begun = _begun(path, options)
    return begun is not None, str((begun or {}).get("stage", ""))


def _problem(stage: Stage, path: str, pipeline: str, memo: Memo, runs: str, *, forced: bool) -> str:
    """What is wrong with writing to `path`; empty if nothing is."""
    ours, by = made_by(path, stage.options("out"))
    if by == f"{pipeline}/{stage.name}":
        return ""
    found = trace(path, stage.options("out")) if is_local(path) or ours else {"kind": "nothing"}
    if (found["kind"] == "nothing" and not ours) or _is_left(path, found, memo):
        return ""
    if by:
        other, _, name = by.partition("/")
        return f"{path} was written by the stage {name} of {other}, so it stays: choose another place, or remove it"
    lost = "" if ours else _loss(stage, path, memo)
    if lost or stage.mode in _ON_REQUEST or (not ours and memo.begun is not None and path in memo.begun.outputs):
        return lost
    if memo.done is not None and path in memo.done.outputs and not ours:
        way = f"move it away, or let it be replaced with --force {stage.name}"
        return "" if forced else f"{path} is not what run {memo.done.run} left there: {way}"
    return _not_own(stage, path, pipeline, found, runs)


def _not_own(stage: Stage, path: str, pipeline: str, found: Trace, runs: str) -> str:
    """The sentence for what is not this stage's, with whose it is where another one is known to have left it."""
    by = next(
        (
            f"the stage {name} of {other}"
            for other, name, left in writers_known(runs, path)
            if is_left(path, found, left)
        ),
        "",
    )
    what = f"was written by {by}, so it stays" if by else f"is there, and {stage.name} of {pipeline} did not write it"
    if "mode" in stage.declared:
        return f"{path} {what}: choose another place, remove it, or say by mode: overwrite that it may be replaced"
    return f"{path} {what}: choose another place, or remove it"


def _loss(stage: Stage, path: str, memo: Memo) -> str:
    """A sentence, if the stage left a store of patchmill's there, of which the root is gone by now; else ""."""
    if memo.begun is not None or memo.done is None or "made" not in memo.done.outputs.get(path, {}):
        return ""
    # Who writes stores leaves alone what is none, whatever is asked for.
    way = f"remove it or move it away, and {stage.name} makes it anew"
    what = f"{path} has lost the zarr.json that run {memo.done.run} wrote"
    return f"{what}, without which nothing replaces it, --force neither: {way}"


def _is_left(path: str, found: Trace, memo: Memo) -> bool:
    """Whether it is what the stage left; of a store the root tells, be it another stage's that a notebook copied."""
    left = {} if memo.done is None else memo.done.outputs.get(path, {})
    return ("root" in found and found["root"] == left.get("root")) or is_left(path, found, left)


def _root(path: str, options: Mapping[str, Any] | None) -> bytes | None:
    if not is_local(path):
        return _read_remote(path, "zarr.json", options)
    with suppress(OSError), open(os.path.join(path, "zarr.json"), "rb") as file:
        return file.read()
    return None


def _begun(path: str, options: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """What is remembered of a patch set that was begun there and is not finished."""
    if is_local(path) and not os.path.exists(f"{os.path.realpath(path)}.patchmill"):
        return None
    from patchmill.storage.groups import begun
    from patchmill.storage.locations import Location

    try:
        place = Location.parse(path, options=options)
        return begun(place) if place.is_local else answer_of(path, lambda: begun(place))
    except (PatchmillError, ValueError, TimeoutError):
        return None


def _read_remote(path: str, key: str, options: Mapping[str, Any] | None) -> bytes | None:
    from patchmill.storage.locations import Location

    try:
        place = Location.parse(path, options=options)
        return answer_of(path, lambda: place.read(key))
    except (PatchmillError, ValueError, TimeoutError):
        return None
