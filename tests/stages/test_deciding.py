"""Whether a stage runs, and why: every edit that matters is seen, and none that does not."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import patchmill
from cuts import tiny_shards  # noqa: F401 - a fixture
from patchmill.errors import TargetExistsError
from patchmill.stages import deciding
from patchmill.stages.codes import normalized, notebook_digest
from patchmill.stages.deciding import Decision, basis_of, decide, left_by
from patchmill.stages.memos import Basis, Memos, Work
from patchmill.stages.owning import refuse_foreign
from patchmill.stages.pipelines import Pipeline, Stage, read_pipeline
from stages.notebook_files import write_config, write_notebook

DECLARED = """source: list[str] = []  # in: files
target: str = "temp:a"  # out: a file
text: str = "nothing"  # what to write
mode: str = "auto"  # where the target exists"""
CODE = "import helping\nwrite(target, text)  # a note"


class Project:
    """A config of one stage, `works`, that reads a folder and writes one place; nothing is executed."""

    def __init__(self, folder: Path, **params) -> None:
        self.folder = folder
        self.target = folder / "out" / "a"
        (folder / "data").mkdir()
        (folder / "data" / "one.txt").write_text("one")
        (folder / "helping.py").write_text("word = 1")
        self.params = {"source": "data", "target": "${root}/a", **params}
        self.notebook(CODE)

    def notebook(self, *cells: str) -> None:
        write_notebook(self.folder / "works.ipynb", DECLARED, *cells)

    def read(self, **params) -> tuple[Pipeline, Stage, Memos]:
        stages = {"works": {"params": {**self.params, **params}}}
        pipeline = read_pipeline(str(write_config(self.folder / "pipeline.yaml", stages)))
        return pipeline, pipeline.stages[0], Memos(pipeline.runs, pipeline.name)

    def now(self, **params) -> Decision:
        _, stage, memos = self.read(**params)
        return decide(stage, memos)

    def begin(self, **params) -> Work:
        _, stage, memos = self.read(**params)
        decision = decide(stage, memos)
        work = Work("run-1", decision.basis, decision.task("run-1"), decision.anew, left_by(stage))
        memos.begin("works", work)
        return work

    def done(self, text: str = "12345") -> None:
        work = self.begin()
        self.target.parent.mkdir(exist_ok=True)
        self.target.write_text(text)
        _, stage, memos = self.read()
        memos.end("works", Work("run-1", work.basis, work.task, work.anew, left_by(stage)))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """One whose stage was done."""
    made = Project(tmp_path)
    made.done()
    return made


def test_nothing_changed(project):
    assert (project.now().runs, project.now().why) == (False, "nothing changed since run run-1")


def test_before_the_first_run_nothing_is_known(tmp_path):
    found = Project(tmp_path).now()
    assert (found.runs, found.why, found.anew) == (True, "no earlier run of it is known", False)


def comment(project: Project) -> None:
    project.notebook(
        "# Some Markdown", "import helping\n\n# another note\nwrite( target, text )", "# a comment only\n#"
    )


def outputs_and_metadata(project: Project) -> None:
    path = project.folder / "works.ipynb"
    notebook = json.loads(path.read_text())
    notebook["metadata"]["more"] = 1
    notebook["cells"][1]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "said"}]
    notebook["cells"][1]["execution_count"] = 7
    notebook["cells"].append(
        {"cell_type": "code", "metadata": {"tags": ["injected-parameters"]}, "source": "text = 1", "outputs": []}
    )
    path.write_text(json.dumps(notebook))


def help_of_a_parameter(project: Project) -> None:
    write_notebook(project.folder / "works.ipynb", DECLARED.replace("what to write", "says what"), CODE)


def comment_of_a_module(project: Project) -> None:
    (project.folder / "helping.py").write_text("word = 1  # why")


def hidden_file(project: Project) -> None:
    (project.folder / "data" / ".DS_Store").write_text("")
    (project.folder / "data" / ".ipynb_checkpoints").mkdir()
    (project.folder / "data" / ".ipynb_checkpoints" / "a").write_text("")


def touched_output(project: Project) -> None:
    os.utime(project.target, (1, 1))


def module_of_nobody(project: Project) -> None:
    (project.folder / "other.py").write_text("word = 2")


@pytest.mark.parametrize(
    "edit",
    [
        comment,
        outputs_and_metadata,
        help_of_a_parameter,
        comment_of_a_module,
        hidden_file,
        module_of_nobody,
        touched_output,
    ],
)
def test_what_changes_nothing_is_skipped(project, edit):
    edit(project)
    assert project.now().why == "nothing changed since run run-1"


def new_code(project: Project) -> None:
    project.notebook(CODE.replace("write(", "write_well("))


def new_magic(project: Project) -> None:
    project.notebook(CODE, "%matplotlib inline")


def new_default(project: Project) -> None:
    write_notebook(project.folder / "works.ipynb", DECLARED.replace('"nothing"', '"something"'), CODE)


def another_module(project: Project) -> None:
    (project.folder / "helping.py").write_text("import deeper")


def new_file(project: Project) -> None:
    (project.folder / "data" / "two.txt").write_text("two")


def longer_file(project: Project) -> None:
    (project.folder / "data" / "one.txt").write_text("one and more")


def touched_file(project: Project) -> None:
    os.utime(project.folder / "data" / "one.txt", (1, 1))


def lost_file(project: Project) -> None:
    (project.folder / "data" / "one.txt").unlink()
    new_file(project)


def lost_output(project: Project) -> None:
    project.target.unlink()


def longer_output(project: Project) -> None:
    project.target.write_text("123456")


@pytest.mark.parametrize(
    ("edit", "why", "anew"),
    [
        (new_code, "the notebook's code changed", True),
        (new_magic, "the notebook's code changed", True),
        (new_default, "the notebook's code changed", True),
        (another_module, "helping.py, which the notebook imports, changed", True),
        (new_file, "input {data} changed (2 files, 1 before)", False),
        (longer_file, "input {data} changed", False),
        (touched_file, "input {data} changed", False),
        (lost_file, "input {data} changed", False),
        (lost_output, "the output {target} is gone", False),
        (longer_output, "the output {target} is not as it was left", True),
    ],
)
def test_what_changes_something_runs_and_says_why(project, edit, why, anew):
    """Of files a stage remembers each one, so it goes on with its output where only they changed."""
    edit(project)
    found = project.now()
    assert found.why == why.format(data=project.folder / "data", target=project.target)
    assert (found.runs, found.anew) == (True, anew)


def test_parameters_that_changed_are_told_with_both_values(project):
    assert project.now(text="new").why == "text is given as new"
    project.params["text"] = "old"
    project.done()
    assert project.now(text="new").why == "text changed from old to new"
    project.params.pop("text")
    assert project.now().why == "text is not given any more"


@pytest.mark.parametrize("value", [[1.0, 2], [True, 2], {"a": True}, {"a": 1.0}])
def test_kinds_of_values_count_inside_lists_and_mappings(value):
    now = {"p": [1, 2] if isinstance(value, list) else {"a": 1}}
    one, other = (Basis("", {}, parameters, "", {}, {}) for parameters in ({"p": value}, now))
    assert value == now["p"]
    assert len(list(deciding._changes(one, other, "/"))) == 1
    assert not deciding._only_grew(one, other)
    assert list(deciding._changes(one, one, "/")) == []


def test_an_input_that_is_marked_later_is_looked_at_from_then_on(tmp_path):
    project = Project(tmp_path, source=[str(tmp_path / "data")])
    write_notebook(tmp_path / "works.ipynb", DECLARED.replace("in: files", "files"), CODE)
    project.done()
    longer_file(project)
    assert not project.now().runs
    project.notebook(CODE)
    marked = project.now()
    assert (marked.runs, marked.why) == (True, f"input {tmp_path}/data was not looked at before")
    project.done()
    assert not project.now().runs
    new_file(project)
    assert project.now().why == f"input {tmp_path}/data changed (2 files, 1 before)"


def test_another_version_of_the_package_runs(project, monkeypatch):
    monkeypatch.setattr(patchmill, "__version__", "9.9")
    assert project.now().why == f"patchmill changed from {project.now().basis.version.replace('9.9', '0.1.0')} to 9.9"
    assert project.now().anew


def test_several_reasons_are_all_told(project):
    new_code(project)
    new_file(project)
    assert project.now().why.count(";") == 1
    _, stage, memos = project.read()
    assert decide(stage, memos, forced=True).why.startswith("--force; the notebook's code changed; input ")


def test_force_makes_anew(project):
    _, stage, memos = project.read()
    forced = decide(stage, memos, forced=True)
    assert (forced.runs, forced.why, forced.anew) == (True, "--force", True)


def test_a_module_that_a_module_imports_counts(project):
    (project.folder / "deeper.py").write_text("word = 2")
    (project.folder / "helping.py").write_text("import deeper")
    project.done()
    (project.folder / "deeper.py").write_text("word = 3")
    assert project.now().why == "deeper.py, which the notebook imports, changed"


@pytest.mark.parametrize(
    "imports", ["from .core import word", "from . import core", "from .. import core", "from ..core import word"]
)
def test_a_module_that_is_imported_relatively_counts(project, imports):
    package = project.folder / "helpers"
    (package / "deep").mkdir(parents=True)
    (package / "core.py").write_text("word = 2")
    one_up = imports.startswith("from ..")
    (package / "__init__.py").write_text("from .deep import inside" if one_up else imports)
    (package / "deep" / "__init__.py").write_text("")
    (package / "deep" / "inside.py").write_text(imports)
    (project.folder / "core.py").write_text("another = 1")
    project.notebook(f"{CODE}\nimport helpers")
    project.done()
    (project.folder / "core.py").write_text("another = 2")
    assert not project.now().runs
    (package / "core.py").write_text("word = 3")
    assert project.now().why == "helpers/core.py, which the notebook imports, changed"


def test_what_was_begun_runs_and_goes_on_only_on_the_same_inputs(project):
    project.begin(text="new")
    same, other = project.now(text="new"), project.now(text="newer")
    assert same.why == other.why == "run run-1 did not bring it to its end"
    assert (same.anew, other.anew) == (True, True)  # it was begun to make another output anew
    assert (same.task("run-2"), other.task("run-2")) == (same.task("run-1"), f"{other.basis.digest}-run-2")
    project.target.unlink()
    project.done()
    project.begin()
    assert (project.now().runs, project.now().anew) == (True, False)


def test_a_memo_that_can_t_be_read_is_none(project):
    memos = project.folder / "out" / "records" / "test.stages" / "stages.json"
    memos.write_text(memos.read_text()[:-30])
    assert project.now().why == "no earlier run of it is known"
    assert project.now().anew


def test_a_temporary_output_runs_each_time(tmp_path):
    project = Project(tmp_path, target="temp:a")
    project.done()
    assert project.now().why == "target is a new temporary folder each time"


def test_a_pattern_and_a_missing_file_are_looked_at(tmp_path):
    project = Project(tmp_path, source=["data/*.txt"])
    project.done()
    (tmp_path / "data" / "other.csv").write_text("")
    assert not project.now().runs
    new_file(project)
    assert project.now().why == f"input {tmp_path}/data/*.txt changed (2 files, 1 before)"


def test_a_stage_behind_one_whose_output_it_does_not_name_runs_after_it(tmp_path):
    write_notebook(tmp_path / "works.ipynb", "x: int = 1  # a number", "print(x)")
    stages = {name: {"notebook": "works.ipynb", "after": after} for name, after in (("a", []), ("b", ["a"]))}
    pipeline = read_pipeline(str(write_config(tmp_path / "pipeline.yaml", stages)))
    memos = Memos(pipeline.runs, pipeline.name)
    for stage in pipeline.stages:
        memos.end(stage.name, Work("run-1", deciding.basis_of(stage, memos)))
    assert [decide(stage, memos).runs for stage in pipeline.stages] == [False, False]
    memos.end("a", Work("run-2", deciding.basis_of(pipeline.stages[0], memos)))
    assert decide(pipeline.stages[1], memos).why == "a, which it comes after, ran"
    only = read_pipeline(pipeline.path, [], patchmill.stages.selecting.Selection(only=("b",)))
    assert only.stages[0].follows == {"a"}


@pytest.mark.parametrize(
    ("before", "now", "same"),
    [
        ("%matplotlib inline\nx = 1  # a", "%matplotlib inline\n# b\nx = 1", True),
        ("if x:\n    !ls\n    y = 1", "if x:\n    !ls\n    # then\n    y = 1", True),
        ("%matplotlib inline", "%matplotlib agg", False),
        ("!ls  # a", "!ls  # b", False),
        ("%%writefile a.md\n# A", "%%writefile a.md\n# B", False),
        ("%time f()\ntext = '''\n# A\n'''", "%time f()\ntext = '''\n# B\n'''", False),
        ("x = '# a'", "x = '# b'", False),
        ("x = !ls", "x = !ls -l", False),
        ("def (", "def ((", False),
        ("x = 1", "x = 1;", True),
        ("if x:\n  y()", "if x:\n    y()", True),
    ],
)
def test_what_counts_as_the_same_code(before, now, same):
    assert (normalized(before) == normalized(now)) == same


def test_a_cell_that_papermill_injected_counts_where_it_stays(tmp_path):
    path = tmp_path / "works.ipynb"
    digests = []
    for number in (5, 6):
        write_notebook(path, "count: int = 1  # a number", "print(count)")
        notebook = json.loads(path.read_text())
        injected = {"cell_type": "code", "metadata": {"tags": ["injected-parameters"]}, "outputs": []}
        notebook["cells"][1:1] = [injected | {"source": f"count = {number}"}]
        path.write_text(json.dumps(notebook))
        digests.append([notebook_digest(str(path), injects=injects) for injects in (True, False)])
    # papermill replaces it where there is something to inject, and else executes it.
    assert [before == now for before, now in zip(*digests, strict=True)] == [True, False]
    stages = read_pipeline(str(write_config(tmp_path / "pipeline.yaml", {"works": {}}))).stages
    assert basis_of(stages[0], Memos(str(tmp_path), "test")).code == digests[1][1]


@pytest.mark.parametrize(
    "cell",
    [
        "%matplotlib inline\nimport helping",
        "%%time\nimport helping",
        "%%capture said\nfrom helping import word",
        "%time import helping",
        "%%time\nfrom helping import *",
        "import helping\nfiles = !ls",
        "import numpy, \\\n    helping as h\nplace = %pwd",
        "import helping; helping?",
        "!ls \\\n  -l\nif True: import helping  # a note",
        "from helping import (  # (one)\n    word,\n)\n??",
    ],
)
def test_a_module_that_is_imported_beside_a_magic_counts(project, cell):
    project.notebook(cell)
    project.done()
    another_module(project)
    assert project.now().why == "helping.py, which the notebook imports, changed"


def test_a_module_that_is_no_python_brings_its_own(project):
    (project.folder / "helpers").mkdir()
    (project.folder / "helpers" / "deeper.py").write_text("word = 2")
    imports = "from . import (\n    core,  # (one)\n    deeper,\n)\ndef ("
    (project.folder / "helpers" / "__init__.py").write_text(imports)
    project.notebook("import helpers")
    project.done()
    (project.folder / "helpers" / "deeper.py").write_text("word = 3")
    assert project.now().why == "helpers/deeper.py, which the notebook imports, changed"


# -- stores ------------------------------------------------------------------------------------------------------------


def ingest(folder: Path, target: Path, *names: str, mode: str = "append") -> None:
    folder.mkdir(exist_ok=True)
    for name in names:
        np.save(folder / f"{name}.npy", np.zeros((9, 12, 3), np.uint8))
    patchmill.ingest(folder, target, mode=mode)


def test_a_store_that_grew_is_gone_on_with_and_another_one_is_cut_anew(tmp_path):
    files, source = tmp_path / "files", tmp_path / "source.zarr"
    ingest(files, source, "a")
    project = Project(tmp_path, source="source.zarr")
    project.done()
    assert not project.now().runs
    ingest(files, source, "b")
    grown = project.now()
    assert (grown.why, grown.anew) == (f"input {source} has grown", False)
    project.done()
    ingest(files, source, mode="overwrite")
    assert project.now().anew
    shutil.copytree(source, tmp_path / "other.zarr")
    project.done()
    chunk = next(path for path in (source / "image").rglob("*") if path.is_file() and path.name != "zarr.json")
    chunk.unlink()
    assert project.now().runs
    assert project.now().anew


def test_a_store_that_somebody_else_wrote_may_have_changed_anywhere(tmp_path):
    import zarr

    project = Project(tmp_path, source="source.zarr")
    array = zarr.create_array(tmp_path / "source.zarr", shape=(1, 4, 4), chunks=(1, 4, 4), dtype="u1", fill_value=9)
    array[:] = 1
    project.done()
    assert not project.now().runs
    array.resize((2, 4, 4))
    array[1] = 1
    assert project.now().anew


# -- whose an output is ------------------------------------------------------------------------------------------------


def refusal(project: Project, **params) -> str:
    pipeline, _, memos = project.read(**params)
    try:
        refuse_foreign(pipeline, memos)
    except TargetExistsError as error:
        return str(error)
    return ""


def test_what_the_stage_is_known_to_have_left_is_its_own_until_somebody_changes_it(project):
    touched_output(project)
    assert refusal(project) == ""
    longer_output(project)
    assert refusal(project) == (
        f"works.target: {project.target} is not what run run-1 left there: "
        "move it away, or let it be replaced with --force works"
    )
    pipeline, _, memos = project.read()
    refuse_foreign(pipeline, memos, ["works"])
    project.target.write_text("54321")
    assert "is not what run run-1 left there" in refusal(project)
    project.begin()  # a stage that is killed leaves anything
    assert refusal(project) == ""


@pytest.mark.parametrize("forced", [(), ("works",)])
@pytest.mark.parametrize("params", [{}, {"mode": "overwrite"}])
def test_a_store_that_lost_its_root_is_to_be_removed_whoever_is_asked(tmp_path, forced, params):
    import dask

    project = Project(tmp_path, **params)
    work = project.begin()
    with dask.config.set({"patchmill.stage": "test/works"}):
        patchmill.write_patches(np.zeros((1, 1, 8, 8), np.uint8), project.target, 4)
    pipeline, stage, memos = project.read()
    memos.end("works", Work("run-1", work.basis, work.task, work.anew, left_by(stage)))
    (project.target / "zarr.json").unlink()
    with pytest.raises(TargetExistsError) as caught:
        refuse_foreign(pipeline, memos, forced)
    assert str(caught.value) == (
        f"works.target: {project.target} has lost the zarr.json that run run-1 wrote, without which nothing replaces "
        "it, --force neither: remove it or move it away, and works makes it anew"
    )
    project.target.rename(tmp_path / "away")
    refuse_foreign(pipeline, memos, forced)
    assert project.now().why == f"the output {project.target} is gone"


def test_a_folder_that_a_stage_left_is_known_by_its_content(tmp_path):
    project = Project(tmp_path)
    work = project.begin()
    for name in ("b", "c"):
        (project.target / name).mkdir(parents=True)
        (project.target / name / "d").write_text(name)
    _, stage, memos = project.read()
    memos.end("works", Work("run-1", work.basis, work.task, work.anew, left_by(stage)))
    shutil.copytree(project.target, tmp_path / "copy", copy_function=shutil.copy)
    shutil.rmtree(project.target)
    (tmp_path / "copy").rename(project.target)
    assert (refusal(project), project.now().runs) == ("", False)
    (project.target / "b" / "d").write_text("x")
    assert "is not what run run-1 left there" in refusal(project)


def test_what_somebody_else_wrote_stays(tmp_path):
    project = Project(tmp_path)
    project.target.parent.mkdir()
    project.target.write_text("mine")
    assert refusal(project) == (
        f"works.target: {project.target} is there, and works of test did not write it: "
        "choose another place, remove it, or say by mode: overwrite that it may be replaced"
    )
    assert refusal(project, mode="overwrite") == ""
    project.target.unlink()
    project.target.mkdir()
    assert refusal(project) == ""


@pytest.mark.parametrize("layout", ["patches", "source"])
def test_a_store_is_its_whom_its_provenance_names(tmp_path, layout):
    import dask

    project = Project(tmp_path)
    files = tmp_path / "files"

    def write(stage: str) -> None:
        shutil.rmtree(project.target, ignore_errors=True)
        with dask.config.set({"patchmill.stage": stage}):
            ingest(files, tmp_path / "source.zarr", "a", mode="overwrite")
            if layout == "patches":
                patchmill.write_patches(tmp_path / "source.zarr", project.target, 4)
            else:
                patchmill.ingest(files, project.target)

    write("test/works@1")
    assert refusal(project) == ""
    write("other/cut")
    for mode in ("auto", "overwrite"):
        assert "was written by the stage cut of other, so it stays: choose another place" in refusal(project, mode=mode)
    write("test/other")
    assert "was written by the stage other of test, so it stays" in refusal(project)
    write("")
    assert "works of test did not write it" in refusal(project)
    assert refusal(project, mode="append") == ""


def test_a_set_that_somebody_has_begun_stays(tmp_path, monkeypatch, tiny_shards):  # noqa: F811
    import dask

    from patchmill.cutting import tasks

    project = Project(tmp_path)
    ingest(tmp_path / "files", tmp_path / "source.zarr", *"abcdef")

    def begin(stage: str) -> None:
        seen: list[object] = []
        real = tasks.write_shard

        def dies(*args):
            seen.append(args)
            if len(seen) > 1:
                raise KeyboardInterrupt
            return real(*args)

        monkeypatch.setattr(tasks, "write_shard", dies)
        with dask.config.set({"patchmill.stage": stage}), pytest.raises(KeyboardInterrupt):
            patchmill.write_patches(tmp_path / "source.zarr", project.target, 4, workers=1)
        monkeypatch.setattr(tasks, "write_shard", real)

    begin("")
    assert "works of test did not write it" in refusal(project)
    shutil.rmtree(project.target)
    shutil.rmtree(f"{project.target}.patchmill")
    begin("test/works")
    assert refusal(project) == ""


def test_a_project_that_was_moved_or_is_reached_by_a_link_is_the_same(tmp_path):
    (tmp_path / "one").mkdir()
    project = Project(tmp_path / "one")
    project.done()
    (tmp_path / "link").symlink_to("one")
    for place in ("link", "two"):
        if place == "two":
            (tmp_path / "one").rename(tmp_path / "two")
        config = str(tmp_path / place / "pipeline.yaml")
        pipeline = read_pipeline(config)
        memos = Memos(pipeline.runs, pipeline.name)
        assert decide(pipeline.stages[0], memos).why == "nothing changed since run run-1"
        refuse_foreign(pipeline, memos)
    (tmp_path / "two" / "out" / "a").write_text("else")
    with pytest.raises(TargetExistsError, match="is not what run run-1 left there"):
        refuse_foreign(pipeline, memos)


@pytest.mark.parametrize("source", ["data", "data/*.txt"])
@pytest.mark.parametrize("leave", [shutil.move, shutil.copytree])
def test_what_did_not_move_along_with_a_project_stays_what_it_is(tmp_path, source, leave):
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two, one / "project"):
        folder.mkdir()
    project = Project(one / "project", source=str(one / source))
    (one / "project" / "data").rename(one / "data")
    project.done()
    leave(one / "project", two / "project")
    pipeline = read_pipeline(str(two / "project" / "pipeline.yaml"))
    memos = Memos(pipeline.runs, pipeline.name)
    assert decide(pipeline.stages[0], memos).why == "nothing changed since run run-1"
    refuse_foreign(pipeline, memos)
