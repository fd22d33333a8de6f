"""What happens at night: after each fault a true record, no process left over, and a rerun that ends well."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

import patchmill
from cuts import array_objects
from patchmill.cli import main
from patchmill.cutting.holders import holders, to_json
from patchmill.errors import ConfigError, HeldError
from patchmill.stages import attempts, conducting, memos, running
from patchmill.stages.holding import hold
from patchmill.stages.pipelines import read_pipeline
from patchmill.storage import Location
from stages.notebook_files import SLEEPS, running_below, started, status_of, wait_until, write_config, write_notebook


@pytest.mark.slow
def test_a_kernel_that_does_not_answer_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setenv("PATCHMILL_HEARTBEAT_SECONDS", "3")
    frozen = "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)"
    write_notebook(tmp_path / "freezes.ipynb", "x: int = 1  # a number", "# Still", frozen)
    run = patchmill.run(write_config(tmp_path / "pipeline.yaml", {"freezes": {}}), check=False)
    assert (run.state, run.exit_code) == ("killed", 137)
    assert "did not answer" in run.failed.failure.sentence
    assert run.failed.failure.where == 'cell In [3] under "Still"'
    wait_until(lambda: running_below(tmp_path) == [], seconds=10)


@pytest.mark.slow
def test_a_kernel_that_is_busy_answers(tmp_path, monkeypatch):
    """Also while one instruction holds the interpreter for long."""
    monkeypatch.setenv("PATCHMILL_HEARTBEAT_SECONDS", "2")
    busy = "import re\nre.match('(a+)+$', 'a' * 27 + 'b')"
    write_notebook(tmp_path / "works.ipynb", "x: int = 1  # a number", busy)
    run = patchmill.run(write_config(tmp_path / "pipeline.yaml", {"works": {}}), check=False)
    assert run.state == "done"
    assert run.stages[0].seconds > 4


@pytest.mark.slow
def test_when_the_terminal_is_closed_the_run_ends_and_says_so(tmp_path):
    write_notebook(tmp_path / "sleeps.ipynb", *SLEEPS)
    config = write_config(tmp_path / "pipeline.yaml", {"sleeps": {}})
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-m", "patchmill", "run", str(config)])
    wait_until(lambda: started(tmp_path))
    os.close(terminal)
    _, ended = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(ended) == 128 + signal.SIGHUP
    wait_until(lambda: running_below(tmp_path) == [], seconds=10)
    assert status_of(tmp_path)["state"] == "interrupted"
    assert "SIGHUP" in status_of(tmp_path)["stages"][0]["failure"]["sentence"]


FULL = """
import os, sys
from patchmill.stages import records

real = records.os.replace
def full(one, other):
    if str(other).endswith("status.json") and os.path.exists(other):
        raise OSError(28, "No space left on device", str(one))
    real(one, other)
records.os.replace = full
from patchmill.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_full_disk_is_one_sentence_and_the_next_run_ends_well(tmp_path):
    write_notebook(tmp_path / "adds.ipynb", "x: int = 1  # a number", "print(x + 1)")
    config = write_config(tmp_path / "pipeline.yaml", {"adds": {}})
    ended = subprocess.run(
        [sys.executable, "-c", FULL, "run", str(config)], capture_output=True, text=True, check=False, timeout=120
    )
    assert ended.returncode == 1
    assert "No space left on device" in ended.stderr
    assert "Traceback" not in ended.stderr
    wait_until(lambda: running_below(tmp_path) == [], seconds=10)
    assert patchmill.run(config).state == "done"


@pytest.mark.parametrize("part", ["leases", "notebooks", "config.yaml", "status.json", "latest.txt"])
def test_a_run_that_can_not_be_recorded_says_so_and_so_does_status(tmp_path, capsys, monkeypatch, part):
    write_notebook(tmp_path / "adds.ipynb", "x: int = 1  # a number", "print(x + 1)")
    config = str(write_config(tmp_path / "pipeline.yaml", {"adds": {}}))
    first = patchmill.run(config)
    records = Path(first.folder).parent
    before = sorted(records.iterdir())

    def full(real, *paths, **how):
        if {os.path.basename(str(path)) for path in paths} & {part, "latest"}:
            raise OSError(28, "No space left on device", str(paths[0]))
        return real(*paths, **how)

    with monkeypatch.context() as patched:
        for name in ("mkdir", "replace"):
            patched.setattr(os, name, partial(full, getattr(os, name)))
        assert main(["run", config]) == 1
    said = capsys.readouterr().err
    assert said.startswith("patchmill: the run could not begin, and nothing is recorded of it: ")
    assert "No space left on device" in said
    assert sorted(records.iterdir()) == before
    assert os.path.realpath(records / "latest") == first.folder
    assert main(["status", config]) == 1
    assert "a later run was refused" in capsys.readouterr().err
    assert patchmill.run(config).state == "done"


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["runner", "stage", "kernel"])
def test_after_a_kill_the_rerun_ends_in_the_same_bytes(tmp_path, victim):
    arguments = {
        "ingest": {"notebook": "patchmill:ingest", "params": {"images": "sample:", "target": "${root}/source.zarr"}},
        "patchify": {
            "notebook": "patchmill:patchify",
            "params": {
                "source": "${stages.ingest.params.target}",
                "target": "${root}/patches.zarr",
                "patch_shape": [64, 64],
                "step": [8, 8],
            },
        },
    }
    config = write_config(tmp_path / "pipeline.yaml", arguments)
    command = [sys.executable, "-m", "patchmill", "run", str(config)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    shards = tmp_path / "out" / "patches.zarr" / "patches" / "c"
    wait_until(lambda: any(path.is_file() for path in shards.rglob("*")), seconds=120)
    assert process.poll() is None
    kill(process, tmp_path, victim)
    process.communicate(timeout=60)
    wait_until(lambda: running_below(tmp_path) == [], seconds=10)
    assert patchmill.run(config).state == "done"
    whole = write_config(tmp_path / "whole.yaml", arguments, root="whole")
    assert patchmill.run(whole).state == "done"
    assert array_objects(tmp_path / "out" / "patches.zarr") == array_objects(tmp_path / "whole" / "patches.zarr")
    assert patchmill.verify(tmp_path / "out" / "patches.zarr").ok


def kill(runner: subprocess.Popen, folder: Path, victim: str) -> None:
    import psutil

    if victim == "runner":
        runner.kill()
        return
    below = psutil.Process(runner.pid).children(recursive=True)
    kernels = [each for each in below if "ipykernel" in " ".join(each.cmdline())]
    stages = [each for each in below if "executing" in " ".join(each.cmdline())]
    for process in kernels if victim == "kernel" else stages:
        process.kill()


def test_what_is_saved_in_one_record_changes_no_other(tmp_path):
    write_notebook(tmp_path / "adds.ipynb", "x: int = 1  # a number", "print(x + 1)")
    config = write_config(tmp_path / "pipeline.yaml", {"adds": {}})
    first, second = patchmill.run(config), patchmill.run(config)
    assert second.stages[0].state == "skipped"
    before = Path(first.stages[0].executed).read_text()
    with open(second.stages[0].executed, "r+") as file:  # as Jupyter saves: into the file
        file.write("edited")
    assert Path(first.stages[0].executed).read_text() == before
    assert Path(patchmill.run(config).stages[0].executed).read_text() == before


def test_what_appears_at_an_output_while_others_run_is_not_replaced(tmp_path):
    write_notebook(
        tmp_path / "one.ipynb", 'target: str = "out/a"  # out: a file\nother: str = "/x"  # a place',
        "open(target, 'w').write('a')\nopen(other, 'w').write('precious')",
    )  # fmt: skip
    write_notebook(tmp_path / "two.ipynb", 'target: str = "out/b"  # out: a file', "open(target, 'w').write('b')")
    place = tmp_path / "out" / "b"
    stages = {
        "one": {"params": {"target": "${root}/a", "other": str(place)}},
        "two": {"params": {"target": "${root}/b"}, "after": "one"},
    }
    run = patchmill.run(write_config(tmp_path / "pipeline.yaml", stages), check=False)
    assert (run.state, run.exit_code) == ("failed", 1)
    assert "did not write it" in str(run.failed.failure)
    assert place.read_text() == "precious"


def test_a_refused_night_is_told_of_until_the_next_run(tmp_path, capsys):
    from patchmill.cli import main

    write_notebook(tmp_path / "reads.ipynb", 'source: str = "a.txt"  # in: a file', "print(open(source).read())")
    source = tmp_path / "a.txt"
    source.write_text("a")
    config = write_config(tmp_path / "pipeline.yaml", {"reads": {"params": {"source": "a.txt"}}})
    assert patchmill.run(config).exit_code == 0
    source.rename(tmp_path / "b.txt")
    with pytest.raises(ConfigError):
        patchmill.run(config)
    assert main(["status", str(config)]) == 1
    assert "a later run was refused" in capsys.readouterr().err
    (tmp_path / "b.txt").rename(source)
    patchmill.run(config)
    assert main(["status", str(config)]) == 0


def test_an_error_is_a_sentence_on_every_terminal(tmp_path):
    write_notebook(tmp_path / "says.ipynb", "x: int = 1  # a number", "raise ValueError('\\x1b[2J\\r' + 'e' * 20_000)")
    run = patchmill.run(write_config(tmp_path / "pipeline.yaml", {"says": {}}), check=False)
    assert run.failed.failure.sentence.startswith(r"\x1b[2J\re")
    assert len(run.failed.failure.sentence) < 11_000


def test_an_error_without_a_message_says_its_name(tmp_path):
    write_notebook(tmp_path / "asserts.ipynb", "x: int = 1  # a number", "assert not x")
    run = patchmill.run(write_config(tmp_path / "pipeline.yaml", {"asserts": {}}), check=False)
    assert str(run.failed.failure) == "AssertionError: (without a message)"


@pytest.mark.slow
def test_what_a_kernel_detached_ends_with_its_stage(tmp_path):
    detached = (
        "import subprocess, sys\n"
        'first = \'import subprocess; subprocess.Popen(["sleep", "300"], start_new_session=True)\'\n'
        "subprocess.run([sys.executable, '-c', first], check=True)"
    )
    write_notebook(tmp_path / "leaves.ipynb", "x: int = 1  # a number", detached)
    assert patchmill.run(write_config(tmp_path / "pipeline.yaml", {"leaves": {}})).state == "done"
    assert running_below(tmp_path) == []
    write_notebook(tmp_path / "dies.ipynb", "x: int = 1  # a number", detached, "import os; os.kill(os.getpid(), 9)")
    assert patchmill.run(write_config(tmp_path / "other.yaml", {"dies": {}}), check=False).exit_code == 137
    assert running_below(tmp_path) == []


def test_the_sockets_of_a_stage_that_was_killed_are_removed_by_the_next_run(tmp_path):
    kills = "import os\nopen(told, 'w').write(os.environ['JUPYTER_RUNTIME_DIR'])\nos.kill(os.getppid(), 9)"
    write_notebook(tmp_path / "kills.ipynb", "told: str = ''  # a file", kills)
    write_notebook(tmp_path / "adds.ipynb", "x: int = 1  # a number")
    params = {"params": {"told": str(tmp_path / "told")}}
    run = patchmill.run(write_config(tmp_path / "one.yaml", {"kills": params}), check=False)
    assert run.exit_code == 137
    left = Path((tmp_path / "told").read_text())
    assert {"kernel.json", "kernel-ipc-1"} <= {path.name for path in left.iterdir()}
    assert [str(path) for path in Path(run.folder).rglob("*") if path.is_socket()] == []
    assert patchmill.run(write_config(tmp_path / "two.yaml", {"adds": {}})).state == "done"
    assert not left.exists()


@pytest.mark.slow
def test_what_a_kernel_detached_ends_though_the_process_between_was_killed(tmp_path):
    detached = "import subprocess; subprocess.Popen(['sleep', '300'], start_new_session=True)"
    write_notebook(tmp_path / "kills.ipynb", "x: int = 1  # a number", detached, "import os; os.kill(os.getppid(), 9)")
    assert patchmill.run(write_config(tmp_path / "pipeline.yaml", {"kills": {}}), check=False).exit_code == 137
    wait_until(lambda: running_below(tmp_path) == [], seconds=10)


@pytest.mark.parametrize("target", ["${root}/tiles/*.png", "${root}/folder", "${root}/new/a"])
def test_outputs_may_be_patterns_and_folders(tmp_path, target):
    write = (
        "from pathlib import Path\nplace = Path(target.replace('*', '1'))\n"
        "place.parent.mkdir(parents=True)\nplace.mkdir() if place.name == 'folder' else place.touch()"
    )
    (tmp_path / "out").mkdir()
    if target.endswith("folder"):
        write = write.replace("place.parent.mkdir(parents=True)\n", "")
    write_notebook(tmp_path / "writes.ipynb", 'target: str = "temp:a"  # out: a file', write)
    config = write_config(tmp_path / "pipeline.yaml", {"writes": {"params": {"target": target}}})
    assert patchmill.run(config).state == "done"
    assert [path.name for path in (tmp_path / "out").glob(".*")] == []


def test_each_of_several_outputs_of_one_parameter_must_be_there(tmp_path):
    declared = "targets: list[str] = []  # out: files"
    write_notebook(tmp_path / "writes.ipynb", declared, "open(targets[-1], 'w').close()")
    config = write_config(tmp_path / "pipeline.yaml", {"writes": {"params": {"targets": ["${root}/a", "${root}/b"]}}})
    sentence = patchmill.run(config, check=False).failed.failure.sentence
    assert sentence.startswith(f"it ended without having written {tmp_path}/out/a, its targets")


def test_a_link_to_nothing_is_no_output(tmp_path):
    write_notebook(
        tmp_path / "links.ipynb", 'target: str = "temp:a"  # out: a file', "import os\nos.symlink('no', target)"
    )
    config = write_config(tmp_path / "pipeline.yaml", {"links": {"params": {"target": "${root}/a"}}})
    assert "without having written" in patchmill.run(config, check=False).failed.failure.sentence


def test_leases_end_where_a_stage_can_not_begin(tmp_path, monkeypatch):
    write_notebook(tmp_path / "writes.ipynb", 'target: str = "temp:a"  # out: a file', "open(target, 'w').close()")
    config = write_config(tmp_path / "pipeline.yaml", {"writes": {"params": {"target": "${root}/a"}}})

    def fails(*_):
        raise OSError(11, "Resource temporarily unavailable")

    with monkeypatch.context() as patched:
        patched.setattr(attempts, "begin", fails)
        with pytest.raises(OSError, match="temporarily"):
            patchmill.run(config)
        assert [path.name for path in (tmp_path / "out").glob(".*")] == []
    assert patchmill.run(config).state == "done"


def test_who_is_held_up_may_be_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr(conducting, "_PAUSE_SECONDS", 0.1)
    write_notebook(tmp_path / "writes.ipynb", 'target: str = "temp:a"  # out: a file', "open(target, 'w').close()")
    stages = {"writes": {"params": {"target": "${root}/a"}, "retries": 2}}
    config = write_config(tmp_path / "pipeline.yaml", stages)
    (tmp_path / "out").mkdir()
    held = [hold([str(tmp_path / "out" / "a")], str(tmp_path / "out"), print)]

    def release(run):
        if run.stages[0].attempt == 1 and held:
            held.pop().close()

    run = patchmill.run(config, watch=release)
    assert (run.state, run.stages[0].attempt) == ("done", 2)
    assert "is being written by this process" in Path(run.stages[0].log).read_text()


def silence(work):
    """Let the holder of a workshop look as if it had been stopped for long; until its next beat."""
    (holder,) = holders(work)
    work.write(holder.beat_key, to_json(replace(holder, at=-1e9)))


def test_who_was_stopped_for_long_holds_its_config_and_its_outputs(tmp_path, capsys):
    write_notebook(tmp_path / "writes.ipynb", 'target: str = "temp:a"  # out: a file', "open(target, 'w').close()")
    config = write_config(tmp_path / "pipeline.yaml", {"writes": {"params": {"target": "${root}/a"}}})
    with running._held(read_pipeline(str(config))):
        silence(Location.local(str(tmp_path / "out" / "records" / "test")).workshop)
        assert main(["run", str(config)]) == 75
    assert f"{config} is being run by this process since " in capsys.readouterr().err
    root = str(tmp_path / "out")
    with hold([f"{root}/a"], root, print):
        (place,) = (tmp_path / "out").glob(".*.patchmill")
        silence(Location.local(str(place)))
        with pytest.raises(HeldError, match="is being written by this process"):
            hold([f"{root}/a"], root, print)


def test_a_run_whose_config_was_taken_over_ends_and_says_so(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(conducting, "_CHECK_SECONDS", 0.1)
    begin = attempts.begin

    def taken_over(*given):
        work = Location.local(str(tmp_path / "out" / "records" / "test")).workshop
        (holder,) = holders(work)
        work.delete(holder.key)
        other = replace(holder, number=2, token="other", host="node7", place="elsewhere", pid=4711)
        work.write(other.key, to_json(other))
        return begin(*given)

    monkeypatch.setattr(attempts, "begin", taken_over)
    write_notebook(tmp_path / "sleeps.ipynb", SLEEPS[0], "import time\ntime.sleep(30)")
    config = write_config(tmp_path / "pipeline.yaml", {"sleeps": {}})
    assert main(["run", str(config)]) == 75
    assert f"{config} was taken over by process 4711 on node7 since " in capsys.readouterr().err
    assert running_below(tmp_path) == []
    status = status_of(tmp_path)
    assert (status["state"], status["exit_code"]) == ("interrupted", 75)
    assert "the runner stopped: " in status["stages"][0]["failure"]["sentence"]


def test_who_waits_for_another_attempt_when_the_time_is_up_keeps_its_error(tmp_path, monkeypatch):
    monkeypatch.setattr(conducting.Conductor, "_is_late", lambda conductor: bool(conductor._again))
    write_notebook(tmp_path / "writes.ipynb", 'target: str = "temp:a"  # out: a file')
    stages = {"writes": {"params": {"target": "${root}/a"}, "retries": 2}}
    config = write_config(tmp_path / "pipeline.yaml", stages, limit="1h")
    with hold([str(tmp_path / "out" / "a")], str(tmp_path / "out"), print):
        run = patchmill.run(config, check=False)
    assert (run.state, run.exit_code, run.stages[0].attempt) == ("failed", 124, 1)
    assert str(run.failed.failure).startswith(f"HeldError: {tmp_path}/out/a is being written by this process")
    assert str(run.failed.failure).endswith(
        "; the run took longer than its limit of 1 h 0 min before it could be tried again"
    )


def test_a_notebook_that_vanishes_while_others_run_is_named(tmp_path, capsys):
    write_notebook(tmp_path / "adds.ipynb", "x: int = 1  # a number")
    config = write_config(
        tmp_path / "pipeline.yaml", {"adds": {}, "waits": {"notebook": "adds.ipynb", "after": "adds"}}
    )
    run = patchmill.run(config, watch=lambda _: (tmp_path / "adds.ipynb").unlink(missing_ok=True), check=False)
    assert [stage.state for stage in run.stages] == ["failed", "not run"]
    assert run.exit_code == 1
    assert str(run.failed.failure).startswith(f"{tmp_path}/adds.ipynb, or what it reads, can't be looked at any more: ")
    assert "open " not in running.failure_text(run.failed)
    assert main(["status", run.folder]) == 1
    assert "\nopen " not in capsys.readouterr().err


def test_a_second_interruption_leaves_no_stage_that_runs(tmp_path, monkeypatch):
    drawn = []

    def interrupts(run):
        if all(stage.state == "running" for stage in run.stages):
            raise KeyboardInterrupt

    def again(stage):
        drawn.append(stage.name)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(running, "write_notebook_html", again)
    write_notebook(tmp_path / "sleeps.ipynb", *SLEEPS)
    stages = {name: {"notebook": "sleeps.ipynb"} for name in ("one", "two")}
    config = write_config(tmp_path / "pipeline.yaml", stages)

    def heard(*_):
        raise AssertionError

    before = signal.signal(signal.SIGINT, heard)
    try:
        run = patchmill.run(config, jobs=2, watch=interrupts, check=False)
    finally:
        signal.signal(signal.SIGINT, before)
    assert drawn == ["one", "two"]
    assert (run.state, run.exit_code) == ("interrupted", 130)
    assert [stage["state"] for stage in status_of(tmp_path)["stages"]] == ["interrupted"] * 2
    assert (tmp_path / "out" / "report.html").is_file()


def test_a_disk_that_is_full_when_a_stage_begins_is_one_sentence(tmp_path, capsys, monkeypatch):
    def full(path, *_, **__):
        raise OSError(28, "No space left on device", path)

    monkeypatch.setattr(memos, "write_whole", full)
    write_notebook(tmp_path / "adds.ipynb", "x: int = 1  # a number")
    config = write_config(tmp_path / "pipeline.yaml", {"adds": {}})
    assert main(["run", str(config)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    kept = tmp_path / "out" / "records" / "test.stages"
    assert line.startswith(f"patchmill: the record {kept} can't be written (No space left on device): free space")
    assert status_of(tmp_path)["state"] == "interrupted"


def test_a_stage_that_does_not_write_its_output_has_failed(tmp_path):
    write_notebook(tmp_path / "idles.ipynb", 'target: str = "temp:a"  # out: a file', "print(target)")
    config = write_config(tmp_path / "pipeline.yaml", {"idles": {"params": {"target": "${root}/a"}}})
    run = patchmill.run(config, check=False)
    assert (run.state, run.exit_code) == ("failed", 1)
    assert run.failed.failure.sentence.startswith(f"it ended without having written {tmp_path}/out/a, its target")
    write_notebook(tmp_path / "idles.ipynb", 'target: str = "temp:a"  # out: a file', "open(target, 'w').close()")
    assert patchmill.run(config).state == "done"


@pytest.mark.slow
def test_a_stage_that_leaves_its_output_as_it_was_before_has_failed_until_it_writes_there(tmp_path):
    declared = 'target: str = "temp:a"  # out: a file\ntext: str = "a"  # what to write'
    writes = "open(target, 'w').write('a')"
    write_notebook(tmp_path / "works.ipynb", declared, writes)

    def run(text: str = "a", **how):
        stages = {"works": {"params": {"target": "${root}/a", "text": text}}}
        return patchmill.run(write_config(tmp_path / "pipeline.yaml", stages), check=False, **how)

    assert run().state == "done"
    assert run(force=True).state == "done"  # the same bytes, written again
    write_notebook(tmp_path / "works.ipynb", declared, f"import os\nif not os.path.exists(target):\n    {writes}")
    for _ in range(2):  # what is gone on with was begun before the first of them
        left = run("b")
        assert (left.state, left.exit_code) == ("failed", 1)
        assert f"it left {tmp_path}/out/a, its target, as it was before" in left.failed.failure.sentence
    (tmp_path / "out" / "a").touch()
    assert run("b").state == "done"


@pytest.mark.slow
def test_an_output_that_an_earlier_attempt_wrote_may_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(conducting, "_PAUSE_SECONDS", 0.1)
    steps = "import os\nif not os.path.exists(target):\n    open(target, 'w').close()\n    os.kill(os.getpid(), 9)"
    write_notebook(tmp_path / "works.ipynb", 'target: str = "temp:a"  # out: a file', steps)
    stages = {"works": {"params": {"target": "${root}/a"}, "retries": 1}}
    run = patchmill.run(write_config(tmp_path / "pipeline.yaml", stages), check=False)
    assert (run.state, run.stages[0].attempt) == ("done", 2)


@pytest.mark.slow
def test_two_configs_do_not_write_to_one_place_at_a_time(tmp_path):
    declared = 'target: str = "temp:a"  # out: a file'
    write_notebook(tmp_path / "sleeps.ipynb", declared, *SLEEPS[1:])
    write_notebook(tmp_path / "writes.ipynb", declared, "open(target, 'w').close()")
    params = {"params": {"target": str(tmp_path / "out" / "a")}}
    first = write_config(tmp_path / "first.yaml", {"sleeps": params})
    process = subprocess.Popen([sys.executable, "-m", "patchmill", "run", str(first)], cwd=tmp_path)
    wait_until(lambda: started(tmp_path))
    second = write_config(tmp_path / "second.yaml", {"writes": params}, name="other", runs="records")
    run = patchmill.run(second, check=False)
    assert (run.state, run.exit_code) == ("failed", 75)
    assert f"{tmp_path}/out/a is being written by process {process.pid}" in run.failed.failure.sentence
    process.terminate()
    process.wait(20)
    assert patchmill.run(second).state == "done"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a", "records", "report.html"]


def test_a_record_that_goes_while_it_is_written_is_one_sentence(tmp_path, capsys):
    write_notebook(tmp_path / "clears.ipynb", "folder: str = ''  # a place", "import shutil; shutil.rmtree(folder)")
    params = {"params": {"folder": str(tmp_path / "out" / "records")}}
    config = write_config(tmp_path / "pipeline.yaml", {"clears": params})
    assert main(["run", str(config)]) == 1
    told = capsys.readouterr().err
    assert "can't be written (No such file or directory): free space, or let it be there" in told
    assert "Traceback" not in told
    wait_until(lambda: running_below(tmp_path) == [], seconds=10)


def test_a_silence_that_is_no_span_of_time_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PATCHMILL_HEARTBEAT_SECONDS", "abc")
    write_notebook(tmp_path / "adds.ipynb", "x: int = 1  # a number", "print(x)")
    run = patchmill.run(write_config(tmp_path / "pipeline.yaml", {"adds": {}}), check=False)
    assert "PATCHMILL_HEARTBEAT_SECONDS must be a span of time" in run.failed.failure.sentence
