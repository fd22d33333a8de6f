"""The canonical store: what other readers find in it, and where its objects lie."""

from __future__ import annotations

import hashlib
import json
import os

import numpy as np
import pytest
import tensorstore as ts
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

import patchmill
from ingesting.looking import dataset_of, images_of
from patchmill.ingesting.agreeing import Layout
from patchmill.types import Progress


def save_all(folder, images):
    folder.mkdir(exist_ok=True)
    for number, values in enumerate(images):
        np.save(folder / f"{number}.npy", values)


def objects_of(store):
    """Key to bytes, of every object but the root, which has times in it, and the record of files, which has paths."""
    return {key: data for key, data in every_object_of(store).items() if not key.startswith("provenance/")}


def every_object_of(store):
    """Key to bytes, of every object but the root."""
    found = {}
    for folder, _, files in os.walk(store):
        for name in files:
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, store)] = file.read()
    root = found.pop("zarr.json")
    assert json.loads(root)["attributes"]["patchmill"]["kind"] == "source"
    return found


sizes = st.tuples(st.integers(1, 40), st.integers(1, 40))


@settings(max_examples=30)
@given(
    extents=st.lists(sizes, min_size=1, max_size=9),
    channels=st.sampled_from([None, 1, 2, 5]),
    dtype=st.sampled_from(["u1", "i4", "f8", "?"]),
)
def test_every_reader_finds_every_pixel(tmp_path_factory, extents, channels, dtype):
    folder = tmp_path_factory.mktemp("store")
    rng = np.random.default_rng(len(extents))
    shape = () if channels is None else (channels,)
    images = [(rng.random((*shape, *extent)) * 99).astype(dtype) for extent in extents]
    save_all(folder / "in", images)
    # A lone pixel row of 3 or 4 columns would be taken for a picture with its channels last.
    dims = ("y", "x") if channels is None else ("channel", "y", "x")
    report = patchmill.ingest(folder / "in", folder / "t.zarr", dims=dims)
    for mine, found in zip(images, images_of(folder / "t.zarr"), strict=True):
        assert (mine == found).all()
    store = dataset_of(folder / "t.zarr")
    assert store.image.dtype == np.dtype(dtype)
    assert store.image.dims == (("image", "y", "x") if channels is None else ("image", "channel", "y", "x"))
    array = ts.open(
        {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{folder}/t.zarr/image/"}}, open=True
    ).result()
    assert (array.read().result() == store.image.values).all()
    assert report.sizes == tuple(extents)
    assert [tuple(size) for size in zip(store.height.values, store.width.values, strict=True)] == extents
    assert store.name.values.tolist() == list(report.names)
    assert report.nbytes == sum(image.nbytes for image in images)


def test_the_root_says_what_the_store_is(tmp_path, ingest, rng):
    save_all(tmp_path / "in", [rng.random((3, 20, 30))])
    report, _ = ingest(tmp_path / "in")
    document = json.loads((tmp_path / "made" / "source.zarr" / "zarr.json").read_bytes())
    own = document["attributes"]["patchmill"]
    assert (own["format"], own["kind"], own["variables"]) == (1, "source", ["image"])
    arrays = document["consolidated_metadata"]["metadata"]
    assert set(own["digests"]) == set(arrays)
    for name, digest in own["digests"].items():
        data = (tmp_path / "made" / "source.zarr" / name / "zarr.json").read_bytes()
        assert hashlib.sha256(data).hexdigest() == digest
    assert own["provenance"]["files"] == {"count": 1, "bytes": os.path.getsize(tmp_path / "in" / "0.npy")}
    assert own["arguments"] == {"level": 0, "dims": None, "channels": None, "variables": []}
    assert own["generation"] == 0
    assert report.target == str(tmp_path / "made" / "source.zarr")


def test_codecs_are_those_of_format_1(tmp_path, ingest, rng):
    save_all(tmp_path / "in", [rng.random((3, 20, 30))])
    ingest(tmp_path / "in")
    document = json.loads((tmp_path / "made" / "source.zarr" / "image" / "zarr.json").read_bytes())
    [sharding] = document["codecs"]
    assert sharding["name"] == "sharding_indexed"
    assert [codec["name"] for codec in sharding["configuration"]["codecs"]] == ["bytes", "blosc", "crc32c"]


# -- which chunks are there -----------------------------------------------------------------------------------------


def chunks_there(store, name="image"):
    """Indices of the chunks that are stored, told by tensorstore, which raises for one that is not."""
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{store}/{name}/"}}
    array = ts.open({**spec, "fill_missing_data_reads": False}, open=True).result()
    chunk, found = array.chunk_layout.read_chunk.shape, set()
    for place in np.ndindex(*(-(-n // size) for n, size in zip(array.shape, chunk, strict=True))):
        region = tuple(
            slice(at * size, min((at + 1) * size, n)) for at, size, n in zip(place, chunk, array.shape, strict=True)
        )
        try:
            array[region].read().result()
        except ValueError:
            continue
        found.add(place)
    return found, chunk


@pytest.mark.parametrize("extents", [[(700, 1300), (1300, 600), (1, 1)], [(40, 50)] * 3 + [(10, 20)], [(513, 512)]])
def test_chunks_are_stored_inside_the_extents_and_nowhere_else(tmp_path, ingest, extents):
    save_all(tmp_path / "in", [np.zeros(extent, np.uint16) for extent in extents])
    ingest(tmp_path / "in")
    there, chunk = chunks_there(tmp_path / "made" / "source.zarr")
    expected = set()
    for image, extent in enumerate(extents):
        for place in np.ndindex(*(-(-n // size) for n, size in zip(extent, chunk[1:], strict=True))):
            expected.add((image // chunk[0], *place))
    assert there == expected


@given(
    st.one_of(st.none(), st.integers(1, 400)),
    st.integers(1, 3000),
    st.integers(1, 3000),
    st.sampled_from(["u1", "u2", "f4", "f8", "c16"]),
)
def test_a_chunk_of_several_images_is_as_large_as_the_canvas(channels, height, width, dtype):
    shapes = Layout("image", np.dtype(dtype), channels, None, height, width).shapes
    whole = (channels or 1, height, width)
    for shape in (shapes.chunk, shapes.shard):
        assert shape[0] == 1 or all(size >= n for size, n in zip(shape[1:], whole, strict=True))


def test_the_same_files_give_the_same_bytes(tmp_path, rng):
    save_all(tmp_path / "in", [rng.random((3, 600, 40 * number)).astype("f4") for number in range(1, 6)])
    options = [{}, {"workers": 1}, {"workers": 5, "memory": "512MiB"}]
    for number, each in enumerate(options):
        patchmill.ingest(tmp_path / "in", tmp_path / f"{number}.zarr", **each)
    first, *others = (objects_of(tmp_path / f"{number}.zarr") for number in range(len(options)))
    assert all(other == first for other in others)


def test_pieces_and_wholes_give_the_same_bytes(tmp_path, rng, monkeypatch):
    import tifffile

    from patchmill.ingesting import scenes

    (tmp_path / "in").mkdir()
    for name, size in {"a": (3000, 1100), "b": (700, 2600)}.items():
        values = rng.integers(0, 60000, (*size, 3), dtype=np.uint16)
        tifffile.imwrite(tmp_path / "in" / f"{name}.tif", values, tile=(256, 256), photometric="rgb", compression="lzw")
    patchmill.ingest(tmp_path / "in", tmp_path / "whole.zarr")
    monkeypatch.setattr(scenes, "WHOLE", 1000)
    watched = []
    patchmill.ingest(tmp_path / "in", tmp_path / "pieces.zarr", progress=watched.append)
    assert objects_of(tmp_path / "whole.zarr") == objects_of(tmp_path / "pieces.zarr")
    for first, second in zip(images_of(tmp_path / "whole.zarr"), images_of(tmp_path / "pieces.zarr"), strict=True):
        assert (first == second).all()
    assert len(watched) > 4
    assert watched[-1] == Progress(2, 2, 3000 * 1100 * 6 + 700 * 2600 * 6)
    assert [far.nbytes for far in watched] == sorted(far.nbytes for far in watched)


def test_many_channels_in_pieces(tmp_path, rng, monkeypatch):
    from patchmill.ingesting import scenes

    monkeypatch.setattr(scenes, "WHOLE", 1000)
    values = rng.integers(0, 255, (70, 600, 700), dtype=np.uint8)
    save_all(tmp_path / "in", [values, values[:, :100, :100]])
    patchmill.ingest(tmp_path / "in", tmp_path / "t.zarr")
    first, second = images_of(tmp_path / "t.zarr")
    assert (first == values).all()
    assert (second == values[:, :100, :100]).all()


def test_small_images_share_a_shard_and_one_object(tmp_path, rng):
    images = [rng.integers(0, 255, (28, 28), dtype=np.uint8) for _ in range(100)]
    save_all(tmp_path / "in", images)
    patchmill.ingest(tmp_path / "in", tmp_path / "t.zarr")
    assert (np.array(images_of(tmp_path / "t.zarr")) == images).all()
    assert [key for key in objects_of(tmp_path / "t.zarr") if key.startswith("image/c/")] == ["image/c/0/0/0"]


# -- what is at the target ------------------------------------------------------------------------------------------


def test_an_empty_folder_is_a_free_target(tmp_path):
    save_all(tmp_path / "in", [np.ones((4, 5))])
    (tmp_path / "t.zarr").mkdir()
    assert len(patchmill.ingest(tmp_path / "in", tmp_path / "t.zarr")) == 1


def test_folders_around_the_target_are_made(tmp_path):
    save_all(tmp_path / "in", [np.ones((4, 5))])
    patchmill.ingest(tmp_path / "in", tmp_path / "x" / "y" / "t.zarr")
    assert zarr.open_group(tmp_path / "x" / "y" / "t.zarr", mode="r")["image"].shape == (1, 4, 5)


def test_create_replaces_nothing_and_overwrite_only_its_own(tmp_path):
    save_all(tmp_path / "in", [np.ones((4, 5))])
    target = tmp_path / "t.zarr"
    patchmill.ingest(tmp_path / "in", target)
    before = objects_of(target)
    with pytest.raises(patchmill.PatchmillError, match='use mode="overwrite"'):
        patchmill.ingest(tmp_path / "in", target)
    assert objects_of(target) == before
    save_all(tmp_path / "in", [np.full((6, 7), 2)])
    patchmill.ingest(tmp_path / "in", target, mode="overwrite")
    assert images_of(target)[0].shape == (6, 7)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "t.zarr"]


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), KeyboardInterrupt()])
@pytest.mark.parametrize("after", [False, True])
def test_a_swap_that_fails_in_the_middle_loses_nothing(tmp_path, monkeypatch, error, after):
    target = tmp_path / "t.zarr"
    save_all(tmp_path / "in", [np.ones((4, 5))])
    patchmill.ingest(tmp_path / "in", target)
    before, rename = objects_of(target), os.rename

    def fail(source, destination):
        first, second = str(destination).endswith("/old"), str(source).endswith("/source")
        if after and first:
            rename(source, destination)
        if first if after else second:
            raise error
        rename(source, destination)

    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises((patchmill.PatchmillError, KeyboardInterrupt)):
        patchmill.ingest(tmp_path / "in", target, mode="overwrite")
    assert objects_of(target) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "t.zarr"]


def test_a_store_that_can_not_come_back_yet_waits_for_the_next_call(tmp_path, monkeypatch):
    target = tmp_path / "t.zarr"
    save_all(tmp_path / "in", [np.ones((4, 5))])
    patchmill.ingest(tmp_path / "in", target)
    before, rename = objects_of(target), os.rename

    def fail(source, destination):
        if str(destination).endswith("t.zarr"):
            raise OSError(5, "Input/output error")
        rename(source, destination)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", fail)
        with pytest.raises(patchmill.PatchmillError, match="Input/output error"):
            patchmill.ingest(tmp_path / "in", target, mode="overwrite")
    assert not target.exists()
    assert patchmill.ingest(tmp_path / "in", target, mode="append").added == 0
    assert objects_of(target) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "t.zarr"]


@pytest.mark.parametrize("mode", ["overwrite", "append"])
def test_a_target_that_is_a_link_stays_one(tmp_path, mode):
    save_all(tmp_path / "in", [np.ones((4, 5))])
    (tmp_path / "big").mkdir()
    target = tmp_path / "latest.zarr"
    target.symlink_to(tmp_path / "big" / "v1.zarr")
    patchmill.ingest(tmp_path / "in", target)
    save_all(tmp_path / "in", [np.ones((4, 5)), np.full((4, 5), 2.0)])
    patchmill.ingest(tmp_path / "in", target, mode=mode)
    assert target.is_symlink()
    assert len(images_of(tmp_path / "big" / "v1.zarr")) == 2
    assert sorted(path.name for path in tmp_path.rglob("*.zarr*")) == ["latest.zarr", "v1.zarr"]


@pytest.mark.parametrize("mode", ["create", "overwrite"])
@pytest.mark.parametrize("kind", ["file", "folder", "zarr", "patches"])
def test_what_is_something_else_is_left_alone(tmp_path, mode, kind):
    save_all(tmp_path / "in", [np.ones((4, 5))])
    target = tmp_path / "t.zarr"
    if kind == "file":
        target.write_text("mine")
    elif kind == "folder":
        target.mkdir()
        (target / "mine.txt").write_text("mine")
    elif kind == "zarr":
        zarr.create_array(target, data=np.arange(3))
    else:
        patchmill.write_patches(np.ones((4, 5)), target, 2)
    before = target.read_text() if kind == "file" else sorted(path.name for path in target.rglob("*"))
    with pytest.raises(patchmill.PatchmillError, match="left alone") as error:
        patchmill.ingest(tmp_path / "in", target, mode=mode)
    assert isinstance(error.value, FileExistsError)
    assert (target.read_text() if kind == "file" else sorted(path.name for path in target.rglob("*"))) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "t.zarr"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"on_error": "ignore"}, {"mode": "resume"}, {"level": -1}, {"level": 0.5}, {"max_bytes": "much"},
        {"workers": 0}, {"max_errors": 3}, {"max_errors": -1, "on_error": "skip"}, {"memory": "1MB"}, {"channels": []},
        {"channels": ["a", "a"]}, {"channels": "rgb"}, {"dims": "yx"}, {"channels": ["a", "b"]},
        {"channels": 5}, {"progress": 5}, {"dims": {"chanel": "C"}}, {"dims": ("y", "x", "chanel")},
        {"variables": {"count": "{stem}.npy"}}, {"variables": {"dropped": "{stem}.npy"}},
    ],
)  # fmt: skip
def test_wrong_arguments(tmp_path, wrong):
    save_all(tmp_path / "in", [np.ones((4, 5))])
    with pytest.raises((ValueError, TypeError)) as error:
        patchmill.ingest(tmp_path / "in", tmp_path / "t.zarr", **wrong)
    assert next(iter(wrong)) in str(error.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]
