"""Deaths of a writer, in one process: from a chosen step on nothing that it does has any effect."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

import patchmill
from cuts import array_objects, pixels
from patchmill.cutting import journal as journals
from patchmill.cutting import lease as leases
from patchmill.storage import Location, TensorStoreArray, local

CUT: dict[str, Any] = {"patch_shape": (4, 5), "step": (3, 3), "edge": "shift", "workers": 2}
IMAGES, OLD = 3, 2

VERBS = [(Location, name) for name in ("write", "write_new", "delete", "remove", "move_to", "make", "sweep")]
CALLS = [(os, name) for name in ("fsync", "replace", "rename", "link", "unlink", "rmdir", "mkdir")]
SHARDS = [(TensorStoreArray, "write")]


@pytest.fixture(name="tmp_path")
def in_memory() -> Iterator[Path]:
    """A folder in memory where there is such a disk: thousands of writes to a real one take minutes."""
    place = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    yield place
    shutil.rmtree(place)


class Killed(BaseException):
    """What nobody may catch."""


@dataclass
class Death:
    """Comes before step number `at` of a writer; 0 is the first one."""

    at: float
    error: Callable[[], BaseException] = Killed
    steps: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def step(self) -> None:
        with self._lock:
            if self.steps >= self.at:
                raise self.error()
            self.steps += 1


def _before(death: Death, real: Any) -> Any:
    def step(*args: Any, **kwargs: Any) -> Any:
        death.step()
        return real(*args, **kwargs)

    return step


@contextmanager
def dying(at: float, steps: list[tuple[Any, str]]) -> Iterator[Death]:
    """Inside, the process dies before the `at`-th call of any of `steps`; its lease is that of a dead one."""
    death = Death(at)
    ours, dead = leases.this_process, 2**22 + 1  # which is more than any process has
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in steps:
            patch.setattr(owner, name, _before(death, getattr(owner, name)))
        patch.setattr(leases, "this_process", lambda *part: replace(ours(*part), began="long ago"))
        patch.setattr(local, "_aside", lambda path: path.with_name(f"{path.name}.{dead}-{os.urandom(4).hex()}.__tmp"))
        yield death
    journals._writer.cache_clear()  # another process knows nothing of the files of this one


def full_disk() -> BaseException:
    """What a disk without room says."""
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextmanager
def filling(at: int) -> Iterator[Death]:
    """Inside, the disk is full from the `at`-th call that needs room on."""
    death = Death(at, full_disk)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("fsync", "replace", "link", "mkdir"):
            patch.setattr(os, name, _before(death, getattr(os, name)))
        yield death


# -- what is cut -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A call that is killed and made again.

    Parameters
    ----------
    name : str
    arguments : dict
    mode : str
    several : bool
        Whether there is a mask beside the image.
    """

    name: str
    arguments: dict[str, Any]
    mode: str = "resume"
    several: bool = False

    def __str__(self) -> str:
        return self.name


CASES = [
    Case("patches", {}),
    Case("canvas and keep", {"layout": "canvas", "keep": "mean > 100"}),
    Case("patches, keep, two variables", {"keep": "pixels.mean > 120"}, several=True),
    Case("overlap", {"tuning": {"read": "overlap"}, "statistics": True}),
    Case("overwrite patches", {"keep": "mean > 110"}, "overwrite"),
    Case("overwrite canvas, two variables", {"layout": "canvas"}, "overwrite", several=True),
    Case("append patches", {"statistics": True}, "append"),
    Case("append canvas and keep", {"layout": "canvas", "keep": "mean > 100"}, "append"),
    Case("append patches, two variables, keep", {"keep": "pixels.mean > 120"}, "append", several=True),
]


def write_source(place: Path, images: int, several: bool, shape: tuple[int, int, int] = (2, 11, 12)) -> None:
    """A Zarr source of so many images, which is the longer one's beginning."""
    image, mask = pixels((8, *shape), "uint8")[:images], pixels((8, *shape[1:]), "bool", 1)[:images]
    dims = ("image", "channel", "y", "x")
    shutil.rmtree(place, ignore_errors=True)
    if not several:
        zarr.create_array(place, data=image, chunks=(1, *shape), dimension_names=dims)
        return
    data = xr.Dataset({"pixels": (dims, image), "mask": (dims[:1] + dims[2:], mask)})
    chunks = {"pixels": {"chunks": (1, *shape)}, "mask": {"chunks": (1, *shape[1:])}}
    data.to_zarr(place, zarr_format=3, consolidated=False, encoding=chunks)


@dataclass
class Stage:
    """A source, what the target was before, and what one uninterrupted run makes of it."""

    folder: Path
    case: Case
    expected: dict[str, bytes] = field(default_factory=dict)

    @property
    def source(self) -> Path:
        return self.folder / "source.zarr"

    @property
    def target(self) -> Path:
        return self.folder / "set.zarr"

    @property
    def work(self) -> Path:
        return self.folder / "set.zarr.patchmill"

    def __post_init__(self) -> None:
        case, before = self.case, self.folder / "before.zarr"
        if case.mode == "append":
            write_source(self.source, OLD, case.several)
            self.write(before)
        write_source(self.source, IMAGES, case.several)
        if case.mode == "overwrite":
            self.write(before, step=4)
        once = self.folder / "once.zarr"
        self.write(once)
        self.expected = array_objects(once)

    def write(self, target: Path | None = None, **changes: Any) -> Any:
        mode = self.case.mode if target is None else "resume"
        arguments = CUT | self.case.arguments | {"mode": mode} | changes
        return patchmill.write_patches(self.source, target or self.target, **arguments)

    def reset(self) -> None:
        """What was before, and nothing else."""
        for place in (self.target, self.work):
            shutil.rmtree(place, ignore_errors=True)
        if self.case.mode != "resume":
            shutil.copytree(self.folder / "before.zarr", self.target)

    def shards(self) -> dict[str, tuple[int, int]]:
        """Objects of pixels of the set that is being built: when and as which file each was written."""
        aside = self.work / "next"
        if self.case.mode == "overwrite" and not aside.exists() and not self.is_swapped():
            return {}
        building = aside if aside.exists() else self.target
        names = [name for name in ("patches", "canvas", "pixels", "mask") if (building / name).is_dir()]
        files = [file for name in names for file in (building / name / "c").rglob("*") if file.is_file()]
        return {
            file.relative_to(building).as_posix(): (file.stat().st_mtime_ns, file.stat().st_ino)
            for file in files
            if not file.name.endswith((".__lock", ".__tmp"))
        }

    def is_swapped(self) -> bool:
        """Whether the new set is in the old one's place."""
        root = self.target / "zarr.json"
        return root.exists() and json.loads(root.read_bytes())["attributes"]["patchmill"]["grid"]["step"] == [3, 3]

    def old_is_readable(self) -> bool:
        """Whether whoever opens the target finds a whole set: the old one, or already the new one."""
        opened = patchmill.open_patches(self.target)
        found = opened.read(np.arange(len(opened)))
        return bool(np.size(found["pixels"] if self.case.several else found))

    def check(self) -> None:
        """The set is whole, and what a resume needs is gone."""
        assert array_objects(self.target) == self.expected
        left = sorted(path.name for path in self.work.rglob("*") if path.is_file())
        # A dead one's lease is all that may be left, of a set that was complete: whoever only reads takes none.
        assert not [name for name in left if not name.startswith("whole.")], left
        patchmill.open_patches(self.target)
