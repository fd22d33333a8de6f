"""Which files are found, in which order, under which names."""

from __future__ import annotations

import os
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import patchmill
from patchmill.errors import MissingSourceError, PatchmillError, SourceError, TargetExistsError
from patchmill.ingesting.finding import find, natural_key
from patchmill.ingesting.naming import image_names
from patchmill.storage import Location


def save(path, value=0, shape=(4, 5)):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.full(shape, value, np.uint8))


def found(images, target="/nowhere/target.zarr"):
    return [os.path.basename(file.path) for file in find(images, Location.parse(target)).files]


def test_a_folder_comes_in_natural_order_with_what_is_below_it(tmp_path):
    names = ["1.npy", "2.npy", "10.npy", "a/3.npy", "a/20.npy", "b.npy"]
    for name in names:
        save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    save(tmp_path / ".hidden.npy")
    save(tmp_path / ".cache" / "4.npy")
    offered = find(tmp_path, Location.parse("/nowhere/t.zarr"))
    relative = [os.path.relpath(file.path, tmp_path) for file in offered.files]
    assert relative == ["1.npy", "2.npy", "10.npy", "a/3.npy", "a/20.npy", "b.npy"]
    assert offered.ignored == 3


@given(st.lists(st.text(st.sampled_from("aB01290/."), min_size=1), unique=True))
def test_natural_order_is_an_order(names):
    once = sorted(names, key=natural_key)
    again = list(names)
    random.Random(0).shuffle(again)
    assert sorted(again, key=natural_key) == once


def test_a_glob(tmp_path, monkeypatch):
    for name in ("s1/a.npy", "s1/b.npy", "s2/deep/a.npy", "s1/readme.md"):
        (save(tmp_path / name) if name.endswith("npy") else (tmp_path / name).write_text(""))
    assert found(f"{tmp_path}/s1/*.npy") == ["a.npy", "b.npy"]
    assert len(found(f"{tmp_path}/**/a.npy")) == 2
    assert find(f"{tmp_path}/s1/*", Location.parse("/t")).ignored == 1
    monkeypatch.chdir(tmp_path)
    assert found("s1/[ab].npy") == ["a.npy", "b.npy"]


def test_a_name_that_looks_like_a_glob(tmp_path):
    save(tmp_path / "a[1].npy")
    assert found(tmp_path / "a[1].npy") == ["a[1].npy"]


def test_a_list_keeps_its_order_and_takes_each_file_once(tmp_path):
    for name in ("b.npy", "a.npy", "c/d.npy"):
        save(tmp_path / name)
    listed = [tmp_path / "b.npy", tmp_path / "c", str(tmp_path / "a.npy"), tmp_path / "b.npy"]
    assert found(listed) == ["b.npy", "d.npy", "a.npy"]
    assert found(path for path in listed) == ["b.npy", "d.npy", "a.npy"]


def test_a_file_that_is_written_in_two_ways_is_taken_once(tmp_path, monkeypatch, ingest):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "x.npy")
    np.savez(tmp_path / "z.npz", first=np.zeros((4, 5), np.uint8), second=np.ones((4, 5), np.uint8))
    listed = ["x.npy", "./x.npy", tmp_path / "x.npy", "z.npz:first", "./z.npz:second", "./z.npz:first", "*.npy"]
    offered = find(listed, Location.parse("/nowhere/t.zarr"))
    assert [file.given for file in offered.files] == ["x.npy", "z.npz:first", "./z.npz:second"]
    assert ingest(["x.npy", "./x.npy"])[0].names == ("x",)


def test_a_file_named_outright_may_be_called_anything(tmp_path, ingest):
    save(tmp_path / "in" / "a.npy")
    os.rename(tmp_path / "in" / "a.npy", tmp_path / "in" / "a.data")
    assert ingest(tmp_path / "in" / "a.data")[0].names == ("a",)
    assert found([tmp_path / "in" / "a.data"]) == ["a.data"]
    with pytest.raises(MissingSourceError, match="offers no image files, though 1 other files are there"):
        find(tmp_path / "in", Location.parse("/t"))


def test_a_link_to_a_folder_is_not_followed_round_and_round(tmp_path):
    save(tmp_path / "in" / "a.npy")
    (tmp_path / "in" / "again").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "b.npy").symlink_to(tmp_path / "in" / "a.npy")
    assert found(tmp_path / "in") == ["a.npy", "b.npy"]


def test_a_file_that_is_reached_by_several_ways_is_one_image(tmp_path):
    for name in ("day1/a.npy", "day2/b.npy"):
        save(tmp_path / name)
    (tmp_path / "latest").symlink_to("day2")
    (tmp_path / "self").symlink_to(".")
    assert found(f"{tmp_path}/*/*.npy") == found(f"{tmp_path}/**/*.npy") == ["a.npy", "b.npy"]
    target = tmp_path / "t.zarr"
    patchmill.ingest(tmp_path / "day2", target)
    assert patchmill.ingest(tmp_path / "latest", target, mode="append").added == 0
    assert patchmill.ingest([tmp_path / "self/day2/b.npy"], target, mode="append").added == 0


def test_partners_are_beside_an_image_as_the_user_came_there(tmp_path, ingest):
    save(tmp_path / "disk" / "scenes" / "a.npy")
    save(tmp_path / "project" / "masks" / "a.npy")
    (tmp_path / "project" / "scenes").symlink_to(tmp_path / "disk" / "scenes")
    masks = {"mask": "{parent}/../masks/{stem}.npy", "other": f"{tmp_path}/project/masks/{{stem}}.npy"}
    with pytest.raises(SourceError, match="missing partner for 'mask'"):  # as the system goes up from a link
        ingest(tmp_path / "project" / "scenes", variables=masks)
    (tmp_path / "project" / "scenes_masks").symlink_to("masks")
    report, _ = ingest(tmp_path / "project" / "scenes", variables={"mask": "{parent}_masks/{stem}.npy"})
    assert report.names == ("a",)


@pytest.mark.parametrize("images", ["nothing.npy", "nothing/*.tif", ["a.npy", "b.npy"], []])
def test_nothing_at_all(tmp_path, monkeypatch, images):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingSourceError) as error:
        patchmill.ingest(images, "t.zarr")
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_one_missing_among_others(tmp_path, ingest):
    save(tmp_path / "a.npy")
    images = [tmp_path / "a.npy", tmp_path / "b.npy", f"{tmp_path}/c*.npy"]
    with pytest.raises(SourceError, match=r"b\.npy is not there"):
        ingest(images)
    report, _ = ingest(images, on_error="skip")
    assert [reason for _, reason in report.skipped] == ["is not there", "is not there"]


@pytest.mark.parametrize("images", [5, None, [5], b"a.npy", [b"a.npy"]])
def test_what_names_no_files(images):
    with pytest.raises(TypeError):
        find(images, Location.parse("/t"))


@pytest.mark.parametrize("images", ["s3://bucket/a.tif", "https://host/a.tif", " "])
def test_places_out_of_reach(images):
    with pytest.raises(ValueError, match="images must"):
        find(images, Location.parse("/t"))


def test_a_url_of_this_machine(tmp_path):
    save(tmp_path / "a b.npy")
    assert found(f"file://{tmp_path}/a%20b.npy") == ["a b.npy"]


# -- the target -----------------------------------------------------------------------------------------------------


def test_a_target_among_the_images_is_not_swallowed(tmp_path):
    save(tmp_path / "a.npy", 1)
    for mode in ("create", "overwrite", "overwrite"):
        for images in (tmp_path, f"{tmp_path}/**/*"):
            report = patchmill.ingest(images, tmp_path / f"{mode}.zarr", mode="overwrite")
            assert "a" in report.names
            assert f"{mode}" not in report.names


def test_a_target_is_not_swallowed_by_whichever_name_it_is_reached(tmp_path):
    save(tmp_path / "real" / "a.npy", 1)
    (tmp_path / "link").symlink_to("real")
    target = tmp_path / "link" / "out.zarr"
    patchmill.ingest(tmp_path / "real", target)
    (tmp_path / "real" / "same.zarr").symlink_to("out.zarr")
    for mode in ("append", "overwrite"):
        for images in (tmp_path / "real", f"{tmp_path}/real/*"):
            assert patchmill.ingest(images, target, mode=mode).names == ("a",)


def test_what_another_target_was_built_of_is_no_image(tmp_path):
    save(tmp_path / "in" / "a.npy", 1)
    patchmill.ingest(
        tmp_path / "in", tmp_path / "in" / "x.zarr.patchmill" / "source"
    )  # left by a process that was killed
    for images in (tmp_path / "in", f"{tmp_path}/in/**/*"):
        assert patchmill.ingest(images, tmp_path / "t.zarr", mode="overwrite").names == ("a",)


def test_images_are_asked_for_once(tmp_path):
    save(tmp_path / "a.npy", 1)
    for _ in range(2):
        images = (tmp_path / name for name in ("a.npy",))
        assert len(patchmill.ingest(images, tmp_path / "t.zarr", mode="auto")) == 1


def test_a_target_elsewhere_is_refused_before_anybody_is_asked(tmp_path):
    save(tmp_path / "a.npy", 1)
    with pytest.raises(PatchmillError, match="no folder on a local disk"):
        patchmill.ingest(tmp_path / "a.npy", "s3://nowhere/t.zarr")


def test_the_folder_of_images_is_no_target(tmp_path):
    save(tmp_path / "in" / "a.npy")
    for mode in ("create", "overwrite"):
        with pytest.raises(TargetExistsError, match="left alone"):
            patchmill.ingest(tmp_path / "in", tmp_path / "in", mode=mode)
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["a.npy"]


def test_images_inside_the_target_are_refused(tmp_path):
    save(tmp_path / "a.npy")
    target = tmp_path / "t.zarr"
    patchmill.ingest(tmp_path / "a.npy", target)
    save(target / "b.npy")
    for images in (target, target / "b.npy", target / "image"):
        with pytest.raises(ValueError, match="outside of the target"):
            patchmill.ingest(images, target, mode="overwrite")
    with pytest.raises(ValueError, match="outside of the target"):
        patchmill.ingest(tmp_path / "a.npy", target, mode="overwrite", variables={"mask": f"{target}/b.npy"})


# -- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["/d/a.png", "/d/b.png"], ["a", "b"]),
        (["/d/x/a.png", "/d/y/a.png", "/d/y/b.png"], ["x/a", "y/a", "b"]),
        (["/d/a.png", "/d/a.jpg"], ["a.png", "a.jpg"]),
        (["/d/x/a.png", "/d/x/a.jpg", "/d/y/a.png"], ["x/a.png", "x/a.jpg", "y/a"]),
        (["/d/s.nii.tif"], ["s.nii"]),
    ],
)
def test_names_are_as_short_as_they_can_be(files, names):
    assert image_names([(file, "") for file in files]) == names


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["/d/a.png", "/d/a.tif", "/d/x/a.png", "/d/a[p=1].png", "/b"]),
            st.sampled_from(["", "[p=1]", "[p=2]"]),
        )
    )
)
def test_no_two_names_are_the_same(files):
    names = image_names(files)
    assert len(set(names)) == len(names) == len(files)


@pytest.fixture
def locked(tmp_path, monkeypatch):
    """Folders with an image each, of which one can't be listed."""
    for name in ("night1/a.npy", "night2/b.npy", "other/c.npy"):
        save(tmp_path / name)
    real = os.scandir

    def scandir(path="."):
        if os.fspath(path).endswith("night2"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    return tmp_path


@pytest.mark.parametrize("images", ["", "**/*.npy", "night*/*.npy", "*/*.npy", "night[12]/**/*.npy", "*/**"])
def test_a_folder_that_can_not_be_listed_hides_no_image_in_silence(locked, images):
    with pytest.raises(SourceError, match=r"night2 can't be read, so nobody knows which images lie in it: Permission"):
        find(locked / images, Location.parse(locked / "target.zarr"))


@pytest.mark.parametrize(
    ("images", "names"), [("other/*.npy", ["c.npy"]), ("*1/*.npy", ["a.npy"]), ("[no]*r/**", ["c.npy"])]
)
def test_a_folder_that_no_pattern_leads_into_may_be_locked(locked, images, names):
    assert found(locked / images) == names
