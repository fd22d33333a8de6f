"""A parser whose options stand before places or behind them, and which says in one sentence what is wrong.

argparse alone takes all words behind an option of several values, the place to cut as well, and prints its whole usage
above an error.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, NoReturn

from patchmill.stages.declared import nearest

_PLACE = re.compile(
    r"[/\\]|\.(zarr|nc4?|h5|hdf5?|he5|tiff?|jp2|jpe?g|png|webp|bmp|gif|p[bgnp]m|np[yz])$", re.IGNORECASE
)
"""What no name of a variable or channel looks like."""

_NEGATIVE = re.compile(r"-\.?\d")


@dataclass(frozen=True, slots=True)
class Several:
    """Which of the words behind an option are its values.

    Parameters
    ----------
    is_value : callable
        Whether a word is one.
    joined : bool
        Whether all of them are one value, with commas between, or each is one.
    optional : bool
        Whether none is a value too, the empty one.
    """

    is_value: Callable[[str], Any]
    joined: bool = False
    optional: bool = False

    def spelled(self, option: str, values: Sequence[str]) -> list[str]:
        """The option with its values, so that nothing that follows can be taken for one.

        Examples
        --------
        >>> NUMBERS.spelled("--patch", ["64", "32"]), NAMES.spelled("--channels", ["red", "nir"])
        (['--patch=64,32'], ['--channels=red', '--channels=nir'])
        """
        if not values:
            return [f"{option}="] if self.optional else [option]
        return [f"{option}={value}" for value in ([",".join(values)] if self.joined else values)]


NUMBERS = Several(re.compile(r"-?\d+([x,]-?\d+)*[x,]?").fullmatch, joined=True)
"""``64``, ``64 32``, ``64x32``, ``64,32``."""

PAIRS = Several(re.compile(r"\w+=.*").fullmatch)
"""``image=time channel=band``."""

NAMES = Several(lambda word: not (word.startswith("-") or _PLACE.search(word)))
"""Any words up to the next option, or to what looks like a path."""

STAGES = Several(re.compile(r"[A-Za-z0-9][\w-]*").fullmatch, optional=True)
"""Names of stages have no dots, slashes, colons."""


class Parser(argparse.ArgumentParser):
    """The parser of the program, and of each command."""

    mixed = False
    """Whether options may stand between its positional arguments, of which several then are optional."""

    example = ""
    """Words behind its name that it would take."""

    meant: Callable[[Sequence[str]], str] | None = None
    """Of words in which something lacks, what was probably meant; empty where that is not clear."""

    def __init__(self, **given: Any) -> None:
        # Abbreviations are spelled out here, before argparse sees them.
        super().__init__(**given, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
        self._several: dict[str, Several] = {}
        self._words: list[str] = []
        self._inside = False

    @property
    def called(self) -> str:
        """The name of the command."""
        return self.prog.rpartition(" ")[2]

    def add_several(self, *options: str, several: Several, metavar: str, **how: Any) -> None:
        """An option with values that `several` tells from other words."""
        shown = metavar if several.optional else f"{metavar} [{metavar} ...]"
        self.add_argument(*options, metavar=shown, action="store" if several.joined else "append", **how)
        self._several.update(dict.fromkeys(options, several))

    # -- parsing -------------------------------------------------------------------------------------------------------

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse what was spelled in any order."""
        if self._inside:  # called by argparse, for a part
            return super().parse_known_args(args, namespace)
        self._words = list(sys.argv[1:] if args is None else args)
        own = list(self._own(self._words))
        self._refuse_unknown(own)
        words = [*self._spelled(own), *self._words[len(own) :]]
        self._inside = True
        try:
            return (self.parse_known_intermixed_args if self.mixed else super().parse_known_args)(words, namespace)
        finally:
            self._inside = False

    def _own(self, words: Iterable[str]) -> Iterable[str]:
        """Words among which its options are: those before the command."""
        return takewhile(lambda word: word.startswith("-") and word != "--", words)

    def _refuse_unknown(self, words: Iterable[str]) -> None:
        """Before anything else: what lacks may only be misspelled."""
        options = [word.partition("=")[0] for word in words if _is_option(word)]
        if "--help" in options or "-h" in options:
            return
        for option in options:
            if self._full(option) not in self._option_string_actions:
                self.error(f"{self.called} has no option {option}{nearest(option, self._option_string_actions)}")

    def _full(self, option: str) -> str:
        """An option whose beginning is given, if only one begins so."""
        known = self._option_string_actions
        begin = [name for name in known if name.startswith(option)] if option.startswith("--") else []
        alone = len({id(known[name]) for name in begin}) == 1
        return begin[0] if option not in known and alone else option

    def _spelled(self, words: Iterable[str]) -> Iterator[str]:
        """``--force a b x.yaml`` as ``--force=a --force=b x.yaml``, ``--force x.yaml`` as ``--force= x.yaml``."""
        rest = list(words)
        while rest:
            word = rest.pop(0)
            option, equals, value = word.partition("=")
            option = self._full(option) if _is_option(word) else option
            several = None if equals else self._several.get(option)
            if several is None:
                yield f"{option}{equals}{value}"
                continue
            values = list(takewhile(several.is_value, rest))
            yield from several.spelled(option, values)
            rest = rest[len(values) :]

    # -- what is wrong -------------------------------------------------------------------------------------------------

    def error(self, message: str) -> NoReturn:
        """End with one sentence."""
        said = self._worded(message)
        self.exit(2, f"patchmill: {said}{' See' if said.endswith('?') else '; see'} {self.prog} --help\n")

    def _worded(self, message: str) -> str:
        needed = message.partition("arguments are required: ")[2]
        if needed:
            names = [name.partition("/")[0] for name in needed.split(", ")]
            return f"{self.called} needs {_listed(names, 'and')}, such as: {self.prog} {self._fitting()}"
        text = re.sub(r"^argument ([^ :/]+)[^ :]*: ", r"\1 ", message)
        text = re.sub(r"expected (at least )?one argument$", "wants a value", text)
        return re.sub(r"ignored explicit argument (.*)", r"takes no value, got \1", text)

    def _fitting(self) -> str:
        return (self.meant and self.meant(self._words)) or self.example

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        names = [str(each) for each in action.choices]
        near = nearest(value, names)
        if not action.option_strings:
            self.error(f"{self.called} has no command {value!r}{near or ': it has ' + _listed(names, 'and')}")
        raise argparse.ArgumentError(action, f"can be {_listed(names, 'or')}, got {value!r}{near}")


class Verb(Parser):
    """The parser of one command."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse; nothing is left over."""
        found, more = super().parse_known_args(args, namespace)
        if more and not self._inside:
            self.error(f"{self.called} does not take {more[0]!r} too")
        return found, more

    def _own(self, words: Iterable[str]) -> Iterable[str]:
        return takewhile(lambda word: word != "--", words)


def _is_option(word: str) -> bool:
    return word.startswith("-") and word != "-" and " " not in word and not _NEGATIVE.match(word)


def _listed(names: Sequence[str], last: str) -> str:
    return f" {last} ".join(filter(None, (", ".join(names[:-1]), names[-1])))
