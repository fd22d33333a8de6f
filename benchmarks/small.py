"""Very many tiny images: 28 x 28 pixels of uint8, a hundred thousand of them where the size allows.

python benchmarks/run.py --only small --size 1GiB
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch as replaced

import hand
import numpy as np
import zarr
from data import metadata_of, write_digits
from timing import Way, in_turn, record, show
from writing import SLOW, WRONG, remove

import patchmill
from patchmill.storage import TensorStoreArray

IMAGES = 100_000


def measure(folder: Path, size: int, repeats: int) -> list[dict]:
    """16 x 16 with step 8, and 2 x 2 with step 1, in both layouts."""
    images = max(64, min(IMAGES, size // 4096))
    source = folder / "digits.zarr"
    values = write_digits(source, images)
    found = []
    for patch, step in ((16, 8), (2, 1)):
        found += [_patches(folder, source, values, patch, step, repeats), _canvas(folder, source, patch, step, repeats)]
    remove(source)
    return found


def _patches(folder: Path, source: Path, values: np.ndarray, patch: int, step: int, repeats: int) -> dict:
    target, cleanup = folder / "target.zarr", partial(remove, folder / "target.zarr")
    facts = _facts(source, target, patch, step, "patches")
    stored = metadata_of(target / "patches")
    cleanup()
    ways = {
        "by hand": Way(lambda: hand.write_small(source, target, stored, patch, step), cleanup=cleanup),
        "patchmill": Way(partial(_ours, source, target, patch, step, "patches"), cleanup=cleanup),
        "patchmill, statistics": Way(
            partial(_ours, source, target, patch, step, "patches", statistics=True), cleanup=cleanup
        ),
        "zarr-python loop": Way(lambda: hand.zarr_small(source, target, stored, patch, step), SLOW, cleanup),
    }
    notes = {}
    for name in ("by hand", "patchmill", "zarr-python loop"):
        ways[name].run()
        array = zarr.open_array(target / "patches" if name == "patchmill" else target, mode="r")
        tail = values[-100:]
        windows = np.lib.stride_tricks.sliding_window_view(tail, (patch, patch), axis=(1, 2))[:, ::step, ::step]
        if not np.array_equal(array[-100:], windows):
            notes[name] = WRONG
        cleanup()
    title = f"{patch} / {step}, {len(values):,} images of 28 x 28"
    found = record(title, in_turn(ways, repeats, warm=False), bounds=("by hand",), notes=notes, **facts)
    show(found)
    return found


def _canvas(folder: Path, source: Path, patch: int, step: int, repeats: int) -> dict:
    target, cleanup = folder / "target.zarr", partial(remove, folder / "target.zarr")
    facts = _facts(source, target, patch, step, "canvas")
    stored = metadata_of(target / "canvas")
    cleanup()

    def copy() -> None:
        array, out = hand.opened(source), hand.created(target, stored)
        together = out.chunk_layout.write_chunk.shape[0]
        parts = [slice(at, min(at + together, out.shape[0])) for at in range(0, out.shape[0], together)]
        futures = [out[part].write(array[part].read().result()) for part in parts]
        for future in futures:
            future.result()

    ways = {
        "by hand": Way(copy, cleanup=cleanup),
        "patchmill": Way(partial(_ours, source, target, patch, step, "canvas"), cleanup=cleanup),
    }
    title = f"{patch} / {step}, {facts['images']:,} images of 28 x 28"
    found = record(title, in_turn(ways, repeats), bounds=("by hand",), notes={}, **facts)
    show(found)
    return found


def _ours(source: Path, target: Path, patch: int, step: int, layout: str, *, statistics: bool = False) -> None:
    patchmill.write_patches(source, target, patch, step, layout=layout, mode="create", workers=2, statistics=statistics)


def _facts(source: Path, target: Path, patch: int, step: int, layout: str) -> dict[str, Any]:
    """Cut once and count: files and bytes of the set, calls of the storage while it was cut."""
    calls = {"read": 0, "write": 0}

    def counted(name: str) -> Any:
        original = getattr(TensorStoreArray, name)

        kind = name.partition("_")[0]

        def call(self: TensorStoreArray, *args: Any, **more: Any) -> Any:
            calls[kind] += 1
            return original(self, *args, **more)

        return replaced.object(TensorStoreArray, name, call)

    with counted("write"), counted("read_each"):
        _ours(source, target, patch, step, layout)
    plan = patchmill.plan(source, patch, step, layout=layout, statistics=False)
    files = [path for path in target.rglob("*") if path.is_file()]
    pixels = [path for path in files if path.is_relative_to(target / layout)]
    return {
        "layout": layout,
        "images": plan.images,
        "patches": plan.patches,
        "bytes": plan.bytes_written,
        "bytes_source": plan.bytes_source,
        "files": len(files),
        "files_per_image": len(files) / plan.images,
        "bytes_stored": sum(path.stat().st_size for path in pixels),
        "bytes_beside": sum(path.stat().st_size for path in files) - sum(path.stat().st_size for path in pixels),
        "calls": calls,
        "calls_per_patch": sum(calls.values()) / plan.patches,
    }
