"""What is built for others is complete: an sdist that builds the wheel, a wheel that carries notebooks and configs."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import patchmill

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the sdist of this tree and the wheel built out of that sdist."""
    target = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(target), str(ROOT)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return target


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def wheel_names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def files_of(folder: str, suffixes: set[str]) -> set[str]:
    """Files of the tree below `folder`, relative to it."""
    found = {path for path in (ROOT / folder).rglob("*") if path.suffix in suffixes and path.is_file()}
    return {path.relative_to(ROOT / folder).as_posix() for path in found if not path.parent.name.startswith(".")}


@pytest.mark.parametrize(
    ("folder", "inside", "suffixes"),
    [
        ("pipeline/patchmill", "patchmill", {".py", ".typed", ".html", ".css", ".j2", ".ipynb", ".yaml", ".md"}),
        ("notebooks", "patchmill/notebooks", {".ipynb"}),
        ("configs", "patchmill/configs", {".yaml", ".sh", ".py", ".json", ""}),
    ],
)
def test_the_wheel_carries(wheel_names: set[str], folder: str, inside: str, suffixes: set[str]):
    expected = {f"{inside}/{name}" for name in files_of(folder, suffixes)}
    assert expected
    assert expected <= wheel_names


def test_the_wheel_carries_nothing_else(wheel_names: set[str]):
    assert {name.split("/")[0] for name in wheel_names} == {"patchmill", f"patchmill-{patchmill.__version__}.dist-info"}
    assert not [name for name in wheel_names if "checkpoint" in name or name.endswith(".pyc")]


def test_the_sdist_carries_what_developers_need(built: Path):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "README.md", "Makefile", "environment.yml", "CHANGELOG.md", "tests/conftest.py"} <= names
    assert not [name for name in names if name.startswith((".venv", "runs", ".git/"))]


def test_the_wheel_works_from_where_it_was_unpacked(wheel: Path, tmp_path: Path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    script = "import patchmill; print(patchmill.__file__); print(patchmill.PatchGrid((9, 9), (3, 3)).shape)"
    env = os.environ | {"PYTHONPATH": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-c", script], env=env, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert Path(run.stdout.splitlines()[0]) == tmp_path / "patchmill" / "__init__.py"


def test_the_wheel_brings_the_command(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
        entry_points = archive.read(name).decode()
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert [f"{command} = {target}" for command, target in scripts.items()] == entry_points.splitlines()[1:]


def test_a_project_that_the_wheel_begins_runs_at_once(wheel: Path, tmp_path: Path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    # Nothing but the wheel's own files and what it depends on; -P: nor what lies in the current folder.
    env = os.environ | {"PYTHONPATH": str(tmp_path / "installed"), "PYTHONSAFEPATH": "1"}

    def patchmill_says(*arguments: str, folder: Path) -> str:
        command = [sys.executable, "-m", "patchmill", *arguments]
        run = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
        return run.stdout

    assert "patchmill run configs/coast.yaml" in patchmill_says("init", "coast", folder=tmp_path)
    assert "measure: done" in patchmill_says("run", "configs/coast.yaml", folder=tmp_path / "coast")
    record = next((tmp_path / "coast" / "runs" / "coast" / "records").iterdir())
    assert str(tmp_path / "installed") in (record / "config.yaml").read_text()
    assert (tmp_path / "coast" / "runs" / "coast" / "measures.csv").is_file()
