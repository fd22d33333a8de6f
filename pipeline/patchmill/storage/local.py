"""Objects as files of a local folder: each appears whole, by a temporary name, fsync and rename."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from patchmill.errors import PatchmillError, SourceError

_UNFINISHED = (".__tmp", ".__lock")
"""How objects are called while they are written: by `Folder.write`, and by tensorstore's file driver."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder on a disk of this machine; the verbs are those of `Location`."""

    path: Path

    def read(self, key: str) -> bytes | None:
        """The object `key`, None where there is none."""
        try:
            return (self.path / key).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except OSError as error:
            raise _unreadable(self.path / key, error) from error

    def read_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Several objects."""
        return [self.read(key) for key in keys]

    def write(self, key: str, data: bytes) -> None:
        """Put the object `key`, whole or not at all."""
        path = self.path / key
        with _writing(self.path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with _written_aside(path, data) as aside:
                os.replace(aside, path)
            sync_folder(path.parent)

    def write_new(self, key: str, data: bytes) -> bool:
        """Put the object `key` whole where none is; False where one is, whoever put it there."""
        path = self.path / key
        with _writing(self.path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with _written_aside(path, data) as aside:
                try:
                    _put_new(aside, path, data)
                except FileExistsError:
                    return False
            sync_folder(path.parent)
        return True

    def delete(self, key: str) -> None:
        """Remove the object `key`, if there is one."""
        with _writing(self.path), suppress(NotADirectoryError):
            (self.path / key).unlink(missing_ok=True)

    def keys(self, prefix: str) -> Iterator[str]:
        """Keys of all objects below `prefix`."""
        return (key for key, _ in self._files(prefix))

    def sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Keys of all objects below `prefix`, with their bytes."""
        for key, entry in self._files(prefix):
            try:
                size = entry.stat(follow_symlinks=True).st_size
            except FileNotFoundError:  # it went while we looked
                continue
            except OSError as error:
                raise _unreadable(self.path / key, error) from error
            yield key, size

    def _files(self, prefix: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
        waiting = [prefix.strip("/")]
        while waiting:
            inside = waiting.pop()
            try:
                entries = list(os.scandir(self.path / inside))
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise _unreadable(self.path / inside, error) from error
            for entry in entries:
                key = f"{inside}/{entry.name}" if inside else entry.name
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(key)
                elif not entry.name.endswith(_UNFINISHED):
                    yield key, entry

    def entries(self) -> list[str]:
        """Names of what lies directly inside, unfinished writes too."""
        try:
            return sorted(os.listdir(self.path))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise _unreadable(self.path, error) from error

    def sweep(self) -> None:
        """Delete what killed writers left unfinished."""
        with _writing(self.path):
            for folder, _, files in os.walk(self.path):
                for file in files:
                    if file.endswith(_UNFINISHED):
                        with suppress(FileNotFoundError):  # somebody else sweeps too
                            os.unlink(os.path.join(folder, file))

    def make(self) -> None:
        """Make the folder, and those around it."""
        with _writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)

    def exists(self) -> bool:
        """Whether anything is here, be it a folder or a file."""
        return os.path.lexists(self.path)

    def is_empty(self) -> bool:
        """Whether nothing is here, or an empty folder."""
        return not self.exists() or (self.path.is_dir() and not self.entries())

    def remove(self) -> None:
        """Delete the folder with all that is in it."""
        with _writing(self.path):
            while self.path.is_dir() and not self.path.is_symlink():
                with suppress(FileNotFoundError):  # somebody else removes it too
                    shutil.rmtree(self.path)
            self.path.unlink(missing_ok=True)

    def move_to(self, other: Folder) -> None:
        """Rename this folder to `other`, which must be free."""
        with _writing(self.path):
            os.rename(self.path, other.path)
            sync_folder(other.path.parent)

    def free(self) -> int:
        """Bytes free on the disk that this folder is, or would be, on."""
        # `os.path`, since `Path.exists` raises for a name that is too long, or a folder that may not be looked into.
        here = next(each for each in (self.path, *self.path.parents) if os.path.exists(each))
        return shutil.disk_usage(here).free


def unwritable(place: str, reason: str) -> PatchmillError:
    """The error for a place that takes no more bytes."""
    return PatchmillError(f"{place} can't be written: {reason}: mend that, then call again to go on from here")


def _unreadable(place: Path, error: OSError) -> SourceError:
    """The error for a place that does not give what it holds."""
    return SourceError(f"{place} can't be read: {error.strerror or error}")


@contextmanager
def _writing(place: Path) -> Iterator[None]:
    """Inside, what the disk refuses is one sentence."""
    try:
        yield
    except OSError as error:
        raise unwritable(str(place), error.strerror or str(error)) from error


@contextmanager
def _written_aside(path: Path, data: bytes) -> Iterator[Path]:
    """A file beside `path` that holds `data`; gone at the end, be it that it was renamed, or that the disk is full."""
    aside = _aside(path)
    try:
        _write_through(aside, data)
        yield aside
    finally:
        with suppress(OSError):
            os.unlink(aside)


def _aside(path: Path) -> Path:
    """A name of our own: two who write one object at a time must not write into one file."""
    return path.with_name(f"{path.name}.{os.getpid()}-{os.urandom(4).hex()}.__tmp")


def _put_new(aside: Path, path: Path, data: bytes) -> None:
    """Make `path` be what `aside` holds; FileExistsError where it is there already."""
    try:
        os.link(aside, path)  # unlike a rename, it never replaces
    except (FileExistsError, FileNotFoundError):  # the latter: somebody took the folder or the file away
        raise
    except OSError:  # a disk without hard links: of several writers one still wins, but a crash can leave a part
        _write_through(path, data, "xb")


def _write_through(path: Path, data: bytes, mode: str = "wb") -> None:
    with open(path, mode) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
