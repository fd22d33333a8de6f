"""The notebook that runs a whole config: what it shows, and that it fails when a stage fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from patchmill.cli import main
from patchmill.errors import ConfigError, HeldError, PatchmillError, TargetExistsError
from patchmill.show.executed import excerpt
from patchmill.stages import whole
from patchmill.stages.packaged import notebook_path, packaged_notebooks
from patchmill.stages.whole import RunFailedError, check_run, config_or_sample, run_shown, show_report
from stages.notebook_files import write_config, write_notebook


def execute(folder: Path, *options: str) -> tuple[int, dict[str, Any], str]:
    """Exit code of papermill, the executed notebook, and what papermill said."""
    path = notebook_path("patchmill:pipeline", "")
    command = [sys.executable, "-m", "papermill", path, "out.ipynb", *options]
    environment = os.environ | {"TMPDIR": str(folder)}
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return ended.returncode, json.loads((folder / "out.ipynb").read_text()), ended.stderr


def outputs(notebook: dict[str, Any], kind: str) -> str:
    found = [output.get("data", {}) for cell in notebook["cells"] for output in cell.get("outputs", [])]
    return "\n".join("".join(data.get(kind, "")) for data in found)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    write_notebook(tmp_path / "good.ipynb", "x: int = 1  # a number", "# Work", "1 / x")
    write_notebook(tmp_path / "later.ipynb", "x: int = 1  # a number")
    return write_config(tmp_path / "some.yaml", {"good": {}, "later": {"after": "good"}})


@pytest.mark.slow
def test_all_stages_run_and_the_report_is_shown(config):
    # As texts, as schedulers send them, from the folder of the config.
    given = (
        "-r",
        "config",
        "some.yaml",
        "-r",
        "jobs",
        "2",
        "-r",
        "overrides",
        '["good.x=2"]',
        "-r",
        "only_stages",
        "[]",
    )
    code, notebook, _ = execute(config.parent, *given)
    assert code == 0
    table = outputs(notebook, "text/plain")
    assert "good   done" in table
    assert "later  done" in table
    report = outputs(notebook, "text/html")
    assert "<iframe" in report
    assert "<script" not in report
    assert "srcdoc=" in report
    assert "allow-scripts" not in report
    assert 'sandbox="' in report
    figures = excerpt(notebook).figures
    assert (figures["state"], figures["stages"]) == ("done", "2")
    assert Path(figures["report"]).is_file()


def test_a_stage_that_fails_is_an_error_of_the_notebook(config, shell, capsys):
    run = run_shown(str(config), ["good.x=0"])
    assert "good   failed" in capsys.readouterr().out
    show_report(run)
    with pytest.raises(RunFailedError, match=r"test failed, exit code 1: stage good failed in cell In \[4\]"):
        check_run(run)
    Path(run.folder, "report.html").unlink()
    show_report(run)
    assert f"The report {run.folder}/report.html can't be read: No such file" in capsys.readouterr().out
    check_run(replace(run, state="done", exit_code=0))
    with pytest.raises(RunFailedError, match=r"^test interrupted, exit code 143$"):
        check_run(replace(run, state="interrupted", exit_code=143, stages=()))


@pytest.mark.slow
def test_a_stage_that_fails_makes_the_notebook_fail(config):
    code, notebook, said = execute(config.parent, "-p", "config", str(config), "-y", "overrides: [good.x=0]")
    assert code != 0
    assert "good   failed" in outputs(notebook, "text/plain")
    assert "ZeroDivisionError: division by zero" in said
    assert 'test failed, exit code 1: stage good failed in cell In [4] under "Work"' in said
    assert "<iframe" in outputs(notebook, "text/html")


def test_what_can_not_be_run_is_told_in_a_sentence(config, shell, capsys):
    with pytest.raises(RunFailedError, match=r"good\.y is no parameter of good\.ipynb"):
        run_shown(str(config), ["good.y=1"])
    with pytest.raises(RunFailedError, match=r"there is no .*none\.yaml; around here are some\.yaml"):
        run_shown(str(config.parent / "none.yaml"))
    shell.user_ns["fail"] = lambda: run_shown("none.yaml")
    shell.run_cell("fail()")
    assert len(capsys.readouterr().out.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (HeldError("it is being run"), 75),
        (PatchmillError("the disk is full"), 1),
        (ConfigError("a is wrong\nb is"), 2),
        (TargetExistsError("it is there"), 2),
        (ValueError("jobs must be at least 1"), 2),
    ],
)
def test_a_run_that_can_not_begin_says_which_exit_code_the_command_would_have_had(monkeypatch, error, code, capsys):
    def refuses(*_, **__):
        raise error

    monkeypatch.setattr(whole, "run", refuses)
    with pytest.raises(RunFailedError) as caught:
        run_shown("some.yaml")
    assert str(caught.value) == f"exit code {code}: {error}"
    monkeypatch.setattr("patchmill.run", refuses)
    assert main(["run", "some.yaml"]) == code


def test_with_no_config_it_is_the_demo_in_a_temporary_folder(capsys):
    config, overrides = config_or_sample("sample:", ["patchify.step=64"])
    folder = capsys.readouterr().out.strip().rpartition(" ")[2]
    assert (config, overrides) == ("patchmill:demo", [f"root={folder}/demo", "patchify.step=64"])
    assert config_or_sample("a.yaml", ["b=1"]) == ("a.yaml", ["b=1"])
    os.rmdir(folder)


def test_it_is_no_stage_of_another(tmp_path):
    assert "pipeline" not in packaged_notebooks()


@pytest.mark.slow
def test_with_nothing_given_the_demo_runs(tmp_path):
    code, notebook, said = execute(tmp_path)
    assert code == 0, said
    (folder,) = tmp_path.glob("patchmill-*")
    assert excerpt(notebook).figures["report"] == f"{folder}/demo/report.html"
    assert outputs(notebook, "text/html").count("data:image/png") == 5
