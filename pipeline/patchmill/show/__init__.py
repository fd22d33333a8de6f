"""What people look at: progress, pictures, tables, reports. Anybody's data in, text, HTML or a figure out.

Each name is loaded when it is first used: who needs one light module of this room need not wait for the heavy ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from patchmill.types import loaded_later

if TYPE_CHECKING:
    from patchmill.show.figures import (
        color_channels,
        counted_histograms,
        coverage,
        gallery,
        histograms,
        limits,
        measured,
        mosaic,
        placement,
        rendered,
    )
    from patchmill.show.inspected import image_gallery, thumbnails, value_histograms
    from patchmill.show.notebook import Result, line, say, show_figure
    from patchmill.show.peeks import chosen, placed_titles, short, thumbnail
    from patchmill.show.picks import (
        channel_names,
        drawn_limits,
        gray_note,
        kept_of,
        one_variable,
        patch_figures,
        patches_of_image,
        pictures,
        side_by_side,
        some_patches,
        too_small,
        value_figures,
    )
    from patchmill.show.progress import reporter
    from patchmill.types import Progress

_HOMES = {
    "Progress": "patchmill.types",
    "Result": "patchmill.show.notebook",
    "line": "patchmill.show.notebook",
    "channel_names": "patchmill.show.picks",
    "chosen": "patchmill.show.peeks",
    "color_channels": "patchmill.show.figures",
    "counted_histograms": "patchmill.show.figures",
    "coverage": "patchmill.show.figures",
    "drawn_limits": "patchmill.show.picks",
    "gallery": "patchmill.show.figures",
    "gray_note": "patchmill.show.picks",
    "histograms": "patchmill.show.figures",
    "image_gallery": "patchmill.show.inspected",
    "kept_of": "patchmill.show.picks",
    "limits": "patchmill.show.figures",
    "measured": "patchmill.show.figures",
    "mosaic": "patchmill.show.figures",
    "one_variable": "patchmill.show.picks",
    "patch_figures": "patchmill.show.picks",
    "patches_of_image": "patchmill.show.picks",
    "pictures": "patchmill.show.picks",
    "placed_titles": "patchmill.show.peeks",
    "placement": "patchmill.show.figures",
    "rendered": "patchmill.show.figures",
    "reporter": "patchmill.show.progress",
    "say": "patchmill.show.notebook",
    "short": "patchmill.show.peeks",
    "show_figure": "patchmill.show.notebook",
    "side_by_side": "patchmill.show.picks",
    "some_patches": "patchmill.show.picks",
    "thumbnail": "patchmill.show.peeks",
    "thumbnails": "patchmill.show.inspected",
    "too_small": "patchmill.show.picks",
    "value_figures": "patchmill.show.picks",
    "value_histograms": "patchmill.show.inspected",
}

__all__ = [
    "Progress",
    "Result",
    "channel_names",
    "chosen",
    "color_channels",
    "counted_histograms",
    "coverage",
    "drawn_limits",
    "gallery",
    "gray_note",
    "histograms",
    "image_gallery",
    "kept_of",
    "limits",
    "line",
    "measured",
    "mosaic",
    "one_variable",
    "patch_figures",
    "patches_of_image",
    "pictures",
    "placed_titles",
    "placement",
    "rendered",
    "reporter",
    "say",
    "short",
    "show_figure",
    "side_by_side",
    "some_patches",
    "thumbnail",
    "thumbnails",
    "too_small",
    "value_figures",
    "value_histograms",
]


__getattr__ = loaded_later(__name__, _HOMES)
