"""Texts of users that look like Python, read by Python's parser and never evaluated.

`parse` gives the tree; whoever walks it takes the few kinds of node that he knows and refuses all others by `wrong`.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterable
from typing import TypeAlias

Number: TypeAlias = int | float

LONGEST, DEEPEST = 20_000, 100


def parse(text: str, what: str) -> ast.expr:
    """The tree of one expression, not deeper than the walkers' recursion can go.

    Raises
    ------
    ValueError
        If `text` is no expression; `what` says what it should have been.
    """
    flat = re.sub(r"[\r\n\t\f\v]", " ", text).strip()  # YAML folds long texts over lines
    if not flat or len(flat) > LONGEST:
        length = f"a text of {len(flat)} characters" if flat else "an empty text"
        raise ValueError(f"{what} must be an expression of 1 to {LONGEST} characters, got {length}")
    doubtful = _doubtful(flat)
    if doubtful is not None:
        why, at = doubtful
        raise ValueError(f"{what} can't be read: {why}, character {at + 1} of {shown(flat)}")
    try:
        tree = ast.parse(flat, mode="eval").body
    except SyntaxError as error:
        turned = _TURNED.search(_STRING.sub(lambda found: " " * len(found[0]), flat))
        if turned is not None:
            why, at = f"write {turned[0][::-1]} for {turned[0]}", turned.start() + 1
        else:
            why, at = error.msg, error.offset or len(flat) + 1
        raise ValueError(f"{what} can't be read: {why}, character {at} of {shown(flat)}") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"{what} can't be read: {shown(flat)} ({error})") from None
    if _depth(tree) > DEEPEST:
        raise ValueError(f"{what} is nested more than {DEEPEST} levels deep: {shown(flat)}")
    return tree


def wrong(node: ast.expr, text: str, why: str) -> ValueError:
    """An error that points at the place of `node`: ``WHY: 'bands' (character 5 of 'any(bands > 3)')``."""
    flat = re.sub(r"[\r\n\t\f\v]", " ", text).strip()
    before = flat.encode()[: node.col_offset].decode(errors="replace")  # the parser counts bytes
    part = ast.get_source_segment(flat, node) or ""
    return ValueError(f"{why}: {shown(part)} (character {len(before) + 1} of {shown(flat)})")


def number_of(node: ast.expr) -> Number | None:
    """The finite number that `node` is, with its sign; None where it is anything else."""
    match node:
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            value = number_of(operand)
            return None if value is None else -value
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return value if _is_finite(value) else None
    return None


def nearest(name: str, names: Iterable[str]) -> str:
    """For an error, behind a semicolon: ``did you mean 'mean'? There are 'max', 'mean'``, or only what there is."""
    names = sorted(names)
    close = difflib.get_close_matches(name, names, n=1)
    listed = ", ".join(repr(each) for each in names[:30]) + (f" and {len(names) - 30} more" if len(names) > 30 else "")
    return (f"did you mean {close[0]!r}? There" if close else "there") + f" are {listed or 'none'}"


def shown(text: str) -> str:
    """`text` in quotes, cut where it is long."""
    return repr(text if len(text) <= 200 else text[:197] + "...")


_STRING = re.compile(
    r"""(?P<prefix>\b[a-zA-Z]{1,2})?(?:\"{3}(?:\\.|[^\\])*?\"{3}|'{3}(?:\\.|[^\\])*?'{3}|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')"""
)
_TURNED = re.compile("=>|=<|=!")
"""Comparisons the wrong way round."""
_ESCAPE = re.compile(r"\\(?:[4-7][0-7]{2}|(?P<known>[\\'\"abfnrtv0-7xuUN])|.)")
_PREFIXES = frozenset({"b", "f", "t", "br", "rb", "fr", "rf", "tr", "rt"})
_DIGITS = "[0-9](?:_?[0-9])*"
_NUMBER = re.compile(
    rf"0[xX](?:_?[0-9a-fA-F])+|0[bB](?:_?[01])+|0[oO](?:_?[0-7])+"
    rf"|(?:{_DIGITS}\.?(?:{_DIGITS})?|\.{_DIGITS})(?:[eE][+-]?{_DIGITS})?[jJ]?"
)


def _doubtful(flat: str) -> tuple[str, int] | None:
    r"""What Python would only warn of, such as ``3and 4`` or ``"\d"``, and where; None where nothing is.

    Looked for here, since what makes a warning an error would do so for all threads of the process.
    """
    for found in _STRING.finditer(flat):
        prefix = (found["prefix"] or "").lower()
        if prefix in _PREFIXES:
            return f"a text takes no {prefix} before it", found.start()
        wrong_ones = () if prefix == "r" else _ESCAPE.finditer(flat, found.start(), found.end())
        for escape in wrong_ones:
            if escape["known"] is None:
                return f"invalid escape sequence {escape[0]}", escape.start()
    bare = _STRING.sub(lambda found: " " * len(found[0]), flat)
    if "#" in bare:
        return "it takes no comments, as its lines are read as one", bare.index("#")
    for begin in re.finditer(r"(?<![\w.])(?=\.?[0-9])", bare):
        number = _NUMBER.match(bare, begin.start())
        if number is None or re.match(r"[\w.]", bare[number.end() :]):
            return "invalid number", begin.start()
    return None


def _is_finite(value: Number) -> bool:
    try:
        return abs(float(value)) < float("inf")
    except OverflowError:
        return False


def _depth(tree: ast.expr) -> int:
    depth, level = 0, [tree]
    while level and depth <= DEEPEST:
        depth += 1
        level = [child for node in level for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
    return depth
