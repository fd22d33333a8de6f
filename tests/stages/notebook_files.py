"""Small notebooks and configs for tests."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import nbformat
import psutil
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

SLEEPS = ("x: int = 1  # a number", "import time\nopen('here', 'w').close()\ntime.sleep(300)")
"""A parameter and a cell of a stage that never ends; called `sleeps`, it can be seen that it has `started`."""

ENTER = "import patchmill\npatchmill.parameters(globals())"


def write_notebook(path: Path, declared: str, *cells: str) -> Path:
    """A stage: a cell of parameters, the cell that enters them, and `cells`; one that begins with # is Markdown."""
    notebook = new_notebook(
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    )
    first = new_code_cell(declared)
    first.metadata["tags"] = ["parameters"]
    rest = [new_markdown_cell(cell) if cell.startswith("# ") else new_code_cell(cell) for cell in cells]
    notebook.cells = [first, new_code_cell(ENTER), *rest]
    nbformat.write(notebook, path)
    return path


def write_config(path: Path, stages: dict[str, Any], **others: Any) -> Path:
    """A config beside the notebooks, which are named after the stages unless said otherwise."""
    full = {name: {"notebook": f"{name}.ipynb", **stage} for name, stage in stages.items()}
    path.write_text(yaml.safe_dump({"name": "test", "root": "out", **others, "stages": full}, sort_keys=False))
    return path


def shown_text(path: str | Path) -> str:
    """All that an executed notebook printed."""
    cells = json.loads(Path(path).read_text())["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return "".join("".join(output["text"]) for output in outputs if output["output_type"] == "stream")


def status_of(folder: Path) -> dict[str, Any]:
    """The record of the latest run whose root is `out` in a folder, as it is on disk."""
    return json.loads((folder / "out" / "records" / "latest" / "status.json").read_text())


def started(folder: Path) -> bool:
    """Whether the stage `sleeps` of such a run sleeps."""
    return bool(list(folder.glob("out/records/*/work/sleeps/cwd/here")))


def running_below(folder: Path) -> list[psutil.Process]:
    """Processes whose current folder lies below `folder`: kernels, and who started them."""
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(folder) and process.pid != os.getpid():
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def wait_until(true: Any, seconds: float = 60.0) -> None:
    """Wait for `true()`."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.05)
