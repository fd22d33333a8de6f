"""Fill the tables of docs/benchmarks.md from a run's JSON, keep that JSON, and draw the picture.

    python benchmarks/page.py runs/benchmarks/benchmarks.json

What stands between ``<!-- begin NAME -->`` and ``<!-- end NAME -->`` is replaced; the rest of the page is prose.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any

from picture import draw

ROOT = Path(__file__).parents[1]
Case = dict[str, Any]


def filled(page: str, found: dict[str, Any]) -> str:
    """The page with every table that the JSON has figures for."""
    tables: dict[str, Callable[[list[Case]], str]] = {
        "writing": writing,
        "canvas": writing,
        "small": small,
        "reading": reading,
        "blocks": blocks,
        "memory": memory,
        "cluster": writing,
    }
    page = _replaced(page, "machine", machine(found))
    page = _replaced(page, "short", short(found))
    for name, table in tables.items():
        cases = found["parts"].get(name, {}).get("cases")
        if cases:
            page = _replaced(page, name, table(cases))
    return page


def _replaced(page: str, name: str, text: str) -> str:
    pattern = re.compile(rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)", re.DOTALL)
    return pattern.sub(lambda match: f"{match[1]}{text}\n{match[2]}", page)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown, the first column left, the others right."""
    head = list(head)
    lines = [head, ["---", *("---:" for _ in head[1:])], *(list(row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def machine(found: dict[str, Any]) -> str:
    """Facts about where and how it was measured."""
    facts, parts = found["machine"], found["parts"]
    versions = facts["versions"] | facts.get("peers", {})
    settings = {part["settings"]["size"] for part in parts.values()}
    repeats = {part["settings"]["repeats"] for part in parts.values()}
    dates = sorted({part["settings"]["date"] for part in parts.values()})
    busiest = max(part["load"] for part in parts.values())
    listed = ", ".join(f"{name} {number}" for name, number in versions.items())
    return (
        f"{facts['cpus']} CPUs ({facts['processor']}), {facts['memory'] / 2**30:.0f} GiB of memory, "
        f"{facts['filesystem']}, {facts['system']}, Python {facts['python']}; {listed}.\n"
        f"{' and '.join(f'{each / 2**20:,.0f} MiB' for each in sorted(settings))} a case, "
        f"{' or '.join(str(each) for each in sorted(repeats))} repeats, {dates[-1]}; "
        f"one-minute load of the machine at the end of a part up to {busiest:.1f}."
    )


def short(found: dict[str, Any]) -> str:
    """Over all cases of a part: the shares that ways have of the bound's speed, each case by its median."""
    rows = []
    for part in ("writing", "canvas", "small"):
        shares: dict[str, list[float]] = {}
        for each in found["parts"].get(part, {}).get("cases", ()):
            for name, way in each["ways"].items():
                if "median" in way and not name.startswith("by hand"):
                    shares.setdefault(name, []).append(way["ratio"]["median"])
        for name, medians in shares.items():
            least, greatest = min(medians), max(medians)
            rows.append(
                (f"{part}, {name}", f"{len(medians)}", f"{median(medians):.2f}", f"{least:.2f} to {greatest:.2f}")
            )
    return table(("part, way", "cases", "share of the bound's speed", "least to greatest"), rows)


def _spread(ratio: dict[str, float] | None) -> str:
    return f"{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})" if ratio else ""


def writing(cases: list[Case]) -> str:
    """A line for each way of each case."""
    rows = []
    for each in cases:
        for name, way in each["ways"].items():
            title = f"**{each['case']}**" if name == next(iter(each["ways"])) else ""
            if "median" not in way:
                rows.append((title, name, way.get("note", ""), "", "", "", ""))
                continue
            rate = f"{each['bytes'] / 1e6 / way['median']:,.0f}"
            ratio = "the bound" if name == each["bound"] else _spread(way["ratio"])
            cpu = f"{sorted(way['cpu'])[len(way['cpu']) // 2]:.2f}"
            by_cpu = "" if name == each["bound"] else _spread(way["cpu_ratio"])
            rows.append(
                (title, f"{name} {way.get('note', '')}".strip(), rate, f"{way['median']:.2f}", cpu, ratio, by_cpu)
            )
    return table(("case", "way", "MB/s", "s", "CPU s", "share of the bound's speed", "by CPU time"), rows)


def small(cases: list[Case]) -> str:
    """The same, after what is on the disk."""
    facts = [
        (
            f"{each['case']}, {each['layout']}",
            f"{each['patches']:,}",
            f"{each['files']}",
            f"{each['bytes'] / 1e6:,.1f}",
            f"{each['bytes_stored'] / 1e6:,.1f}",
            f"{each['bytes_beside'] / 1e6:,.1f}",
            f"{each['calls_per_patch']:.2g}",
        )
        for each in cases
    ]
    head = ("case", "patches", "files", "MB raw", "MB stored", "MB of catalog", "storage calls a patch")
    named = [each | {"case": f"{each['case']}, {each['layout']}"} for each in cases]
    return f"{table(head, facts)}\n\n{writing(named)}"


def reading(cases: list[Case]) -> str:
    """Rates of each way."""
    rows = []
    for each in cases:
        cells = []
        for name in ("by hand", "patchmill", "zarr-python", "xbatcher"):
            way = each["ways"].get(name, {})
            cells.append(f"{way['rate']['median']:,.0f}" if "rate" in way else way.get("note", ""))
        rows.append((each["case"], *cells, _spread(each["ways"]["patchmill"]["ratio"])))
    head = ("patches a batch", "by hand, patches/s", "patchmill", "zarr-python", "xbatcher", "patchmill's share")
    return table(head, rows)


def blocks(cases: list[Case]) -> str:
    """Costs by number."""
    rows = [
        (
            each["case"],
            f"{each['count']:,}",
            f"{each['seconds']:.3f}",
            f"{each['microseconds']:,.0f}" if "microseconds" in each else "",
            f"{each['cpu_microseconds']:,.0f}" if "cpu_microseconds" in each else "",
            f"{each['allocated'] / 2**20:,.1f}",
        )
        for each in cases
    ]
    return table(("what", "how many", "s", "µs each", "CPU µs each", "MiB of Python objects"), rows)


def memory(cases: list[Case]) -> str:
    """Limits, plans and peaks."""
    rows = []
    for each in cases:
        head = (f"{each['case']}, {each['layout']}", each["limit_text"])
        if "refused" in each:
            rows.append((*head, "", "", "refused: " + each["refused"].split(", and the limit")[0], ""))
            continue
        planned, peak = (f"{each[name] / 2**20:,.0f}" for name in ("planned", "peak"))
        rows.append(
            (*head, planned, peak, f"{each['planned'] / each['peak']:.2f}", f"{each['peak'] / each['limit']:.2f}")
        )
    head = ("source, layout", "limit", "planned, MiB", "peak, MiB", "planned / peak", "peak / limit")
    return table(head, rows)


def main() -> None:
    """Fill the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("json", type=Path, nargs="?", default=ROOT / "runs" / "benchmarks" / "benchmarks.json")
    args = parser.parse_args()
    found = json.loads(args.json.read_text())
    page = ROOT / "docs" / "benchmarks.md"
    page.write_text(filled(page.read_text(), found))
    (ROOT / "benchmarks" / "results.json").write_text(json.dumps(found, indent=1) + "\n")
    draw(found, ROOT / "docs" / "images" / "benchmarks.png")


if __name__ == "__main__":
    main()
