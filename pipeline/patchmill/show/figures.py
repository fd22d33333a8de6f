"""Pictures of patches, of anybody's arrays, as matplotlib figures. No pyplot: no state, no backend, no leak."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH = 9.0
"""Inches, of every figure: in a notebook they stand below each other."""

_COLORS = ("#D55E00", "#009E73", "#0072B2", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
"""Okabe and Ito's, told apart by everybody: first those nearest to red, green and blue."""


_UNMEASURED = 0.88
"""A gray so light that dark pixels are not taken for it."""

_BANDS = (("red", "green", "blue"), ("r", "g", "b"), ("b04", "b03", "b02"), ("b4", "b3", "b2"))
"""What red, green and blue are called; of numbered bands Sentinel-2's and Landsat 8's."""


def color_channels(names: Sequence[str]) -> tuple[int, int, int] | None:
    """Which channels are red, green and blue, as far as their names tell; else None.

    Examples
    --------
    >>> color_channels(["B02", "B03", "B04", "B08"]), color_channels(["Red", "Green", "Blue"])
    ((2, 1, 0), (0, 1, 2))
    >>> color_channels(["VV", "VH", "dem"])
    """
    found = [str(name).strip().lower() for name in names]
    for bands in _BANDS:
        if set(bands) <= set(found):
            red, green, blue = (found.index(band) for band in bands)
            return red, green, blue
    return None


def rendered(
    image: np.ndarray[Any, Any], *, low: float | None = None, high: float | None = None
) -> np.ndarray[Any, Any]:
    """An image for the eye.

    Parameters
    ----------
    image : array, shape (channel, y, x) or (y, x)
        Any dtype of numbers. Three channels and more: the first three are red, green, blue; else the first is gray.
    low, high : float, optional
        What is drawn black and white; without them 0 to 255 for uint8, else the 2nd and 98th percentile of what is
        finite.

    Returns
    -------
    array, shape (y, x, 3), float32
        Between 0 and 1; what is masked or not finite is light gray.

    Examples
    --------
    >>> rendered(np.array([[[0, 255]]], dtype="uint8")).tolist()
    [[[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]]
    """
    values = _colors(image)
    values = values if len(values) == 3 else np.repeat(values, 3, axis=0)
    bottom, top = _limits([values])
    bottom, top = (bottom if low is None else low), (top if high is None else high)
    scaled = (np.moveaxis(_with_nan(values), 0, -1) - bottom) / max(top - bottom, 1e-30)
    # One channel that is not measured makes any color of the others.
    known = np.isfinite(scaled).all(axis=-1, keepdims=True)
    return np.where(known, np.clip(scaled, 0, 1), _UNMEASURED).astype("float32")


def limits(images: Sequence[np.ndarray[Any, Any]]) -> tuple[float, float]:
    """What to draw black and white, the same for all of some images: see `rendered`.

    Examples
    --------
    >>> limits([np.zeros((1, 2, 2), "uint8")])
    (0.0, 255.0)
    """
    return _limits([_colors(image) for image in images])


def gallery(
    patches: Sequence[np.ndarray[Any, Any]],
    titles: Sequence[str] = (),
    *,
    columns: int = 6,
    drawn: tuple[float, float] | None = None,
    title: str = "",
) -> Figure:
    """Patches, or images, side by side, all drawn with the same limits, each row as high as it has to be.

    Parameters
    ----------
    patches : sequence of arrays, each of shape (channel, y, x) or (y, x)
        At least one.
    titles : sequence of str
        One for each, or none.
    columns : int
        At most so many side by side.
    drawn : tuple of float, optional
        What is drawn black and white; without, see `limits`.
    title : str
        Above all of them.
    """
    columns = min(columns, len(patches))
    rows = -(-len(patches) // columns)
    low, high = limits(patches) if drawn is None else drawn
    ratios = [patch.shape[-2] / patch.shape[-1] for patch in patches]
    tallest = [max(ratios[first : first + columns]) for first in range(0, len(ratios), columns)]
    lines = max((text.count("\n") + 1 for text in titles), default=0)
    figure = _figure(sum(tallest) * _WIDTH / columns + rows * (0.06 + 0.14 * lines) + _above(title), title)
    axes = figure.subplots(rows, columns, squeeze=False, height_ratios=tallest)
    for index, ax in enumerate(axes.flat):
        ax.set_axis_off()
        ax.set_anchor("N")
        if index < len(patches):
            ax.imshow(rendered(patches[index], low=low, high=high), interpolation="nearest")
        if index < len(patches) and titles:
            ax.set_title(titles[index], fontsize=7, pad=2, parse_math=False)
    return figure


def placement(
    image: np.ndarray[Any, Any],
    origins: np.ndarray[Any, Any],
    span: tuple[int, int],
    *,
    shape: tuple[int, int] | None = None,
    limits: tuple[float | None, float | None] = (None, None),
    title: str = "",
) -> Figure:
    """Where patches lie on an image, the one nearest to its middle marked, and how often each pixel is in one.

    Parameters
    ----------
    image : array, shape (channel, y, x) or (y, x)
        The image, or a thinned copy of it.
    origins : int array, shape (patch, 2)
        First pixels of the patches, (y, x), in pixels of the source.
    span : tuple of int
        Pixels that a patch reaches over, (y, x).
    shape : tuple of int, optional
        Of the image in pixels of the source, (y, x), where `image` is a thinned copy.
    limits : tuple of float, optional
        What is drawn black and white.
    title : str
        Above.
    """
    from matplotlib.patches import Rectangle

    height, width = shape if shape is not None else image.shape[-2:]
    figure = _figure(0.42 * _WIDTH * min(height / width, 1.4) + 0.7 + _above(title), title)
    middle = np.abs(origins + np.array(span) / 2 - np.array([height, width]) / 2).sum(axis=1).argmin()
    left, right = figure.subplots(1, 2)
    left.imshow(
        rendered(image, low=limits[0], high=limits[1]), extent=(0, width, height, 0), interpolation="antialiased"
    )
    for index, (y, x) in enumerate(origins):
        thick = index == middle
        left.add_patch(
            Rectangle(
                (x, y), span[1], span[0], fill=False, linewidth=2.2 if thick else 0.5, zorder=3 if thick else 2,
                edgecolor="#F0E442" if thick else "white", alpha=1.0 if thick else 0.75,
            )
        )  # fmt: skip
    drawn = right.imshow(
        coverage(origins, span, (height, width)), extent=(0, width, height, 0), cmap="cividis", vmin=0,
        interpolation="nearest",
    )  # fmt: skip
    left.set_title(f"{len(origins):,} patches, each over {span[0]} x {span[1]} pixels", fontsize=9)
    right.set_title("patches that hold a pixel", fontsize=9)
    _colorbar(figure, drawn, right)
    for ax in (left, right):
        _pixel_axes(ax, width, height)
    return figure


def coverage(
    origins: np.ndarray[Any, Any], span: tuple[int, int], shape: tuple[int, int], *, most: int = 512
) -> np.ndarray[Any, Any]:
    """How many patches reach over each pixel.

    Parameters
    ----------
    origins : int array, shape (patch, 2)
        First pixels, (y, x).
    span, shape : tuple of int
        Of a patch and of the image, (y, x).
    most : int
        A longer axis is thinned to about so many points.

    Returns
    -------
    int array, shape (y, x), thinned

    Examples
    --------
    >>> coverage(np.array([[0, 0], [0, 1]]), (1, 2), (2, 4))
    array([[1, 2, 1, 0],
           [0, 0, 0, 0]])
    """
    thin = [max(1, -(-n // most)) for n in shape]
    ys, xs = (np.arange(0, n, k) for n, k in zip(shape, thin, strict=True))
    counts = np.zeros((len(ys), len(xs)), dtype=int)
    for y, x in origins:
        rows, columns = np.searchsorted(ys, [y, y + span[0]]), np.searchsorted(xs, [x, x + span[1]])
        counts[rows[0] : rows[1], columns[0] : columns[1]] += 1
    return counts


def mosaic(
    patches: Sequence[np.ndarray[Any, Any]],
    origins: np.ndarray[Any, Any],
    shape: tuple[int, int],
    *,
    dilation: tuple[int, int] = (1, 1),
    most: int = 640,
) -> np.ndarray[Any, Any]:
    """An image put together again from patches of it, thinned; NaN where none of them has a pixel that is measured.

    Parameters
    ----------
    patches : sequence of arrays, each of shape (channel, y, x) or (y, x)
        At least one.
    origins : int array, shape (patch, 2)
        Their first pixels, (y, x).
    shape : tuple of int
        Of the image, (y, x).
    dilation : tuple of int
        Distance between neighboring pixels of a patch, (y, x).
    most : int
        A longer axis is thinned to about so many points.

    Returns
    -------
    float32 array, shape (channel, y, x), thinned

    Examples
    --------
    >>> mosaic([np.array([[1, 2]]), np.array([[3, 4]])], np.array([[0, 0], [1, 1]]), (2, 3)).tolist()
    [[[1.0, 2.0, nan], [nan, 3.0, 4.0]]]
    """
    thin = [max(1, -(-n // most)) for n in shape]
    kept = [_with_nan(_colors(patch)) for patch in patches]
    result = np.full((len(kept[0]), *(-(-n // k) for n, k in zip(shape, thin, strict=True))), np.nan, "float32")
    for patch, (y, x) in zip(kept, origins, strict=True):
        (rows, i), (columns, j) = (
            _on_thinned(first, count, distance, k, n)
            for first, count, distance, k, n in zip((y, x), patch.shape[1:], dilation, thin, shape, strict=True)
        )
        result[:, rows[:, None], columns] = patch[:, i[:, None], j]
    return result


def histograms(
    values: np.ndarray[Any, Any], channels: Sequence[str] = (), *, bins: int = 64, title: str = "", unit: str = ""
) -> Figure:
    """How often each value occurs, a line for each of the first eight channels; what is not measured is left out.

    Parameters
    ----------
    values : array, shape (n, channel, y, x)
        Patches, or images. What is masked or not finite does not count.
    channels : sequence of str
        Their names; without, numbers.
    bins : int
        At most so many; integers of a smaller range get one each.
    title : str
        Above.
    unit : str
        Of the values.
    """
    names = list(channels) or [f"channel {index}" for index in range(values.shape[1])]
    values = np.abs(values) if np.iscomplexobj(values) else values
    values = values.astype("uint8") if values.dtype == np.bool else values
    edges = _edges(measured(values), bins)
    ones = [measured(values[:, index]) for index in range(len(names[: len(_COLORS)]))]
    counted = [(edges, np.histogram(one, bins=edges)[0]) for one in ones]
    return counted_histograms(counted, names, title=title, unit=unit)


def measured(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Those of `values` that are neither masked nor NaN nor infinite, in one row.

    Examples
    --------
    >>> measured(np.ma.masked_equal([[1.0, -9.0], [np.nan, 4.0]], -9)).tolist()
    [1.0, 4.0]
    """
    known = values.compressed() if isinstance(values, np.ma.MaskedArray) else values.ravel()
    return known if known.dtype.kind in "uib" else known[np.isfinite(known)]


def counted_histograms(
    counted: Sequence[tuple[Sequence[float] | np.ndarray[Any, Any], Sequence[int] | np.ndarray[Any, Any]]],
    names: Sequence[str],
    *,
    title: str = "",
    unit: str = "",
) -> Figure:
    """How often each value occurs, as it was counted, a line for each of the first eight channels.

    Parameters
    ----------
    counted : sequence of (edges, counts)
        For each channel, at least the first eight: where bins begin and the last one ends, and how many values each
        holds. Bins of one width are what makes shares comparable.
    names : sequence of str
        Of all channels.
    title : str
        Above.
    unit : str
        Of the values.
    """
    figure = _figure(3.0 + _above(title), title)
    ax = figure.subplots()
    for index, (name, (edges, counts)) in enumerate(zip(names[: len(_COLORS)], counted, strict=False)):
        color = _COLORS[index % len(_COLORS)]
        share = 100 * np.asarray(counts) / max(np.sum(counts), 1)
        ax.stairs(
            share, edges, color=color, linewidth=1.6, label=_plain(name), linestyle=("-", "--", "-.", ":")[index % 4]
        )
        ax.stairs(share, edges, color=color, fill=True, alpha=0.12)
    ax.set_xlabel(f"value ({unit})" if unit else "value")
    ax.set_ylabel("share of pixels (%)")
    ax.set_xlim(min(edges[0] for edges, _ in counted), max(edges[-1] for edges, _ in counted))
    ax.set_ylim(bottom=0)
    ax.grid(visible=True, alpha=0.25)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, title=f"{len(_COLORS)} of {len(names)} channels" if len(names) > len(_COLORS) else None)
    return figure


def _figure(height: float, title: str) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, max(1.0, height)), layout="constrained", facecolor="white")
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03)  # type: ignore[call-arg, union-attr]
    if title:
        figure.suptitle(title, fontsize=11, parse_math=False)
    return figure


def _above(title: str) -> float:
    return 0.35 if title else 0.05


def _colors(image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    # Three channels or one, of real numbers.
    image = image[None] if image.ndim == 2 else image
    chosen = image[:3] if len(image) >= 3 else image[:1]
    return np.abs(chosen) if np.iscomplexobj(chosen) else chosen


def _with_nan(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.asarray(np.ma.filled(values.astype("float32"), np.nan))


def _limits(images: Sequence[np.ndarray[Any, Any]]) -> tuple[float, float]:
    if images[0].dtype == np.uint8:
        return 0.0, 255.0
    if images[0].dtype == np.bool:
        return 0.0, 1.0
    finite = np.concatenate([measured(image) for image in images])
    if not finite.size:
        return 0.0, 1.0
    low, high = np.percentile(finite.astype("float64"), [2, 98])
    return float(low), float(high)


def _on_thinned(
    first: int, count: int, distance: int, thin: int, size: int
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    # Of a patch's pixels along one axis, those that a thinned image keeps: where they go, and which they are.
    pixels = first + distance * np.arange(count)
    kept = np.flatnonzero((pixels % thin == 0) & (pixels < size))
    return pixels[kept] // thin, kept


def _edges(values: np.ndarray[Any, Any], bins: int) -> np.ndarray[Any, Any]:
    low, high = (values.min(), values.max()) if values.size else (0, 1)
    if values.dtype.kind in "uib" and int(high) - int(low) < bins:
        return np.arange(int(low), int(high) + 2) - 0.5
    if values.dtype.kind in "ui":
        # Bins of equally many whole numbers: any others make combs.
        width = -(-(int(high) - int(low) + 1) // bins)
        return np.arange(int(low), int(high) + width + 1, width) - 0.5
    return np.linspace(float(low), float(high) if high > low else float(low) + 1, bins + 1)


def _plain(name: str) -> str:
    # A legend draws $...$ as mathematics, and leaves out what begins with an underscore.
    return str(name).replace("$", r"\$").removeprefix("_")


def _pixel_axes(ax: Axes, width: int, height: int) -> None:
    ax.set_xlim(0, width)
    ax.set_ylim(height, 0)
    ax.set_xlabel("x (pixels)", fontsize=8)
    ax.set_ylabel("y (pixels)", fontsize=8)
    ax.tick_params(labelsize=7)


def _colorbar(figure: Figure, drawn: Any, ax: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    bar = figure.colorbar(drawn, ax=ax, fraction=0.05, pad=0.02, ticks=MaxNLocator(integer=True))
    bar.ax.tick_params(labelsize=7)
