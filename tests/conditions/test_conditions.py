"""Conditions: the same as plain Python says patch by patch; and that the parser executes nothing."""

from __future__ import annotations

import operator
import pickle
import threading
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchmill import expressions
from patchmill.conditions import Condition, as_condition

LABELS = ["B02", "B03", "B04"]
COMPARE = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
REAL = {"+": operator.add, "-": operator.sub, "*": operator.mul}


# Each strategy draws a text, and a function of (row, channel) that says by plain floats what the text means.
def leaf(name):
    if name == "valid_fraction":
        return name, lambda row, _: row[name]
    return name, lambda row, channel: row[name][channel]


NUMBERS = st.integers(-3, 3).map(lambda n: (str(n), lambda *_: float(n)))
FIELDS = st.sampled_from(["valid_fraction", "mean", "std"]).map(leaf)
CHOSEN = st.sampled_from([(label, at) for at, label in enumerate(LABELS)]).map(
    lambda each: (f'mean["{each[0]}"]', lambda row, _: row["mean"][each[1]])
)


def joined(parts):
    left, symbol, right = parts
    return f"({left[0]} {symbol} {right[0]})", lambda *at: REAL[symbol](left[1](*at), right[1](*at))


VALUES = st.recursive(
    NUMBERS | FIELDS | CHOSEN,
    lambda inner: st.tuples(inner, st.sampled_from(sorted(REAL)), inner).map(joined),
    max_leaves=4,
)


def holds(symbol, a, b):
    return a == a and b == b and COMPARE[symbol](a, b)


def compared(parts):
    field, pairs = parts
    values = [field, *(value for _, value in pairs)]
    text = field[0] + "".join(f" {symbol} {value[0]}" for symbol, value in pairs)

    def each(row, channel):
        found = [value[1](row, channel) for value in values]
        return all(holds(symbol, found[at], found[at + 1]) for at, (symbol, _) in enumerate(pairs))

    # By channel, and over all of them.
    return text, each, lambda row: all(each(row, channel) for channel in range(3))


COMPARISONS = st.tuples(
    FIELDS | CHOSEN, st.lists(st.tuples(st.sampled_from(sorted(COMPARE)), VALUES), min_size=1, max_size=2)
).map(compared)


def combined(parts):
    word, left, right = parts
    if word == "not":
        return f"not ({left[0]})", lambda *at: not left[1](*at), lambda row: not left[2](row)
    decide = all if word == "and" else any
    return (
        f"({left[0]} {word} {right[0]})",
        lambda *at: decide([left[1](*at), right[1](*at)]),
        lambda row: decide([left[2](row), right[2](row)]),
    )


def over_channels(parts):
    word, inner = parts
    decide = any if word == "any" else all

    def over(row, *_):
        return decide(inner[1](row, channel) for channel in range(3))

    return f"{word}({inner[0]})", over, over


CONDITIONS = st.recursive(
    COMPARISONS,
    lambda inner: (
        st.tuples(st.sampled_from(["and", "or", "not"]), inner, inner).map(combined)
        | st.tuples(st.sampled_from(["any", "all"]), inner).map(over_channels)
    ),
    max_leaves=5,
)


@given(condition=CONDITIONS, seed=st.integers(0, 20), dtype=st.sampled_from(["f4", "f8"]))
def test_a_condition_is_what_python_says_row_by_row(condition, seed, dtype):
    text, _, expected = condition
    random = np.random.default_rng(seed)
    fields = {
        "valid_fraction": random.integers(0, 3, 8).astype(dtype),
        "mean": random.integers(-3, 4, (8, 3)).astype(dtype),
        "std": random.integers(0, 4, (8, 3)).astype(dtype),
    }
    fields["std"][random.random((8, 3)) < 0.2] = np.nan
    rows = [
        {"valid_fraction": float(v), "mean": [float(each) for each in m], "std": [float(each) for each in s]}
        for v, m, s in zip(fields["valid_fraction"], fields["mean"], fields["std"], strict=True)
    ]
    parsed = as_condition(text)
    found = parsed(fields, LABELS)
    assert found.dtype == bool
    assert found.tolist() == [expected(row) for row in rows]
    assert as_condition(parsed.text) == parsed
    split = [parsed({name: values[at : at + 1] for name, values in fields.items()}, LABELS) for at in range(8)]
    assert np.concatenate(split).tolist() == found.tolist()
    grid = {name: values.reshape(2, 4, *values.shape[1:]) for name, values in fields.items()}
    assert parsed(grid, LABELS).ravel().tolist() == found.tolist()
    assert set(parsed.names) <= set(fields)


PIECES = [
    "mean", "std", "valid_fraction", "any", "all", "(", ")", "[", "]", "0", "1e400", "'B02'", " and ", " or ",
    " not ", "<", "==", "!=", "-", "+", "*", "/", "**", ".", "__class__", "lambda:", " if ", " else ", ":=", "{",
    "}", "f'{x}'", "`", "\\", "\n", "\x00", " is ", " in ", "True", "None", "1j", "...", "await ", "\ud800",
    "yield", "3and",
]  # fmt: skip


@given(text=st.text(max_size=40) | st.lists(st.sampled_from(PIECES), max_size=16).map("".join))
def test_any_text_is_a_condition_or_an_error(text):
    try:
        condition = as_condition(text)
    except ValueError:
        return
    assert isinstance(condition, Condition)
    assert as_condition(condition.text) == condition
    fields = {name: np.ones((2, 3) if name in {"mean", "std"} else 2) for name in ("mean", "std", "valid_fraction")}
    try:
        found = condition(fields, LABELS)
    except ValueError:
        return
    assert found.shape == (2,)
    assert found.dtype == bool


@pytest.mark.parametrize(
    "text", ["-" * 5000 + "mean > 1", "not " * 900 + "mean > 1", "+".join(["mean"] * 3000) + "> 1"]
)
def test_depth_is_an_error(text):
    with pytest.raises(ValueError, match=r"levels deep|can't be read"):
        as_condition(text)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').getpid() > 0",
        "mean.__class__.__name__ == 'x'",
        "(lambda: 1)() > 0",
        "[x for x in mean] > 0",
        "open('x') > 0",
        "mean if std else mean",
        "any(mean > 3, key=1)",
        "mean[std] > 3",
        "mean[0:1] > 3",
        "mean[-1] > 3",
        "mean[True] > 3",
        "(mean > 3)[0]",
        "mean ** 2 > 3",
        "mean in std",
        "mean is std",
        "(m := mean) > 3",
        "mean > True",
        "mean",
        "1 < 2",
        "mean > 'a'",
        "split < 'train'",
        "any(mean) > 3",
        "any > 3",
        "",
        "   ",
    ],
)
def test_other_python_is_refused(text):
    with pytest.raises(ValueError, match=r"condition|stand|field|channel|texts|truth"):
        as_condition(text)({"mean": np.zeros(2), "std": np.zeros(2), "split": np.zeros(2)})


def test_several_variables_and_texts():
    fields = {
        "image.mean": np.array([[1.0, 5], [6, 7]]),
        "my mask.mean": np.array([0.2, 0.8]),
        "split": np.array(["train", "val"]),
        "exists": np.array([True, True]),
    }
    channels = {"image": ["red", "green"]}

    def held(text):
        return as_condition(text)(fields, channels).tolist()

    assert held('image.mean > 2 and "my mask".mean > 0.5') == [False, True]
    assert held("any(image.mean > 2)") == [True, True]
    assert held('split == "train"') == [True, False]
    assert held("exists and split != 'train'") == [False, True]
    assert held('image.mean["green"] - image.mean[0] > 2') == [True, False]
    assert as_condition('image.mean["green"] > 3 or "my mask".mean > 2').names == ("image.mean", "my mask.mean")


def test_a_share_of_nine_tenths_is_nine_tenths_in_single_precision():
    for dtype in ("f4", "f8"):
        assert as_condition("valid_fraction >= 0.9")({"valid_fraction": np.array([0.9], dtype)}).all()


@pytest.mark.parametrize("share", ["9 / 10", "9 * 0.1", "-(-0.9)", "1 - 1 / 10", "0.3 + 0.6"])
def test_so_is_one_that_is_computed(share):
    fields = {"valid": np.full(3, 0.9, "float32")}
    assert as_condition(f"valid >= {share}")(fields).all()
    assert not as_condition(f"valid > {share} + 0.001")(fields).any()


@pytest.mark.parametrize("text", ["valid >= 0.9  # enough\nand std > 2", "valid > 1 #", "# all\nvalid > 1"])
def test_comments_are_refused(text):
    with pytest.raises(ValueError, match="it takes no comments"):
        as_condition(text)


def test_nothing_is_said_of_what_was_not_measured():
    fields = {"mean": np.array([np.nan])}
    for symbol in COMPARE:
        assert not as_condition(f"mean {symbol} 3")(fields).any()
        assert not as_condition(f"3 {symbol} mean / 0 * 0")(fields).any()
    assert as_condition("not mean == 3")(fields).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("std > 1 and maen > 3", r"did you mean 'mean'\? There are 'labels', 'mean', 'std': 'maen' \(character 13 of"),
        ("brightness > 1", "unknown name; there are 'labels', 'mean', 'std': 'brightness'"),
        ("ünter > 0 and maen > 3", r"'ünter' \(character 1 of"),
        ('mean["B05"] > 3', "There are 'B02', 'B03'"),
        ("mean[7] > 3", "has 2, counted from 0"),
        ("labels[0] > 3", "has no channels"),
        ("mean > labels", "text compares only"),
        ("-labels > 3", "don't add up"),
        ("mean or std > 3", "no truth but a value"),
        ("mean >", "can't be read: .*character"),
    ],
)
def test_errors_point_at_the_place(text, message):
    fields = {"mean": np.zeros((0, 2)), "std": np.zeros((0, 2)), "labels": np.zeros(0, "U3")}
    with pytest.raises(ValueError, match=message):
        as_condition(text)(fields, LABELS[:2])


def test_channels_that_do_not_fit_are_refused():
    fields = {"a.mean": np.zeros((1, 2)), "b.mean": np.zeros((1, 3))}
    for text in ("a.mean > b.mean", "any(a.mean > 0 and b.mean > 0)", "a.mean + b.mean > 0", "a.mean > 0 > b.mean"):
        with pytest.raises(ValueError, match="2 and 3 channels"):
            as_condition(text)(fields, {"a": "xy", "b": "xyz"})
    assert not as_condition("a.mean > 0 and b.mean > 0")(fields, {"a": "xy", "b": "xyz"}).any()


def test_it_travels():
    condition = as_condition('any(mean["B02"] > 3)')
    assert pickle.loads(pickle.dumps(condition)) == condition
    assert hash(condition) == hash(as_condition("any(mean['B02']>3)"))


def test_what_others_warn_of_while_a_condition_is_read_stays_a_warning(monkeypatch):
    parsed, failed = expressions.ast.parse, []

    def warn():
        try:
            warnings.warn("harmless", stacklevel=1)
        except UserWarning as error:
            failed.append(error)

    def parse(*given, **how):
        other = threading.Thread(target=warn)
        other.start()
        other.join()
        return parsed(*given, **how)

    monkeypatch.setattr(expressions.ast, "parse", parse)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pickle.loads(pickle.dumps(as_condition("mean > 2")))
    assert not failed


DOUBTFUL = [
    "3and 4", "mean > 3and std > 2", "mean > 0xfor std", "1if mean > 2 else 3", "mean > 1.5or std > 2", "1_ < mean",
    r'mean["\d"] > 2', r"mean['\777'] > 2", 'mean[b"a"] > 2', 'mean[f"{std}"] > 2', "mean > 1e", "1jin mean",
]  # fmt: skip


@pytest.mark.parametrize("text", DOUBTFUL)
def test_what_python_only_warns_of_is_refused(text):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ValueError, match=r"can't be read: .* character"):
            as_condition(text)


FINE = [
    "mean > 1e-4", "mean > .5", "mean > 1.", "mean > 1.e5", "mean > 1_000", "mean > 0x1F + 0xE+1", "mean[0] > 2",
    'mean["B02"] > 2', r'mean["a\\b"] > 2', r'mean["\u00e9\n"] > 2', r'mean[r"\d"] > 2', 'mean["3and"] > 2',
    'mean["""a"3and"""] > 2', "std>2 and(mean>3)", "mean[u'a'] > 2", 'mean > 2 and"v".std > 3', "v2.mean > 3",
]  # fmt: skip


@pytest.mark.parametrize("text", FINE)
def test_what_python_does_not_warn_of_is_read(text):
    assert as_condition(as_condition(text).text) == as_condition(text)


@pytest.mark.parametrize(("given", "meant"), [("=>", ">="), ("=<", "<="), ("=!", "!=")])
def test_a_comparison_the_wrong_way_round_is_told_the_right_one(given, meant):
    with pytest.raises(ValueError, match=f"write {meant} for {given}, character 16 of"):
        as_condition(f"valid_fraction {given} 0.9")
