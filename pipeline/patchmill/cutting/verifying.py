"""`verify`: whether a committed store is, byte for byte, what was written; and how it becomes that again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Any

import numpy as np

from patchmill.cutting.comparing import WORKING, Comparing
from patchmill.cutting.expected import pixel_names
from patchmill.cutting.lease import Lease, take, warn
from patchmill.cutting.remaking import request_from_stored
from patchmill.cutting.repairing import Bench, bench_for, repair_metadata
from patchmill.cutting.reports import Finding, Report
from patchmill.cutting.stopping import Stop, stoppable
from patchmill.cutting.surveying import RECORD, Survey, unfinished
from patchmill.errors import CorruptChunkError, HeldError, IncompleteError, NotAPatchSetError, PatchmillError
from patchmill.planning import memory_limit, worker_count
from patchmill.reading import open_patches
from patchmill.storage import Location, StoredGroup, begun, read_group
from patchmill.storage.checking import ObjectFormat
from patchmill.storage.seals import has_seal, is_sealed, mended
from patchmill.types import Watch

_ROOT = "zarr.json"

_TRIES = 3


def verify(
    target: str | os.PathLike[str],
    *,
    repair: bool = False,
    source: Any = None,
    deep: bool = False,
    transform: Any = None,
    keep: Any = None,
    memory: int | str | None = None,
    workers: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
    target_options: Mapping[str, Any] | None = None,
    progress: Watch | None = None,
) -> Report:
    """Check a patch set, or a source that `ingest` wrote: every byte of it, and that nothing is missing.

    Parameters
    ----------
    target : path or URL
        A patch set or a canonical source.
    repair : bool
        Whether to make damaged and missing objects again from the source, each byte as it was.
    source : path, URL or object, optional
        For a repair: where the source is by now, or the object that the set was cut from. By default it is looked for
        where it was.
    deep : bool
        Whether to compute least, greatest and mean of every patch again and compare them with the catalog, as far as it
        has them: finds shards that are whole and lie in the wrong place.
    transform, keep : callable or mapping, optional
        For a repair: the functions that the set was cut with, where they can't be imported by their names.
    memory : int or str, optional
        As for `write_patches`.
    workers : int, optional
        Threads; by default the CPUs that affinity allows.
    storage_options, target_options : mapping, optional
        For remote sources and targets, in fsspec's spelling; no secrets, which come from the environment.
    progress : callable, optional
        Called with a `patchmill.types.Progress` now and then: objects done so far, and bytes read.

    Returns
    -------
    Report
        Its `ok` says whether all is well.

    Raises
    ------
    NotAPatchSetError, IncompleteError
        If there is no committed store at `target`; the latter also of a repair, if an append to it must be finished.
    HeldError
        If somebody writes there, of a repair.
    SourceError, ValueError
        If a repair needs the source, and it is not there, is another one, or can't be cut as it was.
    PatchmillError
        If a repair can't help: more than one byte of the root is wrong, or images must be ingested again.

    Examples
    --------
    >>> import numpy as np, os, patchmill, tempfile
    >>> image = np.arange(40 * 50, dtype="uint16").reshape(40, 50)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ps = patchmill.write_patches(image, f"{folder}/patches.zarr", 16, step=8)
    ...     os.truncate(f"{folder}/patches.zarr/patches/c/0/0/0/0/0", 100)
    ...     report = patchmill.verify(f"{folder}/patches.zarr")
    ...     again = patchmill.verify(f"{folder}/patches.zarr", repair=True, source=image)
    >>> report.ok, again.ok, report.damaged[0].object
    (False, True, 'patches/c/0/0/0/0/0')
    """
    place = Location.parse(target, options=target_options)
    began = time.monotonic()
    with stoppable() as stop:
        call = _Call(place, target_options, memory, workers, progress, deep, stop)
        if not repair:
            survey, _ = call.survey()
            return call.report(survey, [], began)
        group, _ = call.group_and_root()  # before a workshop is made beside what is none
        with ExitStack() as stack:
            try:
                stack.enter_context(_not_ingested(place, group))
                lease = stack.enter_context(take(place.workshop, say=warn))
            except (HeldError, IncompleteError):
                raise
            except PatchmillError as error:
                return _unless_damaged(call, error, began)
            remake = partial(
                request_from_stored,
                source=source,
                transform=transform,
                keep=keep,
                storage_options=storage_options,
                memory=memory,
                workers=workers,
            )
            return _repair(call, lease, remake, began)


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    """One call of `verify`: where, and with what."""

    place: Location
    options: Mapping[str, Any] | None
    memory: int | str | None
    workers: int | None
    progress: Watch | None
    deep: bool
    stop: Stop

    def group_and_root(self) -> tuple[StoredGroup | None, list[Finding]]:
        """The group, as its root was sealed where that can be told, and what is wrong with the root."""
        root = self.place.read(_ROOT)
        if root is None:
            raise _no_set(self.place)
        if is_sealed(root):
            group = read_group(self.place)
            if group is None:
                raise _no_set(self.place)
            return group, []
        whole = mended(root)
        if whole is None and not has_seal(root) and read_group(self.place) is None:
            raise _no_set(self.place)
        if whole is None:
            return None, [Finding("", _ROOT, None, "the root is not what was written, so nothing can be told")]
        aside = Location.parse(f"memory://patchmill-root/{id(self)}")
        aside.write(_ROOT, whole)
        group = read_group(aside)
        aside.remove()
        if group is None:
            raise _no_set(self.place)
        return replace(group, place=self.place), [Finding("", _ROOT, None, "one byte of the root is wrong")]

    def survey(self) -> tuple[Survey, StoredGroup | None]:
        """Look at everything; again where something is found and somebody wrote meanwhile, which may be all it was."""
        for _ in range(_TRIES):
            root = self.place.read(_ROOT)
            survey, group = self._survey()
            if group is None or not (survey.findings or survey.foreign):
                return survey, group
            if (self.place.read(_ROOT), unfinished(group)) == (root, survey.begun):
                return survey, group
        survey.notes.append("somebody wrote during each of several looks, so what was found may be no damage")
        return survey, group

    def _survey(self) -> tuple[Survey, StoredGroup | None]:
        group, findings = self.group_and_root()
        if group is None:
            survey = Survey(StoredGroup(self.place, {}, {}), 1, self.progress, self.stop, findings=findings, objects=1)
            return survey, None
        survey = Survey(group, self.threads(group), self.progress, self.stop, findings=findings, objects=1)
        if self.deep:
            survey.comparing = self._comparing(survey, group)
        survey.everything()
        return survey, group

    def threads(self, group: StoredGroup) -> int:
        """As many as memory allows: an object store gives each object as a whole."""
        wanted = worker_count(self.workers)
        largest = max((_raw_bytes(each) for each in group.arrays.values()), default=1)
        if self.place.is_local and not self.deep:
            return wanted
        held = 4 * largest + (WORKING if self.deep else 0)
        return max(1, min(wanted if self.place.is_local else 4 * wanted, memory_limit(self.memory) // held))

    def _comparing(self, survey: Survey, group: StoredGroup) -> Comparing | None:
        if group.own["kind"] != "patches":
            survey.notes.append("a source has no catalog to compare pixels with")
            return None
        try:
            if survey.findings:
                raise CorruptChunkError(survey.findings[0].problem)
            found = Comparing.of(group, open_patches(self.place.url, storage_options=self.options))
        except PatchmillError:
            survey.notes.append("pixels were not compared with the catalog, since it or the root is damaged")
            return None
        if len(found.nodata) < len(pixel_names(group)):
            survey.notes.append("pixels were compared with the catalog only where that has statistics of them")
        return found

    def report(self, survey: Survey, repaired: Sequence[Finding], began: float) -> Report:
        """What was seen."""
        found = sorted(survey.findings, key=lambda each: each.object)
        own = survey.group.attributes.get("patchmill", {})
        return Report(
            url=self.place.url,
            kind=own.get("kind", "patches"),
            damaged=tuple(each for each in found if each.kind != "missing"),
            missing=tuple(each for each in found if each.kind == "missing"),
            foreign=tuple(sorted(survey.foreign)),
            repaired=tuple(repaired),
            objects=survey.objects,
            nbytes=survey.nbytes,
            seconds=time.monotonic() - began,
            deep=self.deep,
            notes=tuple(survey.notes),
        )


def _raw_bytes(metadata: Mapping[str, Any]) -> int:
    """Of one object; texts, which have no fixed size, count as a pointer each."""
    name = metadata["data_type"]
    return (_POINTER if name == "string" else np.dtype(name).itemsize) * prod(ObjectFormat.of(metadata).unit)


_POINTER = 8


def _no_set(place: Location) -> Exception:
    if begun(place) is not None:
        return IncompleteError(f"{place.url} was begun and not finished: call write_patches again, which goes on")
    what = "something else, or a set without its root, is there" if place.exists() else "nothing is there"
    return NotAPatchSetError(f"{place.url} is no patch set and no source that patchmill wrote, {what}: check the path")


# -- repair ------------------------------------------------------------------------------------------------------------


def _not_ingested(place: Location, group: StoredGroup | None) -> AbstractContextManager[None]:
    """Inside, `ingest` leaves a source alone; only it knows of that lock, which other stores do without."""
    if group is None or group.own["kind"] != "source" or not place.is_local:
        return nullcontext()
    from patchmill.ingesting.publishing import kept_whole

    return kept_whole(place)


def _unless_damaged(call: _Call, unwritable: PatchmillError, began: float) -> Report:
    """Where nothing can be written, which is no matter as long as nothing is to repair."""
    survey, _ = call.survey()
    if survey.findings:
        raise unwritable
    return call.report(survey, [], began)


def _repair(call: _Call, lease: Lease, remake: Callable[[StoredGroup], Any], began: float) -> Report:
    """Repair the uppermost of what is found and look again, until all that is found has been repaired once.

    From above: the root and other metadata; catalog and coordinates; pixels. What is damaged hides damage below it, and
    in layout "canvas" that of its neighbors, whose patches it shares.
    """
    survey, group = call.survey()
    if group is None:
        raise PatchmillError(
            f"more than one byte of the root of {call.place.url} is wrong, so nothing says how it was cut: "
            "remove it and cut it again"
        )
    lease.check()
    call.place.sweep()
    repaired: dict[str, Finding] = {}
    bench: Bench | None = None
    with ExitStack() as stack:
        while found := [each for each in survey.findings if each.object not in repaired]:
            done = _repair_metadata(call.place, group, found, lease)
            if not done:
                bench = bench or stack.enter_context(bench_for(group, remake(group), lease, call.stop))
                done = _cut_again(bench, found)
            if not done:
                break
            repaired |= {each.object: each for each in done}
            survey, _ = call.survey()
    return call.report(survey, [*repaired.values()], began)


def _repair_metadata(place: Location, group: StoredGroup, found: Sequence[Finding], lease: Lease) -> list[Finding]:
    done = _mend_root(place, found, lease)
    _refuse_source(place, group, [each for each in found if _is_cut(each)])
    return [*done, *repair_metadata(group, found, lease)]


def _cut_again(bench: Bench, found: Sequence[Finding]) -> list[Finding]:
    """Make what is beside the pixels again, if any of it is found and can be; else pixels."""
    pixels = set(pixel_names(bench.group))
    beside = [*bench.repair_beside([each for each in found if each.array not in pixels])]
    return beside or [*bench.repair_shards([each for each in found if each.array in pixels])]


def _is_cut(finding: Finding) -> bool:
    return (finding.index is not None and finding.kind != "extra") or _is_recorded(finding)


def _is_recorded(finding: Finding) -> bool:
    """Whether it concerns the record of files, which nothing can make again."""
    return finding.object.startswith(f"{RECORD}/")


def _mend_root(place: Location, findings: Sequence[Finding], lease: Lease) -> list[Finding]:
    damaged = [each for each in findings if each.object == _ROOT]
    whole = mended(place.read(_ROOT) or b"") if damaged else None
    if whole is not None:
        lease.check()
        place.write(_ROOT, whole)
    return damaged


def _refuse_source(place: Location, group: StoredGroup, needed: Sequence[Finding]) -> None:
    if needed and group.own["kind"] == "source":
        raise CorruptChunkError(
            f"{len(needed):,} objects of {place.url} are damaged or missing, the first {needed[0].object}, and are not "
            'made from another store: ingest the images again with mode="overwrite"'
        )
