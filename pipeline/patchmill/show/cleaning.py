"""What of other people's markup is let through: text, emphasis, lists, tables; nothing that runs, loads, leads away.

What a notebook displays comes from its code, and the texts in it from data: names of images, of channels, errors. The
report shows it beside its own words, so `report_html` lets through little. The page of an executed notebook is that
notebook: `notebook_outputs` leaves it its looks, and takes away what acts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

_TEXT = {
    "abbr", "b", "bdi", "blockquote", "br", "caption", "code", "col", "colgroup", "dd", "del", "div", "dl", "dt", "em",
    "hr", "i", "ins", "kbd", "li", "mark", "ol", "p", "pre", "q", "s", "samp", "small", "span", "strong", "sub", "sup",
    "table", "tbody", "td", "tfoot", "th", "thead", "time", "tr", "u", "ul", "var", "wbr",
}  # fmt: skip

_DROPPED = {"script", "style", "svg", "math", "template", "iframe", "object", "noscript", "title", "textarea", "select"}
"""What goes with all that is in it."""

_CELLS = {"td": {"colspan", "rowspan"}, "th": {"colspan", "rowspan", "scope"}, "col": {"span"}, "colgroup": {"span"}}

_LOOKS = {
    "a", "article", "aside", "center", "details", "figcaption", "figure", "font", "footer", "h1", "h2", "h3", "h4",
    "h5", "h6", "header", "img", "input", "label", "nav", "progress", "meter", "section", "style", "summary", "svg",
    "g", "path", "rect", "circle", "ellipse", "line", "polyline", "polygon", "text", "tspan", "defs", "symbol", "use",
    "clipPath", "linearGradient", "radialGradient", "stop",
}  # fmt: skip

_DRAWN = {
    "x", "y", "x1", "y1", "x2", "y2", "cx", "cy", "r", "rx", "ry", "d", "points", "width", "height", "viewBox", "fill",
    "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "stroke-opacity", "opacity", "transform", "offset",
    "stop-color", "stop-opacity", "text-anchor", "font-size", "font-weight", "dominant-baseline", "clip-path",
    "gradientUnits", "dx", "dy",
}  # fmt: skip


def report_html(text: str) -> str:
    """HTML from elsewhere, for the report: text and tables without a look of their own, no link, no picture.

    Examples
    --------
    >>> report_html('<table onclick="x()"><tr><td style="color: red">1<script>alert(1)</script></td></tr></table>')
    '<table><tbody><tr><td>1</td></tr></tbody></table>'
    """
    import nh3

    return nh3.clean(text, tags=_TEXT, clean_content_tags=_DROPPED, attributes=_CELLS, link_rel=None)


def markdown_html(text: str) -> str:
    """Markdown as HTML of nothing but text: tags that stand in it are shown, not obeyed, links and images are words.

    Examples
    --------
    >>> markdown_html("*<b>*").strip()
    '<p><em>&lt;b&gt;</em></p>'
    """
    return report_html(_markdown().render(text))


def notebook_outputs(data: Mapping[str, Any]) -> dict[str, Any]:
    """What one output of a notebook displays, without what acts: scripts, forms, frames, what loads.

    Parameters
    ----------
    data : mapping
        By media type.
    """
    kept = {kind: each for kind, each in data.items() if not re.search("javascript|widget|bokeh|plotly|vega", kind)}
    if "text/markdown" in kept:
        kept.setdefault("text/html", markdown_html(_joined(kept.pop("text/markdown"))))
    for kind in ("text/html", "image/svg+xml", "text/latex"):
        if kind in kept:
            kept[kind] = looks_html(_joined(kept[kind]))
    kept.pop("text/markdown", None)
    return kept or {"text/plain": "(only an open notebook shows this)"}


def looks_html(text: str) -> str:
    """HTML from elsewhere with its looks: styles, drawings, pictures within, links to pages; nothing that acts."""
    import nh3

    return nh3.clean(
        text,
        tags=_TEXT | _LOOKS,
        clean_content_tags=_DROPPED - {"svg", "style"},
        attributes=_CELLS
        | {
            "*": {"class", "id", "style", "title", "role", *_DRAWN},
            "a": {"href"},
            "img": {"src", "alt", "width", "height"},
            "input": {"type", "checked", "disabled"},
            "label": {"for"},
            "details": {"open"},
            "progress": {"value", "max"},
            "meter": {"value", "min", "max"},
            "use": {"href", "xlink:href"},
            "svg": {"xmlns", "preserveAspectRatio"},
        },
        generic_attribute_prefixes={"aria-"},
        attribute_filter=_harmless,
        url_schemes={"http", "https", "mailto", "data"},
    )


def _harmless(tag: str, name: str, value: str) -> str | None:
    # A drawing may point into itself, a picture lies in the page, and a link leads to a page.
    if tag == "use" and not value.startswith("#") and "href" in name:
        return None
    if tag == "img" and name == "src" and not value.startswith("data:image/"):
        return None
    if tag == "a" and name == "href" and value.lower().lstrip().startswith("data:"):
        return None
    if name == "style" and "url" in value.lower():
        return None
    if tag == "input" and name == "type" and value != "checkbox":
        return None
    return value


@cache
def _markdown() -> Any:
    from markdown_it import MarkdownIt

    # A link of a caption may come from data, and would lead anywhere.
    rules = ["link", "image", "autolink", "reference", "html_inline", "html_block"]
    return MarkdownIt("commonmark", {"html": False}).enable("table").disable(rules)


def _joined(text: Any) -> str:
    return "".join(text) if isinstance(text, list) else str(text)
