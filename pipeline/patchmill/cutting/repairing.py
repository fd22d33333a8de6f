"""What is damaged made again, object by object, from the source; everything else stays as it is.

A shard is cut into the memory of this process first and compared with what is known of it: chunks of the old object
that have their crc32c, and the catalog. So a source that has other pixels by now is noticed before anything is
replaced. Then one atomic write puts the object in its place; a repair that is killed leaves the others to the next.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchmill.cutting.building import prepare
from patchmill.cutting.catalog import catalog_arrays, shards_over, values_over
from patchmill.cutting.contents import small_arrays
from patchmill.cutting.expected import Expected, expected_of, pixel_names
from patchmill.cutting.job import Job, key_of, object_keys
from patchmill.cutting.journal import Journal, Record
from patchmill.cutting.lease import Lease
from patchmill.cutting.reports import Finding
from patchmill.cutting.request import Request
from patchmill.cutting.stopping import Stop
from patchmill.cutting.tasks import cut_shards
from patchmill.cutting.workplace import Workplace
from patchmill.errors import Interrupted, PatchmillError, SourceError
from patchmill.planning import Key
from patchmill.storage import ArraySpec, Location, StoredGroup, declare_arrays, encoded, open_bulk, write_small
from patchmill.storage.checking import ABSENT, Blob, ObjectFormat, is_right, look_at, opened, read_index

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Noted(Journal):
    """A journal in memory: what tasks find out while few shards are cut again."""

    records: dict[Key, Record] = field(default_factory=dict)

    def append(self, records: Mapping[Key, Record]) -> None:
        """Keep records."""
        self.records.update(records)

    def read(self, key: Key) -> Record | None:
        """The record of a shard, None where there is none."""
        return self.records.get(key)


def repair_metadata(group: StoredGroup, findings: Iterable[Finding], lease: Lease) -> Iterator[Finding]:
    """Put back what follows from the root alone, and delete objects of its arrays where nothing may be."""
    for each in findings:
        lease.check()
        if each.kind == "extra":
            group.place.delete(each.object)
        elif each.index is None and each.array:
            group.place.write(each.object, encoded(group.arrays[each.array]))
        else:
            continue
        yield each


@contextmanager
def bench_for(group: StoredGroup, request: Request, lease: Lease, stop: Stop) -> Iterator[Bench]:
    """A place in memory to cut in, gone afterwards."""
    aside = Location.parse(f"memory://patchmill-repair-{uuid.uuid4().hex}/set")
    journal = Noted(aside.workshop)
    try:
        job = replace(prepare(request, Workplace(aside, aside), lambda: None).job, journal=journal)
        yield Bench(group, request, job, journal, aside, lease, stop)
    finally:
        aside.remove()


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """Where shards are cut again.

    Parameters
    ----------
    group : StoredGroup
        What is repaired.
    request : Request
        What it was cut by.
    job : Job
        Cuts into `aside`.
    journal : Noted
    aside : Location
        In the memory of this process.
    lease : Lease
        On the target.
    stop : Stop
    """

    group: StoredGroup
    request: Request
    job: Job
    journal: Noted
    aside: Location
    lease: Lease
    stop: Stop

    # -- catalog and coordinates ------------------------------------------------------------------------------------

    def repair_beside(self, findings: Sequence[Finding]) -> Iterator[Finding]:
        """Coordinates, labels, and chunks of the catalog."""
        catalog = {spec.name for spec in catalog_arrays(self.request)}
        small = [each for each in findings if each.array not in catalog and each.array != "count"]
        yield from self._put_small(small_arrays(self.request), small)
        for region, some in self._by_region([each for each in findings if each.array in catalog]):
            self._pause()
            yield from self._put_catalog(region, some)
        counted = [each for each in findings if each.array == "count"]
        if counted:
            yield from self._put_small([ArraySpec.of("count", ("image",), self._count())], counted)

    def _count(self) -> Array:
        """Patches of each image that were kept, from the catalog, which is whole by now."""
        exists = self.group.bulk("exists")
        images, *rest = exists.shape
        sides = tuple(slice(0, n) for n in rest)
        counts = [int(exists.read((slice(image, image + 1), *sides)).sum()) for image in range(images)]
        return np.asarray(counts, np.int64)

    def _put_small(self, specs: Sequence[ArraySpec], findings: Sequence[Finding]) -> Iterator[Finding]:
        wanted = {each.array for each in findings}
        chosen = [spec for spec in specs if spec.name in wanted]
        write_small(self.aside, chosen, declare_arrays(chosen))
        for each in findings:
            if self._is_declared_alike(each.array):
                self._move(each.object)
                yield each

    def _is_declared_alike(self, name: str) -> bool:
        """Whether an array that was made again is the one that the set has; arrays of others can't be made."""
        return self.aside.read(f"{name}/zarr.json") == encoded(self.group.arrays[name])

    def _by_region(self, findings: Sequence[Finding]) -> Iterator[tuple[tuple[slice, ...], list[Finding]]]:
        found: dict[tuple[tuple[int, int], ...], list[Finding]] = {}
        for each in findings:
            region = ObjectFormat.of(self.group.arrays[each.array]).region(each.index or ())
            found.setdefault((region[0], *region[-2:]), []).append(each)
        return ((tuple(slice(*side) for side in region), some) for region, some in found.items())

    def _put_catalog(self, region: tuple[slice, ...], findings: Sequence[Finding]) -> Iterator[Finding]:
        damaged = {each.array for each in findings}
        if self.job.journaled:
            for key in shards_over(self.job, region):
                self._pause()
                cut_shards(self.job, [key])
                self._drop_pixels()
        values = values_over(self.request, self.job, self.journal, region)
        self.journal.records.clear()
        for name, (place, found) in values.items():
            if name not in damaged:
                self._refuse_other(name, place, found)
        for name in sorted(damaged):
            place, found = values[name]
            open_bulk(self.aside.child(name), metadata=self.group.arrays[name]).write([(place, found)])
        for each in findings:
            self._move(each.object)
            yield each

    def _refuse_other(self, name: str, place: tuple[slice, ...], found: Array) -> None:
        """Raise where the catalog says something else of pixels than the source gives now."""
        if not np.array_equal(self.group.bulk(name).read(place), found, equal_nan=found.dtype.kind == "f"):
            raise _another(self.request, self.group)

    def _drop_pixels(self) -> None:
        for name in pixel_names(self.group):
            for key in self.aside.keys(f"{name}/c"):
                self.aside.delete(key)

    def _move(self, key: str) -> None:
        data = self.aside.read(key)
        if data is None:
            raise PatchmillError(f"{key} of {self.group.place.url} was not made again: cut the set anew")
        self.lease.check()
        self.group.place.write(key, data)
        self.aside.delete(key)

    # -- shards -----------------------------------------------------------------------------------------------------

    def repair_shards(self, findings: Sequence[Finding]) -> Iterator[Finding]:
        """Shards of pixels: all objects of a rectangle are cut together, the damaged ones replaced."""
        expected = expected_of(self.group)
        found: dict[Key, list[Finding]] = {}
        planned = {self.request.array_name(at): each for at, each in enumerate(self.request.plan.variables)}
        for each in findings:
            key = key_of(each.index or (), planned[each.array], len(self.job.shards.size) - 1)
            found.setdefault(key, []).append(each)
        with ThreadPoolExecutor(self.request.plan.work.inflight, thread_name_prefix="patchmill-repair") as pool:
            for some in pool.map(partial(self._recut, expected), found, found.values()):
                yield from some

    def _recut(self, expected: Mapping[str, Expected | None], key: Key, findings: Sequence[Finding]) -> list[Finding]:
        self._pause()
        cut_shards(self.job, [key])
        self._compare_catalog(key)
        untrusted = {each.object for each in findings if each.kind == "differs"}
        made = list(self._objects(key))
        for name, inside in made:  # variables that are whole tell too whether the source is the same
            self._compare_object(name, inside, expected[name], trusted=f"{name}/{inside}" not in untrusted)
        for each in findings:
            self._move(each.object)
        for name, inside in made:
            self.aside.child(name).delete(inside)
        return list(findings)

    def _objects(self, key: Key) -> Iterator[tuple[str, str]]:
        """Objects of a shard rectangle: array, and key inside it."""
        for at, planned in enumerate(self.job.planned):
            for inside in object_keys(self.job.shards, planned, key):
                yield self.request.array_name(at), inside

    def _compare_catalog(self, key: Key) -> None:
        record = self.journal.records.get(key)
        if record is None or len(record) < 2:
            return
        start = record["start"].tolist()
        lengths = next((each.shape[0], *each.shape[-2:]) for name, each in record.items() if name != "start")
        region = tuple(slice(a, a + n) for a, n in zip(start, lengths, strict=True))
        own = Noted(self.aside.workshop, {key: record})
        grids, mine = self.request.grids, np.ones(lengths, bool)
        if self.job.shards.layout == "canvas":
            mine = _owned(self.job, key, start, lengths)
        there = grids.exists(*region) & mine
        for name, (place, values) in values_over(self.request, self.job, own, region).items():
            stored = self.group.bulk(name).read(place)
            same = (stored == values) | ((stored != stored) & (values != values))
            if values.ndim == 4:
                same = same.all(axis=1)
            if not same[there].all():
                raise _another(self.request, self.group)
        del self.journal.records[key]

    def _compare_object(self, array: str, inside: str, expected: Expected | None, *, trusted: bool) -> None:
        """The new object is whole, and has the same bytes in every chunk that the old one still has."""
        index = None if expected is None else expected.form.index_of(inside)
        if expected is None or index is None:
            return
        place = self.aside.child(array)
        look = look_at(place, inside, expected.form, expected.chunks(index))
        if not look.ok:
            raise SourceError(f"{array}/{inside} was cut again and is not as the catalog says: {_said(look)}")
        with (
            suppress(PermissionError, IsADirectoryError),  # then there is nothing to compare with
            opened(self.group.place.child(array), inside) as old,
            opened(place, inside) as new,
        ):
            if trusted and old is not None and new is not None and not _agree(old, new, expected.form):
                raise _another(self.request, self.group)

    def _pause(self) -> None:
        if self.stop.requested:
            raise Interrupted("interrupted in a repair: call it again to go on from here", self.stop.signal)


def _owned(job: Job, key: Key, start: Sequence[int], lengths: Sequence[int]) -> NDArray[np.bool_]:
    """Positions of a record that its shard owns: with "shift" those of smaller images end elsewhere."""
    mine = np.zeros(lengths, bool)
    for piece in job.pieces(key):
        sides = [slice(a - low, b - low) for (a, b), low in zip((piece.images, *piece.positions), start, strict=True)]
        mine[tuple(sides)] = True
    return mine


def _agree(old: Blob, new: Blob, form: ObjectFormat) -> bool:
    """Whether every chunk that is whole in `old` is the same in `new`."""
    if not form.sharded:
        return True
    before, after = read_index(old, form), read_index(new, form)
    if before is None or after is None:
        return True
    there = before[:, 0] != ABSENT
    if (there != (after[:, 0] != ABSENT)).any():
        return True  # another shard's object, which tells nothing of this one
    return not any(
        is_right(chunk := old.read(a, a + n)) and chunk != new.read(b, b + m)
        for (a, n), (b, m) in zip(before[there].tolist(), after[there].tolist(), strict=True)
    )


def _said(look: Any) -> str:
    return look.whole or "its chunks are others" if look.nbytes >= 0 else "it was not written"


def _another(request: Request, group: StoredGroup) -> SourceError:
    return SourceError(
        f"{request.source.url} no longer holds the pixels that {group.place.url} was cut from: "
        "pass the source as it was then as source="
    )
