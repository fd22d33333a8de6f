"""Whether the kernel of a notebook is installed, told before anything runs."""

from __future__ import annotations

import os

from patchmill.stages.codes import kernel_name
from patchmill.stages.declared import nearest

_NATIVE = "python3"
"""Comes with ipykernel, be it listed or not."""


def kernel_problem(path: str) -> str:
    """What is wrong with the kernel that a notebook names, as the end of a sentence about it; "" if nothing is.

    Raises
    ------
    ValueError
        If the file is no notebook.
    """
    name = kernel_name(path)
    if not name:
        return "names no kernel: open it in Jupyter, choose one, and save it"
    if name == _NATIVE or _is_listed(name):
        return ""
    # It takes a while to load, and knows a few more places.
    from jupyter_client.kernelspec import KernelSpecManager

    known = sorted({_NATIVE, *KernelSpecManager().find_kernel_specs()})
    if name.lower() in known:
        return ""
    hint = nearest(name, known) or f"; there are {', '.join(known)}"
    return f"wants the kernel {name}, which is not installed: install it, or choose another in Jupyter{hint}"


def _is_listed(name: str) -> bool:
    from jupyter_core.paths import jupyter_path

    return any(os.path.isfile(os.path.join(folder, name, "kernel.json")) for folder in jupyter_path("kernels"))
