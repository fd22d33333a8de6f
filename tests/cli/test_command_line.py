"""The command line: what it does, what it says, and its exit codes. Never a traceback for something the user did."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr

import patchmill
from patchmill.cli import main


@pytest.fixture
def source(tmp_path: Path) -> str:
    path = tmp_path / "source.zarr"
    array = zarr.create_array(
        path, shape=(3, 40, 60), chunks=(3, 20, 20), dtype="uint8", dimension_names=["channel", "y", "x"]
    )
    array[...] = np.random.default_rng(0).integers(0, 255, (3, 40, 60))
    return str(path)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_help_loads_nothing_heavy():
    heavy = {
        "dask",
        "zarr",
        "xarray",
        "tensorstore",
        "papermill",
        "matplotlib",
        "omegaconf",
        "pydantic",
        "IPython",
        "numpy",
    }
    code = f"import sys; from patchmill.cli import main; main(['--help']); print({heavy!r} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "patchify" in said
    assert said.splitlines()[-1] == "set()"


VERBS = ["init", "run", "status", "logs", "clean", "ingest", "inspect", "plan", "patchify", "info"]


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_every_command_has_help(verb, capsys):
    assert main([*verb.split(), "--help"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"usage: patchmill {verb}".rstrip())
    assert max(map(len, said.splitlines())) <= 120


def test_it_says_its_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"patchmill {patchmill.__version__}\n"


def test_plan_patchify_info(source, capsys):
    assert main(["plan", source, "--patch", "16", "8", "--step", "8"]) == 0
    assert "patches" in capsys.readouterr().out
    assert main(["plan", source, "--patch", "16", "8", "--step", "8", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["patches"] == 28
    assert main(["patchify", source, "p.zarr", "--patch", "16", "8", "--step", "8"]) == 0
    said = capsys.readouterr().out
    assert said.endswith("open it with patchmill.open_patches('p.zarr')\n")
    assert main(["info", "p.zarr"]) == 0
    table = capsys.readouterr().out
    assert "28 of 16 x 8 pixels" in table
    assert said.startswith(table)
    patches = patchmill.open_patches("p.zarr")
    assert (patches[8] == zarr.open_array(source)[:, 8:24, 8:16]).all()


ORDERS = {
    "places first": "SOURCE --patch 16 8 --step 8 --dims channel=channel y=y",
    "places last": "--step 8 --patch 16 8 --dims channel=channel y=y SOURCE",
    "one word": "--patch 16x8 --step 8,8 SOURCE",
    "commas": "--patch 16, 8 --step=8 SOURCE",
    "another spelling": "--patch-shape 16 8 SOURCE --step 8x8",
    "abbreviated": "--pat 16 8 --ste=8 SOURCE",
    "behind two dashes": "--step 8 --patch 16 8 -- SOURCE",
}


@pytest.mark.parametrize("order", ORDERS)
def test_options_stand_before_places_or_behind_them(order, source, capsys):
    words = [source if word == "SOURCE" else word for word in ORDERS[order].split()]
    assert main(["plan", "--json", *words]) == 0
    assert json.loads(capsys.readouterr().out)["patches"] == 28


@pytest.mark.parametrize("between", [[], ["--"], ["--step", "8"]])
def test_names_end_where_a_path_begins(between, tmp_path, capsys):
    group = zarr.create_group(tmp_path / "g.zarr")
    for name in ("scene", "mask", "depth"):
        group.create_array(name, shape=(2, 16, 16), dtype="uint8", dimension_names=["image", "y", "x"])
    assert main(["plan", "--patch", "8", "--variables", "scene", "mask", *between, "g.zarr"]) == 0
    said = capsys.readouterr().out
    assert "mask" in said
    assert "depth" not in said


def test_a_short_spelling_is_that_of_the_command(tmp_path, capsys):
    np.save(tmp_path / "a.npy", np.zeros((4, 5), "uint8"))
    assert main(["ingest", "a.npy", "--targ", "s.zarr", "--v", "mask=a.npy"]) == 0
    assert "image, mask" in capsys.readouterr().out


def test_images_stand_on_both_sides_of_options(tmp_path, capsys):
    for name in "ab":
        np.save(tmp_path / f"{name}.npy", np.zeros((3, 4, 5), "uint8"))
    assert main(["ingest", "a.npy", "--target", "s.zarr", "--channels", "red", "green", "blue", "b.npy"]) == 0
    assert "2, 4 x 5 pixels" in capsys.readouterr().out


def test_a_set_that_was_there_is_told_from_one_that_was_cut(source, capsys):
    for sentence in ("", "all patches were there already, nothing was cut\n"):
        assert main(["patchify", source, "p.zarr", "--patch", "16"]) == 0
        said = capsys.readouterr().out
        assert said.startswith(sentence)
        assert ("nothing was cut" in said) == bool(sentence)


def test_that_no_patch_was_kept_is_said(source, capsys):
    assert main(["patchify", source, "p.zarr", "--patch", "16", "--keep", "mean > 255"]) == 0
    said = capsys.readouterr()
    assert said.err == "patchmill: none of the 6 patches fulfills keep, so the patch set is empty\n"
    assert "nothing was cut" not in said.out


def test_images_without_a_patch_are_named(tmp_path, capsys):
    for name, height in (("a", 4), ("b", 20)):
        np.save(tmp_path / f"{name}.npy", np.zeros((height, 20), "uint8"))
    assert main(["ingest", "a.npy", "b.npy", "--target", "s.zarr"]) == 0
    capsys.readouterr()
    assert main(["patchify", "s.zarr", "p.zarr", "--patch", "16"]) == 0
    assert capsys.readouterr().err == "patchmill: 1 of 2 images is smaller than a patch and gave none: a\n"


def test_inspect(source, capsys):
    values = zarr.open_array(source)[...]
    assert main(["inspect", source, "--workers", "1"]) == 0
    said = capsys.readouterr().out
    assert "3 channels" in said
    assert f"{values[2].min()} to {values[2].max()}, mean {values[2].mean():.6g}" in said
    assert main(["inspect", source, "--dims", "image=channel", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["sizes"] == [{"height": 40, "width": 60, "images": 3}]
    (channel,) = found["variables"][0]["channels"]
    assert channel["mean"] == pytest.approx(values.mean(), rel=1e-12)
    assert sum(channel["histogram"]["counts"]) == values.size


def test_a_plan_takes_the_padding_and_the_cluster_of_a_cut(source, capsys):
    padding = ["--edge", "pad", "--pad-mode", "reflect", "--cluster", "false"]
    assert main(["plan", source, "--patch", "16", *padding, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["patches"] == 12


def test_ingest(tmp_path, capsys):
    for name in "ab":
        np.save(tmp_path / f"{name}.npy", np.zeros((4, 5), "uint8"))
    (tmp_path / "c.npy").write_text("no array")
    assert main(["ingest", "a.npy", "b.npy", "c.npy", "--target", "s.zarr", "--on-error", "skip"]) == 0
    assert "images     2, 4 x 5 pixels" in capsys.readouterr().out
    assert os.path.isdir("s.zarr")
    assert main(["ingest", "a.npy", "--target", "s.zarr"]) == 2
    assert main(["ingest", "a.npy", "--target", "s.zarr", "--mode", "overwrite"]) == 0


WRONG = {
    "no source": (["patchify", "nothing.zarr", "p.zarr", "--patch", "8"], "nothing.zarr"),
    "no step": (["patchify", "SOURCE", "p.zarr", "--patch", "8", "--step", "0"], "step must be at least 1, got 0"),
    "negative step": (
        ["patchify", "SOURCE", "p.zarr", "--patch", "8", "--step", "-1"],
        "step must be at least 1, got -1",
    ),
    "too many axes": (
        ["plan", "SOURCE", "--patch", "8", "8", "8"],
        "patch_shape must have one number for each of the 2",
    ),
    "too large": (["patchify", "SOURCE", "p.zarr", "--patch", "800"], "800 x 800"),
    "no number": (
        ["plan", "SOURCE", "--patch", "wide"],
        "--patch takes whole numbers such as 64, 64 32 or 64x32, got 'wide'; see patchmill plan --help",
    ),
    "no count": (["run", "a.yaml", "--jobs", "x"], "--jobs takes a whole number, got 'x'"),
    "no value": (["plan", "SOURCE", "--patch"], "--patch wants a value; see patchmill plan --help"),
    "a value too many": (["plan", "SOURCE", "--patch", "8", "--json=1"], "--json takes no value, got '1'"),
    "no edge": (["plan", "SOURCE", "--patch", "8", "--edge", "cut"], "--edge can be drop, pad or shift, got 'cut'"),
    "nearly an edge": (
        ["plan", "SOURCE", "--patch", "8", "--edge", "shft"],
        "got 'shft'; did you mean shift? See patchmill plan --help",
    ),
    "nearly an option": (
        ["plan", "SOURCE", "--patch", "8", "--stride", "4"],
        "plan has no option --stride; did you mean --step? See patchmill plan --help",
    ),
    "no such option, and nothing else": (["plan", "-x"], "plan has no option -x; see patchmill plan --help"),
    "one dash": (["plan", "-patch", "8", "SOURCE"], "has no option -patch; did you mean --patch?"),
    "nearly an option before the command": (["--verson"], "patchmill has no option --verson; did you mean --version?"),
    "no patch": (
        ["plan", "SOURCE"],
        "plan needs --patch, such as: patchmill plan scenes.zarr --patch 256 256 --step 128; see patchmill plan --help",
    ),
    "nothing at all": (["patchify"], "patchify needs SOURCE, TARGET and --patch, such as: "),
    "a target without its option": (
        ["ingest", "my scenes/", "s.zarr"],
        "ingest needs --target, such as: patchmill ingest 'my scenes/' --target s.zarr; see patchmill ingest --help",
    ),
    "a place too many": (["info", "a", "b"], "info does not take 'b' too; see patchmill info --help"),
    "axes the other way round": (
        ["plan", "SOURCE", "--patch", "8", "--dims", "time=image"],
        "--dims takes AXIS=NAME, got 'time=image': the other way round, image=time",
    ),
    "options, not arguments": (
        ["patchify", "SOURCE", "p.zarr", "--patch", "8", "--dtype", "int8"],
        "--transform 'clip(",
    ),
    "no memory": (["plan", "SOURCE", "--patch", "8", "--memory", "lots"], "memory must be a size"),
    "no such variable": (["plan", "SOURCE", "--patch", "8", "--variables", "mask"], "mask"),
    "no axis": (["plan", "SOURCE", "--patch", "8", "--dims", "image"], "--dims takes AXIS=NAME, got 'image'"),
    "nothing to inspect": (["inspect", "nothing.zarr"], "nothing is at"),
    "nothing of that name": (["inspect", "SOURCE", "--variables", "mask"], "mask"),
    "no patch set": (["info", "SOURCE"], "source.zarr"),
    "a file for a store": (
        ["inspect", "notes/a.txt"],
        "a.txt is not a Zarr array or group: patchmill ingest makes one",
    ),
    "nothing there": (["info", "nothing"], "nothing"),
    "target is something else": (["patchify", "SOURCE", "notes", "--patch", "8", "--mode", "overwrite"], "notes"),
    "images that are not there": (["ingest", "*.tif", "--target", "s.zarr"], "*.tif"),
    "no config": (["run", "nothing.yaml"], "there is no nothing.yaml; no config lies around here"),
    "no command": ([], "patchmill needs COMMAND, such as: patchmill run patchmill:demo; see patchmill --help"),
    "unknown command": (["cut"], "patchmill has no command 'cut': it has init, run, status, "),
    "nearly a command": (["patchfy"], "no command 'patchfy'; did you mean patchify? See patchmill --help"),
}


def test_a_patch_set_is_no_source(source, capsys):
    patchmill.write_patches(source, "p.zarr", 8)
    for arguments in (
        ["inspect", "p.zarr"],
        ["plan", "p.zarr", "--patch", "8"],
        ["patchify", "p.zarr", "q.zarr", "--patch", "8"],
    ):
        assert main(arguments) == 2
        assert "p.zarr is a patch set, not a source: open it with patchmill info" in capsys.readouterr().err


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_a_sentence_and_nothing_is_written(case, source, tmp_path, capsys):
    arguments, sentence = WRONG[case]
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    assert main([source if word == "SOURCE" else word for word in arguments]) == 2
    said = capsys.readouterr()
    assert sentence in said.err
    assert said.err.startswith("patchmill: ")
    assert said.err.count("\n") == 1
    assert said.out == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_what_nobody_expects_is_one_line_and_debug_shows_more(source, monkeypatch, capsys):
    def broken(*_, **__):
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr(patchmill, "plan", broken)
    assert main(["plan", source, "--patch", "8"]) == 1
    assert capsys.readouterr().err == "patchmill: RuntimeError: first line (patchmill --debug shows where)\n"
    for arguments in (["--debug", "plan", source, "--patch", "8"], ["plan", source, "--patch", "8", "--debug"]):
        with pytest.raises(RuntimeError):
            main(arguments)


@pytest.mark.parametrize(
    ("module", "extra"),
    [
        ("distributed.client", "cluster"),
        ("h5py", "geo"),
        ("tifffile", "images"),
        ("pydantic", "notebooks"),
    ],
)
def test_what_is_not_installed_is_brought_by_the_smallest_extra(module, extra, source, monkeypatch, capsys):
    def broken(*_, **__):
        raise ModuleNotFoundError(name=module)

    monkeypatch.setattr(patchmill, "plan", broken)
    assert main(["plan", source, "--patch", "8"]) == 1
    assert capsys.readouterr().err.endswith(f"is not installed: pip install 'patchmill[{extra}]'\n")


def test_what_only_running_tells_is_one(source, monkeypatch, capsys):
    def broken(*_, **__):
        raise patchmill.PatchmillError("a sentence")

    monkeypatch.setattr(patchmill, "plan", broken)
    assert main(["plan", source, "--patch", "8"]) == 1
    assert capsys.readouterr().err == "patchmill: a sentence\n"


def test_interruption_is_130(source, monkeypatch, capsys):
    def broken(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(patchmill, "plan", broken)
    assert main(["plan", source, "--patch", "8"]) == 130
    assert capsys.readouterr().err == "patchmill: interrupted\n"


def test_a_reader_that_leaves_is_no_error(source):
    command = f"{sys.executable} -m patchmill plan {source} --patch 8 | true; exit ${{PIPESTATUS[0]}}"
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr == ""


@pytest.mark.parametrize(
    ("output", "code", "said"),
    [
        (">&-", 0, ""),
        (">&- 2>&-", 0, ""),
        (">/dev/full", 1, "the output can't be written (No space left on device): free space, or send it elsewhere\n"),
        (">/dev/full 2>/dev/full", 1, ""),
    ],
)
def test_an_output_that_takes_nothing_is_no_traceback(tmp_path, output, code, said):
    command = ["bash", "-c", f"{sys.executable} -m patchmill init coast {output}"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (code, "", f"patchmill: {said}" if said else "")


def test_letters_that_an_output_does_not_know_are_escaped(source, monkeypatch):
    output = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(output, encoding="ascii"))
    monkeypatch.setattr(patchmill, "plan", lambda *_, **__: "größe")
    assert main(["plan", source, "--patch", "8"]) == 0
    assert output.getvalue() == b"gr\\xf6\\xdfe\n"


def test_a_connection_that_breaks_is_an_error(source, monkeypatch, capsys):
    def broken(*_, **__):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(patchmill, "plan", broken)
    assert main(["plan", source, "--patch", "8"]) == 1
    assert "BrokenPipeError: [Errno 32] Broken pipe" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["info", "verify"])
def test_options_of_a_remote_patch_set(source, s3, capsys, verb, monkeypatch):
    options = ["--target-options", f"endpoint_url={os.environ['AWS_ENDPOINT_URL']}"]
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    assert main(["patchify", source, f"{s3}/p.zarr", "--patch", "16", *options]) == 0
    assert main([verb, f"{s3}/p.zarr", *options]) == 0
    assert "p.zarr" in capsys.readouterr().out


def test_help_says_what_a_source_may_be(capsys):
    for verb in ("inspect", "plan", "patchify"):
        assert main([verb, "--help"]) == 0
        assert "NetCDF, HDF5 or GeoTIFF" in " ".join(capsys.readouterr().out.split())


def test_init_says_what_to_do_next_and_that_can_be_done(tmp_path, capsys, monkeypatch):
    assert main(["init", "coast"]) == 0
    said = capsys.readouterr().out
    commands = [line.strip() for line in said.splitlines() if line.startswith("  ") and " " in line.strip()]
    assert commands == ["cd coast", "patchmill run configs/coast.yaml"]
    for line in said.splitlines()[1:5]:
        assert os.path.isfile(line.strip())
    assert main(["init", "coast"]) == 2
    assert "the folder coast is not empty" in capsys.readouterr().err
    assert main(["init", "2 coasts"]) == 2
    assert capsys.readouterr().err.endswith("got '2 coasts'; coasts would do\n")
    assert os.listdir(tmp_path) == ["coast"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_that_a_module_turns_into_another_error_is_an_interruption(source, number, code):
    """One written in C says that its initialization failed; libraries then complain at the end."""
    script = f"""
import atexit, os, sys
import patchmill.cli.commands as commands
def plan(given):
    atexit.register(lambda: 1 / 0)
    try:
        os.kill(os.getpid(), {int(number)})
    except KeyboardInterrupt as error:
        raise ImportError("initialization failed") from error
commands.plan = plan
from patchmill.cli import main
sys.argv[1:] = ["plan", {source!r}, "--patch", "8"]
sys.exit(main())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (code, "patchmill: interrupted\n")
