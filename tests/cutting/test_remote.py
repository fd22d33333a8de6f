"""From any store to any store, by the same call."""

from __future__ import annotations

import os
import pickle
import uuid
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pytest
import xarray as xr
import zarr

import patchmill
from cuts import tiny_shards  # noqa: F401 - a fixture
from patchmill.cutting import tasks, workplace
from patchmill.errors import HeldError, PatchmillError, SourceError, TargetExistsError
from patchmill.sources import open_source
from patchmill.storage import ArraySpec, Location, declare, read_group

IMAGE = np.random.default_rng(0).integers(0, 60000, (2, 3, 60, 70), "uint16")


def upload(folder, place: Location) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            place.write(path.relative_to(folder).as_posix(), path.read_bytes())


def everything(place: Location) -> dict[str, bytes | None]:
    return {key: place.read(key) for key in place.keys()}  # noqa: SIM118 - not a mapping


@pytest.fixture
def stored(tmp_path):
    """A Zarr group on this disk, with labels, a mask and a text coordinate."""
    dims = ("time", "band", "y", "x")
    data = xr.Dataset(
        {"pixels": (dims, IMAGE), "mask": (("time", "y", "x"), IMAGE[:, 0] > 30000)},
        {"band": ["B02", "B03", "B04"], "y": np.arange(60) * 10.0, "time": [2, 5]},
    )
    data.to_zarr(tmp_path / "source.zarr", zarr_format=2)
    return tmp_path / "source.zarr"


@pytest.fixture(params=["s3", "memory"])
def bucket(request) -> str:
    """URL of a place that is empty."""
    return request.getfixturevalue("s3") if request.param == "s3" else f"memory://{uuid.uuid4().hex}"


def test_from_a_store_to_a_store(stored, bucket, tmp_path):
    upload(stored, Location.parse(f"{bucket}/source.zarr"))
    remote = patchmill.write_patches(f"{bucket}/source.zarr", f"{bucket}/sets/a.zarr", 16, 8)
    local = patchmill.write_patches(stored, tmp_path / "a.zarr", 16, 8)
    ps = patchmill.open_patches(f"{bucket}/sets/a.zarr")
    assert len(ps) == len(local) == len(remote)
    for name in ("pixels", "mask"):
        np.testing.assert_array_equal(ps.read([0, 40, -1])[name], local.read([0, 40, -1])[name])
        np.testing.assert_array_equal(ps.to_dask()[name].compute(), local.to_dask()[name].compute())
    xr.testing.assert_equal(ps.catalog.load(), local.catalog.load())
    xr.testing.assert_equal(
        ps.to_xarray()["pixels"].isel(time=1).load(), local.to_xarray()["pixels"].isel(time=1).load()
    )
    assert list(ps.to_xarray()["band"].values) == ["B02", "B03", "B04"]
    there, here = everything(Location.parse(f"{bucket}/sets/a.zarr")), everything(Location.parse(tmp_path / "a.zarr"))
    assert there.keys() == here.keys()
    assert {key for key in here if there[key] != here[key]} == {"zarr.json"}  # which names its source and the time
    assert list(Location.parse(f"{bucket}/sets").keys("a.zarr.patchmill")) == []


def test_views_and_plans_of_a_remote_source(stored, bucket):
    upload(stored, Location.parse(f"{bucket}/source.zarr"))
    ps = patchmill.view_patches(f"{bucket}/source.zarr", 16, variables=["pixels"])
    np.testing.assert_array_equal(ps[1], IMAGE[0, :, :16, 16:32])
    assert patchmill.plan(f"{bucket}/source.zarr", 16).patches == len(ps)
    source = open_source(f"{bucket}/source.zarr")
    assert 0.5 < source.stored_ratio(source.variables[0]) < 1.2
    source.check()
    Location.parse(f"{bucket}/source.zarr").child("pixels").delete(".zarray")
    with pytest.raises(SourceError, match="changed or vanished"):
        source.check()


def test_modes(bucket):
    target = f"{bucket}/sets/a.zarr"
    patchmill.write_patches(IMAGE, target, 16)
    before = everything(Location.parse(target))
    patchmill.write_patches(IMAGE, target, 16)
    assert everything(Location.parse(target)) == before
    for mode in ("create", "resume"):
        with pytest.raises(TargetExistsError):
            patchmill.write_patches(IMAGE, target, 8, mode=mode)
    ps = patchmill.write_patches(IMAGE, target, 20, mode="overwrite")
    np.testing.assert_array_equal(ps[0], IMAGE[0, :, :20, :20])
    assert Location.parse(f"{bucket}/sets").entries() == ["a.zarr"]
    Location.parse(f"{bucket}/other").write("mine.txt", b"!")
    with pytest.raises(TargetExistsError, match="not a patch set"):
        patchmill.write_patches(IMAGE, f"{bucket}/other", 20, mode="overwrite")
    upload_place = Location.parse(f"{bucket}/sets/source.zarr")
    for key, data in declare([ArraySpec.of("a", ("y", "x"), IMAGE[0, 0])], {}).items():
        upload_place.write(key, data)
    for inside in (f"{bucket}/sets/source.zarr/a", f"{bucket}/sets"):
        with pytest.raises(ValueError, match="outside"):
            patchmill.write_patches(upload_place.url, inside, 20)


def test_a_run_that_failed_goes_on(bucket, tiny_shards, monkeypatch):  # noqa: F811
    target, real, shards = f"{bucket}/sets/a.zarr", tasks.write_shard, []

    def third_fails(*given):
        shards.append(given[1])
        if len(shards) == 3:
            raise RuntimeError("for once")
        return real(*given)

    monkeypatch.setattr(tasks, "write_shard", third_fails)
    with pytest.raises(RuntimeError, match="for once"):
        patchmill.write_patches(IMAGE, target, 16, tuning={"inflight": 1})
    with pytest.raises(PatchmillError, match="call write_patches again, which goes on"):
        patchmill.open_patches(target)
    begun = set(shards[:2])
    ps = patchmill.write_patches(IMAGE, target, 16)
    assert not begun & set(shards[3:])
    np.testing.assert_array_equal(ps.to_dask().compute(), patchmill.patchify(IMAGE, 16, 16))


@pytest.mark.parametrize("killed_at", ["next is whole", "half of the old is gone", "half of the new is there"])
def test_a_swap_that_was_killed_is_completed(bucket, killed_at, monkeypatch):
    target = Location.parse(f"{bucket}/sets/a.zarr")
    patchmill.write_patches(IMAGE, target.url, 16)

    class Killed(BaseException):
        pass

    def kill(*_):
        if killed_at != "next is whole":
            target.delete("zarr.json")
            target.child("patches").remove()
        if killed_at == "half of the new is there":
            for key in ("patches/zarr.json", "exists/zarr.json"):
                target.write(key, target.workshop.child("next").read(key))
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr("patchmill.cutting.workplace._swap", kill)
        with pytest.raises(Killed):
            patchmill.write_patches(IMAGE, target.url, 20, mode="overwrite")
    ps = patchmill.write_patches(IMAGE, target.url, 20, mode="overwrite")
    np.testing.assert_array_equal(ps[0], IMAGE[0, :, :20, :20])
    assert target.beside("").workshop.entries() == []


@pytest.mark.parametrize("mode", ["resume", "append", "overwrite"])
@pytest.mark.parametrize("killed_at", ["all of next is there", "half of next is there"])
def test_after_a_swap_that_was_not_noted_the_next_call_leaves_nothing(bucket, killed_at, mode, monkeypatch):
    target = Location.parse(f"{bucket}/sets/a.zarr")
    patchmill.write_patches(IMAGE, target.url, 16)
    real = workplace._swap

    class Killed(BaseException):
        pass

    def kill(place):
        aside = place.workshop.child("next")
        before = everything(aside)
        real(place)
        for key in sorted(before)[3:] if killed_at == "half of next is there" else before:
            if key != "zarr.json" or killed_at == "all of next is there":
                aside.write(key, before[key])
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(workplace, "_swap", kill)
        with pytest.raises(Killed):
            patchmill.write_patches(IMAGE, target.url, 20, mode="overwrite")
    swapped = everything(target)
    ps = patchmill.write_patches(IMAGE, target.url, 20, mode=mode)
    np.testing.assert_array_equal(ps[0], IMAGE[0, :, :20, :20])
    assert everything(target) == swapped
    assert target.workshop.entries() == []


def test_no_credential_is_ever_written_or_shown(stored, s3):
    upload(stored, Location.parse(f"{s3}/source.zarr"))
    options = {"client_kwargs": {"region_name": "us-east-1"}}
    plan = patchmill.plan(f"{s3}/source.zarr", 16, storage_options=options)
    ps = patchmill.write_patches(
        f"{s3}/source.zarr", f"{s3}/a.zarr", 16, storage_options=options, target_options=options
    )
    source = open_source(f"{s3}/source.zarr")
    told = [repr(plan), repr(ps), ps._repr_html_(), repr(ps.stored), repr(source), plan.to_json()]
    told += [repr(ps.catalog), *map(repr, everything(Location.parse(f"{s3}/a.zarr")).values())]
    assert os.environ["AWS_SECRET_ACCESS_KEY"] == "SECRETNOBODYMAYSEE"
    assert [text for text in told if "NOBODYMAYSEE" in text] == []
    for secret in ({"key": "x"}, {"client_kwargs": {"aws_session_token": "x"}}):
        with pytest.raises(ValueError, match="storage_options must hold no secret"):
            patchmill.write_patches(f"{s3}/source.zarr", f"{s3}/b.zarr", 16, storage_options=secret)
        with pytest.raises(ValueError, match="target_options must hold no secret"):
            patchmill.write_patches(f"{s3}/source.zarr", f"{s3}/b.zarr", 16, target_options=secret)


def test_who_may_not_is_told_so(s3, monkeypatch):
    Location.parse(f"{s3}/a.zarr").write("zarr.json", b"{}")
    with pytest.raises(PatchmillError, match=r"PERMISSION_DENIED.*environment"):
        patchmill.open_patches(f"{s3}/a.zarr", storage_options={"anon": True})
    with pytest.raises(SourceError, match=r"nothing is at|List response"):  # the latter from tensorstore 0.1.74
        open_source("s3://no-such-bucket-here/a.zarr")


def test_other_readers_open_a_remote_set(s3, s3_endpoint):
    """zarr-python by way of fsspec, which knows nothing of patchmill."""
    pytest.importorskip("s3fs")
    ps = patchmill.write_patches(IMAGE, f"{s3}/a.zarr", 16)
    options = {"endpoint_url": s3_endpoint}
    group = zarr.open_group(f"{s3}/a.zarr", mode="r", storage_options=options)
    np.testing.assert_array_equal(group["patches"][0, :, 0, 1], ps[1])


def test_a_remote_root_is_read_once(s3):
    """All that opens a set comes from one object, so whoever writes the next generation never disturbs it."""
    patchmill.write_patches(IMAGE, f"{s3}/a.zarr", 16)
    place = Location.parse(f"{s3}/a.zarr")
    group = read_group(place)
    for key in [*place.keys()]:
        if key.endswith("zarr.json"):
            place.delete(key)
    assert group.bulk("patches").shape[0] == 2
    assert group.values("exists").all()


def test_a_source_over_http(stored, tmp_path):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/source.zarr"
        ps = patchmill.write_patches(url, tmp_path / "a.zarr", 16, variables=["pixels"])
        np.testing.assert_array_equal(ps[1], IMAGE[0, :, :16, 16:32])
        with pytest.raises(FileNotFoundError, match="nothing is at"):
            open_source(url + "s")
    finally:
        server.shutdown()
        server.server_close()


def test_a_set_travels(bucket, tmp_path):
    """To the workers of a data loader, say; not from one process's memory."""
    local = patchmill.write_patches(IMAGE, tmp_path / "a.zarr", 16)
    remote = patchmill.write_patches(IMAGE, f"{bucket}/a.zarr", 16)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(local))[3], local[3])
    if bucket.startswith("memory"):
        with pytest.raises(PatchmillError, match="memory of one process"):
            pickle.dumps(remote)
    else:
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(remote))[3], local[3])


def test_a_bucket_that_is_not_there_is_no_other_writer(s3):
    """moto, and S3 itself, refuse the first object; that reads like one that is there."""
    with pytest.raises(PatchmillError, match="is there such a bucket") as caught:
        patchmill.write_patches(np.zeros((40, 50), "uint8"), "s3://nowhere-at-all/out.zarr", 16)
    assert not isinstance(caught.value, HeldError)


@pytest.mark.parametrize("write", [patchmill.write_patches, patchmill.ingest])
def test_what_can_only_be_read_is_no_target(tmp_path, write):
    source = np.zeros((40, 50), "uint8") if write is patchmill.write_patches else "sample:"
    arguments = {"patch_shape": 16} if write is patchmill.write_patches else {}
    with pytest.raises(ValueError, match="http is only read"):
        write(source, "http://localhost:1/out.zarr", **arguments)
