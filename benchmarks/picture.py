"""One picture of a run: bars of ratios to the bound, with their spread."""

from __future__ import annotations

from pathlib import Path
from typing import Any

COLORS = {
    "patchmill": "#1b6ca8",
    "patchmill, statistics": "#7fb2d6",
    "by hand": "#9a9a9a",
    "by hand, cached": "#bdbdbd",
    "zarr-python loop": "#d9822b",
    "zarr-python": "#d9822b",
    "dask sliding_window_view": "#c0504d",
    "xbatcher, in memory": "#7b5ea7",
    "xbatcher": "#7b5ea7",
    "patchify, in memory, Zarr": "#5f9e6e",
    "patchify, in memory, npy": "#a8cf9a",
}
PANELS = {
    "writing": 'Writing, layout "patches"',
    "canvas": 'Writing, layout "canvas"',
    "small": "Many tiny images",
    "reading": "Reading batches",
    "cluster": "Processes",
}
MOST = 2.0
"""Where the axis of ratios ends; longer bars are cut and carry their number."""


def draw(found: dict[str, Any], place: Path) -> None:
    """A panel for each part of the JSON that has cases."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    parts = {name: part["cases"] for name, part in found["parts"].items()}
    panels = [name for name in PANELS if any("ways" in each for each in parts.get(name, []))]
    panels += ["memory"] if any("peak" in each for each in parts.get("memory", [])) else []
    lines = {name: _lines(name, parts[name]) for name in panels}
    heights = [max(2, len(rows)) for rows in lines.values()] or [2]
    left, right = _split(panels, heights)
    tall = (
        max(sum(heights[panels.index(name)] + 5 for name in column) for column in (left, right) if column or not panels)
        if panels
        else 4
    )
    figure = plt.figure(figsize=(17, max(3, 0.2 * tall)), layout="constrained")
    halves = figure.subfigures(1, 2) if right else [figure]
    for half, names in zip(halves, (left, right), strict=False):
        if not names:
            continue
        sizes = [heights[panels.index(name)] + 3 for name in names]
        axes = half.subplots(len(names), 1, squeeze=False, gridspec_kw={"height_ratios": sizes})[:, 0]
        for axis, name in zip(axes, names, strict=True):
            _panel(axis, name, lines[name])
    facts = found.get("machine", {})
    versions = ", ".join(f"{name} {number}" for name, number in facts.get("versions", {}).items())
    figure.suptitle(
        f"Share of the speed of a loop written by hand; median, and least to greatest\n"
        f"{facts.get('cpus')} CPUs, Python {facts.get('python')}, {versions}, {facts.get('filesystem')}",
        fontsize=10,
    )
    figure.savefig(place, dpi=100)
    plt.close(figure)


def _split(names: list[str], heights: list[int]) -> tuple[list[str], list[str]]:
    """Panels for two columns of about one height."""
    if len(names) < 2:
        return names, []
    best = min(range(1, len(names)), key=lambda at: abs(sum(heights[:at]) - sum(heights[at:])))
    return names[:best], names[best:]


Line = tuple[str, str, dict[str, float] | None]
"""Label, color, and median, min, max; None for a heading."""


def _lines(name: str, cases: list[dict[str, Any]]) -> list[Line]:
    if name == "memory":
        found: list[Line] = []
        for each in cases:
            title = f"{each['case']}, {each['layout']}, limit {each['limit_text']}"
            if "peak" in each:
                share = each["peak"] / each["limit"]
                found.append(
                    (title, "#c0504d" if share > 1 else "#1b6ca8", dict.fromkeys(("median", "min", "max"), share))
                )
        return found
    rows: list[Line] = []
    for each in cases:
        layout = f", {each['layout']}" if name == "small" else ""
        rows.append((f"{each['case']}{layout}", "", None))
        for way, result in each["ways"].items():
            if way != each["bound"] and result.get("ratio"):
                rows.append((way, COLORS.get(way, "#666666"), result["ratio"]))
    return rows


def _panel(axis: Any, name: str, rows: list[Line]) -> None:
    places = range(len(rows))
    for at, (_, color, ratio) in zip(places, rows, strict=True):
        if ratio is None:
            continue
        middle = ratio["median"]
        axis.barh(at, min(middle, MOST), color=color, height=0.75)
        low, high = (min(ratio[end], MOST) for end in ("min", "max"))
        axis.plot([low, high], [at, at], color="black", linewidth=1)
        axis.text(min(max(middle, high), MOST) + 0.02, at, f"{middle:.2f}", va="center", fontsize=7)
    axis.set_yticks(list(places), [label for label, _, _ in rows], fontsize=7)
    for tick, (_, _, ratio) in zip(axis.get_yticklabels(), rows, strict=True):
        if ratio is None:
            tick.set_fontweight("bold")
    axis.tick_params(axis="y", length=0)
    axis.axvline(1, color="black", linewidth=0.8, linestyle=":")
    axis.set_xlim(0, MOST + 0.15)
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.set_title(
        "Peak memory / limit, fresh processes" if name == "memory" else PANELS[name], fontsize=10, loc="left"
    )
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
