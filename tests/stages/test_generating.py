"""Scenes of any size, made up: always the same pixels, however they came about, in bounded memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import dask
import numpy as np
import pytest
import xarray as xr

import patchmill
from patchmill.errors import DiskFullError, TargetExistsError
from patchmill.stages import generating
from patchmill.stages.deciding import Decision
from patchmill.stages.generating import generate, side_of
from patchmill.stages.memos import Basis
from patchmill.stages.pipelines import Stage
from patchmill.stages.rehearsing import _becomes


class StoppedError(Exception):
    pass


def stop(now) -> None:
    if now.done == 2:
        raise StoppedError


def files_of(place: Path) -> dict[str, bytes]:
    return {path.relative_to(place).as_posix(): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def test_a_scene_has_about_the_size_that_was_asked_for_and_packs_like_a_real_one(tmp_path):
    found = generate(str(tmp_path / "a.zarr"), "6MB", channels=3)
    assert found.shape == (1, 3, 1000, 1000)
    assert found.nbytes == 6_000_000
    assert 0.4 < found.stored / found.nbytes < 0.7
    scene = xr.open_zarr(tmp_path / "a.zarr").image
    assert scene.dims == ("image", "channel", "y", "x")
    assert 0 < int(scene.min()) < int(scene.max()) < 65535
    # A pixel is like its neighbors, across the borders of chunks too, and not the same.
    apart = abs(np.diff(scene.values.astype("int32"), axis=-1))
    assert 3 < apart.mean() < 60
    assert apart[..., 511].mean() < 2 * apart.mean()


def test_the_same_scene_comes_out_with_any_number_of_threads_and_after_any_interruption(tmp_path):
    told = []
    generate(str(tmp_path / "a.zarr"), "8MB", workers=1, progress=lambda now: told.append((now.done, now.total)))
    whole = files_of(tmp_path / "a.zarr")
    assert told == [(n, 4) for n in (1, 2, 3, 4)]

    with pytest.raises(StoppedError):
        generate(str(tmp_path / "b.zarr"), "8MB", workers=1, progress=stop)
    assert "zarr.json" not in files_of(tmp_path / "b.zarr")
    again = generate(str(tmp_path / "b.zarr"), "8MB", workers=3)
    assert again.made <= 2
    assert files_of(tmp_path / "b.zarr") == whole
    assert generate(str(tmp_path / "b.zarr"), "8MB").made == 0


def test_nothing_else_is_replaced_and_another_scene_only_when_asked(tmp_path):
    target = str(tmp_path / "a.zarr")
    generate(target, "1MB")
    before = files_of(tmp_path / "a.zarr")
    for options in ({"seed": 1}, {"size": "2MB"}, {"mode": "create"}):
        with pytest.raises(TargetExistsError):
            generate(target, **{"size": "1MB", **options})
    assert files_of(tmp_path / "a.zarr") == before
    assert generate(target, "1MB", seed=1, mode="overwrite").made == 1
    assert files_of(tmp_path / "a.zarr")["image/c/0/0/0/0"] != before["image/c/0/0/0/0"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    for mode in ("resume", "overwrite"):
        with pytest.raises(TargetExistsError, match="holds something else"):
            generate(str(tmp_path / "mine"), "1MB", mode=mode)
    assert os.listdir(tmp_path / "mine") == ["thesis.txt"]


def test_a_stage_that_is_told_so_replaces_another_scene_and_goes_on_with_a_part_of_the_same(tmp_path):
    place = tmp_path / "a.zarr"

    def auto(size: str, **options):
        return generate(str(place), size, mode="auto", workers=1, **options)

    assert auto("1MB").made == 1
    assert auto("1MB").made == 0
    with pytest.raises(TargetExistsError, match="holds another scene"):
        auto("8MB")
    with dask.config.set({"patchmill.anew": True}):
        with pytest.raises(StoppedError):
            auto("8MB", progress=stop)
        (place / "mark").touch()
        assert auto("8MB").made < 4
        assert (place / "mark").exists()
        assert auto("8MB").made == 4
        assert not (place / "mark").exists()
        with pytest.raises(TargetExistsError, match="holds something else"):
            generate(str(tmp_path), "1MB", mode="auto")


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("create", ', which mode "create" does not touch: the stage would fail'),
        ("resume", ', would be gone on with if it is the same; mode "resume" replaces nothing'),
        ("overwrite", ", would be replaced"),
        ("auto", ", would be replaced"),
    ],
)
def test_a_dry_run_says_what_each_mode_makes_of_what_is_there(tmp_path, mode, said):
    place = tmp_path / "a"
    place.write_text("12345")
    stage, basis = Stage("generate", "", {"mode": mode}, {}), Basis("", {}, {}, "", {}, {})
    assert _becomes(str(place), stage, Decision(True, "", basis, anew=True)) == f"exists, 5 B{said}"
    assert _becomes(str(place), stage, Decision(False, "", basis)) == "exists, 5 B"
    assert _becomes(str(tmp_path / "b"), stage, Decision(True, "", basis, anew=True)) == "not there yet"


def test_what_can_not_fit_is_told_before(tmp_path):
    with pytest.raises(DiskFullError, match="make room, or choose another target or a smaller size"):
        generate(str(tmp_path / "a.zarr"), "900TB")
    with pytest.raises(ValueError, match="size must be a size"):
        generate(str(tmp_path / "a.zarr"), "huge")
    assert not (tmp_path / "a.zarr" / "image" / "c").exists()


def test_the_side_is_a_whole_number_of_pixels():
    assert [side_of(n, 4) for n in (1, 8, 31, 32, 20 * 10**9)] == [1, 1, 1, 2, 50_000]
    assert generating.CHUNK == 512


@pytest.mark.slow
def test_memory_does_not_grow_with_the_scene(tmp_path):
    def peak(size: str) -> int:
        script = (
            "import resource, sys; from patchmill.stages.generating import generate;"
            "generate(sys.argv[1], sys.argv[2], workers=2);"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)"
        )
        command = [sys.executable, "-c", script, str(tmp_path / size), size]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert peak("400MB") < peak("20MB") + 64 * 2**20


@pytest.mark.slow
def test_the_large_config_runs_in_small_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = ["generate.size=4MB", "patchify.patch_shape=64", "patchify.step=[32, 48]", "compute.memory=1GiB"]
    run = patchmill.run("patchmill:large", small)
    assert [(stage.name, stage.state) for stage in run.stages] == [
        ("generate", "done"),
        ("inspect", "done"),
        ("patchify", "done"),
        ("explore", "done"),
    ]
    root = tmp_path / "runs" / "large"
    scene = xr.open_zarr(root / "scene.zarr").image.values
    patches = patchmill.open_patches(root / "patches.zarr")
    expected = patchmill.patchify(scene, 64, (32, 48), edge="shift")
    assert (patches.layout, len(patches)) == ("canvas", expected.shape[2] * expected.shape[3])
    np.testing.assert_array_equal(patches[len(patches) - 1], expected[0, :, -1, -1])
    before = files_of(root / "patches.zarr")
    patchmill.run("patchmill:large", small)
    assert files_of(root / "patches.zarr") == before
