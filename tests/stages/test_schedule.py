"""The examples of `configs/schedule`: taken by what they are for. The Slurm array has its tests with slices."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import patchmill
from patchmill.stages.packaged import notebook_path
from stages.airflow_runs import airflow
from stages.jupyter_scheduling import jupyter_scheduler
from stages.notebook_files import wait_until, write_config, write_notebook

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "configs" / "schedule"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a config of one stage, which divides by a number, and a command without any environment."""
    folder = tmp_path / "project"
    folder.mkdir()
    write_notebook(folder / "one.ipynb", "x: int = 1  # a number", "import time\ntime.sleep(max(0, -x))\n1 / x")
    write_config(folder / "some.yaml", {"one": {}}, root="runs/some")
    command = folder / "patchmill"
    package = Path(patchmill.__file__).parents[1]
    command.write_text(f'#!/bin/sh\nPYTHONPATH={package} exec {sys.executable} -m patchmill "$@"\n')
    command.chmod(0o755)
    return folder


def cron_jobs(project: Path) -> list[tuple[str, dict[str, str]]]:
    """The commands of the crontab as cron reads it, each with the variables that are set above it."""
    ours = {"PROJECT": str(project), "PATCHMILL": str(project / "patchmill"), "CONFIG": "some.yaml"}
    variables: dict[str, str] = {}
    found = []
    for line in (EXAMPLES / "crontab").read_text().splitlines():
        assigned = re.fullmatch(r"\s*([A-Za-z_]\w*)\s*=\s*(.*)", line)
        if not line.strip() or line.startswith("#"):
            continue
        if assigned:
            assert assigned[1] in ours
            variables[assigned[1]] = ours[assigned[1]]
            continue
        *moment, command = line.split(maxsplit=5)
        assert all(re.fullmatch(r"[\d*]+", each) for each in moment)
        # For cron an unescaped percent sign is the end of the line.
        found.append((re.split(r"(?<!\\)%", command)[0].replace("\\%", "%"), dict(variables)))
    return found


def by_cron(command: str, variables: dict[str, str], home: Path) -> subprocess.Popen[str]:
    """A command as cron executes it: by sh, at home, with next to nothing in the environment."""
    settings = {"HOME": str(home), "LOGNAME": "me", "PATH": "/usr/bin:/bin", "SHELL": "/bin/sh", **variables}
    words = ["env", "-i", *(f"{name}={value}" for name, value in settings.items()), "/bin/sh", "-c", command]
    return subprocess.Popen(words, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.slow
def test_the_crontab_runs_a_config_without_a_word_and_clears_up(project, tmp_path):
    (nightly, variables), (weekly, _) = cron_jobs(project)
    for command in (nightly, weekly):
        process = by_cron(command, variables, tmp_path)
        assert (process.communicate()[0], process.returncode) == ("", 0)
    log = (project / "runs" / "cron.log").read_text()
    assert "one: done" in log
    assert "nothing to remove" in log


@pytest.mark.slow
def test_the_crontab_says_one_line_where_a_run_fails(project, tmp_path):
    write_config(project / "some.yaml", {"one": {"params": {"x": 0}}}, root="runs/some")
    (nightly, variables), _ = cron_jobs(project)
    said = by_cron(nightly, variables, tmp_path).communicate()[0]
    assert said == f"patchmill run some.yaml ended with exit code 1, see {project}/runs/cron.log\n"
    assert "ZeroDivisionError" in (project / "runs" / "cron.log").read_text()


def test_the_crontab_says_everything_in_full(project):
    jobs = cron_jobs(project)
    assert len(jobs) == 2
    for command, variables in jobs:
        assert variables.keys() == {"PROJECT", "PATCHMILL", "CONFIG"}
        assert command.startswith('cd "$PROJECT" && ')
        assert "%" not in command
        assert subprocess.run(["/bin/sh", "-n", "-c", command], check=False).returncode == 0


@pytest.mark.slow
def test_the_crontab_is_silent_where_the_last_night_is_still_going_on(project, tmp_path):
    write_config(project / "some.yaml", {"one": {"params": {"x": -20}}}, root="runs/some")
    (nightly, variables), _ = cron_jobs(project)
    first = by_cron(nightly, variables, tmp_path)
    wait_until(lambda: list(project.glob("runs/some/records/*/notebooks/one.ipynb")))
    second = by_cron(nightly, variables, tmp_path)
    assert (second.communicate()[0], second.returncode) == ("", 0)
    assert "is being run by" in (project / "runs" / "cron.log").read_text()
    assert first.communicate()[0] == ""


@pytest.mark.slow
def test_airflow_takes_the_example_and_runs_its_task(project, tmp_path):
    variables = {
        "PATCHMILL_NOTEBOOK": notebook_path("patchmill:pipeline", ""),
        "PATCHMILL_CONFIG": str(project / "some.yaml"),
        "PATCHMILL_OUTPUT": str(tmp_path),
        "PATCHMILL_KERNEL": "python3",
    }
    run = airflow(tmp_path, (EXAMPLES / "airflow-dag.py").read_text())
    assert "state=success" in run("patchmill", variables)
    (executed,) = tmp_path.glob("pipeline-*.ipynb")
    assert "one    done" in executed.read_text()
    assert (project / "runs" / "some" / "report.html").is_file()
    status = json.loads((project / "runs" / "some" / "records" / "latest" / "status.json").read_text())
    assert status["state"] == "done"


@pytest.mark.slow
def test_jupyter_scheduler_takes_the_job_definition_and_runs_it(project, tmp_path):
    definition = json.loads((EXAMPLES / "jupyter-scheduler.json").read_text())
    with jupyter_scheduler(tmp_path) as server:
        shutil.copy(notebook_path("patchmill:pipeline", ""), tmp_path / "served" / definition["input_uri"])
        taken = server.ask("POST", "job_definitions", definition)["job_definition_id"]
        known = server.ask("GET", f"job_definitions/{taken}")
        assert (known["active"], known["schedule"], known["parameters"]) == (
            True,
            definition["schedule"],
            definition["parameters"],
        )
        # The definition's own parameters but for the config, which is another one here; its hour is not waited for.
        given = definition["parameters"] | {"config": repr(str(project / "some.yaml"))}
        job = server.ended(server.ask("POST", f"job_definitions/{taken}/jobs", {"parameters": given})["job_id"])
        assert job["status"] == "COMPLETED", job["status_message"]
        given["overrides"] = "['one.x=0']"
        job = server.ended(server.ask("POST", f"job_definitions/{taken}/jobs", {"parameters": given})["job_id"])
    assert job["status"] == "FAILED"
    assert "test failed, exit code 1: stage one failed" in job["status_message"]
    assert len(os.listdir(project / "runs" / "some" / "records")) == 4  # with `latest`, and what stages did
