"""Conditions on patches: ``"valid_fraction >= 0.9 and any(std > 2)"``.

The grammar is a small part of Python's, walked here node by node; nothing is ever evaluated by Python itself::

    condition   :=  comparison | condition and|or condition | not condition | any(condition) | all(condition)
    comparison  :=  value (< | <= | > | >= | == | !=) value ...
    value       :=  number | field | -value | value (+ | - | * | /) value
    field       :=  name | variable.name | "variable".name | field[0] | field["B02"]

How channels combine: a comparison of fields that are known for each channel holds where it holds in every channel.
Inside ``any(...)`` and ``all(...)`` channels stay apart until the end: ``any(mean > 10 and std > 2)`` asks for one
channel in which both hold.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from patchmill.expressions import nearest, number_of, parse, wrong

Array = NDArray[Any]
Channels: TypeAlias = Sequence[str] | Mapping[str, Sequence[str]] | None
"""Labels of the channels, for several variables by variable; None, or no entry, where there is no such axis."""

PER_CHANNEL = frozenset({"mean", "std", "min", "max"})

_Kind: TypeAlias = Literal["truth", "number", "text", "field"]

_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition that was read and checked; see `as_condition`.

    Parameters
    ----------
    text : str
        In one spelling for all that mean the same but for spaces and parentheses; also what a fingerprint takes.
    """

    text: str
    _tree: ast.expr = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Read and check the text."""
        tree = parse(self.text, "a condition")
        if _kind(tree, self.text) not in {"truth", "field"}:
            raise wrong(tree, self.text, "a condition must compare something, as in 'std > 2'")
        object.__setattr__(self, "text", ast.unparse(tree))
        object.__setattr__(self, "_tree", parse(self.text, "a condition"))

    def __reduce__(self) -> tuple[Any, ...]:
        """As its text."""
        return Condition, (self.text,)

    @property
    def names(self) -> tuple[str, ...]:
        """Fields that it needs, sorted: ``("mask.mean", "valid_fraction")``."""
        return tuple(sorted(_names(self._tree)))

    def on_lone(self, variable: str) -> Condition:
        """The same condition where `variable` is the only one: its fields are called without it.

        Examples
        --------
        >>> as_condition("image.std > 2 and valid_fraction > 0.5").on_lone("image")
        Condition(text='std > 2 and valid_fraction > 0.5')
        """
        return Condition(ast.unparse(_Bare(variable).visit(parse(self.text, "a condition"))))

    def __call__(self, fields: Mapping[str, Array], channels: Channels = None) -> NDArray[np.bool_]:
        """Where the condition holds.

        Fields without any patch, shape (0,) and (0, channel), check everything before there is data.

        Parameters
        ----------
        fields : mapping of str to ndarray, shape (...) or (..., channel)
            By name, ``<variable>.<field>`` where there are several variables. mean, std, min, max have a channel axis,
            the last one, where `channels` gives labels for their variable; everything else has none.
        channels : sequence of str, mapping of str to sequence of str, or None
            Labels of the channels; by variable where there are several.

        Returns
        -------
        ndarray of bool, shape (...)

        Raises
        ------
        ValueError
            If a name or a channel is unknown, or a field is of another kind than its use asks for; the text names the
            place and what there is.

        Examples
        --------
        >>> condition = as_condition('valid_fraction >= 0.9 and mean["B03"] > 10')
        >>> fields = {"valid_fraction": np.array([1, 0.9, 0.5]), "mean": np.array([[1, 11], [1, 9], [1, 11]])}
        >>> condition(fields, channels=["B02", "B03"])
        array([ True, False, False])
        """
        walker = _Walker(self.text, fields, channels)
        with np.errstate(all="ignore"):
            return walker.truth(self._tree, apart=False)[..., 0]


def as_condition(text: str | Condition) -> Condition:
    """`text` as a condition on fields of the catalog.

    A number is taken in the precision of what it is compared with, as NumPy does. A comparison with NaN never holds,
    ``!=`` included: what was not measured satisfies nothing but a ``not``. Fields that hold texts compare by ``==`` and
    ``!=`` with a text in quotes.

    Parameters
    ----------
    text : str or Condition
        Comparisons, also chained; ``and``, ``or``, ``not``; ``+ - * /`` and parentheses; ``mean[0]`` or
        ``mean["B02"]`` for one channel; ``mask.mean`` or ``"my mask".mean`` where there are several variables;
        ``any(...)`` and ``all(...)`` over channels.

    Returns
    -------
    Condition

    Raises
    ------
    ValueError
        If it is anything else; the text points at the place.

    Examples
    --------
    >>> as_condition("(valid_fraction>=.9)and any(std > 2)")
    Condition(text='valid_fraction >= 0.9 and any(std > 2)')
    >>> as_condition("2 < mean <= max - min").names
    ('max', 'mean', 'min')
    >>> as_condition("mean.__class__() > 3")
    Traceback (most recent call last):
    ValueError: a condition calls nothing but any(...) and all(...): 'mean.__class__()' (character 1 of ...
    """
    if isinstance(text, Condition):
        return text
    if not isinstance(text, str):
        raise TypeError(f"a condition must be a text such as 'valid_fraction >= 0.9', got {type(text).__name__}")
    return Condition(text)


# -- reading -----------------------------------------------------------------------------------------------------------


def _kind(node: ast.expr, text: str) -> _Kind:
    """What a node stands for; refuses what is not in the grammar. What a field holds is seen when it is there."""
    if isinstance(node, ast.Constant):
        if not isinstance(node.value, str) and number_of(node) is None:
            raise wrong(node, text, "a condition knows finite numbers and texts only")
        return "text" if isinstance(node.value, str) else "number"
    if isinstance(node, ast.Name | ast.Attribute | ast.Subscript):
        _check_field(node, text)
        return "field"
    if isinstance(node, ast.BinOp) or (isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub)):
        _check_arithmetic(node, text)
        return "number"
    _check_truth(node, text)
    return "truth"


def _check_field(node: ast.expr, text: str) -> None:
    if isinstance(node, ast.Subscript):
        _channel(node, text)
    elif _field_name(node) is None:
        raise wrong(node, text, "a field is a name, or variable.name")


def _check_arithmetic(node: ast.BinOp | ast.UnaryOp, text: str) -> None:
    if isinstance(node, ast.BinOp) and type(node.op) not in _ARITHMETIC:
        raise wrong(node, text, "a condition reckons by + - * / only")
    for each in (node.left, node.right) if isinstance(node, ast.BinOp) else (node.operand,):
        _expect(each, text, {"number", "field"}, "a number")


def _check_truth(node: ast.expr, text: str) -> None:
    match node:
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            parts = [operand]
        case ast.BoolOp(values=parts):
            pass
        case ast.Call():
            parts = [_reduced(node, text)]
        case ast.Compare():
            _check_comparison(node, text)
            return
        case _:
            raise wrong(node, text, "a condition knows comparisons, and, or, not, + - * /, any(...), all(...) only")
    for part in parts:
        _expect(part, text, {"truth", "field"}, "a comparison")


def _expect(node: ast.expr, text: str, kinds: set[_Kind], wanted: str) -> None:
    if _kind(node, text) not in kinds:
        raise wrong(node, text, f"here must stand {wanted}")


def _check_comparison(node: ast.Compare, text: str) -> None:
    operands = [node.left, *node.comparators]
    kinds = {_kind(each, text) for each in operands}
    for op in node.ops:
        if type(op) not in _COMPARISONS:
            raise wrong(node, text, "a condition compares by < <= > >= == != only")
        if "text" in kinds and not isinstance(op, ast.Eq | ast.NotEq):
            raise wrong(node, text, "texts compare by == and != only")
    if kinds <= {"text", "number"} and not any(_field_name(each) for each in ast.walk(node)):
        raise wrong(node, text, "a comparison must name a field, as in 'valid_fraction >= 0.9'")
    if "truth" in kinds or {"text", "number"} <= kinds:
        raise wrong(node, text, "only numbers compare with numbers, and texts with fields that hold texts")


def _reduced(node: ast.Call, text: str) -> ast.expr:
    """What stands inside ``any(...)`` or ``all(...)``."""
    if not isinstance(node.func, ast.Name) or node.func.id not in {"any", "all"}:
        raise wrong(node, text, "a condition calls nothing but any(...) and all(...)")
    if len(node.args) != 1 or node.keywords:
        raise wrong(node, text, f"{node.func.id}(...) takes one condition")
    return node.args[0]


def _field_name(node: ast.AST) -> str | None:
    match node:
        case ast.Name(id=name) if name not in {"any", "all"}:
            return name
        case ast.Attribute(value=ast.Name(id=variable), attr=name):
            return f"{variable}.{name}"
        case ast.Attribute(value=ast.Constant(value=str() as variable), attr=name):
            return f"{variable}.{name}"
        case _:
            return None


def _names(node: ast.AST) -> set[str]:
    found = _field_name(node)
    if found is not None:
        return {found}  # and not the variable inside
    return set[str]().union(*(_names(child) for child in ast.iter_child_nodes(node)))


class _Bare(ast.NodeTransformer):
    """Takes a variable off the names of its fields."""

    def __init__(self, variable: str) -> None:
        self.variable = variable

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        """``image.std`` as ``std``."""
        own = _field_name(node) == f"{self.variable}.{node.attr}"
        return ast.Name(node.attr, ast.Load()) if own else node


def _channel(node: ast.Subscript, text: str) -> int | str:
    if _field_name(node.value) is None:
        raise wrong(node, text, "only a field has channels")
    match node.slice:
        case ast.Constant(value=str() as label):
            return label
        case ast.Constant(value=int() as number) if not isinstance(number, bool):
            return number
        case _:
            pass
    raise wrong(node.slice, text, "a channel is chosen by its number, from 0, or by its label in quotes")


# -- answering ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Walker:
    """Answers for given fields. All its arrays have the channel axis, last, of length 1 where there are none."""

    text: str
    fields: Mapping[str, Array]
    channels: Channels

    def truth(self, node: ast.expr, *, apart: bool) -> NDArray[np.bool_]:
        """Where `node` holds; by channel if they are kept `apart`."""
        match node:
            case ast.UnaryOp(operand=operand):
                return ~self.truth(operand, apart=apart)
            case ast.BoolOp(op=op, values=values):
                combine = np.logical_and if isinstance(op, ast.And) else np.logical_or
                found = self.truth(values[0], apart=apart)
                for value in values[1:]:
                    found = combine(found, self.fitting(found, self.truth(value, apart=apart), value))
                return found
            case ast.Call(func=ast.Name(id=name)):
                found = self.truth(_reduced(node, self.text), apart=True)
                return np.asarray((np.any if name == "any" else np.all)(found, axis=-1, keepdims=True))
            case ast.Compare():
                found = self.compared(node)
            case _:
                found = self.field(node)
                if found.dtype != bool:
                    raise wrong(node, self.text, "this is no truth but a value; compare it, as in 'std > 2'")
        return found if apart else np.asarray(found.all(axis=-1, keepdims=True))

    def compared(self, node: ast.Compare) -> NDArray[np.bool_]:
        nodes = [node.left, *node.comparators]
        values = [self.value(each) for each in nodes]
        found: Any = np.True_
        for at, op in enumerate(node.ops):
            left, right = values[at], self.fitting(values[at], values[at + 1], nodes[at + 1])
            if isinstance(left, np.ndarray | float | int) != isinstance(right, np.ndarray | float | int):
                raise wrong(nodes[at], self.text, "a text compares only with a field that holds texts")
            holds = _COMPARISONS[type(op)](left, right) & (left == left) & (right == right)
            found = found & self.fitting(found, holds, nodes[at + 1])
        return np.asarray(found)

    def value(self, node: ast.expr) -> Any:
        """A number, a text, or an array."""
        number = number_of(node)
        if number is not None:
            return float(number)
        match node:
            case ast.Constant(value=value):
                return _Text(np.asarray(value))
            case ast.UnaryOp(operand=operand):
                return -self.number(operand)
            case ast.BinOp(left=left, op=op, right=right):
                first, second = self.number(left), self.number(right)
                # NumPy's division, which does not raise: 0 / 0 is NaN and holds nowhere.
                first = np.float64(first) if isinstance(first, float) and isinstance(second, float) else first
                found = _ARITHMETIC[type(op)](first, self.fitting(first, second, right))
                # A number by itself stays Python's, which takes the precision of what it meets.
                return float(found) if isinstance(found, float) else found
            case _:
                pass
        found = self.field(node)
        if found.dtype.kind in "UTO":
            return _Text(found)
        # Integers become float64, so that no sum wraps; float32 stays, since the catalog rounds by it.
        return found if found.dtype.kind == "f" else found.astype(np.float64)

    def number(self, node: ast.expr) -> Any:
        value = self.value(node)
        if isinstance(value, _Text):
            raise wrong(node, self.text, "this holds texts; with == and != they compare, but they don't add up")
        return value

    def field(self, node: ast.expr) -> Array:
        """Values, shape (..., channel)."""
        named = node.value if isinstance(node, ast.Subscript) else node
        name = _field_name(named)
        if name is None or name not in self.fields:
            raise wrong(named, self.text, f"unknown name; {nearest(str(name), self.fields)}")
        values, labels = np.asarray(self.fields[name]), self.labels(name)
        values = values if labels is not None else values[..., None]
        if not isinstance(node, ast.Subscript):
            return values
        if labels is None:
            raise wrong(node, self.text, f"{name!r} has no channels")
        at = _channel(node, self.text)
        if isinstance(at, str):
            if labels.count(at) != 1:
                why = f"{labels.count(at)} channels are called so" if at in labels else nearest(at, labels)
                raise wrong(node.slice, self.text, f"unknown channel; {why}")
            at = labels.index(at)
        if at >= len(labels):
            raise wrong(node.slice, self.text, f"unknown channel; {name!r} has {len(labels)}, counted from 0")
        return values[..., at : at + 1]

    def labels(self, name: str) -> list[str] | None:
        variable, _, statistic = name.rpartition(".")
        if statistic not in PER_CHANNEL or self.channels is None:
            return None
        labels = self.channels.get(variable) if isinstance(self.channels, Mapping) else self.channels
        return None if labels is None else [str(label) for label in labels]

    def fitting(self, left: Any, right: Any, node: ast.expr) -> Any:
        """`right`, if its channels can be taken together with those of `left`."""
        numbers = {value.shape[-1] for value in (left, right) if isinstance(value, np.ndarray) and value.ndim} - {1}
        if len(numbers) > 1:
            apart = " and ".join(str(n) for n in sorted(numbers))
            raise wrong(node, self.text, f"fields of {apart} channels can't be taken together; choose one by [...]")
        return right


@dataclass(frozen=True, slots=True, eq=False)
class _Text:
    """Texts, which compare with texts only."""

    values: Array

    def __eq__(self, other: object) -> Any:
        return self.values == other.values if isinstance(other, _Text) else NotImplemented

    def __ne__(self, other: object) -> Any:
        return self.values != other.values if isinstance(other, _Text) else NotImplemented

    __hash__ = None  # type: ignore[assignment]
