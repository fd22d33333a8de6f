"""The Makefile's verbs: few, explained, and clear when a machine can't do what they need."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def make(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    outer = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
    env = {name: value for name, value in os.environ.items() if name not in outer}
    return subprocess.run(["make", *arguments], cwd=folder, env=env, capture_output=True, text=True, check=False)


def test_help_explains_every_verb():
    (verbs,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    shown = [line.split()[:2] for line in make("help").stdout.splitlines()]
    assert shown == [["make", verb] for verb in verbs.split()]


def test_help_is_the_default():
    assert make().stdout == make("help").stdout


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A folder with nothing but the two files that `make` looks at."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def pretended_python(folder: Path, script: str) -> str:
    """Path of an executable that stands in for an interpreter."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_an_old_python_is_refused_in_one_sentence(bare: Path):
    old = pretended_python(bare, 'case "$1" in -V) echo "Python 3.9.2";; *) exit 1;; esac')
    run = make("demo", f"PYTHON={old}", folder=bare)
    assert run.returncode != 0
    said, _by_make = run.stderr.splitlines()
    assert "Python 3.11 or newer is needed, found: Python 3.9.2" in said
    assert not (bare / ".venv").exists()


def test_a_python_without_venv_is_refused_in_one_sentence(bare: Path):
    halfway = 'case "$*" in "-m venv .venv") mkdir -p .venv/bin; exit 1;; -V) echo "Python 3.12.0";; esac'
    run = make("demo", f"PYTHON={pretended_python(bare, halfway)}", folder=bare)
    assert run.returncode != 0
    said, _by_make = run.stderr.splitlines()
    assert "could not create a virtual environment" in said
    assert not (bare / ".venv").exists()


@pytest.mark.parametrize(("verb", "extras"), [("demo", "notebooks,geo,fast"), ("lab", "lab,geo,fast"), ("test", "dev")])
def test_a_verb_installs_what_it_needs_once(bare: Path, verb: str, extras: str):
    interpreter = bare / ".venv" / "bin"
    interpreter.mkdir(parents=True)
    pretended_python(interpreter, 'echo "$@" >> asked')
    for tool in ("patchmill", "jupyter"):
        shutil.copy(interpreter / "python", interpreter / tool)
    assert make(verb, folder=bare).returncode == 0
    assert make(verb, folder=bare).returncode == 0
    asked = (bare / "asked").read_text().splitlines()
    installs = [line for line in asked if " install " in line]
    assert len(installs) == 1
    assert installs[0].endswith(f"install --editable .[{extras}]")
    os.utime(bare / "pyproject.toml", (2**32, 2**32))
    make(verb, folder=bare)
    asked = (bare / "asked").read_text().splitlines()
    assert len([line for line in asked if " install " in line]) == 2


def test_ci_runs_the_same_verbs():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert {"make test", "make check"} <= set(re.findall(r"make \w+", script.read_text()))
