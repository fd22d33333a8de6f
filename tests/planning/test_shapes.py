"""Chunks and shards as laws."""

from __future__ import annotations

from math import prod

from hypothesis import given
from hypothesis import strategies as st

from patchmill.planning import aligned_canvas, canvas_shapes, image_shapes, patch_shapes
from patchmill.planning.shapes import _decoded, aligned, canvas_side

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


SIZES = st.tuples(st.integers(1, 10**5), st.integers(1, 10**5))
STEP = st.tuples(st.integers(1, 600), st.integers(1, 600))


@given(CHANNELS, SIZES, PATCH, STEP, SIZE)
def test_canvases_are_stored_in_chunks_no_larger_than_patches(channels, sizes, patch, step, size):
    shapes = canvas_shapes(channels, sizes, patch, step, size)
    one_tile = prod(patch) * size
    assert all(shard % chunk == 0 for chunk, shard in zip(shapes.chunk, shapes.shard, strict=True))
    assert prod(shapes.shard) * size <= max(32 * MIB, one_tile)
    assert prod(shapes.chunk) * size <= max(4 * MIB, one_tile)
    if prod(shapes.chunk) * size > 64 * 1024:
        assert all(side <= max(1, p) for side, p in zip(shapes.chunk[-2:], patch, strict=True))
    if shapes.shard[0] > 1:
        assert all(side >= n for side, n in zip(shapes.shard[-2:], sizes, strict=True))
        assert channels is None or shapes.shard[1] >= channels


@given(SIZES, PATCH, STEP)
def test_tiny_patches_share_chunks_of_a_canvas(sizes, patch, step):
    chunk = canvas_shapes(None, sizes, patch, step, 1).chunk
    # An axis that the chunk covers ends at the canvas: up to half of what was grown lies beyond, on either axis.
    covered = sum(side >= n for side, n in zip(chunk[1:], sizes, strict=True))
    assert prod(chunk) > 32 * 1024 // 2**covered


@given(
    st.lists(st.tuples(CHANNELS, SIZE), min_size=1, max_size=3),
    st.one_of(SIZES, st.tuples(st.integers(1, 600), st.integers(1, 600))),
    PATCH,
    STEP,
)
def test_variables_of_a_canvas_share_their_shards(variables, sizes, patch, step):
    apart = [canvas_shapes(channels, sizes, patch, step, size) for channels, size in variables]
    shapes = aligned_canvas(apart, sizes)
    assert len({(each.shard[0], *each.shard[-2:]) for each in shapes}) == 1
    for (_, size), each in zip(variables, shapes, strict=True):
        assert all(shard % chunk == 0 for chunk, shard in zip(each.chunk, each.shard, strict=True))
        assert prod(each.shard) * size <= max(32 * MIB, prod(patch) * size)
    assert aligned_canvas(shapes, sizes) == shapes


@given(st.integers(1, 80), st.integers(1, 80), st.integers(1, 80))
def test_pixels_decoded_are_those_counted(side, patch, step):
    touched = [(o + patch - 1) // side - o // side + 1 for o in range(0, side * step, step)]
    assert _decoded(side, patch, step) * len(touched) == sum(touched) * side


@given(st.integers(1, 600), st.integers(1, 600))
def test_a_side_is_about_half_a_patch_or_lets_origins_fall_on_borders(patch, step):
    side = canvas_side(patch, step)
    assert side == max(1, patch // 2) or (step % side == 0 and patch <= 3 * side <= 3 * patch)
