"""Whether a stage runs, and why: what it did last, compared with what it would do now.

::

    code, parameters, inputs, version, outputs     all as they were            skipped
                                                   inputs have only grown      runs, and goes on with its outputs
                                                   anything else               runs, and makes its outputs anew
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from patchmill.stages.codes import module_digests, notebook_digest
from patchmill.stages.measuring import is_there
from patchmill.stages.memos import Basis, Memo, Memos, Work
from patchmill.stages.places import TEMPORARY, is_local
from patchmill.stages.traces import Trace, difference, is_known, is_left, left_at, only_grew, stamp, trace
from patchmill.types import shown_value

if TYPE_CHECKING:
    from patchmill.stages.pipelines import Stage

_LISTED = 3
"""Reasons of one kind that are told."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a stage."""

    runs: bool
    why: str
    basis: Basis
    anew: bool = False
    """Whether what is there of its outputs is made anew, not gone on with."""
    begun: str = ""
    """The task, see `Work`, of what was begun and is gone on with."""

    def task(self, run: str) -> str:
        """What the stage calls the work that it now does."""
        return self.begun or (f"{self.basis.digest}-{run}" if self.anew else self.basis.digest)


def decide(stage: Stage, memos: Memos, *, forced: bool = False, ahead: Collection[str] = ()) -> Decision:
    """Whether a stage runs.

    Parameters
    ----------
    stage : Stage
    memos : Memos
    forced : bool
        Whether somebody asked for it.
    ahead : collection of str
        Stages that it needs and that would run first, where nothing has run yet.
    """
    basis, memo = basis_of(stage, memos), memos[stage.name]
    first = sorted(stage.needs & frozenset(ahead))
    reasons = ["--force"] if forced else []
    reasons += [f"{' and '.join(first)}, which it needs, would run first"] if first else []
    reasons += _reasons(stage, memo, basis)
    if not reasons and memo.done is not None:
        return Decision(runs=False, why=f"nothing changed since run {memo.done.run}", basis=basis)
    begun = memo.begun if memo.begun is not None and memo.begun.basis.digest == basis.digest and not forced else None
    anew = begun.anew if begun is not None else (forced or _is_other(stage, memo, basis)) and _is_anything(stage)
    return Decision(
        runs=True, why="; ".join(reasons), basis=basis, anew=anew, begun="" if begun is None else begun.task
    )


def basis_of(stage: Stage, memos: Memos) -> Basis:
    """What a stage works on, as it is now."""
    from patchmill import __version__

    follows = {name: memos[name].done for name in sorted(stage.follows)}
    return Basis(
        code=notebook_digest(stage.notebook, injects=bool(stage.params)),
        modules=module_digests(stage.notebook),
        # As a file gives them back, or what was a tuple would differ from itself.
        parameters=_plain(stage.params),
        version=__version__,
        inputs={path: trace(path, stage.options("in")) for _, path in stage.paths("in")},
        after={name: "" if work is None else work.run for name, work in follows.items()},
    )


def left_by(stage: Stage) -> dict[str, Trace]:
    """What is at a stage's outputs, by path."""
    return {path: left_at(path, stage.options("out")) for _, path in stage.paths("out")}


def before(stage: Stage, memo: Memo, task: str) -> dict[str, Trace]:
    """Stamps of a stage's outputs before it began with a task; of one that is gone on with, before that was begun."""
    if memo.begun is not None and memo.begun.task == task:
        return dict(memo.begun.outputs)
    return {path: stamp(path) if is_local(path) else {} for path in stage.all_outputs}


def unwritten(stage: Stage, were: Mapping[str, Trace]) -> str:
    """A sentence, where a local output is not there after a stage has ended, or is what it was before; see `before`."""
    for param, path in stage.local_outputs:
        # Of a slice's the workshop will do.
        if not is_there(path) and not os.path.isdir(f"{path}.patchmill"):
            return f"it ended without having written {path}, its {param}: write there, or name the parameter otherwise"
        if were.get(path) and stamp(path) == were[path]:
            return (
                f"it left {path}, its {param}, as it was before it began: write it anew, "
                "or touch it where what is there is right"
            )
    return ""


def _reasons(stage: Stage, memo: Memo, basis: Basis) -> list[str]:
    if memo.begun is not None:
        return [f"run {memo.begun.run} did not bring it to its end"]
    if memo.done is None:
        return ["no earlier run of it is known"]
    return [
        *_changes(memo.done.basis, basis, os.path.dirname(stage.notebook)),
        *_unknown(stage, basis),
        *_damage(stage, memo.done),
    ]


def _changes(before: Basis, now: Basis, folder: str) -> Iterator[str]:
    if before.code != now.code:
        yield "the notebook's code changed"
    modules = sorted(
        name for name in {*before.modules, *now.modules} if before.modules.get(name) != now.modules.get(name)
    )
    if modules:
        yield f"{_few([os.path.relpath(name, folder) for name in modules])}, which the notebook imports, changed"
    names = [name for name in {**before.parameters, **now.parameters} if _differs(name, before, now)]
    if names:
        yield _few([_parameter(name, before, now) for name in names])
    yield from _of_inputs(before, now, known=bool(names))
    if before.version != now.version:
        yield f"patchmill changed from {before.version} to {now.version}"
    for name, run in now.after.items():
        if run != before.after.get(name):
            yield f"{name}, which it comes after, ran"


def _of_inputs(before: Basis, now: Basis, *, known: bool) -> Iterator[str]:
    """What is new about inputs; of those that are given as another path the parameter tells, which is `known`."""
    for path, found in now.inputs.items():
        if path in before.inputs and before.inputs[path] != found:
            yield f"input {path} {difference(before.inputs[path], found)}"
        elif path not in before.inputs and not known:  # its parameter was marked as an input since
            yield f"input {path} was not looked at before"


def _differs(name: str, before: Basis, now: Basis) -> bool:
    if (name in before.parameters) != (name in now.parameters):
        return True
    return _exactly(before.parameters.get(name)) != _exactly(now.parameters.get(name))


def _exactly(value: Any) -> str:
    """A value as text: 1, 1.0 and true, which are equal, are told apart, inside lists and mappings too."""
    return json.dumps(value, sort_keys=True, default=str)


def _parameter(name: str, before: Basis, now: Basis) -> str:
    old, new = (shown_value(each[name]) if name in each else None for each in (before.parameters, now.parameters))
    if old is None:
        return f"{name} is given as {new}"
    return f"{name} is not given any more" if new is None else f"{name} changed from {old} to {new}"


def _unknown(stage: Stage, basis: Basis) -> Iterator[str]:
    for path, found in basis.inputs.items():
        if not is_known(found):
            yield f"input {path} can't be known again without reading it"
    for param, path in stage.paths("out"):
        if path.startswith(TEMPORARY):
            yield f"{param} is a new temporary folder each time"


def _damage(stage: Stage, done: Work) -> Iterator[str]:
    for _, path in stage.paths("out"):
        found = trace(path, stage.options("out"))
        if found["kind"] == "unknown":
            yield f"the output {path} can't be known again without reading it"
        elif not is_left(path, found, done.outputs.get(path, {})):
            yield f"the output {path} {'is gone' if found['kind'] == 'nothing' else 'is not as it was left'}"


def _is_other(stage: Stage, memo: Memo, basis: Basis) -> bool:
    """Whether going on with what is there would be wrong."""
    known = [work for work in (memo.done, memo.begun) if work is not None]
    if not known or (memo.begun is not None and memo.begun.anew):
        return True
    if memo.begun is None and memo.done is not None and any(_damage(stage, memo.done)):
        return True
    return not all(_only_grew(work.basis, basis) for work in known)


def _only_grew(before: Basis, now: Basis) -> bool:
    ways = ((each.code, each.modules, each.parameters, each.version) for each in (before, now))
    same = len({_exactly(way) for way in ways}) == 1
    grew = all(only_grew(before.inputs.get(path, {"kind": "unknown"}), found) for path, found in now.inputs.items())
    return same and grew


def _is_anything(stage: Stage) -> bool:
    """Whether there is anything to be made anew."""
    return any(
        not is_local(path) or os.path.lexists(path) or os.path.exists(f"{os.path.realpath(path)}.patchmill")
        for _, path in stage.paths("out")
    )


def _few(texts: list[str]) -> str:
    more = f" and {len(texts) - _LISTED} more" if len(texts) > _LISTED else ""
    return ", ".join(texts[:_LISTED]) + more


def _plain(parameters: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(dict(parameters), default=str))
    return plain
