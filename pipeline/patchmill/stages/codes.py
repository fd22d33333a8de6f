"""What a notebook does, as a digest: its code without comments, blanks and outputs, and the modules that lie beside it.

::

    notebooks/measure.ipynb     code cells, as syntax trees
      import helping            notebooks/helping.py, and what that imports from there
      import numpy              not looked at: it lies elsewhere
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

_INJECTED = "injected-parameters"
"""Tag of the cell that papermill itself puts in, and the next time replaces, if it has parameters to put in; else it is
executed as it is."""

_MAGIC = re.compile(r"^([ \t]*)([%!?].*)$", re.MULTILINE)

_IMPORT = re.compile(r"\b(?:from[ \t]*+(\.*+)[ \t]*+([\w.]*)[ \t]*+)?import\b[ \t]*(\((?:[^)#]|#.*+)*+|[^\n;#]*)")
"""One that stands anywhere in a text: dots and module, if it says from where, and names, in brackets maybe."""


def code_cells(path: str) -> list[tuple[str, list[str]]]:
    """Source and tags of each code cell of a notebook.

    Raises
    ------
    ValueError
        If the file is no notebook.
    """
    return _read(path)[0]


def kernel_name(path: str) -> str:
    """Name of the kernel that a notebook asks for, empty where it names none.

    Raises
    ------
    ValueError
        If the file is no notebook.
    """
    return _read(path)[1]


def _read(path: str) -> tuple[list[tuple[str, list[str]]], str]:
    try:
        with open(path, encoding="utf-8") as file:
            notebook = json.load(file)
        if notebook["nbformat"] == 4:
            return _taken(notebook)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"it is no notebook ({type(error).__name__})") from error
    # nbformat takes a second to load, so only what is of an older format goes through it.
    import nbformat

    try:
        upgraded = nbformat.read(path, as_version=4)
    except Exception as error:  # nbformat has as many as there are ways to be no notebook
        raise ValueError(f"it is no notebook ({type(error).__name__})") from error
    return _taken(upgraded)


def _taken(notebook: Any) -> tuple[list[tuple[str, list[str]]], str]:
    cells = [_cell(cell) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    kernel = notebook.get("metadata", {}).get("kernelspec") or {}
    return cells, str(kernel.get("name") or "")


def _cell(cell: Any) -> tuple[str, list[str]]:
    source = cell["source"]
    return source if isinstance(source, str) else "".join(source), list(cell.get("metadata", {}).get("tags", []))


def notebook_digest(path: str, *, injects: bool) -> str:
    """A digest of a notebook's code: equal for notebooks that differ in comments, Markdown, outputs, metadata alone.

    Parameters
    ----------
    path : str
    injects : bool
        Whether papermill will have parameters to put in, and so replace the cell that it put in before.
    """
    cells = code_cells(path)
    if injects:
        replaced = next((cell for cell in cells if _INJECTED in cell[1]), None)
        cells = [cell for cell in cells if cell is not replaced]
    return _digest(*(text for text in (normalized(source) for source, _ in cells) if text))


def module_digests(path: str) -> dict[str, str]:
    """Digests of the modules beside a notebook that its code imports, and that these import, by file."""
    folder = os.path.dirname(path)
    found: dict[str, str] = {}
    waiting = [(source, folder) for source, _ in code_cells(path)]
    while waiting:
        for module in _modules(*waiting.pop(), folder):
            if module not in found:
                with suppress(OSError, UnicodeDecodeError), open(module, encoding="utf-8") as file:
                    source = file.read()
                    found[module] = _digest(normalized(source))
                    waiting.append((source, os.path.dirname(module)))
    return dict(sorted(found.items()))


def normalized(source: str) -> str:
    """What a cell does: its syntax tree as text; of magics every character counts.

    Examples
    --------
    >>> normalized("step = 64  # pixels") == normalized("step  =  64")
    True
    >>> normalized("'#' + x") == normalized("'#' + y")
    False
    """
    for text in (source, _without_magics(source)):
        with suppress(SyntaxError, ValueError, RecursionError):
            return ast.unparse(ast.parse(text))
    return source.rstrip()


def _without_magics(source: str) -> str:
    """Lines that are magics as calls, so that what stands around them is Python."""
    if source.lstrip().startswith("%%"):
        return source
    return _MAGIC.sub(lambda found: f"{found[1]}magic({found[2]!r})", source)


def _modules(source: str, own: str, folder: str) -> Iterator[str]:
    """Files of the modules below `folder` that a source imports, which lies in the folder `own`."""
    for level, name in _imported(source):
        base = os.path.join(own, *[os.pardir] * (level - 1)) if level else folder
        parts = name.split(".") if name else []
        for count in range(len(parts) + 1):
            place = os.path.normpath(os.path.join(base, *parts[:count]))
            if count or level:
                paths = (f"{place}.py", os.path.join(place, "__init__.py"))
                yield from (path for path in paths if os.path.isfile(path))


def _imported(source: str) -> Iterator[tuple[int, str]]:
    """Names of modules, or of what is in them, each with the dots that it begins with.

    Of what is no Python, as a cell with a magic, rather some too many than one too few.

    Examples
    --------
    >>> list(_imported("from ..a import b")), list(_imported("%time from ..a import b"))
    ([(2, 'a.b')], [(2, 'a.b')])
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        yield from _written_imports(source)
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((0, each.name) for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            within = f"{node.module}." if node.module else ""
            yield from ((node.level, f"{within}{each.name}") for each in node.names)


def _written_imports(text: str) -> Iterator[tuple[int, str]]:
    for dots, module, names in _IMPORT.findall(text.replace("\\\n", " ")):
        within = f"{module}." if module else ""
        yield from ((len(dots), f"{within}{name}") for name in re.findall(r"[\w.*]+", names))


def _digest(*texts: str) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(f"{len(text)}\n{text}".encode())
    return digest.hexdigest()
