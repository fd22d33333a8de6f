"""What is in a source, as data."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

import numpy as np

from patchmill.inspecting.histograms import Histogram, Value
from patchmill.types import shown_bytes, shown_extent, shown_shape

Rows = list[tuple[str, str]]

_MOST_CHANNELS = 40
"""Of a variable, listed one by one for people; `to_json` has all."""

_MOST_SIZES = 4


@dataclass(frozen=True, slots=True)
class ChannelReport:
    """What is in one channel of a variable, over all images; of complex numbers, their magnitudes.

    Parameters
    ----------
    name : str or None
        Its label; None where channels have none.
    pixels : int
        How many there are: of images, not of a canvas that they share.
    nodata, nan, infinite : int
        How many of these are nodata, NaN, infinite; a NaN that stands for nodata is nodata.
    minimum, maximum : int or float or None
        Least and greatest of all others; integers exactly. None where there are no others.
    mean, std : float or None
        Of the same, the deviation that of the population; None where there are no others, or sums leave double
        precision.
    histogram : Histogram or None
        How often values occur, of the same.
    """

    name: str | None
    pixels: int
    nodata: int = 0
    nan: int = 0
    infinite: int = 0
    minimum: Value | None = None
    maximum: Value | None = None
    mean: float | None = None
    std: float | None = None
    histogram: Histogram | None = None

    @property
    def measured(self) -> int:
        """Pixels that minimum, maximum, mean, deviation and histogram are of."""
        return self.pixels - self.nodata - self.nan - self.infinite

    def missing(self) -> str:
        """What is not measured, for people: ``"12.5 % nodata"``; empty where all is."""
        counts = {"nodata": self.nodata, "NaN": self.nan, "infinite": self.infinite}
        return ", ".join(f"{_share(n, self.pixels)} {what}" for what, n in counts.items() if n)

    def values(self) -> str:
        """Range, mean and deviation, for people."""
        if self.minimum is None or self.maximum is None:
            return "nothing is measured"
        ends = f"{_shown(self.minimum)} to {_shown(self.maximum)}"
        return f"{ends}, mean {_shown(self.mean)}, deviation {_shown(self.std)}"

    def __str__(self) -> str:
        return ", ".join(each for each in (self.values(), self.missing()) if each)


@dataclass(frozen=True, slots=True)
class VariableReport:
    """What is in one variable of a source.

    Parameters
    ----------
    name : str
    dtype : numpy.dtype
    has_channel : bool
        Whether it has a channel axis; a mask has none, and one entry in `channels`.
    nodata : number, tuple of number, or None
        The value that stands for "nothing measured"; those that do, where images differ in it.
    chunks : tuple of int
        Unit in which it is stored, (image, channel, y, x); single pixels in memory.
    channels : tuple of ChannelReport
        In their order.
    """

    name: str
    dtype: np.dtype[Any]
    has_channel: bool
    nodata: Any
    chunks: tuple[int, int, int, int]
    channels: tuple[ChannelReport, ...]

    @property
    def limits(self) -> tuple[Value, Value] | None:
        """Least and greatest value of all channels; None where nothing is measured."""
        lows = [each.minimum for each in self.channels if each.minimum is not None]
        highs = [each.maximum for each in self.channels if each.maximum is not None]
        return (min(lows), max(highs)) if lows else None

    @property
    def kind(self) -> str:
        """Type and channels, for people: ``"uint8, 3 channels (red, green, blue)"``."""
        if not self.has_channel:
            return f"{self.dtype}, no channels"
        names = [each.name for each in self.channels]
        listed = ", ".join(str(name) for name in names)
        count = len(names)
        known = f" ({listed})" if count <= 8 and None not in names else ""
        return f"{self.dtype}, {count:,} channel{'s' * (count != 1)}{known}"

    def label(self, number: int) -> str:
        """What channel `number` is called, for people: by its name, else its number; the variable without channels."""
        if not self.has_channel:
            return self.name
        name = self.channels[number].name
        return f"channel {number}" if name is None else name

    def rows(self) -> Rows:
        """The figures, a label and a text each."""
        several = isinstance(self.nodata, tuple)
        nodata = f"{', '.join(map(str, self.nodata))} (each image's own)" if several else str(self.nodata)
        kind = self.kind if self.nodata is None else f"{self.kind}, nodata {nodata}"
        if not self.has_channel:
            return [(self.name, kind), (f"{self.name}: values", str(self.channels[0]))]
        listed = [
            (f"{self.name}: {self.label(at)}", str(each)) for at, each in enumerate(self.channels[:_MOST_CHANNELS])
        ]
        more = len(self.channels) - len(listed)
        return [(self.name, kind), *listed, *([(f"{self.name}: others", f"{more:,} channels")] if more else [])]


@dataclass(frozen=True, slots=True)
class SourceReport:
    """What is in a source.

    Parameters
    ----------
    url : str
        Where it is; "memory" for an object of this process.
    images : int
        How many there are.
    sizes : tuple of ((int, int), int)
        Height and width in pixels, and how many images have them; the most frequent first.
    variables : tuple of VariableReport
        In their order.
    """

    url: str
    images: int
    sizes: tuple[tuple[tuple[int, int], int], ...]
    variables: tuple[VariableReport, ...]

    def __getitem__(self, name: str) -> VariableReport:
        """The variable called `name`."""
        found = {each.name: each for each in self.variables}
        if name not in found:
            raise KeyError(f"the source has no variable {name!r}, it has {', '.join(found)}")
        return found[name]

    @property
    def smallest(self) -> tuple[int, int]:
        """Height and width of the image of least area, in pixels."""
        return min((size for size, _ in self.sizes), key=_area)

    @property
    def largest(self) -> tuple[int, int]:
        """Height and width of the image of greatest area, in pixels."""
        return max((size for size, _ in self.sizes), key=_area)

    @property
    def extent(self) -> str:
        """Sizes for people: ``"height 300 to 1411, width 451 to 1411 pixels"``."""
        return shown_extent(size for size, _ in self.sizes)

    @property
    def nbytes(self) -> int:
        """Bytes of all pixels of all variables, raw."""
        return sum(each.pixels * variable.dtype.itemsize for variable in self.variables for each in variable.channels)

    def overview(self) -> Rows:
        """The figures of the whole, a label and a text each."""
        return [
            ("images", f"{self.images:,}"),
            ("extent", self.extent),
            *([("sizes", self._sizes_shown())] if len(self.sizes) > 1 else []),
            ("raw size", shown_bytes(self.nbytes)),
            ("place", self.url),
        ]

    def rows(self) -> Rows:
        """The same, and behind them the figures of each variable."""
        return [*self.overview(), *(row for variable in self.variables for row in variable.rows())]

    def lines(self) -> list[str]:
        """All figures as text, a line each."""
        rows = self.rows()
        width = max(len(label) for label, _ in rows)
        return [f"{label:<{width}}  {text}" for label, text in rows]

    def _sizes_shown(self) -> str:
        listed = [f"{count:,} of {shown_shape(size)}" for size, count in self.sizes[:_MOST_SIZES]]
        more = len(self.sizes) - len(listed)
        return ", ".join(listed) + (f", and {more:,} more sizes" if more else "")

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON; a histogram as width, begin of the first bin, and counts."""
        return {
            "url": self.url,
            "images": self.images,
            "sizes": [{"height": size[0], "width": size[1], "images": count} for size, count in self.sizes],
            "nbytes": self.nbytes,
            "variables": [_variable_dict(each) for each in self.variables],
        }

    def to_json(self) -> str:
        """`to_dict` as text."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)

    def __repr__(self) -> str:
        images = f"{self.images:,} image{'s' * (self.images != 1)} of {self.extent}"
        return f"SourceReport({images}; {'; '.join(_summary(each) for each in self.variables)}: {self.url})"

    def _repr_html_(self) -> str:
        from patchmill.show.inspected import report_html

        return report_html(self)


def _summary(variable: VariableReport) -> str:
    channels = f", {len(variable.channels):,} channel{'s' * (len(variable.channels) != 1)}" * variable.has_channel
    limits = variable.limits
    values = "nothing measured" if limits is None else f"{_shown(limits[0])} to {_shown(limits[1])}"
    return f"{variable.name} {variable.dtype}{channels}, {values}"


def _area(size: Sequence[int]) -> tuple[int, Sequence[int]]:
    return size[0] * size[1], size


def _variable_dict(variable: VariableReport) -> dict[str, Any]:
    nodata = variable.nodata
    several = isinstance(nodata, tuple)
    return {
        "name": variable.name,
        "dtype": str(variable.dtype),
        "has_channel": variable.has_channel,
        "nodata": [_plain(each) for each in nodata] if several else _plain(nodata),
        "chunks": [int(n) for n in variable.chunks],
        "channels": [dict(_channel_items(each)) for each in variable.channels],
    }


def _plain(nodata: Any) -> Any:
    """As JSON has it."""
    return str(nodata) if isinstance(nodata, float) and not isfinite(nodata) else nodata


def _channel_items(channel: ChannelReport) -> Iterator[tuple[str, Any]]:
    for name, value in asdict(channel).items():
        if name == "histogram":
            yield "measured", channel.measured
            yield "histogram", None if channel.histogram is None else _histogram_dict(channel.histogram)
        else:
            yield name, value


def _histogram_dict(histogram: Histogram) -> dict[str, Any]:
    exponent, first = histogram.exponent, histogram.first
    width = 2**exponent if exponent >= 0 else 2.0**exponent
    begin = max(-sys.float_info.max, first * width)  # a bin may begin below the least float
    return {"width": width, "begin": begin, "counts": list(histogram.counts)}


def _share(count: int, total: int) -> str:
    """Of pixels, in percent; a single one of many is not none, and all but one are not all."""
    percent = 100 * count / total
    if count < total and percent > 99.95:
        return "over 99.9 %"
    return f"{percent:.3g} %" if percent >= 0.01 else "under 0.01 %"


def _shown(value: Value | None) -> str:
    if value is None:
        return "unknown"
    return str(value) if isinstance(value, int) else f"{value:.6g}"
