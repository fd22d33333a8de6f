"""`patchmill init`: a folder that runs as it is, and its guide."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest

import patchmill
from patchmill.errors import TargetExistsError
from patchmill.stages import starting
from patchmill.stages.config import read_config
from patchmill.stages.starting import start_project

GUIDE = (Path(__file__).parents[2] / "docs" / "own-stages.md").read_text()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files_below(folder: str) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file())


def write_images(folder: str, count: int = 2) -> None:
    for number in range(count):
        np.save(Path(folder) / f"{number}.npy", np.full((3, 40, 60), number, "uint8"))


def images_of(config: str) -> str:
    return read_config(config).model.stages["ingest"].params["images"]


def test_the_folder_has_what_was_said_and_nothing_else(here):
    written = start_project("coast")
    assert sorted(written) == files_below("coast")
    below = ["configs/coast.yaml", "data/README.md", "notebooks/measure.ipynb", "tests/test_measure.py"]
    assert files_below("coast") == [".gitignore", "README.md", *below]
    assert "runs/" in (here / "coast" / ".gitignore").read_text().splitlines()
    assert os.listdir() == ["coast"]
    assert not [path for path in written if "PROJECT_NAME" in (here / "coast" / path).read_text()]


def test_it_works_on_photographs_until_there_are_images(here):
    start_project("coast")
    assert images_of("coast/configs/coast.yaml") == "sample:"
    (here / "coast" / "data" / ".thumbnails").mkdir()
    write_images("coast/data/.thumbnails")
    assert images_of("coast/configs/coast.yaml") == "sample:"
    (here / "coast" / "data" / "north").mkdir()
    write_images("coast/data/north")
    assert images_of("coast/configs/coast.yaml") == "../data"


def test_a_place_that_is_gone_is_the_other_one_too(here):
    start_project("coast")
    (here / "coast" / "data" / "README.md").unlink()
    (here / "coast" / "data").rmdir()
    assert images_of("coast/configs/coast.yaml") == "sample:"


@pytest.mark.slow
def test_a_project_runs_on_its_images(here):
    start_project("coast")
    write_images("coast/data")
    run = patchmill.run("coast/configs/coast.yaml", ["patchify.patch_shape=20", "patchify.step=20"])
    assert [(stage.name, stage.state) for stage in run.stages] == [
        ("ingest", "done"),
        ("patchify", "done"),
        ("measure", "done"),
    ]
    with open("coast/runs/coast/measures.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    assert [float(rows[i]["mean"]) for i in (0, 11)] == [0, 1]
    assert "The patches whose values deviate most" in Path("coast/runs/coast/report.html").read_text()


@pytest.mark.slow
def test_a_project_runs_at_once():
    start_project("coast")
    run = patchmill.run("coast/configs/coast.yaml")
    assert run.state == "done"
    assert len(patchmill.open_patches("coast/runs/coast/patches.zarr")) == 172
    assert len(Path("coast/runs/coast/measures.csv").read_text().splitlines()) == 173


@pytest.mark.parametrize(
    ("name", "better"),
    [
        ("2 coasts", "coasts"),
        ("my project", "my_project"),
        ("a/b", "b"),
        ("../x/", "x"),
        ("-v", "v"),
        ("", ""),
        ("été", "t"),
        ("a\n", "a"),
    ],
)
def test_a_name_that_can_not_be_is_refused(here, name, better):
    with pytest.raises(ValueError, match=r"a letter and up to 99 more, digits, - or _, got ") as caught:
        start_project(name)
    assert str(caught.value).endswith(f"; {better} would do" if better else f"{name!r}")
    assert os.listdir() == []


def test_what_is_there_is_left_alone(here):
    Path("file").touch()
    Path("full").mkdir()
    Path("full/mine").touch()
    os.symlink("nowhere", "link")
    for name in ("file", "full", "link"):
        with pytest.raises(TargetExistsError, match="choose another name"):
            start_project(name)
    assert sorted(os.listdir()) == ["file", "full", "link"]
    Path("empty").mkdir()
    assert len(start_project("empty")) == len(files_below("empty"))


def test_it_is_written_whole_or_not_at_all(here, monkeypatch):
    copied = []

    def full(given: str, target: str, name: str) -> None:
        copied.append(given)
        if len(copied) == 3:
            raise OSError(28, "No space left on device")
        os.makedirs(os.path.dirname(target), exist_ok=True)
        Path(target).touch()

    monkeypatch.setattr(starting, "_copy", full)
    with pytest.raises(OSError, match="No space"):
        start_project("coast")
    assert os.listdir() == []


# -- the guide ---------------------------------------------------------------------------------------------------------


def blocks(language: str) -> list[str]:
    return [text.strip("\n") for text in re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)]


def test_the_guide_shows_the_notebook_and_the_config_as_they_are_written(here):
    start_project("coast")
    notebook = nbformat.read("coast/notebooks/measure.ipynb", as_version=4)
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    assert [block for block in blocks("python") if block in cells] == cells
    (config,) = blocks("yaml")
    assert Path("coast/configs/coast.yaml").read_text().rstrip().endswith(config)


@pytest.mark.slow
def test_the_guides_test_passes(here):
    start_project("coast")
    (test,) = [block for block in blocks("python") if "def test_" in block]
    assert Path("coast/tests/test_measure.py").read_text() == test + "\n"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    ended = subprocess.run(command, cwd="coast", capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout


def test_the_guides_line_loads_what_the_config_says(here, shell, monkeypatch):
    start_project("coast")
    monkeypatch.chdir(here / "coast" / "notebooks")
    (line,) = [block for block in blocks("python") if block.startswith("%load_ext")]
    cells = json.loads(Path("measure.ipynb").read_text())["cells"]
    declared, enter = ("".join(cell["source"]) for cell in cells[1:3])
    for source in (declared, line, enter):
        shell.run_cell(source, store_history=True).raise_error()
    assert shell.user_ns["target"] == str(here / "coast" / "runs" / "coast" / "measures.csv")
    assert shell.user_ns["batch"] == 256
