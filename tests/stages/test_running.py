"""Runs: what is recorded, what is reported, and what happens when something goes wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

import patchmill
from patchmill.errors import ConfigError, StageError
from patchmill.stages import attempts, running
from patchmill.stages.records import StageRecord
from stages.notebook_files import (
    SLEEPS,
    running_below,
    shown_text,
    started,
    status_of,
    wait_until,
    write_config,
    write_notebook,
)

WRITES = 'target: str = "out/a.txt"  # out: a file\ntext: str = "nothing"  # what to write'
READS = 'source: str = "a.txt"  # in: a file'


def start(config: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "patchmill", "run", str(config)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=config.parent)


@pytest.fixture(scope="module")
def half_failed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, patchmill.stages.Run]:
    """Three stages, of which the second fails."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "helping.py").write_text("word = 'help from beside the notebook'")
    write_notebook(
        folder / "writes.ipynb",
        WRITES,
        "import os, helping\nopen(target, 'w').write(text)",
        "print(helping.word, os.getcwd(), os.environ['DASK_PATCHMILL__MEMORY'])",
        "from patchmill.show import Result\nResult({'z': 1, 'a': 2}, skipped=[('<i>', 'why')], opens='open it')",
    )
    write_notebook(folder / "fails.ipynb", READS, "# Dividing", "1 / 0", "print('never')")
    write_notebook(folder / "waits.ipynb", READS, "print('never')")
    params = {"source": "${stages.writes.params.target}"}
    stages = {
        "waits": {"params": {"source": "${stages.fails.params.source}"}},
        "fails": {"params": params},
        "writes": {"params": {"target": "${root}/a.txt", "text": "12"}},
    }
    config = write_config(folder / "pipeline.yaml", stages, compute={"memory": "1GiB"})
    return folder, patchmill.run(config, ["writes.text=hello"], check=False)


def test_stages_run_in_the_order_of_their_references_until_one_fails(half_failed):
    _, run = half_failed
    assert [(stage.name, stage.state) for stage in run.stages] == [
        ("writes", "done"),
        ("fails", "failed"),
        ("waits", "not run"),
    ]
    assert (run.state, run.exit_code) == ("failed", 1)
    assert run.failed.name == "fails"
    assert str(run.failed.failure) == "ZeroDivisionError: division by zero"
    assert run.failed.failure.where == 'cell In [4] under "Dividing"'


def test_a_stage_works_in_the_record_and_imports_from_beside_its_notebook(half_failed):
    folder, run = half_failed
    assert (folder / "out" / "a.txt").read_text() == "hello"
    said = shown_text(run.stages[0].executed)
    assert "help from beside the notebook" in said
    assert run.folder in said
    assert str(2**30) in said
    assert [stage.memory for stage in run.stages] == [2**30, 2**30, None]
    assert [stage.needs for stage in run.stages] == [(), ("writes",), ("fails", "writes")]
    given = {"fails.ipynb", "helping.py", "pipeline.yaml", "waits.ipynb", "writes.ipynb"}
    assert set(os.listdir(folder)) - given - {"__pycache__"} == {"out"}


def test_the_record_tells_the_same(half_failed):
    folder, run = half_failed
    status = status_of(folder)
    assert status["state"] == "failed"
    assert [stage["state"] for stage in status["stages"]] == ["done", "failed", "not run"]
    assert status["stages"][1]["failure"]["cell"] == 4
    files = ["config.yaml", "logs", "manifest.json", "notebooks", "report.html", "status.json"]
    assert sorted(os.listdir(run.folder)) == files
    assert sorted(os.listdir(f"{run.folder}/notebooks")) == ["fails.html", "fails.ipynb", "writes.html", "writes.ipynb"]


def test_the_recorded_config_runs_from_anywhere(half_failed):
    from patchmill.stages.pipelines import read_pipeline

    folder, run = half_failed
    again = read_pipeline(f"{run.folder}/config.yaml")
    assert again.stages[0].params == {"target": str(folder / "out" / "a.txt"), "text": "hello"}
    assert (again.memory, again.root) == (2**30, str(folder / "out"))


def test_the_report_is_written_on_failure_and_escapes(half_failed):
    folder, _ = half_failed
    text = (folder / "out" / "report.html").read_text()
    assert "ZeroDivisionError: division by zero" in text
    assert "&lt;i&gt;" in text
    assert "<i>" not in text
    assert text.index("<dt>z</dt>") < text.index("<dt>a</dt>")
    assert "<script" not in text


def test_run_raises_where_it_is_not_told_otherwise(half_failed, monkeypatch):
    folder, run = half_failed
    monkeypatch.setattr(running, "_execute", lambda *_: run)
    with pytest.raises(StageError, match=r"(?s)stage fails failed in cell In \[4\].*by zero.*open .*fails.ipynb"):
        patchmill.run(folder / "pipeline.yaml")


def test_a_kernel_that_is_killed_is_told_from_one_that_fails(tmp_path):
    write_notebook(
        tmp_path / "dies.ipynb",
        "x: int = 1  # a number",
        "# Too much",
        "import os, time\ntime.sleep(2)\nos.kill(os.getpid(), 9)",
        "print()",
    )
    run = patchmill.run(write_config(tmp_path / "pipeline.yaml", {"dies": {}}), check=False)
    assert (run.state, run.exit_code) == ("killed", 137)
    assert run.failed.failure.where == 'cell In [3] under "Too much"'
    assert "signal 9" in run.failed.failure.sentence
    cells = json.loads(Path(run.failed.executed).read_text())["cells"]
    assert [cell["metadata"]["papermill"]["status"] for cell in cells[-2:]] == ["failed", "pending"]
    assert cells[-2]["outputs"][-1]["ename"] == "DeadKernel"
    assert "killed" in Path(run.report).read_text()
    assert "its processes held" in running.failure_text(run.failed)


@pytest.mark.slow
def test_a_kernel_that_ends_by_itself_was_not_killed(tmp_path):
    write_notebook(tmp_path / "ends.ipynb", "x: int = 1  # a number", "import os\nos._exit(3)")
    run = patchmill.run(write_config(tmp_path / "pipeline.yaml", {"ends": {}}), check=False)
    assert (run.state, run.exit_code) == ("failed", 1)
    assert "exit code 3" in run.failed.failure.sentence


def test_a_target_that_somebody_holds_is_told_from_a_failure(tmp_path):
    stage = StageRecord("a", "", "", "", "", {}, {})
    (tmp_path / "work" / "a").mkdir(parents=True)
    answer = {"state": "failed", "kind": "HeldError", "sentence": "it is being written"}
    (tmp_path / "work" / "a" / "answer.json").write_text(json.dumps(answer))
    state, failure, code = attempts.judged(stage, str(tmp_path), 1)
    assert (state, str(failure), code) == ("failed", "HeldError: it is being written", 75)


def test_folders_may_have_braces_in_their_names(tmp_path):
    (tmp_path / "{x}").mkdir()
    write_notebook(tmp_path / "{x}" / "adds.ipynb", "x: int = 1  # a number", "print(x)")
    config = write_config(tmp_path / "{x}" / "pipeline.yaml", {"adds": {"params": {"x": 3}}}, root="out_{draft}")
    run = patchmill.run(config)
    assert run.state == "done"
    assert (Path(run.folder) / "notebooks" / "adds.ipynb").is_file()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_an_interrupted_run_says_so_and_leaves_no_process(tmp_path, number, code):
    write_notebook(tmp_path / "sleeps.ipynb", *SLEEPS)
    process = start(write_config(tmp_path / "pipeline.yaml", {"sleeps": {}}))
    wait_until(lambda: started(tmp_path))
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == code
    assert running_below(tmp_path) == []
    status = status_of(tmp_path)
    assert (status["state"], status["stages"][0]["state"], status["exit_code"]) == ("interrupted", "interrupted", code)
    assert f"stage sleeps interrupted in cell In [3]\ninterrupted by {number.name}" in said
    assert "Traceback" not in said
    assert (tmp_path / "out" / "report.html").is_file()
    assert is_measured(tmp_path, 0)


def test_the_times_of_a_stage_that_failed_are_told_as_the_runner_measured_them(half_failed):
    folder, run = half_failed
    assert run.stages[1].state == "failed"
    assert is_measured(folder, 1)


def is_measured(folder: Path, number: int) -> bool:
    """Whether the manifest of the latest run says when a stage began and ended, and how long that took."""
    manifest = json.loads((folder / "out" / "records" / "latest" / "manifest.json").read_text())
    stage = manifest["stages"][number]
    began, ended = (datetime.fromisoformat(stage[name]) for name in ("began", "ended"))
    # Moments are told to the second.
    return stage["seconds"] > 0.5 and abs((ended - began).total_seconds() - stage["seconds"]) <= 2


@pytest.mark.slow
def test_a_killed_runner_leaves_no_process(tmp_path):
    write_notebook(tmp_path / "sleeps.ipynb", *SLEEPS)
    process = start(write_config(tmp_path / "pipeline.yaml", {"sleeps": {}}))
    wait_until(lambda: started(tmp_path))
    process.kill()
    process.communicate()
    wait_until(lambda: running_below(tmp_path) == [], seconds=10)


def test_nothing_is_written_for_a_config_that_is_wrong(tmp_path):
    write_notebook(tmp_path / "sleeps.ipynb", *SLEEPS)
    config = write_config(tmp_path / "pipeline.yaml", {"sleeps": {"params": {"y": 1}}})
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(ConfigError, match=r"sleeps\.y is no parameter of sleeps.ipynb; it declares x"):
        patchmill.run(config)
    assert sorted(os.listdir(tmp_path)) == before
