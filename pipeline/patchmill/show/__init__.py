"""What people look at: progress, pictures, tables, reports. Anybody's data in, text, HTML or a figure out."""

from __future__ import annotations

from patchmill.show.figures import (
    counted_histograms,
    coverage,
    gallery,
    histograms,
    limits,
    mosaic,
    placement,
    rendered,
)
from patchmill.show.inspected import image_gallery, thumbnails, value_histograms
from patchmill.show.notebook import Result, say, show_figure
from patchmill.show.peeks import chosen, placed_titles, short, thumbnail
from patchmill.show.picks import (
    channel_names,
    kept_of,
    one_variable,
    patch_figures,
    patches_of_image,
    some_patches,
    too_small,
    value_figures,
)
from patchmill.show.progress import reporter
from patchmill.types import Progress

__all__ = [
    "Progress",
    "Result",
    "channel_names",
    "chosen",
    "counted_histograms",
    "coverage",
    "gallery",
    "histograms",
    "image_gallery",
    "kept_of",
    "limits",
    "mosaic",
    "one_variable",
    "patch_figures",
    "patches_of_image",
    "placed_titles",
    "placement",
    "rendered",
    "reporter",
    "say",
    "short",
    "show_figure",
    "some_patches",
    "thumbnail",
    "thumbnails",
    "too_small",
    "value_figures",
    "value_histograms",
]
