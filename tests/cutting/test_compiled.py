"""Compiled kernels: loaded where the plan says so, in this process or a worker's, and never needed."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import patchmill
from cuts import array_objects
from patchmill.cutting import compiled
from patchmill.planning import making


@pytest.fixture
def fresh(monkeypatch):
    """Nothing is loaded, and few pixels are many."""
    monkeypatch.setattr(compiled, "_LOADED", [])
    monkeypatch.setattr(making, "_COMPILED_BYTES", 1000)
    return monkeypatch


@pytest.mark.parametrize("layout", ["patches", "canvas"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32"])
def test_a_set_is_the_same_to_the_last_byte(fresh, tmp_path, layout, dtype):
    pytest.importorskip("numba", reason="the extra fast is not installed")
    image = np.random.default_rng(0).integers(0, 200, (2, 3, 500, 420)).astype(dtype)
    image[:, :, 100:180, 50:300] = np.nan if dtype == "float32" else 7
    cut = {"patch_shape": 64, "step": 24, "layout": layout, "edge": "pad", "statistics": True}
    patchmill.write_patches(image, tmp_path / "compiled.zarr", **cut, memory="4GiB")
    assert compiled.kernels() is not None
    fresh.setattr(compiled, "_LOADED", [])
    fresh.setattr(compiled, "installed", lambda: False)
    patchmill.write_patches(image, tmp_path / "plain.zarr", **cut, memory="4GiB")
    assert compiled.kernels() is None
    assert array_objects(tmp_path / "compiled.zarr") == array_objects(tmp_path / "plain.zarr")


def test_without_numba_nothing_is_loaded(fresh, tmp_path):
    fresh.setattr(compiled, "installed", lambda: False)
    image = np.random.default_rng(0).integers(0, 200, (1, 1, 300, 300)).astype("uint16")
    found = patchmill.write_patches(image, tmp_path / "set.zarr", 64, 32, memory="4GiB")
    assert compiled.kernels() is None
    assert float(found.catalog["stat_mean"][0, 0, 0, 0]) == pytest.approx(image[0, 0, :64, :64].mean())


def test_small_cuts_do_not_load_numba(tmp_path):
    script = f"""
import sys, numpy as np, patchmill
patchmill.write_patches(np.zeros((1, 1, 600, 600), "uint16"), {str(tmp_path / "set.zarr")!r}, 64, memory="4GiB")
assert "numba" not in sys.modules and "llvmlite" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_where_nothing_can_be_kept_kernels_are_compiled_anyway(monkeypatch):
    numba = pytest.importorskip("numba", reason="the extra fast is not installed")
    from patchmill.cutting import kernels

    def njit(function, **options):
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return options

    monkeypatch.setattr(kernels, "njit", njit)
    assert kernels._compile(len) == {"nogil": True, "error_model": "numpy"}
    assert numba.njit is not njit
