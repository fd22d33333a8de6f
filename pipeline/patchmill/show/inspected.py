"""What is in a source, as HTML and as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from patchmill.show.drawing import card_html, table_html
from patchmill.show.figures import color_channels, counted_histograms, gallery
from patchmill.show.peeks import short, thumbnail
from patchmill.types import shown_shape

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from patchmill.inspecting import SourceReport, VariableReport
    from patchmill.sources import Source, Variable

_MOST_ROWS = 70
"""Of all variables together."""

_LONGEST = 100
"""Characters of a cell."""

_COLORS = 3
"""Channels that a picture has."""


def report_html(report: SourceReport) -> str:
    """The figures of a source, a table a variable; reads no pixel."""
    tables: list[str] = []
    left = _MOST_ROWS
    for variable in report.variables:
        rows = [(_cut(label), _cut(text)) for label, text in variable.rows()[:left]]
        left -= len(rows)
        if rows:
            name = escape(_cut(variable.name))
            tables.append(f"<details open><summary>{name}</summary>{table_html(rows)}</details>")
    more = len(report.variables) - len(tables)
    rest = f"<p>{escape(f'and {more:,} more variables')}</p>" if more else ""
    return card_html("SourceReport", report.overview(), "") + "".join(tables) + rest


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


# -- pictures ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Thumbnail:
    """A small picture of an image of a source.

    Parameters
    ----------
    name : str
        Of the image.
    size : tuple of int
        Of the image, (y, x) in pixels.
    pixels : ndarray, shape (channel, y, x)
        At most three channels, thinned: red, green, blue where their names tell, else the first. What is not measured
        is masked.
    """

    name: str
    size: tuple[int, int]
    pixels: np.ndarray[Any, Any]


def thumbnails(
    source: Any, images: Sequence[int] | np.ndarray[Any, Any], *, variable: str | None = None, **opening: Any
) -> list[Thumbnail]:
    """Small pictures of some images of a source: every n-th pixel; of very large images, of their middle.

    Parameters
    ----------
    source : path, URL, ndarray, dask array, DataArray or Dataset
        As for `patchmill.inspect`.
    images : sequence of int
        Their numbers.
    variable : str, optional
        Which variable; the first without.
    **opening
        ``variables``, ``dims``, ``channels``, ``storage_options``, as for `patchmill.inspect`.

    Raises
    ------
    ValueError, SourceError
        If there is no such image or variable, or the source can't be opened.

    Examples
    --------
    >>> thumbnails(np.zeros((3, 1000, 500), "uint8"), [0])[0].pixels.shape
    (3, 250, 125)
    """
    from patchmill.sources import open_source

    opened = open_source(source, **opening)
    found = [each for each in opened.variables if variable in {None, each.name}]
    if not found:
        raise ValueError(f"variable must be one of {', '.join(v.name for v in opened.variables)}, got {variable!r}")
    return [_thumbnail(opened, found[0], int(image)) for image in images]


def _thumbnail(source: Source, variable: Variable, image: int) -> Thumbnail:
    if not 0 <= image < source.images:
        raise ValueError(f"image must be a number from 0 to {source.images - 1}, got {image}")
    height, width = source.sizes[image].tolist()
    name = f"image {image}" if source.names is None else str(source.names[image])
    return Thumbnail(name, (height, width), thumbnail(_Image(source, variable, image), (height, width)))


@dataclass(frozen=True, slots=True, eq=False)
class _Image:
    """One image of a source, as what `thumbnail` slices."""

    source: Source
    variable: Variable
    image: int

    def __getitem__(self, cuts: tuple[Any, ...]) -> np.ndarray[Any, Any]:
        from patchmill.reading.pixels import masked

        _, rows, columns = cuts
        wanted = self._channels
        channels = slice(min(wanted), max(wanted) + 1)
        region = (slice(self.image, self.image + 1), channels, rows, columns)
        pixels = self.source.read(self.variable, region)[0][[each - channels.start for each in wanted]]
        return masked(pixels, self.variable.nodata_at(self.image))

    @property
    def _channels(self) -> tuple[int, ...]:
        label = self.source.labels.get(self.source.channel_dim(self.variable)) if self.variable.has_channel else None
        told = None if label is None else color_channels([str(each) for each in label.values])
        return told or tuple(range(min(_COLORS, self.variable.shape[1])))


def image_gallery(variable: VariableReport, shown: Sequence[Thumbnail]) -> Figure:
    """Thumbnails side by side, with names and sizes; what has no channels, such as a mask, from its least value on.

    Parameters
    ----------
    variable : VariableReport
        What they are of.
    shown : sequence of Thumbnail
        At least one.
    """
    titles = [f"{short(each.name)}\n{shown_shape(each.size)}" for each in shown]
    drawn = None if variable.has_channel else variable.limits  # classes 0 to 4 of 255 would all be black
    return gallery([each.pixels for each in shown], titles, columns=4, drawn=drawn)


def value_histograms(variable: VariableReport) -> Figure:
    """How often each value occurs in each channel of a variable, over all its pixels.

    Raises
    ------
    ValueError
        If nothing is measured in any channel.
    """
    known = [(variable.label(at), each.histogram) for at, each in enumerate(variable.channels)]
    measured = [(label, histogram) for label, histogram in known if histogram is not None]
    if not measured:
        raise ValueError(f"nothing is measured in {variable.name!r}, so there is no histogram to draw")
    widest = max(histogram.exponent for _, histogram in measured)
    # Whole numbers lie in the middle of their bins.
    half = 0.0 if variable.dtype.kind in "fc" else 0.5
    counted = []
    for _, histogram in measured:
        bins = histogram.coarser(widest)
        edges = np.array(bins.edges) - half
        if len(bins.counts) == 1 and not half:  # a single value, in a bin so narrow that nobody would see it
            edges = np.array([edges[0] - 0.5, edges[0] + 0.5])
        counted.append((edges, np.array(bins.counts)))
    return counted_histograms(counted, [label for label, _ in measured])
