"""Memory stays below the limit, whatever the size of the image: measured in fresh processes."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

SIDE = 10_000  # 200 MB of 16 bits
LIMIT = 512  # MiB

SCRIPT = f"""
import re, sys
import patchmill
report = patchmill.ingest(sys.argv[1], sys.argv[2], memory="{LIMIT}MiB", workers=4)
assert report.nbytes >= {SIDE * SIDE * 2}
# Not getrusage, whose peak begins with that of the process that started this one.
print(int(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1]) / 1024)
"""


def write(path, kind):
    band = np.random.default_rng(0).integers(0, 60000, (500, SIDE), dtype=np.uint16)
    if kind in ("tiles", "strips"):
        import rasterio

        layout = {"tiled": True, "blockxsize": 512, "blockysize": 512} if kind == "tiles" else {}
        place = {"crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 5, 0, -10, 5)}
        with rasterio.open(
            path, "w", "GTiff", SIDE, SIDE, 1, dtype="uint16", compress="lzw", **layout, **place
        ) as file:
            for top in range(0, SIDE, 500):
                file.write(band[None], window=rasterio.windows.Window(0, top, SIDE, 500))
    elif kind == "tifffile":
        import tifffile

        tiles = (band[:480, :480] for _ in range((-(-SIDE // 480)) ** 2))
        tifffile.imwrite(path, tiles, shape=(SIDE, SIDE), dtype=np.uint16, tile=(480, 480), compression="lzw")
    elif kind == "npy":
        np.lib.format.open_memmap(path, "w+", np.uint16, (SIDE, SIDE))[:] = np.resize(band, (SIDE, SIDE))
    elif kind == "netcdf":
        import h5py

        with h5py.File(path, "w") as file:
            data = file.create_dataset("a", (SIDE, SIDE), np.uint16, chunks=(500, 500), compression="lzf")
            for top in range(0, SIDE, 500):
                data[top : top + 500] = band


def write_pictures(folder):
    from PIL import Image

    folder.mkdir()
    rows, columns = np.arange(4000)[:, None], np.arange(6000)
    pixels = np.stack([rows + columns, rows - columns, rows // 2 + columns // 3], axis=-1).astype(np.uint8)
    for number in range(4):
        Image.fromarray(pixels).save(folder / f"{number}.jpg")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tiles", "strips", "tifffile", "npy", "netcdf", "pictures"])
def test_an_image_of_any_size_fits(tmp_path, kind):
    path = tmp_path / {"npy": "a.npy", "netcdf": "a.h5", "pictures": "in"}.get(kind, "a.tif")
    write_pictures(path) if kind == "pictures" else write(path, kind)
    command = [sys.executable, "-c", SCRIPT, str(path), str(tmp_path / "t.zarr")]
    peak = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert peak < LIMIT
