"""The stage notebooks under whatever executes notebooks: the same bytes and figures as in a run of patchmill's own."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest

import patchmill
from cuts import array_objects
from patchmill.show.executed import excerpt
from patchmill.stages.packaged import notebook_path
from stages.airflow_runs import airflow
from stages.jupyter_scheduling import jupyter_scheduler
from stages.notebook_files import write_config
from stages.other_environments import NBMAKE, environment, kernel_for_others, say

pytestmark = pytest.mark.slow

CHAIN: dict[str, dict[str, Any]] = {
    "generate": {"target": "scene.zarr", "size": "200KB", "channels": 1},
    "ingest": {"images": "in", "target": "source.zarr", "on_error": "skip"},
    "inspect": {"source": "source.zarr", "count": 2},
    "patchify": {"source": "source.zarr", "target": "patches.zarr", "patch_shape": [32, 16], "step": 16, "workers": 1},
    "explore": {"source": "patches.zarr", "count": 5, "image": 1},
}
"""What each notebook is given; paths are relative to the folder in which it works."""

Figures = dict[str, dict[str, str]]


def write_images(folder: Path) -> None:
    (folder / "in").mkdir(parents=True)
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 255, (50 + 10 * number, 70, 3), "uint8")
        np.save(folder / "in" / f"{number}.npy", pixels)
    (folder / "in" / "notes.npy").write_text("no array")


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Figures]:
    """What `patchmill run` makes of it."""
    folder = tmp_path_factory.mktemp("run")
    write_images(folder)
    behind = dict(zip(list(CHAIN)[1:], CHAIN, strict=False))
    stages = {
        name: {"notebook": f"patchmill:{name}", "params": given, "after": behind.get(name, [])}
        for name, given in CHAIN.items()
    }
    run = patchmill.run(write_config(folder / "chain.yaml", stages, root="."))
    return folder, {stage.name: figures_of(Path(stage.executed), folder) for stage in run.stages}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_images(tmp_path)
    return tmp_path


def figures_of(notebook: Path, folder: Path) -> dict[str, str]:
    """What a notebook shows as its result, and how many pictures and captions; where it worked is not compared."""
    found = excerpt(json.loads(notebook.read_text().replace(str(folder), "FOLDER")))
    return {**found.figures, "pictures": str(sum(len(section.pieces) for section in found.sections))}


def pixels_and_all(store: Path) -> dict[str, bytes]:
    """The objects of a store, but those that say from which files it comes, and when these were written."""
    return {key: data for key, data in array_objects(store).items() if not key.startswith("provenance/")}


def check(folder: Path, executed: Mapping[str, Path], expected: tuple[Path, Figures]) -> None:
    place, figures = expected
    for store in ("scene.zarr", "source.zarr", "patches.zarr"):
        assert pixels_and_all(folder / store) == pixels_and_all(place / store), store
    assert {name: figures_of(path, folder) for name, path in executed.items()} == figures


def edited(name: str, place: Path) -> Path:
    """A notebook whose `parameters` cell was changed by hand."""
    notebook = nbformat.read(notebook_path(f"patchmill:{name}", ""), as_version=4)
    cell = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    cell.source += "".join(f"\n{key}: {kind(value)} = {value!r}  # changed" for key, value in CHAIN[name].items())
    nbformat.write(notebook, place / f"{name}.ipynb")
    return place / f"{name}.ipynb"


def kind(value: Any) -> str:
    return type(value).__name__


def test_bare_papermill(folder, expected):
    for name, given in CHAIN.items():
        options = [word for key, value in given.items() for word in ("-r", key, value)]
        path = notebook_path(f"patchmill:{name}", "")
        say(sys.executable, "-m", "papermill", path, f"{name}.ipynb", *options, cwd=folder)
    check(folder, {name: folder / f"{name}.ipynb" for name in CHAIN}, expected)


def test_jupyter_execute(folder, expected):
    for name in CHAIN:
        say(sys.executable, "-m", "jupyter", "execute", "--inplace", edited(name, folder), cwd=folder)
    check(folder, {name: folder / f"{name}.ipynb" for name in CHAIN}, expected)


def test_nbmake(folder, expected):
    python = environment("nbmake", NBMAKE) / "python"
    given = [edited(name, folder).name for name in CHAIN]
    kernel = kernel_for_others(folder)
    said = say(
        python,
        "-P",
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "--nbmake",
        "--overwrite",
        *given,
        cwd=folder,
        env=kernel,
    )
    assert f"{len(CHAIN)} passed" in said
    check(folder, {name: folder / f"{name}.ipynb" for name in CHAIN}, expected)


AIRFLOW_DAG = """\
import json
from datetime import datetime
from airflow.providers.papermill.operators.papermill import PapermillOperator
from airflow.sdk import DAG

with DAG("chain", schedule=None, start_date=datetime(2025, 1, 1)) as dag:
    before = None
    for name, notebook, given in json.loads({stages!r}):
        task = PapermillOperator(
            task_id=name, input_nb=notebook, output_nb="{folder}/" + name + ".ipynb", parameters=given
        )
        if before is not None:
            before >> task
        before = task
"""


def test_the_operator_of_airflow(folder, expected):
    places = {"images", "source", "target"}
    stages = [
        (
            name,
            notebook_path(f"patchmill:{name}", ""),
            {key: str(folder / value) if key in places else str(value) for key, value in given.items()},
        )
        for name, given in CHAIN.items()
    ]
    run = airflow(folder, AIRFLOW_DAG.format(stages=json.dumps(stages), folder=folder))
    assert "state=success" in run("chain", {})
    executed = {name: folder / f"{name}.ipynb" for name in CHAIN}
    check(folder, executed, expected)
    # It hides the code, so a notebook must be readable without.
    cells = json.loads(executed["patchify"].read_text())["cells"]
    assert all(cell["metadata"]["jupyter"]["source_hidden"] for cell in cells if cell["cell_type"] == "code")
    given = next(cell for cell in cells if "injected-parameters" in cell["metadata"].get("tags", []))
    assert 'workers = "1"' in "".join(given["source"])


def test_jupyter_scheduler(folder, expected):
    executed = {}
    with jupyter_scheduler(folder) as server:
        for name, given in CHAIN.items():
            shutil.copy(notebook_path(f"patchmill:{name}", ""), folder / "served" / f"{name}.ipynb")
            # It pastes what it was given, and executes elsewhere.
            absolute = {
                key: repr(str(folder / value) if key in {"images", "source", "target"} else value)
                for key, value in given.items()
            }
            job = server.run(f"{name}.ipynb", absolute)
            assert job["status"] == "COMPLETED", job["status_message"]
            staged = folder / "data" / "scheduler_staging_area" / job["job_id"]
            (executed[name],) = staged.glob(f"{name}-*.ipynb")
        failed = server.run("explore.ipynb", {"source": "'/nowhere'", "cuont": "3"})
        assert "cuont is no parameter of this notebook; did you mean count?" in failed["status_message"]
    assert os.listdir(folder / "served")
    check(folder, executed, expected)
