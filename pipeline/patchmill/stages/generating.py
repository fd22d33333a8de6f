"""A scene of any size, made up: to try what does not fit in memory before there is data.

It packs like a real one, to about three fifths: waves of all lengths, and the noise of a sensor over them. A pixel
depends on the scene's seed and on its place alone, so the same scene comes out however often the work is interrupted,
with any number of threads.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from math import isqrt
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from patchmill.errors import DiskFullError, TargetExistsError
from patchmill.storage import ArraySpec, BulkArray, Location, declare, open_bulk
from patchmill.storage.makers import told_anew
from patchmill.types import Progress, as_bytes, as_int, as_word, shown_bytes

Mode: TypeAlias = Literal["auto", "resume", "create", "overwrite"]

CHUNK = 512
"""Side of a chunk in pixels, which is what one thread holds at a time."""

_WAVES = ((11, 22), (53, 106), (210, 420), (900, 1800), (7000, 1400))
"""Length in pixels and height in counts of what the scene is made of."""

_NOISE = 1024
"""Side of the piece of noise that is laid over each chunk, each time from another corner."""

_PACKED = 0.6


@dataclass(frozen=True, slots=True)
class Generated:
    """A scene that is there."""

    shape: tuple[int, int, int, int]
    """(image, channel, y, x)."""
    nbytes: int
    """Raw bytes of its pixels."""
    stored: int | None
    """Bytes that it takes on the disk; unknown of object stores."""
    made: int
    """Chunks that this call wrote; those that were there stayed."""


def generate(
    target: str,
    size: str | int = "20GB",
    *,
    channels: int = 4,
    seed: int = 0,
    mode: Mode = "resume",
    workers: int | None = None,
    progress: Callable[[Progress], Any] | None = None,
) -> Generated:
    """Write a square scene as a Zarr store, chunk by chunk: ``image (image, channel, y, x)`` of uint16.

    Parameters
    ----------
    target : str
        Path or URL of the store.
    size : str or int
        Raw bytes of its pixels, about.
    channels : int
    seed : int
        Another number, another scene.
    mode : {"resume", "create", "overwrite", "auto"}
        Where the target exists: "resume" goes on with the same scene, "create" stops, "overwrite" begins anew; "auto"
        goes on, or begins anew where this is a stage that was told that what it generated is out of date.
    workers : int, optional
        Threads, each of which holds a few times the pixels of a chunk.
    progress : callable, optional
        Called with how far it is.

    Returns
    -------
    Generated

    Raises
    ------
    TargetExistsError
        If the target holds something else, or anything with "create".
    DiskFullError
        If the scene can't fit on the disk; nothing is written then.

    Examples
    --------
    >>> generate("scene.zarr", "2GB", channels=4).shape  # doctest: +SKIP
    (1, 4, 15811, 15811)
    """
    from patchmill.planning import worker_count

    channels = as_int(channels, "channels", least=1, unit="")
    scene = _Scene(side_of(as_bytes(size, "size"), channels), channels, as_int(seed, "seed", least=0, unit=""))
    as_word(mode, "mode", Mode)
    place = Location.parse(target).to_write().resolved()
    objects = declare([scene.spec], {"title": "a generated scene"})
    if mode == "auto":
        mode = "overwrite" if _is_stale(place, objects) else "resume"
    _check_target(place, objects, mode)
    known = set(place.keys("image/c/")) if mode == "resume" else set()
    total, done, written = scene.chunk_count, len(known), 0
    _refuse_full_disk(place, scene, total - done, replaced=mode == "overwrite")
    if mode == "overwrite":
        place.remove()
    place.write("image/zarr.json", objects["image/zarr.json"])
    array = open_bulk(place.child("image"))

    todo = (chunk for chunk in scene.chunks() if scene.key(chunk) not in known)
    for nbytes in _written(scene, array, todo, worker_count(workers)):
        done, written = done + 1, written + nbytes
        if progress is not None:
            progress(Progress(done, total, written))
    place.write("zarr.json", objects["zarr.json"])  # last: until then readers find nothing
    stored = sum(nbytes for _, nbytes in place.sizes("image/")) if place.is_local else None
    return Generated(scene.spec.shape, scene.nbytes, stored, done - len(known))  # type: ignore[arg-type]


def _written(scene: _Scene, array: BulkArray, chunks: Iterator[tuple[int, int]], threads: int) -> Iterator[int]:
    """Write chunks; of each that is written its raw bytes."""

    def make(chunk: tuple[int, int]) -> int:
        pixels = scene.pixels(chunk)
        array.write([((slice(0, 1), slice(0, scene.channels), *scene.region(chunk)), pixels[None])])
        return pixels.nbytes

    with ThreadPoolExecutor(threads) as pool:
        # A few at a time: all at once would be a future for each chunk of a terabyte.
        while some := list(islice(chunks, 1024)):
            yield from pool.map(make, some)


def side_of(nbytes: int, channels: int) -> int:
    """Pixels along each side of a square scene of uint16 that has about so many bytes.

    Examples
    --------
    >>> side_of(20 * 10**9, 4)
    50000
    """
    return max(1, isqrt(nbytes // (2 * channels)))


@dataclass(frozen=True, slots=True)
class _Scene:
    side: int
    channels: int
    seed: int

    @property
    def spec(self) -> ArraySpec:
        chunk = min(CHUNK, self.side)
        return ArraySpec(
            "image",
            ("image", "channel", "y", "x"),
            (1, self.channels, self.side, self.side),
            np.dtype("uint16"),
            (1, self.channels, chunk, chunk),
            attributes={"generated": {"seed": self.seed}},
        )

    @property
    def nbytes(self) -> int:
        return 2 * self.channels * self.side**2

    @property
    def chunk_count(self) -> int:
        return int((-(-self.side // CHUNK)) ** 2)

    def chunks(self) -> Iterator[tuple[int, int]]:
        count = -(-self.side // CHUNK)
        return ((row, column) for row in range(count) for column in range(count))

    def key(self, chunk: tuple[int, int]) -> str:
        return f"image/c/0/0/{chunk[0]}/{chunk[1]}"

    def region(self, chunk: tuple[int, int]) -> tuple[slice, slice]:
        y, x = (slice(at * CHUNK, min((at + 1) * CHUNK, self.side)) for at in chunk)
        return y, x

    def pixels(self, chunk: tuple[int, int]) -> NDArray[np.uint16]:
        """The pixels of a chunk, shape (channel, y, x)."""
        y, x = (np.arange(side.start, side.stop, dtype=np.float32) for side in self.region(chunk))
        phases = np.random.default_rng(self.seed).uniform(0, 6, len(_WAVES))
        base = np.full((len(y), len(x)), 4500, np.float32)
        for (length, height), phase in zip(_WAVES, phases.astype(np.float32), strict=True):
            base += np.outer(np.sin(y / length + phase) * height, np.cos(x / (length * 1.3) - phase))
        noise = _noise(self.seed)
        corners = np.random.default_rng((self.seed, *chunk)).integers(0, _NOISE, (self.channels, 2))
        pixels = np.empty((self.channels, len(y), len(x)), np.uint16)
        for channel, (top, left) in enumerate(corners):
            piece = noise[top : top + len(y), left : left + len(x)]
            np.clip(base + piece + 150 * channel, 0, 65535, out=pixels[channel], casting="unsafe")
        return pixels


def _is_stale(place: Location, objects: dict[str, bytes]) -> bool:
    """Whether a whole scene, or any of another one, is there that this stage is to make anew."""
    own = place.read("image/zarr.json")
    if own is None or not _is_generated(own) or not told_anew():
        return False
    return own != objects["image/zarr.json"] or place.read("zarr.json") is not None


def _is_generated(metadata: bytes) -> bool:
    return "generated" in json.loads(metadata).get("attributes", {})


def _check_target(place: Location, objects: dict[str, bytes], mode: Mode) -> None:
    own = place.read("image/zarr.json")
    if own is None and place.is_empty():
        return
    if mode == "create":
        raise TargetExistsError(f'{place.url} exists, and mode="create" replaces nothing: use "resume" or "overwrite"')
    generated = own is not None and _is_generated(own)
    if not generated or (mode == "resume" and own != objects["image/zarr.json"]):
        what = "another scene" if generated else "something else"
        raise TargetExistsError(
            f"{place.url} holds {what}, so none is generated there: choose another target"
            + (', or mode="overwrite" to replace it' if generated else "")
        )


def _refuse_full_disk(place: Location, scene: _Scene, chunks: int, *, replaced: bool) -> None:
    free = place.free()
    if free is not None and replaced:
        free += sum(nbytes for _, nbytes in place.sizes())
    needed = scene.nbytes * _PACKED * chunks / scene.chunk_count
    if free is not None and needed > free:
        raise DiskFullError(
            f"{place.url} has {shown_bytes(free)} free, and the scene takes about {shown_bytes(needed)}: "
            "make room, or choose another target or a smaller size"
        )


@lru_cache(maxsize=1)
def _noise(seed: int) -> NDArray[np.float32]:
    side = _NOISE + CHUNK
    return np.random.default_rng(seed).normal(0, 6, (side, side)).astype(np.float32)
