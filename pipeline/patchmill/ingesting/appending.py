"""How a store grows while others read it: all is made aside, recorded, and then put in its place object by object.

::

    out.zarr.patchmill/      only while something is appended
      ingest.lock            as in `patchmill.ingesting.publishing`
      append.json            which generation, of which root; "building", then "publishing"
      append/                the objects that are new or other than before, complete before the first of them is moved
    out.zarr/                changes only by whole objects that are put in place, the root zarr.json last

A process killed while "building" has changed nothing; what it left is dropped. Killed while "publishing", the next one
moves what is left to move, so the bytes do not depend on when that was. Until the root is in its place readers see the
old store: a shard or chunk that was replaced holds all that it held.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from patchmill.errors import PatchmillError
from patchmill.storage import Location, StoredGroup, digest, read_group
from patchmill.storage.local import sync_folder

_RECORD, _ASIDE = "append.json", "append"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """An append that was begun.

    Parameters
    ----------
    generation : int
        Of the store once all is well.
    images : int
        Of the store before.
    root : str
        Digest of the store's root before.
    state : {"building", "publishing"}
    following : str
        Digest of the root that comes in its place; empty while building.
    variables : list of str
        Arrays of pixels.
    gone : list of str
        Arrays that the store has no longer.
    """

    generation: int
    images: int
    root: str
    state: Literal["building", "publishing"] = "building"
    following: str = ""
    variables: Sequence[str] = ()
    gone: Sequence[str] = ()


def begin(target: Location, *, generation: int, images: int) -> Location:
    """Record that an append begins; the folder in which to make its objects."""
    aside = target.workshop.child(_ASIDE)
    aside.remove()
    _write(target, Record(generation=generation, images=images, root=_root(target)))
    aside.make()
    return aside


def publish(target: Location, variables: Sequence[str], gone: Collection[str]) -> None:
    """Put everything that was made aside in its place.

    Raises
    ------
    PatchmillError
        If the store can't be written; the next append goes on from there.
    """
    record = _read(target)
    aside = target.workshop.child(_ASIDE)
    root = aside.read("zarr.json")
    if record is None or root is None:
        raise PatchmillError(f"{aside.url} vanished while it was written: call again")
    aside.sweep()
    _write(
        target,
        replace(record, state="publishing", following=digest(root), variables=list(variables), gone=sorted(gone)),
    )
    finish(target)


def is_publishing(target: Location) -> bool:
    """Whether objects of an append are on their way to their places."""
    record = _read(target)
    return record is not None and record.state == "publishing"


def following(target: Location) -> StoredGroup | None:
    """What the store will be once what is being published is in its place; None where it is that already."""
    group = read_group(target.workshop.child(_ASIDE))
    return None if group is None else replace(group, place=target)


def finish(target: Location) -> None:
    """Complete an append that was being published, drop one that was being built.

    Nobody else may be writing the store.

    Raises
    ------
    PatchmillError
        If the store is no longer that which the append was for, or can't be written.
    """
    record = _read(target)
    if record is not None and record.state == "publishing":
        if _root(target) not in (record.root, record.following):
            raise PatchmillError(
                f"{target.workshop.url} holds an unfinished append to a store that is no longer at {target.url}: "
                "remove that folder, then call again"
            )
        try:
            _move(target.workshop.child(_ASIDE).path, target.path, record.variables)
            for name in record.gone:
                target.child(name).remove()
        except OSError as error:
            raise PatchmillError(
                f"{target.url} can't be written, {error.strerror or error}: it holds what it held, "
                "mend that and append again to go on from here"
            ) from error
    target.workshop.child(_ASIDE).remove()
    target.workshop.child(_RECORD).remove()


def _move(aside: Path, target: Path, variables: Sequence[str]) -> None:
    """Move all objects, in an order in which every reader finds what its root promises; each step is durable."""
    keys = sorted(_keys(aside), key=lambda key: (_rank(key, variables), key))
    for rank in sorted({_rank(key, variables) for key in keys}):
        folders = set()
        for key in keys:
            if _rank(key, variables) == rank and not _is_there(aside / key, target / key):
                (target / key).parent.mkdir(parents=True, exist_ok=True)
                os.replace(aside / key, target / key)
                folders |= {(target / key).parent, (target / key).parent.parent}
        for folder in folders:
            sync_folder(folder)


def _rank(key: str, variables: Sequence[str]) -> int:
    """Pixels, small arrays, metadata of arrays, the root."""
    name, _, rest = key.partition("/")
    if not rest:
        return 3
    return 2 if key.endswith("/zarr.json") else int(name not in variables)


def _is_there(made: Path, here: Path) -> bool:
    """Whether an object is in its place already, which then is left as it is."""
    same_size = here.exists() and here.stat().st_size == made.stat().st_size
    return same_size and here.read_bytes() == made.read_bytes()


def _keys(folder: Path) -> Iterator[str]:
    for inside, _, files in os.walk(folder):
        yield from (os.path.relpath(os.path.join(inside, file), folder) for file in files)


def _root(target: Location) -> str:
    return digest(target.read("zarr.json") or b"")


def _read(target: Location) -> Record | None:
    try:
        return Record(**json.loads(target.workshop.read(_RECORD) or b"null"))
    except (TypeError, ValueError):  # not there, or not ours, which is written whole or not at all
        return None


def _write(target: Location, record: Record) -> None:
    target.workshop.write(_RECORD, json.dumps(asdict(record), indent=1).encode())
