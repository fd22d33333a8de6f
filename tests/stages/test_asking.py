"""A store that does not answer is not waited for, nor asked again at once."""

from __future__ import annotations

import threading
import time

import pytest

from patchmill.stages import asking
from patchmill.stages.asking import answer_of


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(asking, "_PATIENCE", 0.2)
    monkeypatch.setattr(asking, "_SILENT", {})


def test_what_is_answered_is_returned_and_what_fails_is_raised(impatient):
    assert answer_of("s3://bucket/a", lambda: b"x") == b"x"
    with pytest.raises(ZeroDivisionError):
        answer_of("s3://bucket/a", lambda: 1 / 0)


def test_who_does_not_answer_is_asked_once(impatient, monkeypatch):
    end, asked = threading.Event(), []

    def ask():
        asked.append(1)
        end.wait(20)

    began = time.monotonic()
    for _ in range(5):
        with pytest.raises(TimeoutError):
            answer_of("s3://bucket/a", ask)
    assert time.monotonic() - began < 10
    assert len(asked) == 1
    assert answer_of("s3://other/a", lambda: 3) == 3
    monkeypatch.setattr(asking, "_QUIET", 0)
    assert answer_of("s3://bucket/b", lambda: 4) == 4
    end.set()
