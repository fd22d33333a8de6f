"""Spans of time as a config says them: ``2h``, ``1h30m``, ``90`` seconds."""

from __future__ import annotations

import re
from typing import Any

_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "min": 60.0, "s": 1.0}

_LONGEST = 1e12


def as_seconds(value: Any, name: str) -> float:
    """A span of time in seconds, from a number of them or a text such as ``"2h"``, ``"1h30m"``, ``"90s"``.

    Raises
    ------
    ValueError
        If it is none, not positive, or absurdly long.

    Examples
    --------
    >>> [as_seconds(value, "limit") for value in ("2h", "1h 30m", "0.5s", 90)]
    [7200.0, 5400.0, 0.5, 90.0]
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    seconds = float(min(value, _LONGEST)) if number else _parsed(str(value))
    if not 0 < seconds < _LONGEST:
        raise ValueError(f'{name} must be a span of time such as "90s", "2h" or "1h30m", got {value!r}')
    return seconds


def _parsed(text: str) -> float:
    """Seconds of a text, 0 where it is no span of time."""
    if re.fullmatch(r"\d+(\.\d+)?", text.strip()):
        return float(text)
    part = r"(\d+(?:\.\d+)?)\s*(d|h|min|m|s)"
    if not re.fullmatch(rf"\s*(?:{part}\s*)+", text):
        return 0.0
    return sum(float(number) * _SECONDS[unit] for number, unit in re.findall(part, text))
