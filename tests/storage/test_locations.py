"""One class of places: the same verbs mean the same on a disk, in an object store and in memory."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import threading
import uuid

import numpy as np
import pytest
import tensorstore as ts
import zarr

import patchmill
from patchmill.errors import PatchmillError, SourceError
from patchmill.storage import Location
from patchmill.storage.options import translate


@pytest.fixture(params=["local", "s3", "memory"])
def place(request, tmp_path) -> Location:
    """An empty place that can be written."""
    match request.param:
        case "local":
            return Location.parse(tmp_path / "some" / "place")
        case "s3":
            return Location.parse(f"{request.getfixturevalue('s3')}/some/place")
        case _:
            return Location.parse(f"memory://{uuid.uuid4().hex}/place")


def test_objects(place):
    assert place.is_empty()
    assert not place.exists()
    assert place.read("a/b") is None
    place.make()
    place.write("a/b", b"one")
    place.write("a/b", b"two!")
    place.write("c", b"")
    assert place.read("a/b") == b"two!"
    assert place.read("a") is None
    assert sorted(place.keys()) == ["a/b", "c"]
    assert list(place.keys("a")) == ["a/b"]
    assert dict(place.sizes()) == {"a/b": 4, "c": 0}
    assert place.entries() == ["a", "c"]
    assert place.exists()
    assert not place.is_empty()
    assert place.child("a").read("b") == b"two!"
    place.delete("c")
    place.delete("c")
    assert list(place.keys()) == ["a/b"]
    place.child("a/b").remove()
    assert list(place.keys()) == []


def test_neighbors_with_a_longer_name_are_others(place):
    """An object store knows prefixes, not folders: "place" is also how "place.patchmill" begins."""
    place.write("zarr.json", b"{}")
    place.workshop.write("request.json", b"{}")
    assert list(place.keys()) == ["zarr.json"]
    place.remove()
    assert not place.exists()
    assert place.workshop.read("request.json") == b"{}"
    assert place.workshop.url == f"{place.url}.patchmill"


def test_only_one_of_many_writes_a_new_object(place):
    wrote = []
    barrier = threading.Barrier(8)

    def compete(number: int) -> None:
        barrier.wait()
        wrote.append((place.write_new("lease", str(number).encode()), number))

    threads = [threading.Thread(target=compete, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = [number for done, number in wrote if done]
    assert place.read("lease") == str(winner).encode()
    assert not place.write_new("lease", b"late")
    assert place.entries() == ["lease"]
    place.delete("lease")
    assert place.write_new("lease", b"next")


def test_a_disk_without_hard_links(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", refuse)
    place = Location.parse(tmp_path)
    assert place.write_new("lease", b"one")
    assert not place.write_new("lease", b"two")
    assert place.read("lease") == b"one"
    assert place.entries() == ["lease"]


def test_a_folder_that_does_not_let_look_into_it_is_one_sentence(tmp_path, monkeypatch):
    """Told by the calls of the system: who is root may look into anything."""
    place, real = Location.parse(tmp_path), os.scandir
    place.write("a/b", b"1")

    def refuse(path):
        if os.fspath(path).endswith("/a"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    with monkeypatch.context() as patch:
        patch.setattr("os.scandir", refuse)
        for look in (place.keys, place.sizes):
            with pytest.raises(SourceError, match=rf"^{tmp_path}/a can't be read: Permission denied$"):
                list(look())
    (tmp_path / "a/c").symlink_to("c")  # a link that leads to itself has no size
    with pytest.raises(SourceError, match=f"^{tmp_path}/a/c can't be read: Too many levels of symbolic links$"):
        list(place.sizes())


def test_a_move_takes_everything(place):
    other = place.beside(".moved")
    for number in range(70):
        place.write(f"c/{number}", bytes([number]))
    place.write("zarr.json", b"root")
    place.move_to(other)
    assert not place.exists()
    assert len(list(other.keys())) == 71
    assert other.read("c/69") == bytes([69])


@pytest.mark.parametrize("step", range(5))
def test_a_move_that_was_killed_goes_on(step, monkeypatch):
    """Whichever write was the last one: one of the two places is whole, and the same call ends it."""
    place = Location.parse(f"memory://{uuid.uuid4().hex}/from")
    other = place.beside(".to")
    everything = {"a": b"1", "b": b"2", "c": b"3", "zarr.json": b"root"}
    for key, data in everything.items():
        place.write(key, data)
    copied = ["a", "b", "c", "zarr.json"][:step]
    for key in copied:
        other.write(key, everything[key])
    if step == 4:
        place.delete("zarr.json")
        place.delete("b")
    place.move_to(other)
    assert {key: other.read(key) for key in other.keys()} == everything  # noqa: SIM118 - not a mapping
    assert not place.exists()


def test_a_whole_bucket_is_never_deleted(s3):
    place = Location.parse(s3)
    place.write("x", b"1")
    with pytest.raises(PatchmillError, match="whole bucket"):
        place.remove()
    with pytest.raises(PatchmillError, match="beside"):
        _ = place.workshop
    assert list(place.keys()) == ["x"]


def test_it_is_small_hashable_and_travels(tmp_path, s3):
    for place in (Location.parse(tmp_path), Location.parse(f"{s3}/a")):
        again = pickle.loads(pickle.dumps(place))
        assert again == place
        assert hash(again) == hash(place)
        assert len(pickle.dumps(place)) < 400
    with pytest.raises(PatchmillError, match="memory of one process"):
        pickle.dumps(Location.parse("memory://here/a"))


def test_no_credential_is_ever_part_of_it(s3):
    place = Location.parse(f"{s3}/a", options={"client_kwargs": {"region_name": "us-east-1"}})
    place.write("x", b"1")
    told = f"{place!r} {place} {place.kvstore} {place.store()!r}".encode() + pickle.dumps(place)
    assert b"NOBODYMAYSEE" not in told


def test_another_process_reaches_it(s3):
    place = Location.parse(f"{s3}/a")
    place.write("x", b"1")
    script = "import pickle, sys; print(pickle.load(sys.stdin.buffer).read('x'))"
    done = subprocess.run(
        [sys.executable, "-c", script], input=pickle.dumps(place), capture_output=True, check=True, timeout=60
    )
    assert done.stdout.decode().strip() == "b'1'"
    assert done.stderr == b""


def test_a_profile_names_the_credentials(s3, tmp_path, monkeypatch):
    place = Location.parse(f"{s3}/a")
    place.write("x", b"1")
    (tmp_path / "credentials").write_text("[lab]\naws_access_key_id = A\naws_secret_access_key = B\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    assert Location.parse(f"{s3}/a", options={"profile": "lab"}).read("x") == b"1"


def test_free_bytes_are_those_of_the_disk(tmp_path):
    assert Location.parse(tmp_path / "not" / "there" / "yet").free() > 0
    assert Location.parse("memory://a/b").free() is None
    with pytest.raises(PatchmillError, match="no folder on a local disk"):
        _ = Location.parse("s3://bucket/x").path


def test_zarr_opens_what_lies_there(place):
    data: dict = {}
    root = zarr.create_group(zarr.storage.MemoryStore(data), attributes={"a": 1})
    root.create_array("n", data=np.arange(7), chunks=(3,), shards=(6,))
    for key, value in data.items():
        place.write(key, value.to_bytes())
    group = zarr.open_group(place.store(), mode="r")
    assert list(group.array_keys()) == ["n"]
    np.testing.assert_array_equal(group["n"][2:5], [2, 3, 4])
    with pytest.raises(ValueError, match="read-only"):
        group["n"][0] = 1


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "path or a URL"),
        ("s3://", "s3://bucket/folder"),
        ("s3://bucket/../other", "s3://bucket/folder"),
        ("ftp://host/x", "ftp://.*mount"),
        ("s3://AKID:hush@bucket/x", "no user"),
        ("https://host/x?X-Amz-Signature=hush", "no \\?"),
        ("back\\slash", "backslash"),
        ("file://runs/x.zarr", "file:///folder.*'runs'"),
        ("file://me:hush@there/x.zarr", "file:///folder.*'there'"),
        ("file:///tmp/a#1.zarr", "%23"),
        ("file:///tmp/a?b.zarr", "%3F"),
        ("file:///tmp/a#", "%23"),
        ("file:///tmp/a?", "%3F"),
    ],
)
def test_places_that_can_not_be(url, words):
    with pytest.raises(ValueError, match=words) as caught:
        Location.parse(url)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("file:///tmp/a.zarr", "/tmp/a.zarr"),
        ("file:/tmp/a.zarr", "/tmp/a.zarr"),
        ("file://localhost/tmp/a.zarr", "/tmp/a.zarr"),
        ("file:///tmp/a%231%3f%20%C3%A4%25.zarr", "/tmp/a#1? ä%.zarr"),
        ("/tmp/a#1?.zarr", "/tmp/a#1?.zarr"),
    ],
)
def test_urls_of_files(url, path):
    assert Location.parse(url).inside == path


@pytest.mark.parametrize(
    ("scheme", "options", "members"),
    [
        ("s3", None, {}),
        ("s3", {"anon": True}, {"aws_credentials": {"type": "anonymous"}}),
        ("s3", {"anon": False, "profile": "lab"}, {"aws_credentials": {"type": "profile", "profile": "lab"}}),
        ("s3", {"endpoint_url": "https://minio:9000/"}, {"endpoint": "https://minio:9000"}),
        (
            "s3",
            {"client_kwargs": {"endpoint_url": "http://h:1", "region_name": "eu"}},
            {"endpoint": "http://h:1", "aws_region": "eu"},
        ),
        ("s3", {"requester_pays": True, "key": None}, {"requester_pays": True}),
        ("gs", {"project": "p"}, {"gcs_user_project": {"project_id": "p"}}),
        ("file", {}, {}),
    ],
)
def test_options_are_translated(scheme, options, members, monkeypatch):
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    assert translate(scheme, options, "storage_options") == members


def test_google_cloud_storage_is_reached_by_its_driver():
    place = Location.parse("gs://some-bucket/a/b", options={"project": "payer"})
    assert place.kvstore == {
        "driver": "gcs",
        "bucket": "some-bucket",
        "path": "a/b/",
        "gcs_user_project": {"project_id": "payer"},
    }
    assert ts.KvStore.Spec(place.kvstore).to_json()["bucket"] == "some-bucket"
    assert place.child("c").url == "gs://some-bucket/a/b/c"


def test_the_environment_names_the_endpoint(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://general:1")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert translate("s3", None, "storage_options") == {"endpoint": "http://general:1", "aws_region": "eu-west-1"}
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://special:1")
    assert translate("s3", {"region": "us"}, "storage_options") == {"endpoint": "http://special:1", "aws_region": "us"}
    assert translate("s3", {"endpoint_url": "http://own:1"}, "storage_options")["endpoint"] == "http://own:1"


@pytest.mark.parametrize(
    ("scheme", "options", "words"),
    [
        ("s3", {"key": "hush"}, "no secret.*'key'"),
        ("s3", {"secret": "hush"}, "no secret"),
        ("s3", {"client_kwargs": {"aws_secret_access_key": "hush"}}, "'aws_secret_access_key'"),
        ("gs", {"token": "hush"}, "'token'"),
        ("file", {"password": "hush"}, "'password'"),
        ("s3", {"endpoint_url": "https://me:hush@minio"}, "no user"),
        ("s3", {"endpoint_url": "minio"}, "URL such as"),
        ("s3", {"anno": True}, "anon, endpoint_url.*'anno'"),
        ("s3", {"anon": "yes"}, "true or false"),
        ("file", {"anon": True}, "none, got 'anon'"),
    ],
)
def test_options_that_can_not_be(scheme, options, words):
    with pytest.raises(ValueError, match=words) as caught:
        translate(scheme, options, "storage_options")
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("call", "called"),
    [
        (lambda **options: patchmill.open_patches("s3://a/b", **options), "storage_options"),
        (lambda **options: patchmill.view_patches("s3://a/b", 8, **options), "storage_options"),
        (lambda **options: patchmill.verify("s3://a/b", **options), "target_options"),
        (lambda **options: patchmill.write_patches(np.zeros((9, 9)), "s3://a/b", 8, **options), "target_options"),
    ],
)
@pytest.mark.parametrize("wrong", [{"foo": 1}, {"anon": "yes"}, {"key": "hush"}])
def test_options_are_named_as_the_caller_named_them(call, called, wrong):
    with pytest.raises(ValueError, match=rf"^{called}\b"):
        call(**{called: wrong})


def test_a_place_over_http_is_read_only(tmp_path, s3, s3_endpoint):
    """The same bucket, anybody may read, by plain HTTP."""
    import boto3

    place = Location.parse(f"{s3}/a")
    place.write("zarr.json", json.dumps({"zarr_format": 3, "node_type": "group"}).encode())
    bucket = s3.partition("://")[2]
    boto3.client("s3").put_object_acl(Bucket=bucket, Key="a/zarr.json", ACL="public-read")
    plain = Location.parse(f"{s3_endpoint}/{bucket}/a")
    assert plain.read("zarr.json")
    assert plain.exists()
    with pytest.raises(PatchmillError, match="can't be written"):
        plain.write("x", b"1")
    with pytest.raises(PatchmillError, match="can't be read"):
        list(plain.keys())


@pytest.mark.parametrize("name", ["y" * 246, "é" * 123])
def test_a_name_leaves_room_for_what_lies_beside(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pixels = np.zeros((9, 9))
    for call in (lambda: patchmill.write_patches(pixels, name, 8), lambda: patchmill.ingest("sample:", name)):
        with pytest.raises(
            ValueError, match=r"^target must have a name of at most 245 bytes, got one of 246: shorten it$"
        ):
            call()
    assert not list(tmp_path.iterdir())
    patchmill.write_patches(pixels, name[1:], 8)
    assert patchmill.verify(name[1:]).ok


def test_a_path_that_is_no_text_is_refused():
    with pytest.raises(ValueError, match="target must be a path in UTF-8"):
        Location.parse(os.fsdecode(b"set\xff.zarr"))
