"""Both layouts, whatever the source, the way of reading and the memory: the same patches as the slow loop's."""

from __future__ import annotations

import shutil

import dask.array as da
import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import patchmill
from cuts import CASES, CUTS, expected_patches, pixels, tiny_shards  # noqa: F401 - a fixture
from patchmill.planning import shapes

KINDS = st.sampled_from(["numpy", "dask", "zarr"])
TUNING = st.fixed_dictionaries(
    {},
    optional={
        "read": st.sampled_from(["region", "overlap"]),
        "band": st.integers(1, 4),
        "rows": st.integers(1, 3),
        "inflight": st.integers(1, 3),
        "cache": st.sampled_from([0, 500, "1MiB"]),
    },
)


def as_source(kind, image, folder, chunks):
    if kind == "dask":
        return da.from_array(image, chunks=chunks)
    if kind == "zarr":
        shutil.rmtree(folder / "source.zarr", ignore_errors=True)
        zarr.create_array(
            folder / "source.zarr",
            data=image,
            chunks=tuple(min(n, m) for n, m in zip(chunks, image.shape, strict=True)),
        )
        return folder / "source.zarr"
    return image


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=CASES, cut=CUTS, kind=KINDS, tuning=TUNING, layout=st.sampled_from(["patches", "canvas"]), data=st.data())
def test_any_cut_in_any_layout_is_the_loops(tmp_path_factory, tiny_shards, case, cut, kind, tuning, layout, data):  # noqa: F811
    shape, dtype = case
    image = pixels(shape, dtype)
    expected = expected_patches(image, cut)
    if not len(expected):
        return
    folder = tmp_path_factory.mktemp("layouts")
    chunks = data.draw(st.tuples(*(st.integers(1, n) for n in shape)))
    source = as_source(kind, image, folder, chunks)
    ps = patchmill.write_patches(source, folder / "set.zarr", **cut, layout=layout, tuning=tuning)
    assert len(ps) == len(expected)
    np.testing.assert_array_equal(ps.read(np.arange(len(ps))), expected)
    twin = patchmill.write_patches(
        image, folder / "twin.zarr", **cut, layout="patches", statistics=ps.layout == "patches" or None
    )
    mine, other = xr.open_zarr(folder / "set.zarr"), xr.open_zarr(folder / "twin.zarr")
    for name in ("exists", "valid_fraction"):
        np.testing.assert_array_equal(mine[name], other[name])
    assert len(twin) == len(ps)


@pytest.mark.parametrize("layout", ["patches", "canvas"])
@pytest.mark.parametrize("edge", ["drop", "pad", "shift"])
def test_statistics_are_the_same_in_both_layouts_and_for_every_block(tmp_path, monkeypatch, layout, edge):
    image = np.random.default_rng(0).normal(size=(2, 3, 90, 110)).astype("float32")
    image[0, 1, 20:60, 30:50] = np.nan
    arguments = {"patch_shape": 16, "step": 7, "edge": edge, "statistics": True}
    patchmill.write_patches(image, tmp_path / "whole.zarr", **arguments)
    for limit in (4000, 20_000, 100_000):
        monkeypatch.setattr(shapes, "_SHARD", limit)
        patchmill.write_patches(image, tmp_path / f"{limit}.zarr", **arguments, layout=layout)
        one, other = xr.open_zarr(tmp_path / "whole.zarr"), xr.open_zarr(tmp_path / f"{limit}.zarr")
        for name in ("exists", "valid_fraction", "stat_mean", "stat_std", "stat_min", "stat_max"):
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def test_a_canvas_is_as_large_for_every_step(tmp_path):
    image = np.random.default_rng(0).integers(0, 2000, (1, 2, 500, 600), "uint16")
    sizes = {}
    for step in (1, 32):
        patchmill.write_patches(image, tmp_path / f"{step}.zarr", 32, step, layout="canvas")
        sizes[step] = sum(p.stat().st_size for p in (tmp_path / f"{step}.zarr").rglob("*") if p.is_file())
    assert sizes[1] < 1.1 * sizes[32]


def test_images_of_different_sizes_on_a_canvas(tmp_path, tiny_shards):  # noqa: F811
    sizes = [(20, 31), (9, 9), (3, 40), (31, 12)]
    canvas = np.zeros((4, 2, 31, 40), "uint16")
    for at, (height, width) in enumerate(sizes):
        canvas[at, :, :height, :width] = pixels((2, height, width), "uint16", seed=at)
    data = xr.Dataset(
        {
            "image": (("image", "channel", "y", "x"), canvas),
            "height": ("image", [h for h, _ in sizes]),
            "width": ("image", [w for _, w in sizes]),
        }
    )
    for edge in ("drop", "pad", "shift"):
        one = patchmill.write_patches(data, tmp_path / f"p-{edge}.zarr", 8, 5, edge=edge)
        two = patchmill.write_patches(data, tmp_path / f"c-{edge}.zarr", 8, 5, edge=edge, layout="canvas")
        assert len(one) == len(two)
        np.testing.assert_array_equal(one.read(np.arange(len(one))), two.read(np.arange(len(two))))
        np.testing.assert_array_equal(one.catalog["exists"], two.catalog["exists"])
