"""Several stages at a time: what begins when, what becomes of the rest, and that nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import patchmill
from patchmill.errors import ConfigError
from patchmill.stages import conducting
from patchmill.stages.conducting import environment_of
from patchmill.stages.pipelines import Pipeline, Stage
from stages.notebook_files import running_below, shown_text, wait_until, write_config, write_notebook

# Each says that it is here, and goes on when all the others are.
MEETS = (
    'folder: str = "."  # where to meet\nothers: list[str] = []  # whom\nname: str = "x"  # who',
    "import os, time\nopen(f'{folder}/{name}', 'w').close()",
    (
        "end = time.monotonic() + 60\n"
        "while not all(os.path.exists(f'{folder}/{other}') for other in others):\n"
        "    assert time.monotonic() < end, 'nobody came'\n"
        "    time.sleep(0.05)"
    ),
    "print(os.environ.get('DASK_PATCHMILL__MEMORY'), os.environ.get('DASK_PATCHMILL__WORKERS'))",
)


def meets(folder: Path, name: str, *others: str, **more) -> dict:
    params = {"folder": str(folder), "others": list(others), "name": name}
    return {"notebook": "meets.ipynb", "params": params, **more}


def status_of(folder: Path) -> dict:
    return json.loads((folder / "out" / "records" / "latest" / "status.json").read_text())


def states(run_or_status) -> dict[str, str]:
    if isinstance(run_or_status, dict):
        return {stage["name"]: stage["state"] for stage in run_or_status["stages"]}
    return {stage.name: stage.state for stage in run_or_status.stages}


def test_independent_stages_run_at_a_time_and_share_memory_and_workers(tmp_path):
    write_notebook(tmp_path / "meets.ipynb", *MEETS)
    stages = {
        "one": meets(tmp_path, "one", "two"),
        "two": meets(tmp_path, "two", "one"),
        "last": meets(tmp_path, "last", after=["one", "two"]),
    }
    config = write_config(tmp_path / "pipeline.yaml", stages, compute={"memory": "2GiB", "workers": 3})
    seen = []
    run = patchmill.run(config, jobs=5, watch=lambda run: seen.append(states(run)))
    assert set(states(run).values()) == {"done"}
    assert {"one": "running", "two": "running", "last": "waiting"} in seen
    assert not [each for each in seen if each["last"] != "waiting" and {each["one"], each["two"]} != {"done"}]
    assert [shown_text(stage.executed) for stage in run.stages] == [f"{2**30} 1\n"] * 3


def pipeline(needs: dict[str, str], **limits) -> Pipeline:
    stages = tuple(Stage(name, "", {}, {}, needs=frozenset(before)) for name, before in needs.items())
    return Pipeline("x", "", "", "", limits.get("memory"), limits.get("workers"), stages)


def test_shares_are_of_those_that_can_run_at_a_time(monkeypatch):
    monkeypatch.delenv("DASK_PATCHMILL__MEMORY", raising=False)
    chain, fan = {"a": "", "b": "a", "c": "b"}, {"a": "", "b": "a", "c": "a", "d": "a"}
    limits = {"memory": 3 * 2**30, "workers": 7}
    for needs, jobs, memory, workers in ((chain, 4, 3 * 2**30, 7), (fan, 2, 3 * 2**29, 3), (fan, 9, 2**30, 2)):
        found = environment_of(pipeline(needs, **limits), jobs)
        assert (found["DASK_PATCHMILL__MEMORY"], found["DASK_PATCHMILL__WORKERS"]) == (str(memory), str(workers))
    # Where nothing is said, one alone may take what it would by itself; several share that.
    assert "DASK_PATCHMILL__MEMORY" not in environment_of(pipeline(chain), 4)
    assert int(environment_of(pipeline(fan), 2)["DASK_PATCHMILL__MEMORY"]) > 0


def test_when_one_fails_those_that_run_are_let_end_and_no_other_begins(tmp_path):
    write_notebook(tmp_path / "meets.ipynb", *MEETS)
    write_notebook(
        tmp_path / "fails.ipynb", 'wait: str = ""  # for whom',
        "import os, time\nwhile not os.path.exists(wait):\n    time.sleep(0.05)", "1 / 0",
    )  # fmt: skip
    stages = {
        "long": meets(tmp_path, "long", "go"),
        "fails": {"params": {"wait": str(tmp_path / "long")}},
        "behind": meets(tmp_path, "behind", after="fails"),
        "free": meets(tmp_path, "free"),
    }
    config = write_config(tmp_path / "pipeline.yaml", stages)

    def watch(run):
        if states(run)["fails"] == "failed":
            (tmp_path / "go").touch()

    run = patchmill.run(config, jobs=2, check=False, watch=watch)
    assert states(run) == {"long": "done", "fails": "failed", "behind": "not run", "free": "not run"}
    assert (run.state, run.exit_code, run.failed.name) == ("failed", 1, "fails")
    assert states(status_of(tmp_path)) == states(run)
    assert not (tmp_path / "free").exists()
    report = (tmp_path / "out" / "report.html").read_text()
    assert "ZeroDivisionError" in report
    assert os.path.isfile(run.stages[0].html)


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_signal_ends_all_of_them_soon(tmp_path, number):
    write_notebook(tmp_path / "meets.ipynb", *MEETS)
    stages = {name: meets(tmp_path, name, "nobody") for name in ("one", "two")}
    config = write_config(tmp_path / "pipeline.yaml", stages | {"last": meets(tmp_path, "last", after=["one"])})
    command = [sys.executable, "-m", "patchmill", "run", str(config), "--jobs", "2"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    wait_until(lambda: (tmp_path / "one").exists() and (tmp_path / "two").exists())
    assert states(status_of(tmp_path)) == {"one": "running", "two": "running", "last": "waiting"}
    began = time.monotonic()
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert time.monotonic() - began < 10
    assert process.returncode == 128 + number
    assert running_below(tmp_path) == []
    assert states(status_of(tmp_path)) == {"one": "interrupted", "two": "interrupted", "last": "not run"}
    assert (status_of(tmp_path)["state"], status_of(tmp_path)["exit_code"]) == ("interrupted", 128 + number)
    assert said.count(f"interrupted by {number.name}") == 2
    assert "Traceback" not in said


def test_a_watch_that_raises_leaves_no_process_and_no_run_that_runs(tmp_path):
    write_notebook(tmp_path / "meets.ipynb", *MEETS)
    config = write_config(tmp_path / "pipeline.yaml", {"one": meets(tmp_path, "one", "nobody")})

    def watch(run):
        if run.stages[0].state == "running":
            raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        patchmill.run(config, watch=watch)
    assert running_below(tmp_path) == []
    status = status_of(tmp_path)
    assert (status["state"], status["exit_code"]) == ("interrupted", 1)
    assert "RuntimeError: no more" in status["stages"][0]["failure"]["sentence"]


def test_jobs_are_a_number(tmp_path):
    for jobs in (0, -1):
        with pytest.raises(ValueError, match="jobs must be at least 1"):
            patchmill.run(tmp_path / "pipeline.yaml", jobs=jobs)
    with pytest.raises(ConfigError):
        patchmill.run(tmp_path / "pipeline.yaml", jobs=1)


# -- time limits and retries ----------------------------------------------------------------------------------------


def test_a_stage_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path):
    write_notebook(tmp_path / "meets.ipynb", *MEETS)
    stages = {"slow": meets(tmp_path, "slow", "nobody", limit="6s"), "last": meets(tmp_path, "last", after="slow")}
    run = patchmill.run(write_config(tmp_path / "pipeline.yaml", stages), check=False)
    assert states(run) == {"slow": "failed", "last": "not run"}
    assert (run.state, run.exit_code) == ("failed", 124)
    assert str(run.failed.failure) == "it took longer than its limit of 6.0 s; `limit` in the config sets another"
    assert run.failed.seconds > 6
    assert running_below(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_run_that_takes_too_long_is_ended(tmp_path, jobs):
    write_notebook(tmp_path / "meets.ipynb", *MEETS)
    stages = {
        "slow": meets(tmp_path, "slow", "nobody", retries=3),
        "other": meets(tmp_path, "other", "nobody"),
        "last": meets(tmp_path, "last", after="slow"),
    }
    run = patchmill.run(write_config(tmp_path / "pipeline.yaml", stages, limit="6s"), jobs=jobs, check=False)
    assert states(run) == {"slow": "failed", "other": "failed" if jobs == 2 else "not run", "last": "not run"}
    assert (run.state, run.exit_code) == ("failed", 124)
    assert str(run.failed.failure).startswith("the run took longer than its limit of 6.0 s")
    assert run.failed.attempt == 1
    assert running_below(tmp_path) == []


def test_a_run_that_is_late_before_a_stage_begins_says_so(tmp_path):
    write_notebook(tmp_path / "adds.ipynb", "x: int = 1  # a number", "print(x)")
    run = patchmill.run(write_config(tmp_path / "pipeline.yaml", {"adds": {}}, limit="0.01s"), check=False)
    assert (run.state, run.exit_code) == ("failed", 124)
    assert "longer than its limit" in str(run.failed.failure)
    assert running_below(tmp_path) == []


@pytest.mark.slow
def test_a_stage_is_tried_again_as_often_as_it_may_be(tmp_path, monkeypatch):
    monkeypatch.setattr(conducting, "_PAUSE_SECONDS", 0.1)
    write_notebook(
        tmp_path / "tries.ipynb", 'count: str = "/c"  # a file\nenough: int = 1  # attempts',
        "open(count, 'a').write('x')\ntried = len(open(count).read())\nassert tried >= enough, f'{tried} are too few'",
    )  # fmt: skip
    stages = {
        name: {"notebook": "tries.ipynb", "params": {"count": str(tmp_path / name), "enough": enough}, "retries": 2}
        for name, enough in (("well", 2), ("badly", 9))
    }
    run = patchmill.run(write_config(tmp_path / "pipeline.yaml", stages), check=False)
    assert states(run) == {"well": "done", "badly": "failed"}
    assert [stage.attempt for stage in run.stages] == [2, 3]
    assert str(run.failed.failure) == "AssertionError: 3 are too few"
    said = Path(run.stages[0].log).read_text()
    assert "attempt 1 failed in cell In [4]: AssertionError: 1 are too few; it is tried again in 0.1 s" in said
