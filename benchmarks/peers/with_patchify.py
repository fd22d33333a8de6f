"""patchify: a view of the whole image in memory, then stored. Runs in its own venv.

python with_patchify.py (zarr|npy) SOURCE TARGET PATCH STEP
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import zarr
from patchify import patchify
from zarr.codecs import BloscCodec


def write(kind: str, source: str, target: str, patch: int, step: int) -> None:
    """A file of all patches without compression, or a chunk of a Zarr array for each."""
    image = zarr.open_array(source, mode="r")[0]
    channels = len(image)
    windows = patchify(image, (channels, patch, patch), step=(channels, step, step))
    rows, columns = windows.shape[1:3]
    shape = (rows * columns, channels, patch, patch)
    if kind == "npy":
        out = np.lib.format.open_memmap(target, "w+", image.dtype, shape)
        for row in range(rows):
            out[row * columns : (row + 1) * columns] = windows[0, row]
        out.flush()
        return
    packer = BloscCodec(typesize=image.dtype.itemsize, cname="lz4", clevel=5, shuffle="shuffle")
    out = zarr.create_array(target, shape=shape, chunks=(1, *shape[1:]), dtype=image.dtype, compressors=packer)
    for row in range(rows):
        out[row * columns : (row + 1) * columns] = np.ascontiguousarray(windows[0, row])


def main() -> None:
    """One task; prints JSON."""
    kind, source, target, patch, step = sys.argv[1:]
    began, cpu = time.perf_counter(), time.process_time()
    write(kind, source, target, int(patch), int(step))
    print(json.dumps({"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}))


if __name__ == "__main__":
    main()
