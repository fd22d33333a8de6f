"""The examples of the README are true, and what it links to exists."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUIDES = [
    "README.md",
    "docs/benchmarks.md",
    "docs/clusters.md",
    "docs/format.md",
    "docs/ingest.md",
    "docs/notebooks.md",
    "docs/own-stages.md",
    "docs/schedule.md",
    "docs/transforms.md",
    "docs/decisions/README.md",
]


def test_the_examples_run():
    failed, tried = doctest.testfile(str(ROOT / "README.md"), module_relative=False)
    assert tried > 5
    assert failed == 0


@pytest.mark.parametrize("guide", GUIDES)
def test_links_lead_somewhere(guide):
    path = ROOT / guide
    for link in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
        assert "://" in link or (path.parent / link).exists(), link
