"""Each closed form of an axis beside its enumeration."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchmill.grid import Axis

axes = st.from_type(Axis)
pixels = st.integers(-5, 60)


def origins(axis: Axis) -> list[int]:
    """By the words of the design, one position after the other."""
    lattice = range(0, axis.n, axis.step)
    if axis.edge == "drop":
        return [o for o in lattice if o + axis.span <= axis.n]
    if axis.edge == "pad":  # begins inside, and the one before does not reach the border
        return [o for o in lattice if o == 0 or o - axis.step + axis.span < axis.n]
    found = [o for o in lattice if o + axis.span <= axis.n]
    last = axis.n - axis.span
    return found if last < 0 or found[-1] == last else [*found, last]


def held(axis: Axis, position: int) -> set[int]:
    """Pixels of the image that a position holds."""
    origin = origins(axis)[position]
    return {p for k in range(axis.patch) if (p := origin + k * axis.dilation) < axis.n}


def counted(axis: Axis) -> dict[int, list[int]]:
    """For each pixel the positions that hold it."""
    return {p: [i for i in range(len(origins(axis))) if p in held(axis, i)] for p in range(axis.n)}


@given(axes)
def test_positions_are_those_of_the_definition(axis: Axis):
    expected = origins(axis)
    assert list(axis) == expected
    assert len(axis) == len(expected)
    assert [axis[i] for i in range(len(axis))] == expected


@given(axes)
def test_positions_outside_are_refused(axis: Axis):
    for position in (-1, len(axis)):
        with pytest.raises(IndexError, match=f"{position} is outside an axis of {len(axis)}"):
            axis[position]


@given(axes)
def test_pixels_are_those_that_a_position_holds(axis: Axis):
    image = list(range(axis.n))
    for position in range(len(axis)):
        assert set(image[axis.pixels(position)]) == held(axis, position)


@given(axes, st.data())
def test_many_positions_at_once(axis: Axis, data):
    start, stop = sorted(data.draw(st.lists(st.integers(0, len(axis)), min_size=2, max_size=2)))
    assert axis.origins(start, stop).tolist() == list(axis)[start:stop]
    assert axis.inside(start, stop).tolist() == [len(held(axis, position)) for position in range(start, stop)]


@given(axes)
def test_span_reach_and_regularity(axis: Axis):
    expected = origins(axis)
    assert axis.span == range(0, axis.patch * axis.dilation, axis.dilation)[-1] + 1
    assert axis.reach == (expected[-1] + axis.span if expected else 0)
    assert axis.is_regular == all(origin % axis.step == 0 for origin in expected)


@given(axes)
def test_only_the_last_position_is_moved_or_filled(axis: Axis):
    """What the kernels lean on."""
    expected = origins(axis)
    assert all(b - a == axis.step for a, b in pairwise(expected[:-1]))
    assert all(a < b for a, b in pairwise(expected))
    assert all(origin + axis.span <= axis.n for origin in expected[:-1])


@given(axes)
def test_covered_and_overlaps_are_counts(axis: Axis):
    positions = counted(axis).values()
    assert axis.covered == sum(bool(found) for found in positions)
    assert axis.overlaps == any(len(found) > 1 for found in positions)


@given(axes)
def test_edges_other_than_drop_reach_the_border(axis: Axis):
    if axis.edge != "drop" and len(axis) and axis.dilation == 1 and axis.step <= axis.patch:
        assert axis.covered == axis.n


@given(axes)
def test_locate_is_the_search(axis: Axis):
    expected = counted(axis)
    for pixel in range(-3, axis.n + 3):
        assert axis.locate(pixel) == expected.get(pixel, [])


@given(axes, pixels, pixels)
def test_touching_is_the_search(axis: Axis, start: int, stop: int):
    first, last = max(start, 0), min(stop, axis.n)
    expected = [i for i, o in enumerate(origins(axis)) if first < last and o < last and o + axis.span > first]
    assert list(axis.touching(start, stop)) == expected


@given(axes, pixels, pixels)
def test_begins_in_is_the_search(axis: Axis, start: int, stop: int):
    assert list(axis.begins_in(start, stop)) == [i for i, o in enumerate(origins(axis)) if start <= o < stop]


@given(axes, st.lists(st.integers(0, 30), max_size=5))
def test_each_position_begins_in_exactly_one_part(axis: Axis, cuts: list[int]):
    edges = [0, *sorted(min(cut, axis.n) for cut in cuts), axis.n]
    assert [i for a, b in pairwise(edges) for i in axis.begins_in(a, b)] == list(range(len(axis)))


@given(axes, st.data())
def test_source_is_what_positions_reach_over(axis: Axis, data: st.DataObject):
    start = data.draw(st.integers(0, len(axis)))
    stop = data.draw(st.integers(0, len(axis)))
    expected = origins(axis)[start:stop]
    reach = [min(origin + axis.span, axis.n) for origin in expected]
    assert axis.source(start, stop) == ((min(expected), max(reach)) if expected else (0, 0))


@given(axes, st.integers(1, 6))
def test_halo_is_enough_for_blocks_at_multiples_of_step(axis: Axis, size: int):
    """A block of positions [a, b) owns the pixels [a * step, b * step), and the last one those up to the border."""
    before, after = axis.halo()
    for start in range(0, len(axis), size):
        stop = min(start + size, len(axis))
        first, last = axis.source(start, stop)
        own = (start * axis.step, stop * axis.step)
        assert own[0] - before <= first
        assert last <= own[1] + after


@given(axes)
def test_halo_after_is_needed(axis: Axis):
    """No smaller one would do where two positions follow each other."""
    if len(axis) > 2:
        assert axis.source(0, 1)[1] == axis.step + axis.halo().after or axis.step > axis.span


def test_the_cases_of_the_drawing():
    assert list(Axis(11, 4, 3, 1, "drop")) == [0, 3, 6]
    assert list(Axis(11, 4, 3, 1, "pad")) == [0, 3, 6, 9]
    assert list(Axis(11, 4, 3, 1, "shift")) == [0, 3, 6, 7]


@pytest.mark.parametrize("edge", ["drop", "pad", "shift"])
def test_a_long_axis_costs_no_more(edge):
    """10**12 pixels: whatever walked over positions or pixels would never end."""
    begun = time.perf_counter()
    axis = Axis(10**12 + 77, 256, 3, 2, edge)
    middle = 5 * 10**11
    assert len(axis) in range((10**12 - 600) // 3, 10**12 // 3 + 100)
    short = replace(axis, n=axis.n % 6 + 6000)  # the pattern of step 3 and dilation 2 repeats every 6 pixels
    assert axis.n - axis.covered == short.n - short.covered
    assert axis.overlaps
    assert all(middle - axis[i] in range(0, 512, 2) for i in axis.locate(middle))
    assert len(axis.touching(middle, middle + 10)) in (173, 174)
    assert len(axis.begins_in(middle, middle + 9)) == 3
    assert time.perf_counter() - begun < 1
