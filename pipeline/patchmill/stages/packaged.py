"""The notebooks and configs that come with patchmill: in the wheel beside the modules, in a checkout two folders up."""

from __future__ import annotations

import os

PACKAGED = "patchmill:"
"""Begins the name of a notebook or config that comes with patchmill: ``patchmill:ingest``."""

_WHOLE = "pipeline.ipynb"
"""The notebook that runs a config, which is no stage of one."""

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_CHECKOUT = os.path.dirname(os.path.dirname(_PACKAGE))


def packaged_folder(kind: str) -> str:
    """The folder of what comes along; `kind` is "notebooks" or "configs".

    Raises
    ------
    FileNotFoundError
        If the installation has none.
    """
    for home in (_PACKAGE, _CHECKOUT):
        folder = os.path.join(home, kind)
        if os.path.isdir(folder):
            return folder
    raise FileNotFoundError(f"this installation of patchmill came without its {kind}; install it again")


def packaged_notebooks() -> list[str]:
    """Names of the stage notebooks that come along.

    Examples
    --------
    >>> packaged_notebooks()
    ['explore', 'generate', 'ingest', 'inspect', 'patchify']
    """
    return sorted(
        name.removesuffix(".ipynb") for name in os.listdir(packaged_folder("notebooks")) if _is_notebook(name)
    )


def packaged_configs() -> list[str]:
    """Names of the configs that come along.

    Examples
    --------
    >>> packaged_configs()
    ['patchmill:cluster', 'patchmill:demo', 'patchmill:large', 'patchmill:pair']
    """
    names = sorted(os.listdir(packaged_folder("configs")))
    return [f"{PACKAGED}{name.removesuffix('.yaml')}" for name in names if name.endswith(".yaml")]


def packaged_config(name: str) -> str:
    """Where a config lies that comes along, given as ``patchmill:NAME``."""
    return os.path.join(packaged_folder("configs"), f"{name.removeprefix(PACKAGED)}.yaml")


def notebook_path(notebook: str, base: str) -> str:
    """Where the notebook of a stage lies: one that comes along (``patchmill:NAME``), or a path relative to `base`."""
    if notebook.startswith(PACKAGED):
        return os.path.join(packaged_folder("notebooks"), f"{notebook.removeprefix(PACKAGED)}.ipynb")
    return os.path.normpath(os.path.join(base, os.path.expanduser(notebook)))


def _is_notebook(name: str) -> bool:
    return name.endswith(".ipynb") and name != _WHOLE and not name.startswith(".")
