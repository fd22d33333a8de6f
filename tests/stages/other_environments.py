"""Environments of programs that do not share one with patchmill, made once a machine, and a kernel that they find."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

AIRFLOW = ("apache-airflow==3.3.*", "apache-airflow-providers-papermill>=3.13", "ipykernel")
NBMAKE = ("nbmake==1.5.*", "ipykernel")
SCHEDULER = ("jupyter-scheduler==2.12.*", "ipykernel")


def environment(name: str, requirements: tuple[str, ...]) -> Path:
    """Folder of the programs of an environment that has `requirements` from the package index.

    It is made where ``PATCHMILL_TEST_ENVIRONMENTS`` says, by default in the folder for temporary files, in half a
    minute to two; where the index can't be reached, the test is skipped.
    """
    home = Path(
        os.environ.get("PATCHMILL_TEST_ENVIRONMENTS") or f"{tempfile.gettempdir()}/patchmill-tests-{os.getuid()}"
    )
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    digest = hashlib.sha256(repr((requirements, sys.version)).encode()).hexdigest()[:12]
    place = home / f"{name}-{digest}"
    with open(home / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "complete").exists():
            shutil.rmtree(place, ignore_errors=True)
            _install(sys.executable, "-m", "venv", str(place))
            _install(
                str(place / "bin" / "python"),
                "-m",
                "pip",
                "--disable-pip-version-check",
                "-qq",
                "install",
                *requirements,
            )
            (place / "complete").touch()
    return place / "bin"


def _install(*command: str) -> None:
    # What the tests import shall not be found in there.
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    made = subprocess.run(command, env=clean, capture_output=True, text=True, check=False)
    if made.returncode:
        last = (made.stderr.strip() or made.stdout.strip()).splitlines()[-1:]
        pytest.skip(f"{' '.join(command[-3:])} could not be installed: {''.join(last)}")


def say(*command: Any, cwd: Path, env: Mapping[str, str] | None = None) -> str:
    """What a command that succeeds says, errors too."""
    ended = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-5000:]
    return ended.stdout


def kernel_for_others(folder: Path) -> dict[str, str]:
    """An environment of processes in which the kernel ``python3``, whoever asks, is that of these tests."""
    place = folder / "jupyter" / "kernels" / "python3"
    place.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernel = {"argv": command, "display_name": "of the tests", "language": "python"}
    (place / "kernel.json").write_text(json.dumps(kernel))
    return os.environ | {"JUPYTER_PATH": str(folder / "jupyter"), "HOME": str(folder), "TMPDIR": str(folder)}
