"""Windows, groups and parts: every pixel once, chunks whole, reads as wide as the file's blocks."""

from __future__ import annotations

from math import prod

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from patchmill.ingesting.agreeing import Layout
from patchmill.ingesting.scenes import Scene
from patchmill.ingesting.tiling import group_shape, parts_of, windows

lengths = st.tuples(*[st.integers(1, 30)] * 3)


@given(lengths, lengths)
def test_windows_cover_each_pixel_once(extent, tile):
    count = np.zeros(extent, int)
    for window in windows(extent, tile):
        count[window] += 1
        assert all(side.start % size == 0 for side, size in zip(window, tile, strict=True))
    assert (count == 1).all()


@given(lengths, lengths, st.data())
def test_windows_may_begin_anywhere(extent, tile, data):
    start = tuple(data.draw(st.integers(0, n - 1)) for n in extent)
    count = np.zeros(extent, int)
    for window in windows(extent, tile, start):
        count[window] += 1
    assert (count[tuple(slice(a, None) for a in start)] == 1).all()
    assert count.sum() == prod(n - a for n, a in zip(extent, start, strict=True))


def scene(height, width, channels=None, **options):
    return Scene(height=height, width=width, channels=channels, dtype=np.dtype("u2"), read=lambda *_: None, **options)


@given(
    st.tuples(st.integers(1, 9000), st.integers(1, 9000)),
    st.tuples(st.integers(1, 9000), st.integers(1, 9000)),
    st.one_of(st.none(), st.integers(1, 300)),
    st.booleans(),
    st.integers(1, 2**31),
)
def test_groups_are_whole_shards_within_the_limit(extent, block, channels, interleaved, limit):
    layout = Layout("image", np.dtype("u2"), channels, None, *extent)
    shard = layout.shapes.shard[1:]
    made = scene(*extent, channels, block=block, interleaved=interleaved)
    group = group_shape(layout, made, limit)
    assert all(n % size == 0 for n, size in zip(group, shard, strict=True))
    inside = prod(min(n, whole) for n, whole in zip(group, made.shape, strict=True)) * 2
    assert group == shard or inside <= limit * 1.001 or prod(group) * 2 <= limit


def test_a_strip_is_decoded_once_where_memory_allows():
    layout = Layout("image", np.dtype("u2"), None, None, 27000, 27000)
    shard = layout.shapes.shard[1:]
    strips = scene(27000, 27000, block=(16, 27000))
    assert group_shape(layout, strips, 2**30)[2] >= 27000
    assert group_shape(layout, strips, 2**30)[1] == shard[1]
    assert group_shape(layout, strips, 0) == shard
    assert group_shape(layout, scene(27000, 27000, block=(256, 256)), 2**30) == shard


small, large = (st.tuples(st.integers(1, n), st.integers(1, n)) for n in (40, 1200))


@given(
    st.one_of(st.lists(small, min_size=1, max_size=70), st.lists(large, min_size=1, max_size=3)),
    st.booleans(),
)
def test_parts_are_whole_chunks_that_hold_the_images(extents, with_channels):
    height, width = (max(extent[axis] for extent in extents) for axis in (0, 1))
    layout = Layout("image", np.dtype("u2"), 2 if with_channels else None, None, height, width)
    together = layout.shapes.chunk[0]
    pixels = [np.full((2 if with_channels else 1, *extent), at + 1, "u2") for at, extent in enumerate(extents)]
    store = np.full((len(extents), *((2,) if with_channels else ()), height, width), 9999, "u2")
    for region, values in parts_of(layout, 0, pixels, (0, 0, 0), len(extents)):
        assert region[0].start % together == 0
        assert region[0].stop in (len(extents), region[0].start + together)
        for side, size, end in zip(region[-2:], layout.shapes.chunk[-2:], (height, width), strict=True):
            assert side.start == 0
            assert side.stop % size == 0 or side.stop == end
        assert store[region].shape == values.shape
        assert (store[region] == 9999).all()
        store[region] = values
    for at, (rows, columns) in enumerate(extents):
        assert (store[at][..., :rows, :columns] == at + 1).all()
        assert set(np.unique(store[at])) <= {0, 9999, at + 1}
