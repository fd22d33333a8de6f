"""NumPy's files."""

from __future__ import annotations

import ast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchmill.errors import SourceError
from patchmill.ingesting.arrays import unnamed_axes


@pytest.mark.parametrize("shape", [(20, 30), (1, 20, 30), (5, 20, 30), (2, 5, 20, 30)])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["u1", ">u2", "f2", "f8", "c16", "?"])
def test_npy_is_image_channel_y_x(rng, tmp_path, ingest, shape, order, dtype):
    values = np.array(rng.random(shape) * 99, dtype, order=order)
    np.save(tmp_path / "a.npy", values)
    report, images = ingest(tmp_path / "a.npy")
    assert (np.array(images) == values.reshape(-1, *shape[-3:])).all()
    assert report.dtype == np.dtype(dtype).newbyteorder("=")
    assert report.channels == (None if len(shape) == 2 else shape[-3])


@pytest.mark.parametrize("shape", [(20, 30, 3), (20, 30, 4), (2, 20, 30, 3)])
def test_a_picture_has_its_channels_last(rng, tmp_path, ingest, shape):
    values = rng.random(shape)
    np.save(tmp_path / "a.npy", values)
    _, images = ingest(tmp_path / "a.npy")
    assert (np.array(images) == np.moveaxis(values, -1, -3).reshape(-1, shape[-1], 20, 30)).all()


@given(st.lists(st.integers(1, 9), min_size=2, max_size=4))
def test_the_rule_for_axes_without_names(shape):
    last = len(shape) > 2 and shape[-1] in (3, 4) and shape[-3] not in (3, 4)
    assert unnamed_axes(tuple(shape)) == (("image", "y", "x", "channel")[4 - len(shape) :] if last else None)


def test_dims_give_the_order(rng, tmp_path, ingest):
    values = rng.random((20, 30, 5))
    np.save(tmp_path / "a.npy", values)
    _, [pixels] = ingest(tmp_path / "a.npy", dims=("y", "x", "channel"))
    assert (pixels == np.moveaxis(values, -1, 0)).all()
    _, images = ingest(tmp_path / "a.npy", dims=["x", "y", "image"])
    assert (np.array(images) == values.transpose(2, 1, 0)).all()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(rng, tmp_path, ingest, save):
    red, nir = rng.random((2, 20, 30))
    save(tmp_path / "one.npz", red)
    save(tmp_path / "two.npz", red=red, nir=nir)
    save(tmp_path / "mixed.npz", red=red, count=np.arange(3))
    save(tmp_path / "many.npz", rng.random((3, 2, 20, 30)))
    assert (ingest(tmp_path / "one.npz")[1][0] == red).all()
    report, [pixels] = ingest(tmp_path / "two.npz")
    assert (pixels == [red, nir]).all()
    assert report.labels == ("red", "nir")
    report, [pixels] = ingest(f"{tmp_path}/mixed.npz:red")
    assert (pixels == red).all()
    report, images = ingest(tmp_path / "many.npz")
    assert report.names == ("many[image=0]", "many[image=1]", "many[image=2]")
    with np.load(tmp_path / "many.npz") as arrays:
        assert (np.array(images) == arrays["arr_0"]).all()
    with pytest.raises(SourceError, match=r"arrays of several kinds.*name one, such as file.npz:red"):
        ingest(tmp_path / "mixed.npz")
    with pytest.raises(SourceError, match="has no array 'blue', it has red, nir"):
        ingest(f"{tmp_path}/two.npz:blue")


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.array([{}]), "Python objects"),
        (np.zeros((3, 4), "M8[s]"), "dtype datetime64"),
        (np.zeros((3, 4), "f8,i4"), "dtype"),
        (np.zeros(7), "2 to 4 axes"),
        (np.zeros((2, 0, 4)), "no pixels"),
        (np.zeros((3, 4), np.longdouble), "dtype"),
    ],
)
def test_what_is_no_image(tmp_path, ingest, values, reason):
    np.save(tmp_path / "a.npy", values, allow_pickle=True)
    with pytest.raises(SourceError, match=reason):
        ingest(tmp_path / "a.npy")


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_a_header_that_could_not_be_parsed_for_another_thread_is_read_again(tmp_path, ingest, monkeypatch, name):
    values = np.arange(16).reshape(4, 4)
    (np.save if name.endswith("npy") else np.savez)(tmp_path / name, values)
    real, calls = ast.literal_eval, []

    def fails_at_first(text):
        calls.append(text)
        if len(calls) % 2:
            raise SystemError("AST constructor recursion depth mismatch (before=42, after=39)")
        return real(text)

    monkeypatch.setattr(ast, "literal_eval", fails_at_first)
    _, [pixels] = ingest(tmp_path / name)
    np.testing.assert_array_equal(pixels.reshape(4, 4), values)
    assert len(calls) >= 2
