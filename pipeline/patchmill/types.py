"""Permissive in, exact out: what users may write, and what the rest of the package works with.

Everything here is called once, at the public edge; behind it pairs are tuples of ``int``, sizes are bytes, and words
are one of a known few.
"""

from __future__ import annotations

import operator
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, TypeAlias, cast, get_args

Edge: TypeAlias = Literal["drop", "pad", "shift"]
PadMode: TypeAlias = Literal["constant", "edge", "reflect", "symmetric"]
Layout: TypeAlias = Literal["patches", "canvas"]
Mode: TypeAlias = Literal["auto", "resume", "create", "overwrite", "append"]
PerAxis: TypeAlias = int | Sequence[int]
"""One integer for every spatial axis, or one for each, rows first."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a long call is: totals, not steps. What a caller's ``progress`` function is given.

    Parameters
    ----------
    done : int
        Patches, images or objects that are done; those of earlier, interrupted calls included.
    total : int
        How many there are in all.
    nbytes : int
        Raw bytes of pixels that this call has written; where it only reads, bytes as they are stored.
    shards, shards_total : int
        The same in shards; 0 of 0 where nothing is counted in them.

    Examples
    --------
    >>> Progress(43, 172, nbytes=8_454_144).fraction
    0.25
    """

    done: int
    total: int
    nbytes: int = 0
    shards: int = 0
    shards_total: int = 0

    @property
    def fraction(self) -> float:
        """Done of total, between 0 and 1; nothing to do is done."""
        return min(1.0, max(0.0, self.done / self.total)) if self.total else 1.0


Watch: TypeAlias = Callable[[Progress], object]
"""What a long call tells how far it is, from any thread, one at a time."""

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


MOST = 2**53
"""Of whatever is counted: products with what there is of it fit 64 bits, and a float holds it exactly."""


_SHOWN = 30
"""Characters that an error repeats of a text that says how much."""


def as_int(value: Any, name: str, *, least: int, most: int = MOST, unit: str = " of pixels") -> int:
    """`value` as an exact integer of at least `least` and at most `most`.

    Raises
    ------
    TypeError
        If `value` is not an integer (a bool and a float such as 2.0 are not).
    ValueError
        If it is smaller than `least`, or larger than `most`.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise TypeError(f"{name} must be a whole number{unit}, got {value!r} ({type(value).__name__})")
    if number < least:
        raise ValueError(f"{name} must be at least {least}, got {number}")
    if number > most:
        raise ValueError(f"{name} must be at most {most:,}, got a number of {number.bit_length()} bits")
    return number


def as_flag(value: Any, name: str) -> bool | None:
    """`value` where it is True, False or None.

    Raises
    ------
    TypeError
        If it is anything else: the text "no" would count as yes.
    """
    if value is None or isinstance(value, bool):
        return value
    raise TypeError(f"{name} must be True, False or None, got {value!r} ({type(value).__name__})")


def as_called(value: Any, name: str) -> Any:
    """`value` where it is None or can be called.

    Raises
    ------
    TypeError
        If it can't.
    """
    if value is not None and not callable(value):
        raise TypeError(f"{name} must be a function or None, got {value!r} ({type(value).__name__})")
    return value


def as_axes(value: Any, name: str, ndim: int, *, least: int = 1, unit: str = " of pixels") -> tuple[int, ...]:
    """One integer an axis, from one integer for all or a sequence of `ndim`.

    Raises
    ------
    TypeError, ValueError
        As `as_int`, and if the sequence has another length than `ndim`.
    """
    if not _is_sequence(value):
        return (as_int(value, name, least=least, unit=unit),) * ndim
    items = tuple(value)
    if len(items) != ndim:
        axes = "axis" if ndim == 1 else "axes"
        raise ValueError(
            f"{name} must have one number for each of the {ndim} spatial {axes}, got {len(items)}: {_shown(value)}"
        )
    return tuple(as_int(item, f"{name}[{axis}]", least=least, unit=unit) for axis, item in enumerate(items))


def as_shape(value: Any, name: str, *, least: int = 0) -> tuple[int, ...]:
    """A tuple of integers, one an axis; a single integer is a shape of one axis."""
    items = tuple(value) if _is_sequence(value) else (value,)
    if not items:
        raise ValueError(f"{name} must have at least one axis, got {_shown(value)}")
    return tuple(as_int(item, f"{name}[{axis}]", least=least) for axis, item in enumerate(items))


def as_word(value: Any, name: str, words: Any) -> Any:
    """`value` where it is one of the literal type `words`.

    Raises
    ------
    ValueError
        With the words that are allowed.
    """
    allowed = get_args(words)
    if not isinstance(value, str) or value not in allowed:
        listed = ", ".join(repr(word) for word in allowed)
        raise ValueError(f"{name} must be one of {listed}, got {value!r}")
    return value


def as_edge(value: Any) -> Edge:
    """`value` as a word for what happens at the border."""
    return cast(Edge, as_word(value, "edge", Edge))


def as_bytes(value: Any, name: str) -> int:
    """A number of bytes, from an integer or a text such as ``"512MiB"``, ``"4GB"``, ``"1.5 GiB"``.

    Raises
    ------
    ValueError
        If the text is not a size, or the size is not positive, or beyond `MOST`.
    """
    if isinstance(value, str):
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?i?)b?\s*", value.lower())
        if found is None or found[2] not in _UNITS:
            raise ValueError(f'{name} must be a size such as "512MiB" or "4GB", got {value!r}')
        size = float(found[1]) * _UNITS[found[2]]
        if size > MOST:
            given = value if len(value) <= _SHOWN else f"{value[:_SHOWN]}..."
            raise ValueError(f"{name} must be at most {shown_bytes(MOST)}, got {given!r}")
        value = int(size)
    return as_int(value, name, least=1, unit=" of bytes")


def counted(count: int, thing: str) -> str:
    """A number of things for people.

    Examples
    --------
    >>> counted(1, "shard"), counted(1200, "shard")
    ('1 shard', '1,200 shards')
    """
    return f"{count:,} {thing}{'s' * (count != 1)}"


def shown_bytes(count: float) -> str:
    """`count` bytes for people, in binary units: ``"1.5 GiB"``."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB", "PiB"):
        if abs(count) < 1024 or unit == "PiB":
            break
        count /= 1024
    return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"


def shown_megabytes(count: float) -> str:
    """`count` bytes for people who watch them flow, in decimal units: ``"1.50 GB"``, as rates are given.

    Examples
    --------
    >>> [shown_megabytes(count) for count in (0, 8_454_144, 1_500_000_000, 2.5e13)]
    ['0.0 MB', '8.5 MB', '1.50 GB', '25.00 TB']
    """
    for unit, size in (("TB", 1e12), ("GB", 1e9)):
        if count >= 0.9995 * size:
            return f"{count / size:,.2f} {unit}"
    return f"{count / 1e6:.1f} MB" if count < 1e8 else f"{count / 1e6:.0f} MB"


def shown_rate(per_second: float) -> str:
    """Bytes a second for people, always in millions, so that two can be compared at a glance.

    Examples
    --------
    >>> [shown_rate(rate) for rate in (20_000, 8_454_144, 1_234_567_890)]
    ['0.02 MB/s', '8.5 MB/s', '1,235 MB/s']
    """
    digits = 2 if per_second < 1e6 else 1 if per_second < 1e8 else 0
    return f"{per_second / 1e6:,.{digits}f} MB/s"


def shown_shape(shape: Iterable[int]) -> str:
    """Shape for people: ``"900 x 1600"``."""
    return " x ".join(str(n) for n in shape)


def shown_extent(sizes: Iterable[Sequence[int]]) -> str:
    """Heights and widths of at least one image for people, from the least to the greatest of each.

    Examples
    --------
    >>> shown_extent([(300, 451), (300, 451)]), shown_extent([(333, 257), (199, 523)])
    ('300 x 451 pixels', 'height 199 to 333, width 257 to 523 pixels')
    """
    heights, widths = (sorted(set(lengths)) for lengths in zip(*sizes, strict=True))
    if len(heights) == len(widths) == 1:
        return f"{heights[0]} x {widths[0]} pixels"
    height, width = (" to ".join(map(str, dict.fromkeys((each[0], each[-1])))) for each in (heights, widths))
    return f"height {height}, width {width} pixels"


def shown_value(value: Any) -> str:
    """A parameter's value for people: text as it is, the rest as Python writes it.

    Examples
    --------
    >>> shown_value("drop"), shown_value([256, 256]), shown_value(None)
    ('drop', '[256, 256]', 'None')
    """
    return value if isinstance(value, str) else repr(value)


def _is_sequence(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str | bytes) and getattr(value, "ndim", 1) > 0


def _shown(value: Any) -> str:
    return repr(value if isinstance(value, list | tuple) else list(value))


def loaded_later(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """A package's ``__getattr__``, which loads a name from its module when it is first used.

    Parameters
    ----------
    package : str
        Its ``__name__``.
    homes : mapping
        Name to the module in which it lives.
    """

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(homes[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return load
