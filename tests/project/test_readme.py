"""The examples of the README are true, and what it links to exists."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUIDES = [str(path.relative_to(ROOT)) for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))]


def test_the_examples_run():
    failed, tried = doctest.testfile(str(ROOT / "README.md"), module_relative=False)
    assert tried > 5
    assert failed == 0


@pytest.mark.parametrize("guide", GUIDES)
def test_links_lead_somewhere(guide):
    path = ROOT / guide
    for link, heading in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", path.read_text()):
        if "://" in link:
            continue
        place = path.parent / link if link else path
        assert place.exists(), link
        assert not heading or heading in headings(place), f"{link}#{heading}"


def headings(path: Path) -> set[str]:
    """What GitHub calls the headings of a page in links."""
    titles = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
