"""What is accepted, and one sentence with the value and the way out for what is not."""

from __future__ import annotations

import subprocess
import sys

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from patchmill.grid import PatchGrid
from patchmill.patches import patchify, unpatchify

IMAGE = np.arange(3 * 6 * 8, dtype=np.uint8).reshape(3, 6, 8)
GRID = PatchGrid((6, 8), 2, 2)
PATCHES = patchify(IMAGE, 2, 2)


def one_sentence(text: str) -> bool:
    return len(text) > 20 and "\n" not in text and not text.endswith(".")


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (
            {"patch_shape": 7},
            ValueError,
            r'patch of 7 x 7 does not fit into an image of 6 x 8: .*smaller patch, or edge="pad"',
        ),
        ({"patch_shape": 7, "edge": "shift"}, ValueError, r"patch of 7 x 7 does not fit into an image of 6 x 8"),
        (
            {"patch_shape": 3, "dilation": 3},
            ValueError,
            r"3 x 3, which reaches over 7 x 7 pixels, does not fit .* 6 x 8",
        ),
        ({"patch_shape": 2, "step": 0}, ValueError, r"step must be at least 1, got 0"),
        ({"patch_shape": 2, "step": (1, -2)}, ValueError, r"step\[1\] must be at least 1, got -2"),
        ({"patch_shape": 2, "step": 1.0}, TypeError, r"step must be a whole number of pixels, got 1.0"),
        ({"patch_shape": 2, "step": (1, 1, 1)}, ValueError, r"step .* 2 spatial axes, got 3"),
        ({"patch_shape": 2, "dilation": 0}, ValueError, r"dilation must be at least 1, got 0"),
        ({"patch_shape": 2, "dilation": (1,)}, ValueError, r"dilation .* 2 spatial axes, got 1"),
        ({"patch_shape": 0}, ValueError, r"patch_shape.* must be at least 1, got 0"),
        ({"patch_shape": -1}, ValueError, r"patch_shape.* must be at least 1, got -1"),
        ({"patch_shape": "2"}, TypeError, r"patch_shape.* must be a whole number of pixels, got '2'"),
        ({"patch_shape": None}, TypeError, r"patch_shape.* must be a whole number of pixels, got None"),
        ({"patch_shape": ()}, ValueError, r"patch_shape must have at least one axis"),
        ({"patch_shape": (1, 2, 2, 2)}, ValueError, r"axis for each number of patch_shape \(1, 2, 2, 2\), got 3 axes"),
        ({"patch_shape": 2, "edge": "wrap"}, ValueError, r"edge must be one of 'drop', 'pad', 'shift', got 'wrap'"),
        ({"patch_shape": 2, "pad_mode": "wrap"}, ValueError, r"pad_mode must be one of 'constant', .*, got 'wrap'"),
        ({"patch_shape": 2, "pad_mode": np.array(["a", "b"])}, ValueError, r"pad_mode must be one of .*, got array\("),
        ({"patch_shape": 2, "edge": "pad", "pad_value": -1}, ValueError, r"pad_value .* uint8 .* got -1: .* 0 to 255"),
        ({"patch_shape": 2, "edge": "pad", "pad_value": np.nan}, ValueError, r"pad_value .* uint8 .* got nan"),
        (
            {"patch_shape": 2, "edge": "pad", "pad_value": "a"},
            TypeError,
            r"pad_value must be one number .* uint8, got 'a'",
        ),
    ],
)
@pytest.mark.parametrize("kind", ["numpy", "dask", "xarray", "dataset"])
def test_wrong_arguments_of_patchify(kind, arguments, error, words):
    if kind == "dask":
        array = da.from_array(IMAGE)
    elif kind == "numpy":
        array = IMAGE
    else:
        array = xr.DataArray(IMAGE, dims=("band", "y", "x"), name="a")
        array = array if kind == "xarray" else array.to_dataset()
    with pytest.raises(error, match=words) as caught:
        patchify(array, **arguments)
    assert one_sentence(str(caught.value))


@pytest.mark.parametrize(
    ("array", "error", "words"),
    [
        (np.zeros((0, 4)), ValueError, r"no axis of length 0, got shape \(0, 4\)"),
        (np.zeros((0, 4, 4)), ValueError, r"no axis of length 0, got shape \(0, 4, 4\)"),
        (np.float64(3), TypeError, r"got numpy.float64"),
        (np.array(3), ValueError, r"array must have an axis for each number of patch_shape 2, got 0 axes"),
        (np.ma.masked_array(np.eye(4), np.eye(4)), TypeError, r"masked array .* array.filled"),
        ("text", TypeError, r"got builtins.str"),
        (None, TypeError, r"got builtins.NoneType"),
        ({"a": 1}, TypeError, r"got builtins.dict"),
        ([[1, 2], [3]], ValueError, r"rows of one length"),
        ([["a", "b"], ["c", "d"]], TypeError, r"nested list must hold numbers, got <U1"),
        ([[None, 1], [2, 3]], TypeError, r"nested list must hold numbers, got object"),
        (memoryview(b"abcd"), TypeError, r"got builtins.memoryview"),
    ],
)
def test_wrong_arrays(array, error, words):
    with pytest.raises(error, match=words) as caught:
        patchify(array, 2)
    assert one_sentence(str(caught.value))


def test_an_irrelevant_pad_value_is_not_asked():
    assert patchify(IMAGE, 2, pad_value=-1).shape == (3, 5, 7, 2, 2)
    assert patchify(IMAGE, 2, edge="pad", pad_mode="edge", pad_value=-1).shape == (3, 5, 7, 2, 2)


def test_nested_lists_of_numbers_are_arrays():
    np.testing.assert_array_equal(patchify([[1, 2, 3], [4, 5, 6]], 2), [[[[1, 2], [4, 5]], [[2, 3], [5, 6]]]])
    np.testing.assert_array_equal(patchify((1.5, 2.5), 1), [[1.5], [2.5]])
    assert unpatchify([[1, 2], [2, 3]], PatchGrid(3, 2)).tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"grid": ((6, 8), 2, 2)}, TypeError, r"grid must be a PatchGrid, got tuple"),
        (
            {"grid": PatchGrid((6, 9), 2, 1)},
            ValueError,
            r"shape \(..., 5, 8, 2, 2\) to fit the grid, got \(3, 3, 4, 2, 2\)",
        ),
        ({"grid": PatchGrid((1, 1), 2)}, ValueError, r"without a patch has nothing to put back"),
        ({"patches": PATCHES[0, 0]}, ValueError, r"shape \(..., 3, 4, 2, 2\) to fit the grid, got \(4, 2, 2\)"),
        ({"patches": np.ma.masked_array(PATCHES)}, TypeError, r"masked array"),
        ({"patches": "text"}, TypeError, r"got builtins.str"),
        ({"window": "square"}, ValueError, r"window must be one of 'uniform', 'hann', 'triangle' or an array"),
        ({"window": np.ones(2)}, ValueError, r"window must have the shape of a patch, \(2, 2\), got \(2,\)"),
        ({"window": [[1, 0], [1, 1]]}, ValueError, r"finite and above 0 everywhere, got 0.0 to 1.0"),
        ({"window": [[1, np.nan], [1, 1]]}, ValueError, r"finite and above 0"),
        ({"window": [[1j, 1], [1, 1]]}, TypeError, r"array of real weights"),
        ({"fill_value": 256}, ValueError, r"fill_value .* uint8 .* got 256"),
    ],
)
@pytest.mark.parametrize("lazy", [False, True])
def test_wrong_arguments_of_unpatchify(lazy, arguments, error, words):
    patches = arguments.get("patches", PATCHES)
    if lazy and type(patches) is np.ndarray:
        patches = da.from_array(patches)
    rest = {name: value for name, value in arguments.items() if name != "patches"}
    with pytest.raises(error, match=words) as caught:
        unpatchify(patches, **{"grid": GRID} | rest)
    assert one_sentence(str(caught.value))


def test_gaps_are_counted_where_the_user_looks():
    grid = PatchGrid((100, 100), 30, 40)
    image = np.ones((100, 100), np.uint8)
    with pytest.warns(UserWarning, match=r"6400 of 10000 pixels lie in no patch and hold fill_value 7") as caught:
        back = unpatchify(patchify(image, 30, 40), grid, fill_value=7)
    assert [warning.filename for warning in caught] == [__file__]
    assert (back == 7).sum() == 6400 == grid.uncovered
    assert (back == 1).sum() == 3600


def test_neither_dask_nor_xarray_is_imported():
    code = (
        "import sys, numpy, patchmill; from patchmill.patches import patchify, unpatchify; "
        "patchmill.unpatchify(patchmill.patchify(numpy.eye(5), 2), patchmill.PatchGrid((5, 5), 2)); "
        "heavy = {'dask', 'xarray', 'pandas', 'zarr', 'torch'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
