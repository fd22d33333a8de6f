"""The picture of a run's stages: no box on another, no line through a box, and whatever a stage is called is text."""

from __future__ import annotations

import random
import re
import xml.etree.ElementTree as ET
from itertools import combinations

import pytest

from patchmill.show.flow import SIGNS, Box, flow_svg, kind, leaves_out
from patchmill.show.layers import layout, without_shortcuts

EVIL = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>"

GRAPHS = {
    "one": [[]],
    "chain": [[], [0], [1], [2]],
    "diamond": [[], [0], [0], [1, 2]],
    "ten at a time": [[] for _ in range(10)],
    "out and in": [[], *([0] for _ in range(10)), list(range(1, 11))],
    "past others": [[], [0], [1], [0, 2]],
    "two of their own": [[], [], [0], [1]],
    **{
        f"any {seed}": [
            sorted(random.Random(f"{seed}-{at}").sample(range(at), min(at, random.Random(at).randint(0, 3))))
            for at in range(30)
        ]
        for seed in range(4)
    },
}


def boxes(needs: list[list[int]], state: str = "done") -> list[Box]:
    return [Box(f"s{at}", state, 1.0, [f"s{each}" for each in need], f"#s-{at}") for at, need in enumerate(needs)]


def rectangles(svg: str) -> list[tuple[float, float, float, float]]:
    inner = ET.fromstring(svg).findall("./a/svg")
    return [tuple(float(each.get(name)) for name in ("x", "y", "width", "height")) for each in inner]


def lines(svg: str) -> list[list[tuple[float, float]]]:
    """Points of each line, the bends between them left out."""
    found = []
    for path in ET.fromstring(svg).findall("./path"):
        x, y = 0.0, 0.0
        points = []
        for word, rest in re.findall(r"([MChv])([-\d. ]*)", path.get("d").partition("m")[0]):
            numbers = [float(number) for number in rest.split()]
            moved = {"h": (x + numbers[-1], y), "v": (x, y + numbers[-1])}
            x, y = moved.get(word, tuple(numbers[-2:]))
            points.append((x, y))
        found.append(points)
    return found


@pytest.mark.parametrize("needs", GRAPHS.values(), ids=GRAPHS.keys())
def test_each_box_lies_behind_all_that_it_needs(needs):
    laid = layout(needs)
    assert all(laid.layer[need] < laid.layer[at] for at, each in enumerate(needs) for need in each)
    assert all(laid.layer[at] == 0 for at, each in enumerate(needs) if not each)


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("needs", GRAPHS.values(), ids=GRAPHS.keys())
def test_no_box_lies_on_another_and_no_line_crosses_one(needs, narrow):
    svg = flow_svg(boxes(needs), narrow=narrow)
    placed = rectangles(svg)
    for (x, y, width, height), (other_x, other_y, *_) in combinations(placed, 2):
        assert abs(x - other_x) >= width or abs(y - other_y) >= height
    for points in lines(svg):
        for x, y in points:
            inside = [at for at, (left, top, w, h) in enumerate(placed) if left < x < left + w and top < y < top + h]
            assert inside == []
    _, _, width, height = (float(number) for number in re.search(r'viewBox="([^"]*)"', svg)[1].split())
    assert min(min(x, y) for x, y, _, _ in placed) >= -1
    assert all(x + w <= width and y + h <= height for x, y, w, h in placed)


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("needs", GRAPHS.values(), ids=GRAPHS.keys())
def test_each_need_is_a_line_from_the_one_to_the_other(needs, narrow):
    svg = flow_svg(boxes(needs), narrow=narrow)
    placed = rectangles(svg)

    def touched(point: tuple[float, float]) -> int:
        x, y = point
        away = [max(left - x, x - left - w, 0) + max(top - y, y - top - h, 0) for left, top, w, h in placed]
        return away.index(min(away))

    drawn = {(touched(points[0]), touched(points[-1])) for points in lines(svg)}
    assert drawn == {(need, at) for at, each in enumerate(needs) for need in each}


def test_a_diamond_is_one():
    laid = layout(GRAPHS["diamond"])
    assert laid.across[0] == laid.across[3] == (laid.across[1] + laid.across[2]) / 2
    assert laid.layers == 3
    assert laid.widest == 2


def test_a_chain_is_straight_also_where_a_line_goes_past_it():
    for name in ("chain", "past others"):
        across = layout(GRAPHS[name]).across
        assert max(across) - min(across) < 0.03


def test_what_needs_one_stage_alone_lies_straight_behind_it():
    _, first, second, behind = layout([[], [0], [0], [2]]).across
    assert behind == second == first + 1


def test_a_long_chain_goes_down_and_a_short_one_to_the_right():
    for count, down in ((4, False), (50, True)):
        (first, last) = (rectangles(flow_svg(boxes([[], *([at] for at in range(count - 1))])))[at] for at in (0, -1))
        assert (last[1] > first[1], last[0] > first[0]) == (down, not down)


def test_where_lines_are_too_many_those_that_follow_from_others_go():
    dense = boxes([list(range(at)) for at in range(50)])
    assert leaves_out(dense)
    assert len(lines(flow_svg(dense))) == 49
    assert not leaves_out(boxes(GRAPHS["past others"]))


@pytest.mark.parametrize("seed", range(4))
def test_without_shortcuts_what_is_reached_stays_what_it_was(seed):
    needs = GRAPHS[f"any {seed}"]

    def reached(graph: list[list[int]]) -> list[set[int]]:
        found: list[set[int]] = []
        for each in graph:
            found.append(set(each).union(*(found[need] for need in each)))
        return found

    fewer = without_shortcuts(needs)
    assert reached(fewer) == reached(needs)
    assert sum(map(len, fewer)) <= sum(map(len, needs))


@pytest.mark.parametrize("state", SIGNS)
def test_a_state_is_said_by_a_word_and_a_sign(state):
    svg = flow_svg(boxes([[]], state))
    assert f">{state}, 1.0 s</text>" in svg
    assert SIGNS[state] in svg
    assert kind(state) in re.search(r'class="box ([^"]*)"', svg)[1]


def test_what_a_stage_is_called_is_text():
    svg = flow_svg([Box(EVIL, EVIL, 1.0, [], f"#{EVIL}", EVIL), Box("b", "done", None, [EVIL, "unknown"], "#b")])
    tree = ET.fromstring(svg)
    assert not {each.tag for each in tree.iter()} & {"script", "img", "image", "foreignObject"}
    assert not [name for each in tree.iter() for name in each.keys() if name.startswith("on")]  # noqa: SIM118
    assert tree.find("./a").get("href") == f"#{EVIL}"
    assert len(lines(svg)) == 1


def test_nothing_is_drawn_of_nothing():
    assert flow_svg([]) == ""
