"""``import patchmill`` and the rooms of pure geometry load nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest

import patchmill

HEAVY = (
    "dask",
    "distributed",
    "zarr",
    "xarray",
    "tensorstore",
    "papermill",
    "pandas",
    "matplotlib",
    "rasterio",
    "torch",
)


def loaded_by(statement: str) -> set[str]:
    """Which of the heavy libraries a fresh interpreter has loaded after `statement`."""
    script = f"{statement}\nimport sys\nprint(*(name for name in {HEAVY!r} if name in sys.modules))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return set(run.stdout.split())


@pytest.mark.parametrize("module", ["patchmill", "patchmill.errors", "patchmill.types", "patchmill.grid"])
def test_the_root_and_the_geometry_are_light(module: str):
    assert loaded_by(f"import {module}") == set()


def test_planning_is_light():
    assert loaded_by("import patchmill.planning") == set()


def test_the_command_line_is_light_until_it_works():
    assert loaded_by("import patchmill.cli") == set()


def test_a_heavy_import_is_seen():
    assert "zarr" in loaded_by("import zarr")


def test_the_root_lists_what_is_public():
    names = [name for name in dir(patchmill) if not name.startswith("__")]
    assert names == sorted(name for name in patchmill.__all__ if not name.startswith("__"))
