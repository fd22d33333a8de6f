"""What people are told of a patch set."""

from __future__ import annotations

import re

import numpy as np
import xarray as xr

import patchmill
from patchmill.show import patchsets
from patchmill.show.patchsets import patchset_html, rows_of


def half(patches):
    return patches / 2


def a_source():
    values = np.arange(2 * 3 * 40 * 60, dtype="uint16").reshape(2, 3, 40, 60)
    return xr.DataArray(values, dims=("image", "channel", "y", "x"))


def test_what_was_asked_for_is_there(tmp_path):
    ps = patchmill.write_patches(
        a_source(),
        tmp_path / "p.zarr",
        8,
        4,
        transform="clip(0, 300) | scale(0.5)",
        keep="mean < 149",
        dtype="uint8",
        statistics=True,
    )
    rows = dict(rows_of(ps))
    assert rows["patches"] == f"{len(ps):,} of 252 kept, of 8 x 8 pixels"
    assert len(ps) < 252
    assert rows["keep"] == "mean < 149"
    assert rows["transform"] == "clip(low=0, high=300) | scale(factor=0.5, offset=0)"
    assert rows["variables"] == "image: uint8, 3 channels"
    assert rows["statistics"] == "mean, std, min, max of each patch"
    assert rows["source"] == "memory"
    assert re.fullmatch(r"20\d\d-\d\d-\d\d \d\d:\d\d UTC by patchmill \S+", rows["made"])


def test_where_nothing_was_asked_for_no_row_speaks_of_it(tmp_path):
    ps = patchmill.write_patches(a_source(), tmp_path / "p.zarr", 8, statistics=False)
    rows = dict(rows_of(ps))
    assert rows["patches"] == "70 of 8 x 8 pixels"
    assert rows["statistics"] == "not kept"
    assert not {"keep", "transform", "dropped"} & set(rows)
    view = dict(rows_of(patchmill.view_patches(a_source(), 8)))
    assert view["size"] == "26.2 KiB raw, nothing is stored"
    assert not {"made", "source", "statistics"} & set(view)


def test_several_variables_say_whose_transform_it_is_and_functions_have_a_name(tmp_path):
    data = xr.Dataset({"scene": a_source(), "mask": a_source()[:, 0] // 9})
    ps = patchmill.write_patches(
        data,
        tmp_path / "p.zarr",
        8,
        transform={"scene": half},
        keep=lambda patches: np.ones(len(patches["mask"]), bool),
    )
    rows = dict(rows_of(ps))
    assert rows["transform"].startswith("scene: ")
    assert rows["transform"].endswith("test_patchsets:half")
    assert "<lambda>" in rows["keep"]
    assert "&lt;lambda&gt;" in patchset_html(ps)


def test_the_size_is_that_of_what_is_stored(tmp_path):
    ps = patchmill.write_patches(a_source(), tmp_path / "p.zarr", 8, 1, layout="canvas")
    held = sum(path.stat().st_size for path in (tmp_path / "p.zarr").rglob("*") if path.is_file())
    assert ps.stored_nbytes == 2 * 3 * 40 * 60 * 2
    size = dict(rows_of(ps))["size"]
    assert size == f"1.3 MiB as patches, 28.1 KiB stored raw, {held / 1024:.1f} KiB on disk, layout canvas"
    assert repr(ps).endswith("canvas, 1.3 MiB out of 28.1 KiB stored>")
    full = patchmill.write_patches(a_source(), tmp_path / "q.zarr", 8)
    assert full.stored_nbytes == full.nbytes
    assert re.fullmatch(r"26\.2 KiB raw, \S+ KiB on disk, layout patches", dict(rows_of(full))["size"])


def test_objects_are_counted_where_they_are_few(tmp_path, monkeypatch):
    monkeypatch.setattr(patchsets, "_MOST_OBJECTS", 3)
    ps = patchmill.write_patches(a_source(), tmp_path / "p.zarr", 8)
    assert dict(rows_of(ps))["size"] == "26.2 KiB raw, layout patches"


def test_numbers_of_kept_patches_are_shown_in_a_line(tmp_path):
    ps = patchmill.write_patches(a_source(), tmp_path / "p.zarr", 8, keep="mean > 5000")
    assert repr(ps.numbering) == f"<KeptPatches: {len(ps)} of 70 patches of 2 images>"
    assert f"{len(ps)} of 70 patches of 3 x 8 x 8" in repr(ps)


def test_pixels_in_no_patch_are_told_as_the_plan_tells_them(tmp_path):
    ps = patchmill.write_patches(a_source(), tmp_path / "p.zarr", 16)
    told = dict(rows_of(ps))["uncovered"]
    assert told == "1,728 pixels (36.0%)"
    assert told == dict(patchmill.plan(a_source(), 16).rows())["uncovered"]
    assert "step 16 x 16, 36.0% uncovered, patches" in repr(ps)
    for whole in (patchmill.view_patches(a_source(), 16, edge="shift"), patchmill.view_patches(a_source(), 20)):
        assert "uncovered" not in dict(rows_of(whole))
        assert "uncovered" not in repr(whole)
