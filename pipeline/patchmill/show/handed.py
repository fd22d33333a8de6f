"""Figures that a notebook hands to whoever runs it: as data beside what people see, never read out of that.

A thing that is displayed carries them under a media type of their own, and the executed notebook keeps them, so it does
not matter who executed it::

    plan                         # the last line of a cell: HTML for people; patches, bytes, memory as data
    Result({"patches": 172})     # the same for a notebook of one's own
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

FIGURES = "application/vnd.patchmill.figures+json"
"""The media type."""

Handed: TypeAlias = Mapping[str, Mapping[str, Any]]
"""Figures by what they are of: ``{"plan": {"patches": 172, ...}, "result": {...}}``; plain JSON."""


def figures_of(what: str, figures: Mapping[str, Any]) -> dict[str, Any]:
    """What a ``_repr_mimebundle_`` returns to hand over figures, beside what other representations there are.

    Parameters
    ----------
    what : str
        What they are of; of several things of one name in a notebook, each figure is that of the last which has it.
    figures : mapping
        Names to numbers, texts, or lists and mappings of them.

    Examples
    --------
    >>> import numpy as np
    >>> figures_of("plan", {"patches": np.int64(172)})
    {'application/vnd.patchmill.figures+json': {'of': 'plan', 'figures': [['patches', 172]]}}
    """
    # A list: whoever saves a notebook sorts the keys of mappings.
    return {FIGURES: {"of": str(what), "figures": [[str(name), plain(value)] for name, value in figures.items()]}}


def plain(value: Any) -> Any:
    """`value` as JSON has it; what JSON has no word for, an infinite number too, is a text.

    Examples
    --------
    >>> import numpy as np
    >>> plain({"size": (np.int32(2), 0.5), "mean": float("nan"), "kind": np.dtype("uint8")})
    {'size': [2, 0.5], 'mean': 'nan', 'kind': 'uint8'}
    """
    if hasattr(value, "tolist"):  # NumPy's, without NumPy: who only reads figures does not need it
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(each) for each in value]
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return str(value)


def handed_over(bundles: Iterator[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The figures that displayed things carry, by what they are of.

    Parameters
    ----------
    bundles : iterator of mapping
        What was displayed, by media type, in order. What is not as `figures_of` writes it is left out: anybody may
        write an executed notebook.
    """
    found: dict[str, dict[str, Any]] = {}
    for bundle in bundles:
        told = bundle.get(FIGURES)
        if not isinstance(told, Mapping) or not isinstance(told.get("figures"), list):
            continue
        pairs = [pair for pair in told["figures"] if isinstance(pair, list) and len(pair) == 2]
        found.setdefault(str(told.get("of", "")), {}).update({str(name): plain(value) for name, value in pairs})
    return found


def own_peak() -> int | None:
    """Bytes of memory that this process has held at its peak; None where the system does not tell."""
    # Not ru_maxrss: that is also what the process held that started this one.
    try:
        with open("/proc/self/status", encoding="ascii") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration, ValueError):
        return None
