"""`patchmill.parameters` in the cells of a running IPython: whatever ran them, and by hand."""

from __future__ import annotations

import os
import shutil

import pytest

import patchmill
from patchmill.errors import ConfigError
from stages.notebook_files import ENTER

DECLARED = """\
source: str = "sample:"  # in: where from
target: str = "temp:a/b.zarr"  # out: where to
variables: dict[str, str] = {}  # in: further
patch_shape: list[int] = [256, 256]  # pixels
step: list[int] = None  # pixels
flag: bool = False  # yes or no
"""


def test_defaults_work_in_a_temporary_folder_which_is_told(cells, capsys):
    found = cells(DECLARED, ENTER)
    folder = os.path.dirname(os.path.dirname(found["target"]))
    assert os.path.isdir(folder)
    assert folder in capsys.readouterr().out
    assert (found["source"], found["patch_shape"], found["step"]) == ("sample:", [256, 256], None)
    assert found["target"] == f"{folder}/a/b.zarr"
    shutil.rmtree(folder)


def test_texts_of_a_scheduler_become_what_they_say(cells, tmp_path):
    given = (
        "# Parameters\nsource = 'x.zarr'\ntarget = '~/y.zarr'\npatch_shape = '[64, 32]'\nstep = '16'\nflag = 'true'\n"
    )
    found = cells(DECLARED, f"{given}variables = '{{m: a/b.tif}}'", ENTER)
    assert found["source"] == str(tmp_path / "x.zarr")
    assert found["target"] == os.path.expanduser("~/y.zarr")
    assert found["variables"] == {"m": str(tmp_path / "a/b.tif")}
    assert (found["patch_shape"], found["step"], found["flag"]) == ([64, 32], [16, 16], True)


def test_urls_stay_and_a_second_run_changes_nothing(cells, tmp_path):
    found = cells(DECLARED, "source = 's3://bucket/x.zarr'\ntarget = 'y.zarr'", ENTER)
    assert found["source"] == "s3://bucket/x.zarr"
    before = {name: found[name] for name in ("source", "target", "step")}
    os.chdir("/")
    again = cells(ENTER)
    assert {name: again[name] for name in before} == before


def test_by_hand_a_changed_cell_is_entered_again(cells, tmp_path):
    cells(DECLARED, "target = 'y'", ENTER, "mine = 3", "import math")
    found = cells(DECLARED.replace("[256, 256]", "8"), "target = 'z'", ENTER)
    assert found["patch_shape"] == [8, 8]
    assert found["target"] == str(tmp_path / "z")


def test_what_nobody_declared_is_refused_with_the_nearest_name(cells):
    with pytest.raises(ConfigError, match=r"^patch_shap is no parameter of this notebook; did you mean patch_shape\?$"):
        cells(DECLARED, "patch_shap = 3\ntarget = 'x'", ENTER)


def test_all_problems_are_told_and_nothing_is_changed(cells, shell):
    with pytest.raises(ConfigError) as caught:
        cells(DECLARED, "PAPERMILL_INPUT_PATH = 'x'\nzebra = 3\nflag = 'maybe'\nstep = 1.5", ENTER)
    assert str(caught.value).splitlines() == [
        "zebra is no parameter of this notebook; it declares source, target, variables, patch_shape, step, flag",
        "step must be a list of whole numbers or one such number, got 1.5 (float)",
        "flag must be true or false, got 'maybe' (str)",
    ]
    assert shell.user_ns["flag"] == "maybe"
    assert not hasattr(caught.value, "run")


def test_the_notebook_shows_the_sentence_without_a_traceback(shell, capsys):
    shell.run_cell(DECLARED, store_history=True)
    shell.run_cell("zebra = 3", store_history=True)
    shell.run_cell(ENTER, store_history=True)
    said = capsys.readouterr().out
    assert said.strip().startswith("ParameterError: zebra is no parameter")
    assert len(said.strip().splitlines()) == 1


def test_the_values_come_back_and_are_drawn_escaped(cells):
    found = cells(DECLARED, "target = '<b>'", "import patchmill\ngiven = patchmill.parameters(globals())")
    assert found["given"].patch_shape == [256, 256]
    assert "<b>" not in found["given"]._repr_html_()
    assert "&lt;b&gt;" in found["given"]._repr_html_()


def test_without_declarations_or_outside_of_a_notebook_it_says_what_is_missing(cells):
    with pytest.raises(ConfigError, match="found no declared parameters"):
        cells("a = 1", ENTER)
    with pytest.raises(ConfigError, match="belongs into the second cell of a notebook"):
        patchmill.parameters({})


def test_a_declaration_that_can_not_be_is_one_sentence(cells):
    with pytest.raises(ConfigError, match=r"^parameter a is declared as tuple\[int\]"):
        cells("a: tuple[int] = (1,)", ENTER)
