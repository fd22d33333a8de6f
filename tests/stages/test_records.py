"""What a run leaves: the pointer to the latest, the manifest, the heartbeat; and what becomes of old records."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import patchmill
from patchmill.cli import main
from patchmill.errors import ConfigError, HeldError, PatchmillError, TargetExistsError
from patchmill.stages import cleaning, conducting, ledger, records
from patchmill.stages.cleaning import clean
from patchmill.stages.finding import condition, find_runs, latest_run, trouble
from patchmill.stages.memos import Memos
from patchmill.stages.records import Run, StageRecord, point_to, read_status, this_runner, write_status
from stages.notebook_files import running_below, wait_until, write_config, write_notebook

WORKS = ('target: str = "temp:a"  # out: a file\nspend: float = 0.0  # seconds', "open(target, 'w').write('12345')")
SPENDS = (
    "import time\nheld = b'x' * 200_000_000\nend = time.process_time() + spend\n"
    "while time.process_time() < end:\n    pass\ntime.sleep(spend)"
)


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *who, *words], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def one_run(folder: Path, **params) -> Run:
    write_notebook(folder / "works.ipynb", *WORKS, SPENDS)
    stages = {"works": {"params": {"target": "${root}/a", **params}}}
    return patchmill.run(write_config(folder / "pipeline.yaml", stages))


def manifest_of(run: Run) -> dict:
    return json.loads(Path(run.folder, "manifest.json").read_text())


def test_a_run_says_with_what_it_was_made_what_it_took_and_what_it_wrote(tmp_path):
    git(tmp_path, "init", "--quiet")
    (tmp_path / "note.txt").write_text("a")
    git(tmp_path, "add", "note.txt")
    git(tmp_path, "commit", "--quiet", "-m", "one")
    run = one_run(tmp_path, spend=1.5)
    manifest = manifest_of(run)
    assert manifest["git"] == {"commit": git(tmp_path, "rev-parse", "HEAD"), "dirty": False}
    assert manifest["versions"]["python"] == platform.python_version()
    assert manifest["versions"]["numpy"] == np.__version__
    assert manifest["versions"]["patchmill"] == patchmill.__version__
    assert None not in manifest["versions"].values()
    assert manifest["machine"]["host"]
    assert (manifest["state"], manifest["jobs"]) == ("done", 1)
    assert manifest["began"] <= manifest["ended"]
    (stage,) = manifest["stages"]
    assert stage["parameters"]["spend"] == 1.5
    written = tmp_path / "out" / "a"
    digest = hashlib.sha256(written.read_bytes()).hexdigest()
    assert stage["outputs"] == {
        "target": {"path": str(written), "bytes": 5, "files": 1, "sha256": digest, "of": "bytes"}
    }
    assert len(stage["sha256"]) == 64
    # The kernel spent so much, and held as much for longer than there is between two looks.
    assert 1.5 <= stage["cpu_seconds"] < 30
    assert stage["peak_bytes"] > 200_000_000
    assert stage["seconds"] > 3
    assert os.readlink(tmp_path / "out" / "records" / "latest") == os.path.basename(run.folder)

    (tmp_path / "note.txt").write_text("b")
    again = one_run(tmp_path)
    assert manifest_of(again)["git"]["dirty"] is True
    assert os.readlink(tmp_path / "out" / "records" / "latest") == os.path.basename(again.folder)
    assert [found.folder for found in find_runs(str(tmp_path / "pipeline.yaml"))] == [run.folder, again.folder]


def test_without_a_repository_or_links_there_is_a_manifest_and_a_pointer(tmp_path, monkeypatch):
    def refused(*_, **__):
        raise OSError

    monkeypatch.setattr(records.os, "symlink", refused)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    run = one_run(tmp_path)
    assert manifest_of(run)["git"] is None
    runs = tmp_path / "out" / "records"
    assert (runs / "latest.txt").read_text() == f"{os.path.basename(run.folder)}\n"
    assert sorted(os.listdir(runs)) == sorted([os.path.basename(run.folder), "latest.txt", "test.stages"])
    assert latest_run(str(runs)).folder == run.folder


def start(config: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "patchmill", "run", str(config)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=config.parent)


def test_a_run_that_runs_beats_refuses_a_second_and_is_told_from_one_that_was_killed(tmp_path):
    write_notebook(
        tmp_path / "sleeps.ipynb", "x: int = 1  # a number", "import time\nopen('here', 'w').close()\ntime.sleep(300)"
    )
    config = write_config(tmp_path / "pipeline.yaml", {"sleeps": {}})
    process = start(config)
    try:
        wait_until(lambda: list(tmp_path.glob("out/records/2*/work/sleeps/cwd/here")))
        first = latest_run(str(config))
        assert (first.state, first.runner.pid, trouble(first)) == ("running", process.pid, "")
        wait_until(lambda: latest_run(str(config)).beat > first.beat, seconds=10)
        second = start(config)
        said = second.communicate(timeout=30)[1]
        assert second.returncode == 75
        assert f"pipeline.yaml is being run by process {process.pid} on " in said
        assert len(find_runs(str(config))) == 1
        with pytest.raises(HeldError):
            patchmill.run(config)
        assert clean(str(config), keep=0) == []
    finally:
        process.kill()
        process.communicate()
    killed = latest_run(str(config))
    assert killed.state == "running"
    gone = f"the runner (pid {process.pid} on host {platform.node()}) is gone"
    assert trouble(killed) == f"{gone}: it was killed, or could not write its record"
    wait_until(lambda: running_below(tmp_path) == [], seconds=10)
    # Whoever was killed holds nothing.
    write_notebook(tmp_path / "sleeps.ipynb", "x: int = 1  # a number")
    assert patchmill.run(config).state == "done"


# -- records made by hand ---------------------------------------------------------------------------------------------


def record(runs: Path, folder: str, name: str = "demo", **changes) -> str:
    path = runs / folder
    (path / "logs").mkdir(parents=True)
    (path / "logs" / "a.log").write_text("x" * 100)
    stage = StageRecord("a", "a.ipynb", "", "", str(path / "logs" / "a.log"), {}, {"target": str(runs.parent / "data")})
    run = Run(
        name, "", "", str(path), "", "1", f"2025-01-01T00:00:{folder[-2:]}+00:00", "done", stages=(stage,),
    )  # fmt: skip
    write_status(replace(run, **changes))
    return str(path)


def test_what_is_written_is_read_back(tmp_path):
    path = record(tmp_path, "r01", runner=this_runner(), seconds=1.5)
    run = read_status(path)
    run = run.with_stage(replace(run.stages[0], needs=("b", "c"), memory=2**30, limit=60.0))
    write_status(run)
    assert read_status(path) == run
    assert run.runner == this_runner()


def test_a_record_that_was_moved_tells_where_its_files_are_now(tmp_path):
    path = Path(record(tmp_path / "before", "r01"))
    stage = StageRecord(
        "a", "a.ipynb", f"{path}/a.ipynb", f"{path}/a.html", f"{path}/logs/a.log", {}, {"x": f"{path}/x"}
    )
    write_status(replace(read_status(str(path)), stages=(stage,)))
    now = tmp_path / "now" / "r01"
    shutil.move(path.parent, now.parent)
    (stage,) = read_status(str(now)).stages
    assert [stage.executed, stage.html, stage.log] == [str(now / name) for name in ("a.ipynb", "a.html", "logs/a.log")]
    assert stage.source == "a.ipynb"
    # Data in a record is known as such there too.
    assert clean(str(now.parent), keep=0) == []


def test_a_record_of_an_earlier_patchmill_can_be_read(tmp_path):
    path = Path(record(tmp_path, "r01"))
    told = json.loads((path / "status.json").read_text())
    del told["runner"], told["beat"]
    for name in ("attempt", "why", "needs", "memory", "limit"):
        del told["stages"][0][name]
    told["later"] = 1
    (path / "status.json").write_text(json.dumps(told))
    (stage,) = read_status(str(path)).stages
    assert (stage.attempt, stage.needs) == (0, ())
    for wrong in ("[]", "{}", '{"stages": [1]}', "{"):
        (path / "status.json").write_text(wrong)
        with pytest.raises(PatchmillError, match="is no record that this version of patchmill can read"):
            read_status(str(path))


def test_records_are_found_from_wherever_they_can_be_named(tmp_path, monkeypatch):
    runs = tmp_path / "runs" / "demo" / "records"
    one, two = record(runs, "r01"), record(runs, "r02")
    point_to(two)
    for where in (str(runs), str(runs.parent), None):
        monkeypatch.chdir(tmp_path)
        assert [run.folder for run in find_runs(where)] == [one, two]
        assert [run.folder for run in find_runs(where, most=1)] == [two]
    assert latest_run(one).folder == one
    assert latest_run(str(runs / "latest")).folder == two
    monkeypatch.chdir(runs.parent)
    assert latest_run().folder == two
    with pytest.raises(FileNotFoundError, match="there is no run yet of"):
        find_runs(str(tmp_path))
    with pytest.raises(ConfigError, match=r"there is no .*nowhere; no config lies around here"):
        find_runs(str(tmp_path / "nowhere"))


def test_records_that_can_not_be_read_are_told_of(tmp_path, monkeypatch):
    config = str(write_config(tmp_path / "pipeline.yaml", {"a": {}}, name="demo"))
    runs = tmp_path / "out" / "records"
    record(runs, "20250104-000001-other", name="other")
    names = ["20250101-000001-demo", "20250102-000001-demo", "20250102-000001-demo-2"]
    first, *rest = [Path(record(runs, name, began=records.now())) for name in names]
    assert condition(read_status(str(first))).sentences == []
    for folder in rest:
        (folder / "status.json").write_text("{")
    assert latest_run(config).folder == str(first)
    (told,) = condition(latest_run(config)).sentences
    assert told.startswith(f"{rest[-1]}/status.json is no record that this version of patchmill can read")
    assert told.endswith(f"; nor can 1 more in {runs}")
    (first / "status.json").write_text("[]")
    with pytest.raises(PatchmillError, match=r"20250102-000001-demo-2/status.json is no record .*; nor can 2 more in"):
        latest_run(config)
    shutil.rmtree(runs / "20250104-000001-other")
    monkeypatch.chdir(tmp_path / "out")
    for where in (str(tmp_path / "out"), None):
        with pytest.raises(PatchmillError, match=r"20250102-000001-demo-2/status.json is no record"):
            find_runs(where)


def test_of_two_runs_that_began_in_one_second_the_pointer_knows_the_last(tmp_path):
    began = "2025-01-01T00:00:00+00:00"
    one, two = record(tmp_path, "r01", began=began), record(tmp_path, "r02", began=began)
    for last in (one, two):
        point_to(last)
        assert latest_run(str(tmp_path)).folder == last


def test_a_clock_that_was_wrong_once_decides_neither_which_run_is_the_last_nor_what_is_removed(tmp_path):
    wrong = [record(tmp_path, f"20310101-0000{n:02}", began=f"2031-01-01T00:00:{n:02}+00:00") for n in range(21)]
    before = record(tmp_path, "20250101-000001")
    last = record(tmp_path, "20250101-000002")
    point_to(last)
    assert latest_run(str(tmp_path)).folder == last
    assert [run.folder for run in find_runs(str(tmp_path), most=2)][-1] == last
    clean(str(tmp_path), keep=1)
    assert sorted(os.listdir(tmp_path)) == ["20250101-000002", "latest"]
    assert not any(map(os.path.exists, [before, *wrong]))


def test_a_runner_elsewhere_that_is_silent_is_told_of(tmp_path):
    runner = replace(this_runner(), host="elsewhere", place="another")
    old = read_status(record(tmp_path, "r01", state="running", runner=runner, beat="2025-01-01T00:00:00+00:00"))
    assert "(pid " in trouble(old)
    assert "on host elsewhere) has not been heard of for " in trouble(old)
    assert trouble(replace(old, beat=records.now())) == ""
    assert trouble(replace(old, state="done")) == ""


def test_cleaning_keeps_the_latest_of_each_config_those_that_run_and_all_data(tmp_path):
    runs = tmp_path / "records"
    (tmp_path / "data").write_text("data")
    kept = [
        record(runs, "r01", state="running", runner=this_runner()),
        record(runs, "r02", name="other"),
        record(runs, "r05"),
        record(runs, "r06"),
    ]
    gone = [record(runs, "r03"), record(runs, "r04", state="running", runner=replace(this_runner(), began="before"))]
    (runs / "mine").mkdir()
    (runs / "r99").symlink_to(kept[0])
    point_to(kept[-1])
    removed = clean(str(tmp_path), keep=2)
    assert [folder for folder, _ in removed] == gone
    assert all(size > 100 for _, size in removed)
    assert sorted(os.listdir(runs)) == ["latest", "mine", "r01", "r02", "r05", "r06", "r99"]
    assert (tmp_path / "data").read_text() == "data"
    clean(str(tmp_path), keep=0)
    assert sorted(os.listdir(runs)) == ["mine", "r01", "r99"]


@pytest.mark.parametrize("links", [True, False])
def test_cleaning_leaves_no_pointer_to_a_record_that_is_gone(tmp_path, monkeypatch, links):
    def refused(*_, **__):
        raise PermissionError(13, "not allowed")

    if not links:
        monkeypatch.setattr("os.symlink", refused)
    one, two = record(tmp_path, "r01"), record(tmp_path, "r02", name="other")
    point_to(one)
    clean(str(tmp_path), keep=1)
    assert sorted(os.listdir(tmp_path)) == ["latest" if links else "latest.txt", "r01", "r02"]
    record(tmp_path, "r00")
    with monkeypatch.context() as patched:
        patched.setattr(cleaning, "_remove", lambda path: refused() if path == two else shutil.rmtree(path))
        with pytest.raises(PermissionError):
            clean(str(tmp_path), keep=0)
    assert os.listdir(tmp_path) == ["r02"]
    point_to(two)
    clean(str(tmp_path), keep=0)
    assert os.listdir(tmp_path) == []


def test_cleaning_never_touches_a_record_with_data_in_it(tmp_path):
    path = tmp_path / "r01"
    stage = StageRecord("a", "", "", "", "", {}, {"target": str(path / "data.zarr")})
    record(tmp_path, "r01", stages=(stage,))
    assert clean(str(tmp_path), keep=0) == []


def test_cleaning_what_is_not_clear_is_a_sentence(tmp_path, monkeypatch):
    one = record(tmp_path / "runs" / "a" / "records", "r01")
    record(tmp_path / "runs" / "b" / "records", "r01")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"there are records in .*a/records and .*b/records: name the one"):
        clean(keep=1)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert len(find_runs()) == 2
    with pytest.raises(FileNotFoundError, match="there are no records below"):
        clean(keep=1)
    with pytest.raises(ValueError, match="is itself a record; name the folder"):
        clean(one, keep=1)
    with pytest.raises(ValueError, match="keep must be at least 0"):
        clean(os.path.dirname(one), keep=-1)
    monkeypatch.setattr("shutil.rmtree", lambda path: (_ for _ in ()).throw(PermissionError(13, "not allowed")))
    with pytest.raises(PatchmillError, match=r"the record .* can't be removed: not allowed"):
        clean(os.path.dirname(one), keep=0)
    assert find_runs(os.path.dirname(one))


def test_the_heartbeat_is_written_now_and_then(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger, "_BEAT_SECONDS", 0.2)
    book = ledger.Ledger(read_status(record(tmp_path, "r01", state="running")), lambda _: None)
    book.beat()
    assert read_status(str(tmp_path / "r01")).beat == ""
    time.sleep(0.25)
    book.beat()
    assert read_status(str(tmp_path / "r01")).beat != ""


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("stages", 3),
        ("beat", "2026-01-01T00:00:00"),
        ("runner", {"pid": 10**30}),
        ("seconds", "long"),
        ("runner", []),
        ("state", "odd"),
        ("stages", [{"name": "works"}]),
        ("root", None),
    ],
)
def test_a_record_of_other_types_is_one_sentence(tmp_path, key, value):
    path = record(tmp_path, "r01")
    told = json.loads(Path(path, "status.json").read_text())
    Path(path, "status.json").write_text(json.dumps({**told, key: value}))
    with pytest.raises(PatchmillError, match=rf"is no record that this version of patchmill can read \({key}"):
        read_status(path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda done: done["basis"].update(modules="none"),
        *(
            pytest.param(damage, marks=pytest.mark.slow)
            for damage in (
                lambda done: done["basis"].update(inputs={"/x": {}, "/y": {"files": 3}}),
                lambda done: next(iter(done["outputs"].values())).update(files="many"),
                lambda done: next(iter(done["outputs"].values())).update(lineage=3),
            )
        ),
    ],
)
def test_of_a_stage_whose_memory_is_damaged_nothing_is_known_and_others_are_skipped(tmp_path, damage):
    write_notebook(tmp_path / "works.ipynb", *WORKS)
    stages = {name: {"notebook": "works.ipynb", "params": {"target": f"${{root}}/{name}"}} for name in ("one", "two")}
    config = write_config(tmp_path / "pipeline.yaml", stages)
    assert patchmill.run(config).state == "done"
    memory = tmp_path / "out" / "records" / "test.stages" / "stages.json"
    known = json.loads(memory.read_text())
    damage(known["stages"]["one"]["done"])
    memory.write_text(json.dumps(known))
    with pytest.raises(TargetExistsError, match="one is there, and one of test did not write it"):
        patchmill.run(config)
    (tmp_path / "out" / "one").unlink()
    run = patchmill.run(config)
    assert [stage.state for stage in run.stages] == ["done", "skipped"]


def test_what_is_kept_of_a_stage_is_of_one_run(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    memos, kept = Memos(str(tmp_path), "demo"), tmp_path / "demo.stages"
    kept.mkdir()
    for name in ("a.ipynb", "a.html", "a.log"):
        (kept / name).write_text("old")
    (tmp_path / "a.ipynb").write_text("new")
    stage = read_status(record(tmp_path, "r01")).stages[0]
    stage = replace(stage, executed=str(tmp_path / "a.ipynb"), html=str(tmp_path / "a.html"))
    memos.keep(stage)
    assert {path.name: path.read_text() for path in kept.iterdir()} == {"a.ipynb": "new", "a.log": "x" * 100}
    monkeypatch.setattr(shutil, "copyfile", full)
    memos.keep(stage)
    assert [path.name for path in kept.iterdir()] == ["a.log"]


def test_what_a_stage_left_is_kept_before_it_is_known_to_be_done(tmp_path, monkeypatch):
    kept, end, seen = tmp_path / "out" / "records" / "test.stages", Memos.end, []

    def ends(memos, stage, work):
        seen.extend(sorted(path.name for path in kept.iterdir()))
        end(memos, stage, work)

    monkeypatch.setattr(Memos, "end", ends)
    monkeypatch.setattr(conducting.Conductor, "_draw", lambda _: None)  # as of who was killed before
    kept.mkdir(parents=True)
    (kept / "works.html").write_text("old")
    one_run(tmp_path)
    assert seen == ["stages.json", "works.ipynb", "works.log"]


def strict(text: str) -> dict:
    def refused(constant):
        raise ValueError(constant)

    return json.loads(text, parse_constant=refused)


def test_numbers_that_json_has_no_word_for_are_texts_in_a_record(tmp_path, capsys):
    declared = f"{WORKS[0]}\npad: float = 0.0  # what pads\nrange: list[float] = []  # of values"
    write_notebook(tmp_path / "works.ipynb", declared, "open(target, 'w').write(f'{pad} {range}')")
    params = {"target": "${root}/a", "pad": float("nan"), "range": [float("-inf"), float("inf")]}
    config = str(write_config(tmp_path / "pipeline.yaml", {"works": {"params": params}}))
    for state in ("done", "skipped"):
        run = patchmill.run(config)
        assert run.stages[0].state == state
        assert (tmp_path / "out" / "a").read_text() == "nan [-inf, inf]"
        for name in ("status.json", "manifest.json"):
            (told,) = strict(Path(run.folder, name).read_text())["stages"]
            assert (told["parameters"]["pad"], told["parameters"]["range"]) == ("nan", ["-inf", "inf"])
    capsys.readouterr()
    assert main(["status", config]) == 0
    assert capsys.readouterr().err == ""
    assert main(["status", config, "--json"]) == 0
    assert strict(capsys.readouterr().out)["stages"][0]["parameters"]["pad"] == "nan"
    assert len(clean(config, keep=1)) == 1


def test_a_folder_called_latest_is_left_alone_and_nothing_beside_it(tmp_path):
    (tmp_path / "latest" / "x").mkdir(parents=True)
    point_to(str(tmp_path / "20250101-000000-a"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest", "latest.txt"]
