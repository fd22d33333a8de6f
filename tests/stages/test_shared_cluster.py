"""A Dask cluster that the stages of a run share: begun once, found by all, gone at the end, however that comes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

import patchmill
from cuts import stored_image
from patchmill.cutting.clients import deployment
from patchmill.errors import ConfigError, PatchmillError
from patchmill.stages import clusters, running
from patchmill.stages.pipelines import Stage, config_text, read_pipeline
from patchmill.stages.records import EXIT_LATE
from patchmill.stages.rehearsing import rehearse
from patchmill.storage import Location
from stages.notebook_files import shown_text, wait_until, write_config, write_notebook

LOCAL = {
    "class": "dask.distributed.LocalCluster",
    "arguments": {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"},
}
SECRETS = ("AKIDNOBODYMAYSEE", "SECRETNOBODYMAYSEE")

ASKS = """\
import os, distributed
with distributed.Client(os.environ["DASK_SCHEDULER_ADDRESS"]) as client:
    print(os.environ["DASK_SCHEDULER_ADDRESS"], client.submit(os.getpid).result())
"""


def hosts_below(folder: Path) -> list[psutil.Process]:
    """The processes of a run's cluster, and all they started: known by the record that is named to them."""
    found = []
    for process in psutil.process_iter():
        try:
            if any(str(folder) in word for word in process.cmdline()) and "hosting" in " ".join(process.cmdline()):
                found += [process, *process.children(recursive=True)]
        except psutil.Error:
            continue
    return found


def upload(folder: Path, url: str) -> None:
    """Copy a local store to a bucket."""
    for path in folder.rglob("*"):
        if path.is_file():
            Location.parse(url).write(path.relative_to(folder).as_posix(), path.read_bytes())


def living(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [each for each in processes if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize(
    ("cluster", "sentence"),
    [
        ({"arguments": {}}, "compute.cluster.class is missing"),
        ({"class": "LocalCluster"}, "compute.cluster.class must be a class with its module, such as dask.distributed"),
        ({"class": "dask_nobody.Cluster"}, "compute.cluster.class is dask_nobody.Cluster, and dask_nobody is not inst"),
        ({"class": "distributed.nowhere.Cluster"}, "and there is no module distributed.nowhere: check its name"),
        ({"class": "dask.distributed.LocalClustr"}, "and distributed has no LocalClustr; did you mean LocalCluster?"),
        ({"class": "distributed.deploy.local.Nothing"}, "and distributed.deploy.local has no Nothing: check its name"),
        ({"class": "subprocess.Popen"}, "and subprocess is Python's own: name a class that deploys Dask, such as dask"),
        ({**LOCAL, "scle": 3}, "compute.cluster.scle is no key of a config; did you mean scale?"),
        ({**LOCAL, "scale": 0}, "compute.cluster.scale must be at least 1, got 0"),
        ({**LOCAL, "arguments": 3}, "compute.cluster.arguments must be a"),
        ({**LOCAL, "arguments": {"password": "hunter2"}}, "compute.cluster.arguments.password must be the name of"),
    ],
)
def test_what_is_wrong_with_a_cluster_is_told_before_anything_runs(tmp_path, cluster, sentence):
    write_notebook(tmp_path / "one.ipynb", "x: int = 1  # a number")
    with pytest.raises(ConfigError) as caught:
        read_pipeline(str(write_config(tmp_path / "c.yaml", {"one": {}}, compute={"cluster": cluster})))
    assert "c.yaml:" in str(caught.value)
    assert sentence in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_class_that_deploys_nothing_is_told_with_all_else_that_is_wrong(tmp_path):
    write_notebook(tmp_path / "one.ipynb", "x: int = 1  # a number")
    wrong = {"cluster": {"class": "dask.distributed.Client"}, "workers": 0}
    config = write_config(tmp_path / "c.yaml", {"one": {"params": {"y": 1}}}, compute=wrong)
    with pytest.raises(ConfigError) as caught:
        rehearse(str(config))
    assert [line.partition(", ")[0] for line in str(caught.value).splitlines()] == [
        "c.yaml:5: compute.cluster.class 'dask.distributed.Client' is no class that Dask deploys with",
        "c.yaml:6: compute.workers must be at least 1",
        "c.yaml:11: one.y is no parameter of one.ipynb; it declares x",
    ]


def test_a_look_for_the_class_loads_no_dask(tmp_path):
    write_notebook(tmp_path / "one.ipynb", "x: int = 1  # a number")
    config = write_config(tmp_path / "c.yaml", {"one": {}}, compute={"cluster": LOCAL})
    look = (
        "import sys\nfrom patchmill.stages.pipelines import read_pipeline\n"
        f"read_pipeline({str(config)!r})\nprint({{'dask', 'distributed'}} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True).stdout == "set()\n"


@pytest.mark.parametrize("path", ["dask_nobody.Cluster", "fails_to_load.Cluster", "dask.array.Nothing"])
def test_a_class_that_can_not_be_imported_is_refused(tmp_path, monkeypatch, path):
    (tmp_path / "fails_to_load.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="can't be imported"):
        deployment(path)


@pytest.mark.parametrize("path", ["os.system", "subprocess.Popen", "builtins.eval", "dask.distributed.Client"])
def test_a_class_that_deploys_nothing_is_not_called(path):
    with pytest.raises(ValueError, match="is no class that Dask deploys with"):
        deployment(path)


def test_the_recorded_config_has_the_cluster(tmp_path):
    write_notebook(tmp_path / "one.ipynb", "x: int = 1  # a number")
    config = write_config(tmp_path / "c.yaml", {"one": {}}, compute={"cluster": {**LOCAL, "scale": 2}})
    pipeline = read_pipeline(str(config))
    assert pipeline.cluster == {**LOCAL, "scale": 2}
    (tmp_path / "again.yaml").write_text(config_text(pipeline))
    assert read_pipeline(str(tmp_path / "again.yaml")).cluster == pipeline.cluster


def test_a_stage_that_is_called_cluster_has_a_log_of_its_own():
    assert os.path.basename(running._waiting(Stage("cluster", "", {}, {}), "").log) != clusters.LOG


@pytest.mark.slow
def test_stages_share_one_cluster_and_nothing_of_it_is_left(tmp_path):
    for name in ("one", "two"):
        write_notebook(tmp_path / f"{name}.ipynb", "x: int = 1  # a number", ASKS)
    config = write_config(tmp_path / "c.yaml", {"one": {}, "two": {"after": "one"}}, compute={"cluster": LOCAL})
    run = patchmill.run(config)
    said = [shown_text(stage.executed).split() for stage in run.stages]
    assert said[0] == said[1]
    assert said[0][0].startswith("tcp://127.0.0.1:")
    assert not psutil.pid_exists(int(said[0][1]))
    assert hosts_below(tmp_path) == []
    log = Path(run.folder, "logs", clusters.LOG).read_text()
    assert said[0][0] in log
    assert "the cluster is closed" in log
    assert sorted(os.listdir(run.folder)) == [
        "config.yaml", "logs", "manifest.json", "notebooks", "report.html", "status.json",
    ]  # fmt: skip


@pytest.mark.slow
def test_a_cluster_that_can_not_be_started_ends_the_run_and_says_why(tmp_path):
    write_notebook(tmp_path / "one.ipynb", "x: int = 1  # a number")
    wrong = {**LOCAL, "arguments": {"nonsense": 1}}
    config = write_config(tmp_path / "c.yaml", {"one": {}}, compute={"cluster": wrong})
    with pytest.raises(PatchmillError, match=r"LocalCluster could not be started: RuntimeError.*cluster\.log"):
        patchmill.run(config)
    status = json.loads((tmp_path / "out" / "records" / "latest" / "status.json").read_text())
    assert (status["state"], status["exit_code"]) == ("interrupted", 1)
    assert "could not be started" in status["stages"][0]["failure"]["sentence"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_runner_that_ends_takes_its_cluster_along(tmp_path, number):
    write_notebook(tmp_path / "waits.ipynb", "x: int = 1  # a number", ASKS, "import time\ntime.sleep(600)")
    config = write_config(tmp_path / "c.yaml", {"waits": {}}, compute={"cluster": LOCAL})
    command = [sys.executable, "-m", "patchmill", "run", str(config)]
    runner = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    answers = tmp_path / "out" / "records"
    wait_until(lambda: [path for path in answers.glob("*/notebooks/waits.ipynb") if "tcp://" in path.read_text()])
    processes = [*hosts_below(tmp_path), *psutil.Process(runner.pid).children(recursive=True)]
    assert len(hosts_below(tmp_path)) >= 2
    began = time.monotonic()
    runner.send_signal(number)
    wait_until(lambda: living(processes) == [], seconds=10)
    assert time.monotonic() - began < 10
    assert runner.wait(timeout=20) == (-9 if number == signal.SIGKILL else 128 + number)


@pytest.mark.slow
def test_the_cluster_config_cuts_from_s3_to_s3(tmp_path, s3, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 60000, (1, 2, 96, 80), "uint16")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATCHMILL_SOURCE", f"{s3}/scene.zarr")
    monkeypatch.setenv("PATCHMILL_ROOT", f"{s3}/training")
    upload(stored_image(tmp_path / "scene.zarr", pixels), f"{s3}/scene.zarr")
    run = patchmill.run(
        "patchmill:cluster",
        ["patchify.patch_shape=16", "patchify.step=8", "compute.memory=1GiB", "compute.cluster.scale=1"],
    )
    assert [stage.state for stage in run.stages] == ["done"] * 3
    assert run.folder.startswith(str(tmp_path / "runs" / "cluster"))
    patches = patchmill.open_patches(f"{s3}/training/patches.zarr")
    expected = patchmill.patchify(pixels, 16, 8)
    assert len(patches) == expected.shape[2] * expected.shape[3]
    np.testing.assert_array_equal(patches[3], expected[0, :, 0, 3])
    cut = Path(run.folder, "logs", clusters.LOG).read_text()
    assert "the scheduler is at tcp://127.0.0.1" in cut
    everything = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(everything) > 8
    written = Location.parse(s3)
    for secret in SECRETS:
        assert [path for path in everything if secret.encode() in path.read_bytes()] == []
        assert [key for key, _ in written.sizes() if secret.encode() in written.read(key)] == []


@pytest.mark.slow
def test_the_limit_of_a_run_holds_while_its_cluster_starts(tmp_path):
    """A queue that gives no machines keeps nobody waiting for ever."""
    (tmp_path / "slow_cluster.py").write_text(
        "import time\nfrom distributed.deploy.cluster import Cluster\n\n\n"
        "class Slow(Cluster):\n    def __init__(self, **_):\n        time.sleep(600)\n"
    )
    write_notebook(tmp_path / "asks.ipynb", "x = 1", ASKS)
    config = write_config(
        tmp_path / "test.yaml",
        {"asks": {}},
        compute={"cluster": {"class": "slow_cluster.Slow"}},
        limit=3,
    )
    command = [sys.executable, "-m", "patchmill", "run", str(config)]
    began = time.monotonic()
    ended = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])},
    )
    assert ended.returncode == EXIT_LATE, ended.stderr
    assert "longer than its limit of 3.0 s before this stage could run" in ended.stdout + ended.stderr
    assert time.monotonic() - began < 30
    assert not living(hosts_below(tmp_path))
