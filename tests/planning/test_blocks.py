"""Units, tasks, tiles and waves as laws: every shard once, every pixel that a task takes within reach."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from patchmill.grid import Axis, ImageGrids, PatchGrid
from patchmill.planning import Shards, Work, halo_of, looked_back, tiles_of, waves
from patchmill.planning.blocks import block_size, cuts_of
from patchmill.planning.units import PixelUnits, PositionUnits

EDGES = st.sampled_from(["drop", "pad", "shift"])
AXES = st.builds(
    Axis,
    n=st.integers(1, 200),
    patch=st.integers(1, 20),
    step=st.integers(1, 30),
    dilation=st.integers(1, 3),
    edge=EDGES,
)
UNITS = st.one_of(
    st.builds(PositionUnits, AXES, st.integers(1, 20)), st.builds(PixelUnits, AXES, st.integers(1, 40), st.booleans())
)


@given(UNITS)
def test_every_position_has_one_owner_and_everything_is_stored_once(side):
    positions = [at for unit in range(len(side)) for at in range(*side.positions(unit))]
    assert sorted(positions) == list(range(len(side.axis)))
    stored = [at for unit in range(len(side)) for at in range(*side.stored(unit))]
    whole = len(side.axis) if isinstance(side, PositionUnits) else side.axis.n
    assert stored == list(range(whole))


@settings(max_examples=20)
@given(st.integers(1, 20), st.integers(1, 30), st.integers(1, 9), st.integers(0, 60), EDGES)
def test_the_halo_of_very_many_units_is_that_of_the_widest(patch, step, size, more, edge):
    side = PixelUnits(Axis(2060 * size + patch + more, patch, step, 1, edge), size, whole=True)
    assert halo_of(side) == max(side.source(unit)[1] - side.begins(unit + 1) for unit in range(len(side) - 1))


@given(UNITS)
def test_a_unit_takes_what_it_stores_and_what_its_patches_reach_over(side):
    for unit in range(len(side)):
        low, high = side.source(unit)
        assert 0 <= low <= high <= side.axis.n
        looked_at = isinstance(side, PositionUnits) or side.whole
        for at in range(*side.positions(unit)) if looked_at else ():
            pixels = side.axis.pixels(at)
            assert low <= pixels.start
            assert pixels.stop <= high
        if isinstance(side, PixelUnits):
            assert low <= side.stored(unit)[0]
            assert side.stored(unit)[1] <= high


@given(UNITS)
@example(PixelUnits(Axis(3, patch=2, step=2, dilation=1, edge="pad"), 1, whole=True))
def test_a_tile_and_its_halo_hold_what_its_block_needs(side):
    if len(side) == 0:
        return
    (size,) = block_size([side])
    cuts = cuts_of(side, size)
    assert cuts[0] == 0
    assert cuts[-1] == len(side)
    begin, widths = tiles_of(side, cuts)
    ends = begin + np.cumsum(widths)
    for at, (start, stop, width) in enumerate(zip(cuts[:-1], cuts[1:], widths, strict=True)):
        halo = 0 if stop == len(side) else halo_of(side)
        assert halo <= (widths[at + 1] if at + 1 < len(widths) else 0)
        for unit in range(start, stop):
            low, high = side.source(unit)
            if isinstance(side, PositionUnits) or side.whole:
                low = looked_back(side.axis, side.positions(unit), low)
            assert ends[at] - width <= low
            assert high <= ends[at] + halo


@given(
    sizes=st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=5),
    patch=st.integers(1, 6),
    step=st.integers(1, 8),
    edge=EDGES,
    layout=st.sampled_from(["patches", "canvas"]),
    shard=st.integers(1, 9),
    band=st.integers(1, 3),
    rows=st.integers(1, 3),
    stack=st.integers(1, 3),
)
def test_both_ways_of_working_come_by_every_shard_once(sizes, patch, step, edge, layout, shard, band, rows, stack):
    sizes = np.asarray(sizes)
    canvas = PatchGrid(tuple(sizes.max(axis=0).tolist()), patch, step, edge=edge)
    shards = Shards(ImageGrids(canvas, sizes), layout, (1, shard, shard), whole=True)
    expected = set()
    for image in range(len(sizes)):
        grid = shards.grids.of(image)
        lengths = grid.counts if layout == "patches" else grid.shape
        expected |= {(image, y, x) for y in range(-(-lengths[0] // shard)) for x in range(-(-lengths[1] // shard))}
    work = Work("region", shards.size, (1, 1), band, rows, stack, 1, 0)
    walked = list(shards.walk(work))
    assert len(walked) == len(set(walked))
    assert set(walked) == expected
    assert len({shards.number(key) for key in walked}) == len(walked)
    found = []
    for wave in waves(shards, Work("overlap", shards.size, (2, 2), band, rows, 1, 1, 0)):
        places = np.ndindex(*(len(cuts) - 1 for cuts in wave.cuts))
        found += [key for place in places for image in range(*wave.images) for key in wave.keys(image, place)]
    assert sorted(found) == sorted(expected)


@given(images=st.integers(1, 10**7), size=st.tuples(st.integers(1, 60), st.integers(1, 60)))
def test_images_that_are_alike_cost_nothing(images, size):
    grids = ImageGrids.uniform(PatchGrid(size, 3, 2), images)
    assert len(grids) == images * len(grids.canvas)
    assert not grids.differ
    if len(grids):
        last = len(grids) - 1
        image, position = grids.locate([last])
        assert image.tolist() == [images - 1]
        assert tuple(position[0].tolist()) == tuple(n - 1 for n in grids.canvas.counts)
