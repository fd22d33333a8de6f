"""A walk over a committed group: every object that must be there is read, every object that is there must belong.

Tasks are made one after the other and few are under way, so memory does not grow with the number of objects.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

import numpy as np

from patchmill.cutting.comparing import Comparing
from patchmill.cutting.expected import Expected, Index, expected_of
from patchmill.cutting.reports import Finding
from patchmill.cutting.stopping import Stop
from patchmill.cutting.workplace import following
from patchmill.errors import CorruptChunkError, Interrupted
from patchmill.storage import StoredGroup, begun, read_group
from patchmill.storage.checking import Look, look_at
from patchmill.storage.seals import is_sealed
from patchmill.types import Progress, Watch

_TOLD_SECONDS = 0.2

RECORD = "provenance"
"""The record that `ingest` keeps of its files in a source: a group of its own, which the root does not vouch for."""

Target = tuple[str, Index, Expected]
"""An array, one of its objects, and what the array must hold."""

Seen = tuple[Finding | None, int]
"""What is wrong with an object, and its stored bytes."""

Begun = tuple[dict[str, Any] | None, bool]
"""The request of a generation that was begun, and whether objects of an append of `ingest` are on their way."""


@dataclass(slots=True, eq=False)
class Survey:
    """What was seen so far.

    Parameters
    ----------
    group : StoredGroup
    workers : int
        Objects that are read at a time.
    watch : callable or None
        Told how far it is: objects, and stored bytes.
    stop : Stop
    comparing : Comparing or None
        Compares pixels with the catalog.
    growing : bool
        Whether a generation of it was begun and not finished, so that objects of more images may be there.
    following : StoredGroup or None
        What it will be, where an append is being committed.
    begun : tuple
        What `unfinished` said before anything was looked at.
    """

    group: StoredGroup
    workers: int
    watch: Watch | None
    stop: Stop
    comparing: Comparing | None = None
    growing: bool = False
    following: StoredGroup | None = None
    begun: Begun = (None, False)
    objects: int = 0
    nbytes: int = 0
    total: int = 0
    findings: list[Finding] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _told: float = 0.0

    def everything(self) -> None:
        """Metadata, every object that must be there, and every object that is there."""
        self._unfinished()
        self._metadata()
        expected = expected_of(self.group)
        self.total = self.objects + sum(len(each) for each in expected.values() if each is not None)
        self._note_unknown(expected)
        self.these((name, index, each) for name, each in expected.items() if each is not None for index in each)
        self._strangers(expected)
        if self.group.own.get("kind") == "source" and not self.growing:
            self._record()
        self._tell(self.total)

    def these(self, targets: Iterable[Target]) -> None:
        """Look at some objects."""
        with ThreadPoolExecutor(self.workers, thread_name_prefix="patchmill-verify") as pool:
            under_way: set[Future[Seen]] = set()
            try:
                for target in targets:
                    under_way.add(pool.submit(self._look, *target))
                    if len(under_way) >= 2 * self.workers:
                        under_way = self._collected(under_way)
                while under_way:
                    under_way = self._collected(under_way)
            except BaseException:
                for future in under_way:
                    future.cancel()
                raise

    def _collected(self, under_way: set[Future[Seen]]) -> set[Future[Seen]]:
        done, left = wait(under_way, timeout=0.5, return_when=FIRST_COMPLETED)
        for future in done:
            found, nbytes = future.result()
            self.objects += 1
            self.nbytes += nbytes
            if found is not None:
                self.findings.append(found)
        self._tell(self.objects)
        if self.stop.requested:
            raise Interrupted(f"interrupted after {self.objects:,} of about {self.total:,} objects", self.stop.signal)
        return left

    def _tell(self, done: int) -> None:
        now = time.monotonic()
        if self.watch is not None and (now - self._told > _TOLD_SECONDS or done == self.total):
            self._told = now
            self.watch(Progress(done, max(self.total, done), self.nbytes))

    # -- objects that must be there ---------------------------------------------------------------------------------

    def _look(self, name: str, index: Index, expected: Expected) -> Seen:
        place, key = self.group.place.child(name), expected.form.key(index)
        look = look_at(place, key, expected.form, expected.chunks(index), growing=self.growing)
        if not look.ok:
            return finding_of(self.group, name, index, expected, look), max(0, look.nbytes)
        return None if self.comparing is None else self.comparing.differs(name, index, expected), look.nbytes

    def _note_unknown(self, expected: Mapping[str, Expected | None]) -> None:
        for name, each in expected.items():
            if each is None:
                self.notes.append(
                    f"{name} was not checked, since the extents of the images are damaged: repair these first"
                )

    # -- what is not finished -----------------------------------------------------------------------------------------

    def _unfinished(self) -> None:
        """Find out whether the store is just being added to, or whoever did that was killed."""
        place, self.begun = self.group.place, unfinished(self.group)
        request, publishing = self.begun
        if request is not None:
            self.growing = not request.get("aside", False)
            self.following = following(place) if self.growing else None
            self.notes.append("a generation was begun and not finished: its objects are not looked at")
        elif publishing:
            self.growing, self.following = True, _appending().following(place)
            self.notes.append(
                "an append was begun and not finished: its objects and the record of files are not looked at; "
                "call ingest again, which finishes it"
            )

    # -- metadata ---------------------------------------------------------------------------------------------------

    def _metadata(self) -> None:
        for name in self.group.arrays:
            self.objects += 1
            key = f"{name}/zarr.json"
            data = self.group.place.read(key)
            if data is None:
                self.findings.append(Finding(name, key, None, "the metadata of an array is missing", kind="missing"))
                continue
            self.nbytes += len(data)
            if not self._is_metadata(name):
                self.findings.append(
                    Finding(name, key, None, "the metadata of an array is not what the root says of it")
                )

    def _is_metadata(self, name: str) -> bool:
        """Whether the metadata of an array are what the root says, or the one that comes."""
        for group in (self.group, self.following):
            with suppress(CorruptChunkError):
                if group is not None:
                    group.check_metadata(name)
                    return True
        return False

    def _record(self) -> None:
        """What `ingest` recorded of its files, in the same way."""
        place = self.group.place.child(RECORD)
        root = place.read("zarr.json")
        self.objects += 1
        group = read_group(place) if root is not None and is_sealed(root) else None
        if group is None:
            sentence, kind = ("it is missing", "missing") if root is None else ("it is not what was written", "damaged")
            self.findings.append(Finding(RECORD, f"{RECORD}/zarr.json", None, sentence, kind=kind))
            return
        inside = Survey(group, self.workers, None, self.stop)
        inside.everything()
        self.objects += inside.objects
        self.nbytes += inside.nbytes
        self.total += inside.total + 1
        self.foreign += [f"{RECORD}/{key}" for key in inside.foreign]
        self.findings += [
            replace(each, array=f"{RECORD}/{each.array}", object=f"{RECORD}/{each.object}") for each in inside.findings
        ]

    # -- objects that are there -------------------------------------------------------------------------------------

    def _strangers(self, expected: Mapping[str, Expected | None]) -> None:
        """Objects that belong to no array; those of one where nothing may be are damage, since readers see them."""
        coming = {RECORD} if self.group.own.get("kind") == "source" else set()
        coming |= set() if self.following is None else self.following.arrays.keys()
        for key in self.group.place.keys():  # noqa: SIM118 - not a mapping
            name, _, rest = key.partition("/")
            if key == "zarr.json" or (rest == "zarr.json" and name in self.group.arrays):
                continue
            if name not in expected:
                if name not in coming:
                    self.foreign.append(key)
                continue
            each = expected[name]
            index = None if each is None else each.form.index_of(rest)
            if index is not None and each is not None:
                if index not in each and not self.growing:
                    self.findings.append(_extra(self.group, name, index, each, key))
            elif each is not None and not (self.growing and rest.startswith(("c/", "c."))):
                self.foreign.append(key)


def unfinished(group: StoredGroup) -> Begun:
    """What is just being added to a store, or was when its writer was killed."""
    request = begun(group.place)
    ingested = request is None and group.own.get("kind") == "source" and group.place.is_local
    return request, ingested and _appending().is_publishing(group.place)


def _appending() -> ModuleType:
    # Here, since the room of ingesting loads readers of images, which the check of a patch set does without.
    from patchmill.ingesting import appending

    return appending


def finding_of(group: StoredGroup, name: str, index: Index, expected: Expected, look: Look) -> Finding:
    """What is said of an object that is not as it was written."""
    key = f"{name}/{expected.form.key(index)}"
    if look.nbytes < 0:
        return Finding(name, key, index, "it is missing", _where(group, name, expected.form.region(index)), "missing")
    if look.whole:
        return Finding(name, key, index, look.whole, _where(group, name, expected.form.region(index)))
    numbers = list(look.chunks)
    said = look.chunks[numbers[0]]
    text = f"a chunk {said}" if len(numbers) == 1 else f"{len(numbers):,} chunks are wrong, the first {said}"
    regions = np.asarray([expected.form.region(index, number) for number in numbers])
    inside = regions[(regions[..., 0] < regions[..., 1]).all(axis=1)]
    if not len(inside):  # those of a shard that has room for more, in the place of one at the edge
        there = _where(group, name, expected.form.region(index))
        beyond = f"{'it lies' if len(numbers) == 1 else 'they lie'} beyond the end of the array"
        return Finding(name, key, index, f"{text}: {beyond}", there)
    box = tuple((int(a), int(b)) for a, b in zip(inside[..., 0].min(axis=0), inside[..., 1].max(axis=0), strict=True))
    return Finding(name, key, index, text, _where(group, name, box))


def _extra(group: StoredGroup, name: str, index: Index, expected: Expected, key: str) -> Finding:
    where = _where(group, name, expected.form.region(index))
    return Finding(name, key, index, "it lies where no image reaches, and readers take it for pixels", where, "extra")


def _where(group: StoredGroup, name: str, region: tuple[tuple[int, int], ...]) -> dict[str, tuple[int, int]]:
    """A region by the names of the dimensions that tell where it is."""
    metadata = group.arrays[name]
    dims = metadata.get("dimension_names") or [f"axis {n}" for n in range(len(region))]
    return {
        str(dim): side for dim, side in zip(dims, region, strict=True) if not str(dim).startswith(("patch_", "channel"))
    }
