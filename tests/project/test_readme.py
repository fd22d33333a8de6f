"""The examples of the README are true, and what it links to exists."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
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


@pytest.mark.parametrize("guide", ["docs/notebooks.md", "docs/schedule.md"])
def test_commands_with_papermill_name_notebooks_that_are_installed(guide, tmp_path):
    """In a checkout the folder of an installed package is made of links."""
    text = (ROOT / guide).read_text()
    commands = [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    used = [line for line in commands if line.startswith("papermill ")]
    assert used
    for line in used:
        (name,) = re.findall(r'"\$notebooks/(\w+\.ipynb)"', line)
        assert (ROOT / "notebooks" / name).is_file()
    package = tmp_path / "patchmill"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "notebooks").symlink_to(ROOT / "notebooks")
    (assignment,) = (line for line in commands if line.startswith("notebooks="))
    said = subprocess.run(
        ["bash", "-c", f'{assignment}; ls "$notebooks/inspect.ipynb"'],
        env={"PYTHONPATH": str(tmp_path), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert said.stdout.strip() == str(package / "notebooks" / "inspect.ipynb")
