"""Commands about runs: what they print, and their exit codes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import patchmill
from patchmill.cli import main
from patchmill.stages import refusals
from patchmill.stages.finding import find_runs
from patchmill.stages.records import Run, Runner, StageRecord, write_status
from stages.notebook_files import wait_until, write_config, write_notebook

WRITES = 'target: str = "out/a.txt"  # out: a file\ntext: str = "nothing"  # what to write'
READS = 'source: str = "a.txt"  # in: a file'


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def make(folder: Path) -> str:
    """A config of two stages, of which the second fails while there is a file called wrong."""
    write_notebook(folder / "writes.ipynb", WRITES, "open(target, 'w').write(text)", "print('written')")
    write_notebook(folder / "reads.ipynb", READS, "# Reading", "assert 'wrong' not in open(source).read(), 'so wrong'")
    stages = {
        "writes": {"params": {"target": "${root}/a.txt"}},
        "reads": {"params": {"source": "${stages.writes.params.target}"}},
    }
    write_config(folder / "pipeline.yaml", stages)
    return "pipeline.yaml"


CUT = """
import numpy as np, patchmill
image = np.zeros((1, 16, 16), "uint8")
patchmill.write_patches(image, target, 8, keep=keep, mode="overwrite")
"""


@pytest.mark.parametrize(("keep", "said"), [("mean > 0", ", none of the 4 patches fulfills keep"), ("mean < 1", "")])
def test_a_stage_that_kept_no_patch_says_so_behind_its_time(tmp_path, capsys, keep, said):
    parameters = 'target: str = "p.zarr"  # out: a set\nkeep: str = None  # which'
    write_notebook(tmp_path / "cut.ipynb", parameters, CUT)
    write_config(tmp_path / "pipeline.yaml", {"cut": {"params": {"target": "${root}/p.zarr", "keep": keep}}})
    assert main(["run", "pipeline.yaml"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "cut: done" in line]
    assert line.partition(" s")[2] == said


def test_what_a_stage_left_out_is_counted_where_it_ran(tmp_path, capsys):
    parameters = 'target: str = "a.txt"  # out: a text\nleft: int = 2  # how many are left out'
    code = (
        "from patchmill.show import Result\nopen(target, 'w').write('x')\n"
        "Result({}, skipped=[(str(n), 'no image') for n in range(left)])"
    )
    write_notebook(tmp_path / "cut.ipynb", parameters, code)
    write_config(tmp_path / "pipeline.yaml", {"cut": {"params": {"target": "${root}/a.txt"}}})
    assert main(["run", "pipeline.yaml"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "cut: done" in line]
    assert line.endswith(" s, 2 left out")
    main(["status", "pipeline.yaml"])
    assert " s, 2 left out; it ran: " in capsys.readouterr().out
    assert main(["run", "pipeline.yaml", "cut.left=0"]) == 0
    assert "left out" not in capsys.readouterr().out


def test_status_logs_and_clean(tmp_path, capsys):
    config = make(tmp_path)
    assert main(["run", config, "--jobs", "2", "writes.text=well"]) == 0
    capsys.readouterr()
    assert main(["status", config]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("test: done in ")
    assert "[1/2] writes  done in " in said.out
    assert said.err == ""
    assert main(["status", config, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["state"], told["trouble"]) == ("done", None)
    assert [(stage["name"], stage["state"], stage["needs"]) for stage in told["stages"]] == [
        ("writes", "done", []),
        ("reads", "done", ["writes"]),
    ]
    assert main(["run", config, "writes.text=wrong"]) == 1
    capsys.readouterr()
    assert main(["status", "out"]) == 1
    said = capsys.readouterr()
    assert said.out.startswith("test: failed in ")
    assert "[2/2] reads   failed in " in said.out
    executed = find_runs(config)[-1].stages[1].executed
    assert said.err == (
        f'patchmill: stage reads failed in cell In [4] under "Reading"\nAssertionError: so wrong\nopen {executed}\n'
    )

    assert main(["logs", config]) == 0
    everything = capsys.readouterr().out
    assert "==> writes: out/records/" in everything
    assert "written" in everything
    assert "so wrong" in everything
    assert main(["logs", config, "--follow"]) == 0
    assert capsys.readouterr().out == everything
    os.chdir("out")
    for arguments in (["reads"], [str(tmp_path / config), "reads"]):
        assert main(["logs", *arguments]) == 0
        said = capsys.readouterr().out
        assert "so wrong" in said
        assert "written" not in said
    assert main(["logs", str(tmp_path / config), "raeds"]) == 2
    assert "has no stage raeds; its stages are writes, reads" in capsys.readouterr().err

    old = find_runs(".")[0].folder
    assert main(["clean", ".", "--keep", "1"]) == 0
    assert capsys.readouterr().out.startswith(f"removed records/{os.path.basename(old)}, ")
    assert len(find_runs(".")) == 1
    assert main(["clean", ".", "--keep", "1"]) == 0
    assert capsys.readouterr().out == "nothing to remove\n"
    assert (tmp_path / "out" / "a.txt").read_text() == "wrong"


def test_logs_of_a_root_that_was_moved_are_those_in_the_record(tmp_path, capsys):
    assert main(["run", make(tmp_path), "writes.text=wrong"]) == 1
    shutil.move("out", "moved")
    capsys.readouterr()
    for more in ([], ["--follow"]):
        assert main(["logs", "moved", *more]) == 0
        said = capsys.readouterr()
        assert "==> writes: moved/records/" in said.out
        assert "so wrong" in said.out
        assert said.err == ""
    main(["status", "moved"])
    executed = find_runs("moved")[-1].stages[1].executed
    assert executed.startswith(str(tmp_path / "moved"))
    assert capsys.readouterr().err.endswith(f"open {executed}\n")


def test_a_log_that_is_not_there_is_told(tmp_path, capsys):
    assert main(["run", make(tmp_path), "writes.text=wrong"]) == 1
    log = find_runs("out")[-1].stages[0].log
    os.remove(log)
    capsys.readouterr()
    sentence = f"patchmill: there is no log {os.path.relpath(log)}: writes has not begun, or it was removed\n"
    for more in ([], ["--follow"]):
        assert main(["logs", "out", "writes", *more]) == 1
        assert capsys.readouterr() == ("", sentence)
        assert main(["logs", "out", *more]) == 0
        said = capsys.readouterr()
        assert "so wrong" in said.out
        assert said.err == sentence


def test_status_of_a_run_that_runs_and_of_one_that_was_killed(tmp_path, capsys):
    write_notebook(
        tmp_path / "sleeps.ipynb", "x: int = 1  # a number", "import time\nopen('here', 'w').close()\ntime.sleep(300)"
    )
    config = str(write_config(tmp_path / "pipeline.yaml", {"sleeps": {}}))
    process = subprocess.Popen(
        [sys.executable, "-m", "patchmill", "run", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: list(tmp_path.glob("out/records/2*/work/sleeps/cwd/here")))
        assert main(["status", config]) == 0
        said = capsys.readouterr()
        assert said.out.startswith("test: running for ")
        assert "[1/1] sleeps  running for " in said.out
        assert said.err == ""
    finally:
        process.kill()
        process.wait()
    assert main(["status", config]) == 1
    said = capsys.readouterr()
    assert said.out.startswith("test: was running for ")
    assert "[1/1] sleeps  was running: no earlier run of it is known; log out/records/" in said.out
    assert said.err.startswith(f"patchmill: the runner (pid {process.pid} on host ")
    assert said.err.endswith(") is gone: it was killed, or could not write its record\n")


def test_status_as_json_has_all_that_is_to_be_told(tmp_path, capsys):
    folder = tmp_path / "records" / "20250101-000000-test"
    folder.mkdir(parents=True)
    stage = StageRecord("a", "", "", "", "", {}, {})
    began, elsewhere = "2025-01-01T00:00:00+00:00", Runner(7, "elsewhere", "another")
    write_status(Run("test", "", "", str(folder), "", "1", began, "running", stages=(stage,), runner=elsewhere))
    refusals.note(str(folder.parent), "test", "pipeline.yaml:3: this is wrong")
    assert main(["status", "records"]) == 1
    told = [line.removeprefix("patchmill: ") for line in capsys.readouterr().err.splitlines()]
    assert main(["status", "records", "--json"]) == 1
    first, second = json.loads(capsys.readouterr().out)["trouble"].splitlines()
    assert (first, second) == tuple(told)
    assert "on host elsewhere) has not been heard of for " in first
    assert second.endswith("pipeline.yaml:3: this is wrong")


def test_a_dry_run_writes_nothing(tmp_path, capsys):
    config = make(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    # Options may stand before, between and behind the overrides.
    assert main(["run", "--dry-run", config, "writes.text=a", "--until", "writes", "writes.target=${root}/b"]) == 0
    assert capsys.readouterr().out == (
        "test: 1 stage would run\n"
        f"[1/1] writes: {tmp_path}/writes.ipynb\n"
        "  runs: no earlier run of it is known\n"
        f"  writes  target  {tmp_path}/out/b  (not there yet)\n"
        f"its record would lie in {tmp_path}/out/records; nothing was written\n"
    )
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "pipeline.yaml", "--only", "reads"], "a.txt, and writes, which writes it, is left out: run that too"),
        (["run", "pipeline.yaml", "--from", "read"], "the config has no stage read; did you mean reads?"),
        (["run", "pipeline.yaml", "--jobs", "0"], "jobs must be at least 1, got 0"),
        (
            ["run", "pipeline.yaml", "--job", "2", "--form", "reads"],
            "run has no option --form; did you mean --from? See patchmill run --help",
        ),
        (["run", "pipeline"], "there is no pipeline; did you mean pipeline.yaml?"),
        (["run", "configs/pipelne.yaml"], "there is no configs/pipelne.yaml; did you mean pipeline.yaml?"),
        (["run", "nothing"], "there is no nothing; around here are pipeline.yaml"),
        (["run", "demo"], "there is no demo; did you mean patchmill:demo?"),
        (["run", "patchmill:dmo", "--dry-run"], "there is no patchmill:dmo; did you mean patchmill:demo?"),
        (["run", "patchmill:x"], "no patchmill:x; there are patchmill:cluster, patchmill:demo, patchmill:large, "),
        (["status"], "no run is to be found from "),
        (["status", "patchmill:dmo"], "there is no patchmill:dmo; did you mean patchmill:demo?"),
        (["status", "pipeline.yaml"], "begin one with: patchmill run pipeline.yaml"),
        (["status", "nowhere"], "there is no nowhere; around here are pipeline.yaml"),
        (["status", "./pipelin.yaml"], "there is no ./pipelin.yaml; did you mean pipeline.yaml?"),
        (["logs", "nothing.yaml"], "no run is to be found from "),
        (["clean", "pipeline.yaml"], "clean needs --keep, such as: patchmill clean demo.yaml --keep 5"),
        (["clean", "pipeline.yaml", "--keep", "-1"], "keep must be at least 0"),
    ],
)
def test_what_is_wrong_is_a_sentence_and_nothing_is_written(tmp_path, capsys, arguments, sentence):
    make(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert sentence in said.err
    assert "Traceback" not in said.err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "overrides", "force"),
    [
        (["--force", "pipeline.yaml"], [], True),
        (["pipeline.yaml", "--force"], [], True),
        (["a.yaml", "--force", "writes", "reads", "--jobs", "2", "a.b=c"], ["a.b=c"], ["writes", "reads"]),
        (["--force", "writes", "pipeline.yaml", "writes.text=a"], ["writes.text=a"], ["writes"]),
        (["--force=writes", "pipeline.yaml", "--force", "reads"], [], ["writes", "reads"]),
        (["pipeline.yaml", "--force", "writes.text=a"], ["writes.text=a"], True),
        (["pipeline.yaml"], [], []),
    ],
)  # fmt: skip
def test_force_takes_stages_or_none(arguments, overrides, force, monkeypatch):
    seen = {}
    monkeypatch.setattr(
        "patchmill.stages.rehearsing.rehearse", lambda *given, **how: seen.update(how, given=given) or []
    )
    assert main(["run", *arguments, "--dry-run"]) == 0
    assert seen["given"][1] == overrides
    assert seen["force"] == force


def test_a_dry_run_says_what_would_be_skipped_and_what_replaced(tmp_path, capsys):
    config = make(tmp_path)
    assert main(["run", config, "--only", "writes"]) == 0
    capsys.readouterr()
    assert main(["run", config, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("test: 1 of 2 stages would run\n")
    assert "  skipped: nothing changed since run " in said
    assert main(["run", config, "--dry-run", "writes.text=other"]) == 0
    said = capsys.readouterr().out
    assert "  runs: text is given as other\n" in said
    assert f"  writes  target  {tmp_path}/out/a.txt  (exists, 7 B, would be replaced)\n" in said
    assert "  runs: writes, which it needs, would run first; no earlier run of it is known\n" in said
    with pytest.raises(ValueError, match="--force raeds: the config has no stage raeds; did you mean reads"):
        patchmill.run(config, force="raeds")
