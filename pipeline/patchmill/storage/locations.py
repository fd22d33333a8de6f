"""Places for objects: a key names some bytes. One class for whatever tensorstore's key-value drivers reach.

Every write is one atomic object: to a temporary name, fsynced, renamed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from patchmill.errors import PatchmillError, SourceError

_UNFINISHED = (".__tmp", ".__lock")
"""How objects are called while they are written: by `Location.write`, and by tensorstore's file driver."""


@dataclass(frozen=True, slots=True)
class Location:
    """A folder of objects.

    Parameters
    ----------
    url : str
        The place for people, an absolute path for a local folder.
    path : Path
        The local folder.
    """

    url: str
    path: Path

    @classmethod
    def parse(cls, place: str | os.PathLike[str], name: str = "target") -> Location:
        """The location that a user's path or ``file://`` URL means.

        Raises
        ------
        TypeError
            If `place` is neither a string nor a path.
        ValueError
            If it is empty, or names a kind of store that patchmill can't reach.
        """
        if not isinstance(place, str | os.PathLike):
            raise TypeError(f"{name} must be a path or a URL, got {type(place).__name__}")
        text = os.fspath(place)
        if not text.strip() or "\0" in text:
            raise ValueError(f"{name} must be a path or a URL, got {text!r}")
        if "://" in text or text.startswith("file:"):
            parts = urlsplit(text)
            if parts.scheme != "file":
                raise ValueError(
                    f"{name} must be a local path or a file:// URL, got {text!r}: "
                    f"copy or mount {parts.scheme}:// stores first"
                )
            text = unquote(parts.path)
        if "\\" in text and os.sep == "/":
            raise ValueError(f"{name} must not have a backslash, which Zarr stores take for a slash, got {text!r}")
        path = Path(os.path.abspath(os.path.expanduser(text)))
        return cls(str(path), path)

    def child(self, key: str) -> Location:
        """The folder `key` inside this one."""
        path = self.path / key
        return Location(str(path), path)

    def beside(self, suffix: str) -> Location:
        """The neighbor whose name is this one's plus `suffix`."""
        path = self.path.with_name(self.path.name + suffix)
        return Location(str(path), path)

    @property
    def workshop(self) -> Location:
        """Beside a target: what is needed to finish it, gone once it is whole."""
        return self.beside(".patchmill")

    @property
    def kvstore(self) -> dict[str, Any]:
        """tensorstore's JSON for this folder."""
        return {"driver": "file", "path": f"{self.path}/"}

    def read(self, key: str) -> bytes | None:
        """The object `key`, None where there is none."""
        try:
            return (self.path / key).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except OSError as error:
            raise SourceError(f"{self.path / key} can't be read: {error.strerror or error}") from error

    def write(self, key: str, data: bytes) -> None:
        """Put the object `key`, whole or not at all."""
        path = self.path / key
        aside = path.with_name(f"{path.name}.__tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(aside, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(aside, path)
            _sync_folder(path.parent)
        except OSError as error:
            raise unwritable(self.url, error.strerror or str(error)) from error

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Keys of all objects below `prefix`, in no particular order; unfinished writes are none."""
        for folder, _, files in os.walk(self.path / prefix):
            inside = os.path.relpath(folder, self.path)
            for file in files:
                if not file.endswith(_UNFINISHED):
                    yield file if inside == "." else f"{inside}/{file}".replace(os.sep, "/")

    def sweep(self) -> None:
        """Delete what killed writers left unfinished; nobody else may be writing here."""
        for folder, _, files in os.walk(self.path):
            for file in files:
                if file.endswith(_UNFINISHED):
                    os.unlink(os.path.join(folder, file))

    def make(self) -> None:
        """Make the folder, and those around it."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(self.url, error.strerror or str(error)) from error

    def exists(self) -> bool:
        """Whether anything is here, be it a folder or a file."""
        return os.path.lexists(self.path)

    def is_empty(self) -> bool:
        """Whether nothing is here, or an empty folder."""
        return not self.exists() or (self.path.is_dir() and not any(self.path.iterdir()))

    def remove(self) -> None:
        """Delete the folder with all that is in it."""
        if self.path.is_dir() and not self.path.is_symlink():
            shutil.rmtree(self.path)
        else:
            self.path.unlink(missing_ok=True)

    def move_to(self, other: Location) -> None:
        """Rename this folder to `other`, which must be free."""
        os.rename(self.path, other.path)
        _sync_folder(other.path.parent)


def unwritable(place: str, reason: str) -> PatchmillError:
    """The error for a place that takes no more bytes."""
    return PatchmillError(f"{place} can't be written: {reason}: mend that, then call again to go on from here")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
