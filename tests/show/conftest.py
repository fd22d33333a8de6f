"""An IPython in this process."""

from __future__ import annotations

import pytest
from IPython.core.formatters import DisplayFormatter


class Shell:
    """What of an IPython draws things."""

    display_formatter = DisplayFormatter()


@pytest.fixture
def shell() -> Shell:
    return Shell()
