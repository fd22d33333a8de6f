"""Runs of a config, again and again: what is skipped, what is replaced, what is added to, what is left alone."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

import patchmill
from cuts import array_objects
from patchmill.errors import TargetExistsError
from patchmill.stages import Run, attempts, conducting
from patchmill.stages.cleaning import clean
from patchmill.stages.holding import hold
from patchmill.stages.records import read_status
from stages.notebook_files import running_below, wait_until, write_config, write_notebook

WRITES = 'target: str = "out/a.txt"  # out: a file\ntext: str = "nothing"  # what to write'
READS = 'source: str = "a.txt"  # in: a file'
SHOWS = "from patchmill.show import Result\nResult({'letters': len(open(source).read())}, opens='open it')"
HEAVY = (
    "numpy",
    "dask",
    "zarr",
    "xarray",
    "tensorstore",
    "papermill",
    "nbformat",
    "nbconvert",
    "IPython",
    "matplotlib",
)


def project(folder: Path) -> Path:
    write_notebook(folder / "writes.ipynb", WRITES, "open(target, 'w').write(text)", "print('it ran')")
    write_notebook(folder / "reads.ipynb", READS, SHOWS)
    stages = {
        "writes": {"params": {"target": "${root}/a.txt"}},
        "reads": {"params": {"source": "${stages.writes.params.target}"}},
    }
    return write_config(folder / "pipeline.yaml", stages)


def states(run: Run) -> list[str]:
    return [stage.state for stage in run.stages]


def test_runs_that_follow_each_other(tmp_path):
    """A run with something to do costs seconds, so what holds of those behind it stands in one test."""
    config = project(tmp_path)
    first = patchmill.run(config)
    assert states(first) == ["done", "done"]
    assert [stage.why for stage in first.stages] == ["no earlier run of it is known"] * 2

    # Nothing to do: without the libraries that take long to load.
    script = (
        "import sys\nfrom patchmill.cli import main\ncode = main(['run', sys.argv[1], '--jobs', '2'])\n"
        f"print(code, *(name for name in {HEAVY!r} if name in sys.modules))"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(config)], capture_output=True, text=True, check=False)
    said = ended.stdout.splitlines()
    assert ended.stderr == ""
    assert said[-1] == "0"
    name = os.path.basename(first.folder)
    assert f"[1/2] writes: skipped: nothing changed since run {name}" in said
    assert any(line.startswith("test: nothing to do in ") for line in said)

    # Its record is whole: what the stages said and showed the last time, and what lies there.
    idle = read_status(str(tmp_path / "out" / "records" / os.readlink(tmp_path / "out" / "records" / "latest")))
    assert (states(idle), idle.state, idle.exit_code) == (["skipped", "skipped"], "done", 0)
    assert os.path.dirname(idle.stages[0].executed).startswith(idle.folder)
    for stage, before in zip(idle.stages, first.stages, strict=True):
        for now, then in ((stage.executed, before.executed), (stage.html, before.html), (stage.log, before.log)):
            assert Path(now).read_bytes() == Path(then).read_bytes()
    report = Path(idle.report).read_text()
    assert "<dt>letters</dt>" in report
    assert f"{os.path.basename(idle.folder)}/notebooks/reads.ipynb" in report

    # Old records can go.
    clean(str(tmp_path / "out"), keep=1)
    assert not os.path.exists(first.folder)
    shutil.rmtree(idle.folder)
    again = patchmill.run(config)
    assert states(again) == ["skipped", "skipped"]
    assert "<dt>letters</dt>" in Path(again.report).read_text()
    assert Path(again.stages[1].html).is_file()


class Ended:
    """A process of a stage that has come to its end, well."""

    cpu_seconds, peak_bytes = 0.0, 0

    def poll(self) -> int:
        return 0

    def sweep(self) -> None:
        pass


@pytest.fixture
def at_once(tmp_path, monkeypatch):
    """Stages end when they begin, having written the code of their notebook to their target."""

    def begin(stage, folder, _):
        Path(stage.parameters["target"]).write_bytes(Path(stage.source).read_bytes())
        answer = Path(folder, "work", stage.name, "answer.json")
        answer.parent.mkdir(parents=True)
        answer.write_text('{"state": "done"}')
        return Ended()

    monkeypatch.setattr(attempts, "begin", begin)


def writers(folder: Path, **more) -> Path:
    """A config of three stages: while `a` runs `b` waits, though it needs nobody, and `c` for that."""
    for name in "abc":
        write_notebook(folder / f"{name}.ipynb", WRITES, "text = 1")
    stages = {name: {"params": {"target": f"${{root}}/{name}.txt"}, **more} for name in "abc"}
    return write_config(folder / "pipeline.yaml", {**stages, "c": {**stages["c"], "after": "b"}})


def manifest_of(run: Run) -> dict:
    return json.loads(Path(run.folder, "manifest.json").read_text())


def test_what_a_stage_works_on_is_noted_when_it_begins(tmp_path, at_once, monkeypatch):
    monkeypatch.setattr(conducting, "_FRESH_SECONDS", 0.0)
    config, notebook = writers(tmp_path), tmp_path / "b.ipynb"
    first = notebook.read_bytes()

    def edit(run):
        if states(run)[0] == "running":
            write_notebook(notebook, WRITES, "text = 2")

    run = patchmill.run(config, watch=edit)
    assert states(run) == ["done"] * 3
    executed = (tmp_path / "out" / "b.txt").read_bytes()
    assert executed == notebook.read_bytes() != first
    assert manifest_of(run)["stages"][1]["sha256"] == hashlib.sha256(executed).hexdigest()
    notebook.write_bytes(first)
    again = patchmill.run(config)
    assert [(stage.state, stage.why) for stage in again.stages][1] == ("done", "the notebook's code changed")
    assert (tmp_path / "out" / "b.txt").read_bytes() == first


def test_a_stage_that_waited_is_skipped_where_it_need_not_run_any_more(tmp_path, at_once, monkeypatch):
    monkeypatch.setattr(conducting, "_FRESH_SECONDS", 0.0)
    config, notebook = writers(tmp_path), tmp_path / "b.ipynb"
    patchmill.run(config)
    first = notebook.read_bytes()
    for path in (tmp_path / "a.ipynb", notebook):
        write_notebook(path, WRITES, "text = 2")
    run = patchmill.run(config, watch=lambda run: states(run)[0] == "running" and notebook.write_bytes(first))
    assert states(run) == ["done", "skipped", "skipped"]
    assert manifest_of(run)["stages"][1]["sha256"] == hashlib.sha256(first).hexdigest()
    assert [path.name for path in (tmp_path / "out").glob(".*")] == []


def test_a_stage_that_was_held_up_is_skipped_where_it_need_not_run_any_more(tmp_path, at_once, monkeypatch):
    for name in ("_FRESH_SECONDS", "_PAUSE_SECONDS"):
        monkeypatch.setattr(conducting, name, 0.0)
    config, notebook = writers(tmp_path, retries=1), tmp_path / "b.ipynb"
    patchmill.run(config)
    first = notebook.read_bytes()
    write_notebook(notebook, WRITES, "text = 2")
    held = [hold([str(tmp_path / "out" / "b.txt")], str(tmp_path / "out"), print)]

    def release(run):
        if run.stages[1].attempt == 1 and held:
            held.pop().close()
            notebook.write_bytes(first)

    run = patchmill.run(config, watch=release)
    assert (states(run), run.exit_code) == (["skipped"] * 3, 0)


def test_a_stage_that_begins_at_once_is_looked_at_once(tmp_path, at_once, monkeypatch):
    looked = []
    real = conducting.decide
    monkeypatch.setattr(
        conducting, "decide", lambda stage, *how, **more: looked.append(stage.name) or real(stage, *how, **more)
    )
    monkeypatch.setattr(conducting, "_FRESH_SECONDS", 60.0)
    patchmill.run(writers(tmp_path))
    assert looked == ["a", "b", "c"]


@pytest.mark.slow
def test_what_reads_the_output_of_a_forced_stage_follows(tmp_path):
    config = project(tmp_path)
    patchmill.run(config)
    forced = patchmill.run(config, force="writes")
    assert states(forced) == ["done", "done"]
    assert forced.stages[0].why == "--force"
    assert forced.stages[1].why == f"input {tmp_path}/out/a.txt changed"
    assert states(patchmill.run(config)) == ["skipped", "skipped"]


@pytest.mark.slow
def test_a_stage_that_failed_runs_again_and_what_came_before_it_does_not(tmp_path):
    config = project(tmp_path)
    write_notebook(tmp_path / "reads.ipynb", READS, "1 / 0")
    failed = patchmill.run(config, check=False)
    assert states(failed) == ["done", "failed"]
    write_notebook(tmp_path / "reads.ipynb", READS, SHOWS)
    mended = patchmill.run(config)
    assert states(mended) == ["skipped", "done"]
    assert mended.stages[1].why == f"run {os.path.basename(failed.folder)} did not bring it to its end"


def test_two_configs_with_one_output_and_an_output_that_somebody_else_made(tmp_path, capsys):
    from patchmill.cli import main

    config = project(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.txt").write_text("by hand")
    before = sorted(tmp_path.rglob("*"))
    for arguments in (["run", str(config)], ["run", str(config), "--dry-run"]):
        assert main(arguments) == 2
        assert capsys.readouterr().err == (
            f"patchmill: writes.target: {tmp_path}/out/a.txt is there, and writes of test did not write it: "
            "choose another place, or remove it\n"
        )
    assert sorted(tmp_path.rglob("*")) == before
    (tmp_path / "out" / "a.txt").unlink()
    patchmill.run(config, only_stages="writes")
    config.write_text(config.read_text().replace("name: test", "name: other"))
    with pytest.raises(TargetExistsError, match=r"a\.txt was written by the stage writes of test, so it stays: choose"):
        patchmill.run(config)
    assert (tmp_path / "out" / "a.txt").read_text() == "nothing"


def chain(folder: Path, root: str, **cut) -> Path:
    """Files in data/ into a patch set."""
    stages = {
        "ingest": {"notebook": "patchmill:ingest", "params": {"images": "data", "target": "${root}/source.zarr"}},
        "patchify": {
            "notebook": "patchmill:patchify",
            "params": {
                "source": "${stages.ingest.params.target}",
                "target": "${root}/patches.zarr",
                "patch_shape": 8,
                **cut,
            },
        },
    }
    path = folder / f"{root}.yaml"
    path.write_text(yaml.safe_dump({"name": "nights", "root": root, "stages": stages}, sort_keys=False))
    return path


def bring(folder: Path, *names: str) -> None:
    (folder / "data").mkdir(exist_ok=True)
    for name in names:
        pixels = np.random.default_rng(len(name)).integers(0, 255, (20, 24, 3), "uint8")
        np.save(folder / "data" / f"{name}.npy", pixels)


def own(store: Path) -> dict:
    return json.loads((store / "zarr.json").read_text())["attributes"]["patchmill"]


@pytest.mark.slow
def test_three_nights_of_a_growing_folder_end_as_one_go_and_an_edit_replaces(tmp_path):
    config, out = chain(tmp_path, "out"), tmp_path / "out"
    for night, names in enumerate((["a", "b"], ["c"], ["d", "e"])):
        bring(tmp_path, *names)
        run = patchmill.run(config)
        assert states(run) == ["done", "done"]
        assert own(out / "source.zarr")["generation"] == night
    assert run.stages[1].why == f"input {out}/source.zarr has grown"
    patchmill.run(chain(tmp_path, "once"))
    for store in ("source.zarr", "patches.zarr"):
        assert array_objects(out / store) == array_objects(tmp_path / "once" / store)

    edited = patchmill.run(chain(tmp_path, "out", step=4))
    assert states(edited) == ["skipped", "done"]
    assert edited.stages[1].why == "step is given as [4, 4]"
    assert own(out / "patches.zarr")["grid"]["step"] == [4, 4]

    # A file that changed makes all of it anew, be the new one as large and of the same kind.
    np.save(tmp_path / "data" / "a.npy", np.zeros((20, 24, 3), "uint8"))
    changed = patchmill.run(chain(tmp_path, "out", step=4))
    assert states(changed) == ["done", "done"]
    assert own(out / "source.zarr")["generation"] == 0
    assert not patchmill.open_patches(out / "patches.zarr")[0].any()

    # A lost shard makes the set anew, and nothing else.
    shard = next(path for path in (out / "patches.zarr" / "patches" / "c").rglob("*") if path.is_file())
    shard.unlink()
    mended = patchmill.run(chain(tmp_path, "out", step=4))
    assert states(mended) == ["skipped", "done"]
    assert mended.stages[1].why == f"the output {out}/patches.zarr is not as it was left"
    assert shard.is_file()
    other = chain(tmp_path, "out")
    other.write_text(other.read_text().replace("name: nights", "name: days"))
    with pytest.raises(
        TargetExistsError, match=r"ingest.target: .*source.zarr was written by the stage ingest of nights"
    ):
        patchmill.run(other)


@pytest.mark.slow
def test_a_runner_that_was_killed_is_followed_by_a_run_that_ends_in_the_same_bytes(tmp_path):
    bring(tmp_path, "a", "b", "c")
    config, out = chain(tmp_path, "out"), tmp_path / "out"
    patchmill.run(chain(tmp_path, "once"))
    notebook = Path(patchmill.__file__).parents[2] / "notebooks" / "patchify.ipynb"
    slow = json.loads(notebook.read_text())
    at = next(n for n, cell in enumerate(slow["cells"]) if "write_patches" in "".join(cell["source"]))
    wait = (
        "import os, time\nopen(target + '.here', 'w').close()\n"
        "while os.path.exists(target + '.wait'):\n    time.sleep(0.1)\n"
    )
    slow["cells"].insert(at + 1, {**slow["cells"][at], "source": wait, "outputs": [], "id": "waits"})
    (tmp_path / "slow.ipynb").write_text(json.dumps(slow))
    config.write_text(config.read_text().replace("patchmill:patchify", "slow.ipynb"))
    out.mkdir()
    (out / "patches.zarr.wait").touch()
    process = subprocess.Popen([sys.executable, "-m", "patchmill", "run", str(config)], stdout=subprocess.DEVNULL)
    wait_until((out / "patches.zarr.here").exists)
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_until(lambda: running_below(tmp_path) == [], seconds=10)
    (out / "patches.zarr.wait").unlink()
    root = (out / "patches.zarr" / "zarr.json").stat().st_mtime_ns
    again = patchmill.run(config)
    assert states(again) == ["skipped", "done"]
    assert again.stages[1].why.endswith("did not bring it to its end")
    # It was complete, so nothing was cut twice.
    assert (out / "patches.zarr" / "zarr.json").stat().st_mtime_ns == root
    assert array_objects(out / "patches.zarr") == array_objects(tmp_path / "once" / "patches.zarr")
