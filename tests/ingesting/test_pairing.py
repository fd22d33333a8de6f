"""Further variables: files that belong to each image by name."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import patchmill
from ingesting.looking import dataset_of, images_of
from patchmill.errors import SourceError


@pytest.fixture
def scenes(tmp_path, rng):
    """Three images of different sizes with masks, and what is in them."""
    made = {}
    for name, size in {"a": (20, 30), "b": (25, 10), "c": (7, 31)}.items():
        made[name] = rng.integers(0, 256, (*size, 3), dtype=np.uint8), rng.integers(0, 5, size, dtype=np.uint8)
        for folder, values in zip(("images", "masks"), made[name], strict=True):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(values).save(tmp_path / folder / f"{name}.png")
    return made


@pytest.mark.parametrize("pattern", ["masks/{stem}.png", "{parent}/../masks/{name}", "masks/{stem}.*"])
def test_masks_go_with_their_images(scenes, tmp_path, ingest, monkeypatch, pattern):
    monkeypatch.chdir(tmp_path)
    report, images = ingest("images", variables={"mask": pattern})
    assert report.variables == ("image", "mask")
    masks = images_of(tmp_path / "made" / "source.zarr", "mask")
    for image, mask, (pixels, labels) in zip(images, masks, scenes.values(), strict=True):
        assert (image == np.moveaxis(pixels, -1, 0)).all()
        assert (mask == labels).all()
    store = dataset_of(report.target)
    assert store.mask.dims == ("image", "y", "x")
    source = patchmill.write_patches(report.target, tmp_path / "patches.zarr", 5)
    assert set(source[0]) == {"image", "mask"}


def test_palettes_of_masks_stay_indices(tmp_path, ingest, rng):
    classes = rng.integers(0, 4, (20, 30), dtype=np.uint8)
    mask = Image.fromarray(classes)
    mask.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    mask.save(tmp_path / "a_mask.png")
    Image.fromarray(classes).save(tmp_path / "a.png")
    ingest(tmp_path / "a.png", variables={"mask": "{parent}/{stem}_mask.png"})
    [found] = images_of(tmp_path / "made" / "source.zarr", "mask")
    assert (found == classes).all()


def test_missing_partners_are_listed(scenes, tmp_path, ingest):
    (tmp_path / "masks" / "b.png").unlink()
    variables = {"mask": f"{tmp_path}/masks/{{stem}}.png"}
    with pytest.raises(SourceError, match=r"images/b\.png missing partner for 'mask': .*masks/b\.png is not there"):
        ingest(tmp_path / "images", variables=variables)
    report, _ = ingest(tmp_path / "images", variables=variables, on_error="skip")
    assert report.names == ("a", "c")
    [(path, reason)] = report.skipped
    assert path.endswith("images/b.png")
    assert reason.startswith("missing partner for 'mask'")


def test_partners_of_another_size_dtype_or_number_are_listed(scenes, tmp_path, ingest, rng):
    masks = tmp_path / "masks"
    Image.fromarray(np.zeros((24, 10), np.uint8)).save(masks / "b.png")
    Image.fromarray(np.zeros((7, 31), np.uint16)).save(masks / "c.png")
    report, _ = ingest(tmp_path / "images", variables={"mask": f"{masks}/{{stem}}.png"}, on_error="skip")
    assert report.names == ("a",)
    reasons = [reason for _, reason in report.skipped]
    assert "has 24 x 10 pixels, and the image 25 x 10" in reasons[0]
    assert "has as 'mask' another dtype, uint16" in reasons[1]


def test_pages_go_with_pages(tmp_path, ingest, rng):
    import tifffile

    (tmp_path / "m").mkdir()
    values = rng.integers(0, 9, (3, 20, 30), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "s.tif", values, photometric="minisblack")
    tifffile.imwrite(tmp_path / "m" / "s.tif", values > 4, photometric="minisblack")
    options = {"variables": {"mask": f"{tmp_path}/m/{{name}}"}}
    report, _ = ingest(tmp_path / "s.tif", **options)
    assert (np.array(images_of(tmp_path / "made" / "source.zarr", "mask")) == (values > 4)).all()
    assert len(report) == 3
    tifffile.imwrite(tmp_path / "m" / "s.tif", values[:2] > 4, photometric="minisblack")
    with pytest.raises(SourceError, match=r"holds 3 images, and its partner for 'mask', .*, 2"):
        ingest(tmp_path / "s.tif", **options)


def test_a_partner_that_can_not_be_decoded_takes_its_image_with_it(scenes, tmp_path, ingest):
    path = tmp_path / "masks" / "b.png"
    path.write_bytes(path.read_bytes()[:-40])
    report, _ = ingest(tmp_path / "images", variables={"mask": f"{tmp_path}/masks/{{stem}}.png"}, on_error="skip")
    assert report.names == ("a", "c")


def test_variables_with_channels_of_their_own(tmp_path, ingest, rng):
    np.save(tmp_path / "a.npy", rng.random((3, 20, 30)))
    np.save(tmp_path / "flow.npy", rng.random((2, 20, 30)).astype("f4"))
    report, _ = ingest(tmp_path / "a.npy", variables={"flow": f"{tmp_path}/flow.npy"})
    store = dataset_of(report.target)
    assert store.image.dims == ("image", "channel_image", "y", "x")
    assert store.flow.dims == ("image", "channel_flow", "y", "x")
    patches = patchmill.write_patches(report.target, tmp_path / "patches.zarr", 5)
    assert {name: part.shape for name, part in patches[0].items()} == {"image": (3, 5, 5), "flow": (2, 5, 5)}


@pytest.mark.parametrize(
    ("variables", "error"),
    [
        ({"mask": "{stam}.png"}, "may hold {stem}, {name}, {parent}, got {stam}"),
        ({"mask": "{stem"}, "can't be understood"),
        ({"mask": ""}, "must be a text"),
        ({"image": "a"}, "of the store itself"),
        ({"channel_x": "a"}, "of the store itself"),
        ({"a b": "a"}, "plain word"),
        ({5: "a"}, "plain word"),
        (["mask"], "must map names to patterns"),
    ],
)
def test_wrong_patterns_are_refused_at_once(scenes, tmp_path, variables, error):
    with pytest.raises((TypeError, ValueError), match=error.replace("{", r"\{").replace("}", r"\}")):
        patchmill.ingest(tmp_path / "images", tmp_path / "t.zarr", variables=variables)
    assert not (tmp_path / "t.zarr").exists()


def test_several_partners_are_too_many(scenes, tmp_path, ingest):
    Image.new("L", (30, 20)).save(tmp_path / "masks" / "a.bmp")
    with pytest.raises(SourceError, match="has 2 partners for 'mask'"):
        ingest(tmp_path / "images", variables={"mask": f"{tmp_path}/masks/{{stem}}.*"})
