"""The Dask way: one task a chunk, halos by ``map_overlap``, nothing computed and nothing split.

A position belongs to the chunk in which it begins. So every chunk of the image becomes one chunk of the result, and
needs of its neighbors exactly the pixels that its own patches reach over. The other way round, a chunk of patches
becomes the pixels from its first origin up to the next chunk's, and needs the patches before it that reach into them.

A chunk narrower than the halo is merged with its neighbor under a ``dask.array.PerformanceWarning``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchmill.grid import Axis, Halo, PatchGrid
from patchmill.patches import assembly, views
from patchmill.patches.chunks import Chunks, halo_when_cut, halo_when_put_back, merged
from patchmill.patches.notices import caller_level
from patchmill.patches.views import Padding
from patchmill.patches.windows import Weights, weights

Array = NDArray[Any]
Sizes = tuple[int, ...]


def cut(array: Any, grid: PatchGrid, padding: Padding, names: Sequence[Any]) -> Any:
    """`array`, a Dask array of shape (..., y, x), as a lazy one of (..., grid_y, grid_x, patch_y, patch_x).

    `names` are those of its axes, for warnings.
    """
    lead = array.ndim - grid.ndim
    array, depths = _wide_enough(
        array, lead, [partial(halo_when_cut, axis, padding=padding) for axis in grid.axes], "pixels", names
    )
    edges = [list(accumulate(sizes, initial=0)) for sizes in array.chunks[lead:]]
    counts = [
        tuple(len(axis.begins_in(*interval)) for interval in pairwise(along))
        for axis, along in zip(grid.axes, edges, strict=True)
    ]
    result = _mapped(
        cut_block,
        array,
        depth={lead + number: tuple(halo) for number, halo in enumerate(depths)},
        chunks=(*array.chunks[:lead], *counts, *((size,) for size in grid.patch_shape)),
        new_axis=list(range(array.ndim, array.ndim + grid.ndim)),
        grid=grid,
        table=tuple(Chunks.of(sizes) for sizes in array.chunks[lead:]),
        before=tuple(halo.before for halo in depths),
        padding=padding,
    )
    return _without_empty(result, lead, counts)


def cut_block(
    block: Array,
    *,
    grid: PatchGrid,
    table: Sequence[Chunks],
    before: Sequence[int],
    padding: Padding,
    block_id: tuple[int, ...],
) -> Array:
    """Patches that begin in one chunk.

    Parameters
    ----------
    block : ndarray, shape (..., y, x)
        The chunk and its halo.
    table : sequence of Chunks
        The chunks along y, x.
    before : sequence of int
        Pixels of halo before a chunk that is not the first.
    block_id : tuple of int
        Number of the chunk, (..., y, x, patch_y, patch_x).
    """
    lead = block.ndim - grid.ndim
    own = [chunks[number] for chunks, number in zip(table, block_id[lead : lead + grid.ndim], strict=True)]
    held = [axis.begins_in(*interval) for axis, interval in zip(grid.axes, own, strict=True)]
    if not all(held):
        return np.empty((*block.shape[:lead], *map(len, held), *grid.patch_shape), block.dtype)
    low = [max(0, first - halo) for (first, _), halo in zip(own, before, strict=True)]
    start, stop = [along.start for along in held], [along.stop for along in held]
    return views.cut(np.asarray(block), grid, start=start, stop=stop, low=low, padding=padding)


def assemble(patches: Any, grid: PatchGrid, window: str | Weights, fill: Array, names: Sequence[Any]) -> Any:
    """`patches`, a Dask array of shape (..., grid_y, grid_x, patch_y, patch_x), as a lazy one of (..., y, x).

    `names` are those of its axes, for warnings.
    """
    from dask.delayed import delayed

    lead = patches.ndim - 2 * grid.ndim
    patches = _whole(patches, lead + grid.ndim, names)
    patches, depths = _wide_enough(
        patches, lead, [partial(halo_when_put_back, axis) for axis in grid.axes], "positions", names
    )
    tables = [Chunks.of(sizes) for sizes in patches.chunks[lead : lead + grid.ndim]]
    pixels = [
        tuple(high - low for low, high in (_pixels(axis, *chunks[number]) for number in range(count)))
        for axis, chunks, count in zip(grid.axes, tables, patches.numblocks[lead:], strict=False)
    ]
    result = _mapped(
        assemble_block,
        patches,
        depth={lead + number: tuple(halo) for number, halo in enumerate(depths)},
        chunks=(*patches.chunks[:lead], *pixels),
        drop_axis=list(range(lead + grid.ndim, patches.ndim)),
        grid=grid,
        table=tuple(tables),
        before=tuple(halo.before for halo in depths),
        window=window if isinstance(window, str) else delayed(window, pure=True),  # one copy for all tasks
        fill=fill,
    )
    return _without_empty(result, lead, pixels)


def assemble_block(
    block: Array,
    *,
    grid: PatchGrid,
    table: Sequence[Chunks],
    before: Sequence[int],
    window: str | Weights,
    fill: Array,
    block_id: tuple[int, ...],
) -> Array:
    """Pixels from the first origin of one chunk of patches up to the first of the next.

    Parameters
    ----------
    block : ndarray, shape (..., grid_y, grid_x, patch_y, patch_x)
        The chunk and the positions before it.
    table : sequence of Chunks
        The chunks along grid_y, grid_x.
    before : sequence of int
        Positions of halo before a chunk that is not the first.
    block_id : tuple of int
        Number of the chunk, (..., y, x).
    """
    lead = block.ndim - 2 * grid.ndim
    own = [chunks[number] for chunks, number in zip(table, block_id[lead:], strict=True)]
    box = [_pixels(axis, *interval) for axis, interval in zip(grid.axes, own, strict=True)]
    return assembly.assemble(
        np.asarray(block),
        grid,
        begin=[max(0, first - halo) for (first, _), halo in zip(own, before, strict=True)],
        low=[low for low, _ in box],
        high=[high for _, high in box],
        weights=weights(window, grid.patch_shape),
        fill=fill,
    )


def _pixels(axis: Axis, start: int, stop: int) -> tuple[int, int]:
    """Pixels that the positions [start, stop) become: those up to the next position's, or the border."""
    low, high = (axis[position] if position < len(axis) else axis.n for position in (start, stop))
    return low, high


# -- chunks and graphs -----------------------------------------------------------------------------------------------


def refuse_foreign(array: Any) -> None:
    """Raise TypeError for chunks that are not NumPy arrays: masked ones would lose their mask in a strided view."""
    from dask.array.utils import meta_from_array

    held = type(meta_from_array(array))
    if held is not np.ndarray:
        raise TypeError(
            f"a Dask array must have chunks of numpy.ndarray, got {held.__name__}: "
            "convert them first, for example array.map_blocks(numpy.ma.filled) or array.map_blocks(numpy.asarray)"
        )


def _wide_enough(
    array: Any, lead: int, halo_at: Sequence[Callable[[int], Halo]], unit: str, names: Sequence[Any]
) -> tuple[Any, list[Halo]]:
    """`array` with chunks at least as wide as their halos, and the halo of each axis from `lead` on."""
    depths = []
    for axis, halo in enumerate(halo_at, start=lead):
        sizes = array.chunks[axis]
        wide = merged(sizes, [halo(edge) for edge in accumulate(sizes[:-1])])
        found = [halo(edge) for edge in accumulate(wide[:-1])]
        depths.append(Halo(max((h.before for h in found), default=0), max((h.after for h in found), default=0)))
        if wide != sizes:
            reach = max(map(max, map(halo, accumulate(sizes[:-1]))))
            reason = f"patches reach up to {reach} {unit} into a neighboring chunk"
            array = _rechunked(array, axis, wide, reason, names)
    return array, depths


def _whole(patches: Any, first: int, names: Sequence[Any]) -> Any:
    """`patches` with one chunk along each axis from `first` on, those inside a patch."""
    for axis in range(first, patches.ndim):
        if patches.numblocks[axis] > 1:
            patches = _rechunked(patches, axis, (patches.shape[axis],), "a patch must lie in one chunk", names)
    return patches


def _rechunked(array: Any, axis: int, sizes: Sizes, reason: str, names: Sequence[Any]) -> Any:
    from dask.array import PerformanceWarning

    warnings.warn(
        f"{names[axis]}: chunks of {_shown(array.chunks[axis])} are merged to {_shown(sizes)}, because {reason}; "
        "rechunk before the call to choose them yourself",
        PerformanceWarning,
        stacklevel=caller_level(),
    )
    return array.rechunk({axis: sizes}, method="tasks")


def _shown(sizes: Sizes) -> str:
    return (
        str(sizes) if len(sizes) <= 8 else f"({', '.join(map(str, sizes[:3]))}, ..., {sizes[-1]}; {len(sizes)} chunks)"
    )


def _mapped(
    function: Any, array: Any, *, depth: dict[int, tuple[int, ...]], chunks: tuple[Sizes, ...], **kwargs: Any
) -> Any:
    """`function` over the blocks of `array` and their halos."""
    import dask.array

    meta = np.empty((0,) * len(chunks), array.dtype)
    kwargs |= {"chunks": chunks, "meta": meta, "token": function.__name__.replace("_", "-")}
    if not any(map(any, depth.values())):
        return dask.array.map_blocks(function, array, **kwargs)
    return dask.array.map_overlap(
        function, array, depth=depth, boundary="none", trim=False, allow_rechunk=False, **kwargs
    )


def _without_empty(array: Any, lead: int, sizes: Sequence[Sizes]) -> Any:
    """`array` without the chunks of length 0 along the axes from `lead` on: those in which nothing begins."""
    for axis, along in enumerate(sizes, start=lead):
        kept = [number for number, size in enumerate(along) if size]
        if len(kept) < len(along):
            array = array.blocks[(slice(None),) * axis + (kept,)]
    return array
