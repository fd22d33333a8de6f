"""Whether the class that a config names deploys Dask clusters.

A look at files says whether it is there, and imports nothing: Dask takes longer to load than a run with nothing to do
may take. Whether it deploys, only importing tells; rehearsing a run does that, and the cluster itself when it begins.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from importlib.util import find_spec

from patchmill.errors import missing_library
from patchmill.stages.declared import nearest

_CALLED = "compute.cluster.class"

_ALIAS = "dask.distributed."
"""Another name for distributed, which takes all from there."""


def lookup_problem(path: str) -> str:
    """A sentence where there is no such class as far as can be seen without importing anything; else "".

    Examples
    --------
    >>> lookup_problem("os.system")
    "compute.cluster.class is os.system, and os is Python's own: name a class that deploys Dask, such as \
dask.distributed.LocalCluster"
    >>> lookup_problem("dask.distributed.LocalCluster")
    ''
    """
    real = f"distributed.{path.removeprefix(_ALIAS)}" if path.startswith(_ALIAS) else path
    module, _, name = real.rpartition(".")
    package = module.partition(".")[0]
    told = f"{_CALLED} is {path}, and"
    if package in sys.stdlib_module_names or package == "__main__":
        example = "name a class that deploys Dask, such as dask.distributed.LocalCluster"
        return f"{told} {package} is Python's own: {example}"
    if find_spec(package) is None:
        if package == "distributed":
            return missing_library(f"{_CALLED} {path}", package)
        return f"{told} {package} is not installed: install it"
    spec = _found(module)
    if spec is None:
        return f"{told} there is no module {module}: check its name"
    names = _names_in(spec)
    if names is None or name in names:
        return ""
    return f"{told} {module} has no {name}{nearest(name, sorted(names)) or ': check its name'}"


def import_problem(path: str) -> str:
    """A sentence where the class can't be imported, or deploys nothing; else ""."""
    from patchmill.cutting.clients import deployment

    try:
        deployment(path)
    except ValueError as error:
        return str(error).replace("cluster class", _CALLED, 1)
    return ""


def _found(module: str) -> ModuleSpec | None:
    """Where a module is; `find_spec` would import the packages that it lies in."""
    spec: ModuleSpec | None = None
    parts = module.split(".")
    for at in range(1, len(parts) + 1):
        name, within = ".".join(parts[:at]), None if spec is None else spec.submodule_search_locations
        if at > 1 and within is None:
            return None
        specs = (finder.find_spec(name, within) for finder in sys.meta_path)
        spec = next((each for each in specs if each is not None), None)
        if spec is None:
            return None
    return spec


def _names_in(spec: ModuleSpec) -> frozenset[str] | None:
    """What a module's text gives names to; None where that does not tell all."""
    read = getattr(spec.loader, "get_source", None)
    try:
        names = frozenset(_named(ast.parse(read(spec.name)))) if read is not None else None
    except (ImportError, SyntaxError, TypeError, ValueError):  # compiled, or no text
        return None
    return None if names is None or names & {"*", "__getattr__", "globals", "vars"} else names


def _named(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.Name(id=name):
                yield name
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                yield from (alias.asname or alias.name.partition(".")[0] for alias in names)
            case _:
                pass
