"""Which files: what a folder, a glob or a list offers, in an order that people expect."""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import unquote, urlsplit

from patchmill.errors import MissingSourceError, SourceError
from patchmill.ingesting.kinds import has_known_name, is_store
from patchmill.ingesting.whereabouts import Folders, Own
from patchmill.storage import Location
from patchmill.storage.locations import WORKSHOP

SAMPLE = "sample:"


@dataclass(frozen=True, slots=True)
class File:
    """A file to read, which may be a Zarr store.

    Parameters
    ----------
    given : str
        As the user would write it; has no say in which file it is.
    path : str
        Absolute, in its real folder.
    variable : str
        Which variable of several, from ``file.nc:variable``; empty where none is named.
    """

    given: str = field(compare=False)
    path: str
    variable: str = ""

    @classmethod
    def at(cls, path: str, variable: str = "", folders: Folders | None = None) -> File:
        """The file at `path`; `folders` are those that were looked up already."""
        real = (Folders() if folders is None else folders).real(path)
        return cls(f"{path}:{variable}" if variable else path, real, variable)

    @property
    def folder(self) -> str:
        """Absolute, as the user came there."""
        return os.path.dirname(os.path.abspath(self.given.removesuffix(f":{self.variable}" if self.variable else "")))


@dataclass(slots=True)
class Found:
    """What was found.

    Parameters
    ----------
    files : list of File
    missing : list of str
        What was named and is not there.
    ignored : int
        Hidden files, and files whose names do not end as image files do.
    folders : Folders
        Those that were looked up on the way.
    """

    files: list[File] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    ignored: int = 0
    folders: Folders = field(default_factory=Folders, repr=False)

    def add(self, path: str, variable: str = "") -> None:
        """Add the file at `path`."""
        self.files.append(File.at(path, variable, self.folders))


def find(images: Any, target: Location, *, or_none: bool = False) -> Found:
    """The files that `images` names, each once; none of the target's own.

    Parameters
    ----------
    images : path, glob or iterable of these
        A list keeps its order; what a folder or a glob offers comes in natural order, ``2.png`` before ``10.png``.
    target : Location
        Left out of folders and globs.
    or_none : bool
        Whether there may be none; what is then missing is neither a folder nor a pattern in one.

    Raises
    ------
    TypeError
        If `images` is none of these.
    ValueError
        If a place is not on this machine, or lies inside the target.
    MissingSourceError
        If there is nothing at all.
    SourceError
        If a folder can't be listed.
    """
    found, own = Found(), Own.of(target)
    for entry in _entries(images):
        _add(found, entry, own, or_none=or_none)
    found.files = list(dict.fromkeys(found.files))
    if not or_none:
        refuse_nothing(images, found)
    return found


def refuse_nothing(images: Any, found: Found) -> None:
    """Raise MissingSourceError where there are no files."""
    if not found.files:
        raise MissingSourceError(_nothing(images, found))


def _entries(images: Any) -> Iterator[str]:
    entries = [images] if isinstance(images, str | os.PathLike) else images
    if not isinstance(entries, Iterable):
        raise TypeError(f"images must be a folder, a glob, a file or a list of these, got {type(images).__name__}")
    for entry in entries:
        if not isinstance(entry, str | os.PathLike) or isinstance(entry, bytes):
            raise TypeError(f"images must name files by texts or paths, got {type(entry).__name__} in the list")
        text = os.fspath(entry)
        if text == SAMPLE:
            from patchmill.sources.sample import sample_images

            yield from sample_images()
        else:
            yield _local(text)


def _local(text: str) -> str:
    if not text.strip():
        raise ValueError("images must name files, got an empty text")
    if "://" not in text:
        return os.path.expanduser(text)
    parts = urlsplit(text)
    if parts.scheme != "file":
        raise ValueError(f"images must be on this machine, got {text!r}: copy or mount {parts.scheme}:// stores first")
    return unquote(parts.path)


def _add(found: Found, entry: str, own: Own, *, or_none: bool) -> None:
    """Add what one entry stands for."""
    path, variable = split_variable(entry)
    if os.path.lexists(path):
        if variable or not os.path.isdir(path) or has_known_name(path) or is_store(path):
            if own.holds(found.folders.real(path)):
                raise ValueError(
                    f"images must lie outside of the target {own.url}, got {entry!r}: choose another target"
                )
            found.add(path, variable)
        else:
            _scan(found, path, own)
    elif glob.has_magic(entry):
        before = len(found.files)
        _match(found, entry, own)
        if len(found.files) == before and not (or_none and os.path.isdir(_fixed(entry))):
            found.missing.append(entry)
    else:
        found.missing.append(entry)


def _fixed(pattern: str) -> str:
    """The folder that a pattern is searched in, down to the first part that stands for several."""
    parts = Path(os.path.abspath(pattern)).parts
    return os.path.join(*itertools.takewhile(lambda part: not glob.has_magic(part), parts))


def split_variable(entry: str) -> tuple[str, str]:
    """Path and variable of ``file.nc:variable``, where that file is there and none has the whole as its name."""
    head, colon, variable = entry.rpartition(":")
    if colon and head and variable and not os.path.lexists(entry) and os.path.lexists(head):
        return head, variable
    return entry, ""


def _scan(found: Found, root: str, own: Own) -> None:
    """All files in a folder and the folders inside it; links to folders are not followed."""
    inside: list[str] = []
    for folder, folders, files in os.walk(root, onerror=_refuse):
        owned = [name for name in folders if _is_workshop(name) or own.holds(found.folders.real(f"{folder}/{name}"))]
        hidden = [name for name in folders if name.startswith(".")]
        left = {*owned, *hidden}
        stores = [name for name in folders if name not in left and _is_entry(os.path.join(folder, name))]
        inside += [os.path.join(folder, name) for name in stores]
        left |= set(stores)
        folders[:] = [name for name in folders if name not in left]
        wanted = [name for name in files if not name.startswith(".") and has_known_name(name)]
        inside += [os.path.join(folder, name) for name in wanted]
        found.ignored += len(files) - len(wanted) + len(hidden)
    for path in sorted(inside, key=natural_key):
        found.add(path)


def _refuse(error: OSError) -> NoReturn:
    """Raise for a folder that can't be listed: what lies in it would be left out in silence."""
    raise SourceError(f"{error.filename} can't be read, so nobody knows which images lie in it: {error.strerror}")


def _refuse_unreadable(folder: str, parts: Sequence[str]) -> None:
    """Raise where a folder that a pattern leads through can't be listed: `glob` takes such a one for an empty one."""
    head, rest = parts[0], parts[1:]
    if not glob.has_magic(head):
        if rest:
            _refuse_unreadable(os.path.join(folder, head), rest)
        return
    try:
        inside = [each.name for each in os.scandir(folder) if each.is_dir(follow_symlinks=head != "**")]
    except PermissionError as error:
        _refuse(error)
    except OSError:
        return  # nothing is there
    if head == "**" and rest:
        _refuse_unreadable(folder, rest)
    for name in inside:
        if name.startswith(".") and not head.startswith("."):
            continue
        if head == "**":
            _refuse_unreadable(os.path.join(folder, name), parts)
        elif rest and fnmatch(name, head):
            _refuse_unreadable(os.path.join(folder, name), rest)


def _is_workshop(path: str) -> bool:
    """Whether a folder is where some target is built, whose pieces are no images."""
    return path.endswith(WORKSHOP)


def _is_entry(folder: str) -> bool:
    """Whether a folder counts as a file: a Zarr store, or what is called like an image and will be refused."""
    return is_store(folder) or has_known_name(folder)


def _match(found: Found, pattern: str, own: Own) -> None:
    """All that a glob matches, except what lies inside Zarr stores."""
    root, parts = os.path.abspath(os.sep), Path(os.path.abspath(pattern)).parts[1:]
    _refuse_unreadable(root, parts)
    matches = [path for path in glob.glob(pattern, recursive=True) if not own.holds(found.folders.real(path))]
    stores = {os.path.normpath(path) for path in matches if os.path.isdir(path) and is_store(path)}
    stores |= {
        str(parent) for path in matches for parent in Path(path).parents if str(parent) != "." and is_store(str(parent))
    }
    for path in sorted(matches, key=natural_key):
        if any(str(parent) in stores or _is_workshop(parent.name) for parent in Path(path).parents):
            continue
        if has_known_name(path) or os.path.normpath(path) in stores:
            found.add(path)
        elif not os.path.isdir(path):
            found.ignored += 1


def natural_key(path: str) -> tuple[Any, ...]:
    """What sorts paths as people do: by folder, digits as numbers, upper and lower case alike.

    Examples
    --------
    >>> sorted(["b/1.png", "a/10.png", "a/9.png", "A/9.png"], key=natural_key)
    ['A/9.png', 'a/9.png', 'a/10.png', 'b/1.png']
    """
    parts = path.replace(os.sep, "/").split("/")
    folded = [
        [int(t) if at % 2 else t.casefold() for at, t in enumerate(re.split(r"([0-9]+)", part))] for part in parts
    ]
    return (folded, path)


def _nothing(images: Any, found: Found) -> str:
    if len(found.missing) == 1 and not found.ignored:
        return f"nothing is at {found.missing[0]!r}: check the path of images"
    seen = f", though {found.ignored} other files are there: name those outright" if found.ignored else ""
    places = [images] if isinstance(images, str | os.PathLike) else list(images)
    what = repr(os.fspath(places[0])) if len(places) == 1 else "the list of images"
    return f"{what} offers no image files{seen or ': check the path'}"
