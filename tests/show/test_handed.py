"""Figures that notebooks hand over: data in, the same data out of the executed notebook."""

from __future__ import annotations

import json

import numpy as np
import pytest

import patchmill
from patchmill.show import Result
from patchmill.show.accounts import against_plan, allowed, dropped_sentence, flow
from patchmill.show.handed import FIGURES, figures_of, handed_over, own_peak
from patchmill.show.progress import State, state_figures
from patchmill.types import Progress


def handed(*things) -> dict:
    bundles = [thing if isinstance(thing, dict) else thing._repr_mimebundle_() for thing in things]
    return handed_over(json.loads(json.dumps(bundle, allow_nan=False, sort_keys=True)) for bundle in bundles)


@pytest.fixture(scope="module")
def cut(tmp_path_factory):
    source = np.arange(2 * 1 * 40 * 64, dtype="uint16").reshape(2, 1, 40, 64)
    target = tmp_path_factory.mktemp("cut") / "p.zarr"
    arguments = {"keep": "max >= 2600", "memory": "4GiB"}
    plan = patchmill.plan(source, 16, 8, **arguments)
    return plan, patchmill.write_patches(source, target, 16, 8, **arguments)


def test_a_plan_and_a_patch_set_hand_over_what_they_are(cut):
    plan, patches = cut
    found = handed(plan, patches)
    assert found["plan"]["patches"] == plan.patches == found["patches"]["positions"]
    assert (found["plan"]["memory"], found["plan"]["limit"]) == (plan.memory, 2**32)
    assert found["patches"]["patches"] == len(patches)
    assert found["patches"]["dropped"] == plan.patches - len(patches) > 0
    assert found["patches"]["keep"] == "max >= 2600"


def test_what_came_out_stands_beside_the_plan(cut):
    plan, patches = cut
    over = state_figures(State("cutting", "patches", Progress(70, 70, 123, 4, 4), 2.0))
    found = handed(plan, patches, over)
    rows = {row.what: row for row in against_plan(found)}
    assert rows["patches"].planned == f"{plan.patches:,}"
    assert rows["patches"].came == f"{len(patches):,}"
    assert rows["patches"].note == f"{plan.patches - len(patches)} dropped by keep: max >= 2600"
    written = rows["pixels written, before compression"]
    assert (written.came, written.note) == ("123 B", "what is dropped takes no space")
    assert rows["memory of the notebook"].fraction == pytest.approx(own_peak() / plan.memory, rel=0.2)
    assert "were dropped by keep: max >= 2600" in dropped_sentence(found)
    assert against_plan(handed(patches)) == []


def test_bytes_flow_as_fast_as_the_calls_say():
    one = state_figures(State("reading", "images", Progress(1, 1, 3_000_000), 1.0))
    two = state_figures(State("cutting", "patches", Progress(1, 1, 1_000_000, 1, 1), 1.0))
    found = flow(handed(one, two))
    assert (found.nbytes, found.rate) == (4_000_000, 2_000_000)
    assert flow(handed(state_figures(State("checking", "objects", Progress(1, 1), 1.0)))) is None


def test_a_limit_is_that_of_the_run_or_else_of_the_plan(cut):
    assert allowed(5, handed(cut[0])) == 5
    assert allowed(None, handed(cut[0])) == 2**32
    assert allowed(None, {}) is None


def test_a_result_hands_over_what_it_shows_as_numbers_and_more():
    result = Result({"z": np.int64(1234), "a": 0.5}, more={"sizes": [(1, 2)], "bad": float("inf"), "none": None})
    found = handed(result)["result"]
    assert list(found.items()) == [("z", 1234), ("a", 0.5), ("sizes", [[1, 2]]), ("bad", "inf"), ("none", None)]
    assert "sizes" not in result._repr_html_()


def test_of_two_of_one_name_the_last_word_counts():
    assert handed(figures_of("a", {"x": 1, "y": 1}), figures_of("a", {"x": 2})) == {"a": {"x": 2, "y": 1}}


@pytest.mark.parametrize("wrong", [None, 1, [], {}, {"figures": 1}, {"of": "a", "figures": [1, [1], "xy", [1, 2, 3]]}])
def test_what_is_not_written_by_us_is_left_out(wrong):
    assert handed_over([{FIGURES: wrong}, {}]) in ({}, {"a": {}})
    assert against_plan({"plan": {"patches": "many", "memory": float("nan"), "limit": None}}) == []


def test_a_notebook_shows_the_same_as_before(cut, shell):
    plan, _ = cut
    data, _ = shell.display_formatter.format(plan)
    assert {"text/plain", "text/html", FIGURES} <= set(data)
