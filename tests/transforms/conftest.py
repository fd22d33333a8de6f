"""Functions of users, as a module that can be imported by name."""

from __future__ import annotations

import sys
import textwrap

import pytest


@pytest.fixture
def users_module(tmp_path, monkeypatch):
    """Writes a module of the name `users`, and makes it importable anew."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(text):
        (tmp_path / "users.py").write_text(textwrap.dedent(text))
        sys.modules.pop("users", None)
        import importlib
        import linecache

        importlib.invalidate_caches()
        linecache.clearcache()
        for cached in tmp_path.glob("__pycache__/*"):
            cached.unlink()
        return tmp_path

    yield write
    sys.modules.pop("users", None)
