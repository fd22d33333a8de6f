"""What is left of a run for people and programs: report and manifest, out of records made by hand."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from patchmill.show import Result
from patchmill.show.handed import figures_of
from patchmill.stages.contents import content_at
from patchmill.stages.manifest import Provenance, read_manifest, write_manifest
from patchmill.stages.records import Failure, Run, StageRecord
from patchmill.stages.reporting import what_to_open, write_reports, written
from patchmill.stages.telling import told_by

PLAN = {"patches": 10, "memory": 2**28, "limit": 2**30, "shards": 2, "bytes_written": 1000}
CUT = {"unit": "patches", "total": 10, "bytes": 1000, "shards": 2, "seconds": 0.5, "megabytes_per_second": 0.002,
       "peak_bytes": 2**27}  # fmt: skip


def executed(path: Path, *, fails: bool = False) -> None:
    """An executed notebook that plans, cuts, skips something, and ends well or badly."""
    result = Result({"patches": 10}, skipped=[("small.tif", "too small")], opens="open(1)", more={"rows": [1, 2]})
    last = new_output("execute_result", data=result._repr_mimebundle_())
    if fails:
        lines = ["\x1b[31mTraceback\x1b[0m", "ValueError: <b>no</b>"]
        last = new_output("error", ename="ValueError", evalue="<b>no</b>", traceback=lines)
    notebook = new_notebook(metadata={"papermill": {"start_time": "2025-01-01T01:02:03.45+00:00", "duration": 4.0}})
    notebook.cells = [
        new_markdown_cell("# Cut"),
        new_code_cell("plan", outputs=[new_output("display_data", data=figures_of("plan", PLAN))]),
        new_code_cell("cut()", outputs=[new_output("display_data", data=figures_of("cutting", CUT))]),
        new_code_cell("raise ValueError('<b>no</b>')", outputs=[last]),
    ]
    nbformat.write(notebook, path)


def stage(folder: Path, name: str, **changes) -> StageRecord:
    made = StageRecord(
        name,
        source=str(folder.parents[1] / f"{name}.ipynb"),
        executed=str(folder / "notebooks" / f"{name}.ipynb"),
        html=str(folder / "notebooks" / f"{name}.html"),
        log=str(folder / "logs" / f"{name}.log"),
        parameters={"step": [1, 2]},
        outputs={"target": str(folder.parents[1] / f"{name}.zarr")},
        state="done",
        seconds=6.0,
        began="2025-01-01T01:02:00+00:00",
        attempt=1,
        cpu_seconds=3.0,
        peak_bytes=2**28,
        memory=2**30,
    )
    return replace(made, **changes)


def run_of(folder: Path, *stages: StageRecord, state: str = "done") -> Run:
    root = folder.parents[1]
    return Run(
        "demo", str(root / "demo.yaml"), str(root), str(folder), str(root / "report.html"), "1",
        "2025-01-01T01:02:00+00:00", state, 12.0, stages=stages,
    )  # fmt: skip


def conclude(run: Run, inputs: dict | None = None) -> str:
    """Write manifest and report; the text of the report."""
    git = {"commit": "c0ffee", "dirty": True}
    machine = {"host": "here", "system": "Linux", "cpus": 2, "memory_bytes": 2**33}
    write_manifest(run, Provenance(1, {"zarr": "3.1"}, git, machine, inputs or {}))
    write_reports(run)
    return Path(run.report).read_text()


@pytest.fixture
def folder(tmp_path) -> Path:
    made = tmp_path / "root" / "records" / "20250101-010200-demo"
    for part in ("notebooks", "logs"):
        (made / part).mkdir(parents=True)
    return made


@pytest.fixture
def done(folder) -> Run:
    one, two = stage(folder, "ingest"), stage(folder, "patchify", needs=("ingest",), why="its code changed")
    for each in (one, two):
        executed(Path(each.executed))
        Path(each.html).write_text("a page")
        Path(each.log).write_text("a log")
        Path(each.outputs["target"]).mkdir()
        (Path(each.outputs["target"]) / "zarr.json").write_text("{}")
    return run_of(folder, one, two)


class Page(HTMLParser):
    """Links and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.links += [found["href"]] if "href" in found else []
        self.ids |= {found["id"]} if "id" in found else set()

    def handle_data(self, data):
        self.text += f" {data}"

    @property
    def words(self) -> str:
        return " ".join(self.text.split())


# -- the manifest ------------------------------------------------------------------------------------------------------


def test_the_manifest_has_what_the_notebooks_handed_over(done):
    conclude(done, {"ingest": {"/in": {"bytes": 3, "sha256": "abc"}}})
    manifest = read_manifest(done.folder)
    first, second = manifest["stages"]
    assert second["figures"] == {"plan": PLAN, "cutting": CUT, "result": {"patches": 10, "rows": [1, 2]}}
    assert second["skipped"] == [{"what": "small.tif", "why": "too small"}]
    assert (second["needs"], second["why"], second["memory_bytes"]) == (["ingest"], "its code changed", 2**30)
    assert second["outputs"]["target"]["bytes"] == 2
    assert len(second["outputs"]["target"]["sha256"]) == 64
    assert first["inputs"] == {"/in": {"bytes": 3, "sha256": "abc"}}
    assert first["error"] is None


def test_the_manifest_of_a_failure_says_where_and_what_came_before_it(folder):
    one = stage(folder, "patchify", state="failed", failure=Failure("<b>no</b>", "ValueError", 3, "Cut"))
    executed(Path(one.executed), fails=True)
    conclude(run_of(folder, one, state="failed"))
    (told,) = read_manifest(str(folder))["stages"]
    assert told["error"] == {"where": 'cell In [3] under "Cut"', "text": "ValueError: <b>no</b>"}
    assert told["figures"] == {"plan": PLAN, "cutting": CUT}


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"cells": [1]}', '{"cells": [{"outputs": [{"data": 1}]}]}'])
def test_what_is_no_notebook_tells_nothing_and_stops_nobody(done, content):
    Path(done.stages[0].executed).write_text(content)
    assert told_by(done.stages[0].executed).figures == {}
    assert "patchify" in conclude(done)


# -- the report --------------------------------------------------------------------------------------------------------


def test_the_report_shows_the_picture_the_plan_and_where_all_is(done):
    page = Page(conclude(done))
    assert "patchify: done, 6.0 s" in Path(done.report).read_text()
    assert "its code changed" in page.words
    assert "memory of the notebook 256 MiB 128 MiB" in page.words
    assert "256 MiB of 1.0 GiB" in page.words
    assert "small.tif too small" in page.words
    assert "c0ffee, with changes" in page.words
    assert "zarr 3.1" in page.words
    assert {link[1:] for link in page.links if link.startswith("#")} <= page.ids


def test_its_links_lead_somewhere_also_when_the_folder_has_moved(done, tmp_path):
    conclude(done)
    moved = tmp_path / "elsewhere"
    shutil.move(done.root, moved)
    record = moved / "records" / os.path.basename(done.folder)
    for report in (moved / "report.html", record / "report.html"):
        links = [link for link in Page(report.read_text()).links if not link.startswith("#")]
        assert len(links) > 8
        for link in links:
            assert (report.parent / unquote(link)).exists(), link


def test_on_failure_the_cell_and_the_error_stand_first(folder):
    one = stage(folder, "patchify", state="failed", failure=Failure("<b>no</b>", "ValueError", 3, "Cut"))
    executed(Path(one.executed), fails=True)
    text = conclude(
        run_of(folder, one, stage(folder, "explore", state="not run", seconds=None, began=""), state="failed")
    )
    page = Page(text.partition('id="stages"')[0])
    assert 'Where: cell In [3] under "Cut"' in page.words
    assert "ValueError: <b>no</b>" in page.words
    assert "raise ValueError('<b>no</b>')" in page.words
    assert one.executed in page.words
    assert "\x1b" not in text
    assert "<b>no" not in text


def test_a_skipped_stage_shows_its_earlier_result(done, folder):
    earlier = done.stages[1]
    later = folder.parent / "20250102-010200-demo"
    (later / "notebooks").mkdir(parents=True)
    outputs = {"target": earlier.outputs["target"], "other": "/nowhere"}
    skipped = stage(later, "patchify", state="skipped", seconds=None, began="", why="nothing changed", outputs=outputs)
    shutil.copy(earlier.executed, skipped.executed)
    elsewhere = replace(skipped, executed=earlier.executed)
    for each in (skipped, elsewhere):
        run = run_of(later, each)
        page = Page(conclude(run))
        assert "nothing changed" in page.words
        assert "What follows is its earlier result, of 2025-01-01 01:02:03 UTC, which took 4.0 s" in page.words
        assert "small.tif too small" in page.words
        assert what_to_open(run) == ["open(1)"]
        assert written(run) == {"patchify.target": outputs["target"]}
    os.remove(earlier.executed)
    assert "Its earlier executed notebook is no longer there" in Page(conclude(run_of(later, elsewhere))).words


def test_fifty_stages_are_as_many_sections(folder):
    many = [stage(folder, f"s{at}", needs=(f"s{at - 1}",) if at else ()) for at in range(50)]
    page = Page(conclude(run_of(folder, *many)))
    assert {f"stage-{at}" for at in range(1, 51)} <= page.ids


# -- digests -----------------------------------------------------------------------------------------------------------


def test_a_digest_changes_with_what_it_is_of(tmp_path):
    store = tmp_path / "s.zarr"
    (store / "c").mkdir(parents=True)
    (store / "zarr.json").write_text("{}")
    (store / "c" / "0").write_text("abc")
    before = content_at(str(store))
    assert (before.nbytes, before.files, before.of) == (5, 2, "metadata, names, sizes")
    os.utime(store / "c" / "0", (1, 1))
    assert content_at(str(store)) == before
    (store / "zarr.json").write_text("[]")
    assert content_at(str(store)).sha256 != before.sha256


def test_of_a_folder_and_a_pattern_the_times_count(tmp_path):
    for name in ("a.tif", "b.tif", "c.txt"):
        (tmp_path / name).write_text(name)
    pattern = str(tmp_path / "{stem}.tif")
    before = content_at(str(tmp_path)), content_at(pattern)
    assert [each.files for each in before] == [3, 2]
    os.utime(tmp_path / "a.tif", (1, 1))
    assert all(
        content_at(path).sha256 != old.sha256 for path, old in zip((str(tmp_path), pattern), before, strict=True)
    )
    assert content_at(str(tmp_path / "*.png")) is None


def test_a_large_file_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("patchmill.stages.contents._WHOLE", 2)
    monkeypatch.setattr("patchmill.stages.contents._MOST_FILES", 3)
    (tmp_path / "a").write_text("abc")
    assert content_at(str(tmp_path / "a")).of == "names, sizes, times"
    assert content_at(f"{tmp_path / 'a'}:variable").nbytes == 3
    for at in range(5):
        (tmp_path / f"b{at}").write_text("x")
    assert content_at(str(tmp_path)).sha256 is None
    assert json.loads(json.dumps(content_at(str(tmp_path)).of)).startswith("the first")
