"""Functions of users: found by name, told apart by a fingerprint, carried to other processes, called with care."""

from __future__ import annotations

import dis
import functools
import hashlib
import inspect
import json
import math
import re
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from patchmill.errors import PatchmillError
from patchmill.expressions import nearest

Array = NDArray[Any]
Patches: TypeAlias = Array | Mapping[str, Array]
"""Patches, shape (n, channel, y, x); by variable where there are several."""

_NAMED = re.compile(r"\s*([A-Za-z_][\w.]*):([A-Za-z_][\w.]*)\s*")


@dataclass(frozen=True, slots=True)
class Function:
    """A function of patches that a user gave; equal to another one with the same fingerprint.

    Parameters
    ----------
    call : callable
    name : str
        ``module:qualname``, for errors.
    identity : str
        The fingerprint, as JSON.
    pointwise : bool
        Whether it says of itself, by an attribute of that name, that each pixel is treated alone.
    """

    call: Callable[..., Any] = field(compare=False, repr=False)
    name: str
    identity: str = field(repr=False)
    pointwise: bool

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What the function is, as plain JSON; see the function `fingerprint`."""
        found: dict[str, Any] = json.loads(self.identity)
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        """By cloudpickle, which knows lambdas and functions of a notebook; the fingerprint stays that of the origin."""
        import cloudpickle

        return _unpickled, (cloudpickle.dumps(self.call), self.name, self.identity, self.pointwise)

    def __call__(self, patches: Patches) -> Any:
        """What the function returns for a copy of its own: contiguous, so that strides can't change a sum.

        Raises
        ------
        PatchmillError
            If the function raises anything.
        """
        mine = {name: _copy(each) for name, each in patches.items()} if isinstance(patches, Mapping) else _copy(patches)
        try:
            return self.call(mine)
        except Exception as error:
            raise PatchmillError(f"{self.name} failed: {type(error).__name__}: {error}") from error


def _copy(patches: Array) -> Array:
    return np.array(patches, order="C", copy=True)


def _unpickled(pickled: bytes, name: str, identity: str, pointwise: bool) -> Function:  # noqa: FBT001
    import cloudpickle

    return Function(cloudpickle.loads(pickled), name, identity, pointwise)


def names_a_function(text: str) -> bool:
    """Whether `text` has the form ``module:function``."""
    return _NAMED.fullmatch(text) is not None


def as_function(value: str | Callable[..., Any], what: str) -> Function:
    """`value` as a function, imported if it is named.

    Parameters
    ----------
    value : str or callable
        ``module:function``, or the function.
    what : str
        Name of the argument, for errors.

    Raises
    ------
    ValueError
        If the name can't be imported, or is not callable.

    Examples
    --------
    >>> as_function("numpy:sqrt", "transform")
    Function(name='numpy:sqrt', pointwise=False)
    >>> as_function("numpy:squirt", "transform")
    Traceback (most recent call last):
    ValueError: transform 'numpy:squirt': module 'numpy' has no 'squirt'; did you mean 'sqrt'? There are ...
    """
    function = _imported(value, what) if isinstance(value, str) else value
    if not callable(function):
        raise ValueError(f"{what} {value!r} is not callable ({type(function).__name__})")
    identity = json.dumps(fingerprint(function), sort_keys=True)
    return Function(function, _name(function), identity, _is_pointwise(function))


def _imported(text: str, what: str) -> Any:
    found = _NAMED.fullmatch(text)
    if found is None:
        raise ValueError(f"{what} must name a function as module:function, got {text!r}")
    module, path = found.groups()
    try:
        value: Any = import_module(module)
    except Exception as error:
        raise ValueError(
            f"{what} {text!r}: module {module!r} can't be imported ({type(error).__name__}: {error}); "
            "install it, or put its folder on PYTHONPATH"
        ) from error
    for part in path.split("."):
        if not hasattr(value, part):
            public = [name for name in dir(value) if not name.startswith("_")]
            raise ValueError(f"{what} {text!r}: module {module!r} has no {path!r}; {nearest(part, public)}")
        value = getattr(value, part)
    return value


def _is_pointwise(function: Any) -> bool:
    if isinstance(function, functools.partial) and not hasattr(function, "pointwise"):
        return _is_pointwise(function.func)
    return getattr(function, "pointwise", False) is True


def _name(function: Any) -> str:
    if isinstance(function, functools.partial):
        return f"partial of {_name(function.func)}"
    named = function if hasattr(function, "__name__") else type(function)
    return f"{getattr(named, '__module__', None) or _home(named)}:{getattr(named, '__qualname__', named.__name__)}"


def _home(function: Any) -> str:
    """A module that has what does not know where it comes from, such as a ufunc."""
    home = "numpy" if isinstance(function, np.ufunc) else "builtins"
    return home if hasattr(sys.modules[home], function.__name__) else "unknown"


# -- fingerprints ------------------------------------------------------------------------------------------------------


def fingerprint(function: Callable[..., Any]) -> dict[str, Any]:
    """What a function is, as plain JSON, the same in every process and on every machine.

    It sees a function's module and name, the SHA-256 of its source text, defaults, closures, arguments of a partial,
    the attributes of a callable object, and what the function reads from the globals of its module, as far as these are
    plain data: numbers, texts, arrays, and lists and mappings of them. Without source text it sees the bytecode, which
    belongs to one minor version of Python; of a lambda, whose lines may hold another one, both.

    It does not see what the function calls: other functions, whether of the same module or of a library, and the
    versions of libraries; nor files that it reads, nor the weights of a network that an object holds. When one of these
    changes, cut anew with ``mode="overwrite"``.

    Examples
    --------
    >>> sorted(fingerprint(lambda patches, by=2: patches / by))
    ['bytecode', 'defaults', 'function', 'source']
    """
    found = _described(function, whole=True, outer=())
    return found if isinstance(found, dict) else {"value": found}


def _described(value: Any, *, whole: bool, outer: tuple[int, ...]) -> Any:
    """`value` as JSON; of what is not plain data, its type, and with `whole` its attributes.

    `outer` are the things that it was found in, so that what holds itself ends.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if id(value) in outer or len(outer) > 20:
        return {"again": len(outer)}
    inner = functools.partial(_described, whole=False, outer=(*outer, id(value)))
    if isinstance(value, float | complex | bytes | bytearray | np.ndarray | np.generic | np.dtype):
        return _leaf(value, inner)
    if type(value) in {list, tuple, set, frozenset, dict}:
        return _collection(value, inner)
    return _code_of(value, inner, functools.partial(inner, whole=whole), whole=whole)


def _leaf(value: Any, inner: Callable[[Any], Any]) -> Any:
    if isinstance(value, np.dtype):
        return {"dtype": value.str}
    if isinstance(value, np.ndarray | np.generic):  # first, since NumPy's float64 is a float
        if value.dtype.hasobject:
            return {"array": inner(value.tolist())}
        return {"array": [value.dtype.str, list(value.shape), _sha(np.asarray(value).tobytes())]}
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": str(value)}
    return {"complex": str(value)} if isinstance(value, complex) else {"bytes": _sha(bytes(value))}


def _collection(value: Any, inner: Callable[[Any], Any]) -> Any:
    if isinstance(value, list | tuple):
        return [inner(each) for each in value]
    if isinstance(value, dict):
        return {"mapping": sorted(([inner(key), inner(each)] for key, each in value.items()), key=_as_text)}
    return {"set": sorted((inner(each) for each in value), key=_as_text)}


def _code_of(value: Any, inner: Callable[[Any], Any], owner: Callable[[Any], Any], *, whole: bool) -> dict[str, Any]:
    if isinstance(value, functools.partial):
        return {"partial": owner(value.func), "arguments": inner(value.args), "keywords": inner(value.keywords)}
    if isinstance(value, types.MethodType):
        return {"method": inner(value.__func__), "of": owner(value.__self__)}
    if isinstance(value, types.FunctionType):
        return _function(value, inner)
    return _object(value, inner, whole=whole)


def _function(function: types.FunctionType, inner: Callable[[Any], Any]) -> dict[str, Any]:
    code = function.__code__
    source = _source(code)
    read = {name: function.__globals__[name] for name in _globals(code) if name in function.__globals__}
    closure = dict(zip(code.co_freevars, map(_cell, function.__closure__ or ()), strict=True))
    parts = {
        "source": source,
        "bytecode": _bytecode(code) if source is None or function.__name__ == "<lambda>" else None,
        "defaults": inner(function.__defaults__),
        "keywords": inner(function.__kwdefaults__),
        "closure": {name: inner(value) for name, value in closure.items()},
        "globals": {name: inner(value) for name, value in sorted(read.items()) if _is_plain(value)},
    }
    return {"function": _name(function)} | {key: part for key, part in parts.items() if part}


def _object(value: Any, inner: Callable[[Any], Any], *, whole: bool) -> dict[str, Any]:
    if isinstance(value, type):
        return {"class": _name(value), "source": _source(value)}
    if isinstance(value, types.ModuleType):
        return {"module": value.__name__}
    if isinstance(value, types.BuiltinFunctionType | np.ufunc):
        return {"function": _name(value)}
    parts: dict[str, Any] = {}
    if hasattr(value, "__wrapped__"):  # what functools.lru_cache and the like leave of a function
        parts["wrapped"] = inner(value.__wrapped__)
    elif whole:
        slots = [name for each in type(value).__mro__ for name in _names(getattr(each, "__slots__", ()))]
        held = {name: getattr(value, name) for name in slots if hasattr(value, name) and not name.startswith("__")}
        state = held | getattr(value, "__dict__", {})
        call = inspect.getattr_static(type(value), "__call__", None)
        parts = {
            "call": _function(call, inner) if isinstance(call, types.FunctionType) else None,
            "classes": {_name(each): _class(each) for each in _own_bases(type(value))},
            "state": {name: inner(state[name]) for name in sorted(state)},
        }
        parts = {key: part for key, part in parts.items() if part or key == "state"}
    return {"object": _name(type(value))} | parts


def _own_bases(cls: type) -> list[type]:
    """A class and those of its bases that are of the same package: a library's are told by its name."""
    package = cls.__module__.partition(".")[0]
    return [each for each in cls.__mro__ if each.__module__.partition(".")[0] == package]


def _class(cls: type) -> Any:
    """What a class does: its source, or where there is none, as in a notebook, its methods."""
    source = _source(cls)
    if source is not None:
        return source
    methods = {name: getattr(member, "__func__", member) for name, member in vars(cls).items()}
    return {name: _bytecode(each.__code__) for name, each in methods.items() if isinstance(each, types.FunctionType)}


def _names(slots: str | Sequence[str]) -> Sequence[str]:
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _is_plain(value: Any) -> bool:
    """Whether `value` is data, and not code that only carries some."""
    if isinstance(value, list | tuple | set | frozenset):
        return all(_is_plain(each) for each in value)
    if isinstance(value, Mapping):
        return all(_is_plain(each) for pair in value.items() for each in pair)
    return value is None or isinstance(value, bool | int | float | complex | str | bytes | np.ndarray | np.generic)


def _source(thing: Any) -> str | None:
    try:
        return _sha(inspect.getsource(thing).strip().encode())
    except (OSError, TypeError):
        return None


def _bytecode(code: types.CodeType) -> str:
    return _sha(_as_text(_code(code)).encode())


def _code(code: types.CodeType) -> list[Any]:
    constants = [
        _code(each) if isinstance(each, types.CodeType) else _described(each, whole=False, outer=())
        for each in code.co_consts
    ]
    names = [code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars]
    return [code.co_code.hex(), constants, [list(each) for each in names], code.co_flags]


def _globals(code: types.CodeType) -> set[str]:
    """Names that a code reads from its module, inner functions included."""
    read = {each.argval for each in dis.get_instructions(code) if each.opname in {"LOAD_GLOBAL", "LOAD_NAME"}}
    return read.union(*(_globals(each) for each in code.co_consts if isinstance(each, types.CodeType)))


def _cell(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None


def _as_text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
