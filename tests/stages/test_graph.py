"""The graph of stages: closed forms against the slow way, on small graphs."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from patchmill.stages.graph import among, before, behind, width

Needs = dict[str, frozenset[str]]


@st.composite
def graphs(draw: st.DrawFn) -> Needs:
    names = "abcdef"[: draw(st.integers(0, 6))]
    return {
        name: frozenset(draw(st.sets(st.sampled_from(names[:at])))) if at else frozenset()
        for at, name in enumerate(names)
    }


def waits(needs: Needs, name: str, other: str) -> bool:
    """Whether `name` waits for `other`, directly or not."""
    return other in needs[name] or any(waits(needs, each, other) for each in needs[name])


@given(graphs())
def test_what_lies_before_and_behind(needs):
    for name in needs:
        assert before(needs, [name]) == {name} | {other for other in needs if waits(needs, name, other)}
        assert behind(needs, [name]) == {name} | {other for other in needs if waits(needs, other, name)}


@given(graphs())
def test_the_width_is_that_of_the_largest_set_of_which_none_waits(needs):
    free = [
        names
        for count in range(len(needs) + 1)
        for names in combinations(needs, count)
        if not any(waits(needs, name, other) for name in names for other in names)
    ]
    assert width(needs) == max(map(len, free))


@given(graphs(), st.data())
def test_those_that_are_chosen_wait_for_each_other_as_before(needs, data):
    chosen = data.draw(st.sets(st.sampled_from(sorted(needs)))) if needs else set()
    left = among(needs, chosen)
    assert left.keys() == chosen
    for name in chosen:
        assert before(left, [name]) == before(needs, [name]) & chosen
