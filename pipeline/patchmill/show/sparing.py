"""What Jupyter's libraries load that no notebook needs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_GRAMMARS = "rfc3987_syntax"


@contextmanager
def without_grammars() -> Iterator[None]:
    """Inside, jsonschema, which nbformat imports, does without its checks of internationalized addresses.

    Where JupyterLab is installed it finds the library for them, which builds 39 grammars: 0.9 s in each process. No
    notebook's schema asks for such an address. Whoever imports jsonschema before, or the library after, has both.
    """
    if "jsonschema" in sys.modules or _GRAMMARS in sys.modules:
        yield
        return
    sys.modules[_GRAMMARS] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[_GRAMMARS]
