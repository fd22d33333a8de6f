"""A store that grows: what it holds stays, what is new comes behind it, and it ends like one made in one go."""

from __future__ import annotations

import json
import os
import shutil
from itertools import pairwise

import numpy as np
import pytest
import rasterio
import tifffile
import zarr
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

import patchmill
from ingesting.looking import dataset_of, images_of
from ingesting.test_store import chunks_there
from ingesting.test_store import every_object_of as objects_of
from patchmill.errors import MissingSourceError, PatchmillError, SourceError, TargetExistsError
from patchmill.ingesting.naming import image_names

GRAY = {"dims": ("y", "x")}


def save(folder, images, first=0):
    """Number images on; their files."""
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{number}.npy" for number in range(first, first + len(images))]
    for path, values in zip(paths, images, strict=True):
        np.save(path, values)
    return paths


def filled(extents, first=0):
    return [np.full(extent, number + 1, np.uint8) for number, extent in enumerate(extents, first)]


def root_of(store):
    return json.loads((store / "zarr.json").read_bytes())["attributes"]["patchmill"]


def left_beside(target):
    return sorted(path.name for path in target.parent.iterdir() if path.name.startswith(target.name)) != [target.name]


# -- the law --------------------------------------------------------------------------------------------------------


@settings(max_examples=15)
@given(
    extents=st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=9),
    cuts=st.sets(st.integers(1, 8), max_size=3),
    channels=st.sampled_from([None, 1, 3]),
    largest=st.sampled_from([(40, 40), (600, 700), (130, 200)]),
)
def test_grown_is_made_in_one_go(tmp_path_factory, extents, cuts, channels, largest):
    """ingest(A + B) == append(B) after ingest(A), byte by byte, where the first image is the largest."""
    folder = tmp_path_factory.mktemp("law")
    shape = () if channels is None else (channels,)
    images = [
        (np.random.default_rng(at).random((*shape, *n)) * 99).astype("u2") for at, n in enumerate([largest, *extents])
    ]
    paths = save(folder / "in", images)
    options = {"dims": ("y", "x") if channels is None else ("channel", "y", "x")}
    patchmill.ingest(paths, folder / "once.zarr", **options)
    edges = [0, *sorted(cut for cut in cuts if cut < len(paths)), len(paths)]
    for low, high in pairwise(edges):
        report = patchmill.ingest(paths[low:high], folder / "grown.zarr", mode="append", **options)
    assert objects_of(folder / "grown.zarr") == objects_of(folder / "once.zarr")
    assert report.added == (high - low if len(edges) > 2 else None)
    assert report.names == tuple(dataset_of(folder / "once.zarr").name.values)
    assert root_of(folder / "grown.zarr")["generation"] == len(edges) - 2


@settings(max_examples=15)
@given(
    first=st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=4),
    later=st.lists(st.tuples(st.integers(1, 90), st.integers(1, 90)), min_size=1, max_size=4),
    scale=st.sampled_from([1, 7, 30]),
)
@example(first=[(1, 2)], later=[(1, 3), (2, 1)], scale=1)
def test_a_canvas_grows_and_every_pixel_stays(tmp_path_factory, first, later, scale):
    folder = tmp_path_factory.mktemp("grow")
    images = filled([(height * scale, width * scale) for height, width in [*first, *later]])
    paths = save(folder / "in", images)
    target = folder / "t.zarr"
    patchmill.ingest(paths[: len(first)], target, **GRAY)
    before = objects_of(target)
    report = patchmill.ingest(paths[len(first) :], target, mode="append", on_error="skip", **GRAY)
    assert all("share an object" in reason for _, reason in report.skipped)
    if report.added == 0:
        assert objects_of(target) == before
    refused = {os.path.basename(path) for path, _ in report.skipped}
    images = [values for path, values in zip(paths, images, strict=True) if path.name not in refused]
    for mine, found in zip(images, images_of(target), strict=True):
        assert np.array_equal(mine, found)
    dataset_of(target)
    there, chunk = chunks_there(target)
    expected = set()
    for image, extent in enumerate(values.shape for values in images):
        for place in np.ndindex(*(-(-n // size) for n, size in zip(extent, chunk[1:], strict=True))):
            expected.add((image // chunk[0], *place))
    assert there == expected


def test_the_new_come_last_whatever_they_are_called(tmp_path):
    target = tmp_path / "t.zarr"
    (tmp_path / "in").mkdir()
    for name, value in {"m": 1, "z": 2}.items():
        np.save(tmp_path / "in" / f"{name}.npy", np.full((4, 5), value))
    patchmill.ingest(tmp_path / "in", target, mode="append")
    for name, value in {"b10": 4, "b9": 3}.items():
        np.save(tmp_path / "in" / f"{name}.npy", np.full((4, 5), value))
    report = patchmill.ingest(tmp_path / "in", target, mode="append")
    assert (report.names, report.added) == (("m", "z", "b9", "b10"), 2)
    assert [pixels.max() for pixels in images_of(target)] == [1, 2, 3, 4]
    assert "(2 new)" in repr(report)
    assert ("new", "2 of them") in report.rows()


def test_nothing_new_changes_nothing_and_says_so(tmp_path):
    target = tmp_path / "t.zarr"
    save(tmp_path / "in", filled([(4, 5)] * 3))
    first = patchmill.ingest(tmp_path / "in", target)
    before, root = objects_of(target), (target / "zarr.json").stat()
    report = patchmill.ingest(tmp_path / "in", target, mode="append")
    assert (report.added, report.names, report.nbytes) == (0, first.names, first.nbytes)
    assert "nothing new" in repr(report)
    assert ("new", "none, nothing was changed") in report.rows()
    assert objects_of(target) == before
    assert (target / "zarr.json").stat() == root
    assert not left_beside(target)
    (tmp_path / "empty").mkdir()
    assert patchmill.ingest(tmp_path / "empty", target, mode="append").added == 0


def test_old_objects_are_not_touched(tmp_path):
    target = tmp_path / "t.zarr"
    save(tmp_path / "in", filled([(600, 700)] * 2))
    patchmill.ingest(tmp_path / "in", target, **GRAY)
    before = {key: (target / key).stat().st_ino for key in objects_of(target)}
    save(tmp_path / "in", filled([(600, 700)], 2), 2)
    patchmill.ingest(tmp_path / "in", target, mode="append", **GRAY)
    after = {key: (target / key).stat().st_ino for key in objects_of(target)}
    changed = {key for key in before if before[key] != after[key] and not key.endswith("zarr.json")}
    grown = {"image/c/0/0/0", "height/c/0", "width/c/0", "name/c/0"}
    assert changed == grown | {key for key in before if key.startswith("provenance") and key in changed}


def test_names_that_are_taken_stay(tmp_path):
    for night in ("n1", "n2", "n3"):
        save(tmp_path / night, filled([(4, 5)] * 2))
    reports = [patchmill.ingest(tmp_path / night, tmp_path / "t.zarr", mode="append") for night in ("n1", "n2", "n3")]
    assert reports[-1].names == ("0", "1", "n2/0", "n2/1", "n3/0", "n3/1")
    assert list(dataset_of(tmp_path / "t.zarr").name.values) == list(reports[-1].names)


def test_a_name_that_an_old_image_has_is_not_given_again():
    paths = [(path, "") for path in ("/d/p/n1/0.png", "/d/p/n2/0.png", "/d/n2/0.png")]
    assert image_names(paths, ["0", "n2/0"]) == ["0", "n2/0", "n2/0#2"]


# -- what differs between images --------------------------------------------------------------------------------------


def write_geo(path, *, crs="EPSG:32633", nodata=None, scales=None, bands=("red", "nir"), corner=0.0, dtype="uint16"):
    path.parent.mkdir(exist_ok=True)
    place = {"crs": crs, "transform": rasterio.Affine(10, 0, corner, 0, -10, 0)}
    with rasterio.open(path, "w", "GTiff", 50, 40, len(bands), dtype=dtype, nodata=nodata, **place) as file:
        file.write(np.full((len(bands), 40, 50), 7, dtype))
        file.descriptions = bands
        if scales is not None:
            file.scales = scales


GEO = {
    "crs": [{"crs": "EPSG:32633"}, {"crs": "EPSG:32632"}, {"crs": "EPSG:32633"}],
    "no crs first": [{"crs": None}, {"corner": 5.0}, {"corner": 6.0}],
    "nodata": [{"nodata": 0}, {"nodata": 0}, {"nodata": 5}, {}],
    "nodata appears": [{}, {"nodata": 3}, {}],
    "nodata is not a number": [{"dtype": "float32", "nodata": np.nan}, *[{"dtype": "float32"}] * 2],
    "scales": [{"scales": (0.5, 2.0)}, {"scales": (0.5, 2.0)}, {}],
    "scales appear": [{}, {"scales": (0.5, 2.0)}, {"scales": (1.0, 1.0)}],
    "all alike": [{"nodata": 1, "corner": float(at)} for at in range(3)],
    "labels appear": [{"bands": (None, None)}, {}, {}],
}


@pytest.mark.parametrize("kind", GEO)
@pytest.mark.parametrize("cut", [1, 2])
def test_what_differs_is_kept_as_in_one_go(tmp_path, kind, cut):
    paths = [tmp_path / "in" / f"{number}.tif" for number in range(len(GEO[kind]))]
    for path, options in zip(paths, GEO[kind], strict=True):
        write_geo(path, **options)
    once = patchmill.ingest(paths, tmp_path / "once.zarr")
    patchmill.ingest(paths[:cut], tmp_path / "grown.zarr")
    patchmill.ingest(paths[cut : cut + 1], tmp_path / "grown.zarr", mode="append")
    grown = patchmill.ingest(paths, tmp_path / "grown.zarr", mode="append")
    assert objects_of(tmp_path / "grown.zarr") == objects_of(tmp_path / "once.zarr")
    assert grown.notes == once.notes
    assert dataset_of(tmp_path / "grown.zarr").identical(
        dataset_of(tmp_path / "once.zarr").assign_attrs(dataset_of(tmp_path / "grown.zarr").attrs)
    )


def test_masks_and_pages_grow_along(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    (tmp_path / "masks").mkdir()
    paths = [tmp_path / "in" / f"{number}.tif" for number in range(4)]
    for number, path in enumerate(paths):
        pages = rng.integers(0, 9, (number + 1, 60, 70), dtype=np.uint8)
        tifffile.imwrite(path, pages, photometric="minisblack")
        tifffile.imwrite(tmp_path / "masks" / f"{number}.tif", pages > 4, photometric="minisblack")
    options = {"variables": {"mask": f"{tmp_path}/masks/{{stem}}.tif"}}
    patchmill.ingest(paths, tmp_path / "once.zarr", **options)
    for part in (paths[:2], paths[2:3], paths):
        report = patchmill.ingest(part, tmp_path / "grown.zarr", mode="append", **options)
    assert report.added == 4
    assert objects_of(tmp_path / "grown.zarr") == objects_of(tmp_path / "once.zarr")
    with pytest.raises(ValueError, match=r"variables was \['mask'\] when .*t.zarr was begun|variables was \['mask'\]"):
        patchmill.ingest(paths, tmp_path / "grown.zarr", mode="append")


def test_a_store_without_channels_keeps_its_axes(tmp_path):
    save(tmp_path / "in", [np.ones((6, 7), np.uint8)])
    patchmill.ingest(tmp_path / "in", tmp_path / "t.zarr")
    np.save(tmp_path / "in" / "one.npy", np.full((1, 6, 7), 3, np.uint8))
    patchmill.ingest(tmp_path / "in", tmp_path / "t.zarr", mode="append")
    first, second = images_of(tmp_path / "t.zarr")
    assert (first == 1).all()
    assert (second == 3).all()
    assert second.shape == (6, 7)


# -- new files that do not agree -------------------------------------------------------------------------------------


DISAGREEING = {
    "dtype": (np.ones((4, 5), np.float32), r"7\.npy has another dtype, float32, than the store \(uint8, .*t\.zarr\)"),
    "channels": (np.ones((2, 4, 5), np.uint8), r"7\.npy has other channels, 2 channels, than the store \(one channel"),
    "too large": (np.ones((9000, 5000), np.uint8), r"7\.npy has 9000 x 5000 pixels, .* share an object: use another"),
}


@pytest.mark.parametrize("kind", DISAGREEING)
def test_what_does_not_agree_is_named_or_skipped(tmp_path, kind):
    values, reason = DISAGREEING[kind]
    target = tmp_path / "t.zarr"
    save(tmp_path / "in", filled([(4, 5)] * 2))
    patchmill.ingest(tmp_path / "in", target)
    before = objects_of(target)
    save(tmp_path / "in", [values], 7)
    with pytest.raises(SourceError, match=reason):
        patchmill.ingest(tmp_path / "in", target, mode="append")
    report = patchmill.ingest(tmp_path / "in", target, mode="append", on_error="skip")
    assert (report.added, len(report.skipped)) == (0, 1)
    assert objects_of(target) == before
    assert not left_beside(target)
    save(tmp_path / "in", filled([(4, 5)], 8), 8)
    report = patchmill.ingest(tmp_path / "in", target, mode="append", on_error="skip")
    assert (report.added, report.names) == (1, ("0", "1", "8"))


@pytest.mark.parametrize("changed", [{"level": 1}, {"dims": ("channel", "y", "x")}, {"channels": ["a"]}])
def test_arguments_are_those_of_the_beginning(tmp_path, changed):
    save(tmp_path / "in", filled([(4, 5)]))
    patchmill.ingest(tmp_path / "in", tmp_path / "t.zarr", **GRAY)
    [name] = changed
    with pytest.raises(ValueError, match=f'{name} was .* give the same, or use mode="overwrite"'):
        patchmill.ingest(tmp_path / "in", tmp_path / "t.zarr", mode="append", **(GRAY | changed))


def test_a_canvas_that_grows_beyond_its_chunks_says_so(tmp_path):
    target = tmp_path / "t.zarr"
    [small] = save(tmp_path / "in", [np.full((600, 700), 1, np.uint16)])
    [large] = save(tmp_path / "in", [np.full((1500, 1200), 2, np.uint16)], 1)
    patchmill.ingest(small, target, **GRAY)
    report = patchmill.ingest(large, target, mode="append", **GRAY)
    [note] = report.notes
    assert "keeps the chunks and shards of its first images" in note
    assert 'mode="overwrite"' in note
    assert [pixels.max() for pixels in images_of(target)] == [1, 2]


# -- files that were met before --------------------------------------------------------------------------------------


def test_what_changed_or_vanished_is_named_and_stays(tmp_path, capfd):
    from patchmill.cli import main

    target = tmp_path / "t.zarr"
    paths = save(tmp_path / "in", filled([(4, 5)] * 5))
    patchmill.ingest(tmp_path / "in", target)
    before = objects_of(target)
    os.unlink(paths[0])
    np.save(paths[1], np.full((6, 7), 9, np.uint8))
    about = paths[2].stat()
    np.save(paths[2], np.full((4, 5), 8, np.uint8))  # the same size
    os.utime(paths[2], ns=(about.st_atime_ns, about.st_mtime_ns + 1))
    os.utime(paths[3])  # only touched
    report = patchmill.ingest(tmp_path / "in", target, mode="append")
    assert report.vanished == (str(paths[0]),)
    assert dict(report.changed) == {str(paths[1]): "had 148 bytes and has 170", str(paths[2]): "has other content"}
    assert "2 changed, 1 vanished" in repr(report)
    assert objects_of(target) == before
    code = main(["ingest", str(tmp_path / "in"), "--target", str(target), "--mode", "append"])
    out, err = capfd.readouterr()
    assert code == 0
    assert f"warning: {paths[0]} was ingested and is no longer there" in err
    assert f"warning: {paths[1]} changed since it was ingested: it had 148 bytes and has 170" in err
    assert "--mode overwrite" in err
    assert "none, nothing was changed" in out
    assert "the store keeps what was ingested, --mode overwrite makes it anew" in out


def test_a_large_file_that_was_written_again_with_the_same_size_counts_as_changed(tmp_path):
    target = tmp_path / "t.zarr"
    [path] = save(tmp_path / "in", [np.zeros((1024, 1024), np.uint8)])
    patchmill.ingest(path, target)
    np.save(path, np.pad(np.ones((4, 4), np.uint8), (400, 620)))  # between the samples
    report = patchmill.ingest(path, target, mode="append")
    assert dict(report.changed) == {str(path): "was written again since, with the same size"}
    with pytest.raises(TargetExistsError, match="1 have changed"):
        patchmill.ingest(path, target, mode="auto")


def test_a_store_whose_pixels_were_written_again_counts_as_changed(tmp_path):
    target = tmp_path / "t.zarr"
    store = zarr.create_array(tmp_path / "in" / "s.zarr", data=np.full((64, 64), 10, np.uint8), compressors=None)
    patchmill.ingest(tmp_path / "in", target)
    assert patchmill.ingest(tmp_path / "in", target, mode="append").changed == ()
    store[...] = 20
    report = patchmill.ingest(tmp_path / "in", target, mode="append")
    assert report.changed == ((str(tmp_path / "in" / "s.zarr"), "was written again since, with the same size"),)


def test_a_partner_of_several_images_is_reported_as_long_as_one_has_its_old_content(tmp_path):
    save(tmp_path / "in", filled([(4, 5)]))
    one = tmp_path / "one.npy"
    options = {"variables": {"land": str(one)}}
    for value in range(2):
        np.save(one, np.full((4, 5), value))
        save(tmp_path / "in", filled([(4, 5)], value), value)
        report = patchmill.ingest(tmp_path / "in", tmp_path / "t.zarr", mode="append", **options)
    for _ in range(2):
        assert report.changed == ((str(one), "has other content"),)
        report = patchmill.ingest(tmp_path / "in", tmp_path / "t.zarr", mode="append", **options)


def test_a_night_without_files_changes_nothing(tmp_path):
    target = tmp_path / "t.zarr"
    [path] = save(tmp_path / "in", filled([(4, 5)]))
    patchmill.ingest(tmp_path / "in" / "*.npy", target)
    before = objects_of(target)
    os.unlink(path)
    for images in (tmp_path / "in", tmp_path / "in" / "*.npy", path, [path]):
        report = patchmill.ingest(images, target, mode="append")
        assert (report.added, report.vanished, report.skipped) == (0, (str(path),), ())
    with pytest.raises(MissingSourceError, match=r"nothing is at .*never\.npy"):
        patchmill.ingest([path, tmp_path / "never.npy"], target, mode="append")
    with pytest.raises(MissingSourceError):
        patchmill.ingest(tmp_path / "nowhere" / "*.npy", target, mode="append")
    assert objects_of(target) == before


def test_partners_are_watched_too(tmp_path):
    save(tmp_path / "in", filled([(4, 5)] * 2))
    masks = save(tmp_path / "masks", filled([(4, 5)] * 2))
    options = {"variables": {"mask": f"{tmp_path}/masks/{{stem}}.npy"}}
    patchmill.ingest(tmp_path / "in", tmp_path / "t.zarr", **options)
    os.unlink(masks[1])
    report = patchmill.ingest(tmp_path / "in", tmp_path / "t.zarr", mode="append", **options)
    assert (report.added, report.vanished) == (0, (str(masks[1]),))


def test_a_folder_that_moved_is_not_new(tmp_path):
    target = tmp_path / "t.zarr"
    save(tmp_path / "in", filled([(4, 5)] * 3))
    patchmill.ingest(tmp_path / "in", target)
    shutil.move(tmp_path / "in", tmp_path / "elsewhere")
    save(tmp_path / "elsewhere", filled([(4, 5)], 3), 3)
    report = patchmill.ingest(tmp_path / "elsewhere", target, mode="append")
    assert (report.added, report.vanished) == (1, ())
    assert "3 files lie elsewhere than before" in report.notes[0]


@pytest.mark.parametrize("mode", ["append", "auto"])
def test_a_file_that_moved_hides_none_of_its_copies(tmp_path, mode):
    folder, target = tmp_path / "in", tmp_path / "t.zarr"
    folder.mkdir()
    [old] = save(folder / "a", filled([(4, 5)]))
    patchmill.ingest(folder, target)
    for other in ("b", "c"):
        (folder / other).mkdir()
        shutil.copy2(old, folder / other)
    os.unlink(old)
    report = patchmill.ingest(folder, target, mode=mode)
    assert (report.added, report.vanished) == (1, ())
    assert report.notes[0].startswith("1 ")
    assert dataset_of(target).name.values.tolist() == ["0", "c/0"]
    assert patchmill.ingest(folder, target, mode=mode).added == 0


def test_copies_that_moved_together_are_all_known(tmp_path):
    folder, target = tmp_path / "in", tmp_path / "t.zarr"
    folder.mkdir()
    [first] = save(folder / "a", filled([(4, 5)]))
    (folder / "b").mkdir()
    shutil.copy2(first, folder / "b")
    patchmill.ingest(folder, target)
    shutil.move(folder, tmp_path / "elsewhere")
    report = patchmill.ingest(tmp_path / "elsewhere", target, mode="append")
    assert (report.added, report.vanished) == (0, ())
    assert "2 files lie elsewhere than before" in report.notes[0]


def test_what_was_skipped_is_tried_again(tmp_path):
    target = tmp_path / "t.zarr"
    save(tmp_path / "in", filled([(4, 5)] * 2))
    (tmp_path / "in" / "5.npy").write_bytes(b"")
    assert len(patchmill.ingest(tmp_path / "in", target, on_error="skip").skipped) == 1
    assert len(patchmill.ingest(tmp_path / "in", target, mode="append", on_error="skip").skipped) == 1
    with pytest.raises(SourceError, match=r"5\.npy is empty"):
        patchmill.ingest(tmp_path / "in", target, mode="append")
    save(tmp_path / "in", filled([(4, 5)], 5), 5)
    report = patchmill.ingest(tmp_path / "in", target, mode="append")
    assert (report.added, report.skipped, report.names) == (1, (), ("0", "1", "5"))


def test_a_page_that_was_skipped_is_tried_again_alone(tmp_path):
    target, path = tmp_path / "t.zarr", tmp_path / "a.tif"
    pages = [np.full((64, 64), number + 1, np.uint8) for number in range(3)]
    with tifffile.TiffWriter(path) as file:
        for page in pages:
            file.write(page, compression="deflate", contiguous=False)
    with tifffile.TiffFile(path) as file:
        offset, length = file.pages[1].dataoffsets[0], file.pages[1].databytecounts[0]
    data, about = path.read_bytes(), path.stat()
    path.write_bytes(data[:offset] + b"\xff" * length + data[offset + length :])
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    report = patchmill.ingest(path, target, on_error="skip")
    assert (len(report.names), len(report.skipped)) == (2, 1)
    path.write_bytes(data)  # as a file system that was mended gives it
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    report = patchmill.ingest(path, target, mode="append")
    assert (report.added, report.changed) == (1, ())
    assert [pixels.max() for pixels in images_of(target)] == [1, 3, 2]
    assert patchmill.ingest(path, target, mode="append").added == 0


def test_files_are_kept_beside_the_images(tmp_path):
    save(tmp_path / "in", filled([(4, 5)] * 2))
    patchmill.ingest(tmp_path / "in", tmp_path / "t.zarr")
    kept = dataset_of(tmp_path / "t.zarr" / "provenance")
    assert list(kept.path.values) == [str(tmp_path / "in" / f"{number}.npy") for number in range(2)]
    assert kept.bytes.values.tolist() == [148, 148]
    assert kept.modified.dtype.kind == "M"
    assert kept.whole.values.all()
    assert {"path", "bytes", "modified", "digest"} <= set(kept.data_vars)  # a table of files, not empty to look at
    assert "provenance" not in dataset_of(tmp_path / "t.zarr")


def test_the_root_stays_small(tmp_path):
    paths = save(tmp_path / "in", filled([(2, 2)]))
    patchmill.ingest(paths, tmp_path / "one.zarr", **GRAY)
    paths = save(tmp_path / "in", [np.ones((2, 2), np.uint8)] * 300)
    patchmill.ingest(paths, tmp_path / "many.zarr", **GRAY)
    sizes = [(tmp_path / name / "zarr.json").stat().st_size for name in ("one.zarr", "many.zarr")]
    assert sizes[1] < sizes[0] + 100


# -- what is cut from it ----------------------------------------------------------------------------------------------


def test_a_store_that_was_made_again_is_another_source_and_one_that_grew_is_the_same(tmp_path):
    """The same shape and other pixels: nothing but the ingest tells them apart."""
    source, target = tmp_path / "t.zarr", tmp_path / "p.zarr"
    save(tmp_path / "in", filled([(8, 8)]))
    patchmill.ingest(tmp_path / "in", source)
    patchmill.write_patches(source, target, 4)
    save(tmp_path / "in", filled([(8, 8), (8, 8)]))
    patchmill.ingest(tmp_path / "in", source, mode="append")
    assert len(patchmill.write_patches(source, target, 4, mode="append")) == 8
    patchmill.ingest(tmp_path / "in", source, mode="overwrite")
    with pytest.raises(PatchmillError, match=r"another request, which differs in source\.ingest"):
        patchmill.write_patches(source, target, 4)


# -- targets --------------------------------------------------------------------------------------------------------


def test_an_append_begins_a_store(tmp_path):
    save(tmp_path / "in", filled([(4, 5)]))
    report = patchmill.ingest(tmp_path / "in", tmp_path / "x" / "t.zarr", mode="append")
    assert (report.added, len(report)) == (None, 1)
    assert not left_beside(tmp_path / "x" / "t.zarr")


def test_other_things_are_left_alone(tmp_path):
    save(tmp_path / "in", filled([(4, 5)]))
    patchmill.write_patches(np.ones((4, 5)), tmp_path / "p.zarr", 2)
    with pytest.raises(PatchmillError, match="left alone"):
        patchmill.ingest(tmp_path / "in", tmp_path / "p.zarr", mode="append")


def test_a_store_without_a_record_of_its_files_says_so(tmp_path):
    save(tmp_path / "in", filled([(4, 5)]))
    patchmill.ingest(tmp_path / "in", tmp_path / "t.zarr")
    shutil.rmtree(tmp_path / "t.zarr" / "provenance")
    with pytest.raises(PatchmillError, match=r'are not recorded in it.*mode="overwrite"'):
        patchmill.ingest(tmp_path / "in", tmp_path / "t.zarr", mode="append")


def test_a_palette_png_folder_at_night(tmp_path):
    """Whole pictures of one size: the common case, one shard that fills up night by night."""
    (tmp_path / "in").mkdir()
    rng = np.random.default_rng(0)
    for night in range(3):
        for number in range(5):
            Image.fromarray(rng.integers(0, 255, (30, 40, 3), dtype=np.uint8)).save(
                tmp_path / "in" / f"{night}-{number}.png"
            )
        patchmill.ingest(tmp_path / "in", tmp_path / "t.zarr", mode="append")
    patchmill.ingest(tmp_path / "in", tmp_path / "once.zarr")
    assert objects_of(tmp_path / "t.zarr") == objects_of(tmp_path / "once.zarr")
    assert len([key for key in objects_of(tmp_path / "t.zarr") if key.startswith("image/c/")]) == 1
