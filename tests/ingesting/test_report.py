"""What an ingest says about itself."""

from __future__ import annotations

import re

import numpy as np

import patchmill
from patchmill.ingesting import IngestReport
from patchmill.types import Progress


def report(**changes):
    values = {
        "target": "/data/<b>.zarr",
        "variables": ("image",),
        "names": ("a", "b"),
        "sizes": ((300, 451), (20, 30)),
        "dtype": np.dtype(np.uint8),
        "channels": 3,
        "labels": ("red", "green", "blue"),
        "nbytes": 407_700,
    }
    return IngestReport(**{**values, **changes})


def test_one_line_with_what_one_wants_to_know():
    assert repr(report()) == (
        "IngestReport(2 images of height 20 to 300, width 30 to 451 pixels, uint8, 3 channels (red, green, blue), "
        "398 KiB: /data/<b>.zarr)"
    )
    alone = report(names=("a",), sizes=((20, 30),))
    assert repr(alone).startswith("IngestReport(1 image of 20 x 30 pixels")
    assert "1 image (1 new) of" in repr(report(names=("a",), sizes=((20, 30),), added=1))
    assert dict(report(ignored=1).rows())["ignored"] == "1 file that is not called like an image"
    assert "no channels" in repr(report(channels=None, labels=None))
    assert repr(report(notes=("a", "b"))).endswith("398 KiB; a; b: /data/<b>.zarr)")
    assert "1 skipped" in repr(report(skipped=(("c.png", "is empty"),)))


def test_html_is_escaped_small_and_without_script():
    skipped = tuple((f"<i>{number}</i>.png", "<script>alert(1)</script>" * 30) for number in range(5000))
    text = report(skipped=skipped)._repr_html_()
    assert "<script" not in text
    assert "<i>" not in text
    assert "&lt;b&gt;.zarr" in text
    assert "and 4,950 more" in text
    assert len(text) < 50_000
    assert not re.search(r"\son\w+=", text)


def test_what_an_append_has_to_say():
    grown = report(added=1, changed=(("<a>.png", "had 3 bytes and has 4"),), vanished=("z.png",))
    assert "2 images (1 new) of" in repr(grown)
    assert "1 changed, 1 vanished" in repr(grown)
    assert "2 images (nothing new) of" in repr(report(added=0))
    assert grown.warnings() == (
        "<a>.png changed since it was ingested: it had 3 bytes and has 4",
        "z.png was ingested and is no longer there",
    )
    text = grown._repr_html_()
    assert "&lt;a&gt;.png" in text
    assert "is no longer there" in text
    assert dict(grown.rows())["changed"].startswith("1: the store keeps what was ingested")
    many = report(added=0, vanished=tuple(f"{number}.png" for number in range(5000)))
    assert len(many._repr_html_()) < 50_000


def test_the_sample(tmp_path):
    seen = []
    report = patchmill.ingest("sample:", tmp_path / "t.zarr", progress=seen.append)
    assert len(report) == 8
    assert report.labels == ("red", "green", "blue")
    assert max(max(size) for size in report.sizes) > 1000
    assert [far.done for far in seen] == list(range(1, 9))
    assert seen[-1] == Progress(8, 8, report.nbytes)
    assert report.skipped == ()
