"""``%patchmill`` in the cells of a running IPython: how runs went, and their parameters in the notebook."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from IPython.core.completer import provisionalcompleter
from nbformat.v4 import new_code_cell

import patchmill
from patchmill.cli import main
from patchmill.errors import ConfigError
from patchmill.show.runs import RunTable, ValueTable
from patchmill.stages.packaged import notebook_path
from patchmill.stages.pipelines import config_text, read_pipeline
from patchmill.stages.records import Failure, Run, StageRecord, new_folder, read_status, this_runner, write_status
from stages.notebook_files import ENTER, shown_text, write_config, write_notebook

LOAD_EXT = "%load_ext patchmill"

DECLARED = """\
source: str = "sample:"  # in: where from
target: str = "temp:a.zarr"  # out: where to
size: list[int] = [8, 8]  # pixels
layout: str = "patches"  # how
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A config with two stages, in ../configs of the current folder's notebooks."""
    for folder in ("configs", "notebooks"):
        (tmp_path / folder).mkdir()
    write_notebook(tmp_path / "notebooks" / "first.ipynb", DECLARED)
    write_notebook(tmp_path / "notebooks" / "second.ipynb", DECLARED)
    params = {"source": "${stages.first.params.target}", "target": "${root}/b.zarr", "size": 64}
    stages = {
        "first": {"notebook": "../notebooks/first.ipynb", "params": {"target": "${root}/a.zarr"}},
        "second": {"notebook": "../notebooks/second.ipynb", "params": params},
    }
    write_config(tmp_path / "configs" / "some.yaml", stages, root="../out")
    return tmp_path


def record(project: Path, began: str = "2026-01-02T03:04:05+00:00", **changed: Any) -> Run:
    """A run whose second stage failed, as its record tells."""
    folder = new_folder(str(project / "out" / "records"), "test")
    places = {"html": "", "log": f"{folder}/logs/x.log", "outputs": {}}
    executed = f"{folder}/notebooks/second.ipynb"
    write_notebook(Path(executed), DECLARED)
    given = {"source": f"{project}/a.zarr", "target": f"{project}/out/b <b>.zarr", "size": [16, 32], **changed}
    stages = (
        StageRecord(
            "first",
            f"{project}/notebooks/first.ipynb",
            "",
            parameters={},
            state="done",
            seconds=1.5,
            why="new",
            **places,
        ),
        StageRecord(
            "second",
            f"{project}/notebooks/second.ipynb",
            executed,
            parameters=given,
            state="failed",
            seconds=2.0,
            failure=Failure("no <b>", "ValueError", 4, "The plan"),
            why="size changed from 1 to 2",
            **places,
        ),
    )
    run = Run("test", "some.yaml", "", folder, "", "0", began, "failed", 3.5, 1, stages)
    write_status(run)
    return run


@pytest.fixture
def shown(shell, monkeypatch) -> list[Any]:
    """What the cells displayed."""
    found: list[Any] = []
    monkeypatch.setattr("patchmill.stages.magics._display", found.append)
    return found


@pytest.fixture
def here(project, shell, monkeypatch) -> Path:
    """The folder of the notebook."""
    monkeypatch.chdir(project / "notebooks")
    return project


# -- status ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["", "../configs/some.yaml", "../out", "../out/records", "RECORD"])
def test_status_shows_the_latest_run_of_whatever_is_named(place, here, cells, shown):
    record(here, "2026-01-01T00:00:00+00:00")
    run = record(here)
    record(here, "2025-12-31T00:00:00+00:00")
    cells(LOAD_EXT, f"%patchmill status {place.replace('RECORD', run.folder)}")
    (table,) = shown
    assert isinstance(table, RunTable)
    lines = repr(table).splitlines()
    assert lines[0] == "test: failed, begun 2026-01-02 03:04:05 UTC, 3.5 s"
    assert [line.split()[:5] for line in lines[1:4]] == [
        ["stage", "state", "time", "why", "executed"],
        ["first", "done", "1.5", "s", "it"],
        ["second", "failed", "2.0", "s", "it"],
    ]
    assert "it ran: size changed from 1 to 2" in lines[3]
    assert os.path.relpath(run.stages[1].executed) in lines[3]
    assert lines[4] == 'second failed in cell In [4] under "The plan": ValueError: no <b>'
    assert f"%patchmill load second --run {run.folder}" in lines[5]


def test_status_is_drawn_escaped_with_links_relative_to_the_notebook(here, cells, shown):
    run = record(here)
    cells(LOAD_EXT, "%patchmill status")
    drawn = shown[0]._repr_html_()
    assert f'href="{os.path.relpath(run.stages[1].executed)}"' in drawn
    assert ">failed</td>" in drawn
    assert "ValueError: no &lt;b&gt;" in drawn
    assert "no <b>" not in drawn


def test_status_tells_that_a_runner_was_killed(here, cells, shown):
    run = record(here)
    stages = (run.stages[0], replace(run.stages[1], state="running", failure=None, seconds=None))
    gone = replace(this_runner(), began="another time")
    write_status(replace(run, state="running", stages=stages, runner=gone))
    cells(LOAD_EXT, "%patchmill status")
    lines = repr(shown[0]).splitlines()
    assert lines[0].startswith("test: was running, begun ")
    assert lines[3].split()[:3] == ["second", "was", "running"]
    assert lines[4] == f"the runner ({gone}) is gone: it was killed, or could not write its record"
    assert lines[5] == f"to go on from there: %patchmill load second --run {run.folder}"
    assert "is gone: it was killed" in shown[0]._repr_html_()


def said_on_the_command_line(capsys, place: str) -> list[str]:
    """The sentences of `patchmill status` behind what failed."""
    capsys.readouterr()
    assert main(["status", place]) == 1
    return [line.removeprefix("patchmill: ") for line in capsys.readouterr().err.splitlines()]


@pytest.mark.parametrize("silent", ["gone", "stalled", "ended"])
def test_status_tells_of_stalled_and_refused_runs_what_the_command_line_does(here, cells, shown, capsys, silent):
    run = record(here)
    if silent != "ended":
        runner = replace(this_runner(), began="another time") if silent == "gone" else this_runner()
        write_status(replace(run, state="running", stages=run.stages[:1], runner=runner))
    else:
        write_status(replace(run, stages=run.stages[:1]))
    (here / "notebooks" / "first.ipynb").unlink()
    with pytest.raises(ConfigError):
        patchmill.run(here / "configs" / "some.yaml")
    told = said_on_the_command_line(capsys, "../out")
    sentence = "has not told for" if silent == "stalled" else "a later run was refused, "
    assert any(sentence in line for line in told)
    cells(LOAD_EXT, "%patchmill status")
    assert repr(shown[0]).splitlines()[3 : 3 + len(told)] == told
    assert all(html.escape(sentence) in shown[0]._repr_html_() for sentence in told)


def test_a_table_is_displayed_wherever_in_its_cell_the_line_stands(here, cells, capsys):
    record(here)
    cells(LOAD_EXT, "%patchmill status\nx = 1")
    assert "test: failed" in capsys.readouterr().out


def test_runs_of_another_config_in_the_same_folder_do_not_count(here, cells, shown):
    mine = record(here, "2026-01-01T00:00:00+00:00")
    folder = new_folder(str(here / "out" / "records"), "other")
    write_status(Run("other", "", "", folder, "", "0", "2027-01-01T00:00:00+00:00"))
    cells(LOAD_EXT, "%patchmill status ../configs/some.yaml")
    assert shown[0].page.folder == mine.folder


def test_a_record_is_read_as_it_was_written_and_by_later_versions_words(here):
    run = record(here)
    assert read_status(run.folder) == run
    path = Path(run.folder) / "status.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "later": 1}))
    assert read_status(run.folder) == run


# -- load --------------------------------------------------------------------------------------------------------------


def test_a_stage_of_the_latest_run_is_in_the_notebook_and_shown(here, cells, shown):
    record(here, "2026-01-01T00:00:00+00:00", size=[1, 1])
    run = record(here)
    found = cells(DECLARED, f"{LOAD_EXT}\n%patchmill load second", ENTER)
    assert (found["source"], found["target"]) == (f"{here}/a.zarr", f"{here}/out/b <b>.zarr")
    assert (found["size"], found["layout"]) == ([16, 32], "patches")
    (table,) = shown
    assert isinstance(table, ValueTable)
    origins = {name: origin for name, _, origin in table.rows}
    assert origins == dict.fromkeys(("source", "target", "size"), f"run {os.path.basename(run.folder)}") | {
        "layout": "the parameters cell"
    }
    assert "size       [16, 32]" in repr(table)
    assert "<b>.zarr" not in table._repr_html_()


def test_a_stage_of_a_config_with_values_of_the_line(here, cells, shown):
    line = "%patchmill load second --config ../configs/some.yaml size=4 first.target=../out/c.zarr"
    found = cells(LOAD_EXT, DECLARED, line, ENTER)
    assert (found["source"], found["size"]) == (f"{here}/out/c.zarr", [4, 4])
    assert {name: origin for name, _, origin in shown[0].rows} == {
        "source": "some.yaml",
        "target": "some.yaml",
        "size": "this line",
        "layout": "the parameters cell",
    }


def test_run_all_again_takes_what_was_changed_meanwhile(here, cells, shown):
    line = "%patchmill load second --config ../configs/some.yaml"
    assert cells(LOAD_EXT, DECLARED, line, ENTER)["size"] == [64, 64]
    # In the line, in a cell behind it, and in the parameters cell, as far as the config says nothing.
    assert cells(LOAD_EXT, DECLARED, f"{line} size=32", ENTER)["size"] == [32, 32]
    found = cells(LOAD_EXT, DECLARED.replace('"patches"', '"canvas"'), line, "size = 16", ENTER)
    assert (found["size"], found["layout"]) == ([16, 16], "canvas")
    found = cells(LOAD_EXT, DECLARED, line, ENTER)
    assert (found["size"], found["layout"]) == ([64, 64], "patches")


def test_what_is_changed_in_the_parameters_cell_after_loading_is_meant(here, cells, shown):
    line = "%patchmill load second --config ../configs/some.yaml"
    edited = DECLARED.replace("[8, 8]", "[12, 12]")
    assert cells(LOAD_EXT, DECLARED, line, ENTER)["size"] == [64, 64]
    assert cells(LOAD_EXT, edited, line, ENTER)["size"] == [12, 12]
    assert ("size", "[12, 12]", "the parameters cell, changed since") in shown[-1].rows
    assert "Until this kernel ends, the parameters cell decides on size" in repr(shown[-1])
    assert cells(LOAD_EXT, edited, f"{line} size=3", ENTER)["size"] == [3, 3]
    found = cells(LOAD_EXT, DECLARED.replace('patches"', 'canvas"'), line, ENTER)
    assert (found["size"], found["layout"]) == ([64, 64], "canvas")
    assert ("layout", "canvas", "the parameters cell") in shown[-1].rows
    assert cells(LOAD_EXT, DECLARED, line, ENTER)["size"] == [64, 64]
    record(here)
    assert cells(edited, "%patchmill load second", ENTER)["size"] == [16, 32]


def test_what_a_cell_right_behind_the_parameters_says_stays(here, cells, shown):
    line = "%patchmill load second --config ../configs/some.yaml"
    assert cells(LOAD_EXT, DECLARED, "size = 5", line, ENTER)["size"] == [5, 5]
    assert ("size", "[5, 5]", "the cell behind the parameters") in shown[0].rows


def test_where_a_scheduler_gave_the_parameters_nothing_is_loaded_nor_looked_for(here, cells, shown, monkeypatch):
    monkeypatch.chdir("/")
    found = cells(DECLARED, "# Parameters\nsize = 5\nsource = 's3://a/b'", LOAD_EXT, "%patchmill load second", ENTER)
    assert (found["size"], found["source"]) == ([5, 5], "s3://a/b")
    assert ("size", "5", "the scheduler") in shown[0].rows
    assert "nothing was loaded" in repr(shown[0])


def test_without_a_parameters_cell_every_parameter_is_there(here, cells, shown):
    found = cells(LOAD_EXT, "%patchmill load second --config ../configs/some.yaml")
    assert (found["size"], found["layout"]) == ([64, 64], "patches")
    assert ("layout", "patches", "default") in shown[0].rows


def test_temporary_places_are_made(here, cells, shown, capsys):
    found = cells(DECLARED, LOAD_EXT, "%patchmill load second --config ../configs/some.yaml target=temp:x.zarr", ENTER)
    folder, name = os.path.split(found["target"])
    assert (name, os.path.isdir(folder)) == ("x.zarr", True)
    assert capsys.readouterr().out.count("Working in the temporary folder") == 1
    shutil.rmtree(folder)


def test_paths_on_the_line_are_relative_to_the_current_folder_where_no_config_is_named(here, cells, shown):
    run = record(here)
    Path(run.folder, "config.yaml").write_text(config_text(read_pipeline("../configs/some.yaml")))
    Path("s.zarr").touch()
    found = cells(LOAD_EXT, DECLARED, "%patchmill load second source=s.zarr target=../out/c.zarr", ENTER)
    assert (found["source"], found["target"]) == (f"{here}/notebooks/s.zarr", f"{here}/out/c.zarr")


# -- errors ------------------------------------------------------------------------------------------------------------

WRONG = {
    "": r"%patchmill takes status or load, got nothing; %patchmill\? says more",
    "lod x": r"%patchmill has no lod; did you mean load\?",
    "load": r"%patchmill load: the following arguments are required: STAGE; it is used as .*",
    "load secnd": r"run \S+ has no stage secnd; did you mean second\?",
    "load zebra": r"run \S+ has no stage zebra; its stages are first, second",
    "load secnd --config ../configs/some.yaml": r"the config some.yaml has no stage secnd; did you mean second\?",
    "load second --config ../configs/sone.yaml": r"there is no \S+sone.yaml; did you mean ../configs/some.yaml\?",
    "load second --config ../configs/some.yaml siz=4": r"command line: second.siz is no .*did you mean size\?",
    "load second --config ../configs/some.yaml size=wide": r"command line: second.size must be a list of whole .*",
    "load second first.target=x": r"'first.target=x' changes nothing of second: .*CONFIG they follow each other",
    "load second --run nowhere": r"there is no nowhere; around here are ../configs/some.yaml",
    "load second --run x --config y": r"%patchmill load: argument --config: not allowed with argument --run; .*",
    "status a b": r"%patchmill status: unrecognized arguments: b; it is used as %patchmill status \[CONFIG or FOLDER\]",
    "status 'a": r"No closing quotation",
    "status ../notebooks/first.ipynb": r"(?s:first.ipynb:1: name is missing.*)",
    "status .": r"there is no run yet of .: \S+ holds no record",
}


@pytest.mark.parametrize("line", WRONG)
def test_what_is_wrong_is_a_sentence_without_a_traceback(line, here, shell, shown, capsys):
    record(here)
    shell.run_cell(LOAD_EXT, store_history=True)
    result = shell.run_cell(f"%patchmill {line}", store_history=True)
    assert not result.success
    said = capsys.readouterr().out.strip()
    assert re.fullmatch(f"RequestError: {WRONG[line]}", said)
    assert shown == []


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("status", "no run is to be found from "),
        ("status configs/some.yaml", "begin one with: patchmill run configs/some.yaml"),
        ("status patchmill:demo", "begin one with: patchmill run patchmill:demo"),
        ("load second", "no run is to be found from "),
    ],
)
def test_before_the_first_run_it_says_how_to_begin_one(line, sentence, project, shell, shown, capsys):
    shell.run_cell(LOAD_EXT, store_history=True)
    shell.run_cell(f"%patchmill {line}", store_history=True)
    said = capsys.readouterr().out
    assert sentence in said
    assert len(said.strip().splitlines()) == 1


def test_a_config_that_can_not_be_read_is_told_with_its_line(here, shell, shown, capsys):
    (here / "configs" / "broken.yaml").write_text("name: x\nstages: [\n")
    shell.run_cell(LOAD_EXT, store_history=True)
    shell.run_cell("%patchmill load second --config ../configs/broken.yaml", store_history=True)
    assert capsys.readouterr().out.startswith("RequestError: broken.yaml:3: this is no YAML")


def completed(shell, text: str) -> list[str]:
    with provisionalcompleter():
        return [each.text for each in shell.Completer.completions(text, len(text))]


def test_words_are_completed(here, shell, shown):
    record(here)
    shell.run_cell(LOAD_EXT)
    # IPython adds the keywords of Python.
    assert {"status", "load"} <= set(completed(shell, "%patchmill "))
    assert "second" in completed(shell, "%patchmill load se")
    assert {"--config", "--run"} <= set(completed(shell, "%patchmill load second --"))
    assert "../configs/" in completed(shell, "%patchmill status ../conf")


# -- under a real kernel -----------------------------------------------------------------------------------------------


def with_load(source: str, target: Path, line: str) -> Path:
    """A copy of a stage notebook with `line` in a cell behind the parameters."""
    notebook = nbformat.read(source, as_version=4)
    at = next(i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", []))
    notebook.cells.insert(at + 1, new_code_cell(f"{LOAD_EXT}\n{line}"))
    nbformat.write(notebook, target)
    return target


@pytest.fixture
def folder(tmp_path) -> Path:
    """A project whose patchify notebook is the packaged one with a line that loads its config."""
    (tmp_path / "configs").mkdir()
    (tmp_path / "notebooks").mkdir()
    np.save(tmp_path / "a.npy", np.arange(3 * 64 * 96, dtype="uint8").reshape(3, 64, 96))
    source, target = "${stages.ingest.params.target}", "${root}/patches.zarr"
    cut = {"source": source, "target": target, "patch_shape": 32, "mode": "overwrite"}
    read = {"images": "../a.npy", "target": "${root}/source.zarr", "mode": "overwrite"}
    stages = {
        "ingest": {"notebook": "patchmill:ingest", "params": read},
        "patchify": {"notebook": "../notebooks/patchify.ipynb", "params": cut},
    }
    line = "%patchmill load patchify --config ../configs/some.yaml step=16"
    with_load(notebook_path("patchmill:patchify", ""), tmp_path / "notebooks" / "patchify.ipynb", line)
    write_config(tmp_path / "configs" / "some.yaml", stages, root="../out")
    return tmp_path


def test_a_packaged_notebook_runs_all_on_what_was_loaded(folder):
    from nbclient import NotebookClient

    patchmill.ingest(str(folder / "a.npy"), str(folder / "out" / "source.zarr"))
    notebook = nbformat.read(folder / "notebooks" / "patchify.ipynb", as_version=4)
    NotebookClient(notebook, resources={"metadata": {"path": str(folder / "notebooks")}}).execute()
    assert len(patchmill.open_patches(folder / "out" / "patches.zarr")) == 15
    (shown,) = [output.data for output in notebook.cells[2].outputs if output.output_type == "display_data"]
    assert "some.yaml" in shown["text/html"]
    assert "this line" in shown["text/plain"]
    # It worked for the stage, so a run may replace what was made here.
    root = json.loads((folder / "out" / "patches.zarr" / "zarr.json").read_text())
    assert root["attributes"]["patchmill"]["provenance"]["stage"] == "test/patchify"


@pytest.mark.slow
def test_with_the_line_in_it_a_notebook_is_still_a_stage(folder):
    run = patchmill.run(folder / "configs" / "some.yaml", ["patchify.step=32"])
    assert len(patchmill.open_patches(folder / "out" / "patches.zarr")) == 6
    assert "nothing was loaded" in Path(run.stages[1].executed).read_text()


def test_a_failed_night_is_there_again_in_one_cell(tmp_path):
    import papermill

    declared = 'size: int = 3  # a number\ntarget: str = "temp:a.txt"  # out: a file'
    path = write_notebook(tmp_path / "fails.ipynb", declared, "print('size', 1 / size)\nopen(target, 'w').close()")
    stages = {"fails": {"params": {"size": 0, "target": "${root}/a.txt"}}}
    run = patchmill.run(write_config(tmp_path / "some.yaml", stages), check=False)
    assert run.state == "failed"
    copy = with_load(str(path), tmp_path / "copy.ipynb", "%patchmill status\n%patchmill load fails size=4")
    papermill.execute_notebook(copy, tmp_path / "executed.ipynb", cwd=tmp_path, progress_bar=False)
    assert "size 0.25" in shown_text(tmp_path / "executed.ipynb")
    assert "ZeroDivisionError" in (tmp_path / "executed.ipynb").read_text()
    assert (tmp_path / "out" / "a.txt").exists()
