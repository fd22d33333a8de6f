"""How fast patches are written, against a bound and against peers, in one run.

    python benchmarks/writing.py --side 4096 --patch 256 --step 128 --repeats 3

The bound is a hand-written loop that reads regions and writes shards with tensorstore alone, two threads, with the
codec, the shards and the fsync of a patch set. Ratios are taken pair by pair, so a machine whose speed drifts does not
spoil them. Prints a table and writes `writing.json` into the current folder.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tensorstore as ts
from data import blosc, write_source
from numpy.lib.stride_tricks import as_strided

SHARD = 8


def counts_of(side: int, patch: int, step: int) -> int:
    """Positions along one axis, edge "drop"."""
    return (side - patch) // step + 1


def patches_spec(place: Path, channels: int, count: int, patch: int) -> dict:
    """A sharded array like layout "patches"."""
    inner = [{"name": "bytes", "configuration": {"endian": "little"}}, blosc(2), {"name": "crc32c"}]
    sharding = {"chunk_shape": [1, channels, 1, 1, patch, patch], "codecs": inner}
    sharding["index_codecs"] = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
    shard = [1, channels, SHARD, SHARD, patch, patch]
    return {
        "driver": "zarr3",
        "kvstore": {"driver": "file", "path": f"{place}/"},
        "store_data_equal_to_fill_value": True,
        "metadata": {
            "shape": [1, channels, count, count, patch, patch],
            "data_type": "uint16",
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": shard}},
            "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
        },
        "create": True,
        "delete_existing": True,
    }


def by_hand(source: Path, target: Path, patch: int, step: int) -> None:
    """The bound: regions in, strided views out, no Dask, no catalog."""
    array = ts.open({"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{source}/"}}).result()
    _, channels, side, _ = array.shape
    count = counts_of(side, patch, step)
    out = ts.open(patches_spec(target, channels, count, patch)).result()

    def shard(corner: tuple[int, int]) -> None:
        (y, x), sizes = corner, [min(SHARD, count - at) for at in corner]
        rows, columns = (slice(at * step, (at + n - 1) * step + patch) for at, n in zip(corner, sizes, strict=True))
        pixels = array[0, :, rows, columns].read().result()
        c, h, w = pixels.strides
        view = as_strided(pixels, (channels, *sizes, patch, patch), (c, h * step, w * step, h, w), writeable=False)
        region = out[0, :, y : y + sizes[0], x : x + sizes[1]]
        region.write(view, can_reference_source_data_indefinitely=True).result()

    corners = [(y, x) for y in range(0, count, SHARD) for x in range(0, count, SHARD)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(shard, corners))


def with_patchmill(source: Path, target: Path, patch: int, step: int) -> None:
    """`write_patches`, with catalog and statistics."""
    import patchmill

    patchmill.write_patches(source, target, patch, step, mode="create", workers=2)


def with_dask(source: Path, target: Path, patch: int, step: int) -> None:
    """Dask's sliding_window_view, thinned out, and `to_zarr`."""
    import dask
    import dask.array as da
    import zarr

    image = da.from_zarr(zarr.open_array(source, mode="r"))[0]
    windows = da.lib.stride_tricks.sliding_window_view(image, (patch, patch), axis=(1, 2))[:, ::step, ::step]
    windows = windows.rechunk((-1, SHARD, SHARD, -1, -1))
    with dask.config.set(scheduler="threads", num_workers=2):
        windows.to_zarr(str(target), compute=True)


def with_zarr(source: Path, target: Path, patch: int, step: int) -> None:
    """A loop of zarr-python over patches, a chunk each."""
    import zarr

    image = zarr.open_array(source, mode="r")
    _, channels, side, _ = image.shape
    count = counts_of(side, patch, step)
    out = zarr.create_array(
        target, shape=(count, count, channels, patch, patch), chunks=(1, 1, channels, patch, patch), dtype="uint16"
    )

    def row(at: int) -> None:
        pixels = image[0, :, at * step : at * step + patch]
        for x in range(count):
            out[at, x] = pixels[:, :, x * step : x * step + patch]

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(row, range(count)))


WAYS = {"by hand": by_hand, "patchmill": with_patchmill, "dask": with_dask, "zarr-python": with_zarr}


def main() -> None:
    """Run every way in turn, several times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--channels", type=int, default=4)
    parser.add_argument("--chunk", type=int, default=512)
    parser.add_argument("--patch", type=int, default=256)
    parser.add_argument("--step", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--folder", type=Path, default=None, help="where data go; a temporary folder by default")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=args.folder))
    source = folder / "source.zarr"
    write_source(source, 1, args.channels, args.side, args.chunk)
    nbytes = counts_of(args.side, args.patch, args.step) ** 2 * args.channels * args.patch**2 * 2
    seconds: dict[str, list[float]] = {way: [] for way in args.ways}
    for repeat in range(args.repeats + 1):  # the first is a warm-up
        for way in args.ways:
            target = folder / "target.zarr"
            began = time.perf_counter()
            WAYS[way](source, target, args.patch, args.step)
            if repeat:
                seconds[way].append(time.perf_counter() - began)
            shutil.rmtree(target)
    report(seconds, nbytes, vars(args) | {"folder": None})
    shutil.rmtree(folder)


def report(seconds: dict[str, list[float]], nbytes: int, settings: dict) -> None:
    """Rates and ratios to the bound, as a table and as JSON."""
    first = next(iter(seconds))
    rows = {}
    for way, times in seconds.items():
        ratios = [a / b for a, b in zip(seconds[first], times, strict=True)]
        rows[way] = {"MB/s": nbytes / 1e6 / statistics.median(times), "ratio": ratios}
        low, middle, high = min(ratios), float(np.median(ratios)), max(ratios)
        print(f"{way:<12} {rows[way]['MB/s']:8.0f} MB/s   {middle:5.2f} of {first} ({low:.2f} to {high:.2f})")
    Path("writing.json").write_text(json.dumps({"settings": settings, "bytes": nbytes, "ways": rows}, indent=1))


if __name__ == "__main__":
    main()
