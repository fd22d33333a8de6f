"""The notebooks that come along, executed: by bare papermill from another folder, and by the runner as the demo."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from PIL import Image

import patchmill
from patchmill.errors import ConfigError
from patchmill.show.executed import Excerpt, excerpt, handed
from patchmill.stages.declared import declarations
from patchmill.stages.packaged import notebook_path
from patchmill.stages.pipelines import read_pipeline


def execute(name: str, folder: Path, *options: str, check: bool = True) -> tuple[dict[str, Any], Excerpt, str]:
    """Run a packaged notebook with papermill's own command; the notebook, what it shows, and what papermill said."""
    command = [sys.executable, "-m", "papermill", notebook_path(f"patchmill:{name}", ""), f"{name}.out.ipynb", *options]
    environment = os.environ | {"TMPDIR": str(folder)}
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert (ended.returncode == 0) == check, ended.stderr
    notebook = json.loads((folder / f"{name}.out.ipynb").read_text())
    return notebook, excerpt(notebook), ended.stderr


def complaints(notebook: dict[str, Any]) -> str:
    """What came on stderr inside of a notebook: warnings, logs."""
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    return "".join("".join(output["text"]) for output in outputs if output.get("name") == "stderr")


def write_images(folder: Path) -> list[np.ndarray]:
    images = [np.random.default_rng(i).integers(0, 255, (50 + 10 * i, 70, 3), "uint8") for i in range(3)]
    for number, image in enumerate(images):
        np.save(folder / f"<b>{number}.npy", image)
    (folder / "notes.npy").write_text("no array")
    return images


@pytest.mark.slow
def test_a_chain_under_bare_papermill_with_all_parameters_as_texts(tmp_path):
    (tmp_path / "in").mkdir()
    images = write_images(tmp_path / "in")
    notebook, found, _ = execute(
        "ingest",
        tmp_path,
        "-r",
        "images",
        "in",
        "-r",
        "target",
        "source.zarr",
        "-r",
        "on_error",
        "skip",
        "-r",
        "level",
        "0",
    )
    assert complaints(notebook) == ""
    assert found.figures["images"] == "3"
    assert [name.rpartition("/")[2] for name, _ in found.skipped] == ["notes.npy"]
    assert len([piece for section in found.sections for piece in section.pieces]) == 2
    source = xr.open_zarr(tmp_path / "source.zarr")
    assert (source.image[1, :, :60].values == np.moveaxis(images[1], -1, 0)).all()
    # Not the group: `image`, called like its first axis, is a coordinate there, and of data there seems to be nothing.
    assert found.opens == f"xarray.open_zarr({str(tmp_path / 'source.zarr')!r})['image']"

    options = ("-r", "patch_shape", "[32, 16]", "-r", "step", "16", "-r", "workers", "1", "-r", "memory", "None")
    notebook, found, _ = execute(
        "patchify", tmp_path, "-r", "source", "source.zarr", "-r", "target", "p.zarr", *options
    )
    assert complaints(notebook) == ""
    patches = patchmill.open_patches(tmp_path / "p.zarr")
    assert (patches.grid.patch_shape, patches.grid.step) == ((32, 16), (16, 16))
    assert found.figures["patches"] == str(len(patches))
    assert found.opens == f"patchmill.open_patches({str(tmp_path / 'p.zarr')!r})"

    notebook, found, _ = execute("explore", tmp_path, "-r", "source", "p.zarr", "-r", "count", "5", "-r", "image", "1")
    assert complaints(notebook) == ""
    assert [section.heading for section in found.sections] == [
        "Some patches",
        "Where patches lie",
        "Values of each channel",
    ]
    assert found.figures["values"] == "0 to 254"


def test_what_is_in_a_source_under_bare_papermill(tmp_path):
    values = np.random.default_rng(0).normal(100, 20, (3, 2, 40, 50)).astype("float32")
    values[0, 0, :20] = np.nan
    masks = np.zeros((3, 40, 50), "uint8")
    source = xr.Dataset({"scene": (("time", "band", "y", "x"), values), "mask": (("time", "y", "x"), masks)})
    source.mask.attrs["nodata"] = 0
    source.to_zarr(tmp_path / "source.zarr", consolidated=False)
    given = ("-r", "source", "source.zarr", "-r", "variables", '["scene", "mask"]', "-r", "count", "2")
    notebook, found, _ = execute("inspect", tmp_path, *given, "-r", "dims", '{"image": "time"}')
    assert complaints(notebook) == ""
    assert [section.heading for section in found.sections] == ["The images", "Values of each channel"]
    assert [len(section.pieces) for section in found.sections] == [4, 3]
    assert "mask: nothing is measured." in sentences(notebook)
    assert found.figures["images"] == "3"
    told = handed(notebook)["result"]
    assert told["mask: values"] == "nothing is measured, 100 % nodata"
    assert f"mean {np.nanmean(values[:, 0].astype('float64')):.6g}" in told["scene: channel 0"]
    assert told["scene: channel 0"].endswith("16.7 % nodata")  # NaN, which xarray declares to be that
    assert (found.figures["scene"], found.figures["mask"]) == ("float32, 2 channels", "uint8, no channels")
    opens = f"patchmill.inspect({str(tmp_path / 'source.zarr')!r}, variables=['scene', 'mask'], "
    assert found.opens == f"{opens}dims={{'image': 'time'}})"
    assert sorted(os.listdir(tmp_path)) == ["inspect.out.ipynb", "source.zarr"]


@pytest.mark.parametrize("layout", [pytest.param("patches", marks=pytest.mark.slow), "canvas"])
def test_explore_and_inspect_agree_on_what_is_measured(layout, tmp_path):
    values = np.random.default_rng(0).integers(0, 3829, (2, 1, 32, 48)).astype("int16")
    values[0, :, :, :16] = -32768
    source = xr.DataArray(values, dims=("image", "channel", "y", "x"), name="scene", attrs={"nodata": -32768})
    source.to_dataset().to_zarr(tmp_path / "source.zarr", consolidated=False)
    patches = patchmill.write_patches(tmp_path / "source.zarr", tmp_path / "p.zarr", 10, edge="pad", layout=layout)
    assert len(patches) == 40
    (channel,) = patchmill.inspect(tmp_path / "source.zarr")["scene"].channels
    notebook, found, _ = execute("explore", tmp_path, "-r", "source", "p.zarr")
    assert complaints(notebook) == ""
    assert found.figures["values"] == f"{channel.minimum:.4g} to {channel.maximum:.4g}"
    assert found.figures["mean"] == f"{channel.mean:.4g}"


def sentences(notebook: dict[str, Any]) -> str:
    """What a notebook says in Markdown."""
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    return "\n".join("".join(output.get("data", {}).get("text/markdown", "")) for output in outputs)


@pytest.mark.slow
@pytest.mark.parametrize(("keep", "kept"), [("mean > 300", False), ("mean < 128", True)])
def test_notebooks_run_through_whatever_is_kept(keep, kept, tmp_path):
    random = np.random.default_rng(0)
    source = xr.DataArray(random.integers(0, 256, (2, 1, 32, 48), "uint8"), dims=("image", "channel", "y", "x"))
    source[0] = 255
    source[1, :, :16, :32] = 255
    source[1, :, 16:, :] = source[1, :, 16:, :] // 2
    source.to_dataset(name="scene").to_zarr(tmp_path / "source.zarr", consolidated=False)
    cut = ("-r", "source", "source.zarr", "-r", "target", "p.zarr", "-r", "patch_shape", "8", "-r", "keep", keep)
    notebook, found, _ = execute("patchify", tmp_path, *cut)
    patches = patchmill.open_patches(tmp_path / "p.zarr")
    assert (len(patches) == 0) == (not kept)
    assert found.figures["kept"] == f"{len(patches)} of 48"
    assert ("0 of 48 patches were kept" in sentences(notebook)) == (not kept)

    notebook, found, _ = execute("explore", tmp_path, "-r", "source", "p.zarr")
    assert complaints(notebook) == ""
    assert len(found.sections) == (3 if kept else 0)
    assert ("0 of 48 patches were kept" in sentences(notebook)) == (not kept)
    assert found.figures.get("values", "").startswith("0 to") == kept


def test_an_unknown_parameter_is_one_sentence_and_nothing_is_written(tmp_path):
    notebook, _, said = execute("patchify", tmp_path, "-p", "patch_shap", "8", "-p", "target", "p.zarr", check=False)
    assert said.strip().endswith("patch_shap is no parameter of this notebook; did you mean patch_shape?")
    (error,) = [o for cell in notebook["cells"] for o in cell.get("outputs", []) if o["output_type"] == "error"]
    assert error["traceback"] == [f"{error['ename']}: {error['evalue']}"]
    assert sorted(os.listdir(tmp_path)) == ["patchify.out.ipynb"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ingest", "inspect", "patchify", "explore"])
def test_with_nothing_given_a_notebook_works_on_the_sample_in_a_temporary_folder(name, tmp_path):
    notebook, found, _ = execute(name, tmp_path)
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    said = "".join("".join(output["text"]) for output in outputs if output["output_type"] == "stream")
    (folder,) = tmp_path.glob("patchmill-*")
    assert said == f"Working in the temporary folder {folder}\n"
    assert found.figures["images"] == "8"
    assert found.sections


@pytest.mark.slow
def test_the_demo_runs_twice_and_leaves_what_it_promises(tmp_path):
    command = [sys.executable, "-m", "patchmill", "run", "patchmill:demo"]
    for _ in range(2):
        ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
    demo = tmp_path / "runs" / "demo"
    assert sorted(os.listdir(demo)) == ["patches.zarr", "records", "report.html", "source.zarr"]
    assert len(os.listdir(demo / "records")) == 4  # and the latest of the two, and what the stages last did
    assert "demo: nothing to do in " in ended.stdout
    assert "patchmill.open_patches(" in ended.stdout
    assert str(Path("runs/demo/report.html")) in ended.stdout
    assert len(patchmill.open_patches(demo / "patches.zarr")) == 172
    text = (demo / "report.html").read_text()
    assert text.count("data:image/png;base64,") == 5


def write_pairs(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Scenes of different sizes with their masks, and one scene without."""
    random = np.random.default_rng(0)
    made = {}
    for name in ("scenes", "masks"):
        (folder / name).mkdir(parents=True)
    for name, size in {"a": (40, 50), "b": (64, 33)}.items():
        made[name] = random.integers(0, 256, (*size, 3), "uint8"), random.integers(0, 3, size, "uint8")
        Image.fromarray(made[name][0]).save(folder / "scenes" / f"{name}.png")
        Image.fromarray(made[name][1]).save(folder / "masks" / f"{name}.png")
    Image.fromarray(made["a"][0]).save(folder / "scenes" / "without.png")
    return made


def test_the_pair_config_says_what_it_lacks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"data/scenes, and no stage writes it"):
        read_pipeline("patchmill:pair")
    write_pairs(tmp_path / "mine")
    overrides = [
        f"ingest.images={tmp_path}/mine/scenes",
        f'ingest.variables={{mask: "{tmp_path}/mine/masks/{{stem}}.*"}}',
    ]
    pipeline = read_pipeline("patchmill:pair", overrides)
    assert [stage.name for stage in pipeline.stages] == ["ingest", "inspect", "patchify", "explore"]


@pytest.mark.slow
def test_scenes_and_masks_become_one_patch_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = write_pairs(tmp_path / "data")
    run = patchmill.run("patchmill:pair", ["patchify.patch_shape=16", "patchify.step=[8, 16]"])
    assert run.state == "done"
    patches = patchmill.open_patches(tmp_path / "runs" / "pair" / "patches.zarr")
    assert [str(name) for name in patches.names] == ["a", "b"]
    image, origin = patches.locate(np.arange(len(patches)))
    for number in (0, 7, len(patches) - 1):
        scene, mask = made["ab"[image[number]]]
        y, x = origin[number]
        patch = patches[number]
        np.testing.assert_array_equal(patch["image"], np.moveaxis(scene[y : y + 16, x : x + 16], -1, 0))
        np.testing.assert_array_equal(patch["mask"], mask[y : y + 16, x : x + 16])
    text = (tmp_path / "runs" / "pair" / "report.html").read_text()
    assert "without.png" in text
    assert text.count("data:image/png;base64,") == 1 + 4 + 1 + 4


def test_all_that_a_cut_can_be_told_can_be_given_as_texts(tmp_path):
    random = np.random.default_rng(0)
    bands = {name: (("time", "lat", "lon"), random.integers(1, 99, (2, 30, 40), "int16")) for name in ("B02", "B03")}
    xr.Dataset(bands).to_zarr(tmp_path / "source.zarr", consolidated=False)
    given = {
        "source": "source.zarr",
        "target": "p.zarr",
        "patch_shape": "[8, 12]",
        "step": "8,12",
        "dilation": "2",
        "layout": "patches",
        "edge": "pad",
        "pad_mode": "constant",
        "pad_value": "-7",
        "variables": "None",
        "channels": '["B03", "B02"]',
        "dims": '{"image": "time", "y": "lat", "x": "lon"}',
        "dtype": "float32",
        "transform": "scale(0.5)",
        "keep": "mean > 0",
        "statistics": "true",
        "mode": "create",
        "memory": "2GiB",
        "workers": "1",
        "storage_options": "{}",
        "target_options": "",
    }
    (declared,) = [
        declarations("".join(cell["source"]))
        for cell in json.loads(Path(notebook_path("patchmill:patchify", "")).read_text())["cells"]
        if cell["id"] == "parameters"
    ]
    assert set(given) == set(declared)
    notebook, _, _ = execute("patchify", tmp_path, *(word for pair in given.items() for word in ("-r", *pair)))
    assert complaints(notebook) == ""
    found = patchmill.open_patches(tmp_path / "p.zarr")
    arguments = {"edge": "pad", "pad_value": -7, "dilation": 2, "channels": ["B03", "B02"], "dtype": "float32"}
    arguments |= {"dims": {"image": "time", "y": "lat", "x": "lon"}, "transform": "scale(0.5)", "keep": "mean > 0"}
    expected = patchmill.write_patches(
        tmp_path / "source.zarr", tmp_path / "q.zarr", (8, 12), (8, 12), **arguments, statistics=True
    )
    xr.testing.assert_identical(found.to_xarray().drop_attrs().load(), expected.to_xarray().drop_attrs().load())
    assert (found.to_xarray()["patches"] == -3.5).any()
    # A number is a number, however it is spelled: what was cut with 0 is the set that 0.0 asks for.
    arguments |= {"pad_value": -7.0, "statistics": True}
    again = patchmill.write_patches(tmp_path / "source.zarr", tmp_path / "q.zarr", (8, 12), (8, 12), **arguments)
    assert len(again) == len(expected)


@pytest.mark.slow
def test_channels_and_axes_of_images_can_be_given_as_texts(tmp_path):
    scenes = xr.DataArray(np.arange(60, dtype="int16").reshape(2, 5, 6), dims=("step", "row", "col"), name="scene")
    scenes.to_dataset().to_zarr(tmp_path / "b.zarr", consolidated=False)
    axes = ("-r", "dims", '{"channel": "step", "y": "row", "x": "col"}', "-r", "channels", '["near", "far"]')
    means = ("-r", "memory", "1GiB", "-r", "workers", "1")
    execute("ingest", tmp_path, "-r", "images", "b.zarr", "-r", "target", "source.zarr", *axes, *means)
    source = xr.open_zarr(tmp_path / "source.zarr")
    assert source["channel"].values.tolist() == ["near", "far"]
    np.testing.assert_array_equal(source["image"][0], scenes)


@pytest.mark.slow
def test_an_image_is_shown_beside_its_mask(tmp_path):
    random = np.random.default_rng(0)
    scene = (("image", "channel", "y", "x"), random.integers(0, 255, (2, 3, 20, 30), "uint8"))
    source = xr.Dataset({"image": scene, "mask": (("image", "y", "x"), random.integers(0, 3, (2, 20, 30), "uint8"))})
    patchmill.write_patches(source, tmp_path / "p.zarr", 10)
    notebook, found, _ = execute("explore", tmp_path, "-r", "source", "p.zarr")
    assert complaints(notebook) == ""
    assert [len(section.pieces) for section in found.sections] == [4, 2, 2]  # pictures, each with its caption
    assert "The first of these with all their variables, image, mask" in sentences(notebook)
