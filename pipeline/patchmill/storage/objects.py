"""Objects behind tensorstore's key-value drivers: S3, Google Cloud Storage, HTTP, and the memory of this process."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from patchmill.errors import PatchmillError, SourceError
from patchmill.storage.local import unwritable

_NO_VALUE = b"\x02"
"""tensorstore's generation of an object that is not there: a write on this condition replaces nothing."""

_ATTEMPTS = 6
"""Tries of a request, about half a minute of them; tensorstore's own 32 take a quarter of an hour to say no."""

_ROOTS = ("zarr.json", ".zgroup", ".zarray", ".zmetadata")
"""What makes a store of objects one; all that can be asked where nothing can be listed."""

_TOGETHER = 64
"""Requests under way at a time where many objects are moved."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """Objects below a prefix; the verbs are those of `Location`.

    Parameters
    ----------
    url : str
        For people.
    spec : str
        JSON of tensorstore's key-value store, without the path.
    prefix : str
        Ends with a slash, or is empty.
    """

    url: str
    spec: str
    prefix: str

    @property
    def _store(self) -> Any:
        return _opened(json.dumps(with_credentials(json.loads(self.spec)), sort_keys=True))

    def read(self, key: str) -> bytes | None:
        """The object `key`, None where there is none."""
        try:
            found = self._store.read(f"{self.prefix}{key}").result()
        except ValueError as error:
            if _is_missing(error):
                return None
            raise unreadable(self.url, error) from error
        return bytes(found.value) if found.state == "value" else None

    def read_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Several objects, with all requests under way at a time."""
        reads = [self._store.read(f"{self.prefix}{key}") for key in keys]
        try:
            found = [read.result() for read in reads]
        except ValueError as error:
            raise unreadable(self.url, error) from error
        return [bytes(each.value) if each.state == "value" else None for each in found]

    def write(self, key: str, data: bytes) -> None:
        """Put the object `key`, whole or not at all."""
        self._put(key, data, None)

    def write_new(self, key: str, data: bytes) -> bool:
        """Put the object `key` where none is; False where one is: the store itself decides, on a condition."""
        return bool(self._put(key, data, _NO_VALUE).generation)

    def delete(self, key: str) -> None:
        """Remove the object `key`, if there is one."""
        self._put(key, None, None)

    def _put(self, key: str, data: bytes | None, condition: bytes | None) -> Any:
        try:
            return self._store.write(f"{self.prefix}{key}", data, if_equal=condition).result()
        except (ValueError, NotImplementedError) as error:
            raise unwritable(self.url, reason(error)) from error

    def keys(self, prefix: str) -> Iterator[str]:
        """Keys of all objects below `prefix`."""
        below = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        yield from self._list(below)

    def _list(self, below: str) -> list[str]:
        import tensorstore as ts

        start = f"{self.prefix}{below}".encode()
        try:
            found = self._store.list(_range(ts, start), strip_prefix_length=len(self.prefix.encode())).result()
        except (ValueError, NotImplementedError) as error:
            if _is_missing(error):
                return []
            raise unreadable(self.url, error) from error
        return [key.decode() for key in found]

    def sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Keys of all objects below `prefix`, with their bytes, for which each object is read: see `Location.sizes`."""
        for key in self.keys(prefix):
            data = self.read(key)
            if data is not None:
                yield key, len(data)

    def entries(self) -> list[str]:
        """Names of what lies directly inside."""
        return sorted({key.split("/")[0] for key in self._list("")})

    def sweep(self) -> None:
        """Nothing to do: an object is there whole, or not at all."""

    def make(self) -> None:
        """Nothing to do: there are no folders."""

    def exists(self) -> bool:
        """Whether there is an object here, or below."""
        if any(self.read(key) is not None for key in _ROOTS):
            return True  # a few requests, where a listing can take thousands
        if json.loads(self.spec)["driver"] == "http":
            return False
        return bool(self._list("")) or (bool(self.prefix) and self._whole.read(self.prefix.rstrip("/")) is not None)

    @property
    def _whole(self) -> Bucket:
        return Bucket(self.url, self.spec, "")

    def is_empty(self) -> bool:
        """Whether nothing is here."""
        return not self.exists()

    def remove(self) -> None:
        """Delete all objects here, the root first: what is half gone is no store any more."""
        import tensorstore as ts

        if not self.prefix:
            raise PatchmillError(f"{self.url} is a whole bucket, which is never deleted: name a folder in it")
        self.delete("zarr.json")
        self._whole.delete(self.prefix.rstrip("/"))  # where a key was meant, not a folder
        try:
            self._store.delete_range(_range(ts, self.prefix.encode())).result()
        except (ValueError, NotImplementedError) as error:
            raise unwritable(self.url, reason(error)) from error

    def move_to(self, other: Bucket) -> None:
        """Copy every object to `other`, the root last, then delete the old ones, the root first.

        At every moment one of the two has the root and is whole. Killed in the middle, the same call goes on: where
        only `other` has the root, all was copied.
        """
        if self.read("zarr.json") is not None or other.read("zarr.json") is None:
            keys = [key for key in self._list("") if key != "zarr.json"]
            for at in range(0, len(keys), _TOGETHER):
                self._copy(keys[at : at + _TOGETHER], other)
            self._copy(["zarr.json"], other)
        self.remove()

    def _copy(self, keys: list[str], other: Bucket) -> None:
        """Through this machine: tensorstore has no copy on the server between two prefixes of S3."""
        found = self.read_many(keys)
        try:
            writes = [
                other._store.write(f"{other.prefix}{key}", data)
                for key, data in zip(keys, found, strict=True)
                if data is not None
            ]
            for write in writes:
                write.result()
        except ValueError as error:
            raise unwritable(other.url, reason(error)) from error

    def free(self) -> None:
        """Not told by any of these stores."""


# -- handles ---------------------------------------------------------------------------------------------------------


THREADS = "PATCHMILL_COPY_THREADS"
"""An environment variable, for one process of several on a machine: so many threads pack and unpack its chunks."""


@cache
def shared_context() -> Any:
    """The one of this process: no cache, since chunks are moved once, and the only store behind ``memory://``.

    It has a thread for each CPU, or as many as `THREADS` says when it is first asked for.
    """
    import tensorstore as ts

    retries = {"max_retries": _ATTEMPTS}
    return ts.Context(
        {
            "cache_pool": {"total_bytes_limit": 0},
            "data_copy_concurrency": {"limit": int(os.environ.get(THREADS, "0")) or "shared"},
            "s3_request_retries": retries,
            "gcs_request_retries": retries,
            "http_request_retries": retries,
        }
    )


@lru_cache(maxsize=32)
def _opened(spec: str) -> Any:
    """The key-value store of `spec`, opened once a process and kept."""
    import tensorstore as ts

    try:
        return ts.KvStore.open(json.loads(spec), context=shared_context()).result()
    except ValueError as error:
        raise PatchmillError(f"a store can't be opened, {reason(error)}: correct its URL or its options") from error


def with_credentials(spec: dict[str, Any]) -> dict[str, Any]:
    """`spec`, saying where this process finds the credentials, if that is known; never what they are."""
    found = spec.get("aws_credentials", {})
    if found.get("type") == "profile":
        # tensorstore 0.1.74 to 0.1.86 looks for a profile only in files that it is told.
        return spec | {"aws_credentials": found | {name: _aws_file(name) for name in _AWS_FILES}}
    if spec["driver"] == "s3" and not found and "AWS_ACCESS_KEY_ID" in os.environ:
        # AWS's chain looks there first too, but prints errors about every file that it then misses.
        return spec | {"aws_credentials": {"type": "environment"}}
    return spec


_AWS_FILES = {
    "credentials_file": ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
    "config_file": ("AWS_CONFIG_FILE", "~/.aws/config"),
}


def _aws_file(name: str) -> str:
    variable, usual = _AWS_FILES[name]
    return os.path.expanduser(os.environ.get(variable) or usual)


def _range(ts: Any, start: bytes) -> Any:
    """All keys that begin with `start`."""
    return ts.KvStore.KeyRange(start, start[:-1] + bytes([start[-1] + 1]) if start else b"")


# -- errors ----------------------------------------------------------------------------------------------------------


def reason(error: Exception) -> str:
    """What tensorstore says, without what follows in brackets: whole answers of servers, which may repeat a key."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    said = text.split(" [")[0].strip()
    if ("OS error" not in text and "PERMISSION_DENIED" in said) or "UNAUTHENTICATED" in said:
        return f"{said} (credentials are taken from the environment)"
    return said


def unreadable(url: str, error: Exception) -> SourceError:
    """The error for a store that does not answer as it should."""
    return SourceError(f"{url} can't be read: {reason(error)}")


def _is_missing(error: Exception) -> bool:
    return str(error).startswith("NOT_FOUND")
