"""Process clusters: the same bytes as threads, whatever dies; errors as themselves; nothing left behind."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from contextlib import ExitStack, suppress
from itertools import product

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
import zarr

import patchmill
from cuts import array_objects, stored_image, tiny_shards
from patchmill.cutting import clusters, running, workers
from patchmill.cutting.clients import TRIMMING, check_cluster, find_client
from patchmill.cutting.workers import Ticket, busy
from patchmill.errors import PatchmillError, SourceError
from patchmill.sources import open_source
from patchmill.storage import Location
from patchmill.storage.objects import THREADS

distributed = pytest.importorskip("distributed")

IMAGE = np.random.default_rng(0).integers(1, 60000, (2, 3, 120, 100), "uint16")
LOCAL = {"class": "dask.distributed.LocalCluster", "arguments": {"n_workers": 1, "threads_per_worker": 1}}
QUICK = {TRIMMING: None}
VARIABLE = TRIMMING.rpartition(".")[2]


@pytest.fixture(scope="module")
def shared():
    """Two processes of two threads, for all tests that leave them as they are."""
    with dask.config.set(QUICK), started() as cluster:
        yield cluster


def started(workers=2, threads=2):
    os.environ.pop(VARIABLE, None)  # what the nanny of another test left here would come before the configuration
    return distributed.LocalCluster(
        n_workers=workers, threads_per_worker=threads, host="127.0.0.1", dashboard_address="127.0.0.1:0"
    )


@pytest.fixture
def client(shared):
    with distributed.Client(shared) as client:
        yield client


tiny = tiny_shards  # a fixture


@pytest.fixture
def stored(tmp_path):
    return stored_image(tmp_path / "source.zarr", IMAGE)


def by_threads(tmp_path, source=IMAGE, **options):
    patchmill.write_patches(source, tmp_path / "threads", 16, 8, cluster=False, **options)
    return array_objects(tmp_path / "threads")


# -- the same bytes ----------------------------------------------------------------------------------------------------


EVERY = set(product(["stored", "numpy", "dask", "xarray", "labeled dask"], ["patches", "canvas"]))
FEW = [("stored", "canvas")]


@pytest.mark.parametrize(
    ("kind", "layout"), [*FEW, *(pytest.param(*each, marks=pytest.mark.slow) for each in sorted(EVERY.difference(FEW)))]
)
def test_every_source_gives_the_bytes_of_threads(tmp_path, tiny, stored, client, kind, layout):
    dims = ("image", "channel", "y", "x")
    lazy = da.from_array(IMAGE, chunks=(1, 3, 50, 40))
    source = {
        "stored": stored,
        "numpy": IMAGE,
        "dask": lazy,
        "xarray": xr.DataArray(IMAGE, dims=dims, name="image"),
        "labeled dask": xr.DataArray(lazy, dims=dims, name="image"),
    }[kind]
    told = []
    ps = patchmill.write_patches(source, tmp_path / "cluster", 16, 8, layout=layout, edge="pad", progress=told.append)
    assert len(ps) == told[-1].done == told[-1].total
    assert array_objects(tmp_path / "cluster") == by_threads(tmp_path, layout=layout, edge="pad")
    assert workers_did(client, tmp_path)


def workers_did(client, tmp_path):
    """Whether it was the workers who wrote: their processes know runs that have ended."""
    return sum(client.run(lambda: len(sys.modules["patchmill.cutting.workers"]._STOPPED)).values()) > 0


@pytest.mark.slow
def test_a_lazy_and_a_held_variable_together(tmp_path, tiny, client):
    dims = ("image", "channel", "y", "x")
    mask = IMAGE[:, 0] > 30000
    held = xr.Dataset({"pixels": (dims, IMAGE), "mask": (("image", "y", "x"), mask)})
    mixed = held.assign(pixels=held.pixels.chunk({"y": 50, "x": 40}))
    patchmill.write_patches(mixed, tmp_path / "cluster", 16, 8)
    assert array_objects(tmp_path / "cluster") == by_threads(tmp_path, held)


@pytest.mark.slow
def test_functions_of_a_notebook_travel(tmp_path, tiny, stored, client):
    offset = 7

    def shifted(patches):
        return patches // 2 + offset

    shifted.pointwise = True
    options = {"transform": shifted, "keep": lambda patches: patches.max(axis=(1, 2, 3)) > 29990, "dtype": "uint16"}
    ps = patchmill.write_patches(stored, tmp_path / "cluster", 16, 8, **options)
    assert len(ps)
    assert array_objects(tmp_path / "cluster") == by_threads(tmp_path, stored, **options)


@pytest.mark.slow
def test_functions_of_a_script_and_a_cluster_that_is_started_for_it(tmp_path, stored):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(f"""
        import numpy as np, psutil, patchmill

        def half(patches):
            return patches // 2

        half.pointwise = True

        if __name__ == "__main__":
            cluster = {{"class": "dask.distributed.LocalCluster", "arguments": {{"n_workers": 0}}, "scale": 2}}
            source, target = {str(stored)!r}, {str(tmp_path / "out")!r}
            ps = patchmill.write_patches(source, target, 16, transform=half, cluster=cluster)
            print(len(ps), int(ps[0].max()), len([p for p in psutil.Process().children(recursive=True)
                                                  if "spawn_main" in " ".join(p.cmdline())]))
    """)
    )
    ended = subprocess.run([sys.executable, "-W", "error", script], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == [str(2 * 7 * 6), str(int(IMAGE[0, :, :16, :16].max() // 2)), "0"]


@pytest.mark.slow
def test_to_an_object_store(tmp_path, tiny, stored, s3):
    patchmill.write_patches(stored, f"{s3}/set.zarr", 16, 8, cluster=LOCAL)  # a worker that gets this environment
    place, local = Location.parse(f"{s3}/set.zarr"), by_threads(tmp_path, stored)
    assert {key: place.read(key) for key in place.keys() if key != "zarr.json"} == local  # noqa: SIM118
    assert not list(place.workshop.keys())


# -- which cluster -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["environment", "config"])
def test_an_address_is_used(tmp_path, tiny, shared, monkeypatch, way):
    with ExitStack() as stack:
        if way == "environment":
            monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", shared.scheduler_address)
        else:
            stack.enter_context(dask.config.set({"scheduler-address": shared.scheduler_address}))
        seen, close = [], clusters.Cluster.close
        monkeypatch.setattr(clusters.Cluster, "close", lambda self: seen.append(self.client) or close(self))
        patchmill.write_patches(IMAGE, tmp_path / "out", 16)
        assert [each.status for each in seen] == ["closed"]
        with pytest.raises(ValueError, match="No client"):  # what was made here is nobody's default
            distributed.default_client()


def test_an_address_where_nobody_answers(tmp_path, monkeypatch):
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", "tcp://127.0.0.1:9")
    with dask.config.set({"distributed.comm.timeouts.connect": "500ms"}), pytest.raises(PatchmillError) as caught:
        patchmill.write_patches(IMAGE, tmp_path / "out", 16)
    assert str(caught.value).startswith("no Dask scheduler answers at tcp://127.0.0.1:9")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "cluster takes class, arguments and scale, such as"),
        ({"class": "a.B", "workers": 3}, "got workers"),
        ({"class": "no_such_package.Cluster"}, "can't be imported"),
        ({"class": "dask.distributed.NoCluster"}, "can't be imported"),
        ("tcp://1.2.3.4:8786", "cluster must be a mapping with a class"),
    ],
)
def test_a_cluster_that_is_none_is_a_sentence(given, sentence):
    with ExitStack() as stack, pytest.raises(ValueError, match=sentence):
        find_client(check_cluster(given), stack)


def test_what_is_started_here_ends_and_leaves_the_configuration():
    before, environ = dask.config.get(TRIMMING), os.environ.get(VARIABLE)
    with ExitStack() as stack:
        client = find_client(LOCAL, stack)
        [seen] = client.run(os.environ.get, VARIABLE).values()
        address = client.scheduler.address
    assert seen is None
    assert address.startswith("tcp://127.0.0.1:")
    assert client.status == "closed"
    assert dask.config.get(TRIMMING) == before
    assert os.environ.get(VARIABLE) == environ


def test_a_users_client_is_left_as_it_was(tmp_path, tiny, client):
    mine = client.submit(lambda: 5)
    patchmill.write_patches(IMAGE, tmp_path / "out", 16, 8)
    assert client.status == "running"
    assert mine.result() == 5
    assert left_on(client) == {mine.key}


@pytest.mark.slow
def test_a_call_inside_a_task_cuts_with_threads_of_its_worker(tmp_path, tiny, stored):
    def cut(target):
        return len(patchmill.write_patches(str(stored), target, 16, 8, workers=2))

    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        targets = [str(tmp_path / name) for name in ("a", "b")]
        cutting = client.map(cut, targets, pure=False)
        distributed.wait(cutting, timeout=60)
        assert client.gather(cutting) == [2 * 14 * 11] * 2
        del cutting
        assert not [key for key in left_on(client) if str(key).startswith("patchmill")]
    assert array_objects(tmp_path / "a") == array_objects(tmp_path / "b") == by_threads(tmp_path, stored)


def test_a_plan_with_an_asynchronous_client_is_made_and_cutting_says_the_way_out(tmp_path, stored):
    async def with_a_client():
        async with distributed.Client(processes=False, dashboard_address="127.0.0.1:0", asynchronous=True):
            planned = patchmill.plan(stored, 16, 8), patchmill.plan(stored, 16, 8, cluster=False)
            with pytest.raises(PatchmillError, match=r"is asynchronous, .* or pass cluster=False"):
                patchmill.write_patches(stored, tmp_path / "out", 16, 8)
            return *planned, len(patchmill.write_patches(stored, tmp_path / "out", 16, 8, cluster=False))

    on_workers, here, written = asyncio.run(with_a_client())
    assert on_workers.patches == here.patches == written


def test_a_plan_for_a_cluster_starts_none_and_checks_its_form():
    never = {"class": "no_such_package.Cluster"}
    assert patchmill.plan(IMAGE, 16, cluster=never).patches == 2 * 7 * 6
    with pytest.raises(ValueError, match="cluster must be a mapping"):
        patchmill.plan(IMAGE, 16, cluster="tcp://1.2.3.4:8786")


def test_no_threads_of_a_run_stay_in_the_workers(tmp_path, tiny, client):
    patchmill.write_patches(IMAGE, tmp_path / "out", 16, 8)
    until = time.monotonic() + 5
    while any(client.run(threads_of_runs).values()) and time.monotonic() < until:
        time.sleep(0.1)
    assert set(client.run(threads_of_runs).values()) == {0}


def threads_of_runs():
    pools = sys.modules["patchmill.cutting.workers"]._POOLS
    return len(pools) + sum(each.name.startswith("patchmill") for each in threading.enumerate())


def left_on(client):
    """Keys that the scheduler knows, once it has settled."""
    for _ in range(50):
        keys = set(client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.tasks)))
        if not any(str(key).startswith("patchmill") for key in keys):
            break
        time.sleep(0.1)
    return keys


def test_memory_of_this_process_is_no_target(client):
    with pytest.raises(PatchmillError, match="memory://here/set lies in the memory of this process") as caught:
        patchmill.write_patches(IMAGE, "memory://here/set", 16)
    assert "cluster=False" in str(caught.value)
    assert len(patchmill.write_patches(IMAGE, "memory://here/set", 16, cluster=False)) == 2 * 7 * 6


def test_workers_that_trim_are_warned_of_once_at_the_callers_line(tmp_path):
    with (
        dask.config.set({TRIMMING: 65536}),
        started(1, 1) as cluster,
        distributed.Client(cluster),
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always")
        patchmill.write_patches(IMAGE, tmp_path / "out", 16)
    [warning] = [each for each in caught if "MALLOC_TRIM" in str(each.message)]
    assert issubclass(warning.category, da.PerformanceWarning)
    assert warning.filename == __file__
    assert TRIMMING in str(warning.message)


def test_workers_that_may_hold_too_little_are_told_of(tmp_path):
    with (
        dask.config.set(QUICK),
        distributed.LocalCluster(
            n_workers=1, memory_limit="150MiB", host="127.0.0.1", dashboard_address="127.0.0.1:0"
        ) as cluster,
        distributed.Client(cluster),
        pytest.raises(PatchmillError, match="and one may hold"),
    ):
        patchmill.write_patches(IMAGE, tmp_path / "out", 16)


@pytest.mark.slow
def test_one_that_comes_later_is_looked_at_too(tmp_path, tiny, stored, monkeypatch):
    monkeypatch.setattr(clusters, "_LOOK", 0.1)
    come = []

    def slowly(patches):
        time.sleep(0.3)
        return patches

    def progress(_):
        if not come:
            cluster.new_spec["options"]["memory_limit"] = "150MiB"
            come.append(cluster.scale(2))

    with (
        dask.config.set(QUICK),
        started(1, 1) as cluster,
        distributed.Client(cluster),
        pytest.raises(PatchmillError, match="and one may hold 150 MiB"),
    ):
        patchmill.write_patches(stored, tmp_path / "out", 16, 8, transform=slowly, progress=progress)


# -- errors ------------------------------------------------------------------------------------------------------------


def test_an_error_in_a_task_is_itself_and_the_others_end(tmp_path, tiny, stored, client):
    def fails(patches):
        if patches.max() > 59000:
            raise RuntimeError("no more")
        time.sleep(0.2)
        return patches

    fails.pointwise = True
    with pytest.raises(PatchmillError, match=r"fails failed: RuntimeError: no more") as caught:
        patchmill.write_patches(stored, tmp_path / "out", 16, 8, transform=fails)
    assert type(caught.value) is PatchmillError
    assert_nothing_goes_on(client, tmp_path / "out")


def assert_nothing_goes_on(client, target):
    assert not any(client.run(lambda: sum(sys.modules[busy.__module__]._BUSY.values())).values())
    before = array_objects(target)
    assert left_on(client) == set()
    time.sleep(0.5)
    assert array_objects(target) == before


def test_a_value_that_does_not_fit_is_a_value_error(tmp_path, tiny, stored, client):
    with pytest.raises(ValueError, match="uint8"):
        patchmill.write_patches(stored, tmp_path / "out", 16, 8, dtype="uint8")


def test_a_source_that_changes_is_seen_by_the_workers(tmp_path, tiny, stored, client):
    gone = []

    def watch(*_):
        if not gone:
            zarr.open_array(stored).attrs["changed"] = True
            gone.append(1)

    with pytest.raises(SourceError, match="changed or vanished"):
        patchmill.write_patches(stored, tmp_path / "out", 16, 8, progress=watch)


def test_a_chunk_that_vanished_before_a_worker_opened_the_source_is_no_fill(stored):
    sent = pickle.dumps(open_source(stored))
    time.sleep(0.05)
    (stored / "c/1/0/2/2").unlink()
    time.sleep(0.05)
    there = pickle.loads(sent)
    region = (slice(1, 2), slice(0, 3), slice(64, 96), slice(64, 96))
    with pytest.raises(SourceError, match="changed or vanished"):
        there.read(there.variables[0], region)


@pytest.mark.slow
def test_an_interrupted_run_ends_soon_and_goes_on(tmp_path, tiny, stored, client):
    def slow(patches):
        time.sleep(0.05)
        return patches

    slow.pointwise = True

    def watch(how_far):
        if how_far.done > 30:
            raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        patchmill.write_patches(stored, tmp_path / "out", 16, 8, transform=slow, progress=watch)
    assert time.monotonic() - began < 15
    assert_nothing_goes_on(client, tmp_path / "out")
    told = []
    patchmill.write_patches(stored, tmp_path / "out", 16, 8, transform=slow, progress=told.append)
    assert told[0].done > 30
    assert array_objects(tmp_path / "out") == by_threads(tmp_path, stored, transform=slow)


# -- deaths ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["stored", "numpy", "dask"])
def test_workers_that_are_killed_change_nothing(tmp_path, tiny, stored, kind):
    source = {"stored": stored, "numpy": IMAGE, "dask": da.from_array(IMAGE, chunks=(1, 3, 50, 40))}[kind]

    def slow(patches):
        time.sleep(0.02)
        return patches

    slow.pointwise = True
    random, told, killed = np.random.default_rng(3), [], []
    with (
        dask.config.set(QUICK),
        started(2, 1) as cluster,
        distributed.Client(cluster) as client,
        killing(cluster, random, killed),
    ):
        ps = patchmill.write_patches(
            source, tmp_path / "out", 16, 8, transform=slow, progress=lambda far: told.append(far.done)
        )
        assert len(ps) == told[-1]
        assert told == sorted(told)
        assert left_on(client) == set()
    assert len(killed) >= 2
    assert array_objects(tmp_path / "out") == by_threads(tmp_path, source, transform=slow)


class killing:  # noqa: N801 - reads as a verb
    """Kill a worker now and then, up to four of them, while the block runs."""

    def __init__(self, cluster, random, killed):
        self.cluster, self.random, self.killed = cluster, random, killed
        self.end, self.thread = threading.Event(), threading.Thread(target=self._kill)

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *_):
        self.end.set()
        self.thread.join()

    def _kill(self):
        while len(self.killed) < 4 and not self.end.wait(self.random.uniform(0.3, 1.5)):
            pids = [nanny.pid for nanny in self.cluster.workers.values() if nanny.pid]
            if pids:
                with suppress(ProcessLookupError):
                    os.kill(int(self.random.choice(pids)), signal.SIGKILL)
                    self.killed.append(1)


@pytest.mark.slow
def test_a_shard_that_kills_every_worker_is_an_error_in_the_end(tmp_path, tiny, stored):
    def deadly(patches):
        os.kill(os.getpid(), signal.SIGKILL)

    settings = QUICK | {"distributed.scheduler.allowed-failures": 1}
    with (
        dask.config.set(settings),
        started(1, 1) as cluster,
        distributed.Client(cluster),
        pytest.raises(PatchmillError, match="died, one after the other"),
    ):
        patchmill.write_patches(stored, tmp_path / "out", 16, 8, keep=deadly)
    with pytest.raises(PatchmillError):
        patchmill.open_patches(tmp_path / "out")


@pytest.mark.slow
def test_no_worker_for_long_is_an_error_and_the_set_can_be_finished(tmp_path, tiny, stored, monkeypatch):
    monkeypatch.setattr(clusters, "_LOOK", 0.3)

    def watch(how_far):
        if how_far.done > 50 and not gone:
            gone.append(cluster.scale(0))

    gone = []
    settings = QUICK | {"patchmill.worker-timeout": "2s"}
    with dask.config.set(settings), started(1, 1) as cluster, distributed.Client(cluster) as client:
        with pytest.raises(PatchmillError, match=r"no worker of the cluster at tcp://127\.0\.0\.1"):
            patchmill.write_patches(stored, tmp_path / "out", 16, 8, progress=watch)
        began = time.monotonic()
        with pytest.raises(PatchmillError, match="no worker"):
            patchmill.write_patches(stored, tmp_path / "out", 16, 8)
        assert time.monotonic() - began < 2 + running._PATIENCE + clusters._DRAIN + 5
        cluster.scale(1)
        client.wait_for_workers(1)
        told = []
        patchmill.write_patches(stored, tmp_path / "out", 16, 8, progress=lambda far: told.append(far.done))
        assert told[0] > 50
    assert array_objects(tmp_path / "out") == by_threads(tmp_path, stored)


# -- memory ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_worker_of_many_threads_keeps_the_plans_memory(tmp_path):
    image = np.random.default_rng(1).integers(0, 200, (1, 4, 3072, 3072), "uint16")  # packs, as pictures do
    source = zarr.create_array(tmp_path / "source.zarr", shape=image.shape, chunks=(1, 4, 512, 512), dtype="uint16")
    source[...] = image
    how = {"memory": "4GiB", "workers": 1, "tuning": {"inflight": 1, "cache": "24MiB"}}
    # In a process of its own: a plan counts what its process holds already, and this one has run other tests.
    code = "import sys, patchmill; print(patchmill.plan(sys.argv[1], 256, 64, **eval(sys.argv[2])).memory)"
    command = [sys.executable, "-c", code, str(tmp_path / "source.zarr"), repr(how)]
    planned = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    with (
        dask.config.set(QUICK),
        started(1, 8) as cluster,
        distributed.Client(cluster) as client,
    ):
        patchmill.write_patches(tmp_path / "source.zarr", tmp_path / "out", 256, 64, **how)
        [peak] = client.run(peak_bytes).values()
    worker = 100 << 20  # what Dask's worker holds beside ours
    assert peak < planned + worker, (peak >> 20, planned >> 20)


def peak_bytes():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))


def test_no_more_tasks_at_a_time_than_ordered():
    ticket, most, now, lock = Ticket("test", 2), [], [], threading.Lock()

    def work():
        with lock:
            now.append(1)
            most.append(len(now))
        time.sleep(0.01)
        with lock:
            now.pop()
        yield from "ab"

    threads = [threading.Thread(target=lambda: found.append(ticket.run(work))) for _ in range(8)]
    found = []
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 2
    assert found == [["a", "b"]] * 8
    assert busy("test") == 0
    workers.stop("test")
    assert ticket.run(work) == []


def test_a_run_that_is_busy_keeps_its_threads_and_idle_ones_make_room(monkeypatch):
    monkeypatch.setattr(workers, "_KNOWN", 2)
    began, go_on = threading.Event(), threading.Event()

    def wait():
        began.set()
        go_on.wait(10)
        yield "a"

    live = Ticket("live", 1)
    thread = threading.Thread(target=live.run, args=(wait,))
    thread.start()
    began.wait(10)
    pool = workers._POOLS["live"]
    for name in "bcd":
        assert Ticket(name, 1).run(lambda: iter("x")) == ["x"]
    assert workers._POOLS["live"] is pool
    assert list(workers._POOLS) == ["live", "d"]
    go_on.set()
    thread.join()
    for name in ("live", "d"):
        workers.end(name)
    assert not workers._POOLS
    assert not workers._BUSY
    assert live.run(lambda: iter("x")) == []


def limits_of_copying():
    from patchmill.storage.objects import shared_context

    return os.environ.get(THREADS), shared_context()["data_copy_concurrency"].to_json().get("limit")


@pytest.mark.slow
def test_each_worker_process_packs_with_its_own_threads_and_this_one_as_before(stored, tmp_path, capfd):
    before = limits_of_copying()
    with dask.config.set(QUICK), started(3, 1) as cluster, distributed.Client(cluster) as client:
        patchmill.write_patches(stored, tmp_path / "out", 16, 8)
        assert set(client.run(limits_of_copying).values()) == {("1", 1)}
    assert "Run Failed" not in capfd.readouterr().err
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0"
        ) as cluster,
        distributed.Client(cluster),
    ):
        patchmill.write_patches(stored, tmp_path / "inside", 16, 8)
    assert limits_of_copying() == before
