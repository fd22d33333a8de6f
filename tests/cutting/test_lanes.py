"""Which worker gets which shards."""

from collections import defaultdict
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from patchmill.cutting.lanes import _LANE, _TOGETHER, Lanes


@given(st.integers(0, 400), st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1), st.integers(1, 4))
def test_every_shard_goes_to_one_worker_once(count, turns, threads):
    keys = [(0, 0, n) for n in range(count)]
    lanes, rest, taken = Lanes(count), iter(keys), []
    present = dict.fromkeys("abcd", threads)
    for number, leaves in turns:
        worker = "abcd"[number]
        if leaves and len(present) > 1:
            present.pop(worker, None)
        elif worker in present:
            batch = lanes.take(worker, rest, present)
            assert len(batch) <= _TOGETHER
            taken += batch
    while batches := [batch for worker in present if (batch := lanes.take(worker, rest, present))]:
        taken += [key for batch in batches for key in batch]
    assert sorted(taken) == keys


def test_workers_go_along_neighbors_the_faster_one_further():
    count, lanes, mine = 256, Lanes(256), defaultdict(list)
    rest, present = iter([(0, 0, n) for n in range(count)]), {"fast": 2, "slow": 1}
    for turn in range(3 * count):
        worker = "slow" if turn % 3 == 0 else "fast"  # takes half as often
        mine[worker] += [key[-1] for key in lanes.take(worker, rest, present)]
    assert sum(map(len, mine.values())) == count
    assert len(mine["fast"]) > 1.5 * len(mine["slow"])
    for numbers in mine.values():
        breaks = sum(b - a != 1 for a, b in pairwise(numbers))
        assert breaks <= 2 * count // _LANE


def test_without_any_worker_shards_are_begun_all_the_same():
    rest = iter([(0, 0, 0), (0, 0, 1)])
    lanes = Lanes(2)
    assert [lanes.take("", rest, {}) for _ in range(3)] == [[(0, 0, 0)], [(0, 0, 1)], []]
