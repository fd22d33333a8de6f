"""Chunks as integers: their table, their halos, and the fewest merges."""

from __future__ import annotations

from itertools import accumulate, combinations, pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from patchmill.grid import Halo, PatchGrid
from patchmill.patches.chunks import Chunks, halo_when_cut, halo_when_put_back, merged
from patchmill.patches.views import Padding, source_pixels

MODES = ("reflect", "symmetric", "constant", "edge")
axes = st.from_type(PatchGrid).flatmap(lambda grid: st.sampled_from(grid.axes))


@given(st.lists(st.integers(0, 5), min_size=1, max_size=8))
def test_a_table_knows_every_chunk(sizes: list[int]):
    edges = list(accumulate(sizes, initial=0))
    table = Chunks.of(sizes)
    assert [table[number] for number in range(len(sizes))] == list(pairwise(edges))


def test_a_uniform_table_is_small():
    assert Chunks.of((512,) * 1000 + (3,)) == Chunks(512_003, 512, ())
    assert Chunks.of((512,)) == Chunks(512, 512, ())


def blocks_of(sizes: tuple[int, ...]) -> list[tuple[int, int]]:
    return list(pairwise(accumulate(sizes, initial=0)))


@given(axes, st.sampled_from(MODES), st.data())
def test_halos_when_cut_are_exact(axis, mode, data):
    """Enough for every chunk, and not a pixel more than the chunk that needs most."""
    edges = sorted(data.draw(st.sets(st.integers(1, max(1, axis.n - 1)), max_size=4)) - {axis.n})
    padding = Padding(mode, np.array(0))
    halos = [halo_when_cut(axis, edge, padding) for edge in edges]
    needed = Halo(0, 0)
    for low, high in pairwise([0, *edges, axis.n]):
        held = axis.begins_in(low, high)
        if not held:
            continue
        reach = axis[held[-1]] + axis.span
        read = [*range(axis[held[0]], min(reach, axis.n)), *source_pixels(range(axis.n, reach), axis.n, mode)]
        read = [pixel for pixel in read if pixel >= 0]  # -1 is the constant
        needed = Halo(max(needed.before, low - min(read)), max(needed.after, max(read) + 1 - high))
    assert max((halo.before for halo in halos), default=0) == needed.before
    assert max((halo.after for halo in halos), default=0) == needed.after


@given(axes, st.lists(st.integers(1, 4), min_size=1, max_size=6))
def test_halos_when_put_back_are_exact(axis, sizes):
    edges = [edge for edge in accumulate(sizes) if edge < len(axis)]
    for edge in edges:
        reaching = [i for i in range(edge) if axis[i] + axis.span > axis[edge]]
        assert halo_when_put_back(axis, edge) == Halo(len(reaching), 0)


def most_chunks(sizes: list[int], halos: list[Halo]) -> int:
    """By trying every choice of boundaries."""
    edges, total = list(accumulate(sizes[:-1])), sum(sizes)
    for number in range(len(edges), 0, -1):
        for taken in combinations(range(len(edges)), number):
            widths = [b - a for a, b in pairwise([0, *(edges[i] for i in taken), total])]
            if min(widths) >= max(max(halos[i]) for i in taken):
                return number + 1
    return 1


halos = st.builds(Halo, st.integers(0, 6), st.integers(0, 6))


@given(st.lists(st.tuples(st.integers(1, 6), halos), min_size=1, max_size=7))
def test_merging_leaves_as_many_chunks_as_possible(chunks: list[tuple[int, Halo]]):
    sizes, boundaries = [size for size, _ in chunks], [halo for _, halo in chunks[1:]]
    found = merged(sizes, boundaries)
    needed = dict(zip(accumulate(sizes[:-1]), boundaries, strict=True))
    *left, total = accumulate(found)
    assert total == sum(sizes)
    assert max((max(needed[edge]) for edge in left), default=0) <= min(found)  # KeyError where a chunk was split
    assert len(found) == most_chunks(sizes, boundaries)


def test_chunks_that_need_nothing_are_kept_even_if_empty():
    assert merged((0, 3, 0), [Halo(0, 0)] * 2) == (0, 3, 0)
    assert merged((2, 0, 3), [Halo(0, 1)] * 2) == (2, 3)


def test_many_single_rows_are_merged_quickly():
    axis = PatchGrid(20_000, 256, 128).axes[0]
    padding = Padding("constant", np.array(0))
    found = merged((1,) * 20_000, [halo_when_cut(axis, edge, padding) for edge in range(1, 20_000)])
    assert set(found[:-1]) == {128}
    assert 128 <= found[-1] < 256
