"""Files that can't be taken: named with a reason, and without a trace in the store."""

from __future__ import annotations

import os
import re
import struct
import sys
import time
import zipfile
import zlib

import h5py
import numpy as np
import pytest
import rasterio
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import patchmill
from ingesting.looking import images_of
from ingesting.test_store import objects_of
from patchmill.errors import PatchmillError, SourceError
from patchmill.ingesting import building, scenes
from patchmill.types import Progress

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)


def good(path, size=(40, 50)):
    Image.fromarray(PIXELS[: size[0], : size[1]]).save(path)


def cut_off(path, share=0.6):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def spoil_tiff(path):
    """A TIFF whose header is right and whose last tile does not decode."""
    tifffile.imwrite(path, PIXELS, tile=(16, 16), compression="deflate", photometric="rgb")
    with tifffile.TiffFile(path) as file:
        offset, length = file.pages[0].dataoffsets[-1], file.pages[0].databytecounts[-1]
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * length)


def write_bad(folder, kind):
    """A file that can't be taken, and what its reason says."""
    if kind == "folder":
        (folder / "bad.png").mkdir()
        return "is a folder"
    name, make, reason = {
        "empty": ("bad.png", lambda path: path.write_bytes(b""), "is empty"),
        "text": ("bad.png", lambda path: path.write_text("hello"), "no image file that patchmill knows"),
        "png": ("bad.png", lambda path: (good(path), cut_off(path)), "can't be decoded|can't be opened"),
        "jpeg": ("bad.jpg", lambda path: (good(path), cut_off(path)), "can't be decoded: image file is truncated"),
        "png header": ("bad.png", lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\nxx"), "can't be opened"),
        "tiff": ("bad.tif", spoil_tiff, "can't be decoded"),
        "short tiff": ("bad.tif", lambda path: (tifffile.imwrite(path, PIXELS), cut_off(path)), "truncated"),
        "short tiles": ("bad.tif", lambda path: (spoil_tiff(path), cut_off(path)), "truncated"),
        "npy": ("bad.npy", lambda path: (np.save(path, PIXELS), cut_off(path)), "can't be opened"),
        "npz": ("bad.npz", lambda path: (np.savez(path, PIXELS), cut_off(path)), "can't be opened"),
        "netcdf": ("bad.nc", lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99)), "can't be opened"),
        "dtype": ("bad.npy", lambda path: np.save(path, PIXELS.astype("f4")), "another dtype, float32"),
        "channels": ("bad.npy", lambda path: np.save(path, PIXELS[..., 0]), "other channels, one channel"),
        "order": ("bad.tif", write_bands, "other channels, blue, green, red"),
    }[kind]
    make(folder / name)
    return reason


def write_bands(path):
    with rasterio.open(
        path, "w", "GTiff", 50, 40, 3, "EPSG:4326", rasterio.Affine(1, 0, 5, 0, -1, 9), "uint8"
    ) as dataset:
        dataset.write(np.moveaxis(PIXELS, -1, 0))
        dataset.descriptions = ("blue", "green", "red")


KINDS = [
    "folder", "empty", "text", "png", "jpeg", "png header", "tiff", "short tiff", "short tiles", "npy", "npz", "netcdf",
    "dtype", "channels", "order",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_file_is_named_and_nothing_is_written(tmp_path, kind):
    (tmp_path / "in").mkdir()
    good(tmp_path / "in" / "a.png")
    reason = write_bad(tmp_path / "in", kind)
    with pytest.raises(SourceError, match=reason) as error:
        patchmill.ingest(tmp_path / "in", tmp_path / "x" / "t.zarr")
    assert "\n" not in str(error.value)
    assert "in/bad" in str(error.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_skipped_leaves_no_trace(tmp_path, kind):
    (tmp_path / "in").mkdir()
    for name in ("a.png", "c.png"):
        good(tmp_path / "in" / name, (30, 20))
    patchmill.ingest(tmp_path / "in", tmp_path / "clean.zarr")
    reason = write_bad(tmp_path / "in", kind)
    report = patchmill.ingest(tmp_path / "in", tmp_path / "t.zarr", on_error="skip")
    assert report.names == ("a", "c")
    [(path, why)] = report.skipped
    assert os.path.basename(path).startswith("bad")
    assert re.search(reason, why)
    assert objects_of(tmp_path / "t.zarr") == objects_of(tmp_path / "clean.zarr")


@settings(max_examples=25)
@given(
    files=st.lists(st.tuples(st.booleans(), st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=12),
    in_pieces=st.booleans(),
    large=st.booleans(),
)
def test_the_store_is_that_of_the_good_files_alone(tmp_path_factory, files, in_pieces, large):
    """Whatever fails while pixels are decoded: the first, the largest, the last, all but one."""
    folder = tmp_path_factory.mktemp("law")
    (folder / "in").mkdir()
    (folder / "good").mkdir()
    scale = 30 if large else 1
    for number, (is_good, height, width) in enumerate(files):
        values = np.full((height * scale, width * scale), number + 1, np.uint16)
        options = {"tile": (64, 64), "compression": "deflate"}
        tifffile.imwrite(folder / "in" / f"{number}.tif", values, **options)
        if is_good:
            os.link(folder / "in" / f"{number}.tif", folder / "good" / f"{number}.tif")
        else:
            spoil_last_tile(folder / "in" / f"{number}.tif")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scenes, "WHOLE", 100 if in_pieces else 2**30)
        if not any(is_good for is_good, *_ in files):
            with pytest.raises(SourceError, match="none of the images can be taken"):
                patchmill.ingest(folder / "in", folder / "t.zarr", on_error="skip")
            assert not (folder / "t.zarr").exists()
            return
        report = patchmill.ingest(folder / "in", folder / "t.zarr", on_error="skip")
        patchmill.ingest(folder / "good", folder / "clean.zarr")
    assert len(report.skipped) == sum(not is_good for is_good, *_ in files)
    assert objects_of(folder / "t.zarr") == objects_of(folder / "clean.zarr")
    kept = [(number, height, width) for number, (is_good, height, width) in enumerate(files) if is_good]
    for pixels, (number, height, width) in zip(images_of(folder / "t.zarr"), kept, strict=True):
        assert pixels.shape == (height * scale, width * scale)
        assert (pixels == number + 1).all()


def spoil_last_tile(path):
    with tifffile.TiffFile(path) as file:
        offset, length = file.pages[0].dataoffsets[-1], file.pages[0].databytecounts[-1]
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * length)


def test_an_image_that_fails_half_way_leaves_nothing(tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(2):
        values = np.full((4, 2100, 2100), number + 1, np.uint16)
        options = {"tile": (512, 512), "planarconfig": "separate", "photometric": "minisblack"}
        tifffile.imwrite(tmp_path / "in" / f"{number}.tif", values, **options, compression="deflate")
    patchmill.ingest(tmp_path / "in" / "0.tif", tmp_path / "clean.zarr")
    spoil_last_tile(tmp_path / "in" / "1.tif")
    written = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scenes, "WHOLE", 100)
        watch = {"progress": written.append}
        patchmill.ingest(tmp_path / "in", tmp_path / "t.zarr", on_error="skip", workers=1, **watch)
    assert objects_of(tmp_path / "t.zarr") == objects_of(tmp_path / "clean.zarr")
    assert max(far.nbytes for far in written) > 4 * 2100 * 2100 * 2  # some of the second image was written
    assert written[-1] == Progress(2, 2, 4 * 2100 * 2100 * 2)


def test_when_the_first_image_fails_the_next_decides(tmp_path):
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in" / "1.tif", np.ones((64, 64), np.uint16), compression="deflate")
    spoil_last_tile(tmp_path / "in" / "1.tif")
    np.save(tmp_path / "in" / "2.npy", np.ones((20, 20), np.float32))
    np.save(tmp_path / "in" / "3.npy", np.ones((20, 20), np.float32))
    report = patchmill.ingest(tmp_path / "in", tmp_path / "t.zarr", on_error="skip")
    assert (report.dtype, report.names) == (np.float32, ("2", "3"))
    assert [os.path.basename(path) for path, _ in report.skipped] == ["1.tif"]


def test_so_many_and_no_more(tmp_path):
    (tmp_path / "in").mkdir()
    good(tmp_path / "in" / "a.png")
    for number in range(3):
        (tmp_path / "in" / f"bad{number}.png").write_bytes(b"")
    report = patchmill.ingest(tmp_path / "in", tmp_path / "t.zarr", on_error="skip", max_errors=3)
    assert len(report.skipped) == 3
    with pytest.raises(SourceError, match=r"more than max_errors=2 files.*bad0\.png is empty.*bad1.*bad2"):
        patchmill.ingest(tmp_path / "in", tmp_path / "u.zarr", on_error="skip", max_errors=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "t.zarr"]


def test_a_late_failure_counts_too(tmp_path):
    (tmp_path / "in").mkdir()
    good(tmp_path / "in" / "a.png")
    good(tmp_path / "in" / "b.jpg")
    cut_off(tmp_path / "in" / "b.jpg")
    with pytest.raises(SourceError, match="more than max_errors=0"):
        patchmill.ingest(tmp_path / "in", tmp_path / "t.zarr", on_error="skip", max_errors=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    good(tmp_path / "a.png")
    good(tmp_path / "b.png")
    import builtins

    original = builtins.open

    def refuse(path, *args, **kwargs):
        if str(path).endswith("b.png"):
            raise PermissionError(13, "Permission denied", path)
        return original(path, *args, **kwargs)

    monkeypatch.setattr(builtins, "open", refuse)
    report = patchmill.ingest([tmp_path / "a.png", tmp_path / "b.png"], tmp_path / "t.zarr", on_error="skip")
    assert report.skipped == ((str(tmp_path / "b.png"), "can't be opened: Permission denied"),)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have only names that are texts")
def test_a_name_that_is_no_text(tmp_path):
    (tmp_path / "in").mkdir()
    good(tmp_path / "in" / "a.png")
    os.link(tmp_path / "in" / "a.png", os.fsencode(tmp_path) + b"/in/b\xff.png")
    with pytest.raises(SourceError, match=r"b.udcff\.png has a path that is not UTF-8: rename it"):
        patchmill.ingest(tmp_path / "in", tmp_path / "out.zarr")
    report = patchmill.ingest(tmp_path / "in", tmp_path / "out.zarr", on_error="skip")
    assert (report.names, len(report.skipped)) == (("a",), 1)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(SourceError, match="is not a regular file"):
        patchmill.ingest(tmp_path / "a.png", tmp_path / "t.zarr")


def test_a_wrong_ending_does_not_matter(tmp_path, ingest):
    np.save(tmp_path / "a.npy", PIXELS)
    os.rename(tmp_path / "a.npy", tmp_path / "a.jpg")
    _, [pixels] = ingest(tmp_path / "a.jpg")
    assert (pixels == np.moveaxis(PIXELS, -1, 0)).all()


def test_a_missing_package_is_one_sentence(tmp_path, monkeypatch):
    import sys

    good(tmp_path / "a.tif")
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(SourceError, match=r"is a TIFF file, which needs tifffile: pip install 'patchmill\[images\]'"):
        patchmill.ingest(tmp_path / "a.tif", tmp_path / "t.zarr")


# -- bombs ----------------------------------------------------------------------------------------------------------


def png_header(path, height, width):
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(bytes(1000))
    body = b"".join(
        struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (chunk, data, b"IEND")
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def write_bomb(path, kind):
    if kind == "png":
        png_header(path, 60000, 60000)
    elif kind == "jpeg":
        Image.new("RGB", (16, 16)).save(path, "JPEG")
        data = bytearray(path.read_bytes())
        at = data.index(b"\xff\xc0")
        data[at + 5 : at + 9] = struct.pack(">HH", 60000, 60000)
        path.write_bytes(data)
    elif kind == "tiff":
        tiles = iter([np.zeros((1024, 1024), np.uint8), *[None] * 3480])
        tifffile.imwrite(path, tiles, shape=(60000, 60000), dtype=np.uint8, tile=(1024, 1024))
    elif kind == "one strip":
        tifffile.imwrite(path, np.zeros((16, 16), np.uint8), compression="deflate")
        with tifffile.TiffFile(path, mode="r+") as file:
            for tag in (256, 257, 278):
                file.pages[0].tags[tag].overwrite(60000)
    elif kind == "geotiff":
        options = {
            "tiled": True,
            "sparse_ok": True,
            "crs": "EPSG:4326",
            "transform": rasterio.Affine(1, 0, 5, 0, -1, 9),
        }
        rasterio.open(path, "w", "GTiff", 60000, 60000, 1, dtype="uint8", **options).close()
    elif kind == "npz":
        header = np.lib.format.magic(1, 0)
        text = b"{'descr': '|u1', 'fortran_order': False, 'shape': (60000, 60000), }"
        text = text.ljust(117) + b"\n"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.npy", header + struct.pack("<H", len(text)) + text)
    elif kind == "hdf5":
        with h5py.File(path, "w") as file:
            file.create_dataset("a", (60000, 60000), "u1", chunks=(1000, 1000))


@pytest.mark.parametrize("kind", ["png", "jpeg", "tiff", "one strip", "geotiff", "npz", "hdf5"])
def test_bombs_are_refused_before_decoding(tmp_path, kind):
    write_bomb(tmp_path / "a.bin", kind)
    begin = time.perf_counter()
    with pytest.raises(SourceError, match=r"refused before decoding.*max_bytes is 2\.0 GiB: raise it"):
        patchmill.ingest(tmp_path / "a.bin", tmp_path / "t.zarr")
    assert time.perf_counter() - begin < 5
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


def test_the_limit_is_the_users(tmp_path):
    good(tmp_path / "a.png")
    with pytest.raises(
        SourceError, match=r"it is 40 x 50 pixels and decodes to 5\.9 KiB in one go, and max_bytes is 5\.9 KiB"
    ):
        patchmill.ingest(tmp_path / "a.png", tmp_path / "t.zarr", max_bytes=5999)
    patchmill.ingest(tmp_path / "a.png", tmp_path / "t.zarr", max_bytes=6000)


def test_what_does_not_fit_into_memory_says_so(tmp_path):
    png_header(tmp_path / "a.png", 9000, 9000)
    with pytest.raises(SourceError, match="needs about 695 MiB to decode, and memory leaves 344 MiB: raise memory"):
        patchmill.ingest(tmp_path / "a.png", tmp_path / "t.zarr", memory="512MiB")


# -- crashes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, ValueError])
@pytest.mark.parametrize("mode", ["create", "overwrite"])
def test_a_crash_in_the_middle_leaves_what_was_there(tmp_path, monkeypatch, error, mode):
    (tmp_path / "in").mkdir()
    for number in range(4):
        good(tmp_path / "in" / f"{number}.png")
    target = tmp_path / "x" / "y" / "t.zarr"
    if mode == "overwrite":
        patchmill.ingest(tmp_path / "in" / "0.png", target)
        before = objects_of(target)
    original = building.Building.add

    def crash(self, *args):
        original(self, *args)
        if self.done == 3:
            raise error("stop")

    monkeypatch.setattr(building.Building, "add", crash)
    with pytest.raises(error):
        patchmill.ingest(tmp_path / "in", target, mode=mode)
    if mode == "overwrite":
        assert objects_of(target) == before
        assert [path.name for path in target.parent.iterdir()] == ["t.zarr"]
    else:
        assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_store_that_can_not_be_written_is_no_file_s_fault(tmp_path, monkeypatch):
    good(tmp_path / "a.png")
    from patchmill.storage import TensorStoreArray

    def full(*args, **kwargs):
        raise ValueError("RESOURCE_EXHAUSTED: No space left on device [source locations=...]")

    monkeypatch.setattr(TensorStoreArray, "write", full)
    with pytest.raises(
        PatchmillError, match="can't be written, RESOURCE_EXHAUSTED: No space left on device:"
    ) as caught:
        patchmill.ingest(tmp_path / "a.png", tmp_path / "t.zarr", on_error="skip")
    assert not isinstance(caught.value, SourceError)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_what_a_killed_process_left_does_not_matter(tmp_path):
    good(tmp_path / "a.png")
    target = tmp_path / "t.zarr"
    left = tmp_path / "t.zarr.patchmill"
    (left / "source" / "image").mkdir(parents=True)
    (left / "source" / "zarr.json").write_text("{}")
    (left / "ingest.lock").touch()
    patchmill.ingest(tmp_path / "a.png", target)
    assert len(images_of(target)) == 1
    assert not left.exists()


def test_a_swap_that_was_cut_short_is_undone(tmp_path):
    good(tmp_path / "a.png")
    target, left = tmp_path / "t.zarr", tmp_path / "t.zarr.patchmill"
    patchmill.ingest(tmp_path / "a.png", target)
    before = objects_of(target)
    left.mkdir()
    os.rename(target, left / "old")
    with pytest.raises(PatchmillError, match='use mode="overwrite"'):
        patchmill.ingest(tmp_path / "a.png", target)
    assert objects_of(target) == before
    assert not left.exists()


def test_one_process_at_a_time(tmp_path):
    import fcntl

    good(tmp_path / "a.png")
    (tmp_path / "t.zarr.patchmill").mkdir()
    with open(tmp_path / "t.zarr.patchmill" / "ingest.lock", "a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(PatchmillError, match="held by another process"):
            patchmill.ingest(tmp_path / "a.png", tmp_path / "t.zarr")
        assert (tmp_path / "t.zarr.patchmill" / "ingest.lock").exists()
    patchmill.ingest(tmp_path / "a.png", tmp_path / "t.zarr")
