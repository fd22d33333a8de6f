"""What a parameters cell declares: the same as papermill reads from it, and nothing papermill would drop."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import nbformat
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from papermill.cli import papermill
from papermill.translators import PythonTranslator

from patchmill.ingesting.problems import OnError
from patchmill.ingesting.publishing import IngestMode
from patchmill.stages import generating
from patchmill.stages.declared import declarations, nearest, split_history
from patchmill.stages.packaged import notebook_path, packaged_notebooks
from patchmill.stages.pipelines import notebook_declarations
from patchmill.types import Edge, Layout, Mode, PadMode

NAMES = st.from_regex(r"[a-z][a-z_0-9]{0,8}", fullmatch=True).filter(
    lambda name: not __import__("keyword").iskeyword(name)
)
LITERALS = st.sampled_from(
    [
        ("int", 3),
        ("float", 2.5),
        ("bool", True),
        ("str", "a b"),
        ("list[int]", [1, 2]),
        ("dict[str, str]", {}),
        ("int", None),
    ]
)
HELP = st.from_regex(r"([a-z(][a-z ,.()\"*/-]{0,30})?", fullmatch=True).map(str.strip)
LINES = st.dictionaries(
    NAMES, st.tuples(LITERALS, st.sampled_from(["", "in: ", "out: "]), HELP), min_size=1, max_size=4
)


def as_cell(lines: dict) -> str:
    return "\n".join(
        f"{name}: {kind} = {value!r}  # {way}{help_}".rstrip() for name, ((kind, value), way, help_) in lines.items()
    )


@given(LINES)
def test_it_reads_what_is_written_and_what_papermill_reads(lines):
    cell = as_cell(lines)
    found = declarations(cell)
    assert {name: (one.type, one.default) for name, one in found.items()} == {
        name: line[0] for name, line in lines.items()
    }
    for one in PythonTranslator.inspect({"source": cell}):
        mine = found.pop(one.name)
        assert one.inferred_type_name == mine.type
        assert one.help in {mine.help, f"{mine.way}: {mine.help}".strip()}
    assert not found


@pytest.mark.parametrize("name", [*packaged_notebooks(), "pipeline"])
def test_papermill_lists_every_parameter_of_the_packaged_notebooks(name):
    path = notebook_path(f"patchmill:{name}", "")
    tagged = [c for c in nbformat.read(path, as_version=4).cells if "parameters" in c.metadata.get("tags", [])]
    found = declarations(tagged[0].source)
    ended = CliRunner().invoke(papermill, ["--help-notebook", path])
    assert ended.exit_code == 0
    said = ended.output
    assert found
    for one in found.values():
        assert f"  {one.name}: {one.type} (default " in said
        assert one.help
        assert one.help in said


@pytest.mark.parametrize("name", [*packaged_notebooks(), "pipeline"])
def test_packaged_notebooks_are_clean(name):
    notebook = nbformat.read(notebook_path(f"patchmill:{name}", ""), as_version=4)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor, notebook.metadata.kernelspec.name) == (4, 5, "python3")
    assert notebook.cells[0].source.startswith("# ")
    assert notebook.cells[1].metadata.tags == ["parameters"]
    assert "patchmill.parameters(globals())" in notebook.cells[2].source
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)


def test_types_in_comments_and_without():
    found = declarations("a = None  # type: list[int] some help\nb = [1, 2]\nc = None\nd: 'int' = 1  # out: x")
    assert [(one.type, one.help, one.way) for one in found.values()] == [
        ("list[int]", "some help", ""),
        ("list[int]", "", ""),
        ("", "", ""),
        ("int", "x", "out"),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('one of "x", "y": which', ("x", "y")),
        ('one of "x", "y z" or "w"', ("x", "y z", "w")),
        ('one of "x", "y", or "z": which', ("x", "y", "z")),
        ('one of "x" and "y"; which', ("x", "y")),
        ('one of "x"', ()),
        ("one of them", ()),
        ('which one of "x", "y"', ()),
    ],
)
def test_a_comment_names_all_that_a_text_may_be(text, words):
    (found,) = declarations(f"a: str = None  # {text}").values()
    assert (found.words, found.help) == (words, text)


@pytest.mark.parametrize(
    ("notebook", "parameter", "words"),
    [
        ("patchify", "layout", Layout),
        ("patchify", "edge", Edge),
        ("patchify", "pad_mode", PadMode),
        ("patchify", "mode", Mode),
        ("ingest", "on_error", OnError),
        ("ingest", "mode", IngestMode),
        ("generate", "mode", generating.Mode),
    ],
)
def test_packaged_notebooks_take_the_words_that_the_library_takes(notebook, parameter, words):
    declared = notebook_declarations(notebook_path(f"patchmill:{notebook}", ""))
    assert sorted(declared[parameter].words) == sorted(get_args(words))


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("a: int | None = 1", r"parameter a is declared as int \| None, but its type must be one of int, float"),
        ("a: Literal['x'] = 'x'", "parameter a is declared as Literal"),
        ("a: pathlib.Path = None", "parameter a is declared as pathlib.Path"),
        ("a: int = f(3)", r"the default of parameter a must be a literal, got f\(3\)"),
        ("a: int = ", "the parameters cell is no Python"),
        ('a: str = "z"  # one of "x", "y": which', 'a str, and its default one of "x", "y", got \'z\''),
        ('a: int = 1  # one of "x", "y": which', "parameter a must be a str, and its default one of"),
    ],
)
def test_what_papermill_would_drop_is_refused(cell, message):
    with pytest.raises(ValueError, match=message):
        declarations(cell)


DECLARES = "size: int = 3  # pixels"


@pytest.mark.parametrize(
    ("cells", "names"),
    [
        ([DECLARES], []),
        (["import os", DECLARES], []),
        ([DECLARES, "# Parameters\nsize = 5\nsise = 6"], ["size", "sise"]),
        ([DECLARES, "size = float('nan')"], ["size"]),
        ([DECLARES, "# Parameters\ntext = 'see #in: there'"], ["text"]),
        ([DECLARES, "enter(globals())", "n = 3"], []),
        ([DECLARES, "size = 5", "enter(globals())", "n = 3", DECLARES, "sise = 6"], ["sise"]),
        ([DECLARES, "x, y = 1, 2"], []),
        ([DECLARES, "%matplotlib inline", "n = 3"], []),
    ],
)
def test_only_what_is_assigned_right_behind_the_declarations_was_given(cells, names):
    assert split_history(cells) == (DECLARES, names)


def test_the_latest_declarations_count():
    assert split_history([DECLARES, "size = 4", "size: int = 9"]) == ("size: int = 9", [])
    assert split_history(["import os", "a = 1"]) == (None, [])
    assert split_history(['a = "x"  # one of "x", "y"'])[0] == 'a = "x"  # one of "x", "y"'
    assert split_history(["a = 1  # in: a path"]) == ("a = 1  # in: a path", [])


def test_the_nearest_name():
    assert nearest("stpe", ["patch_shape", "step"]) == "; did you mean step?"
    assert nearest("zzz", ["patch_shape", "step"]) == ""


def test_folders_of_the_packaged_notebooks():
    assert packaged_notebooks() == ["explore", "generate", "ingest", "inspect", "patchify"]
    assert Path(notebook_path("patchmill:ingest", "/nowhere")).is_file()
    assert notebook_path("../a.ipynb", "/x/y") == "/x/a.ipynb"
