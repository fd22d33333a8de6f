"""Freed memory goes back when somebody else used it, and stays for the next run when we did."""

from __future__ import annotations

import pytest

from patchmill.storage import heap

MIB = 2**20
STEP = 32 * MIB


class Process:
    """A process that holds bytes in use, and freed ones that `trim` gives back."""

    def __init__(self):
        self.used, self.freed, self.trims = 100 * MIB, 50 * MIB, 0

    def resident(self):
        return self.used + self.freed

    def trim(self):
        self.freed = 0
        self.trims += 1


@pytest.fixture
def process(monkeypatch):
    found = Process()
    monkeypatch.setattr(heap, "_SEEN", heap._Seen())
    monkeypatch.setattr(heap, "resident", found.resident)
    monkeypatch.setattr(heap, "trim", found.trim)
    return found


def test_what_was_freed_is_not_in_use(process):
    assert heap.in_use(STEP) == 100 * MIB
    assert process.trims == 1


def test_what_our_own_run_freed_stays_for_the_next_one(process):
    heap.in_use(STEP)
    process.freed = 400 * MIB
    heap.leave()
    process.used += STEP  # hardly more
    assert heap.in_use(STEP) == 100 * MIB
    assert (process.trims, process.freed) == (1, 400 * MIB)


def test_what_others_took_since_is_seen(process):
    heap.in_use(STEP)
    process.freed = 400 * MIB
    heap.leave()
    process.used += 2 * STEP
    assert heap.in_use(STEP) == 100 * MIB + 2 * STEP
    assert heap.in_use(STEP) == 100 * MIB + 2 * STEP
    assert process.trims == 2


def test_what_others_gave_back_since_is_seen(process):
    heap.in_use(STEP)
    heap.leave()
    process.used -= 60 * MIB
    assert heap.in_use(STEP) == 40 * MIB


def test_what_stays_for_good_is_in_use_from_then_on(process):
    heap.in_use(STEP)
    process.used += 144 * MIB
    heap.forget()
    heap.leave()
    assert heap.in_use(STEP) == 244 * MIB
    assert heap.in_use(STEP) == 244 * MIB
    assert process.trims == 2


def test_memory_is_eased_only_above_a_mark(process):
    heap.ease(150 * MIB)
    assert process.trims == 0
    heap.ease(149 * MIB)
    assert (process.trims, process.freed) == (1, 0)


def test_what_is_in_use_is_not_asked_for_again_and_again(process):
    for _ in range(5):
        heap.ease(90 * MIB)
    assert process.trims == 1
    process.freed = 40 * MIB
    heap.ease(90 * MIB)
    assert (process.trims, process.freed) == (2, 0)


def test_a_process_that_shrank_is_eased_from_there(process):
    process.used = 900 * MIB
    heap.ease(800 * MIB)
    process.used, process.freed = 100 * MIB, 0
    heap.ease(90 * MIB)
    process.freed = 60 * MIB
    heap.ease(90 * MIB)
    assert process.freed == 0
