"""In a real browser nothing of a run's pages runs, where the same texts run if they are let through."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from patchmill.show import Result
from patchmill.show.executed import excerpt
from patchmill.show.pages import notebook_html
from patchmill.show.report import RunPage, StagePage, report_html

CHROMIUM = next((found for name in ("chromium", "google-chrome", "chrome") if (found := shutil.which(name))), None)

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")]

QUIET = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update", "--virtual-time-budget=2000"]  # fmt: skip

RAN = "document.documentElement.dataset.ran=1"

ATTACKS = [
    f"<script>{RAN}</script>",
    f'"><img src=x onerror="{RAN}">',
    f"<svg onload={RAN}></svg>",
    f"<svg><script>{RAN}</script></svg>",
    f'<iframe srcdoc="<script>parent.{RAN}</script>"></iframe>',
    f"<details open ontoggle={RAN}>x</details>",
    f'<img src="data:image/png;base64,AA" onerror="{RAN}">',
]


def drawn(path: Path, profile: Path) -> str:
    """What a browser has made of a page, as HTML."""
    command = [str(CHROMIUM), *QUIET, f"--user-data-dir={profile}", "--dump-dom", path.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def notebook(attack: str) -> dict:
    kinds = ("text/html", "text/markdown", "image/svg+xml")
    outputs = [new_output("display_data", data={kind: attack}) for kind in kinds]
    outputs += [
        new_output("display_data", data={"text/html": f"<table><tr><td>{attack}</td></tr></table>"}),
        new_output("display_data", data={"application/javascript": RAN}),
        new_output("display_data", data=Result({attack: attack}, [(attack, attack)], attack)._repr_mimebundle_()),
        new_output("stream", text=attack),
        new_output("error", ename=attack, evalue=attack, traceback=[attack]),
    ]
    made = new_notebook()
    made.cells = [new_markdown_cell(f"# {attack}\n\n{attack}"), new_code_cell(attack, outputs=outputs)]
    return made


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_would_run_does_not(tmp_path, attack):
    executed = notebook(attack)
    nbformat.write(executed, tmp_path / "a.ipynb")
    stage = StagePage(
        attack, "failed", 1.0, attack, attack, {attack: attack}, attack, attack, attack, excerpt(executed), why=attack
    )
    run = RunPage(attack, "failed", 1.0, "", attack, attack, attack, {attack: attack}, [stage], [(attack, attack)])
    pages = {
        "let through": f"<!DOCTYPE html><p>{attack}",
        "report": report_html(run, str(tmp_path)),
        "page": notebook_html(str(tmp_path / "a.ipynb")),
    }
    ran = {}
    for name, text in pages.items():
        path = tmp_path / f"{name}.html"
        path.write_text(text)
        ran[name] = 'data-ran="1"' in drawn(path, tmp_path / "profile")
    assert ran == {"let through": True, "report": False, "page": False}
