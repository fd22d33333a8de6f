"""An IPython in this process, and its cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy

import dask
import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, tmp_path) -> Iterator[InteractiveShell]:
    """An IPython of its own, in a folder of its own, without a history on disk."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / ".ipython"))
    made = InteractiveShell.instance(config=Config(HistoryManager={"enabled": False}))
    known = deepcopy(dask.config.config)
    yield made
    dask.config.config.clear()
    dask.config.update(dask.config.config, known)
    made.restore_sys_module_state()
    InteractiveShell.clear_instance()


@pytest.fixture
def cells(shell: InteractiveShell) -> Callable[..., dict]:
    def execute(*sources: str) -> dict:
        for source in sources:
            result = shell.run_cell(source, store_history=True, silent=False)
            result.raise_error()
        return shell.user_ns

    return execute
