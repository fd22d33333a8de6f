"""The journal keeps what was appended, whatever a crash cuts off."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from patchmill.cutting.journal import Journal

RECORD = {"image:mean": np.arange(12.0).reshape(1, 3, 2, 2), "image:valid": np.ones((1, 3, 2, 2))}


def same(found, expected):
    return found.keys() == expected.keys() and all((found[name] == expected[name]).all() for name in expected)


def test_what_is_appended_is_read_by_another(tmp_path):
    journal = Journal(tmp_path / "journal")
    journal.append({(0, 0, 0): RECORD, (0, 0, 1): {"x": np.zeros(2)}})
    journal.append({(1, 2, 3): RECORD})
    other = Journal(tmp_path / "journal")
    assert (0, 0, 1) in other
    assert (0, 0, 2) not in other
    assert same(other.read((1, 2, 3)), RECORD)
    assert same(journal.read((0, 0, 0)), RECORD)


@given(cut=st.integers(1, 400), flip=st.booleans())
def test_a_torn_end_is_ignored_and_written_over(tmp_path_factory, cut, flip):
    path = tmp_path_factory.mktemp("torn") / "journal"
    journal = Journal(path)
    journal.append({(0, 0, 0): RECORD})
    whole = path.stat().st_size
    journal.append({(0, 0, 1): RECORD})
    data = bytearray(path.read_bytes())
    cut = min(cut, len(data) - whole)
    if flip:
        data[-cut] ^= 1
    else:
        del data[-cut:]
    path.write_bytes(bytes(data))
    after = Journal(path)
    assert same(after.read((0, 0, 0)), RECORD)
    assert (0, 0, 1) not in after
    after.append({(0, 0, 2): RECORD})
    assert same(Journal(path).read((0, 0, 2)), RECORD)
