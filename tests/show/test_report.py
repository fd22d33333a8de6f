"""Executed notebooks, read; and the report of a run: whatever comes from data is text in it, never markup."""

from __future__ import annotations

import base64
from dataclasses import replace
from urllib.parse import unquote

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from patchmill.show import Result
from patchmill.show.cleaning import markdown_html
from patchmill.show.executed import cell_number, excerpt
from patchmill.show.pages import POLICY
from patchmill.show.report import RunPage, StagePage, report_html
from show.seen_pages import Seen

EVIL = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>"


def png(metadata: dict | None = None, kind: str = "image/png", content: str = "aGFsbG8=\n"):
    return new_output("display_data", data={kind: content}, metadata={kind: metadata or {}})


def executed() -> dict:
    result = Result({"z": 12345, "a": EVIL}, skipped=[(EVIL, EVIL)], opens=EVIL)._repr_mimebundle_()
    notebook = new_notebook()
    notebook.cells = [
        new_markdown_cell("# Title"),
        new_code_cell("1", outputs=[new_output("stream", text=EVIL)]),
        new_markdown_cell(f"## {EVIL}"),
        new_code_cell("2", outputs=[new_output("display_data", data={"text/markdown": EVIL}), png({"alt": EVIL})]),
        new_markdown_cell("## A drawing"),
        new_code_cell("3", outputs=[png(kind="image/svg+xml", content=f"<svg>{EVIL}</svg>")]),
        new_code_cell(""),
        new_code_cell("4", outputs=[new_output("execute_result", data=result)]),
    ]
    return notebook


def page(**changes) -> RunPage:
    stage = StagePage(
        EVIL, "failed", 1.5, EVIL, EVIL, {EVIL: EVIL}, "/r/a b.ipynb", "/r/a b.html", "/r/a.log", excerpt(executed())
    )
    run = RunPage(EVIL, "failed", 2.0, "2025-01-01T00:00:00+00:00", "1", EVIL, f"/r/{EVIL}", {EVIL: EVIL}, [stage])
    return replace(run, **changes)


def test_an_excerpt_has_figures_in_their_order_and_pictures_under_their_headings():
    found = excerpt(executed())
    assert list(found.figures.items()) == [("z", "12,345"), ("a", EVIL)]
    assert found.skipped == [(EVIL, EVIL)]
    assert [section.heading for section in found.sections] == [EVIL, "A drawing"]
    caption, picture = found.sections[0].pieces
    assert (caption, picture.alt, picture.url) == (EVIL, EVIL, "data:image/png;base64,aGFsbG8=")
    (drawing,) = found.sections[1].pieces
    assert base64.b64decode(drawing.url.partition(",")[2]).decode() == f"<svg>{EVIL}</svg>"


def test_why_a_stage_ran_has_a_row_of_its_own_below_its_figures():
    (stage,) = page().stages
    why = "/a/very/long/path/of/a/source.zarr, which it reads, has changed"
    seen = report_html(page(stages=[replace(stage, why=why)]), "/r")
    row = seen[seen.index('<tr class="told">') : seen.index("</tbody>")]
    assert row.count("<td data-what=") == 6
    assert f'<tr class="why"><td colspan="7" class="soft small">it ran: {why}</td></tr>' in row
    assert '<tr class="why">' not in report_html(page(), "/r")


def test_a_notebook_without_a_result_says_nothing_about_what_was_skipped():
    found = excerpt(new_notebook())
    assert (found.figures, found.skipped, found.opens, found.sections) == ({}, None, "", [])


def test_a_cell_is_called_by_its_count_and_heading():
    notebook = executed()
    assert cell_number(notebook, 1) == (1, "Title")
    assert cell_number(notebook, 7) == (4, "A drawing")
    marker = new_markdown_cell("An Exception was encountered")
    marker.metadata["tags"] = ["papermill-error-cell-tag"]
    notebook.cells.insert(0, marker)
    assert cell_number(notebook, 7) == (4, "A drawing")


@pytest.mark.parametrize("state", ["done", "failed"])
def test_nothing_from_data_becomes_markup(state):
    seen = Seen(report_html(page(state=state), "/r"))
    plain = Seen(report_html(page(state=state, name="n", config="c", folder="/r/f", outputs={}, stages=[]), "/r"))
    assert not {"script", "iframe", "object", "b", "i"} & {tag for tag, _ in seen.tags}
    assert not [name for _, attributes in seen.tags for name in attributes if name.startswith("on")]
    assert seen.text.count("alert(1)") > 10
    assert "script" not in plain.text


def test_the_report_loads_nothing_and_links_to_files():
    seen = Seen(report_html(page(), "/r"))
    sources = [attributes["src"] for tag, attributes in seen.tags if tag == "img"]
    links = [attributes["href"] for tag, attributes in seen.tags if tag == "a"]
    assert sources
    assert all(source.startswith("data:image/") for source in sources)
    assert not [tag for tag, _ in seen.tags if tag == "link"]
    assert {"a%20b.ipynb", "a%20b.html", "a.log"} <= set(links)
    assert all(":" not in link for link in links)
    assert EVIL in [unquote(link) for link in links]
    policies = [attributes["content"] for tag, attributes in seen.tags if attributes.get("http-equiv")]
    assert policies == [POLICY]
    assert "default-src 'none'" in POLICY
    assert "script-src" not in POLICY


def test_a_stage_that_did_not_run_is_in_the_report():
    stage = StagePage("later", "not run", None, "", "", {}, "", "", "", None)
    assert "not run" in Seen(report_html(page(stages=[stage]), "/r")).text


def test_markdown_is_text():
    found = Seen(markdown_html(f"**bold** {EVIL} [x](javascript:alert(1))"))
    assert ("strong", {}) in found.tags
    assert "script" not in {tag for tag, _ in found.tags}
    assert "a" not in {tag for tag, _ in found.tags}
    assert "<b>" in Seen(markdown_html("![<b>](http://somewhere/x.png)")).text


def test_a_result_is_a_table_and_escapes():
    bundle = Result({EVIL: 1.23456}, skipped=[("x", EVIL)] * 150, opens=EVIL)._repr_mimebundle_()
    seen = Seen(bundle["text/html"])
    assert "script" not in {tag for tag, _ in seen.tags}
    assert "1.235" in seen.text
    assert "the first 100 are listed" in seen.text
    assert "150 skipped" in bundle["text/plain"]
