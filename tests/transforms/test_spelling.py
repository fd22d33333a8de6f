"""What a transform may be written as, and that nothing else does anything."""

from __future__ import annotations

import contextlib
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchmill.transforms import Transform, as_transform

PIECES = [
    "scale", "clip", "standardize", "(", ")", "[", "]", ",", "=", "factor", "low", "1", "-2.5", "1e400", "None",
    "|", " ", "lambda", ":", "__import__", "'os'", ".", "system", "*", "**", "{", "}", "1j", "True", "x", "\\",
    "\n",
]  # fmt: skip


@given(text=st.text(max_size=30) | st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
def test_a_text_is_a_transform_or_an_error(text):
    if ":" in text:
        return  # imports, on purpose
    with contextlib.suppress(ValueError):
        assert isinstance(as_transform(text), Transform)


@pytest.mark.parametrize(
    "text",
    [
        "scale(__import__('os').getpid())",
        "scale(open('x'))",
        "scale(factor=[print(1)])",
        "scale(*[1])",
        "scale(**{'factor': 1})",
        "exec('1')",
        "scale.__call__(1)",
        "(lambda: 1)()",
        "scale(1 if 1 else 2)",
        "scale([n for n in [1]])",
        "scale(2**3)",
        "scale(f'{1}')",
    ],
)
def test_code_is_refused(text):
    with pytest.raises(ValueError, match="transform"):
        as_transform(text)


def test_nothing_is_imported_but_what_is_named(users_module):
    users_module("def double(patches):\n    return patches * 2\nclass Own:\n    same = staticmethod(double)")
    with pytest.raises(ValueError, match="must be a named one"):
        as_transform("users.double")
    assert "users" not in sys.modules
    assert as_transform("users:double").steps[0].name == "users:double"
    assert as_transform("users:Own.same") == as_transform("users:double")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("scal(2)", "did you mean 'scale'"),
        ("scale()", "needs a factor"),
        ("scale(1, 2, 3)", "takes factor, offset"),
        ("scale(1, factor=2)", "twice"),
        ("scale(factr=2)", "did you mean 'factor'"),
        ("scale(True)", "constants are numbers"),
        ("scale([])", "empty list"),
        ("scale(1e999)", "constants are numbers"),
        ("clip()", "low or high"),
        ("clip(5, 1)", "must not be above"),
        ("clip([5, 5], [6, 1])", "must not be above"),
        ("standardize(1)", "both be given"),
        ("standardize(1, 0)", "above 0"),
        ("scale(2) |", "empty text"),
        ("scale(2", "can't be read"),
        ({"scale": 2}, "by name"),
        ({"scale": {"factor": 1}, "clip": {"low": 0}}, "one named transform"),
        ({"scale": {"factor": "two"}}, "must be a number"),
        ({"scale": {"factor": float("nan")}}, "finite"),
        ({"scale": {"factor": None}}, "must be numbers"),
        ({1: {}}, "unknown name"),
        ("nowhere_at_all:function", "can't be imported"),
        ("numpy:squirt", "has no 'squirt'; did you mean 'sqrt'"),
        ("numpy:pi", "not callable"),
    ],
)
def test_errors_name_the_part_that_is_wrong(value, message):
    with pytest.raises(ValueError, match=message):
        as_transform(value)


@pytest.mark.parametrize("value", [3, True, b"scale(1)", {1, 2}, object()])
def test_other_things_are_refused(value):
    with pytest.raises(TypeError, match="transform must be text"):
        as_transform(value)
