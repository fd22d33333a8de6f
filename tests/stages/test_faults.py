"""What happens at night: after each fault a true record, no process left over, and a rerun that ends well."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import patchmill
from stages.notebook_files import running_below, wait_until, write_config, write_notebook

SLEEPS = ("x: int = 1  # a number", "import time\nopen('here', 'w').close()\ntime.sleep(300)")


def status_of(folder: Path) -> dict:
    return json.loads((folder / "out" / "records" / "latest" / "status.json").read_text())


def started(folder: Path) -> bool:
    return bool(list(folder.glob("out/records/*/work/sleeps/cwd/here")))


def test_a_kernel_that_does_not_answer_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setenv("PATCHMILL_HEARTBEAT_SECONDS", "3")
    frozen = "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)"
    write_notebook(tmp_path / "freezes.ipynb", "x: int = 1  # a number", "# Still", frozen)
    run = patchmill.run(write_config(tmp_path / "pipeline.yaml", {"freezes": {}}), check=False)
    assert (run.state, run.exit_code) == ("killed", 137)
    assert "did not answer" in run.failed.failure.sentence
    assert run.failed.failure.where == 'cell In [3] under "Still"'
    wait_until(lambda: running_below(tmp_path) == [], seconds=10)


def test_a_kernel_that_is_busy_answers(tmp_path, monkeypatch):
    """Also while one instruction holds the interpreter for long."""
    monkeypatch.setenv("PATCHMILL_HEARTBEAT_SECONDS", "2")
    busy = "import re\nre.match('(a+)+$', 'a' * 26 + 'b')"
    write_notebook(tmp_path / "works.ipynb", "x: int = 1  # a number", busy)
    run = patchmill.run(write_config(tmp_path / "pipeline.yaml", {"works": {}}), check=False)
    assert run.state == "done"
    assert run.stages[0].seconds > 4


@pytest.mark.slow
def test_when_the_terminal_is_closed_the_run_ends_and_says_so(tmp_path):
    write_notebook(tmp_path / "sleeps.ipynb", *SLEEPS)
    config = write_config(tmp_path / "pipeline.yaml", {"sleeps": {}})
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-m", "patchmill", "run", str(config)])
    wait_until(lambda: started(tmp_path))
    os.close(terminal)
    _, ended = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(ended) == 128 + signal.SIGHUP
    wait_until(lambda: running_below(tmp_path) == [], seconds=10)
    assert status_of(tmp_path)["state"] == "interrupted"
    assert "SIGHUP" in status_of(tmp_path)["stages"][0]["failure"]["sentence"]


FULL = """
import os, sys
from patchmill.stages import records

real = records.os.replace
def full(one, other):
    if str(other).endswith("status.json") and os.path.exists(other):
        raise OSError(28, "No space left on device", str(one))
    real(one, other)
records.os.replace = full
from patchmill.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_full_disk_is_one_sentence_and_the_next_run_ends_well(tmp_path):
    write_notebook(tmp_path / "adds.ipynb", "x: int = 1  # a number", "print(x + 1)")
    config = write_config(tmp_path / "pipeline.yaml", {"adds": {}})
    ended = subprocess.run(
        [sys.executable, "-c", FULL, "run", str(config)], capture_output=True, text=True, check=False, timeout=120
    )
    assert ended.returncode == 1
    assert "No space left on device" in ended.stderr
    assert "Traceback" not in ended.stderr
    wait_until(lambda: running_below(tmp_path) == [], seconds=10)
    assert patchmill.run(config).state == "done"
