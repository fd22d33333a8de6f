"""Where paths of stages meet: who reads or writes what another one writes.

::

    out/a.zarr        written by first
    out/a.zarr/x      lies in that: `Written.around`
    out               has that in it: `Written.inside`

Each path is resolved once and looked up by the folders above it, so that a thousand stages are a thousand look-ups and
not a million comparisons.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from glob import has_magic
from typing import TYPE_CHECKING

from patchmill.stages.config import UNKNOWN, Config
from patchmill.stages.graph import before
from patchmill.stages.measuring import matching, place_at
from patchmill.stages.places import TEMPORARY, folders, is_local, real_place

if TYPE_CHECKING:
    from patchmill.stages.pipelines import Stage


@dataclass(frozen=True, slots=True)
class Place:
    """A path or URL that a stage writes."""

    path: str
    param: str
    """By which it is given, as `Stage.outputs` names it."""
    stage: str
    at: int
    """The stage's number in the order of the run."""


class Written:
    """Places, to be found by a path that lies in them or around them.

    Parameters
    ----------
    places : iterable of Place
    resolve : callable, optional
        `real_place`, which remembers what it has looked at.
    """

    def __init__(self, places: Iterable[Place] = (), resolve: Callable[[str], str] | None = None) -> None:
        self.resolve = cache(real_place) if resolve is None else resolve
        self._at: dict[str, list[Place]] = defaultdict(list)
        self._in: dict[str, list[Place]] = defaultdict(list)
        for place in places:
            self.put(place)

    def put(self, place: Place) -> None:
        """One more."""
        real, *above = folders(self.resolve(place.path))
        self._at[real].append(place)
        for folder in above:
            self._in[folder].append(place)

    def around(self, path: str) -> list[Place]:
        """Those that a path is, or lies in; the earliest in the run first."""
        found = [place for folder in folders(self.resolve(path)) for place in self._at.get(folder, ())]
        return sorted(found, key=lambda place: place.at)

    def inside(self, path: str) -> list[Place]:
        """Those that lie in a path."""
        return self._in.get(self.resolve(path), [])

    def lies_in(self, path: str, folder: str) -> bool:
        """`is_within`, of paths that are looked at once."""
        return self.resolve(folder) in folders(self.resolve(path))

    def matching(self, pattern: str) -> Iterator[Place]:
        """Those that a pattern matches, or that lie in what it matches, as they are written."""
        if has_magic(pattern):
            yield from (place for places in self._at.values() for place in places if is_found(place.path, pattern))


def is_found(path: str, pattern: str) -> bool:
    """Whether a pattern matches `path`, or a folder that it lies in; only ``**`` is more than one name.

    Examples
    --------
    >>> is_found("/a/b/c.tif", "/a/*.tif"), is_found("/a/b/c.tif", "/a/**/*.tif"), is_found("/a/b/c.tif", "/a/*")
    (False, True, True)
    """
    return _leads(path.split("/"), pattern.split("/"))


def _leads(names: Sequence[str], patterns: Sequence[str]) -> bool:
    if not patterns:
        return True
    if patterns[0] == "**":
        return any(_leads(names[at:], patterns[1:]) for at in range(len(names) + 1))
    return bool(names) and fnmatchcase(names[0], patterns[0]) and _leads(names[1:], patterns[1:])


def places_of(stages: Sequence[Stage]) -> list[Place]:
    """All that stages write, in the order of the run; what begins with ``temp:`` is never the same place twice."""
    return [
        Place(path, param, stage.name, at)
        for at, stage in enumerate(stages)
        for param, path in stage.paths("out")
        if not path.startswith(TEMPORARY)
    ]


def writers_of(stage: Stage, written: Written, at: int | None = None) -> frozenset[str]:
    """Names of those that write what a stage reads; of all, or of those before the number `at` in the run."""
    return frozenset(
        place.stage for _, path in stage.paths("in") for place in written.around(path) if at is None or place.at < at
    )


def check_paths(
    stages: Sequence[Stage],
    written: Written,
    chosen: Collection[str],
    config: Config,
    reserved: Mapping[str, str],
) -> None:
    """Note what is wrong with the paths of stages.

    Parameters
    ----------
    stages : sequence of Stage
        In the order in which they would run.
    written : Written
        All that they write.
    chosen : collection of str
        Names of those that run.
    config : Config
        Takes the problems.
    reserved : mapping
        Where the runner itself writes, with what that is.
    """
    so_far = Written(resolve=written.resolve)
    known = {stage.name for stage in stages}
    _check_meetings(stages, written, config)
    _check_growing(stages, written, config, reserved)
    for at, stage in enumerate(stages):
        # What a stage that is itself wrong would have written is nobody else's problem.
        if config.references[stage.name] <= known and stage.name in chosen:
            for param, path in stage.inputs:
                _note(config, stage, param, _input_problem(path, written.around(path), stage.name, at, chosen))
        for place in places_of([stage]):
            sentence = _output_problem(place.path, config.model.root, so_far)
            sentence = sentence or _reserved_problem(place.path, reserved, written)
            _note(config, stage, place.param, sentence)
            if not sentence:  # what is not to be written is in nobody's way
                so_far.put(place)


def _check_meetings(stages: Sequence[Stage], written: Written, config: Config) -> None:
    """Note who reads what another one writes, where neither waits for the other."""
    awaited = cache(lambda name: before(config.references, [name]))
    for at, stage in enumerate(stages):
        for param, path in stage.paths("in"):
            for sentence in _meetings(stage, at, path, written, awaited):
                _note(config, stage, param, sentence)


def _meetings(
    stage: Stage, at: int, path: str, written: Written, awaited: Callable[[str], Collection[str]]
) -> Iterator[str]:
    around = written.around(path)
    inside = {*written.inside(path), *written.matching(path)}.difference(around)
    # Who writes later around the path is told as such, see `_input_problem`.
    met = [place for place in around if place.at <= at]
    for place in sorted((*met, *inside), key=lambda place: place.at):
        if place.stage not in awaited(stage.name) and stage.name not in awaited(place.stage):
            yield _meeting(stage, path, place, inside=place in inside)


def _meeting(stage: Stage, path: str, place: Place, *, inside: bool) -> str:
    what = f"{place.path} in {path}" if inside else path
    reference = f"${{stages.{place.stage}.params.{place.param}}}{path[len(place.path) :]}"
    way = "" if inside else f"refer to it as {reference}, or "
    return f"{what} is written by {place.stage}, for which {stage.name} does not wait: {way}say after: {place.stage}"


def _check_growing(stages: Sequence[Stage], written: Written, config: Config, reserved: Mapping[str, str]) -> None:
    """Note inputs that the run itself adds to: the next one would read what this one leaves."""
    of_runner = Written((Place(path, "", "", len(stages)) for path in reserved), written.resolve)
    for at, stage in enumerate(stages):
        for param, path in stage.inputs:
            later = [place for place in (*written.inside(path), *written.matching(path)) if place.at >= at]
            for place in [*later, *of_runner.inside(path), *of_runner.matching(path)][:1]:
                what = f"which {place.stage} writes" if place.stage else reserved[place.path]
                _note(config, stage, param, _growing(path, place.path, what))


def _growing(path: str, inside: str, what: str) -> str:
    way = "name the files by a pattern such as *.tif, or let them and the root lie apart"
    return f"{path} has {inside} in it, {what}, which the next run would read as well: {way}"


def _note(config: Config, stage: Stage, param: str, sentence: str) -> None:
    keys = ("stages", stage.name, "params", *param.split("."))
    if sentence and not config.problems.about(*keys):
        config.problems.add(keys, f"{stage.name}.{param}: {sentence}")


def _input_problem(path: str, around: Sequence[Place], name: str, at: int, chosen: Collection[str]) -> str:
    earlier = [place for place in around if place.at < at]
    if any(place.stage in chosen for place in earlier):
        return ""
    for place in around[len(earlier) :]:
        itself = f"by {name} itself ({place.param}): let it read another place"
        later = f"by {place.stage}, which runs later; refer to it as ${{stages.{place.stage}.params...}}"
        return f"{path} is written {itself if place.stage == name else later}"
    there = place_at(path)
    if there is not None and not (os.path.isfile(there) or os.path.isdir(there)):
        return f"{path} is neither a file nor a folder"
    if there is not None or any(matching(path)):
        return ""
    for place in earlier:
        way = f"run that too (--from {place.stage})"
        return f"there is no {path}, and {place.stage}, which writes it, is left out: {way}"
    return f"there is no {path}, and no stage writes it"


def _output_problem(path: str, root: str, written: Written) -> str:
    around = written.around(path)
    for place in around:
        if place.path == path:
            return f"{path} is written by {place.stage} already"
    if path == root:
        return f"{path} is the root itself: name a place in it"
    if is_local(path) and root != UNKNOWN and not (is_local(root) and written.lies_in(path, root)):
        return f"{path} does not lie under the root {root}"
    for place in (*around, *written.inside(path)):
        both = f"{path} and {place.path}, which {place.stage} writes, lie in each other"
        return f"{both}: give each stage a place of its own"
    return ""


def _reserved_problem(path: str, reserved: Mapping[str, str], written: Written) -> str:
    """What is wrong with a place that the runner itself writes to."""
    for place, what in reserved.items():
        if is_local(place) and (written.lies_in(path, place) or written.lies_in(place, path)):
            return f"{path} is where {what} of this config will lie: choose another place"
    return ""
