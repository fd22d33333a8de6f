"""Images of different sizes share a canvas, and each is cut by its own extent."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import patchmill
from patchmill.planning import shapes
from slow_loops import cut


def ingested(folder, sizes):
    """A canonical store of gray images, and the images."""
    images = [np.random.default_rng(n).integers(1, 256, size, "uint8") for n, size in enumerate(sizes)]
    for number, image in enumerate(images):
        np.save(folder / f"{number:03}.npy", image)
    patchmill.ingest(str(folder / "*.npy"), folder / "source.zarr")
    return images


@pytest.fixture(params=[600, 20_000], ids=["many shards an image", "many images a shard"])
def shards(request, monkeypatch):
    monkeypatch.setattr(shapes, "_SHARD", request.param)
    monkeypatch.setattr(shapes, "_SMALL", request.param // 10)
    monkeypatch.setattr(
        shapes, "_ROWS", 16
    )  # several chunks of the catalog an image, some behind the end of a small one


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=6),
    patch=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    step=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    edge=st.sampled_from(["drop", "pad", "shift"]),
)
def test_every_image_by_its_own_extent(tmp_path_factory, shards, sizes, patch, step, edge):
    folder = tmp_path_factory.mktemp("sizes")
    images = ingested(folder, sizes)
    loops = [cut(image, patch, step, (1, 1), edge) for image in images]
    if not any(loops):
        with pytest.raises(ValueError, match="a patch must fit"):
            patchmill.write_patches(folder / "source.zarr", folder / "set.zarr", patch, step, edge=edge)
        return
    ps = patchmill.write_patches(folder / "source.zarr", folder / "set.zarr", patch, step, edge=edge)
    expected = [patch for loop in loops for patch in loop.values()]
    assert len(ps) == len(expected)
    np.testing.assert_array_equal(ps.read(np.arange(len(ps))), np.stack(expected))
    exists = zarr.open_group(folder / "set.zarr", mode="r")["exists"][...]
    assert {tuple(at) for at in np.argwhere(exists)} == {(n, *at) for n, loop in enumerate(loops) for at in loop}
    stored = xr.open_zarr(folder / "set.zarr")["patches"].values
    for number, loop in enumerate(loops):
        for at, patch_ in loop.items():
            np.testing.assert_array_equal(stored[(number, *at)], patch_)
    view = patchmill.view_patches(folder / "source.zarr", patch, step, edge=edge)
    np.testing.assert_array_equal(view.to_dask().compute(), stored)
    image, origin = ps.locate(np.arange(len(ps)))
    catalog = ps.catalog
    for name, axis in (("origin_y", 0), ("origin_x", 1)):
        along = catalog[name].values
        _, position = ps.grids.locate(np.arange(len(ps)))
        found = along[image, position[:, axis]] if along.ndim == 2 else along[position[:, axis]]
        np.testing.assert_array_equal(found, origin[:, axis])


@pytest.mark.parametrize("layout", ["patches", "canvas"])
def test_the_catalog_of_small_images_beside_large_ones(tmp_path, shards, layout):
    images = ingested(tmp_path, [(40, 60), (40, 9), (7, 60)])
    ps = patchmill.write_patches(tmp_path / "source.zarr", tmp_path / "set.zarr", 6, 2, layout=layout, statistics=True)
    found = [patch for image in images for patch in cut(image, (6, 6), (2, 2), (1, 1), "drop").values()]
    means = ps.catalog.stat_mean.values[ps.catalog.exists.values]
    np.testing.assert_allclose(means, [patch.mean() for patch in found], rtol=1e-6)
    assert patchmill.verify(tmp_path / "set.zarr", deep=True).ok


def test_the_small_ones_are_counted_and_named(tmp_path):
    ingested(tmp_path, [(40, 40), (5, 50), (33, 20)])
    plan = patchmill.plan(tmp_path / "source.zarr", 16)
    assert plan.too_small == 1
    assert "1 smaller than a patch" in repr(plan)
    ps = patchmill.write_patches(tmp_path / "source.zarr", tmp_path / "set.zarr", 16)
    assert ps.too_small == ["001"]
    assert "1 too small" in repr(ps)
    assert "001" in ps._repr_html_()


def test_shards_that_no_image_reaches_are_not_waited_for(tmp_path, shards):
    told = []
    ingested(tmp_path, [(90, 20), (20, 90), (16, 16)])
    patchmill.write_patches(tmp_path / "source.zarr", tmp_path / "out", 16, 8, progress=told.append)
    stored = [path for path in (tmp_path / "out/patches/c").rglob("*") if path.is_file()]
    assert told[-1].shards == told[-1].shards_total == len(stored)
    assert told[-1].done == told[-1].total
