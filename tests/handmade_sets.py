"""Patch sets written by hand, as docs/format.md has them: what the reading side is tested with, apart from the writer.

Pixels go in where they must be and nowhere else: chunks outside an image's extent, and those of dropped patches where
a chunk is one patch, are missing.
"""

from __future__ import annotations

import numpy as np

from patchmill.grid import ImageGrids, PatchGrid
from patchmill.storage import FORMAT, ArraySpec, Location, declare, digest, open_bulk, write_small

CATALOG = ("image", "grid_y", "grid_x")


def write_set(
    place, images, grid, *, layout="canvas", pad=("constant", 0), dropped=None, labels=None, chunk=(1, 5, 7), shard=None
):
    """Write a set of one or several variables.

    Parameters
    ----------
    images : dict
        Variable to list of images, each (channel, y, x) or (y, x); sizes may differ from image to image.
    grid : PatchGrid
        Over the canvas.
    pad : (str, value)
        Mode and stored values; a list has one value for each channel.
    dropped : bool array, shape (image, grid_y, grid_x), optional
    labels : dict, optional
        "y", "x" to coordinates of pixels.
    chunk : tuple of int
        (image, y, x) of a canvas, (image, grid_y, grid_x) of patches.
    """
    place = Location.parse(place)
    first = next(iter(images.values()))
    grids = ImageGrids(grid, np.array([image.shape[-2:] for image in first]))
    exists = grids.exists(*(slice(None),) * 3)
    if dropped is not None:
        exists &= ~dropped
    specs = small_arrays(grids, exists, dropped, labels, layout)
    pixels = {
        name: array_spec(name if len(images) > 1 else layout, arrays, grids, layout, chunk, shard)
        for name, arrays in images.items()
    }
    every = [*specs, *pixels.values()]
    objects = declare(every, {})
    digests = {spec.name: digest(objects[f"{spec.name}/zarr.json"]) for spec in every}
    own = {
        "format": FORMAT,
        "kind": "patches",
        "layout": layout,
        "grid": grid.to_dict() | {"pad_mode": pad[0], "pad_value": 0},
        "source": {
            "url": "memory",
            "dims": {"y": "lat", "x": "lon"} if labels else {},
            "variables": {
                name: {"array": spec.name, "chunk": [1, 1, 4, 4], "nodata": None, "attributes": {}, "pad_value": pad[1]}
                for name, spec in pixels.items()
            },
        },
        "request": {"images": len(first)},
        "digests": digests,
    }
    coordinates = " ".join(spec.name for spec in specs if spec.name not in ("exists", "dropped", "count"))
    objects = declare(every, {"patchmill": own, "coordinates": coordinates})
    write_small(place, every, objects)
    for name, spec in pixels.items():
        put = put_canvas if layout == "canvas" else put_patches
        put(open_bulk(place.child(spec.name)), images[name], grids, exists)
    place.write("zarr.json", objects["zarr.json"])


def small_arrays(grids, exists, dropped, labels, layout):
    """Catalog and coordinates."""
    specs = [ArraySpec.of("exists", CATALOG, exists)]
    if dropped is not None:
        specs += [ArraySpec.of("dropped", CATALOG, dropped), ArraySpec.of("count", ("image",), exists.sum((1, 2)))]
    if grids.differ:
        specs += [ArraySpec.of(name, ("image",), grids.sizes[:, at]) for at, name in enumerate(("height", "width"))]
    for at, axis in enumerate("yx"):
        own = [list(grids.of(i).axes[at]) for i in range(len(grids.sizes))]
        own = [each + [0] * (grids.canvas.counts[at] - len(each)) for each in own]
        moved = grids.differ and grids.canvas.edge == "shift"
        origins = np.array(own if moved else list(grids.canvas.axes[at]), np.int64)
        specs.append(ArraySpec.of(f"origin_{axis}", ("image", f"grid_{axis}") if moved else (f"grid_{axis}",), origins))
        if labels and layout == "canvas":
            specs.append(ArraySpec.of(axis, (axis,), labels[axis], {"units": "degrees"}))
        elif labels:
            specs.append(ArraySpec.of(axis, (f"grid_{axis}",), labels[axis][origins], {"units": "degrees"}))
    return specs


def array_spec(name, images, grids, layout, chunk, shard):
    """The array of one variable's pixels; shards of two chunks along each axis by default."""
    channels = images[0].shape[:-2]
    names = ("channel",) if channels else ()
    image, *along = chunk
    if layout == "canvas":
        dims, lengths, inner = ("image", *names, "y", "x"), (*channels, *grids.canvas.shape), (*channels, *along)
    else:
        patch = grids.canvas.patch_shape
        dims = ("image", *names, "grid_y", "grid_x", "patch_y", "patch_x")
        lengths, inner = (*channels, *grids.canvas.counts, *patch), (*channels, *along, *patch)
    twice = [n * 2 for n in (image, *inner)]
    if layout == "patches":
        twice[-2:] = grids.canvas.patch_shape
    shape, dtype = (len(images), *lengths), images[0].dtype
    return ArraySpec(name, dims, shape, dtype, (image, *inner), tuple(shard or twice), fill=dtype.type(0))


def put_canvas(array, images, grids, exists):
    """Whole images, each to its own extent; a channel that shares a shard is written with it."""
    for at, image in enumerate(images):
        height, width = image.shape[-2:]
        if height and width:
            channels = (slice(0, n) for n in image.shape[:-2])
            array.write([((slice(at, at + 1), *channels, slice(0, height), slice(0, width)), image[None])])


def put_patches(array, images, grids, exists):
    """Existing patches only."""
    for at, y, x in np.argwhere(exists).tolist():
        patch = images[at][(..., *grids.of(at).pixels((y, x)))]
        channels = (slice(0, n) for n in patch.shape[:-2])
        region = (
            slice(at, at + 1),
            *channels,
            slice(y, y + 1),
            slice(x, x + 1),
            *(slice(0, n) for n in patch.shape[-2:]),
        )
        array.write([(region, patch.reshape([side.stop - side.start for side in region]))])


def patches_of(images, grid, exists, pad=("constant", 0)):
    """Every existing patch in the order of numbers, by a loop over padded copies: (n, channel, y, x)."""
    grids = ImageGrids(grid, np.array([image.shape[-2:] for image in images]))
    found = []
    for at, y, x in np.argwhere(exists).tolist():
        found.append(one_patch(images[at], grids.of(at), (y, x), pad))
    return np.array(found, images[0].dtype).reshape(-1, *images[0].shape[:-2], *grid.patch_shape)


def one_patch(image, grid: PatchGrid, position, pad):
    """A patch of one image by `numpy.pad`."""
    beyond = [(0, span) for span in grid.span]
    mode, value = pad
    if mode == "constant":
        values = np.asarray(value, image.dtype).reshape(-1) if image.ndim == 3 else np.asarray(value, image.dtype)
        planes = image if image.ndim == 3 else image[None]
        values = np.broadcast_to(values, len(planes))
        larger = np.stack([np.pad(p, beyond, constant_values=v) for p, v in zip(planes, values, strict=True)])
        larger = larger if image.ndim == 3 else larger[0]
    else:
        larger = np.pad(image, [(0, 0)] * (image.ndim - 2) + beyond, mode)
    origin = grid.origin(position)
    sides = [slice(o, o + span, d) for o, span, d in zip(origin, grid.span, grid.dilation, strict=True)]
    return larger[(..., *sides)]
