"""Places for objects: a key names some bytes. One class for local folders and whatever tensorstore's drivers reach.

Every write is one atomic object. What lies behind a location is a `Folder` or a `Bucket`; this module only tells which.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from patchmill.errors import PatchmillError
from patchmill.storage.local import Folder
from patchmill.storage.objects import Bucket, with_credentials
from patchmill.storage.options import refuse_credentials, translate

if TYPE_CHECKING:
    from zarr.abc.store import Store

_SCHEMES = {"s3": "s3", "gs": "gcs", "gcs": "gcs", "memory": "memory", "http": "http", "https": "http"}
"""Scheme of a URL to tensorstore's driver."""

WORKSHOP = ".patchmill"
"""What the name of a folder beside a target ends with."""

_LONGEST_NAME = 255
"""Bytes of a file's name, on the file systems of Linux and macOS."""


@dataclass(frozen=True, slots=True)
class Location:
    """A folder of objects, on a local disk or in an object store: small, hashable, and sent to other processes.

    Parameters
    ----------
    url : str
        The place for people, without a slash at the end: an absolute path for a local folder.
    spec : str
        JSON of tensorstore's key-value store, without its path. It holds no secret: these are in the environment.
    inside : str
        Path of the folder on the disk, or in the bucket.
    """

    url: str
    spec: str
    inside: str

    @classmethod
    def parse(
        cls,
        place: str | os.PathLike[str],
        name: str = "target",
        options: Mapping[str, Any] | None = None,
        *,
        called: str = "target_options",
    ) -> Location:
        """The location that a user's path or URL means.

        Parameters
        ----------
        place : path or URL
            A local path, ``file://``, ``s3://bucket/prefix``, ``gs://bucket/prefix``, ``memory://name`` (this process
            only), ``http(s)://`` (to read only).
        name : str
            What the user calls it, for errors.
        options : mapping, optional
            fsspec's storage options: see `options.translate`.
        called : str
            What the user calls these, for errors.

        Raises
        ------
        TypeError
            If `place` is neither a string nor a path.
        ValueError
            If it is empty, names a kind of store that patchmill can't reach, or carries a secret.
        """
        if not isinstance(place, str | os.PathLike):
            raise TypeError(f"{name} must be a path or a URL, got {type(place).__name__}")
        text = os.fspath(place)
        if not text.strip() or "\0" in text:
            raise ValueError(f"{name} must be a path or a URL, got {text!r}")
        if text.encode(errors="replace").decode() != text:
            raise ValueError(f"{name} must be a path in UTF-8, got {text!r}: rename it, or choose another")
        scheme = text.partition("://")[0] if "://" in text else "file"
        if scheme in _SCHEMES:
            return cls._remote(text, scheme, name, translate({"gcs": "gs"}.get(scheme, scheme), options, called))
        if scheme != "file":
            raise ValueError(
                f"{name} must be a local path or a URL that begins with file://, "
                f"{', '.join(f'{each}://' for each in _SCHEMES)}, got {scheme}://: copy or mount that store first"
            )
        translate("file", options, called)
        if text.startswith("file:"):
            text = _path_of(text, name)
        if "\\" in text and os.sep == "/":
            raise ValueError(f"{name} must not have a backslash, which Zarr stores take for a slash, got {text!r}")
        return cls.local(os.path.abspath(os.path.expanduser(text)))

    @classmethod
    def local(cls, path: str | os.PathLike[str]) -> Location:
        """The folder `path`, which is absolute."""
        return cls(os.fspath(path), '{"driver": "file"}', os.fspath(path))

    @classmethod
    def _remote(cls, text: str, scheme: str, name: str, members: Mapping[str, Any]) -> Location:
        refuse_credentials(text, name)
        driver, (root, _, inside) = _SCHEMES[scheme], text.partition("://")[2].partition("/")
        parts = [part for part in inside.split("/") if part]
        if not root or {".", ".."} & set(parts):
            raise ValueError(f"{name} must name a place such as {scheme}://bucket/folder, got {text!r}")
        inside = "/".join([root, *parts] if driver == "memory" else parts)
        where = {"s3": {"bucket": root}, "gcs": {"bucket": root}, "http": {"base_url": f"{scheme}://{root}"}}
        spec = json.dumps({"driver": driver, **where.get(driver, {}), **members}, sort_keys=True)
        return cls("/".join([f"{scheme}://{root}", *parts]), spec, inside)

    def __reduce__(self) -> tuple[Any, ...]:
        if self._members["driver"] == "memory":
            raise PatchmillError(
                f"{self.url} lies in the memory of one process and can't be sent to another: "
                "use threads, or a store that others reach"
            )
        return (Location, (self.url, self.spec, self.inside))

    def to_write(self, name: str = "target") -> Location:
        """The place itself, unless nothing can be written there.

        Raises
        ------
        ValueError
            If it is of a server that is only read from, or has a name that leaves no room for what is put beside it.
        """
        if self._members["driver"] == "http":
            raise ValueError(
                f"{name} must be a place that can be written, and http is only read, got {self.url}: "
                "use a path, or a URL of s3://, gs:// or memory://"
            )
        length, most = len(os.fsencode(self.name)), _LONGEST_NAME - len(WORKSHOP)
        if self.is_local and length > most:
            raise ValueError(f"{name} must have a name of at most {most} bytes, got one of {length}: shorten it")
        return self

    # -- places around ----------------------------------------------------------------------------------------------

    def child(self, key: str) -> Location:
        """The folder `key` inside this one."""
        key = key.strip("/")
        if not key:
            return self
        inside = f"{self.inside.rstrip('/')}/{key}" if self.inside else key
        return Location(f"{self.url.rstrip('/')}/{key}", self.spec, inside)

    def beside(self, suffix: str) -> Location:
        """The neighbor whose name is this one's plus `suffix`."""
        if not self.inside.strip("/"):
            raise PatchmillError(f"{self.url} has nothing beside it: name a folder in it")
        return Location(f"{self.url}{suffix}", self.spec, f"{self.inside}{suffix}")

    @property
    def workshop(self) -> Location:
        """Beside a target: what is needed to finish it, gone once it is whole.

        Beside what a link points to, so that all who reach one folder by several names meet there.
        """
        return self.resolved().beside(WORKSHOP)

    def resolved(self) -> Location:
        """The same place, by the name of what a link points to."""
        if not self.is_local or not os.path.islink(self.inside):
            return self
        return Location.local(os.path.realpath(self.inside))

    # -- what it is -------------------------------------------------------------------------------------------------

    @property
    def _members(self) -> dict[str, Any]:
        return dict(json.loads(self.spec))

    @property
    def is_local(self) -> bool:
        """Whether it is a folder on a disk of this machine."""
        return bool(self._members["driver"] == "file")

    @property
    def in_process(self) -> bool:
        """Whether it is memory of this process, which no other one sees."""
        return bool(self._members["driver"] == "memory")

    @property
    def name(self) -> str:
        """The last part of its path, the bucket's name where there is none."""
        return self.url.rstrip("/").rpartition("/")[2]

    @property
    def path(self) -> Path:
        """The local folder.

        Raises
        ------
        PatchmillError
            If it is not local.
        """
        if not self.is_local:
            raise PatchmillError(f"{self.url} is no folder on a local disk, which this needs: choose a local path")
        return Path(self.inside)

    @property
    def kvstore(self) -> dict[str, Any]:
        """tensorstore's JSON for this folder."""
        return {**with_credentials(self._members), "path": self._prefix}

    def store(self) -> Store:
        """What zarr-python and xarray open, read-only: through tensorstore where it is not local."""
        if self.is_local:
            from zarr.storage import LocalStore

            return LocalStore(self.inside, read_only=True)
        from patchmill.storage.zarrstore import KvStore

        return KvStore(self)

    @property
    def _prefix(self) -> str:
        return f"{self.inside.rstrip('/')}/" if self.inside else ""

    @property
    def _objects(self) -> Folder | Bucket:
        return Folder(Path(self.inside)) if self.is_local else Bucket(self.url, self.spec, self._prefix)

    # -- objects ----------------------------------------------------------------------------------------------------

    def read(self, key: str) -> bytes | None:
        """The object `key`, None where there is none."""
        return self._objects.read(key)

    def read_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """The objects `keys`, with as many requests under way at a time, where the store takes requests."""
        return self._objects.read_many(keys)

    def write(self, key: str, data: bytes) -> None:
        """Put the object `key`, whole or not at all."""
        self._objects.write(key, data)

    def write_new(self, key: str, data: bytes) -> bool:
        """Put the object `key` only where none is; whether this call did. Of several at once, one succeeds."""
        return self._objects.write_new(key, data)

    def delete(self, key: str) -> None:
        """Remove the object `key`, if there is one."""
        self._objects.delete(key)

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Keys of all objects below the folder `prefix`, in no particular order; unfinished writes are none."""
        return self._objects.keys(prefix)

    def sizes(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """Key and stored bytes of all objects below the folder `prefix`, in no particular order.

        tensorstore's listings of object stores have no sizes, so there every object is read as a whole: a matter for
        few and small ones.
        """
        return self._objects.sizes(prefix)

    def entries(self) -> list[str]:
        """Names of what lies directly inside, objects and folders; unfinished writes too."""
        return self._objects.entries()

    def sweep(self) -> None:
        """Delete what killed writers left unfinished; nobody else may be writing here."""
        self._objects.sweep()

    # -- the whole folder -------------------------------------------------------------------------------------------

    def make(self) -> None:
        """Make the folder, and those around it, where the store has folders."""
        self._objects.make()

    def exists(self) -> bool:
        """Whether anything is here, be it a folder or an object."""
        return self._objects.exists()

    def is_empty(self) -> bool:
        """Whether nothing is here, or an empty folder."""
        return self._objects.is_empty()

    def remove(self) -> None:
        """Delete the folder with all that is in it."""
        self._objects.remove()

    def move_to(self, other: Location) -> None:
        """Make this folder be `other`, which must be free, and be on the same store.

        A local folder is renamed, in one step. Objects are copied, the root ``zarr.json`` last, and then deleted, the
        root first; after a crash in the middle the same call goes on.
        """
        match self._objects, other._objects:
            case Folder() as folder, Folder() as free:
                folder.move_to(free)
            case Bucket() as bucket, Bucket() as empty:
                bucket.move_to(empty)
            case _:
                raise PatchmillError(f"{self.url} can't be moved to {other.url}: both must be local, or both remote")

    def free(self) -> int | None:
        """Bytes free on the local disk, looked up at the nearest folder that exists; None for what is remote."""
        return self._objects.free()


def _path_of(url: str, name: str) -> str:
    """The path that a ``file:`` URL means."""
    parts = urlsplit(url)
    if parts.netloc.lower() not in ("", "localhost"):
        host = parts.netloc.rpartition("@")[2]  # what stands before may be a password
        raise ValueError(f"{name} must be on this machine, as in file:///folder with three slashes, got host {host!r}")
    if "?" in url or "#" in url:
        raise ValueError(f"{name} must have %3F for ? and %23 for # in a URL, got {parts.path!r} and more behind it")
    return unquote(parts.path)
