"""What notebooks display is let through as far as it only shows something."""

from __future__ import annotations

import json

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from patchmill.show.cleaning import looks_html, markdown_html, notebook_outputs, report_html
from patchmill.show.pages import POLICY, notebook_html
from show.seen_pages import Seen

ATTACKS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><img src=x onerror="alert(1)">',
    '<a href="javascript:alert(1)">x</a>',
    '<a href="JaVa&#x09;Script:alert(1)">x</a>',
    '<a href="data:text/html,<script>alert(1)</script>">x</a>',
    "<svg onload=alert(1)></svg>",
    "<svg><script>alert(1)</script></svg>",
    '<svg><a xlink:href="javascript:alert(1)"><text>x</text></a></svg>',
    '<svg><use href="http://127.0.0.1/x.svg#a"/></svg>',
    '<svg><animate attributeName="href" values="javascript:alert(1)"/></svg>',
    "<svg><foreignObject><body onload=alert(1)></foreignObject></svg>",
    '<iframe srcdoc="<script>alert(1)</script>"></iframe>',
    '<object data="data:text/html,<script>alert(1)</script>"></object>',
    '<meta http-equiv="refresh" content="0;url=http://127.0.0.1/">',
    '<base href="http://127.0.0.1/">',
    '<form action="http://127.0.0.1/"><input name=a><button>go</button></form>',
    '<link rel="stylesheet" href="http://127.0.0.1/x.css">',
    "<details open ontoggle=alert(1)>x</details>",
    '<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=alert(1)&gt;">',
    '<noscript><p title="</noscript><img src=x onerror=alert(1)>">',
    '<img src="http://127.0.0.1/x.png">',
    '<div style="background: url(http://127.0.0.1/x.png)">x</div>',
    "</main></body><script>alert(1)</script>",
]

ACTS = {"script", "iframe", "object", "embed", "meta", "base", "form", "button", "link", "foreignobject", "animate"}


def dangers(text: str) -> list[object]:
    """Whatever of a page acts, or leads where a page of text should not."""
    found: list[object] = []
    for tag, attributes in Seen(text).tags:
        found += [tag] if tag in ACTS else []
        for name, given in attributes.items():
            value = "".join((given or "").lower().split())
            acts = (
                name.startswith("on") or name == "srcdoc",
                "javascript:" in value,
                name in {"src", "data"} and not value.startswith("data:image/"),
                tag == "a" and "href" in name and value.startswith("data:"),
                tag == "use" and "href" in name and not value.startswith("#"),
            )
            found += [(tag, name, value)] if any(acts) else []
    return found


def test_the_test_sees_dangers():
    assert len([attack for attack in ATTACKS if dangers(attack)]) >= len(ATTACKS) - 3


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("clean", [report_html, looks_html, markdown_html])
def test_nothing_that_acts_is_let_through(clean, attack):
    assert dangers(clean(attack)) == []
    assert dangers(clean(f"<table><tr><td>{attack}</td></tr></table>")) == []


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_report_takes_no_look_no_link_and_no_picture_from_elsewhere(attack):
    seen = Seen(report_html(f'<b style="x" class="card" id="stages">b</b>{attack}'))
    assert not {tag for tag, _ in seen.tags} & {"a", "img", "svg", "style", "input", "details", "h1"}
    assert not [name for _, attributes in seen.tags for name in attributes]
    assert "b" in seen.text


def test_tables_and_looks_survive():
    table = '<table class="dataframe"><tbody><tr><td colspan="2" style="color: red">1</td></tr></tbody></table>'
    assert report_html(table) == '<table><tbody><tr><td colspan="2">1</td></tr></tbody></table>'
    assert looks_html(table) == table
    drawing = '<svg viewBox="0 0 9 9" width="9"><linearGradient id="a"></linearGradient><path d="M0 0"></path></svg>'
    assert looks_html(drawing) == drawing


def test_markdown_is_text():
    seen = Seen(markdown_html("**bold** [x](javascript:alert(1)) ![<b>](http://127.0.0.1/x.png) <http://127.0.0.1/>"))
    assert [tag for tag, _ in seen.tags] == ["p", "strong"]
    assert "<b>" in seen.text


def test_what_runs_is_no_output():
    data = {
        "application/javascript": "alert(1)",
        "application/vnd.jupyter.widget-view+json": {},
        "application/vnd.plotly.v1+json": {},
        "text/html": ["<b onclick='x'>", "b</b>"],
        "text/markdown": "*a* <script>alert(1)</script>",
        "text/plain": "<script>",
    }
    kept = notebook_outputs(data)
    assert set(kept) == {"text/html", "text/plain"}
    assert kept["text/html"] == "<b>b</b>"
    assert kept["text/plain"] == "<script>"


def test_the_page_of_a_notebook_runs_and_loads_nothing(tmp_path):
    notebook = new_notebook()
    outputs = [
        new_output("display_data", data={kind: attack}) for attack in ATTACKS for kind in ("text/html", "text/markdown")
    ]
    outputs += [
        new_output("display_data", data={"image/svg+xml": f"<svg>{ATTACKS[0]}</svg>"}),
        new_output("display_data", data={"application/javascript": "alert(1)"}),
        new_output("stream", text=ATTACKS[0]),
        new_output("error", ename=ATTACKS[0], evalue=ATTACKS[1], traceback=ATTACKS),
        new_output("display_data", data={"text/html": "<table><tr><td>a table</td></tr></table>"}),
    ]
    notebook.cells = [
        new_markdown_cell("\n\n".join(["# Title", "*bold*", *ATTACKS])),
        new_code_cell(ATTACKS[0], outputs=outputs),
    ]
    notebook.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {"state": {}, "x": "</script>"}}
    path = tmp_path / "a.ipynb"
    nbformat.write(notebook, path)
    page = notebook_html(str(path))
    assert f'<head><meta http-equiv="Content-Security-Policy" content="{POLICY}">' in page
    assert "127.0.0.1/x.png)" not in page.partition("<pre>")[0]
    _, _, body = page.partition("<body")
    assert dangers(f"<body{body}") == []
    assert "<script" not in page
    assert "a table" in body
    assert "<em>bold</em>" in body
    assert json.loads(path.read_text())["cells"][1]["outputs"]
