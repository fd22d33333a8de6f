"""A target appears whole: it is built in a folder beside it and renamed at the end.

::

    out.zarr.patchmill/      only while it is built
      ingest.lock            held by the process that builds, or repairs what is there; the system lets go of it when
                             that process dies
      source/                the new store
      old/                   the one it replaces, for the moment of the swap
    out.zarr/                the new store, once all is well

How a store grows is in `patchmill.ingesting.appending`.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from patchmill.errors import HeldError, IncompleteError, PatchmillError, TargetExistsError
from patchmill.ingesting import appending
from patchmill.storage import Location, begun, read_group, root_problem

_OLD = "old"

IngestMode = Literal["auto", "create", "overwrite", "append"]


def refuse_taken(target: Location, mode: IngestMode) -> None:
    """Raise where `mode` may not touch what is at `target`.

    Raises
    ------
    TargetExistsError
        If it holds something; with "overwrite" and "append" if that is not a source that patchmill wrote.
    """
    if begun(target) is not None:
        raise TargetExistsError(
            f"{target.url} holds a patch set that was begun: choose another target, or finish that first"
        )
    if target.is_empty():
        return
    group = read_group(target) if target.path.is_dir() else None
    own = group is not None and group.own.get("kind") == "source"
    if not own:
        what = "exists and is not a source that patchmill wrote, so it is left alone: choose another target"
        raise TargetExistsError(root_problem(target) or f"{target.url} {what}")
    if mode == "create":
        raise TargetExistsError(
            f'{target.url} exists, and mode="create" replaces nothing: use mode="overwrite", '
            'or mode="append" for new files'
        )


@contextmanager
def built_aside(target: Location, mode: IngestMode) -> Iterator[Location]:
    """A folder to build in; it becomes `target` if all goes well, and otherwise nothing is left of it.

    Raises
    ------
    TargetExistsError
        As `refuse_taken`, now and again before the end.
    HeldError
        If another process builds the same target, or repairs what is there.
    """
    refuse_taken(target, mode)
    made: list[Path] = []
    try:
        made += _parents(target)
        with _held(target):
            refuse_taken(target, mode)
            building = target.workshop.child("source")
            building.remove()  # of a process that was killed
            building.path.mkdir()
            yield building
            refuse_taken(target, mode)
            _swap(building, target)
    except BaseException:
        for folder in made:
            with suppress(OSError):
                folder.rmdir()
        raise


@contextmanager
def kept_open(target: Location) -> Iterator[None]:
    """Keep other processes from writing a store that grows; what a killed one left is completed or dropped before.

    Raises
    ------
    HeldError
        If another process holds it.
    PatchmillError
        If it can't be written.
    """
    _parents(target)
    with _held(target):
        yield


@contextmanager
def kept_whole(target: Location) -> Iterator[None]:
    """Keep `ingest` from a store that is repaired.

    Raises
    ------
    HeldError
        If another process holds it.
    IncompleteError
        If an append to it must be finished before.
    PatchmillError
        If it can't be written.
    """
    _parents(target)
    with _locked(target) as lock:
        try:
            if appending.is_publishing(target):
                raise IncompleteError(
                    f"an append to {target.url} was begun and not finished: call ingest again, which finishes it, "
                    "then repair"
                )
            yield
        finally:
            with suppress(OSError):
                lock.unlink()
                lock.parent.rmdir()


def _parents(target: Location) -> list[Path]:
    """Make the folders that are missing around `target`, and name them, the innermost first."""
    folder = target.path.parent
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        target.workshop.path.mkdir(exist_ok=True)
    except OSError as error:
        raise PatchmillError(f"{target.url} can't be made, {error.strerror}: {error.filename}") from error
    return missing


@contextmanager
def _held(target: Location) -> Iterator[None]:
    """Keep other processes out of the workshop, and remove it at the end, unless that must still be published."""
    with _locked(target):
        try:
            _restore(target)
            appending.finish(target)
            yield
        finally:
            with suppress(PatchmillError):  # the next call tries again
                _restore(target)
            if not appending.is_publishing(target) and not _is_moved_away(target):
                with suppress(OSError, PatchmillError):
                    target.workshop.remove()


@contextmanager
def _locked(target: Location) -> Iterator[Path]:
    """Hold the lock in the workshop, which is this file; whoever removes it does so before letting go."""
    workshop = target.workshop
    path = workshop.path / "ingest.lock"
    try:
        file = open(path, "a")  # noqa: SIM115 - closed below
    except OSError as error:
        raise PatchmillError(f"{workshop.url} can't be written, {error.strerror}: see to its permissions") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise HeldError(
                f"{workshop.url} is held by another process that ingests or repairs: wait for it to end"
            ) from error
        except OSError:
            pass  # a file system without locks
        if not path.exists() or os.stat(path).st_ino != os.fstat(file.fileno()).st_ino:
            raise HeldError(f"{workshop.url} was just given up by another process: try again")
        yield path


def _swap(building: Location, target: Location) -> None:
    """Put what was built in the place of an old store; where that fails in the middle, `_restore` brings it back."""
    if not target.is_empty():
        target.move_to(target.workshop.child(_OLD))
    building.move_to(target)


def _restore(target: Location) -> None:
    """Bring back what was moved away by a swap that did not come to its end."""
    if _is_moved_away(target):
        target.workshop.child(_OLD).move_to(target)


def _is_moved_away(target: Location) -> bool:
    return target.workshop.child(_OLD).exists() and not target.exists()
