"""Which stages run, and what would: selections and rehearsals, of which none writes anything."""

from __future__ import annotations

from pathlib import Path

import pytest

import patchmill
from patchmill.errors import ConfigError, PatchmillError
from patchmill.stages import needed
from patchmill.stages.pipelines import read_pipeline
from patchmill.stages.rehearsing import rehearse
from patchmill.stages.selecting import Selection
from stages.notebook_files import shown_text, write_config, write_notebook

WORKS = 'source: str = "sample:"  # in: a file\ntarget: str = "temp:a"  # out: a file'


def stage(target: str, source: str | None = None, **others) -> dict:
    params = {"target": f"${{root}}/{target}"} | (
        {"source": f"${{stages.{source}.params.target}}"} if source is not None else {}
    )
    return {"notebook": "works.ipynb", "params": params, **others}


@pytest.fixture
def config(tmp_path: Path) -> str:
    """Two chains, a - b - c and x - y, and z behind b and y."""
    write_notebook(tmp_path / "works.ipynb", WORKS, "open(target, 'w').write(source)\nprint('it ran')")
    stages = {
        "a": stage("a"),
        "b": stage("b", "a"),
        "x": stage("x"),
        "y": stage("y", "x"),
        "c": stage("c", "b"),
        "z": stage("z", "y", after=["b"]),
    }
    return str(write_config(tmp_path / "pipeline.yaml", stages))


def there(folder: Path, *names: str) -> None:
    (folder / "out").mkdir(exist_ok=True)
    for name in names:
        (folder / "out" / name).write_text("12345")


@pytest.mark.parametrize(
    ("chosen", "names"),
    [
        (Selection(), "abxycz"),
        (Selection(first=("b",)), "bcz"),
        (Selection(first=("c", "y")), "ycz"),
        (Selection(until=("z",)), "abxyz"),
        (Selection(until=("b", "x")), "abx"),
        (Selection(first=("a",), until=("z",)), "abz"),
        (Selection(only=("z", "a")), "az"),
    ],
)
def test_the_graph_says_which_stages_run(config, tmp_path, chosen, names):
    there(tmp_path, *"abxycz")
    stages = read_pipeline(config, (), chosen).stages
    assert "".join(stage.name for stage in stages) == names
    assert all(stage.needs <= set(names) for stage in stages)


def test_a_stage_waits_for_another_although_those_between_are_left_out(config, tmp_path):
    there(tmp_path, "b", "y")
    (_, last) = read_pipeline(config, (), Selection(only=("a", "z"))).stages
    assert last.needs == {"a"}


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        (Selection(only=("b",)), "b.source: there is no {out}/a, and a, which writes it, is left out: run that too"),
        (Selection(first=("z",)), "z.source: there is no {out}/y, and y, which writes it, is left out"),
        (Selection(first=("bb",)), "command line: --from bb: the config has no stage bb"),
        (
            Selection(until=("q",)),
            "command line: --until q: the config has no stage q; its stages are a, b, x, y, c, z",
        ),
        (Selection(only=("a",), first=("b",)), "command line: --only can't go with --from or --until"),
        (Selection(first=("c",), until=("x",)), "command line: --from and --until have no stage in common"),
    ],
)
def test_a_selection_that_can_not_be_is_a_sentence_before_anything_runs(config, tmp_path, chosen, sentence):
    if chosen.until or chosen.only == ("a",):
        there(tmp_path, *"abxycz")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ConfigError) as caught:
        read_pipeline(config, (), chosen)
    assert sentence.format(out=tmp_path / "out") in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_stage_that_is_left_out_needs_no_inputs(config, tmp_path):
    there(tmp_path, "a")
    read_pipeline(config, ["a.source=gone"], Selection(only=("b",)))
    with pytest.raises(ConfigError, match=r"there is no .*gone, and no stage writes it"):
        read_pipeline(config, ["a.source=gone"])


def test_only_what_is_chosen_runs(config, tmp_path):
    there(tmp_path, "b", "y")
    run = patchmill.run(config, only_stages="z")
    assert [(stage.name, stage.state) for stage in run.stages] == [("z", "done")]
    assert shown_text(run.stages[0].executed) == "it ran\n"
    assert (tmp_path / "out" / "z").read_text() == str(tmp_path / "out" / "y")
    assert (tmp_path / "out" / "b").read_text() == "12345"


def test_a_rehearsal_says_what_would_be_and_writes_nothing(config, tmp_path):
    there(tmp_path, "a")
    before = sorted(tmp_path.rglob("*"))
    said = rehearse(config, ["x.target=${root}/other"], jobs=3, from_stages=["x", "b"])
    out = tmp_path / "out"
    assert said == [
        "test: 5 stages would run, up to 2 at a time",
        f"[1/5] b: {tmp_path}/works.ipynb",
        "  runs: no earlier run of it is known",
        f"  reads   source  {out}/a  (exists, 5 B)",
        f"  writes  target  {out}/b  (not there yet)",
        f"[2/5] x: {tmp_path}/works.ipynb",
        "  runs: no earlier run of it is known",
        "  reads   source  sample:",
        f"  writes  target  {out}/other  (not there yet)",
        f"[3/5] y after x: {tmp_path}/works.ipynb",
        "  runs: x, which it needs, would run first; no earlier run of it is known",
        f"  reads   source  {out}/other  (of x)",
        f"  writes  target  {out}/y  (not there yet)",
        f"[4/5] c after b: {tmp_path}/works.ipynb",
        "  runs: b, which it needs, would run first; no earlier run of it is known",
        f"  reads   source  {out}/b  (of b)",
        f"  writes  target  {out}/c  (not there yet)",
        f"[5/5] z after b, y: {tmp_path}/works.ipynb",
        "  runs: b and y, which it needs, would run first; no earlier run of it is known",
        f"  reads   source  {out}/y  (of y)",
        f"  writes  target  {out}/z  (not there yet)",
        f"its record would lie in {out}/records; nothing was written",
    ]
    assert sorted(tmp_path.rglob("*")) == before


def test_what_the_run_would_lack_the_rehearsal_lacks(config, monkeypatch):
    find = needed.find_spec
    monkeypatch.setattr(needed, "find_spec", lambda name: None if name in {"papermill", "psutil"} else find(name))
    lacking = "running notebooks needs papermill, psutil, which are not installed: pip install 'patchmill[notebooks]'"
    for begin in (patchmill.run, rehearse):
        with pytest.raises(PatchmillError) as caught:
            begin(config)
        assert str(caught.value) == lacking
