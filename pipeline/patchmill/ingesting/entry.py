"""`ingest`: the public entry, which checks every argument and owns the defaults."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from patchmill.expressions import nearest
from patchmill.ingesting.growing import append
from patchmill.ingesting.limits import SMALLEST_MEMORY, Limits
from patchmill.ingesting.ordering import Order
from patchmill.ingesting.pairing import IMAGE, as_patterns
from patchmill.ingesting.problems import OnError
from patchmill.ingesting.publishing import IngestMode
from patchmill.ingesting.report import IngestReport
from patchmill.ingesting.running import run
from patchmill.ingesting.scenes import Reading
from patchmill.planning import memory_limit, worker_count
from patchmill.sources import Dims
from patchmill.sources.naming import as_dims
from patchmill.sources.readers import AXES
from patchmill.storage import Location
from patchmill.types import Watch, as_bytes, as_called, as_word, shown_bytes


def ingest(
    images: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    target: str | os.PathLike[str],
    *,
    variables: Mapping[str, str] | None = None,
    on_error: OnError = "raise",
    max_errors: int | None = None,
    level: int = 0,
    mode: IngestMode = "create",
    max_bytes: int | str = "2GiB",
    dims: Dims = None,
    channels: Sequence[str] | None = None,
    memory: int | str | None = None,
    workers: int | None = None,
    progress: Watch | None = None,
) -> IngestReport:
    """Write image files of any common kind into one Zarr store, `target`, that everything else starts from.

    PNG, JPEG, WebP, BMP, GIF, PNM; TIFF in all its forms, GeoTIFF, JPEG 2000; NetCDF and HDF5; ``.npy`` and ``.npz``;
    Zarr. The first bytes of a file tell its kind, whatever it is called. The store holds
    ``image (image, channel, y, x)``, without a channel axis where no file has one, on a canvas as large as the largest;
    ``height``, ``width`` and ``name`` of each image; where the files know them also ``spatial_ref`` and
    ``transform (image, 6)``, names of channels, nodata, scales and offsets. Values are as stored. The store appears at
    `target` whole, or not at all.

    The first image decides dtype and channels. A page, a time step, a Z position is an image of its own, its name is
    such as ``stack[page=2]``, counted from 0. The modules of this package say what becomes of each kind of file.

    Parameters
    ----------
    images : path, glob, or iterable of these
        A folder with all that is below it, a pattern such as ``scenes/**/*.tif``, a file, or a list of these. Natural
        order, ``2.png`` before ``10.png``; a list keeps its own. Hidden files, and in folders and patterns those that
        are not called like images, are ignored and counted. ``file.nc:variable`` names one variable of several.
        ``"sample:"`` is photographs that come along.
    target : path
        The store to write; folders around it are made.
    variables : mapping, optional
        Further files that belong to each image, as patterns with {stem}, {name} (with its ending) and {parent} (the
        folder) of the image's file: ``{"mask": "masks/{stem}.tif"}``, relative to the current directory. They must have
        the sizes of their images; pictures with a palette stay indices; a single channel has no axis.
    on_error : {"raise", "skip"}
        What to do with a file that can't be used: stop, with nothing written, or list it in the report and go on as if
        it had not been there.
    max_errors : int, optional
        With "skip", stop after all where more than so many can't be used.
    level : int
        Level of image pyramids, 0 is the full size; files without that level can't be used.
    mode : {"create", "overwrite", "append", "auto"}
        Where `target` exists: stop, or replace it at the very end, or add the files that it does not hold yet; the
        latter two are done to stores that ingest wrote only. "append" leaves all images where they are and puts new
        ones behind them, which must agree with the store as those of one ingest do; readers are not disturbed. Files
        that changed or vanished are named in the report, and what was ingested of them stays. Files that could not be
        used before are tried again. `level`, `dims`, `channels` and the names of `variables` must be those with which
        the store was begun. "auto" is "append" while no file has changed or vanished; where one has, it is refused, or
        as a stage of a pipeline made anew, if the same stage made the store.
    max_bytes : int or str
        Most that may be decoded in one go: whole pictures, single strips and tiles. A file that would grow beyond it
        and a thousandfold is refused as well.
    dims : mapping or sequence, optional
        Which axis is which. Where axes have names: ``{"image": "time", "channel": "band", "y": "lat", "x": "lon"}``, in
        TIFF with tifffile's letters, ``{"channel": "Z"}``. Where they have none, their order:
        ``("y", "x", "channel")``.
    channels : sequence of str, optional
        Names of the image's channels in place of those in the files.
    memory : int or str, optional
        Bytes that this process may hold, interpreter included, at least 512 MiB; half of what there is by default.
    workers : int, optional
        Threads; as many as CPUs by default.
    progress : callable, optional
        Called with a `patchmill.types.Progress` now and then: images and bytes done so far.

    Returns
    -------
    IngestReport

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong.
    TargetExistsError
        If something is at `target` that `mode` may not touch.
    SourceError
        If files can't be used and `on_error` or `max_errors` says stop, or if none can.
    PatchmillError
        If the store can't be written.

    Examples
    --------
    >>> import tempfile, numpy as np, patchmill
    >>> folder = tempfile.TemporaryDirectory()
    >>> for name, shape in {"a": (30, 40, 3), "b": (20, 50, 3)}.items():
    ...     np.save(f"{folder.name}/{name}.npy", np.zeros(shape, np.uint8))
    >>> report = patchmill.ingest(folder.name, f"{folder.name}/source.zarr")
    >>> report.names, report.sizes, report.channels
    (('a', 'b'), ((30, 40), (20, 50)), 3)
    >>> import xarray as xr
    >>> xr.open_zarr(report.target).image.shape
    (2, 3, 30, 50)
    >>> folder.cleanup()
    """
    as_word(on_error, "on_error", OnError)
    as_word(mode, "mode", IngestMode)
    if max_errors is not None and on_error == "raise":
        raise ValueError('max_errors counts what on_error="skip" lists, and on_error is "raise": leave one of them out')
    shared: dict[str, Any] = {"level": _count(level, "level"), "dims": _axes(dims)}
    patterns, names = as_patterns(variables), _names(channels)
    readings = {IMAGE: Reading(**shared)} | {name: Reading(**shared, palette="indices") for name in patterns}
    order = Order(
        images=tuple(images) if isinstance(images, Iterator) else images,
        target=Location.local(Location.parse(target).to_write().path).resolved(),  # of a server nothing is asked
        patterns=patterns,
        channels=names,
        on_error=on_error,
        max_errors=None if max_errors is None else _count(max_errors, "max_errors"),
        mode=mode,
        readings=readings,
        limits=Limits(as_bytes(max_bytes, "max_bytes"), _memory(memory)),
        workers=worker_count(workers),
        progress=as_called(progress, "progress"),
        arguments=_arguments(level, shared["dims"], names, patterns),
    )
    return append(order) if mode in ("append", "auto") else run(order)


def _axes(dims: Any) -> Dims:
    """`dims`, whose axes must be known ones whatever the files call theirs."""
    found = as_dims(dims)
    for axis in found or ():
        if axis not in AXES:
            raise ValueError(
                f"dims must say which axis of the files is which of patchmill's, got {axis!r}; {nearest(axis, AXES)}"
            )
    return found


def _arguments(level: int, dims: Dims, channels: Sequence[str] | None, patterns: Mapping[str, str]) -> dict[str, Any]:
    """What decides which images a file holds and how they are read, as plain JSON; patterns only say where to look."""
    named = {str(axis): str(name) for axis, name in dims.items()} if isinstance(dims, Mapping) else dims and list(dims)
    return {
        "level": int(level),
        "dims": named,
        "channels": None if channels is None else list(channels),
        "variables": list(patterns),
    }


def _count(value: Any, name: str) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = -1
    if number < 0 or isinstance(value, bool):
        raise ValueError(f"{name} must be a whole number of at least 0, got {value!r}")
    return number


def _memory(memory: int | str | None) -> int:
    limit = memory_limit(memory)
    if limit < SMALLEST_MEMORY:
        raise ValueError(f"memory must be at least {shown_bytes(SMALLEST_MEMORY)} to ingest, got {shown_bytes(limit)}")
    return limit


def _names(channels: Any) -> tuple[str, ...] | None:
    if channels is None:
        return None
    listed = isinstance(channels, Iterable) and not isinstance(channels, str)
    names = tuple(channels) if listed else ()
    if not listed or not all(isinstance(name, str) for name in names):
        raise TypeError(f'channels must be a list of names such as ["red", "nir"], got {channels!r}')
    if len(set(names)) != len(names) or not names:
        raise ValueError(f"channels must be different names, got {list(names)}")
    return names
