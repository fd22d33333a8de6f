"""Decoding ahead: in order, within the budget, and only what headers promised."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchmill.ingesting import scenes
from patchmill.ingesting.decoding import ahead, read
from patchmill.ingesting.finding import File
from patchmill.ingesting.pairing import Candidate
from patchmill.ingesting.scenes import Recent, Scene, UnfitError


def candidate(number, load, *, rows=10, in_pieces=False):
    scene = Scene(height=rows, width=10, dtype=np.dtype("u1"), read=load, in_pieces=in_pieces, cost=1)
    return number, Candidate(File(str(number), str(number)), "", {"image": scene})


@settings(max_examples=20)
@given(st.lists(st.tuples(st.integers(1, 40), st.booleans(), st.booleans()), max_size=12), st.integers(1, 4))
def test_results_come_in_order_and_within_the_budget(images, workers):
    held, most, lock = [0], [0], threading.Lock()

    def loader(number, rows, fails):
        def load(channels, ys, xs):
            with lock:
                held[0] += rows * 10
                most[0] = max(most[0], held[0])
            time.sleep(0.001 * (number % 3))
            with lock:
                held[0] -= rows * 10
            if fails:
                raise RuntimeError(f"no {number}")
            return np.full((1, rows, 10), number, "u1")

        return load

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(workers) as pool:
        patch.setattr(scenes, "WHOLE", 0)
        made = [
            candidate(number, loader(number, rows, fails), rows=rows, in_pieces=pieces)
            for number, (rows, fails, pieces) in enumerate(images)
        ]
        found = list(ahead(pool, made, lambda: 500, lambda: None, 2 * workers))
    assert [number for number, _ in found] == list(range(len(images)))
    assert most[0] <= 500
    for (number, result), (_, fails, pieces) in zip(found, images, strict=True):
        if pieces:
            assert result == {"image": None}
        elif fails:
            assert isinstance(result, UnfitError)
            assert str(result) == f"can't be decoded: no {number}"
        else:
            assert (result["image"] == number).all()


def test_what_needs_all_the_room_waits_for_it():
    free, settled = [100], []

    def settle():
        settled.append(True)
        free[0] = 1000

    load = lambda *_: np.zeros((1, 50, 10), "u1")  # noqa: E731
    with ThreadPoolExecutor(2) as pool:
        found = list(ahead(pool, [candidate(0, load, rows=50)], lambda: free[0], settle, 4))
    assert len(found) == len(settled) == 1


@pytest.mark.parametrize("pixels", [np.zeros((1, 9, 10), "u1"), np.zeros((1, 10, 10), "u2"), np.zeros((10, 10), "u1")])
def test_pixels_that_are_not_as_promised(pixels):
    _, made = candidate(0, lambda *_: pixels)
    with pytest.raises(UnfitError, match=r"its header promised uint8 of \(1, 10, 10\)"):
        read(made.scenes["image"])


def test_what_was_opened_is_opened_once_while_it_is_recent():
    recent, opened = Recent(2), []

    def load(key):
        time.sleep(0.01)
        opened.append(key)
        return key.upper()

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: recent.get("a", lambda: load("a")), range(16))) == {"A"}
    assert opened == ["a"]
    for key in ("b", "a", "c", "a", "b"):
        assert recent.get(key, lambda key=key: load(key)) == key.upper()
    assert opened == ["a", "b", "c", "b"]
    recent.clear()
    recent.get("a", lambda: load("a"))
    assert opened[-1] == "a"
