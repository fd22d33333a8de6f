"""Configs: what they may say, what is wrong with them, all at once, each with its line."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchmill.errors import ConfigError
from patchmill.stages.bounds import followed
from patchmill.stages.config import read_config
from patchmill.stages.pipelines import Pipeline, Stage, _ordered, config_text, read_pipeline
from stages.notebook_files import write_notebook

DECLARED = """\
source: str = "sample:"  # in: where from
target: str = "temp:a.zarr"  # out: where to
size: list[int] = None  # pixels
data: str = "data/x"  # in: a path that the notebook itself names
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a notebook, `work.ipynb`, and what it reads by default."""
    write_notebook(tmp_path / "work.ipynb", DECLARED)
    (tmp_path / "configs" / "data").mkdir(parents=True)
    (tmp_path / "configs" / "data" / "x").touch()
    return tmp_path / "configs"


def write(folder: Path, text: str) -> str:
    path = folder / "some.yaml"
    path.write_text(text)
    return str(path)


FIRST = "first:\n    notebook: ../work.ipynb"
FROM_FIRST = '"${stages.first.params.target}"'
SIZE_OF_FIRST = '"${stages.first.params.size}"'
BEHIND = '"${root}/b.zarr"'

CHAIN = """\
name: chain
root: ../out
compute: {memory: 1GiB, workers: 2}
stages:
  second:
    notebook: ../work.ipynb
    params: {source: "${stages.first.params.target}", target: "${root}/b.zarr", size: "${stages.first.params.size}"}
  first:
    notebook: ../work.ipynb
    params: {target: "${root}/a.zarr", size: 3}
"""


def test_references_make_the_order_and_paths_become_absolute(folder, monkeypatch):
    monkeypatch.chdir("/")
    pipeline = read_pipeline(write(folder, CHAIN))
    assert [stage.name for stage in pipeline.stages] == ["first", "second"]
    out = str(folder.parent / "out")
    assert (pipeline.root, pipeline.runs) == (out, f"{out}/records")
    assert (pipeline.memory, pipeline.workers) == (2**30, 2)
    data = str(folder / "data" / "x")
    assert pipeline.stages[1].params == {
        "source": f"{out}/a.zarr",
        "target": f"{out}/b.zarr",
        "data": data,
        "size": [3, 3],
    }
    assert pipeline.stages[0].params["source"] == "sample:"
    assert not os.path.exists(out)


def test_overrides_are_yaml_and_reach_what_refers_to_them(folder, monkeypatch):
    monkeypatch.setenv("WHERE", "env")
    path = write(folder, CHAIN)
    given = ["first.size=[4, 5]", "name=other", "root=../${oc.env:WHERE}", "compute.workers=1", "runs=r"]
    pipeline = read_pipeline(path, given)
    assert pipeline.stages[1].params["size"] == [4, 5]
    assert pipeline.stages[1].params["source"] == str(folder.parent / "env" / "a.zarr")
    assert (pipeline.name, pipeline.workers, pipeline.runs) == ("other", 1, str(folder / "r"))


def test_the_resolved_config_says_the_same(folder):
    pipeline = read_pipeline(write(folder, CHAIN), ["first.size=[4, 5]", "limit=2h"])
    again = read_pipeline(write(folder, config_text(pipeline)))
    assert again == pipeline


LIKE_REFERENCES = st.lists(st.sampled_from(["\\", "$", "{", "}", "${", "root", "a", " "]), max_size=8).map("".join)


@settings(max_examples=20)
@given(st.lists(LIKE_REFERENCES, max_size=20))
def test_what_only_looks_like_a_reference_stays_what_it_is(tmp_path_factory, texts):
    folder = tmp_path_factory.getbasetemp() / "literal"
    folder.mkdir(exist_ok=True)
    write_notebook(folder / "work.ipynb", 'words: str = ""  # any\nmore: dict = {}  # any')
    params = {"words": f"a{''.join(texts)}", "more": {text: [text, "${foo}", r"\${root}"] for text in texts}}
    stage = Stage("a", str(folder / "work.ipynb"), params, {})
    pipeline = Pipeline("x", "", f"{folder}/${{foo}}", str(folder), None, None, (stage,))
    again = read_pipeline(write(folder, config_text(pipeline)))
    assert (again.root, again.stages[0].params) == (pipeline.root, params)


LIKE_NUMBERS = st.text(st.sampled_from("0123456789eE+-._:xbinfNa~"), max_size=6)


@settings(max_examples=20)
@given(st.lists(LIKE_NUMBERS, max_size=30))
def test_what_only_looks_like_a_number_stays_a_text(tmp_path_factory, texts):
    folder = tmp_path_factory.getbasetemp() / "numbers"
    folder.mkdir(exist_ok=True)
    write_notebook(folder / "work.ipynb", "words: list[str] = []  # any\nmore: dict = {}  # any\nx: float = 0.5  # any")
    params = {"words": ["1e3", "1234e56", *texts], "more": {text: [text] for text in texts}, "x": 1e300}
    stages = tuple(Stage(name, str(folder / "work.ipynb"), params, {}) for name in ("1e5", "a"))
    pipeline = Pipeline("7e10", "", str(folder / "out"), str(folder), None, None, stages)
    again = read_pipeline(write(folder, config_text(pipeline)))
    assert (again.name, again.names) == (pipeline.name, pipeline.names)
    assert all(stage.params == params for stage in again.stages)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("root:", "rot:"), "some.yaml:1: root is missing\nsome.yaml:2: rot is no key of a config; did you mean root?"),
        (
            ("name: chain", "name: a/b"),
            "some.yaml:1: name: a name has letters, digits, - and _ only, at most 100, got 'a/b'",
        ),
        (("1GiB", "lots"), 'some.yaml:3: compute.memory must be a size such as "512MiB" or "4GB", got \'lots\''),
        (("workers: 2", "workers: 0"), "some.yaml:3: compute.workers must be at least 1, got 0"),
        (("workers", "wokers"), "some.yaml:3: compute.wokers is no key of a config; did you mean workers?"),
        (("root}/a", "rot}/a"), "some.yaml:10: first.target can't be resolved: there is no ${{rot}}; did"),
        (("size: 3", "size: wide"), "first.size must be a list of whole numbers or one such number, got 'wide' (str)"),
        (("size: 3", "siez: 3"), "some.yaml:10: first.siez is no parameter of ../work.ipynb; did you mean size?"),
        ((FIRST, "first:\n    notebook: ../wrok.ipynb"), "some.yaml:9: there is no notebook {up}/wrok.ipynb"),
        ((FIRST, "first:\n    notebook: patchmill:ingst"), "some.yaml:9: no notebook patchmill:ingst comes with"),
        ((FIRST, "first:\n    notebook: data/x"), "some.yaml:9: data/x can't be a stage: it is no notebook"),
        ((FROM_FIRST, "nowhere"), "some.yaml:7: second.source: there is no {here}/nowhere, and no stage writes it"),
        ((FIRST, f"{FIRST}\n    limit: soon"), 'some.yaml:10: limit must be a span of time such as "90s", "2h"'),
        (("1GiB", "1GiB, limit: 0"), "some.yaml:3: compute.limit must be a span of time"),
        ((FIRST, f"{FIRST}\n    retries: -1"), "some.yaml:10: stages.first.retries must be at least 0, got -1"),
        (
            (CHAIN, "name: x\nroot: y\nstages: {first: {notebook: patchmill:patchify, params: {edge: drp}}}"),
            'first.edge must be one of "drop", "pad", "shift", got \'drp\' (str); did you mean drop?',
        ),
        ((FIRST, f"{FIRST}\n    after: [scond]"), "some.yaml:10: first can't run after scond, which is no stage; did"),
        ((FIRST, f"{FIRST}\n    after: first"), "some.yaml:10: first can't run after itself"),
        ((FIRST, f"{FIRST}\n    after: second"), "some.yaml:5: the stages second and first wait for each other"),
        ((BEHIND, '"${root}/a.zarr"'), "some.yaml:7: second.target: {up}/out/a.zarr is written by first already"),
        ((BEHIND, '"${root}/a.zarr/b"'), "a.zarr/b and {up}/out/a.zarr, which first writes, lie in each other: give"),
        ((BEHIND, "../b.zarr"), "some.yaml:7: second.target: {up}/b.zarr does not lie under the root {up}/out"),
        ((BEHIND, '"${root}"'), "some.yaml:7: second.target: {up}/out is the root itself: name a place in it"),
        (("root: ../out", "root: s3://bucket/x"), "some.yaml:1: runs must be a local folder"),
        (("size: 3", 'size: "${stages.second.params.data}"'), "some.yaml:5: the stages second and first wait"),
        (("stages:", "stages: ["), "some.yaml:6: this is no YAML"),
        ((CHAIN, "- a\n- b\n"), "some.yaml: a config is a mapping with the keys name, root, runs, limit, compute"),
        ((CHAIN, "name: x\nroot: y\nstages: {}\n"), "some.yaml:3: stages is empty: name at least one"),
        ((CHAIN, "name: x\nroot: y\nstages: 3\n"), "some.yaml:3: stages must be "),
        ((BEHIND, '"${root}/records/b"'), "some.yaml:7: second.target: {up}/out/records/b is where the records"),
        ((BEHIND, '"${root}/report.html"'), "some.yaml:7: second.target: {up}/out/report.html is where the report"),
        (("root: ../out", "root: data/x/y"), "some.yaml:2: root must lead to a folder, and {here}/data/x is a file"),
        (("root: ../out", "root: ../out\nruns: data/x"), "some.yaml:3: runs must lead to a folder, and {here}/data/x"),
        (("root: ../out", "root: ../out\nlimit: [1]"), "some.yaml:3: limit must be a span of time"),
        (("  first:", "  limit:"), "some.yaml:8: no stage can be called limit, which is a key of the config itself"),
        (("  first:", f"  {'f' * 101}:"), "a name has letters, digits, - and _ only, at most 100, got 'fff"),
        (("1GiB", "[1]"), "some.yaml:3: compute.memory must be a whole number of bytes, got [1]"),
        (("1GiB", '"1GiB", limit: ' + "9" * 400), "some.yaml:3: compute.limit must be a span of time"),
        (("root: ../out", 'root: "../o\\0ut"'), "some.yaml:2: root holds a character that is none (NUL)"),
        (("  first:\n", "  first: 3\n  other:\n"), "some.yaml:8: stages.first must be a mapping, such as"),
        ((CHAIN, ""), "some.yaml: a config is a mapping"),
        ((CHAIN, "a: " + "[" * 3000 + "]" * 3000), "some.yaml: a config can't be nested so deep"),
    ],
)  # fmt: skip
def test_each_mistake_is_a_sentence_with_its_line(folder, change, sentence):
    path = write(folder, CHAIN.replace(*change))
    before = sorted(folder.parent.rglob("*"))
    with pytest.raises(ConfigError) as caught:
        read_pipeline(path)
    expected = sentence.format(up=folder.parent, here=folder)
    assert expected in str(caught.value)
    assert sorted(folder.parent.rglob("*")) == before


def test_a_config_may_be_larger_than_what_yaml_readers_allow_by_themselves(folder):
    text = CHAIN.replace("size: 3", f"size: [{', '.join(['3'] * 10_000)}]")
    assert len(read_config(write(folder, text)).model.stages["second"].params["size"]) == 10_000


def test_aliases_that_stand_for_too_much_are_refused_with_the_bound(folder):
    shared = "\n".join(f"l{at}: &l{at} [{', '.join([f'*l{at - 1}'] * 10)}]" for at in range(1, 30))
    with pytest.raises(ConfigError) as caught:
        read_config(write(folder, f"l0: &l0 x\n{shared}\n{CHAIN}"))
    assert str(caught.value) == (
        "some.yaml: a config has at most 100,000 keys and values, with aliases written out, got more than 10 ** 12: "
        "make several of it, each with a part of the stages"
    )


@pytest.mark.parametrize(
    "twice",
    [
        '"${.a@}${.a@}"',
        '["${..a@}", "${..a@}"]',
        '{x: "${..a@}", y: "${..a@}"}',
        '"${stages.first.params.a@}${stages[first].params[a@]}"',
        '"${oc.select:stages.first.params.a@}${oc.select:stages.first.params.a@,none}"',
        '"${.${.k@}}${.${.k@}}"',
        '"${found:${.a@},${.a@}}"',
    ],
)
def test_references_that_double_with_each_line_are_refused_before_they_are_followed(folder, twice):
    chain = "".join(f"\n      a{at}: {twice.replace('@', str(at - 1))}" for at in range(1, 61))
    names = "".join(f"\n      k{at}: a{at}" for at in range(60))
    lines = f"\n      a0: x{chain}{names}"
    text = f"name: x\nroot: ../out\nstages:\n  first:\n    notebook: ../work.ipynb\n    params:{lines}\n"
    with pytest.raises(ConfigError) as caught:
        read_config(write(folder, text))
    assert str(caught.value).startswith("some.yaml:67: with first.a60")
    assert "takes more than 10 ** 12 references to be followed, and 100,000 are the most" in str(caught.value)


def test_long_texts_count_where_they_are_taken_in(folder):
    often = "${stages.first.params.size}" * 1001
    text = CHAIN.replace("size: 3", f"size: {'x' * 100_000}").replace(SIZE_OF_FIRST, f'"{often}"')
    with pytest.raises(ConfigError, match=r"some\.yaml:7: with second\.size this config takes 101,"):
        read_config(write(folder, text))


def test_references_that_lead_on_and_on_are_a_sentence(folder):
    lines = "".join(f"\n      a{at}: ${{.a{at + 1}}}" for at in range(2000))
    text = f"name: x\nroot: ../out\nstages:\n  first:\n    notebook: ../work.ipynb\n    params:{lines}\n"
    with pytest.raises(ConfigError, match="references lead from one to the next too often to be followed"):
        read_config(write(folder, text))


@given(st.dictionaries(st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdef"), max_size=3), min_size=1))
def test_references_are_counted_as_if_they_were_followed(refers):
    raw = {name: "x".join(f"${{{other}}}" for other in others) for name, others in refers.items()}

    def slowly(name: str, above: tuple[str, ...] = ()) -> int:
        if name in above:
            raise RecursionError
        return sum(1 + slowly(other, (*above, name)) for other in refers.get(name, ()))

    with suppress(RecursionError):
        assert followed(raw)[0] == sum(map(slowly, raw))


def test_who_reads_what_it_writes_itself_is_told_so(folder):
    with pytest.raises(ConfigError, match=r"b\.zarr is written by second itself \(target\): let it read another place"):
        read_pipeline(write(folder, CHAIN.replace(FROM_FIRST, '"${stages.second.params.target}"')))


@pytest.mark.parametrize("number", ["9" * 5000, "0x" + "f" * 5000, "1." + "0" * 5000])
def test_numbers_that_nobody_can_mean_are_named(folder, number):
    at_all = "is a number of more than 1,000 characters"
    with pytest.raises(ConfigError, match=rf"some.yaml:10: first.size {at_all}") as caught:
        read_config(write(folder, CHAIN.replace("size: 3", f"size: {number}")))
    assert len(str(caught.value)) < 200
    with pytest.raises(ConfigError, match=rf"some.yaml:1: a key {at_all}"):
        read_config(write(folder, f"? {number}\n: 3\n{CHAIN}"))
    with pytest.raises(ConfigError, match=f"command line: 'first.size=...' {at_all}"):
        read_config(write(folder, CHAIN), [f"first.size={number}"]).problems.check()


@pytest.mark.parametrize("number", ["10:00", "1:30:00", "1:30.5"])
def test_a_number_that_is_minutes_and_seconds_to_yaml_alone_is_named(folder, number):
    base = "is a number to the base of 60 with a colon in it: put it in quotes, or write a span of time as 10h"
    with pytest.raises(ConfigError, match=rf"^some.yaml:10: first.size {base}$"):
        read_config(write(folder, CHAIN.replace("size: 3", f"size: {number}")))
    with pytest.raises(ConfigError, match=rf"^command line: 'limit=...' {base}$"):
        read_config(write(folder, CHAIN), [f"limit={number}"]).problems.check()
    assert read_config(write(folder, CHAIN.replace("size: 3", f"size: '{number}'"))).problems.found == []


def test_places_that_meet_behind_a_link_meet(folder):
    (folder.parent / "out" / "a.zarr").mkdir(parents=True)
    (folder.parent / "out" / "link").symlink_to("a.zarr")
    with pytest.raises(ConfigError, match="which first writes, lie in each other"):
        read_pipeline(write(folder, CHAIN.replace(BEHIND, '"${root}/link/b"')))
    with pytest.raises(ConfigError, match="is written by first, which runs later"):
        read_pipeline(write(folder, CHAIN.replace(FROM_FIRST, "../out/link/x").replace(SIZE_OF_FIRST, "4")))


def test_what_a_stage_waits_for_how_long_and_how_often(folder):
    text = CHAIN.replace("workers: 2", "workers: 2, limit: 2h") + (
        '  third: {notebook: ../work.ipynb, params: {source: "../out/a.zarr/x", target: "${root}/c.zarr"},'
        " after: first, limit: 90}\n"
        '  fourth: {notebook: ../work.ipynb, params: {target: "${root}/d.zarr"}, after: third, retries: 2}\n'
    )
    pipeline = read_pipeline(write(folder, text))
    found = {stage.name: (stage.needs, stage.limit, stage.retries) for stage in pipeline.stages}
    assert found == {
        "first": (frozenset(), 7200.0, 0),
        "second": (frozenset({"first"}), 7200.0, 0),
        "third": (frozenset({"first"}), 90.0, 0),
        "fourth": (frozenset({"third"}), 7200.0, 2),
    }
    assert read_pipeline(write(folder, config_text(pipeline))) == pipeline


def test_who_reads_what_another_one_writes_must_refer_to_it(folder):
    third = '  third: {notebook: ../work.ipynb, params: {source: "../out/a.zarr/x", target: "${root}/c.zarr"}%s}\n'
    with pytest.raises(ConfigError) as caught:
        read_pipeline(write(folder, CHAIN + third % ""))
    assert str(caught.value) == (
        f"some.yaml:11: third.source: {folder.parent}/out/a.zarr/x is written by first, for which third does not wait: "
        "refer to it as ${stages.first.params.target}/x, or say after: first"
    )
    out = f"{folder.parent}/out"
    for read in ("../out", "../out/*.zarr"):
        with pytest.raises(ConfigError) as caught:
            read_pipeline(write(folder, CHAIN + (third % "").replace("../out/a.zarr/x", read)))
        sentence = (
            f"{out}/a.zarr in {out}{read[6:]} is written by first, for which third does not wait: say after: first"
        )
        assert sentence in str(caught.value)
    for waits in ("first", "second"):  # which waits for the first
        assert read_pipeline(write(folder, CHAIN + third % f", after: {waits}")).stages[2].needs >= {"first"}


def test_an_input_is_a_file_or_a_folder(folder):
    os.mkfifo(folder / "data" / "pipe")
    with pytest.raises(ConfigError, match=r"second.data: .*/data/pipe is neither a file nor a folder"):
        read_pipeline(write(folder, CHAIN.replace('size: "$', 'data: data/pipe, size: "$')))


def test_a_circle_is_told_without_those_that_wait_for_it(folder):
    text = "".join(
        f"  {name}: {{notebook: ../work.ipynb, params: {{target: '${{root}}/{name}'}}, after: {after}}}\n"
        for name, after in (("behind", "one"), ("one", "two"), ("two", "three"), ("three", "one"))
    )
    with pytest.raises(ConfigError) as caught:
        read_pipeline(write(folder, f"name: x\nroot: ../out\nstages:\n{text}"))
    assert str(caught.value) == "some.yaml:5: the stages one and two and three wait for each other, in a circle"


SHORT = "name: x\nroot: ../out\nstages:\n  a:\n    notebook: ../work.ipynb\n"
WHOLE = "must be a whole number, such as 2, got"
A_STAGE = "must be the name of a stage, or a list of such, got"
STAGES = "must be a mapping of names to notebooks, such as {ingest: {notebook: patchmill:ingest}}, got"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (SHORT.replace("x", "3"), "1: name must be a text, got 3: put it in quotes"),
        (SHORT.replace("x", "[a]"), "1: name must be a text, got ['a']"),
        (SHORT.replace("../out", "''"), "2: root is empty: name one"),
        (SHORT.replace("../out", ""), "2: root must be a text, got nothing"),
        (SHORT.replace("../out", "???"), "2: root can't be resolved: ??? stands for a value that is to be given: "),
        (SHORT.replace("../out", "${nam}"), "2: root can't be resolved: there is no ${nam}; did you mean name?"),
        (SHORT.replace("../out", "${env:A}"), "2: root can't be resolved: there is no ${env:...}; did you mean oc.env"),
        (SHORT.replace("../out", "${nix:A}"), "2: root can't be resolved: there is no ${nix:...}; there are oc.env, "),
        (SHORT.replace("../out", "${ghp_0"), "2: root holds a ${...} that can't be read: close its braces, and write"),
        (f"3: 4\n{SHORT}", "1: 3 is no key of a config; there are name, root, runs, limit, compute, stages"),
        (f"null: 4\n{SHORT}", "1: the config has a key that is no text: put it in quotes, or remove it"),
        (f"{SHORT}    params: {{x: !!set {{b}}}}", "6: a.x must be a text, a number, a truth value, a list or a map"),
        (f"compute: {{workers: many}}\n{SHORT}", f"1: compute.workers {WHOLE} 'many'"),
        (f"compute: {{workers: 1.5}}\n{SHORT}", f"1: compute.workers {WHOLE} 1.5"),
        (f"compute: 3\n{SHORT}", "1: compute must be a mapping, such as {memory: 4GiB, workers: 2}, got 3"),
        (f"compute: {{cluster: Local}}\n{SHORT}", "1: compute.cluster must be a mapping, such as {class: dask.dist"),
        (f"compute: {{cluster: {{class: 3}}}}\n{SHORT}", "1: compute.cluster.class must be a class with its module, "),
        (f"{SHORT}    3: x", "6: stages.a.3 is no key of a config; there are notebook, params, after, limit, retries"),
        (f"{SHORT}    after: 3", f"6: stages.a.after {A_STAGE} 3"),
        (f"{SHORT}    after: [3]", f"6: stages.a.after.0 {A_STAGE} 3: put it in quotes"),
        (f"{SHORT}    after: ''", "6: a can't run after '', which is no stage; there are no others"),
        (f"{SHORT}    retries: often", f"6: stages.a.retries {WHOLE} 'often'"),
        (f"{SHORT}    retries:", f"6: stages.a.retries {WHOLE} nothing"),
        (f"{SHORT}    retries: true", f"6: stages.a.retries {WHOLE} true"),
        (f"{SHORT}    params: [1]", "6: stages.a.params must be a mapping, such as {patch_shape: [256, 256]}, got [1]"),
        (f"{SHORT}    params: {{x: !!binary aGk=}}", "6: a.x must be a text, a number, a truth value, a list or a map"),
        (f"{SHORT}    params: {{size: '${{.nothing}}'}}", "6: a.size can't be resolved: there is no ${.nothing}"),
        (f"{SHORT}    params: {{size: '${{found:a}}'}}", "6: a.size can't be resolved: found takes two texts, a pa"),
        (f"{SHORT}    params: {{size: '${{found:[1],x}}'}}", "6: a.size can't be resolved: found takes two texts"),
        ("name: x\nroot: a\nstages: ${oc.decode:x}", "3: stages must be written out, each with its notebook, got one"),
        (f"{SHORT}    params: {{size: [1, '${{x:']}}", "6: a.size.1 holds a ${...} that can't be read: close its b"),
        (f"{SHORT}  b:", "6: stages.b must be a mapping, such as {notebook: patchmill:ingest}, got nothing"),
        (f"{SHORT}  3: {{notebook: ../work.ipynb}}", "6: stages.3 must be a text, got 3: put it in quotes"),
        (SHORT.replace("../work.ipynb", "3"), "5: stages.a.notebook must be a text: one that comes with patchmill, su"),
        ("name: x\nroot: a\nstages:", f"3: stages {STAGES} nothing"),
        (f"name: x\nroot: a\nstages: [{'a, ' * 99}]", f"3: stages {STAGES} [{chr(39)}a{chr(39)}, "),
    ],
)  # fmt: skip
def test_what_libraries_say_is_told_in_the_words_of_yaml(folder, text, sentence):
    with pytest.raises(ConfigError) as caught:
        read_pipeline(write(folder, text))
    assert str(caught.value).startswith(f"some.yaml:{sentence}")
    assert str(caught.value).count("\n") == 0
    assert len(str(caught.value)) < 250


def test_every_path_of_a_parameter_that_is_a_list_counts(folder):
    write_notebook(folder.parent / "work.ipynb", f"{DECLARED}further: list[str] = []  # out: more")
    several = CHAIN.replace("size: 3", 'size: 3, further: ["${root}/c", "${root}/d"]')
    out = f"{folder.parent}/out"
    assert read_pipeline(write(folder, several)).stages[0].outputs == {
        "target": f"{out}/a.zarr",
        "further.0": f"{out}/c",
        "further.1": f"{out}/d",
    }
    for taken in ("c", "d"):
        with pytest.raises(ConfigError) as caught:
            read_pipeline(write(folder, several.replace(BEHIND, f'"${{root}}/{taken}"')))
        assert str(caught.value) == f"some.yaml:7: second.target: {out}/{taken} is written by first already"
        early = several.replace(FROM_FIRST, f'"${{root}}/{taken}"').replace(SIZE_OF_FIRST, "3")
        with pytest.raises(ConfigError) as caught:
            read_pipeline(write(folder, early))
        assert f"second.source: {out}/{taken} is written by first, which runs later" in str(caught.value)
    third = '  third: {notebook: ../work.ipynb, params: {source: "../out/c/x", target: "${root}/e"}}\n'
    with pytest.raises(ConfigError, match=r"refer to it as \$\{stages\.first\.params\.further\.0\}/x"):
        read_pipeline(write(folder, several + third))
    read_pipeline(write(folder, several + third.replace("../out/c", "${stages.first.params.further.0}")))
    with pytest.raises(ConfigError, match=r"some\.yaml:10: first\.further\.1: .* does not lie under the root"):
        read_pipeline(write(folder, several.replace("${root}/d", "../d")))


def test_two_stages_do_not_write_to_one_url(folder):
    text = CHAIN.replace('"${root}/a.zarr"', '"s3://bucket/a.zarr"')
    for met, sentence in (("a.zarr", "is written by first already"), ("a.zarr/b", "lie in each other")):
        with pytest.raises(ConfigError, match=sentence):
            read_pipeline(write(folder, text.replace(BEHIND, f'"s3://bucket/{met}"')))
    assert len(read_pipeline(write(folder, text.replace(BEHIND, '"s3://bucket/b.zarr"'))).stages) == 2


def test_paths_are_resolved_once_and_not_for_each_pair_of_stages(folder, monkeypatch):
    count = 40
    stages = "".join(
        f"  s{at}: {{notebook: ../work.ipynb, params: {{source: '../out/{at - 1}/x', target: '${{root}}/{at}'}}}}\n"
        for at in range(1, count + 1)
    )
    (folder.parent / "out" / "0" / "x").mkdir(parents=True)
    text = f"name: many\nroot: ../out\nstages:\n{stages}"
    for at in range(2, count + 1):
        text = text.replace(f"'${{root}}/{at}'}}", f"'${{root}}/{at}'}}, after: s{at - 1}")
    resolved: list[str] = []
    resolve = os.path.realpath
    monkeypatch.setattr(os.path, "realpath", lambda path, **kwargs: resolved.append(path) or resolve(path, **kwargs))
    stages = read_pipeline(write(folder, text)).stages
    assert stages[-1].needs == {f"s{count - 1}"}
    # Of each stage what it reads by both parameters and what it writes, and a few of the config's own.
    assert len(resolved) <= 3 * count + 10
    assert len(resolved) == len(set(resolved))


def test_a_path_that_is_written_too_late_is_told(folder):
    text = CHAIN.replace("${stages.first.params.target}", "${root}/a.zarr").replace(
        '"${stages.first.params.size}"', "3"
    )
    with pytest.raises(ConfigError) as caught:
        read_pipeline(write(folder, text))
    assert str(caught.value) == (
        f"some.yaml:7: second.source: {folder.parent}/out/a.zarr is written by first, which runs later; "
        "refer to it as ${stages.first.params...}"
    )


def test_all_mistakes_are_told_at_once(folder):
    text = CHAIN.replace("1GiB", "lots").replace("root}/a", "rot}/a").replace("size: 3", "siez: 3")
    text = (
        text.replace('"${root}/b.zarr"', "../b.zarr") + "  third: {notebok: x}\n  fourth: {notebook: ../wrok.ipynb}\n"
    )
    with pytest.raises(ConfigError) as caught:
        read_pipeline(write(folder, text), ["frist.size=1", "second.size", "second.data=none"])
    lines = [line.partition(": ")[0] for line in str(caught.value).splitlines()]
    places = ["command line"] * 3 + [f"some.yaml:{n}" for n in (3, 7, 7, 7, 10, 10, 11, 11, 12)]
    assert lines == places, str(caught.value)


def test_a_stage_that_is_wrong_does_not_blame_those_that_follow(folder):
    text = CHAIN.replace("first:\n    notebook: ../work", "first:\n    notebook: ../wrok")
    with pytest.raises(ConfigError) as caught:
        read_pipeline(write(folder, text))
    assert str(caught.value).count("\n") == 0


@pytest.mark.parametrize(
    "given",
    ["second.size", "=3", "a.b.c=3", "second.size=[1", "second.size=${nothing}"],
)
def test_an_override_that_can_not_be_is_a_sentence(folder, given):
    with pytest.raises(ConfigError, match=r"^command line: "):
        read_pipeline(write(folder, CHAIN), [given])


def test_the_photographs_that_come_along_need_no_quotes_on_the_command_line(folder):
    for word in ("first.source=sample:", 'first.source="sample:"'):
        assert read_pipeline(write(folder, CHAIN), [word]).stages[0].params["source"] == "sample:"


SHARED = """\
name: shared
root: ../out
stages:
  a: {notebook: ../work.ipynb, params: {size: 5, data: "${found:data/x,data/x}"}}
  b: WHOLE
"""


@pytest.mark.parametrize(
    "whole",
    [
        "{notebook: ../work.ipynb, params: '${stages.a.params}'}",
        "{notebook: ../work.ipynb, params: '${..a.params}'}",
        "{notebook: ../work.ipynb, params: '${stages[a].params}'}",
        "{notebook: ../work.ipynb, params: '${oc.select:stages.a.params}'}",
        "'${stages.a}'",
        "'${.a}'",
    ],
)
def test_an_override_of_what_is_one_reference_changes_no_other_stage(folder, whole):
    path = write(folder, SHARED.replace("WHOLE", whole))
    data = str(folder / "data" / "x")
    given = [{"size": [5, 5], "data": data}, {"size": [3, 3], "data": data}]
    for key in ("b.size", "stages.b.params.size"):
        stages = {stage.name: dict(stage.params) for stage in read_pipeline(path, [f"{key}=3"]).stages}
        own = ("size", "data")
        assert [{name: stages[stage][name] for name in own} for stage in "ab"] == given
    # What is not overridden follows, whichever override is written first.
    for overrides in (["b.data=data/x", "a.size=7"], ["a.size=7", "b.data=data/x"]):
        assert [stage.params["size"] for stage in read_pipeline(path, overrides).stages] == [[7, 7]] * 2
    assert read_config(path, ["b.size=3"]).references == read_config(path).references
    pipeline = read_pipeline(path, ["b.target=${root}/b.zarr"])
    assert [stage.params.get("target", "")[-6:] for stage in pipeline.stages] == ["a.zarr", "b.zarr"]


def test_an_override_of_what_a_resolver_made_keeps_the_rest(folder):
    path = write(
        folder, SHARED.replace("WHOLE", "{notebook: ../work.ipynb, params: '${oc.create:{size: 5, target: x}}'}")
    )
    pipeline = read_pipeline(path, ["b.target=${root}/b.zarr"])
    assert pipeline.stages[1].params["size"] == [5, 5]


def test_an_override_of_a_part_of_a_value_leaves_the_other_parts(folder):
    params = "params: {size: [5, 6], data: {mask: a, depth: b}}"
    path = write(folder, SHARED.replace("WHOLE", f"{{notebook: ../work.ipynb, {params}}}"))
    config = read_config(path, ["b.data.mask=c", "b.size.1=7"])
    assert config.model.stages["b"].params == {"size": [5, 7], "data": {"mask": "c", "depth": "b"}}
    for part in ("x", "9"):
        with pytest.raises(ConfigError, match=rf"^command line: 'b.size.{part}=...' can't be set: "):
            read_config(path, [f"b.size.{part}=7"]).problems.check()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("first=1", "'first=...' names a stage only; it must look like first.PARAM=value"),
        ("runs=s3://bucket/x", "runs must be a local folder for the records of runs, got s3://bucket/x"),
        ("root=s3://bucket/x", "runs must be a local folder for the records of runs, since root is s3://bucket/x"),
        ("stages=${oc.create:{}}", "stages must be written out, each with its notebook, got one text for all"),
    ],
)
def test_an_override_that_misses_is_told_what_it_hits(folder, given, sentence):
    with pytest.raises(ConfigError) as caught:
        read_pipeline(write(folder, CHAIN), [given])
    assert str(caught.value).endswith(sentence)
    assert str(caught.value).count("\n") == 0


def test_inputs_may_be_patterns_and_variables_of_files(folder):
    (folder / "a.nc").touch()
    text = CHAIN.replace('"${stages.first.params.target}"', "{}")
    for found in ("data/*", "a.nc:band", "data/{{stem}}", "s3://bucket/x", "sample:"):
        read_pipeline(write(folder, text.replace("{}", f'"{found.format()}"', 1)))
    for missing in ("data/*.tif", "b.nc:band"):
        with pytest.raises(ConfigError, match="and no stage writes it"):
            read_pipeline(write(folder, text.replace("{}", f'"{missing}"', 1)))


@pytest.mark.parametrize(
    "reference",
    [
        "${stages.first.params.size}",
        "${stages[first].params.size}",
        "${...first.params.size}",
        "${oc.select:stages.first.params.size}",
    ],
)
def test_references_are_seen_however_they_are_written(folder, reference):
    text = CHAIN.replace("${stages.first.params.size}", reference).replace(
        '"${stages.first.params.target}"', '"sample:"'
    )
    config = read_config(write(folder, text))
    assert config.references == {"second": frozenset({"first"}), "first": frozenset()}
    assert config.model.stages["second"].params["size"] == 3


def test_a_packaged_config_works_below_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pipeline = read_pipeline("patchmill:demo")
    assert pipeline.root == str(tmp_path / "runs" / "demo")
    assert [stage.name for stage in pipeline.stages] == ["ingest", "patchify", "explore"]
    with pytest.raises(ConfigError, match=r"there is no patchmill:nothing; there are patchmill:cluster"):
        read_pipeline("patchmill:nothing")


@given(st.lists(st.sampled_from("abcdef"), unique=True, max_size=6), st.randoms(use_true_random=False))
def test_every_stage_runs_behind_those_it_refers_to_and_else_as_written(names, random):
    hidden = random.sample(names, len(names))
    references = {name: frozenset(random.sample(hidden[:at], random.randint(0, at))) for at, name in enumerate(hidden)}
    order = [stage.name for stage in _ordered([Stage(name, "", {}, {}) for name in names], references, None)]
    assert sorted(order) == sorted(names)
    for at, name in enumerate(order):
        assert references[name] <= set(order[:at])
        # Whoever stands before it although written later, it had to wait for, or was waited for.
        free = [other for other in names if other in order[at:] and references[other] <= set(order[:at])]
        assert name == free[0]


def test_a_folder_in_place_of_a_config_names_those_in_it(folder, monkeypatch):
    write(folder, CHAIN)
    monkeypatch.chdir(folder.parent.parent)
    project = folder.parent.name
    for path, meant in (
        (project, f"{project}/configs/some.yaml"),
        (f"{project}/configs", f"{project}/configs/some.yaml"),
    ):
        with pytest.raises(ConfigError) as found:
            read_config(path)
        assert str(found.value) == f"a config is a file, and {path} is a folder: name {meant}"
    with pytest.raises(ConfigError, match="is a folder: it holds none"):
        read_config(str(folder / "data"))


def test_the_other_suffix_of_a_config_is_suggested(folder, monkeypatch):
    write(folder, CHAIN)
    monkeypatch.chdir(folder.parent.parent)
    for wrong in ("some.yml", "some"):
        with pytest.raises(ConfigError, match=r"configs/some\.yaml\?$"):
            read_config(f"{folder.parent.name}/configs/{wrong}")


def test_a_parameter_without_its_stage_is_told_its_stages(folder):
    path = write(folder, CHAIN)
    for name, meant in (("size", "second.size or first.size"), ("data", "second.data or first.data")):
        with pytest.raises(ConfigError, match=rf"no stage {name}; did you mean {meant}\?$"):
            read_config(path, [f"{name}=64"]).problems.check()
    with pytest.raises(ConfigError, match=r"no stage stage; its stages are second, first$"):
        read_config(path, ["stage=64"]).problems.check()


@pytest.mark.parametrize("read", ["..", "../*", "../out/*", "../**/*.zarr"])
def test_what_the_next_run_would_read_as_well_is_refused(folder, read):
    with pytest.raises(ConfigError) as caught:
        read_pipeline(write(folder, CHAIN.replace("{target: ", f'{{source: "{read}", target: ')))
    assert "first.source" in str(caught.value)
    assert "which the next run would read as well: name the files by a pattern" in str(caught.value)


def test_a_pattern_meets_only_what_it_finds(folder):
    third = '  third: {notebook: ../work.ipynb, params: {source: "../*.zarr", target: "${root}/c.zarr"}}\n'
    (folder.parent / "other.zarr").touch()
    assert read_pipeline(write(folder, CHAIN + third)).names == ["first", "second", "third"]


def test_partners_are_looked_for_beside_the_images_of_a_config(folder):
    (folder.parent / "scenes" / "below").mkdir(parents=True)
    for name in ("a.png", "a_mask.png", "below/b.png", "below/b_mask.png"):
        (folder.parent / "scenes" / name).touch()
    text = """
name: some
root: ../out
stages:
  ingest: {notebook: "patchmill:ingest", params: {images: %s, variables: {mask: "{parent}/{stem}_mask.png"}}}
"""
    below = f"{folder.parent}/scenes"
    for images, beside in (("../scenes", f"{below}/**/{{stem}}"), ("../scenes/a.*", f"{below}/{{stem}}")):
        stage = read_pipeline(write(folder, text % images)).stages[0]
        assert stage.params["variables"] == {"mask": "{parent}/{stem}_mask.png"}
        assert ("variables.mask", f"{beside}_mask.png") in stage.inputs


@pytest.mark.parametrize(
    ("kernel", "sentence"),
    [
        ("mine", ""),
        ("MINE", ""),
        ("miine", "wants the kernel miine, which is not installed: install it, or choose another in Jupyter"),
        (
            ".venv",
            "wants the kernel .venv, which is not installed: install it, or choose another in Jupyter; there are",
        ),
        ("", "names no kernel: open it in Jupyter, choose one, and save it"),
    ],
)
def test_a_kernel_that_is_not_there_is_told_before_anything_runs(folder, monkeypatch, kernel, sentence):
    (folder / "kernels" / "mine").mkdir(parents=True)
    (folder / "kernels" / "mine" / "kernel.json").write_text("{}")
    monkeypatch.setenv("JUPYTER_PATH", str(folder))
    notebook = json.loads((folder.parent / "work.ipynb").read_text())
    notebook["metadata"]["kernelspec"]["name"] = kernel
    (folder.parent / "work.ipynb").write_text(json.dumps(notebook))
    told = ""
    try:
        read_pipeline(write(folder, CHAIN))
    except ConfigError as error:
        told = str(error).splitlines()[0]
    assert told.startswith(f"some.yaml:6: ../work.ipynb {sentence}" if sentence else "")
    assert bool(told) == bool(sentence)
    assert told.endswith("; did you mean mine?") == (kernel == "miine")
