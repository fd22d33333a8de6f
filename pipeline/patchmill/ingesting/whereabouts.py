"""Where files really lie, whatever links lead there: one file is one image, and a target never swallows itself."""

from __future__ import annotations

import os
from dataclasses import dataclass

from patchmill.storage import Location


class Folders(dict[str, str]):
    """Folders, by any name, to their real ones; each is looked up once."""

    def __missing__(self, folder: str) -> str:
        self[folder] = os.path.realpath(folder)
        return self[folder]

    def real(self, path: str) -> str:
        """`path` in its real folder. What it links to itself is not followed: a link may give a file its name."""
        folder, name = os.path.split(path)
        if name in ("", ".", ".."):
            folder, name = os.path.split(os.path.abspath(path))
        return os.path.join(self[folder], name)


@dataclass(frozen=True, slots=True)
class Own:
    """What belongs to a target.

    Parameters
    ----------
    url : str
        The target's.
    places : tuple of str
        The target and its workshop, by their real names.
    """

    url: str
    places: tuple[str, ...]

    @classmethod
    def of(cls, target: Location) -> Own:
        """That of `target`."""
        return cls(target.url, tuple(os.path.realpath(each.path) for each in (target, target.workshop)))

    def holds(self, path: str) -> bool:
        """Whether `path`, in its real folder, is one of these places, lies inside, or leads there."""
        real = os.path.realpath(path) if os.path.islink(path) else path
        return any(real == place or real.startswith(place + os.sep) for place in self.places)
