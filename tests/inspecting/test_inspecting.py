"""Figures of a source: as NumPy has them of the whole array, whatever lies behind and however it is stored."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from math import floor, isqrt
from typing import Any

import dask.array as da
import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

import patchmill
from patchmill.errors import CorruptChunkError, SourceError
from patchmill.inspecting import ChannelReport, SourceReport, regions, tallies
from patchmill.show import image_gallery, thumbnails, value_histograms
from patchmill.sources import Source
from patchmill.storage import Location

AXES = ("image", "channel", "y", "x")
DTYPES = ("bool", "uint8", "int8", "uint16", "int32", "int64", "uint64", "float16", "float32", "float64")
SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 9), st.integers(1, 9))


@contextmanager
def small(piece: int, region: int) -> Iterator[None]:
    """Pieces and regions so small that there are several of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tallies, "PIECE", piece)
        patch.setattr(regions, "REGION", region)
        yield


@st.composite
def pixels(draw: st.DrawFn, dtypes: tuple[str, ...] = DTYPES) -> np.ndarray:
    """An array (image, channel, y, x) of any dtype, some of them full of extremes."""
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    if dtype.kind == "f":
        # Squares of what is larger leave double precision, as NumPy's do.
        most = {2: 60000.0, 4: 2.0**100, 8: 2.0**300}[dtype.itemsize]
        finite = st.floats(-most, most, width=8 * dtype.itemsize)
        elements = st.one_of(finite, st.sampled_from([np.nan, np.inf, -np.inf, 0.0, 1.0, -1000.0]))
    else:
        ends = [False, True] if dtype.kind == "b" else [np.iinfo(dtype).min, np.iinfo(dtype).max, 0, 1]
        elements = st.one_of(hnp.from_dtype(dtype), st.sampled_from(ends))
    return draw(hnp.arrays(dtype, draw(SHAPES), elements=elements))


CHUNKS = st.tuples(*(st.integers(1, 9) for _ in range(4)))
NODATA = st.sampled_from([None, 0, 1, 1.0, -1000, -1000.0, 2**64 - 1, 2.0**64, float("nan"), 0.5])


def root(value: Fraction) -> float:
    """The square root of a fraction, to 60 digits."""
    scale = 10**120
    return float(Fraction(isqrt(value.numerator * value.denominator * scale), value.denominator * 10**60))


def check(channel: ChannelReport, values: np.ndarray, nodata: Any) -> None:
    """Compare with NumPy, and with fractions, which do not round."""
    flat = (values.view(np.uint8) if values.dtype == bool else values).ravel()
    nan = np.isnan(flat) if flat.dtype.kind == "f" else np.zeros(flat.shape, bool)
    missing = nodata is not None and nodata != nodata
    same = nan if missing else np.array([nodata is not None and each == nodata for each in flat.tolist()], bool)
    rest = flat[~(nan | same)]
    finite = rest[np.isfinite(rest)] if rest.dtype.kind == "f" else rest
    assert channel.pixels == flat.size
    assert channel.nodata == same.sum()
    assert channel.nan == (0 if missing else nan.sum())
    assert channel.infinite == rest.size - finite.size
    assert channel.measured == finite.size
    if not finite.size:
        found = (channel.minimum, channel.maximum, channel.mean, channel.std, channel.histogram)
        assert found == (None, None, None, None, None)
        return
    assert (channel.minimum, channel.maximum) == (finite.min().item(), finite.max().item())
    exact = [Fraction(each) for each in finite.tolist()]
    mean = sum(exact) / len(exact)
    std = root(sum((each - mean) ** 2 for each in exact) / len(exact))
    # Whole numbers are counted from their least, floats from zero, to whose last digit a mean is known.
    # Squares of less than 1e-154 leave double precision, as NumPy's do.
    last = 2e-15 * float(max(map(abs, exact))) + 1e-150
    lost = last * (finite.dtype.kind == "f")
    assert channel.mean == pytest.approx(float(mean), rel=1e-13, abs=last)
    assert channel.std == pytest.approx(std, rel=1e-12, abs=lost)
    with np.errstate(all="ignore"):
        assert channel.mean == pytest.approx(float(finite.mean(dtype="float64")), rel=1e-12, abs=last)
        assert channel.std == pytest.approx(float(finite.std(dtype="float64")), rel=1e-12, abs=last)
    bins = Counter(floor(each / Fraction(2) ** channel.histogram.exponent) for each in exact)
    first = channel.histogram.first
    assert {first + at: count for at, count in enumerate(channel.histogram.counts) if count} == bins


def labeled(values: np.ndarray, nodata: Any) -> xr.DataArray:
    attributes = {} if nodata is None else {"nodata": nodata}
    return xr.DataArray(values, dims=AXES, attrs=attributes)


@given(pixels(), NODATA, st.integers(1, 40), st.integers(1, 300))
def test_figures_are_numpys(values, nodata, piece, region):
    with small(piece, region):
        report = patchmill.inspect(labeled(values, nodata), workers=2)
    (variable,) = report.variables
    assert (report.images, variable.dtype) == (len(values), values.dtype)
    assert report.sizes == ((values.shape[2:], len(values)),)
    for at, channel in enumerate(variable.channels):
        check(channel, values[:, at], nodata)


@given(pixels(), NODATA, st.integers(1, 40), st.integers(1, 300), st.data())
def test_padding_does_not_count(values, nodata, piece, region, data):
    images, _, height, width = values.shape
    sizes = [(data.draw(st.integers(1, height)), data.draw(st.integers(1, width))) for _ in range(images)]
    source = labeled(values, nodata).to_dataset(name="scene")
    for at, name in enumerate(("height", "width")):
        source[name] = ("image", np.array([size[at] for size in sizes]))
    with small(piece, region):
        report = patchmill.inspect(source, variables=["scene"])
    assert dict(report.sizes) == {size: sizes.count(size) for size in sizes}
    areas = [height * width for height, width in sizes]
    assert (np.prod(report.smallest), np.prod(report.largest)) == (min(areas), max(areas))
    for at, channel in enumerate(report["scene"].channels):
        own = [image[at, :h, :w].ravel() for image, (h, w) in zip(values, sizes, strict=True)]
        check(channel, np.concatenate(own), nodata)


@settings(max_examples=30)
@given(pixels(), CHUNKS, NODATA, st.integers(1, 300))
def test_any_chunks_give_the_same_figures(values, chunks, nodata, region):
    chunks = tuple(min(n, chunk) for n, chunk in zip(values.shape, chunks, strict=True))
    with tempfile.TemporaryDirectory() as folder, small(40, region):
        array = zarr.create_array(
            f"{folder}/a.zarr",
            data=values,
            chunks=chunks,
            dimension_names=AXES,
            attributes={} if nodata is None else {"nodata": "nan" if nodata != nodata else nodata},
        )
        assert array.chunks == chunks
        stored = patchmill.inspect(f"{folder}/a.zarr")
        lazy = patchmill.inspect(labeled(values, nodata).chunk(dict(zip(AXES, chunks, strict=True))))
    for report in (stored, lazy):
        for at, channel in enumerate(report.variables[0].channels):
            check(channel, values[:, at], nodata)


def test_a_plain_dask_array():
    values = np.random.default_rng(0).normal(5, 3, (2, 3, 40, 30))
    report = patchmill.inspect(da.from_array(values, chunks=(1, 2, 17, 30)))
    for at, channel in enumerate(report["image"].channels):
        check(channel, values[:, at], None)


def test_images_of_other_sizes_in_a_canonical_store(tmp_path):
    random = np.random.default_rng(0)
    images = [random.integers(0, 1000, (*size, 3), "uint16") for size in ((20, 30), (25, 10), (20, 30))]
    for number, image in enumerate(images):
        np.save(tmp_path / f"{number}.npy", image)
        np.save(tmp_path / f"{number}_mask.npy", image[..., 0] > 500)
    variables = {"mask": f"{tmp_path}/{{stem}}_mask.npy"}
    patchmill.ingest([tmp_path / f"{n}.npy" for n in range(3)], tmp_path / "s.zarr", variables=variables)
    report = patchmill.inspect(tmp_path / "s.zarr")
    assert report.sizes == (((20, 30), 2), ((25, 10), 1))
    assert (report.smallest, report.largest) == ((25, 10), (20, 30))
    assert report.nbytes == 1450 * (3 * 2 + 1)
    for at, channel in enumerate(report["image"].channels):
        check(channel, np.concatenate([image[..., at].ravel() for image in images]), None)
    check(report["mask"].channels[0], np.concatenate([image[..., 0].ravel() > 500 for image in images]), None)
    assert (report["mask"].has_channel, report["image"].has_channel) == (False, True)


def test_a_chunk_that_is_missing_in_an_image_is_an_error(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((20, 30), "uint8"))
    patchmill.ingest(tmp_path / "a.npy", tmp_path / "s.zarr")
    next(path for path in (tmp_path / "s.zarr" / "image" / "c").rglob("*") if path.is_file()).unlink()
    with pytest.raises(CorruptChunkError, match=r"s\.zarr/image"):
        patchmill.inspect(tmp_path / "s.zarr")


def test_names_of_channels_and_channels_made_of_variables():
    data = xr.Dataset({name: (("y", "x"), np.full((4, 5), at, "uint8")) for at, name in enumerate("abc")})
    report = patchmill.inspect(data, channels=["c", "a"])
    assert [(each.name, each.minimum) for each in report["image"].channels] == [("c", 2), ("a", 0)]
    with pytest.raises(KeyError, match="it has image"):
        report["mask"]


def test_complex_numbers_by_their_magnitude():
    values = np.array([[3 + 4j, 0, np.nan, complex(np.inf, 0)]], "complex64")
    (channel,) = patchmill.inspect(values)["image"].channels
    assert (channel.minimum, channel.maximum, channel.mean, channel.nan, channel.infinite) == (0.0, 5.0, 2.5, 1, 1)


def test_large_numbers_that_are_alike_keep_their_deviation():
    values = 2**62 + np.arange(300)[:, None] // 3 + np.random.default_rng(0).integers(0, 3, (300, 400))
    with small(1000, 8000):
        (whole,) = patchmill.inspect(values)["image"].channels
        (real,) = patchmill.inspect(values % 1000 + 1e12)["image"].channels
    assert whole.std == pytest.approx((values - 2**62).std(), rel=1e-12)
    assert real.std == pytest.approx((values % 1000).std(), rel=1e-12, abs=1e-4)


@pytest.mark.parametrize(
    ("dtype", "values", "nodata", "counted"),
    [
        ("uint64", [2**64 - 1, 2**64 - 2, 0], 2**64 - 1, 1),
        ("uint64", [2**64 - 1, 0], 2.0**64, 0),
        ("int64", [2**53 + 1, 2**53], float(2**53), 1),
        ("uint8", [0, 1, 255], -1, 0),
        ("uint8", [0, 1, 255], float("inf"), 0),
        ("bool", [False, True, True], 1, 2),
        ("float32", [0.1, 0.2], 0.1, 1),
        ("float16", [np.inf, 1], 1e6, 0),
        ("float32", [np.inf, 1], float("inf"), 1),
        ("float64", [np.nan, 1], float("nan"), 1),
    ],
)
def test_nodata_is_what_the_type_can_hold(dtype, values, nodata, counted):
    (channel,) = patchmill.inspect(labeled(np.array([[[values]]], dtype), nodata))["image"].channels
    assert (channel.nodata, channel.pixels) == (counted, len(values))


def test_other_byte_order():
    values = np.arange(12, dtype=">u2").reshape(3, 4)
    check(patchmill.inspect(values)["image"].channels[0], values, None)


def test_figures_do_not_depend_on_workers_and_memory(tmp_path):
    values = np.random.default_rng(0).normal(1e6, 1, (3, 300, 400))
    zarr.create_array(tmp_path / "a.zarr", data=values, chunks=(2, 64, 100))
    with small(500, 100_000):
        found = {
            patchmill.inspect(tmp_path / "a.zarr", workers=workers, memory=memory).to_json()
            for workers, memory in ((1, "2GiB"), (2, "4GiB"), (5, "8GiB"))
        }
    assert len(found) == 1


def test_progress_counts_pixels():
    told = []
    with small(100, 500):
        patchmill.inspect(np.zeros((2, 3, 20, 30), "uint16"), progress=told.append)
    assert (told[-1].done, told[-1].total, told[-1].nbytes) == (3600, 3600, 7200)
    assert [each.done for each in told] == sorted(each.done for each in told)


def test_memory_that_does_not_hold_a_chunk_is_refused_before_anything_is_read(tmp_path):
    array = zarr.create_array(tmp_path / "a.zarr", shape=(30_000, 30_000), chunks=(30_000, 30_000), dtype="uint16")
    assert array.nchunks_initialized == 0
    with pytest.raises(patchmill.PatchmillError, match=r"'a' at a time needs \d+ MiB of memory, .*: raise memory to"):
        patchmill.inspect(tmp_path / "a.zarr", memory="1GiB")


def test_a_source_on_an_object_store(s3, tmp_path):
    values = np.random.default_rng(0).integers(0, 99, (2, 50, 60), "int16")
    zarr.create_array(tmp_path / "a.zarr", data=values, chunks=(1, 20, 20))
    place = Location.parse(f"{s3}/a.zarr")
    for path in (tmp_path / "a.zarr").rglob("*"):
        if path.is_file():
            place.write(path.relative_to(tmp_path / "a.zarr").as_posix(), path.read_bytes())
    with small(1000, 1000):
        (variable,) = patchmill.inspect(place.url).variables
    for at, channel in enumerate(variable.channels):
        check(channel, values[at], None)


def test_a_source_that_is_replaced_meanwhile_is_an_error(tmp_path):
    for name, dtype in (("a", "uint16"), ("b", "uint8")):
        zarr.create_array(tmp_path / name, data=np.zeros((40, 60), dtype), chunks=(20, 20))

    def replace(_: Any) -> None:
        (tmp_path / "a" / "zarr.json").write_bytes((tmp_path / "b" / "zarr.json").read_bytes())

    with small(100, 500), pytest.raises(SourceError, match="changed or vanished"):
        patchmill.inspect(tmp_path / "a", progress=replace)


def test_what_a_source_can_not_be():
    with pytest.raises(TypeError, match="source must be a path"):
        patchmill.inspect(3)
    with pytest.raises(FileNotFoundError, match="nothing is at"):
        patchmill.inspect("/nowhere/at/all.zarr")


MEASURE = """
import sys, patchmill
report = patchmill.inspect(sys.argv[1], memory="320MiB")
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(peak * 1024, report.nbytes, report.variables[0].channels[0].maximum)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is Linux's own")
def test_memory_stays_within_the_limit(tmp_path):
    array = zarr.create_array(tmp_path / "a.zarr", shape=(4, 12288, 8192), chunks=(4, 512, 512), dtype="uint16")
    tile = np.random.default_rng(0).integers(0, 2**16, (4, 512, 8192), "uint16")
    for y in range(0, 12288, 512):
        array[:, y : y + 512] = tile
    command = [sys.executable, "-c", MEASURE, str(tmp_path / "a.zarr")]
    peak, nbytes, maximum = map(int, subprocess.run(command, capture_output=True, check=True).stdout.split())
    assert (nbytes, maximum) == (768 * 2**20, 2**16 - 1)
    assert peak < 320 * 2**20


# -- the report --------------------------------------------------------------------------------------------------------


def report_of() -> SourceReport:
    values = np.full((2, 3, 5, 8), 7, "int16")
    values[0, 1, :, :4] = -1
    data = labeled(values, -1).assign_coords(channel=["red", "green", "<b>"])
    return patchmill.inspect(data)


def test_a_report_in_words():
    report = report_of()
    assert repr(report) == "SourceReport(2 images of 5 x 8 pixels; image int16, 3 channels, 7 to 7: memory)"
    rows = dict(report.rows())
    assert rows["images"] == "2"
    assert rows["extent"] == "5 x 8 pixels"
    assert rows["image"] == "int16, 3 channels (red, green, <b>), nodata -1"
    assert rows["image: green"] == "7 to 7, mean 7, deviation 0, 25 % nodata"
    assert report.lines()[0].split() == ["images", "2"]


def test_a_report_as_json():
    found = json.loads(report_of().to_json())
    assert found["sizes"] == [{"height": 5, "width": 8, "images": 2}]
    (variable,) = found["variables"]
    green = variable["channels"][1]
    assert (green["name"], green["pixels"], green["nodata"], green["measured"]) == ("green", 80, 20, 60)
    assert green["histogram"] == {"width": 1, "begin": 7, "counts": [60]}


@given(pixels(), NODATA)
def test_every_report_prints_draws_and_goes_through_json(values, nodata):
    report = patchmill.inspect(labeled(values, nodata))
    assert len(json.loads(report.to_json())["variables"][0]["channels"]) == values.shape[1]
    assert "\n" not in repr(report)
    assert report._repr_html_().count("<table>") == 2


def test_a_report_as_html_is_escaped_and_small():
    assert "&lt;b&gt;" in report_of()._repr_html_()
    many = np.zeros((600, 2, 2), "float32") + np.arange(600, dtype="float32")[:, None, None] / 7
    data = xr.Dataset({f"{'<' * 300}{n}": (("channel", "y", "x"), many) for n in range(4)})
    report = patchmill.inspect(data)
    assert len(report._repr_html_()) < 50_000
    assert "560 channels" in report._repr_html_()


def test_nothing_measured():
    report = patchmill.inspect(np.full((4, 4), np.nan))
    assert report["image"].limits is None
    assert dict(report.rows())["image: values"] == "nothing is measured, 100 % NaN"
    with pytest.raises(ValueError, match="nothing is measured in 'image'"):
        value_histograms(report["image"])


# -- pictures ----------------------------------------------------------------------------------------------------------


def test_thumbnails_are_thinned_and_read_little(monkeypatch):
    values = np.random.default_rng(0).integers(0, 255, (2, 5, 900, 700), "uint8")
    read = []
    whole = Source.read
    monkeypatch.setattr(Source, "read", lambda *given: read.append(whole(*given)) or read[-1])
    (found,) = thumbnails(values, [1])
    assert (found.name, found.size) == ("image 1", (900, 700))
    np.testing.assert_array_equal(found.pixels, values[1, :3, ::4, ::4])
    assert sum(each.size for each in read) == found.pixels.size
    with pytest.raises(ValueError, match="image must be a number from 0 to 1, got 2"):
        thumbnails(values, [2])
    with pytest.raises(ValueError, match="variable must be one of image, got 'mask'"):
        thumbnails(values, [0], variable="mask")


def test_thumbnails_of_a_store(tmp_path):
    values = np.random.default_rng(0).normal(size=(2, 600, 500))
    zarr.create_array(tmp_path / "a.zarr", data=values, chunks=(1, 64, 64))
    (found,) = thumbnails(tmp_path / "a.zarr", [0])
    np.testing.assert_array_equal(found.pixels, values[:, ::3, ::3])


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "uint64", "float32", "complex64"])
def test_every_variable_can_be_drawn(dtype):
    values = (np.arange(2 * 3 * 8 * 9).reshape(2, 3, 8, 9) % 5).astype(dtype)
    for array in (values, values[0, 0], np.zeros((4, 4), dtype)):
        report = patchmill.inspect(array)
        (variable,) = report.variables
        shown = thumbnails(array, range(report.images))
        for figure in (image_gallery(variable, shown), value_histograms(variable)):
            figure.canvas.draw()


def test_each_images_own_nodata_counts(tmp_path):
    image = np.random.default_rng(0).integers(0, 6, (4, 2, 9, 7), "int16")
    nodatas = [3, np.nan, 5, 5]
    data = xr.Dataset({"image": (AXES, image)}, {"nodata_image": ("image", nodatas)})
    with small(piece=20, region=300):
        report = patchmill.inspect(data)["image"]
    assert report.nodata == (3, 5)
    assert "nodata 3, 5 (each image's own)" in dict(report.rows())["image"]
    for channel, found in enumerate(report.channels):
        wanted = np.concatenate(
            [own[channel][own[channel] != nodata] for own, nodata in zip(image, nodatas, strict=True)]
        )
        assert found.measured == wanted.size
        assert found.nodata == image[:, channel].size - wanted.size
        assert found.mean == pytest.approx(wanted.mean())
    assert report.nodata == patchmill.inspect(data)["image"].nodata
    json.dumps(patchmill.inspect(data).to_dict())
