"""Jupyter's libraries are imported without what no notebook needs, and nobody else notices."""

from __future__ import annotations

import subprocess
import sys

import pytest

SPARED = """
import sys
from patchmill.show.sparing import without_grammars
with without_grammars():
    import nbformat
assert "lark" not in sys.modules, "grammars were built"
import rfc3987_syntax
nbformat.validate(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1")]))
"""


def test_no_grammars_are_built_and_their_library_can_still_be_imported():
    pytest.importorskip("rfc3987_syntax", reason="JupyterLab is not installed")
    subprocess.run([sys.executable, "-c", SPARED], check=True)
