"""Functions of users: what a fingerprint sees, how they travel, what they may return, and whether they mix patches."""

from __future__ import annotations

import functools
import pickle
import subprocess
import sys
import types

import numpy as np
import pytest

from patchmill.errors import PatchmillError
from patchmill.transforms import as_transform, check_alone
from patchmill.transforms.functions import fingerprint

PATCHES = np.random.default_rng(0).integers(1, 99, (4, 2, 6, 5)).astype("u2")


def make(by, table=None):
    def divided(patches, *, power=1):
        return patches / by**power if table is None else table[patches]

    return divided


class Caller:
    def __init__(self, by):
        self.by = by

    def __call__(self, patches):
        return patches * self.by

    def method(self, patches):
        return patches + self.by


DIFFERENT = [
    make(2),
    make(3),
    make(2, np.arange(99)),
    make(2, np.arange(1, 100)),
    functools.partial(make(2), power=2),
    functools.partial(make(2), power=3),
    lambda patches: patches + 1,
    lambda patches: patches + 2,
    *(lambda patches: patches + 3, lambda patches: patches + 4),
    Caller(1),
    Caller(2),
    Caller(1).method,
    Caller(2).method,
    np.sqrt,
    np.cbrt,
    functools.lru_cache(make(2)),
    functools.lru_cache(make(3)),
]


def test_a_fingerprint_tells_functions_apart():
    found = [as_transform(each).fingerprint for each in DIFFERENT]
    for at, one in enumerate(found):
        assert all(one != other for other in found[at + 1 :]), DIFFERENT[at]


def test_a_fingerprint_stays():
    assert fingerprint(make(2, np.arange(9))) == fingerprint(make(2, np.arange(9)))
    assert fingerprint(Caller(1)) == fingerprint(Caller(1))
    before = fingerprint(make(2))
    function = make(2)
    for _ in range(1000):  # the interpreter rewrites what is called often
        function(PATCHES[:1, :, :1, :1])
    assert fingerprint(function) == before


SCRIPT = """
import sys, json
sys.path.insert(0, {folder!r})
from patchmill.transforms import as_transform
print(json.dumps(as_transform("users:half").fingerprint, sort_keys=True))
"""


def test_a_fingerprint_is_the_same_in_another_process(users_module):
    folder = users_module(
        "BY, NAMES = 2, {'b', 'a', 'c'}\ndef half(patches, other={'x', 'y'}):\n    return patches / BY if NAMES else 0"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT.format(folder=str(folder))],
            env={"PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(runs) == 1


def test_it_sees_the_text_and_the_globals_that_are_data(users_module):
    found = []
    for text in (
        "BY = 2\ndef half(patches):\n    return patches / BY",
        "BY = 3\ndef half(patches):\n    return patches / BY",
        "BY = 2\ndef half(patches):\n    return patches // BY",
        "BY, OTHER = 2, 3\ndef half(patches):\n    return patches / BY",
    ):
        users_module(text)
        found.append(as_transform("users:half").fingerprint)
    assert found[0] == found[3]
    assert found[0] not in found[1:3]
    assert found[0][0]["function"] == "users:half"


def test_without_source_it_sees_the_bytecode():
    made = []
    for text in ("patches + 1", "patches + 2", "patches + 1"):
        module = types.ModuleType("made")
        exec(f"def f(patches):\n    return {text}", module.__dict__)
        made.append(fingerprint(module.f))
    assert made[0] == made[2] != made[1]
    assert "source" not in made[0]
    assert "bytecode" in made[0]


def test_an_object_without_source_is_seen_by_what_its_methods_do():
    made = []
    for text in ("patches * 2", "patches * 3", "patches * 2"):
        module = types.ModuleType("made")
        lines = ["class Times:", "    def __call__(self, patches):", "        return self.of(patches)"]
        exec("\n".join([*lines, "    def of(self, patches):", f"        return {text}"]), module.__dict__)
        made.append(fingerprint(module.Times()))
    assert made[0] == made[2] != made[1]


def test_an_object_is_seen_by_what_it_inherits(users_module):
    made = []
    for text in ("patches * 2", "patches * 3", "patches * 2"):
        users_module(f"""
            class Base:
                def __call__(self, patches):
                    return {text}

            class Times(Base):
                pass

            times = Times()
            """)
        made.append(as_transform("users:times").fingerprint)
    assert made[0] == made[2] != made[1]


def test_a_function_that_holds_itself_ends():
    def again(patches, n=3):
        return patches if n == 0 else again(patches, n - 1)

    assert fingerprint(again)["closure"]["again"] == {"again": 1}


@pytest.mark.parametrize("function", [make(2), DIFFERENT[4], DIFFERENT[6], Caller(2), np.sqrt])
def test_it_travels(function):
    transform = as_transform(["scale(2)", function])
    back = pickle.loads(pickle.dumps(transform))
    assert back == transform
    assert back.fingerprint == transform.fingerprint
    assert back(PATCHES).tobytes() == transform(PATCHES).tobytes()


def test_a_lambda_travels_to_another_process(tmp_path):
    by = 3
    (tmp_path / "t.pickle").write_bytes(pickle.dumps(as_transform(lambda patches: patches * by)))
    script = (
        "import pickle, sys, numpy as np; t = pickle.load(open(sys.argv[1], 'rb')); print(t(np.ones((1, 1, 1, 1))))"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "t.pickle")],
        env={"PYTHONPATH": ":".join(sys.path)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert run.stdout.strip() == "[[[[3.]]]]"


def test_a_function_may_write_into_what_it_gets():
    def in_place(patches):
        patches += 1
        return patches

    before = PATCHES.copy()
    for given in (PATCHES, np.broadcast_to(PATCHES[:1], PATCHES.shape)):
        assert (as_transform(in_place)(given) == given + 1).all()
    np.testing.assert_array_equal(PATCHES, before)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda p: p[:, :, 1:], r"shape \(4, 2, 6, 5\).*got shape \(4, 2, 5, 5\)"),
        (lambda p: p.tolist(), "got builtins.list"),
        (lambda p: None, "got builtins.NoneType"),
        (np.ma.masked_array, "MaskedArray"),
        (lambda p: p.astype(np.longdouble), "can be stored"),
        (lambda p: p.astype("M8[s]"), "can be stored"),
        (lambda p: p.astype(object), "can be stored"),
    ],
)
def test_what_a_function_returns_is_checked(returned, message):
    with pytest.raises(ValueError, match=message):
        as_transform(returned)(PATCHES)


def test_a_function_that_fails_is_named():
    def fails(patches):
        raise KeyError("band")

    with pytest.raises(PatchmillError, match=r"test_functions:.*fails failed: KeyError: 'band'"):
        as_transform(fails)(PATCHES)


def test_the_dtype_of_a_function_is_that_of_its_zeros():
    transform = as_transform(["clip(0, 9)", np.sqrt, lambda p: p.astype(">f8")])
    assert transform.result_dtype("u2", 2, (6, 5)) == np.dtype("f8")
    assert transform(PATCHES).dtype == np.dtype("=f8")


MIXING = [
    lambda p: p - p.mean(dtype="f8"),
    lambda p: p - p.min(axis=0),
    lambda p: p[::-1],
    lambda p: p + len(p),
]


@pytest.mark.parametrize("function", MIXING)
@pytest.mark.parametrize("n", [1, 4])
def test_mixing_is_seen(function, n):
    with pytest.raises(ValueError, match="mixes patches"):
        check_alone(as_transform(["scale(2)", function]), PATCHES[:n])


def test_chance_is_seen():
    random = np.random.default_rng(0)
    with pytest.raises(ValueError, match="another result each time"):
        check_alone(as_transform(lambda p: p + random.random(p.shape)), PATCHES)


def test_what_is_right_passes_and_what_is_flat_can_not_tell():
    right = as_transform(["standardize()", lambda p: p - p.mean(axis=(-2, -1), keepdims=True)])
    assert check_alone(right, PATCHES)
    assert check_alone(as_transform("standardize()"), PATCHES)
    assert not check_alone(as_transform(MIXING[0]), np.zeros_like(PATCHES))


def test_a_false_claim_of_pointwise_is_seen():
    def centered(patches):
        return patches - patches.mean(axis=(-2, -1), keepdims=True)

    assert check_alone(as_transform(centered), PATCHES)
    centered.pointwise = True
    assert as_transform(centered).pointwise
    with pytest.raises(ValueError, match="declared pointwise"):
        check_alone(as_transform(centered), PATCHES)

    def doubled(patches, by=2):
        return patches * by

    doubled.pointwise = True
    transform = as_transform(functools.partial(doubled, by=3))
    assert transform.pointwise
    assert check_alone(transform, PATCHES)
