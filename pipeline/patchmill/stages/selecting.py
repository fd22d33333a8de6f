"""Which stages of a config run: all, or those that somebody asked for, by the way that they depend on each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from patchmill.stages.declared import nearest
from patchmill.stages.graph import Needs, before, behind

Names: TypeAlias = str | Sequence[str]
"""One stage, or several."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What somebody asked for; nothing asked for is everything."""

    first: tuple[str, ...] = ()
    """These and all that depend on them: ``--from``."""
    until: tuple[str, ...] = ()
    """These and all that they depend on: ``--until``; with `first`, what both mean."""
    only: tuple[str, ...] = ()
    """These alone: ``--only``."""
    force: bool | tuple[str, ...] = False
    """Of those that run, these even if nothing has changed, True for all: ``--force``."""

    def problems(self, names: Sequence[str]) -> list[str]:
        """A sentence for each thing that is wrong with it, in a config of the stages `names`."""
        options = {"--from": self.first, "--until": self.until, "--only": self.only}
        options["--force"] = self.force if isinstance(self.force, tuple) else ()
        there = f"; its stages are {', '.join(names) or 'none'}"
        found = [
            f"{option} {name}: the config has no stage {name}{nearest(name, list(names)) or there}"
            for option, given in options.items()
            for name in given
            if name not in names
        ]
        if self.only and (self.first or self.until):
            found.append("--only can't go with --from or --until, which add stages to it: leave one of them out")
        return found

    def forced(self, names: Sequence[str]) -> frozenset[str]:
        """Those of the stages `names` that run even if nothing has changed."""
        if isinstance(self.force, bool):
            return frozenset(names if self.force else ())
        return frozenset(self.force)

    def chosen(self, needs: Needs) -> frozenset[str]:
        """The names of the stages that run."""
        if self.only:
            return frozenset(self.only)
        found = frozenset(needs)
        if self.first:
            found &= behind(needs, self.first)
        if self.until:
            found &= before(needs, self.until)
        return found


EVERYTHING = Selection()


def selection(from_stages: Names, until_stages: Names, only_stages: Names, *, force: bool | Names = False) -> Selection:
    """What a caller asked for, each as one name or several.

    Examples
    --------
    >>> selection("patchify", (), ())
    Selection(first=('patchify',), until=(), only=(), force=False)
    """
    forced = force if isinstance(force, bool) else _names(force)
    return Selection(_names(from_stages), _names(until_stages), _names(only_stages), forced)


def _names(given: Names) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)
