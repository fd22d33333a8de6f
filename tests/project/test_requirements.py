"""Whatever the package imports is asked for by name in pyproject.toml, and the core gets along with the core alone."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from patchmill.errors import _BROUGHT_BY

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "pipeline" / "patchmill"
EXTRAS = ("images", "notebooks", "geo", "cloud", "lab", "cluster", "fast")


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def names_of(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(text).name) for text in requirements} - {"patchmill"}


def modules_imported(source: str) -> set[str]:
    """Top-level names of the modules that a source imports from outside of its own package."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found - sys.stdlib_module_names - {"patchmill"}


def not_asked_for(modules: set[str], asked: set[str]) -> set[str]:
    """Modules that no distribution among those `asked` for provides."""
    provided = packages_distributions()
    return {name for name in modules if not asked & {canonicalize_name(found) for found in provided.get(name, [])}}


def test_every_import_is_asked_for():
    wanted = project()
    asked = names_of(wanted["dependencies"])
    for extra in EXTRAS:
        asked |= names_of(wanted["optional-dependencies"][extra])
    modules = set().union(*(modules_imported(path.read_text()) for path in PACKAGE.rglob("*.py")))
    assert not_asked_for(modules, asked) == set()


def test_a_library_that_is_missing_is_brought_by_the_extra_that_is_named():
    extras = {extra: names_of(project()["optional-dependencies"][extra]) for extra in EXTRAS}
    for extra, asked in extras.items():
        assert not_asked_for({module for module, bringer in _BROUGHT_BY.items() if bringer == extra}, asked) == set()
    imported = set().union(*(modules_imported(path.read_text()) for path in PACKAGE.rglob("*.py")))
    beyond_the_core = not_asked_for(imported, names_of(project()["dependencies"]))
    assert beyond_the_core <= _BROUGHT_BY.keys()


def test_an_import_nobody_asked_for_is_seen():
    modules = modules_imported("import os, zarr\nfrom patchmill import x\ndef f():\n    from PIL.Image import open")
    assert modules == {"zarr", "PIL"}
    assert not_asked_for(modules, {"zarr"}) == {"PIL"}
    assert not_asked_for(modules, {"zarr", "pillow"}) == set()


# Dask brings PyYAML, so an extra that lists it brings nothing new.
BROUGHT_BY_THE_CORE = {"yaml"}

WITHOUT_EXTRAS = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
"""


def missing_modules() -> set[str]:
    """Modules that a machine does not have where only the core is installed."""
    wanted = project()
    core = names_of(wanted["dependencies"])
    extra = set().union(*(names_of(wanted["optional-dependencies"][name]) for name in EXTRAS)) - core
    provided = packages_distributions().items()
    found = {module for module, names in provided if {canonicalize_name(name) for name in names} & extra}
    return found - BROUGHT_BY_THE_CORE


def with_the_core_alone(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    code = WITHOUT_EXTRAS.format(missing=missing_modules()) + script
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)


def test_extras_are_kept_away(tmp_path: Path):
    assert {"papermill", "matplotlib", "PIL", "rasterio", "rich", "distributed"} <= missing_modules()
    assert "No module named 'PIL'" in with_the_core_alone("import PIL", tmp_path).stderr


def test_cutting_and_reading_need_the_core_alone(tmp_path: Path):
    script = """
import numpy as np, patchmill
image = np.arange(2 * 3 * 40 * 50, dtype="uint16").reshape(2, 3, 40, 50)
print(patchmill.plan(image, (16, 16), (8, 8)))
written = patchmill.write_patches(image, "set.zarr", (16, 16), (8, 8))
assert (patchmill.open_patches("set.zarr")[5] == patchmill.patchify(image, (16, 16), (8, 8))[0, :, 1, 0]).all()
print(written, len(written._repr_html_()))
"""
    run = with_the_core_alone(script, tmp_path)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_the_command_line_needs_the_core_alone(tmp_path: Path, arguments: list[str]):
    run = with_the_core_alone(f"from patchmill.cli import main\nsys.exit(main({arguments!r}))", tmp_path)
    assert run.returncode == 0, run.stderr


def test_a_missing_extra_is_named_in_one_sentence(tmp_path: Path):
    (tmp_path / "one.yaml").write_text("name: one\nroot: data\nstages: {cut: {notebook: patchmill:patchify}}\n")
    run = with_the_core_alone("from patchmill.cli import main\nsys.exit(main(['run', 'one.yaml']))", tmp_path)
    assert run.returncode in {1, 2}
    assert "Traceback" not in run.stderr
    assert re.search(r"patchmill\[(notebooks|all)\]", run.stderr)
