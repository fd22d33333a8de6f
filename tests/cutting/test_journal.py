"""The journal keeps what was appended, whatever a crash cuts off."""

from __future__ import annotations

import uuid

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import patchmill
from patchmill.cutting import conducting
from patchmill.cutting import journal as journals
from patchmill.cutting.journal import Journal
from patchmill.grid import ImageGrids, PatchGrid
from patchmill.planning import Shards, shapes
from patchmill.storage import Location
from patchmill.storage.objects import Bucket

RECORD = {"image:mean": np.arange(12.0).reshape(1, 3, 2, 2), "kept": np.ones((1, 2, 2), bool)}
SHARDS = Shards(ImageGrids.uniform(PatchGrid((40, 40), 4, 4), 3), "patches", (1, 4, 4), whole=True)


def same(found, expected):
    return found.keys() == expected.keys() and all((found[name] == expected[name]).all() for name in expected)


def another_process():
    """What a second process would know: nothing."""
    journals._writer.cache_clear()


@pytest.fixture(params=["file", "memory"])
def work(request, tmp_path):
    return Location.parse(tmp_path / "work" if request.param == "file" else f"memory://{tmp_path.name}/work")


def test_what_is_appended_is_read_by_another_and_the_last_record_counts(work):
    journal = Journal(work)
    journal.append({(0, 0, 0): RECORD, (0, 0, 1): {"x": np.zeros(2)}})
    journal.append({(1, 2, 1): RECORD})
    another_process()
    journal.append({(0, 0, 1): {"x": np.ones(3)}})
    index = Journal(work).index(SHARDS)
    assert same(index.read((0, 0, 1)), {"x": np.ones(3)})
    assert same(index.read((1, 2, 1)), RECORD)
    assert index.read((0, 0, 2)) is None
    index.close()
    known = journal.known(SHARDS)
    assert {tuple(map(int, key)) for key in np.argwhere(known.reshape(SHARDS.counts))} == {
        (0, 0, 0), (0, 0, 1), (1, 2, 1),
    }  # fmt: skip


@given(cut=st.integers(1, 400), flip=st.booleans())
def test_a_torn_end_is_ignored(tmp_path_factory, cut, flip):
    work = Location.parse(tmp_path_factory.mktemp("torn") / "work")
    journal = Journal(work)
    journal.append({(0, 0, 0): RECORD})
    path = work.path / journal.names()[0]
    whole = path.stat().st_size
    journal.append({(0, 0, 1): RECORD})
    data = bytearray(path.read_bytes())
    cut = min(cut, len(data) - whole)
    if flip:
        data[-cut] ^= 1
    else:
        del data[-cut:]
    path.write_bytes(bytes(data))
    another_process()
    journal.append({(0, 0, 2): RECORD})
    index = journal.index(SHARDS)
    assert same(index.read((0, 0, 0)), RECORD)
    assert index.read((0, 0, 1)) is None
    assert same(index.read((0, 0, 2)), RECORD)
    index.close()


def test_after_half_a_record_another_file_is_begun(tmp_path, monkeypatch):
    journal = Journal(Location.parse(tmp_path / "work"))
    journal.append({(0, 0, 0): RECORD})

    def full(_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(journals.os, "fsync", full)
        with pytest.raises(patchmill.PatchmillError, match="No space left"):
            journal.append({(0, 0, 1): RECORD})
    journal.append({(0, 0, 2): RECORD})
    assert len(journal.names()) == 2
    assert journal.known(SHARDS).sum() >= 2


def test_a_later_run_counts_whoever_wrote_first(work):
    """A process that lives on writes again after another one's run, whatever its first file is called."""
    service = Journal(work).next()
    service.append({(0, 0, 0): {"x": np.zeros(1)}})
    another_process()
    Journal(work).next().append({(0, 0, 0): {"x": np.ones(1)}})
    again = Journal(work).next()
    assert (service.run, again.run) == (1, 3)
    again.append({(0, 0, 0): {"x": np.full(1, 2.0)}})
    service.append({(0, 0, 0): {"x": np.full(1, 3.0)}})  # a worker that is late: of the first run still
    index = Journal(work).index(SHARDS)
    assert same(index.read((0, 0, 0)), {"x": np.full(1, 2.0)})
    index.close()


def test_what_waits_for_a_request_does_not_grow_with_the_number_of_shards(monkeypatch):
    """A resume and a commit on an object store read records many at a time."""
    monkeypatch.setattr(shapes, "_SHARD", 2**10)
    monkeypatch.setattr(shapes, "_SMALL", 2**8)
    reads, real = [], Bucket.read
    monkeypatch.setattr(Bucket, "read", lambda self, key: reads.append(key) or real(self, key))

    def die(*_):
        raise KeyboardInterrupt

    waited = []
    for side in (128, 256):
        place = f"memory://{uuid.uuid4().hex}/set.zarr"
        image = np.random.default_rng(0).integers(0, 255, (side, side), "uint8")
        with monkeypatch.context() as patch:
            patch.setattr(conducting, "commit", die)
            with pytest.raises(KeyboardInterrupt):
                patchmill.write_patches(image, place, 16)
        reads.clear()
        ps = patchmill.write_patches(image, place, 16)
        waited.append(len(reads))
        np.testing.assert_array_equal(ps.read([0, -1]), [image[:16, :16], image[-16:, -16:]])
    assert waited[0] == waited[1]
