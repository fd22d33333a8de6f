"""What is held in memory is measured by a script that leaves nothing among the sources."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "memory.py"


def test_results_go_where_git_does_not_look():
    spec = importlib.util.spec_from_file_location("memory", SCRIPT)
    memory = importlib.util.module_from_spec(spec)
    sys.modules["memory"] = memory  # its dataclasses ask for it
    try:
        spec.loader.exec_module(memory)
    finally:
        del sys.modules["memory"]
    out = memory.command_line().get_default("out")
    assert out == ROOT / "runs" / "benchmarks" / "memory.json"
    assert "/runs/" in (ROOT / ".gitignore").read_text().splitlines()


def test_a_folder_for_them_is_made(tmp_path):
    out = tmp_path / "new" / "memory.json"
    asked = ["--case", "plain", "--limit", "512MiB", "--layout", "patches", "--size", "1MiB", "--folder", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *asked, "--out", str(out)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(out.read_text())[0]["case"] == "plain"
