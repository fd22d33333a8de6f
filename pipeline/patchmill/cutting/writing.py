"""`plan` and `write_patches`: what a user asks for, as a request and an order."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import DTypeLike

from patchmill.cutting.clients import is_on_cluster
from patchmill.cutting.conducting import Order, Say, carry_out, tidy_up
from patchmill.cutting.looking import is_finished, settled
from patchmill.cutting.request import Request, make_request
from patchmill.cutting.slices import Slice
from patchmill.planning import Plan
from patchmill.reading import PatchSet, open_patches
from patchmill.sources import Dims
from patchmill.storage import Location, heap, read_group
from patchmill.types import Edge, Layout, Mode, PadMode, PerAxis, Watch, as_called, as_word


def plan(
    source: Any,
    patch_shape: PerAxis,
    step: PerAxis | None = None,
    *,
    layout: Layout = "patches",
    dilation: PerAxis = 1,
    edge: Edge = "drop",
    pad_mode: PadMode = "constant",
    pad_value: Any = 0,
    dtype: DTypeLike | Mapping[str, Any] | None = None,
    transform: Any = None,
    keep: Any = None,
    statistics: bool | None = None,
    variables: Sequence[str] | None = None,
    dims: Dims = None,
    channels: Sequence[str] | None = None,
    memory: int | str | None = None,
    workers: int | None = None,
    cluster: Any = None,
    storage_options: Mapping[str, Any] | None = None,
    tuning: Mapping[str, Any] | None = None,
    target: str | os.PathLike[str] | None = None,
) -> Plan:
    """What `write_patches` would do with these arguments, and what it would cost. Reads no pixel.

    Parameters
    ----------
    source, patch_shape, step, layout, dilation, edge, pad_mode, pad_value, dtype, transform, keep, statistics, \
    variables, dims, channels, memory, workers, storage_options, tuning
        As for `write_patches`.
    cluster : mapping or False, optional
        As for `write_patches`, whether workers will cut; none is started or asked.
    target : path or URL, optional
        Where the set would lie, to tell the free space there; the current folder by default.

    Returns
    -------
    Plan
        Frozen; prints as a table, goes through JSON.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong, or no image is as large as a patch.
    PatchmillError
        If the source can't be read, or one task alone needs more than `memory`.

    Examples
    --------
    >>> import numpy as np, patchmill
    >>> plan = patchmill.plan(np.zeros((2, 3, 900, 1600), "uint16"), 256, 128, edge="shift")
    >>> plan.patches, plan.uncovered, round(plan.overlap_factor, 2)
    (168, 0, 3.82)
    >>> {name: cost.bytes_written for name, cost in plan.layouts}
    {'patches': 66060288, 'canvas': 17280000}
    """
    return make_request(
        source,
        patch_shape,
        step,
        layout=layout,
        dilation=dilation,
        edge=edge,
        pad_mode=pad_mode,
        pad_value=pad_value,
        dtype=dtype,
        transform=transform,
        keep=keep,
        statistics=statistics,
        variables=variables,
        dims=dims,
        channels=channels,
        memory=memory,
        workers=workers,
        storage_options=storage_options,
        tuning=tuning,
        target=Location.parse(os.curdir if target is None else target),
        in_processes=is_on_cluster(cluster),
    ).plan


def write_patches(
    source: Any,
    target: str | os.PathLike[str],
    patch_shape: PerAxis,
    step: PerAxis | None = None,
    *,
    layout: Layout = "patches",
    dilation: PerAxis = 1,
    edge: Edge = "drop",
    pad_mode: PadMode = "constant",
    pad_value: Any = 0,
    dtype: DTypeLike | Mapping[str, Any] | None = None,
    transform: Any = None,
    keep: Any = None,
    statistics: bool | None = None,
    variables: Sequence[str] | None = None,
    dims: Dims = None,
    channels: Sequence[str] | None = None,
    mode: Mode = "resume",
    slice: str | tuple[int, int] | None = None,  # noqa: A002 - the word of the command line
    memory: int | str | None = None,
    workers: int | None = None,
    cluster: Any = None,
    storage_options: Mapping[str, Any] | None = None,
    target_options: Mapping[str, Any] | None = None,
    tuning: Mapping[str, Any] | None = None,
    progress: Watch | None = None,
    say: Say | None = None,
) -> PatchSet | None:
    """Cut `source` into patches and write them to `target`, a Zarr v3 group that any reader opens.

    Parameters
    ----------
    source : path, URL, ndarray, dask array, DataArray or Dataset
        A path or URL of a Zarr array or group (version 2 or 3), of a NetCDF, HDF5 or GeoTIFF file, or an object whose
        axes are (image, channel, y, x) or the last of them. Several variables on the same y and x are cut in one pass
        into aligned arrays.
    target : path or URL
        Folder to write; parents are made.
    patch_shape : int or (int, int)
        Pixels of a patch: y, x.
    step : int or (int, int), optional
        Pixels between neighboring origins; None means `patch_shape`, no overlap.
    layout : {"patches", "canvas"}
        How pixels lie on disk: every patch in full, or every pixel once, of which patches are windows. Both read alike;
        the size of "canvas" does not depend on the overlap.
    dilation : int or (int, int)
        Pixels between neighboring pixels of one patch.
    edge : {"drop", "pad", "shift"}
        What happens where the last patch does not fit: left out, filled, or moved back to end at the border.
    pad_mode : {"constant", "edge", "reflect", "symmetric"}
        What continues an image for ``edge="pad"``, as in `numpy.pad`.
    pad_value : number
        For ``pad_mode="constant"``: a value of the source, transformed like all others; its dtype must hold it.
    dtype : dtype or mapping, optional
        What to store; the source's by default, or what `transform` makes of it. Floats become integers by rounding half
        to even; a value that `dtype` can't hold is an error, never wrapped around. With several variables a mapping
        from their names.
    transform : str, mapping, callable or list, optional
        What becomes of values on the way: ``"scale(0.0001)"``, ``"standardize(mean=[1, 2], std=[3, 4])"``,
        ``"clip(0, 10000)"``, ``"module:function"`` or a function of patches, (n, channel, y, x) to the same shape, that
        treats each patch alone. With several variables a mapping from their names.
    keep : str or callable, optional
        Which patches to keep: a condition on the catalog such as ``"valid_fraction >= 0.9"`` or ``"std > 2"``, or a
        function of patches that returns one boolean each. The catalog knows the others, and they take no space.
    statistics : bool, optional
        Whether the catalog holds mean, standard deviation, least and greatest of each patch; by default where they take
        no more than a sixteenth of the pixels' bytes.
    variables : sequence of str, optional
        Which variables of a group or Dataset; by default all that have a y and an x axis, but for those that CF's
        ``coordinates`` lists, as ``lat`` on (y, x). What has more axes than image, channel, y and x is named in a
        warning.
    dims : mapping or sequence, optional
        Which axis is which where names differ, such as ``{"image": "time", "channel": "band"}``; for an unnamed array
        its axes in order, such as ``("y", "x", "channel")``.
    channels : sequence of str, optional
        Variables to take for the channels of one array, such as ``["B02", "B03"]``; others are left out unless
        `variables` names them. Where none of these is a variable, and one array has channels with all these labels:
        only these channels of it, in this order; other variables are cut along as they are.
    mode : {"resume", "create", "overwrite", "append", "auto"}
        "resume" begins a set, goes on with one that was begun by the same request, or returns it if it is finished;
        "create" begins one where nothing is; "overwrite" builds aside and replaces a patch set, never anything else;
        "append" cuts the images that a source has got since, after those that the set holds. Old images are not read
        again but for those that share a shard with new ones: one of these that has changed is an error.
        "auto" is "append" where the source has grown, else "resume"; as a stage of a pipeline it also replaces what the
        same stage made by another request.
    slice : str or (int, int), optional
        ``"i/n"``: only the i-th of n parts, 0 <= i < n, in any order, for machines that share a disk and nothing else.
        Whoever comes last completes the set; the others get None. A rerun of any slice completes a set whose last one
        died over it.
    memory : int or str, optional
        Bytes that each process may hold, such as ``"1GiB"``; default half of what the machine has.
    workers : int, optional
        CPUs to keep busy; default those that affinity allows.
    cluster : mapping or False, optional
        A Dask deployment to start: ``{"class": "dask.distributed.LocalCluster", "arguments": {...}, "scale": 4}``. A
        client that is active, an address in ``DASK_SCHEDULER_ADDRESS``, or ``scheduler-address`` in Dask's
        configuration, is used without being named, unless this is False. Inside a task of a cluster threads of its
        worker cut, unless another deployment is named: `workers` of them, and within `memory`, for each such task.
    storage_options, target_options : mapping, optional
        For remote sources and targets, in fsspec's spelling; no secrets, which come from the environment.
    tuning : mapping, optional
        Decide what the plan would: read ("region" or "overlap"), block (shards, one number or one for each axis),
        band, rows, inflight, cache.
    progress : callable, optional
        Called with a `patchmill.types.Progress` now and then, from this thread: patches, bytes and shards done so far.
    say : callable, optional
        Told, in a sentence, which slices are missing after this one, that nothing marks nodata any more, or that a dead
        writer is taken over; by default there is a warning of the latter only.

    Returns
    -------
    PatchSet or None
        None from a slice while others are missing.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong, or no image is as large as a patch. Nothing is written then.
    TargetExistsError
        If the target holds something that `mode` may not touch.
    HeldError
        If another writer holds the target.
    Interrupted
        If SIGINT or SIGTERM asked to stop; calling again goes on from there.
    PatchmillError
        If the source can't be read, or memory or the disk do not suffice.

    Notes
    -----
    "resume" must know the source again. A stored one is known by its metadata, and by which ingest made it where one
    did, or a file by its name, size and time; an array in memory by all its values, which takes a second for some GB,
    longer where its axes lie crosswise. So is one that `numpy.memmap` maps for writing; one mapped with mode "r" is
    known by its file's name, size and time and some pages of it, a Dask array by its name, an xarray object that is not
    loaded by its file and what was cut out of it.

    Examples
    --------
    >>> import numpy as np, patchmill, tempfile
    >>> image = np.arange(3 * 40 * 50, dtype="uint16").reshape(3, 40, 50)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ps = patchmill.write_patches(image, f"{folder}/patches.zarr", 16, step=8)
    ...     len(ps), ps[0].shape, bool((ps[0] == image[:, :16, :16]).all())
    (20, (3, 16, 16), True)
    """
    as_word(mode, "mode", Mode)
    as_called(progress, "progress")
    as_called(say, "say")
    part = None if slice is None else Slice.parse(slice)
    if part is not None and mode != "resume":
        raise ValueError(
            f'slices join one cut, which is mode="resume", got mode={mode!r}: remove {target}, and {target}.patchmill '
            "where that is there, then begin with slices anew"
        )
    place = Location.parse(target, options=target_options).to_write().resolved()
    on_cluster = is_on_cluster(cluster)
    request = make_request(
        source,
        patch_shape,
        step,
        layout=layout,
        dilation=dilation,
        edge=edge,
        pad_mode=pad_mode,
        pad_value=pad_value,
        dtype=dtype,
        transform=transform,
        keep=keep,
        statistics=statistics,
        variables=variables,
        dims=dims,
        channels=channels,
        memory=memory,
        workers=workers,
        storage_options=storage_options,
        tuning=tuning,
        target=place,
        in_processes=on_cluster,
    )
    _refuse_inside(place, request)
    if mode == "auto":
        mode = settled(place, request.to_dict(), request.to_dict)
    order = Order(request, place, mode, part, cluster, progress, say)
    if is_finished(place, request.to_dict(), request.to_dict, mode):
        tidy_up(request, place)
    elif not carry_out(order):
        return None
    if not on_cluster:
        heap.leave()
    return open_patches(target, storage_options=target_options)


def _refuse_inside(target: Location, request: Request) -> None:
    """A target inside its own source, or the reverse, would destroy what it reads; in another set it goes with that."""
    for folder in target.path.parents if target.is_local else ():
        if (folder / "zarr.json").is_file() and read_group(Location.parse(folder)) is not None:
            raise ValueError(f"target must lie outside of other patch sets and sources, got {target.url}, in {folder}")
    source = request.source.url
    if target.is_local != os.path.isabs(source):
        return  # in memory, or in another store
    origin, place = (f"{os.path.realpath(url) if target.is_local else url}/" for url in (source, target.url))
    if origin.startswith(place) or place.startswith(origin):
        raise ValueError(f"target must lie outside of the source {source}, got {target.url}: choose another place")
