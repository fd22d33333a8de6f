"""Chunks, shards and blocks as laws."""

from __future__ import annotations

from math import prod

from hypothesis import given
from hypothesis import strategies as st

from patchmill.grid import Axis, ImageGrids, PatchGrid
from patchmill.planning import Block, Shape, Wave, image_shapes, patch_shapes, tiles_of, waves
from patchmill.planning.blocks import cuts_of
from patchmill.planning.shapes import aligned

CHANNELS = st.one_of(st.none(), st.integers(1, 300))
COUNTS = st.tuples(st.integers(1, 10**6), st.integers(1, 10**6))
PATCH = st.tuples(st.integers(1, 600), st.integers(1, 600))
SIZE = st.sampled_from([1, 2, 4, 8])
MIB = 2**20


@given(CHANNELS, COUNTS, PATCH, SIZE)
def test_chunks_tile_shards_and_both_keep_their_bounds(channels, counts, patch, size):
    shapes = patch_shapes(channels, counts, patch, size)
    one_patch = prod(patch) * size
    assert all(shard % chunk == 0 for chunk, shard in zip(shapes.chunk, shapes.shard, strict=True))
    assert shapes.chunk[-2:] == shapes.shard[-2:] == patch
    assert prod(shapes.shard) * size <= max(32 * MIB, one_patch)
    assert prod(shapes.chunk) * size <= max(4 * MIB, one_patch)
    if one_patch * (channels or 1) > 32 * 1024:
        assert prod(shapes.chunk[:1] + shapes.chunk[-4:-2]) == 1
    if shapes.shard[0] > 1:
        assert all(n >= count for n, count in zip(shapes.shard[-4:-2], counts, strict=True))
        assert channels is None or shapes.shard[1] >= channels


@given(CHANNELS, CHANNELS, COUNTS, PATCH, SIZE, SIZE)
def test_variables_of_a_set_share_their_shards(a, b, counts, patch, one, two):
    shapes = aligned([patch_shapes(a, counts, patch, one), patch_shapes(b, counts, patch, two)], 2)
    assert len({(each.shard[0], *each.shard[-4:-2]) for each in shapes}) == 1
    for each in shapes:
        assert all(shard % chunk == 0 for chunk, shard in zip(each.chunk, each.shard, strict=True))


@given(CHANNELS, st.tuples(st.integers(1, 10**5), st.integers(1, 10**5)), SIZE)
def test_images_are_stored_in_tiles(channels, sizes, size):
    shapes = image_shapes(channels, sizes, size)
    assert all(shard % chunk == 0 for chunk, shard in zip(shapes.chunk, shapes.shard, strict=True))
    assert prod(shapes.shard) * size <= 32 * MIB
    assert all(side <= 512 for side in shapes.chunk[-2:]) or prod(shapes.chunk) * size <= 64 * 1024


AXES = st.builds(
    Axis,
    n=st.integers(1, 200),
    patch=st.integers(1, 20),
    step=st.integers(1, 30),
    dilation=st.integers(1, 3),
    edge=st.sampled_from(["drop", "pad", "shift"]),
)


@given(AXES, st.integers(1, 20))
def test_a_tile_and_its_halo_hold_what_its_block_needs(axis, size):
    size *= max(1, -(-axis.halo().after // (size * axis.step)))
    if len(axis) == 0:
        return
    cuts = cuts_of(axis, size)
    assert cuts[0] == 0
    assert cuts[-1] == len(axis)
    assert all((a % size) == 0 for a in cuts[:-1])
    begin, widths = tiles_of(axis, cuts)
    assert sum(widths) + begin == axis.source(0, len(axis))[1]
    for start, stop, width in zip(cuts[:-1], cuts[1:], widths, strict=True):
        halo = 0 if stop == len(axis) else axis.halo().after
        low, high = axis.source(start, stop)
        assert begin <= low
        assert high <= begin + width + halo
        assert width >= axis.halo().after or len(cuts) == 2  # what map_overlap asks of every chunk
        begin += width


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=6),
    st.integers(1, 6),
    st.integers(1, 8),
    st.sampled_from(["drop", "pad", "shift"]),
    st.integers(1, 3),
)
def test_waves_hold_every_position_once(sizes, patch, step, edge, shard):
    import numpy as np

    canvas = PatchGrid(tuple(np.max(sizes, axis=0).tolist()), patch, step, edge=edge)
    grids = ImageGrids(canvas, np.array(sizes))
    block = tuple(shard * max(1, -(-axis.halo().after // (shard * axis.step))) for axis in canvas.axes)
    seen = []
    for item in waves(grids, Shape((1, shard, shard), block, (2, 2))):
        for each in item.blocks if isinstance(item, Wave) else [item]:
            assert isinstance(each, Block)
            for image in range(*each.images):
                rows, columns = (range(*side) for side in each.positions)
                seen += [(image, y, x) for y in rows for x in columns]
    expected = [(image, *index) for image in range(len(sizes)) for index in grids.of(image).indices()]
    assert sorted(seen) == expected


@given(CHANNELS, COUNTS, PATCH, SIZE, st.tuples(st.integers(1, 5000), st.integers(1, 5000)))
def test_a_shard_brings_along_no_more_than_its_task_can_read(channels, counts, patch, size, pitch):
    shapes = patch_shapes(channels, counts, patch, size, pitch)
    share = prod(max(a, b) for a, b in zip(patch, pitch, strict=True)) * size
    positions = prod(shapes.shard[:1] + shapes.shard[-4:-2])
    assert positions == 1 or positions * share <= 32 * MIB
