"""How large a config may be, once aliases are written out and references are followed.

A few lines can stand for more than any machine holds, where each takes the one before twice::

    a: x
    b: ${a}${a}
    c: ${b}${b}          line n is 2 ** n texts

So it is counted what a value would become, each one once, before anything becomes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

import yaml

Keys: TypeAlias = tuple[str, ...]

MOST_NODES = 100_000
"""Keys and values of a config, aliases written out: about ten thousand stages, which take a minute to read."""

MOST_FOLLOWED = 100_000
"""References that are followed for a whole config, each of which takes about half a millisecond."""

LONGEST_NUMBER = 1000
"""Characters of a number; Python itself refuses to read or to show one of more than 4,300 digits."""

_TEXT = 1000
"""Characters that a reference may bring in for nothing; so many more count as another one."""

_LONGEST_KEY = 100
"""Characters of a text that may be a part of a key: as many as the name of a stage."""

_NUMBERS = {"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"}

_INNERMOST = re.compile(r"\$\{([^{}]*)\}")

_LOOKUP = re.compile(r"oc\.(?:select|dict\.keys|dict\.values)\s*:\s*['\"]?([^,'\"]*)")
"""Resolvers that are given a key, and take what is there."""


def expanded(node: yaml.Node) -> int:
    """Keys and values below a node of YAML and the node itself, aliases written out.

    Examples
    --------
    >>> expanded(yaml.compose("{a: &a [1, 2], b: [*a, *a]}"))
    13
    """
    known: dict[int, int] = {}

    def count(one: yaml.Node) -> int:
        if id(one) not in known:
            known[id(one)] = 0  # of a node that holds itself, which OmegaConf refuses
            known[id(one)] = 1 + sum(count(each) for each in _below(one))
        return known[id(one)]

    return count(node)


def wrong_numbers(node: yaml.Node | None) -> list[tuple[Keys, str]]:
    """Keys of numbers that nobody means, and what is wrong with each; each node of YAML is looked at once.

    Examples
    --------
    >>> wrong_numbers(yaml.compose("{a: 1, b: [2, 1" + 1000 * "0" + "]}"))
    [(('b', '1'), 'is a number of more than 1,000 characters: put it in quotes if it is a text')]
    >>> wrong_numbers(yaml.compose("limit: 10:00"))
    [(('limit',), 'is a number to the base of 60 with a colon in it: put it in quotes, or write a span of time as 10h')]
    """
    seen: set[int] = set()

    def found(one: yaml.Node, keys: Keys) -> Iterator[tuple[Keys, str]]:
        if id(one) in seen:
            return
        seen.add(id(one))
        if isinstance(one, yaml.ScalarNode) and one.tag in _NUMBERS and (wrong := _wrong(one.value)):
            yield keys, wrong
        if isinstance(one, yaml.MappingNode):
            for key, value in one.value:
                yield from found(key, keys)
                yield from found(value, (*keys, str(key.value)))
        if isinstance(one, yaml.SequenceNode):
            for index, value in enumerate(one.value):
                yield from found(value, (*keys, str(index)))

    return [] if node is None else list(found(node, ()))


def _wrong(number: str) -> str:
    """What is wrong with a number as it is written; nothing where it may be meant."""
    if len(number) > LONGEST_NUMBER:
        return f"is a number of more than {LONGEST_NUMBER:,} characters: put it in quotes if it is a text"
    if ":" in number:
        return "is a number to the base of 60 with a colon in it: put it in quotes, or write a span of time as 10h"
    return ""


def followed(raw: Any) -> tuple[int, Keys]:
    """How many references are followed when a config is interpolated, and the keys of the value that takes the most.

    Parameters
    ----------
    raw : dict
        The config as it is written.

    Raises
    ------
    RecursionError
        If one leads to another one for longer than OmegaConf would follow.

    Examples
    --------
    >>> followed({"a": "x", "b": "${a}${a}", "c": ["${b}", "${.0}"], "d": "${b}"})
    (12, ('c', '1'))
    """
    tree = _by_name(raw)
    known: dict[Keys, int] = {}

    def cost(keys: Keys, value: Any) -> int:
        if keys not in known:
            known[keys] = 0  # in a circle, which OmegaConf refuses
            if isinstance(value, str):
                known[keys] = sum(1 + brought(*_at(tree, target)) for target in _targets(tree, keys, value))
            elif isinstance(value, dict):
                known[keys] = sum(cost((*keys, key), inner) for key, inner in value.items())
        return known[keys]

    def brought(keys: Keys, value: Any) -> int:
        return cost(keys, value) + (len(value) // _TEXT if isinstance(value, str) else 0)

    total = cost((), tree)
    texts = (keys for keys in known if isinstance(_at(tree, keys)[1], str))
    return total, max(texts, key=lambda keys: known[keys], default=())


def _targets(tree: Any, keys: Keys, text: str) -> Iterator[Keys]:
    """What a text at `keys` refers to, from the inside to the outside."""

    def plain(found: re.Match[str]) -> str:
        # Where a reference is a part of a key, what it stands for tells the whole key.
        inner = _at(tree, _target(keys, found[1]))[1]
        return re.sub(r"[${}]", "", inner) if isinstance(inner, str) and len(inner) <= _LONGEST_KEY else ""

    while _INNERMOST.search(text):
        yield from filter(None, (_target(keys, inner) for inner in _INNERMOST.findall(text)))
        text = _INNERMOST.sub(plain, text)


def _target(keys: Keys, inner: str) -> Keys:
    """The keys that ``${inner}`` names; none where it asks for something else than a value of the config."""
    lookup = _LOOKUP.match(inner.strip())
    name = lookup[1].strip() if lookup else inner.strip()
    if ":" in name:
        return ()
    dots = len(name) - len(name.lstrip("."))
    return (*(keys[: max(len(keys) - dots, 0)] if dots else ()), *re.findall(r"[^.\[\]\s]+", name))


def _at(tree: Any, keys: Keys) -> tuple[Keys, Any]:
    """What lies at some keys, and where: on the way there at a text, of which that is a part, or nothing."""
    found: Keys = ()
    value = tree
    for key in keys:
        if isinstance(value, str):
            break
        value = value.get(key) if isinstance(value, dict) else None
        found = (*found, key)
    return found, value


def _by_name(value: Any) -> Any:
    """The same with texts for keys, those of lists too."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {str(key): _by_name(inner) for key, inner in items}
    return value


def _below(node: yaml.Node) -> Iterable[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [each for pair in node.value for each in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []
