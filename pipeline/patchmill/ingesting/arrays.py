"""NumPy's own files: ``.npy``, read in pieces through a memory map, and ``.npz``, read array by array.

Axes have no names there, so their order decides: (image, channel, y, x) or the last of them, unless ``dims`` says
otherwise. One exception, for pictures: where the last axis is 3 or 4 long and the axis that would be the channel is
not, it is (image, y, x, channel).
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchmill.ingesting.scenes import Reading, Scene, UnfitError
from patchmill.sources import Dims
from patchmill.sources.model import PACKINGS
from patchmill.sources.naming import canonical_axes

Get = Callable[[tuple[Any, ...]], NDArray[Any]]

_PICTURE = (3, 4)

_TRIES = 10


def open_npy(path: str, variable: str, reading: Reading) -> list[Scene]:
    """The images of a ``.npy`` file."""
    if variable:
        raise UnfitError(f"is an NPY file and has no variables, and {variable!r} was asked for")
    array = _mapped(path)

    def get(region: tuple[Any, ...]) -> NDArray[Any]:
        # Mapped anew each time: pages of a map that stays open would count as memory of this process.
        return np.array(_mapped(path)[region])

    return unnamed_scenes(array.shape, array.dtype, get, reading.dims, whole=False)


def open_npz(path: str, variable: str, reading: Reading) -> list[Scene]:
    """The images of a ``.npz`` file: its only array, the named one, or several of one kind as channels."""
    headers = _headers(path)
    if variable:
        if variable not in headers:
            raise UnfitError(f"has no array {variable!r}, it has {', '.join(headers) or 'none'}")
        headers = {variable: headers[variable]}
    if not headers:
        raise UnfitError("is a zip file that holds no NumPy arrays")
    if len(set(headers.values())) > 1:
        listed = ", ".join(f"{name} {shape} {dtype}" for name, (shape, dtype) in headers.items())
        raise UnfitError(f"holds arrays of several kinds, {listed}: name one, such as file.npz:{next(iter(headers))}")
    shape, dtype = next(iter(headers.values()))

    def load(name: str) -> NDArray[Any]:
        with np.load(path, allow_pickle=False) as arrays:
            return np.asarray(_parsed(lambda: arrays[name]))

    def getter(name: str) -> Get:
        # A copy, so that one image that waits to be written does not hold on to all of them.
        return lambda region: reading.arrays.get((path, name), lambda: load(name))[region].copy()

    parts = [unnamed_scenes(shape, dtype, getter(name), reading.dims, whole=True) for name in headers]
    return stacked(parts, tuple(headers)) if len(parts) > 1 else parts[0]


def _headers(path: str) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Shape and dtype of each array in a zip file, from the first bytes of its members."""
    found = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            if member.endswith(".npy"):
                found[member.removesuffix(".npy")] = _parsed(partial(_header, archive, member))
    return found


def _header(archive: zipfile.ZipFile, member: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    with archive.open(member) as file:
        major, _ = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    return shape, dtype


def _mapped(path: str) -> NDArray[Any]:
    loaded: NDArray[Any] = _parsed(lambda: np.load(path, mmap_mode="r", allow_pickle=False))
    return loaded


def _parsed(read: Callable[[], Any]) -> Any:
    """What `read` gives, asked again where Python's parser, by which NumPy reads headers, fails for another thread.

    That of the early 3.11s may, where two parse at the same moment: https://github.com/python/cpython/issues/106905.
    """
    for _ in range(_TRIES):
        with suppress(SystemError):
            return read()
    return read()


def unnamed_scenes(shape: tuple[int, ...], dtype: np.dtype[Any], get: Get, dims: Dims, *, whole: bool) -> list[Scene]:
    """Scenes of an array without names of axes.

    Parameters
    ----------
    shape : tuple of int
    dtype : numpy.dtype
    get : callable
        From an index to the values there.
    dims : sequence, optional
        The canonical axes in the array's order.
    whole : bool
        Whether any index decodes the whole array.
    """
    try:
        axes = canonical_axes(None, len(shape), dims if dims is not None else unnamed_axes(shape), "the array")
    except ValueError as error:
        raise UnfitError(f"has axes that can't be told: {error}") from error
    return axis_scenes(shape, dtype, axes, get, whole=whole)


def unnamed_axes(shape: tuple[int, ...]) -> Sequence[str] | None:
    """Canonical axes of a picture with its channels last, None for the usual order.

    Examples
    --------
    >>> unnamed_axes((900, 1600, 3))
    ('y', 'x', 'channel')
    >>> unnamed_axes((3, 900, 1600)) is None
    True
    """
    if len(shape) < 3 or shape[-1] not in _PICTURE or shape[-3] in _PICTURE:
        return None
    return {3: ("y", "x", "channel"), 4: ("image", "y", "x", "channel")}.get(len(shape))


def axis_scenes(
    shape: tuple[int, ...], dtype: np.dtype[Any], axes: dict[str, int], get: Get, *, whole: bool
) -> list[Scene]:
    """One scene for each place along the image axis of an array whose axes are known.

    Parameters
    ----------
    axes : dict
        Canonical axis to own axis number.
    """
    native = dtype.newbyteorder("=")
    present = [axis for axis in ("channel", "y", "x") if axis in axes]
    kept = sorted(axes[axis] for axis in present)
    order = [kept.index(axes[axis]) for axis in present]

    def reader(image: int) -> Callable[[slice, slice, slice], NDArray[Any]]:
        def read(channels: slice, ys: slice, xs: slice) -> NDArray[Any]:
            region: list[Any] = [slice(None)] * len(shape)
            for axis, wanted in zip(("channel", "y", "x"), (channels, ys, xs), strict=True):
                if axis in axes:
                    region[axes[axis]] = wanted
            if "image" in axes:
                region[axes["image"]] = image
            values = get(tuple(region)).transpose(order).astype(native, copy=False)
            return values if "channel" in axes else values[None]

        return read

    images = shape[axes["image"]] if "image" in axes else 1
    return [
        Scene(
            label=f"[image={image}]" if images > 1 else "",
            height=shape[axes["y"]],
            width=shape[axes["x"]],
            channels=shape[axes["channel"]] if "channel" in axes else None,
            dtype=native,
            in_pieces=not whole,
            interleaved="channel" in axes and axes["channel"] > axes["y"],
            least_nbytes=int(np.prod(shape, dtype=object)) * dtype.itemsize if whole else None,
            read=reader(image),
        )
        for image in range(images)
    ]


def stacked(parts: Sequence[list[Scene]], names: tuple[str, ...]) -> list[Scene]:
    """Scenes without channels, laid over each other as channels with these names.

    Raises
    ------
    UnfitError
        If they have channels already, or do not agree on what stands for "nothing measured".
    """
    from dataclasses import replace

    if any(scene.channels is not None for part in parts for scene in part):
        raise UnfitError(
            f"holds several variables with channels of their own, {', '.join(names)}: name one as file:variable"
        )

    if len({repr(part[0].nodata) for part in parts}) > 1:
        raise UnfitError(f"holds variables with different fill values, {', '.join(names)}: name one as file:variable")

    def reader(scenes: Sequence[Scene]) -> Callable[[slice, slice, slice], NDArray[Any]]:
        return lambda channels, ys, xs: np.concatenate([scene.read(slice(0, 1), ys, xs) for scene in scenes[channels]])

    return [
        replace(
            scenes[0],
            channels=len(scenes),
            labels=names,
            title=None,
            interleaved=False,
            least_nbytes=sum(s.least_nbytes or s.nbytes for s in scenes) if not scenes[0].in_pieces else None,
            scales=_each([scene.scales for scene in scenes], PACKINGS["scale"]),
            offsets=_each([scene.offsets for scene in scenes], PACKINGS["offset"]),
            read=reader(scenes),
        )
        for scenes in zip(*parts, strict=True)
    ]


def _each(values: Sequence[tuple[float, ...] | None], neutral: float) -> tuple[float, ...] | None:
    """One scale or offset for each part, None where no part has any."""
    return None if all(v is None for v in values) else tuple(neutral if v is None else v[0] for v in values)
