"""xbatcher: a generator of batches, each stored as a chunk of a Zarr array, or drawn at random. Runs in its own venv.

python with_xbatcher.py write SOURCE TARGET PATCH STEP
python with_xbatcher.py read  SOURCE NUMBERS.npy FOUND.npy PATCH STEP
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import xarray as xr
import xbatcher
import zarr
from zarr.codecs import BloscCodec


def generator(array: xr.DataArray, patch: int, step: int) -> xbatcher.BatchGenerator:
    """Windows over y and x; an overlap is what xbatcher takes for a step."""
    overlap = {} if step >= patch else {"y": patch - step, "x": patch - step}
    return xbatcher.BatchGenerator(array, input_dims={"y": patch, "x": patch}, input_overlap=overlap)


def write(source: str, target: str, patch: int, step: int) -> None:
    """The image in memory, which is where xbatcher is fastest, then a chunk of the target for each batch."""
    stored = zarr.open_array(source, mode="r")
    image = xr.DataArray(stored[0], dims=("channel", "y", "x"))
    found = generator(image, patch, step)
    shape = (len(found), image.sizes["channel"], patch, patch)
    packer = BloscCodec(typesize=image.dtype.itemsize, cname="lz4", clevel=5, shuffle="shuffle")
    out = zarr.create_array(target, shape=shape, chunks=(1, *shape[1:]), dtype=image.dtype, compressors=packer)
    for at, batch in enumerate(found):
        out[at] = batch.transpose("channel", "y", "x").values


def read(source: str, numbers: np.ndarray, patch: int, step: int) -> tuple[np.ndarray, list[float]]:
    """Batches of patches by number, out of a lazy array; returns the last, and the seconds of each."""
    import dask
    import dask.array as da

    stored = zarr.open_array(source, mode="r")
    with dask.config.set(scheduler="threads", num_workers=2):
        image = xr.DataArray(da.from_zarr(stored)[0], dims=("channel", "y", "x"))
        found, seconds = generator(image, patch, step), []
        for batch in numbers:
            began = time.perf_counter()
            lazy = [found[int(at)].transpose("channel", "y", "x").data for at in batch]
            patches = np.stack(dask.compute(*lazy))
            seconds.append(time.perf_counter() - began)
    return patches, seconds


def main() -> None:
    """One task; prints JSON."""
    what, source, *rest = sys.argv[1:]
    began, cpu = time.perf_counter(), time.process_time()
    if what == "write":
        target, patch, step = rest[0], int(rest[1]), int(rest[2])
        write(source, target, patch, step)
        print(json.dumps({"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}))
        return
    patches, seconds = read(source, np.load(rest[0]), int(rest[2]), int(rest[3]))
    np.save(rest[1], patches)
    print(json.dumps({"each": seconds}))


if __name__ == "__main__":
    main()
