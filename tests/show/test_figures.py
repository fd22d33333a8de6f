"""Pictures: what they draw, against slow and obvious loops."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchmill.show import color_channels, coverage, gallery, histograms, limits, mosaic, placement, rendered

ORIGINS = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=8).map(np.array)
PAIRS = st.tuples(st.integers(1, 6), st.integers(1, 6))
SHAPES = st.tuples(st.integers(1, 16), st.integers(1, 16))


def drawn(figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=40)
    return buffer.getvalue()


@given(ORIGINS, PAIRS, SHAPES, st.integers(1, 16))
def test_coverage_counts_the_patches_over_each_pixel(origins, span, shape, most):
    slow = np.zeros(shape, int)
    for y, x in origins:
        slow[y : y + span[0], x : x + span[1]] += 1
    thin = [-(-n // most) for n in shape]
    assert (coverage(origins, span, shape, most=most) == slow[:: thin[0], :: thin[1]]).all()


@given(ORIGINS, PAIRS, PAIRS, SHAPES, st.integers(1, 16))
def test_a_mosaic_puts_pixels_back(origins, patch_shape, dilation, shape, most):
    image = np.arange(64 * 64).reshape(64, 64)
    slow = np.full(shape, np.nan)
    patches = []
    for y, x in origins:
        rows, columns = (o + d * np.arange(n) for o, d, n in zip((y, x), dilation, patch_shape, strict=True))
        patches.append(image[np.ix_(rows, columns)])
        for row in rows[rows < shape[0]]:
            for column in columns[columns < shape[1]]:
                slow[row, column] = image[row, column]
    thin = [-(-n // most) for n in shape]
    result = mosaic(patches, origins, shape, dilation=dilation, most=most)
    np.testing.assert_array_equal(result[0], slow[:: thin[0], :: thin[1]])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "bool", "float32", "complex64"])
@pytest.mark.parametrize("channels", [None, 1, 2, 3, 5])
def test_every_image_is_rendered_as_colors(dtype, channels):
    values = np.random.default_rng(0).integers(0, 2, (channels or 1, 6, 7)) * 100
    image = values.astype(dtype) if channels else values[0].astype(dtype)
    result = rendered(image)
    assert (result.shape, result.dtype) == ((6, 7, 3), np.float32)
    assert result.min() >= 0
    assert result.max() <= 1
    if channels in {None, 1, 2}:
        assert (result[..., :1] == result).all()


def test_what_is_not_measured_is_light_gray_and_does_not_move_the_limits():
    gray = np.float32(0.88)
    image = np.array([[[0.0, 10.0, np.nan, np.inf]]])
    assert (rendered(image)[0, 2:] == gray).all()
    nodata = np.ma.masked_equal(np.array([[[-32768, 0, 10, 20]]] * 3, "int16"), -32768)
    seen = rendered(nodata)[0]
    assert (seen[0] == gray).all()
    assert seen[1:, 0].tolist() == pytest.approx([0, 0.5, 1], abs=0.03)
    assert limits([nodata])[0] >= 0
    nodata[0, 0, 1] = np.ma.masked  # of one channel only: what the others say is no color
    assert (rendered(nodata)[0, :2] == gray).all()
    assert np.isnan(mosaic([nodata], np.array([[0, 0]]), (1, 4))[:, 0, 0]).all()
    assert limits([np.full((1, 2, 2), np.nan)]) == (0.0, 1.0)
    assert np.isfinite(rendered(np.full((1, 2, 2), np.nan))).all()


def test_a_gallery_has_a_place_for_each_and_the_same_limits_for_all():
    patches = [np.full((1, 4, 8), value, "uint16") for value in range(5)]
    figure = gallery(patches, [f"$no mathematics {i}" for i in range(5)], columns=3, title="a $ title")
    shown = [ax.images[0].get_array()[0, 0, 0] for ax in figure.axes if ax.images]
    assert len(figure.axes) == 6
    assert shown == sorted(shown)
    assert shown[0] < shown[-1]
    assert drawn(figure)


def test_each_row_of_a_gallery_is_as_high_as_its_own_images():
    images = [np.zeros((40, 40)), np.zeros((10, 40)), np.zeros((10, 40)), np.zeros((8, 40))]
    figure = gallery(images, columns=2)
    figure.canvas.draw()
    tall, low = (figure.axes[at].get_window_extent().height for at in (0, 2))
    assert tall / low == pytest.approx(4, rel=0.1)
    assert figure.get_figheight() == pytest.approx(4.5 * 1.25, rel=0.1)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["B02", "B03", "B04", "B08"], (2, 1, 0)),
        (["blue", "Green", "RED"], (2, 1, 0)),
        (["nir", "R", "G", "B"], (1, 2, 3)),
        (["B01", "B02", "B03"], None),
        (["red", "green"], None),
        ([], None),
    ],
)
def test_red_green_and_blue_are_told_by_their_names(names, expected):
    assert color_channels(names) == expected


@pytest.mark.parametrize("shape", [(20, 20), (4, 400), (400, 4)])
def test_placement_draws_an_outline_for_each_patch_and_marks_the_middle(shape):
    origins = np.array([[0, 0], [0, 2], [shape[0] // 2 - 1, shape[1] // 2 - 1]])
    figure = placement(np.zeros((3, *shape), "uint8"), origins, (2, 2), title="<b> $x")
    outlines = figure.axes[0].patches
    widths = [outline.get_linewidth() for outline in outlines]
    assert len(outlines) == 3
    assert widths.index(max(widths)) == 2
    assert drawn(figure)


@given(st.integers(1, 3), st.sampled_from(["uint8", "int16", "float32", "bool"]), st.integers(2, 70))
def test_shares_of_a_histogram_add_up(channels, dtype, bins):
    values = (np.random.default_rng(bins).normal(size=(2, channels, 5, 5)) * 50).astype(dtype)
    ax = histograms(values, bins=bins).axes[0]
    lines = [patch for patch in ax.patches if not patch.get_fill()]
    assert len(lines) == channels
    for line in lines:
        counts, edges, _ = line.get_data()
        assert counts.sum() == pytest.approx(100)
        assert len(counts) <= bins + 1
        assert edges[0] <= values.min() <= values.max() <= edges[-1]


@pytest.mark.parametrize(
    "values", [np.full((1, 1, 2, 2), np.nan), np.zeros((1, 1, 2, 2)), np.zeros((1, 2, 2, 2), "c8")]
)
def test_histograms_of_nothing_and_of_one_value(values):
    assert drawn(histograms(values, ["$a", "_b"][: values.shape[1]], title="t", unit="m"))


def test_pictures_leave_no_state_in_pyplot():
    from matplotlib import pyplot as plt

    before = plt.get_fignums()
    drawn(gallery([np.zeros((2, 2))]))
    assert plt.get_fignums() == before == []
