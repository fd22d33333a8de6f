"""Folders of kernels' sockets: those of processes that are gone are removed, and no others."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from patchmill.stages import sockets
from patchmill.stages.records import this_runner
from patchmill.stages.sockets import remove_left, socket_folder

GONE = {"began": "another time"}


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch) -> Path:
    """Where such folders are made."""
    monkeypatch.setattr(sockets, "_short_folder", lambda: str(tmp_path))
    return tmp_path


def left(where: Path, name: str, **changed) -> Path:
    """A folder that a process like this one has left."""
    folder = where / name
    folder.mkdir()
    (folder / "owner.json").write_text(json.dumps(asdict(replace(this_runner(), **changed))))
    return folder


def fail(folder: str) -> None:
    raise RuntimeError(folder)


def test_a_folder_is_there_for_its_process_and_gone_at_the_end_whatever_happens(place):
    with socket_folder() as folder:
        remove_left()
        assert Path(folder).is_dir()
    with pytest.raises(RuntimeError), socket_folder() as folder:
        fail(folder)
    assert os.listdir(place) == []


def test_what_a_process_left_that_is_gone_is_removed(place):
    (left(place, "pm-a", **GONE) / "kernel.json").touch()
    remove_left()
    assert os.listdir(place) == []


@pytest.mark.parametrize("changed", [{}, {**GONE, "place": "elsewhere"}, {**GONE, "place": ""}, {"pid": 10**30}])
def test_what_may_belong_to_a_living_process_stays(place, changed):
    folder = left(place, "pm-a", **changed)
    remove_left()
    assert folder.is_dir()


def test_what_is_not_ours_stays(place):
    left(place, "other", **GONE)
    (place / "pm-b").mkdir()
    (left(place, "pm-c", **GONE) / "owner.json").write_text("{")
    (place / "pm-d").touch()
    target = left(place, "far", **GONE)
    (place / "pm-e").symlink_to(target)
    before = sorted(place.rglob("*"))
    remove_left()
    assert sorted(place.rglob("*")) == before
