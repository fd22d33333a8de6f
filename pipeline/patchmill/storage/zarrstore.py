"""zarr-python's `Store` over a `Location`: metadata and small arrays go through the client that moves the pixels."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING, Any

from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest

from patchmill.storage.locations import Location

if TYPE_CHECKING:
    from zarr.core.buffer import Buffer, BufferPrototype


class KvStore(Store):
    """The objects below a `Location`; read-only, since whoever writes does so through the location."""

    supports_writes = False
    supports_deletes = False
    supports_listing = True

    def __init__(self, place: Location) -> None:
        super().__init__(read_only=True)
        self.place = place

    def with_read_only(self, read_only: bool = False) -> KvStore:  # noqa: FBT001, FBT002 - zarr-python's signature
        """The same store; it can't be anything but read-only."""
        if not read_only:
            raise NotImplementedError(f"{self.place.url} is open for reading only")
        return self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KvStore) and other.place == self.place

    def __hash__(self) -> int:
        return hash(self.place)

    def __str__(self) -> str:
        return self.place.url

    def __repr__(self) -> str:
        return f"<KvStore: {self.place.url}>"

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """The object `key`, or a part of it."""
        data = await asyncio.to_thread(self.place.read, key)
        return None if data is None else prototype.buffer.from_bytes(_part(data, byte_range))

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Several of them."""
        return list(await asyncio.gather(*(self.get(key, prototype, part) for key, part in key_ranges)))

    async def exists(self, key: str) -> bool:
        """Whether there is such an object."""
        return await asyncio.to_thread(self.place.read, key) is not None

    async def set(self, key: str, value: Buffer) -> None:  # noqa: ARG002
        """Refused."""
        self._check_writable()

    async def delete(self, key: str) -> None:  # noqa: ARG002
        """Refused."""
        self._check_writable()

    async def list(self) -> AsyncIterator[str]:
        """Keys of all objects."""
        for key in await asyncio.to_thread(lambda: [*self.place.keys()]):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Keys of all objects that begin with `prefix`."""
        folder = prefix.rpartition("/")[0]
        for key in await asyncio.to_thread(lambda: [*self.place.keys(folder)]):
            if key.startswith(prefix):
                yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Names of what lies directly below `prefix`."""
        place = self.place.child(prefix) if prefix.strip("/") else self.place
        for name in await asyncio.to_thread(place.entries):
            yield name


def _part(data: bytes, wanted: Any) -> bytes:
    match wanted:
        case RangeByteRequest(start=start, end=end):
            return data[start:end]
        case OffsetByteRequest(offset=offset):
            return data[offset:]
        case SuffixByteRequest(suffix=suffix):
            return data[-suffix:]
        case _:
            return data
