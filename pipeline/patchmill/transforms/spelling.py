"""How a transform is written: as text, as a mapping from YAML, as a list of these."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeAlias

from patchmill.expressions import nearest, number_of, parse, shown, wrong
from patchmill.transforms.functions import Function, as_function, names_a_function
from patchmill.transforms.named import NAMED, Clip, Scale, Standardize

Step: TypeAlias = Scale | Clip | Standardize | Function

_WHAT = "transform"


def read_text(text: str) -> list[Step]:
    """Steps of ``"clip(0, 10000) | scale(0.0001) | module:function"``."""
    # No step can hold a bar: its arguments are numbers.
    return [_read_step(part) for part in text.split("|")]


def read_mapping(value: Mapping[str, Any]) -> list[Step]:
    """The step of ``{"scale": {"factor": 0.0001}}``."""
    if len(value) != 1:
        raise ValueError(
            f"{_WHAT}: a mapping holds one named transform, got {sorted(map(str, value))}; list several, in their order"
        )
    [(name, arguments)] = value.items()
    arguments = {} if arguments is None else arguments
    if not isinstance(arguments, Mapping):
        raise ValueError(f"{_WHAT}: {name} takes its constants by name, as in {_example(name)}, got {arguments!r}")
    return [_made(str(name), [], dict(arguments))]


def _read_step(text: str) -> Step:
    if names_a_function(text):
        return as_function(text.strip(), _WHAT)
    node = parse(text, _WHAT)
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        raise wrong(node, text, f"{_WHAT} must be a named one, as 'clip(0, 10000)', or module:function")
    keywords: dict[str, Any] = {}
    for keyword in node.keywords:
        if keyword.arg is None or keyword.arg in keywords:
            raise wrong(keyword.value, text, f"{_WHAT}: each constant is given once, by its name")
        keywords[keyword.arg] = _literal(keyword.value, text)
    return _made(node.func.id, [_literal(each, text) for each in node.args], keywords)


def _literal(node: ast.expr, text: str) -> Any:
    number = number_of(node)
    if number is not None:
        return number
    match node:
        case ast.Constant(value=None):
            return None
        case ast.List(elts=items) | ast.Tuple(elts=items):
            numbers = [number_of(item) for item in items]
            if None not in numbers:
                return numbers
        case _:
            pass
    raise wrong(node, text, f"{_WHAT}: constants are numbers, or lists of them, one for each channel")


def _made(name: str, positional: list[Any], keywords: dict[Any, Any]) -> Step:
    if name not in NAMED:
        raise ValueError(f"{_WHAT}: unknown name {shown(name)}; {nearest(name, NAMED)}, or give module:function")
    known = [each.name for each in fields(NAMED[name])]
    if len(positional) > len(known):
        raise ValueError(f"{_WHAT}: {name} takes {', '.join(known)}, got {len(positional)} constants")
    given = dict(zip(known, positional, strict=False))
    for key, value in keywords.items():
        if key not in known:
            raise ValueError(f"{_WHAT}: {name} has no {key!r}; {nearest(str(key), known)}")
        if key in given:
            raise ValueError(f"{_WHAT}: {name} got {key!r} twice")
        given[key] = value
    if name == "scale" and "factor" not in given:
        raise ValueError(f"{_WHAT}: scale needs a factor, as in scale(0.0001)")
    return NAMED[name](**given)


def _example(name: Any) -> str:
    known = fields(NAMED[name]) if name in NAMED else fields(Scale)
    return f"{{{name}: {{{known[0].name}: 1}}}}"
