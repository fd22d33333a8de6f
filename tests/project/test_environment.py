"""environment.yml asks conda for what pyproject.toml asks pip for, with the same bounds."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]

# PyPI's names that are others on conda-forge: there `dask` brings everything, `matplotlib` a GUI toolkit.
CONDA_NAMES = {
    "dask": "dask-core",
    "jupyter-client": "jupyter_client",
    "jupyter-core": "jupyter_core",
    "matplotlib": "matplotlib-base",
}

Bounds = dict[str, SpecifierSet]


def users_requirements(project: dict[str, Any]) -> Bounds:
    """Bounds of the core and of ``patchmill[all]``, by conda's names."""
    found: Bounds = {"python": SpecifierSet(project["requires-python"])}
    open_lists, seen = [project["dependencies"], project["optional-dependencies"]["all"]], set()
    while open_lists:
        for requirement in map(Requirement, open_lists.pop()):
            if requirement.name == project["name"]:
                extras = requirement.extras - seen
                seen |= extras
                open_lists += [project["optional-dependencies"][extra] for extra in extras]
            else:
                name = canonicalize_name(requirement.name)
                name = CONDA_NAMES.get(name, name)
                found[name] = found.get(name, SpecifierSet()) & requirement.specifier
    return found


def conda_requirements(environment: dict[str, Any]) -> Bounds:
    """Bounds of what an environment.yml takes from conda, ``pip`` itself left out."""
    specs = [Requirement(spec) for spec in environment["dependencies"] if isinstance(spec, str)]
    return {spec.name: spec.specifier for spec in specs if spec.name != "pip"}


def read_pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def read_environment() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "environment.yml").read_text())


def test_conda_and_pip_ask_for_the_same():
    assert conda_requirements(read_environment()) == users_requirements(read_pyproject())


def test_only_patchmill_itself_comes_from_pip():
    dependencies = read_environment()["dependencies"]
    assert "pip" in dependencies
    assert [entry for entry in dependencies if isinstance(entry, dict)] == [{"pip": ["--editable ."]}]


def test_only_conda_forge_is_asked():
    assert read_environment()["channels"] == ["conda-forge", "nodefaults"]


@pytest.mark.parametrize("extra", ["images", "notebooks", "geo", "cloud", "lab", "cluster"])
def test_all_holds_every_extra_for_users(extra: str):
    (everything,) = map(Requirement, read_pyproject()["optional-dependencies"]["all"])
    assert extra in everything.extras


def test_every_requirement_has_a_lower_bound():
    unbounded = [name for name, specifier in users_requirements(read_pyproject()).items() if ">=" not in str(specifier)]
    assert unbounded == []


def test_a_difference_is_seen():
    project = {
        "name": "patchmill",
        "requires-python": ">=3.11",
        "dependencies": ["numpy>=2.0", "dask[array]>=2025.1"],
        "optional-dependencies": {"all": ["patchmill[lab]"], "lab": ["matplotlib>=3.9"], "test": ["torch==2.13.0"]},
    }
    same = {"dependencies": ["python >=3.11", "numpy >=2.0", "dask-core >=2025.1", "matplotlib-base >=3.9", "pip"]}
    assert conda_requirements(same) == users_requirements(project)
    other_bound = {"dependencies": [*same["dependencies"][:3], "matplotlib-base >=3.8"]}
    one_missing = {"dependencies": same["dependencies"][:3]}
    assert conda_requirements(other_bound) != users_requirements(project)
    assert conda_requirements(one_missing) != users_requirements(project)
