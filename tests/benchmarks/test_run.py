"""The one command that measures everything runs, on very little data."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    out = tmp_path_factory.mktemp("results")
    command = [sys.executable, str(ROOT / "benchmarks" / "run.py"), "--size", "4MiB", "--repeats", "1", "--no-peers"]
    parts = ["--only", "writing", "canvas", "small", "reading", "blocks", "memory", "cluster"]
    done = subprocess.run(
        [*command, *parts, "--folder", str(out / "data"), "--out", str(out)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def found(results):
    return json.loads((results / "benchmarks.json").read_text())


def test_facts_are_kept_beside_figures(found):
    assert set(found["machine"]) >= {"cpus", "memory", "python", "versions", "filesystem", "system"}
    assert found["parts"]["writing"]["settings"]["size"] == 4 * 2**20


@pytest.mark.parametrize(
    ("words", "figure"),
    [
        (["cluster.py", "--side", "512", "--repeats", "1"], "MB/s"),
        (["overlap.py", "--side", "1024", "--repeats", "1"], "ratio"),
        (["statistics_cost.py", "--repeats", "1", "--only", "small images", "--compiled"], "ns/px"),
    ],
    ids=("cluster", "overlap", "statistics_cost"),
)
def test_what_is_measured_by_itself_runs_too(words, figure):
    script, *options = words
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / script, *options], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert figure in done.stdout


@pytest.mark.parametrize("part", ["writing", "canvas", "small", "reading"])
def test_every_way_keeps_its_timings(found, part):
    cases = found["parts"][part]["cases"]
    assert cases
    for each in cases:
        ways = each["ways"]
        assert {"by hand", "patchmill", each["bound"]} <= set(ways)
        for way in ways.values():
            assert "note" in way or way["min"] <= way["median"] <= way["max"]
        assert len(ways["patchmill"]["seconds"]) == len(ways["patchmill"]["cpu"]) > 0
        assert "note" not in ways["patchmill"]


def test_costs_are_counted(found):
    tasks = {each["task"] for each in found["parts"]["blocks"]["cases"]}
    assert tasks == {"loop", "whole", "prepare", "plan", "plan-images", "plan-sizes", "call"}
    for each in found["parts"]["memory"]["cases"]:
        assert "refused" in each or each["peak"] > each["before"] > 0


def test_data_is_removed(results):
    assert [path for path in (results / "data").iterdir() if path.name.startswith("run-")] == []


def test_the_picture_is_there(results):
    assert (results / "benchmarks.png").read_bytes().startswith(b"\x89PNG")


def test_the_page_takes_its_tables(found, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    spec = importlib.util.spec_from_file_location("benchmarks_page", ROOT / "benchmarks" / "page.py")
    page = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(page)
    text = page.filled((ROOT / "docs" / "benchmarks.md").read_text(), found)
    for part in ("writing", "canvas", "small", "reading", "blocks", "memory", "cluster"):
        for each in found["parts"][part]["cases"]:
            assert each["case"] in text
