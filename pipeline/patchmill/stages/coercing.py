"""What came in, as the declared type.

Airflow sends texts, papermill's ``-p`` makes 1000.0 of 1e3, YAML leaves "1e3" a text and makes 45045 of 12:30:45. Here
a text becomes what it says, exactly or not at all; a value that would have to be altered is refused.
"""

from __future__ import annotations

import ast
import json
import operator
import os
from collections.abc import Mapping
from contextlib import suppress
from decimal import Decimal
from numbers import Integral, Real
from typing import Any

from patchmill.stages.declared import Declaration, listed, nearest

_TRUE = {"true", "yes", "on", "1"}
_FALSE = {"false", "no", "off", "0"}
_NOTHING = {"", "none", "null", "~"}

_SINGULAR = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "a text (numbers in quotes)",
    "list": "a list",
    "dict": "a mapping",
}
_PLURAL = {
    "int": "whole numbers",
    "float": "numbers",
    "bool": "true and false",
    "str": "texts (numbers in quotes)",
    "": "anything",
}

_NUMBERS = {"list[int]", "list[float]"}
"""Lists in whose place one number may stand."""


def coerced(value: Any, declared: Declaration) -> Any:
    """`value` as the type that `declared` names.

    One number is taken for a pair of them, one text for a list of texts.

    Raises
    ------
    ValueError
        If it is not that type and can't become it without a change, or none of the words that it may be; the text names
        parameter, type or words, and value.

    Examples
    --------
    >>> step = Declaration("step", "list[int]", None, "", "")
    >>> [coerced(value, step) for value in ("[128, 64]", "128", 1e2, "128,64", None, "None")]
    [[128, 64], [128, 128], [100, 100], [128, 64], None, None]
    """
    if declared.optional and _is_nothing(value):
        return declared.default
    try:
        result = _coerced(value, declared.type)
    except (ValueError, TypeError, ArithmeticError):
        one = " or one such number" if declared.type in _NUMBERS else ""
        raise ValueError(f"{declared.name} must be {described(declared.type)}{one}, got {_shown(value)}") from None
    if declared.words and result not in declared.words:
        hint = nearest(result, declared.words)
        raise ValueError(f"{declared.name} must be one of {listed(declared.words)}, got {_shown(value)}{hint}")
    if declared.type in _NUMBERS and _is_single(value) and _is_pair(declared.default):
        return result * 2
    return result


def described(kind: str) -> str:
    """A declared type in words.

    Examples
    --------
    >>> described("int"), described("list[int]"), described("dict[str, str]")
    ('a whole number', 'a list of whole numbers', 'a mapping to texts (numbers in quotes)')
    """
    outer = kind.partition("[")[0]
    if outer == kind:
        return _SINGULAR[kind]
    join = "of" if outer == "list" else "to"
    inner = _inner(kind)
    return f"{_SINGULAR[outer]} {join} {_PLURAL[inner] if inner in _PLURAL else described(inner)}"


def _coerced(value: Any, kind: str) -> Any:
    # Whatever does not fit raises, without a text: `coerced` says what would have been right.
    if kind.startswith("list"):
        return [_coerced(item, _inner(kind)) for item in _items(value, kind)]
    if kind.startswith("dict"):
        return {str(key): _coerced(item, _inner(kind)) for key, item in _pairs(value, kind).items()}
    return {"int": _integer, "float": _number, "bool": _truth, "str": _text, "": _anything}[kind](value)


def _inner(kind: str) -> str:
    # "list[int]" -> "int", "dict[str, int]" -> "int", "list" -> ""
    inside = kind.partition("[")[2].removesuffix("]")
    return inside.partition(",")[2].strip() if kind.startswith("dict") else inside


def _integer(value: Any) -> int:
    _refuse_truth(value)
    if isinstance(value, str) or (isinstance(value, Real) and not isinstance(value, Integral)):
        exact = Decimal(value.strip()) if isinstance(value, str) else Decimal(float(value))
        # The bound comes first: 1e999999999 is exact, and fills the memory.
        if not abs(exact) < 2**63 or exact != int(exact):
            raise ValueError
        return int(exact)
    return operator.index(value)


def _number(value: Any) -> float:
    _refuse_truth(value)
    return float(value)


def _truth(value: Any) -> bool:
    word = str(value).strip().lower()
    if (isinstance(value, str | int) or _is_truth(value)) and word in _TRUE | _FALSE:
        return word in _TRUE
    raise ValueError


def _text(value: Any) -> str:
    # Not str(value): what was 007 or 12:30 arrives as another number.
    if not isinstance(value, str | os.PathLike):
        raise TypeError
    return str(os.fspath(value))


def _anything(value: Any) -> Any:
    return value


def _refuse_truth(value: Any) -> None:
    if _is_truth(value):
        raise TypeError


def _is_truth(value: Any) -> bool:
    # NumPy's too, by its dtype: to load NumPy for it would take longer than all else here.
    return isinstance(value, bool) or getattr(getattr(value, "dtype", None), "kind", "") == "b"


def _items(value: Any, kind: str) -> list[Any]:
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = _read(value, kind)
    elif isinstance(value, str) and kind in _NUMBERS:
        value = value.split(",")
    if value is None or isinstance(value, Mapping | set):
        raise TypeError
    one = isinstance(value, str) or not hasattr(value, "__len__")
    return [value] if one else list(value)


def _pairs(value: Any, kind: str) -> Mapping[Any, Any]:
    value = _read(value, kind) if isinstance(value, str) else value
    if not isinstance(value, Mapping):
        raise TypeError
    return value


def _read(text: str, kind: str) -> Any:
    # A plain list or dict says nothing of what is inside, so that is read as typed values arrive.
    return _read_typed(text) if kind.rstrip("]").endswith(("list", "dict")) else _read_texts(text)


def _read_texts(text: str) -> Any:
    # Numbers stay the texts they are: what they mean, the declared type says.
    import yaml

    try:
        return json.loads(text, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        pass  # YAML reads all of JSON but characters that are escaped in two halves
    try:
        return yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 - makes texts only
    except (yaml.YAMLError, RecursionError):
        raise ValueError from None


def _read_typed(text: str) -> Any:
    # JSON, what Python prints, or YAML; dates stay texts, as in configs.
    import yaml

    for read in (json.loads, ast.literal_eval):
        with suppress(ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            return read(text)

    class Loader(yaml.SafeLoader):  # type: ignore[misc, unused-ignore]
        pass

    Loader.add_constructor("tag:yaml.org,2002:timestamp", yaml.SafeLoader.construct_yaml_str)
    try:
        return yaml.load(text, Loader=Loader)  # noqa: S506 - safe
    except (yaml.YAMLError, RecursionError):
        raise ValueError from None


def _is_nothing(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value.strip().lower() in _NOTHING)


def _is_single(value: Any) -> bool:
    # One number, not a list of one.
    if isinstance(value, str):
        return "[" not in value and "," not in value
    return not hasattr(value, "__len__")


def _is_pair(default: Any) -> bool:
    # Where the default is nothing, or one number, a list of numbers is one number an axis: (y, x).
    return not isinstance(default, list) or len(default) == 2


def _shown(value: Any) -> str:
    text = repr(value)
    return f"{text if len(text) <= 200 else text[:197] + '...'} ({type(value).__name__})"
