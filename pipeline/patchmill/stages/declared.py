"""What a notebook's `parameters` cell declares: names, types, defaults, help.

The cell holds typed literals, each with a one-line comment, as ``papermill --help-notebook`` reads them::

    source: str = "sample:"  # in: store to cut
    patch_shape: list[int] = [256, 256]  # pixels of one patch, (y, x)
    step: list[int] = None  # pixels between patches, (y, x); patch_shape where not given
    target: str = "temp:patches.zarr"  # out: where the patch set goes

A comment that begins with ``in:`` marks a path or URL that is read, ``out:`` one that is written, and one that begins
with ``one of`` and words in double quotes names all that a text may be (docs/decisions/0024)::

    layout: str = "patches"  # one of "patches", "canvas": each patch in full, or every pixel once
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal, TypeAlias

from patchmill.stages.places import SAMPLE, TEMPORARY

Way: TypeAlias = Literal["", "in", "out"]

TYPES = ("int", "float", "bool", "str", "list", "dict", "list[TYPE]", "dict[str, TYPE]")
"""What papermill's help can show, and a scheduler's text can be turned into."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """One parameter of a notebook."""

    name: str
    type: str
    """One of `TYPES`, or "" where anything is taken."""
    default: Any
    help: str
    way: Way
    """"in" for a path that is read, "out" for one that is written."""
    words: tuple[str, ...] = ()
    """All that a text may be; nothing where it may be any."""

    @property
    def optional(self) -> bool:
        """Whether "nothing" can be given: where the default is nothing, or a stand-in for it."""
        alone = self.default[0] if isinstance(self.default, list) and len(self.default) == 1 else self.default
        return alone is None or alone == "" or (bool(self.way) and str(alone).startswith((SAMPLE, TEMPORARY)))


def declarations(source: str) -> dict[str, Declaration]:
    """The parameters that the text of a `parameters` cell declares, by name and in order.

    Raises
    ------
    ValueError
        If the cell is no Python, a default is no literal or none of the words that the parameter may be, or a type is
        not one of `TYPES`.

    Examples
    --------
    >>> declared = declarations("step: list[int] = None  # pixels between patches")
    >>> declared["step"].type, declared["step"].default, declared["step"].help
    ('list[int]', None, 'pixels between patches')
    """
    try:
        comments = _comments(source)
        statements = ast.parse(source).body
    except (SyntaxError, tokenize.TokenError) as error:
        raise ValueError(f"the parameters cell is no Python: {error}") from error
    found = [_declaration(each, comments) for each in statements if isinstance(each, ast.Assign | ast.AnnAssign)]
    return {one.name: one for one in found if one is not None}


def split_history(cells: Sequence[str]) -> tuple[str | None, list[str]]:
    """The latest `parameters` cell of executed `cells`, and the names assigned right after it.

    A scheduler puts what it was given into a cell of plain assignments behind the declared ones. By hand there is no
    such cell, and other cells follow, which are not looked at.

    Examples
    --------
    >>> split_history(["1 + 1", "size: int = 3  # pixels", "size = 5", "print(size)", "other = 1"])
    ('size: int = 3  # pixels', ['size'])
    """
    parsed = [_parsed(cell) for cell in cells]
    at = next((i for i in reversed(range(len(cells))) if _declares(cells[i], parsed[i])), None)
    if at is None:
        return None, []
    names: list[str] = []
    for body in parsed[at + 1 :]:
        assigned = _assigned(body)
        if not assigned:
            break
        names += assigned
    return cells[at], names


def nearest(name: str, names: Iterable[str]) -> str:
    """A hint for a mistyped name, ready to be put behind a sentence, or nothing.

    Examples
    --------
    >>> nearest("patch_shap", ["step", "patch_shape"])
    '; did you mean patch_shape?'
    >>> nearest("zebra", ["step"])
    ''
    """
    close = get_close_matches(name, list(names), n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


def listed(words: Sequence[str]) -> str:
    """Words in double quotes, as a comment has them."""
    return ", ".join(f'"{word}"' for word in words)


def _declaration(statement: ast.Assign | ast.AnnAssign, comments: dict[int, str]) -> Declaration | None:
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    if len(targets) != 1 or not isinstance(targets[0], ast.Name) or statement.value is None:
        return None
    name = targets[0].id
    try:
        default = ast.literal_eval(statement.value)
    except ValueError:
        raise ValueError(
            f"the default of parameter {name} must be a literal, got {ast.unparse(statement.value)}"
        ) from None
    text = comments.get(statement.end_lineno or statement.lineno, "")
    written = re.match(r"type:\s*(\S+)\s*(.*)", text)
    kind, text = (written[1], written[2]) if written else (_inferred(default), text)
    if isinstance(statement, ast.AnnAssign):
        kind = _annotation(statement.annotation)
    if not _is_known(kind):
        raise ValueError(f"parameter {name} is declared as {kind}, but its type must be one of {', '.join(TYPES)}")
    way, text = _way(text)
    words = _words(text)
    if words and (kind != "str" or default not in (None, *words)):
        raise ValueError(f"parameter {name} must be a str, and its default one of {listed(words)}, got {default!r}")
    return Declaration(name, kind, default, text, way, words)


def _comments(source: str) -> dict[int, str]:
    # By the line they stand on; a comment on a line of its own belongs to nobody, and no statement ends there.
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {token.start[0]: token.string.lstrip("#").strip() for token in tokens if token.type == tokenize.COMMENT}


def _way(text: str) -> tuple[Way, str]:
    found = re.match(r"(in|out):\s*(.*)", text)
    if found is None:
        return "", text
    return ("in" if found[1] == "in" else "out"), found[2]


def _words(text: str) -> tuple[str, ...]:
    found = re.match(r'one of ("[^"]+"(?:(?:, |,? or |,? and )"[^"]+")+)', text)
    return tuple(re.findall(r'"([^"]+)"', found[1])) if found else ()


def _annotation(node: ast.expr) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return ast.unparse(node)


def _inferred(default: Any) -> str:
    if default is None:
        return ""
    if isinstance(default, list) and default and len({type(item) for item in default}) == 1:
        return f"list[{_inferred(default[0])}]"
    return type(default).__name__


def _is_known(kind: str) -> bool:
    if kind in {"", "int", "float", "bool", "str", "list", "dict"}:
        return True
    inner = re.fullmatch(r"(?:list\[|dict\[str, ?)(.+)\]", kind)
    return inner is not None and _is_known(inner[1])


def _parsed(cell: str) -> list[ast.stmt]:
    try:
        return ast.parse(cell).body
    except SyntaxError:
        return []


def _assigned(body: list[ast.stmt]) -> list[str]:
    # Names, if the cell does nothing but assign to names.
    targets = [
        target
        for statement in body
        for target in (statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)])
    ]
    plain = all(isinstance(statement, ast.Assign | ast.AnnAssign) for statement in body)
    names = [target.id for target in targets if isinstance(target, ast.Name)]
    return names if plain and len(names) == len(targets) else []


def _declares(cell: str, body: list[ast.stmt]) -> bool:
    told = [statement for statement in body if not _is_text(statement)]
    if not _assigned(told) or not all(_is_literal(getattr(statement, "value", None)) for statement in told):
        return False
    marked = (re.match(r'(type|in|out):|one of "', comment) for comment in _comments(cell).values())
    return any(isinstance(statement, ast.AnnAssign) for statement in told) or any(marked)


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _is_literal(node: ast.expr | None) -> bool:
    try:
        ast.literal_eval(node or "")
    except (ValueError, SyntaxError):
        return False
    return True
