"""The blocks of docs/using.md run, one after the other, and give what the page says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "using.md").read_text(), re.DOTALL)
SIZES = [(130, 150), (100, 180), (64, 64)]


@pytest.fixture(scope="module")
def used(tmp_path_factory):
    """A folder with scenes of unequal size, what is in them, and the names that the blocks without torch define."""
    rasterio = pytest.importorskip("rasterio")
    folder, scenes, random = tmp_path_factory.mktemp("using"), [], np.random.default_rng(0)
    (folder / "scenes").mkdir()
    for at, (height, width) in enumerate(SIZES):
        scenes.append(random.integers(1, 1000, (2, height, width), "uint16"))
        with rasterio.open(
            folder / "scenes" / f"{at}.tif", "w", driver="GTiff", count=2, height=height, width=width, dtype="uint16",
            crs="EPSG:32632", transform=rasterio.Affine(10, 0, 500000 + 10_000 * at, 0, -10, 5_000_000), nodata=0,
        ) as file:  # fmt: skip
            file.write(scenes[-1])
    names: dict[str, object] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for block in BLOCKS:
            if "torch" not in block:
                exec(compile(block, "using.md", "exec"), names)
    return SimpleNamespace(folder=folder, scenes=scenes, **names)


def test_numbers_of_the_catalog_are_those_of_patches(used):
    assert len(used.numbers) == len(used.ps)
    for patch, at, (row, column) in zip(used.batch, used.image, used.origin, strict=False):
        np.testing.assert_array_equal(patch, used.scenes[at][:, row : row + 64, column : column + 64])


def test_no_image_is_on_both_sides(used):
    sides = [set(used.ps.locate(side)[0].tolist()) for side in (used.train, used.test)]
    assert all(sides)
    assert not sides[0] & sides[1]
    assert len(used.train) + len(used.test) == len(used.ps)


def test_an_image_comes_back(used):
    np.testing.assert_array_equal(used.whole, used.scenes[used.i])


def test_bounds_are_those_of_the_scene(used):
    left, bottom, right, top = used.bounds
    assert (right - left, top - bottom) == (640, 640)
    assert (left, top) == (500000 + 10_000 * used.at + 10 * used.column, 5_000_000 - 10 * used.row)
    assert "32632" in used.crs


@pytest.mark.slow
@pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")
def test_worker_processes_bring_every_patch(used):
    (block,) = (block for block in BLOCKS if "torch" in block)
    (used.folder / "training.py").write_text(block)
    paths = os.pathsep.join(filter(None, (str(ROOT / "pipeline"), os.environ.get("PYTHONPATH"))))
    run = subprocess.run(
        [sys.executable, "training.py"], cwd=used.folder, env=os.environ | {"PYTHONPATH": paths},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    counts = [int(count) for count in re.findall(r"torch.Size\(\[(\d+), 2, 64, 64\]\)", run.stdout)]
    assert sum(counts) == len(used.ps)
