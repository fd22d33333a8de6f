"""Layout "canvas": windows of images that are stored once, beside a loop over padded copies."""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import patchmill
from handmade_sets import patches_of, write_set
from patchmill.grid import ImageGrids, PatchGrid
from patchmill.reading import clusters, windows
from patchmill.storage import Location, open_bulk

RANDOM = np.random.default_rng(0)


def pictures(sizes, channels=(2,), dtype="uint16"):
    return [RANDOM.integers(1, 1000, (*channels, *size)).astype(dtype) for size in sizes]


def everything(images, grid):
    return ImageGrids(grid, np.array([image.shape[-2:] for image in images])).exists(*(slice(None),) * 3)


SAME = [(23, 31)] * 3
DIFFERENT = [(23, 31), (23, 12), (5, 31), (5, 31), (9, 9), (1, 1)]
WAYS = [
    ("drop", 1, ("constant", 0)),
    ("shift", 1, ("constant", 0)),
    ("shift", 2, ("constant", 0)),
    ("pad", 1, ("constant", 7)),
    ("pad", 2, ("constant", [5, 6])),
    ("pad", 1, ("edge", 0)),
    ("pad", 3, ("reflect", 0)),
    ("pad", 2, ("symmetric", 0)),
]


@pytest.mark.parametrize("sizes", [SAME, DIFFERENT], ids=["same", "different"])
@pytest.mark.parametrize("chunk", [(1, 5, 7), (4, 23, 31), (1, 64, 64)], ids=str)
@pytest.mark.parametrize(("edge", "dilation", "pad"), WAYS)
def test_windows_are_those_of_the_loop(tmp_path, monkeypatch, sizes, chunk, edge, dilation, pad):
    images = pictures(sizes)
    grid = PatchGrid((23, 31), (6, 5), (4, 3), dilation, edge)
    write_set(tmp_path / "set", {"image": images}, grid, pad=pad, chunk=chunk)
    ps = patchmill.open_patches(tmp_path / "set")
    exists = everything(images, grid)
    expected = patches_of(images, grid, exists, pad)
    assert ps.layout == "canvas"
    assert len(ps) == len(expected)
    order = RANDOM.permutation(np.arange(-len(ps), len(ps)))
    # As small patches, which are cut many at a time, and as large ones, each by itself.
    for large, small in ((2**30, 0), (1, 0), (2**30, 2**14), (1, 2**14)):
        monkeypatch.setattr(windows, "_LARGE", large)
        monkeypatch.setattr(windows, "_SMALL", small)
        np.testing.assert_array_equal(ps.read(order), expected[order])
        np.testing.assert_array_equal(ps.read(order[:3]), expected[order[:3]])
    full = np.zeros((len(images), *grid.counts, *expected.shape[1:]), np.uint16)
    full[exists] = expected
    np.testing.assert_array_equal(ps.to_dask().compute(), full.transpose(0, 3, 1, 2, 4, 5))
    np.testing.assert_array_equal(ps[-1], expected[-1])


def test_views_are_cut_like_canvases():
    images = np.stack(pictures(SAME))
    for edge, dilation, pad in WAYS:
        if isinstance(pad[1], list):
            continue
        view = patchmill.view_patches(
            images, (6, 5), (4, 3), dilation=dilation, edge=edge, pad_mode=pad[0], pad_value=pad[1]
        )
        expected = patches_of(list(images), view.grid, everything(images, view.grid), pad)
        np.testing.assert_array_equal(view.read(np.arange(len(view))[::-1]), expected[::-1])


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "symmetric"])
@pytest.mark.parametrize("n", [11, 12, 13, 14, 15])
def test_a_window_of_which_one_pixel_is_left(mode, n):
    image = pictures([(n, n)])[0]
    view = patchmill.view_patches(image, 5, 5, edge="pad", pad_mode=mode)
    expected = patchmill.patchify(image, 5, 5, edge="pad", pad_mode=mode).transpose(1, 2, 0, 3, 4).reshape(-1, 2, 5, 5)
    for order in ([8], [0, 8, 5], np.arange(9)):
        np.testing.assert_array_equal(view.read(order), expected[order])


def test_a_view_of_a_dask_array_and_of_a_store(tmp_path):
    import dask.array as da

    image = pictures([(40, 50)])[0]
    expected = patchmill.view_patches(image, 8, 3)
    order = RANDOM.integers(0, len(expected), 50)
    lazy = patchmill.view_patches(da.from_array(image, chunks=(1, 16, 16)), 8, 3)
    np.testing.assert_array_equal(lazy.read(order), expected.read(order))
    array = xr.Dataset({"a": (("y", "x", "band"), image.transpose(1, 2, 0))})
    array.to_zarr(tmp_path / "a.zarr", encoding={"a": {"chunks": (16, 16, 1)}}, consolidated=False, zarr_format=3)
    stored = patchmill.view_patches(tmp_path / "a.zarr", 8, 3, dims={"channel": "band"})
    np.testing.assert_array_equal(stored.read(order), expected.read(order))


def test_small_images_of_every_kind_of_source(tmp_path, monkeypatch):
    import dask.array as da

    monkeypatch.setattr(windows, "PENDING", 5 * 12 * 9 * 2)  # five images at a time
    images = np.stack(pictures([(12, 9)] * 40, (1,)))[:, 0]
    data = xr.DataArray(images, dims=("time", "y", "x"), name="a")
    data.to_dataset().to_zarr(tmp_path / "a.zarr", encoding={"a": {"chunks": (4, 12, 9)}}, consolidated=False)
    lazy = xr.open_zarr(tmp_path / "a.zarr", chunks=None, consolidated=False)["a"]
    expected = patchmill.patchify(images, 4, 3, edge="pad", pad_mode="reflect").reshape(-1, 4, 4)
    order = RANDOM.integers(0, len(expected), 100)
    named, unnamed = {"image": "time"}, None
    for source, dims in (
        (images[:, None], unnamed),
        (da.from_array(images[:, None], chunks=(7, 1, 5, 5)), unnamed),
        (tmp_path / "a.zarr", named),
        (data, named),
        (lazy, named),
    ):
        view = patchmill.view_patches(source, 4, 3, edge="pad", pad_mode="reflect", dims=dims)
        np.testing.assert_array_equal(view.read(order).reshape(-1, 4, 4), expected[order])


def test_several_variables_one_without_channels(tmp_path):
    images = {"image": pictures(SAME), "mask": pictures(SAME, (), "uint8")}
    grid = PatchGrid((23, 31), 6, 4, edge="pad")
    write_set(tmp_path / "set", images, grid, pad=("constant", 3))
    ps = patchmill.open_patches(tmp_path / "set")
    batch = ps.read([5, 0, -1])
    for name, pixels in images.items():
        expected = patches_of(pixels, grid, everything(pixels, grid), ("constant", 3))
        np.testing.assert_array_equal(batch[name], expected[[5, 0, -1]])
        assert ps.to_xarray()[name].dims[-4:] == ("grid_y", "grid_x", "patch_y", "patch_x")
    assert ps.to_xarray()["mask"].dims == ("image", "grid_y", "grid_x", "patch_y", "patch_x")


@pytest.mark.parametrize("dtype", ["float32", "complex64", "bool", "int8"])
def test_padding_of_other_types(tmp_path, dtype):
    images = pictures([(7, 7)], (2,), dtype)
    value = {"float32": "nan", "complex64": "1+2j", "bool": True, "int8": -1}[dtype]
    grid = PatchGrid((7, 7), 4, 3, edge="pad")
    write_set(tmp_path / "set", {"image": images}, grid, pad=("constant", value))
    number = complex(value) if dtype == "complex64" else float(value) if dtype == "float32" else value
    found = patchmill.open_patches(tmp_path / "set").read(np.arange(4))
    np.testing.assert_array_equal(found, patches_of(images, grid, np.ones((1, 2, 2), bool), ("constant", number)))


# -- what is missing ---------------------------------------------------------------------------------------------------


def test_a_chunk_that_must_be_there_is_missing(tmp_path):
    images = pictures([(20, 20)])
    write_set(tmp_path / "set", {"image": images}, PatchGrid((20, 20), 5, 5), chunk=(1, 5, 5), shard=(1, 2, 5, 5))
    (tmp_path / "set" / "canvas" / "c" / "0" / "0" / "1" / "1").unlink()
    ps = patchmill.open_patches(tmp_path / "set")
    np.testing.assert_array_equal(ps[0], images[0][:, :5, :5])
    for read in (lambda: ps[5], lambda: ps.read([0, 5]), lambda: ps.to_dask().compute()):
        with pytest.raises(patchmill.PatchmillError, match="missing"):
            read()


def test_an_unknown_layout_is_named(tmp_path):
    write_set(tmp_path / "set", {"image": pictures([(9, 9)])}, PatchGrid((9, 9), 3))
    root = tmp_path / "set" / "zarr.json"
    root.write_text(root.read_text().replace('"layout": "canvas"', '"layout": "film"'))
    with pytest.raises(patchmill.PatchmillError, match="layout 'film'"):
        patchmill.open_patches(tmp_path / "set")


# -- catalog -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("edge", ["drop", "pad", "shift"])
def test_coordinates_lie_at_the_origins_as_for_patches(tmp_path, edge):
    images = pictures([(23, 31)] * 2)
    grid = PatchGrid((23, 31), 6, 4, edge=edge)
    labels = {"y": np.linspace(50, 49, 23), "x": np.linspace(8, 9, 31)}
    for layout in ("canvas", "patches"):
        if (layout, edge) != ("patches", "pad"):
            write_set(tmp_path / layout, {"image": images}, grid, layout=layout, labels=labels, chunk=(1, 5, 5))
    ps = patchmill.open_patches(tmp_path / "canvas")
    assert not {"y", "x"} & set(ps.catalog.dims)
    np.testing.assert_array_equal(ps.catalog["y"], labels["y"][list(grid.axes[0])])
    data = ps.to_xarray()
    assert data["patches"].dims == ("image", "channel", "grid_lat", "grid_lon", "patch_lat", "patch_lon")
    assert data["lat"].attrs == {"units": "degrees"}
    if edge != "pad":
        stored = patchmill.open_patches(tmp_path / "patches").to_xarray()
        xr.testing.assert_identical(data.drop_attrs(deep=False), stored.drop_attrs(deep=False))


def test_coordinates_go_where_images_have_origins_of_their_own(tmp_path):
    labels = {"y": np.arange(23.0), "x": np.arange(31.0)}
    write_set(tmp_path / "set", {"image": pictures(DIFFERENT)}, PatchGrid((23, 31), 6, 4, edge="shift"), labels=labels)
    catalog = patchmill.open_patches(tmp_path / "set").catalog
    assert "y" not in catalog
    assert catalog["origin_y"].dims == ("image", "grid_y")


def test_plain_readers_open_a_canvas(tmp_path):
    images = pictures(SAME)
    write_set(tmp_path / "set", {"image": images}, PatchGrid((23, 31), 6, 4))
    np.testing.assert_array_equal(xr.open_zarr(tmp_path / "set")["canvas"], np.stack(images))
    ps = patchmill.open_patches(tmp_path / "set")
    assert re.search("canvas", repr(ps))
    assert "canvas" in ps._repr_html_()


# -- reads -------------------------------------------------------------------------------------------------------------


BOXES = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 60), st.integers(0, 60)), min_size=1, max_size=40)


@given(
    BOXES,
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.tuples(st.integers(1, 4), st.integers(1, 80), st.integers(1, 80)),
    st.sampled_from([1, 40, 4000]),
)
def test_boxes_hold_their_windows_each_once(origins, span, chunk, pixel):
    low = np.array(origins)
    high = low + np.array([1, *span])
    kinds = low[:, 0] // 3
    reads = clusters.clustered(low, high, kinds, clusters.Stored((10, 70, 70), chunk, pixel))
    assert sorted(np.concatenate(reads.members).tolist()) == list(range(len(low)))
    assert [n for batch in reads.batches() for n in batch] == list(range(len(reads.members)))
    for members, begin, end in zip(reads.members, reads.low, reads.high, strict=True):
        assert (low[members].min(axis=0) == begin).all()
        assert (high[members].max(axis=0) == end).all()
        assert len(set(kinds[members])) == 1
    alone = {tuple(row) for row in np.column_stack([low, high]).tolist()}
    assert len(reads.members) <= len(alone)
    again = clusters.clustered(
        *(np.repeat(each, 3, axis=0) for each in (low, high, kinds)), clusters.Stored((10, 70, 70), chunk, pixel)
    )
    np.testing.assert_array_equal(np.stack([again.low, again.high]), np.stack([reads.low, reads.high]))


class Recorder:
    """Counts the reads of an array, and their pixels."""

    def __init__(self, ps, monkeypatch):
        self.regions = []
        variable = ps.variables[0].pixels.variable
        real = variable.read

        def recorded(regions):
            self.regions += regions
            return real.many(regions)

        object.__setattr__(variable, "read", SimpleNamespace(many=recorded))

    @property
    def pixels(self):
        return sum(np.prod([side.stop - side.start for side in (a, y, x)]) for a, _, y, x in self.regions)


@pytest.mark.parametrize(("patch", "step"), [(16, 8), pytest.param(2, 1, marks=pytest.mark.slow)])
def test_small_patches_take_a_read_a_chunk_not_a_patch(tmp_path, monkeypatch, patch, step):
    images = pictures([(28, 28)] * 200, (), "uint8")
    grid = PatchGrid((28, 28), patch, step)
    write_set(tmp_path / "set", {"image": images}, grid, chunk=(64, 28, 28))
    ps = patchmill.open_patches(tmp_path / "set")
    expected = patches_of(images, grid, np.ones((200, *grid.counts), bool))
    # Whole images in one read, or a box around the windows of each chunk.
    np.testing.assert_array_equal(ps.read(np.arange(len(ps))[::-3]), expected[::-3])
    monkeypatch.setattr(windows, "_SMALL", 0)
    for order in (RANDOM.integers(0, len(ps), 3000), np.arange(500)):
        seen = Recorder(ps, monkeypatch)
        np.testing.assert_array_equal(ps.read(order), expected[order])
        assert len(seen.regions) <= 4
        assert seen.pixels <= 200 * 28 * 28


def test_neighbors_are_read_as_a_rectangle_and_duplicates_once(tmp_path, monkeypatch):
    write_set(tmp_path / "set", {"image": pictures([(256, 256)])}, PatchGrid((256, 256), 64, 32), chunk=(1, 32, 32))
    ps = patchmill.open_patches(tmp_path / "set")
    seen = Recorder(ps, monkeypatch)
    ps.read(np.arange(7))
    assert seen.pixels <= 64 * (256 + 64)
    seen = Recorder(ps, monkeypatch)
    ps.read([0, 48, 0, 48, 0])
    assert seen.pixels == 2 * 64 * 64


def test_no_more_is_under_way_than_memory_allows():
    low = np.column_stack([np.zeros(500, int), np.arange(500) * 1000, np.zeros(500, int)])
    reads = clusters.clustered(
        low, low + np.array([1, 512, 512]), low[:, 0], clusters.Stored((1, 500_000, 512), (1, 64, 64), 8)
    )
    sizes = [int(reads.size[batch].sum()) for batch in reads.batches()]
    assert max(sizes) <= 64 * 2**20
    assert len(sizes) == -(-500 * 512 * 512 * 8 // (64 * 2**20))


def test_nothing_asked_for(tmp_path):
    write_set(tmp_path / "set", {"image": pictures(SAME)}, PatchGrid((23, 31), 6, 4))
    assert patchmill.open_patches(tmp_path / "set").read([]).shape == (0, 2, 6, 6)
    assert open_bulk(Location.parse(tmp_path / "set" / "canvas")).chunk == (1, 2, 5, 7)
