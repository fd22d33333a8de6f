"""What came in, as the declared type: exactly, or not at all."""

from __future__ import annotations

import json
import re
from decimal import Decimal

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from papermill.translators import PythonTranslator

from patchmill.stages.coercing import coerced, described
from patchmill.stages.declared import Declaration

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=20)
VALUES = {
    "int": st.integers(-(2**62), 2**62),
    "float": st.floats(allow_nan=False),
    "bool": st.booleans(),
    "str": TEXTS,
    "list[int]": st.lists(st.integers(-(2**62), 2**62), max_size=4),
    "list[str]": st.lists(TEXTS, max_size=3),
    "list[bool]": st.lists(st.booleans(), max_size=3),
    "dict[str, int]": st.dictionaries(TEXTS, st.integers(-9, 9), max_size=3),
    "list[list[int]]": st.lists(st.lists(st.integers(-9, 9), max_size=2), max_size=2),
}
TYPED_VALUES = st.sampled_from(sorted(VALUES)).flatmap(lambda kind: st.tuples(st.just(kind), VALUES[kind]))


def declared(kind: str, default: object = "unlike") -> Declaration:
    return Declaration("given", kind, default, "", "")


@given(TYPED_VALUES)
def test_what_is_right_stays_as_it_is(typed):
    kind, value = typed
    assert coerced(value, declared(kind)) == value
    assert coerced(coerced(value, declared(kind)), declared(kind)) == value


@given(TYPED_VALUES)
def test_what_papermill_injects_comes_back(typed):
    kind, value = typed
    namespace: dict[str, object] = {}
    exec(PythonTranslator.codify({"given": value}), namespace)
    assert coerced(namespace["given"], declared(kind)) == value


@given(TYPED_VALUES)
def test_a_text_becomes_what_it_says(typed):
    """Airflow's templates turn everything into texts; JSON and YAML are how people write them."""
    kind, value = typed
    if kind == "str":
        return
    flow = kind.startswith(("list", "dict"))
    texts = [json.dumps(value)] if flow else [str(value), json.dumps(value)]
    for text in texts:
        assert coerced(text, declared(kind)) == value
    if flow:
        assert coerced(yaml.safe_dump(value, default_flow_style=True, allow_unicode=True), declared(kind)) == value


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(TEXTS, PLAIN, max_size=3))
def test_a_text_whose_type_says_nothing_of_what_is_inside_holds_typed_values(mapping):
    kinds = {"dict": mapping, "list": [mapping], "list[dict]": [mapping], "dict[str, dict]": {"a": mapping}}
    for kind, value in kinds.items():
        for text in (json.dumps(value), repr(value), yaml.safe_dump(value, default_flow_style=True, sort_keys=False)):
            assert repr(coerced(text, declared(kind))) == repr(coerced(value, declared(kind)))


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("list", "[1, 2.5, true]", [1, 2.5, True]),
        ("list", "[1, None, yes]", [1, "None", True]),
        ("dict", "{'anon': False}", {"anon": False}),
        ("dict", "{anon: false, since: 2020-01-01, n: 3}", {"anon": False, "since": "2020-01-01", "n": 3}),
        ("dict[str, int]", "{'a': 3}", {"a": 3}),
        ("list[str]", "[007, 1.50]", ["007", "1.50"]),
    ],
)
def test_texts_hold_what_their_type_asks_for(kind, text, expected):
    assert repr(coerced(text, declared(kind))) == repr(expected)


@pytest.mark.parametrize("kind", ["list", "dict"])
@pytest.mark.parametrize(
    "text", ["{1, 2", "{[]: 1}", "[" * 5000, "{" * 5000, "-" * 100_000 + "1", "[" + "9" * 5000 + "]}"]
)
def test_what_can_not_be_read_is_refused(kind, text):
    with pytest.raises(ValueError, match="given must be"):
        coerced("[" + text if kind == "list" else text, declared(kind))


@given(st.integers(-(2**53), 2**53))
def test_whole_numbers_come_in_many_shapes(number):
    for shape in (number, float(number), str(number), f" {number} ", f"{Decimal(number):E}"):
        result = coerced(shape, declared("int"))
        assert (result, type(result)) == (number, int)


@given(st.one_of(st.floats().filter(lambda x: x != x or abs(x) >= 2**63 or x != int(x)), TEXTS, st.booleans()))
def test_what_would_have_to_be_changed_is_refused(value):
    try:
        whole = isinstance(value, str) and int(value) is not None
    except ValueError:
        whole = False
    if isinstance(value, str) and (whole or _is_whole(value)):
        return
    with pytest.raises(ValueError, match=r"given must be a whole number, got .*\((float|str|bool)\)$"):
        coerced(value, declared("int"))


def _is_whole(text: str) -> bool:
    try:
        return Decimal(text) == int(Decimal(text))
    except (ArithmeticError, ValueError, OverflowError):
        return False


@pytest.mark.parametrize("value", [7, 7.5, True, None, ["a"], b"x"])
def test_a_text_is_not_made_of_something_else(value):
    with pytest.raises(ValueError, match=r"given must be a text \(numbers in quotes\), got"):
        coerced(value, declared("str"))


@pytest.mark.parametrize("value", ["maybe", "", 2, 1.0, None, []])
def test_truth_is_true_or_false(value):
    with pytest.raises(ValueError, match="given must be true or false, got"):
        coerced(value, declared("bool"))


@pytest.mark.parametrize(("value", "expected"), [("True", True), ("no", False), ("ON", True), (0, False), ("1", True)])
def test_truth_has_many_names(value, expected):
    assert coerced(value, declared("bool")) is expected


@pytest.mark.parametrize("default", [None, [256, 256]])
@pytest.mark.parametrize("value", [128, 128.0, "128", "1.28e2"])
def test_one_number_is_a_pair(value, default):
    assert coerced(value, declared("list[int]", default)) == [128, 128]


def test_one_number_is_one_where_more_or_fewer_are_declared():
    assert coerced(3, declared("list[int]", [3, 2, 1])) == [3]
    assert coerced([3], declared("list[int]", [256, 256])) == [3]
    assert coerced("a", declared("list[str]", None)) == ["a"]


@pytest.mark.parametrize("nothing", [None, "", "None", "null", " ~ "])
@pytest.mark.parametrize(("kind", "default"), [("int", None), ("list[int]", None), ("str", ""), ("", None)])
def test_nothing_is_the_default_where_that_is_nothing(kind, default, nothing):
    assert coerced(nothing, declared(kind, default)) == default


@pytest.mark.parametrize("kind", ["int", "list[int]", "dict[str, str]", "str"])
def test_nothing_is_refused_elsewhere(kind):
    with pytest.raises(ValueError, match=r"given must be .*, got None"):
        coerced(None, declared(kind, "unlike"))


@pytest.mark.parametrize("value", ["1e999999999", "9" * 4000, "[" * 5000, "{a", "[a"])
def test_no_text_fills_the_memory_or_the_stack(value):
    with pytest.raises(ValueError, match="given must be"):
        coerced(value, declared("list[int]"))


def test_a_long_value_is_not_repeated_in_full():
    with pytest.raises(ValueError, match="given must be") as caught:
        coerced("x" * 10_000, declared("int"))
    assert len(str(caught.value)) < 300


def test_types_in_words():
    assert described("list[list[int]]") == "a list of a list of whole numbers"
    assert described("dict[str, bool]") == "a mapping to true and false"


def test_a_word_is_one_of_those_declared():
    edge = Declaration("edge", "str", "drop", "", "", ("drop", "pad", "shift"))
    assert [coerced(word, edge) for word in edge.words] == list(edge.words)
    message = 'edge must be one of "drop", "pad", "shift", got \'drp\' (str); did you mean drop?'
    with pytest.raises(ValueError, match=re.escape(message)):
        coerced("drp", edge)
    assert coerced(None, Declaration("edge", "str", None, "", "", edge.words)) is None
