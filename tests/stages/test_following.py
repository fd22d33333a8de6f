"""Logs are followed as they grow, whole line by whole line, to the end of the run and no further."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

from patchmill.stages.following import follow
from patchmill.stages.records import Run, StageRecord, this_runner, write_status


def begun(folder: Path, *names: str) -> Run:
    stages = tuple(StageRecord(name, "", "", "", str(folder / f"{name}.log"), {}, {}) for name in names)
    began = "2025-01-01T00:00:00+00:00"
    run = Run("demo", "", "", str(folder), "", "1", began, "running", stages=stages, runner=this_runner())
    write_status(run)
    return run


def test_lines_come_as_they_are_written_until_the_run_is_over(tmp_path):
    run = begun(tmp_path, "a", "b")
    log = tmp_path / "a.log"
    log.write_bytes(b"one\nhal")

    def work() -> None:
        time.sleep(0.5)
        with open(log, "ab") as file:
            file.write("f ä".encode()[:-1])
            file.flush()
            time.sleep(0.5)
            file.write("ä\nlast".encode()[1:])
        (tmp_path / "b.log").write_text("other\n")
        write_status(replace(run, state="done"))

    worker = threading.Thread(target=work)
    worker.start()
    said = [(stage.name, text) for stage, text in follow(run, ["a", "b"])]
    worker.join()
    assert said[0] == ("a", "one")
    assert "\n".join(text for name, text in said if name == "a") == "one\nhalf ä\nlast"
    assert ("b", "other") in said
    assert all("hal" not in text or "half" in text for _, text in said)


def test_of_a_run_that_has_ended_all_comes_at_once_and_only_of_whom_is_asked(tmp_path):
    run = replace(begun(tmp_path, "a", "b", "c"), state="failed")
    (tmp_path / "a.log").write_text("1\n2\n")
    (tmp_path / "b.log").write_text("3\n")
    assert [(stage.name, text) for stage, text in follow(run, ["a", "c"])] == [("a", "1\n2")]


def test_a_run_whose_runner_is_gone_is_over(tmp_path):
    run = begun(tmp_path, "a")
    gone = replace(run, runner=replace(run.runner, pid=2**22 - 1, began="never"))
    write_status(gone)
    (tmp_path / "a.log").write_text("1\n")
    assert [text for _, text in follow(gone, ["a"])] == ["1"]
