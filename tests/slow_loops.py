"""The slow, obvious way to cut patches, to compare everything else with."""

from __future__ import annotations

import numpy as np


def origins(n, patch, step, dilation, edge):
    """First pixels along one axis, by walking."""
    span, found, at = (patch - 1) * dilation + 1, [], 0
    if edge == "drop":
        return [at for at in range(0, n, step) if at + span <= n]
    if edge == "shift":
        while n >= span:
            found.append(min(at, n - span))
            if at >= n - span:
                break
            at += step
        return found
    while at < n:
        found.append(at)
        if at + span >= n:
            break
        at += step
    return found


def cut(image, patch_shape, step, dilation, edge, mode="constant", value=0):
    """Every patch of one image (..., y, x), row-major: a dict of (grid_y, grid_x) to the patch (..., py, px)."""
    rows, columns = image.shape[-2:]
    (py, px), (sy, sx), (dy, dx) = patch_shape, step, dilation
    lead = [(0, 0)] * (image.ndim - 2)
    options = {"constant_values": value} if mode == "constant" else {}
    beyond = [(0, (p - 1) * d) for p, d in ((py, dy), (px, dx))] if edge == "pad" else [(0, 0)] * 2
    larger = np.pad(image, [*lead, *beyond], mode, **options)
    found = {}
    for gy, y in enumerate(origins(rows, py, sy, dy, edge)):
        for gx, x in enumerate(origins(columns, px, sx, dx, edge)):
            patch = np.empty((*image.shape[:-2], py, px), image.dtype)
            for ky in range(py):
                for kx in range(px):
                    patch[..., ky, kx] = larger[..., y + ky * dy, x + kx * dx]
            found[gy, gx] = patch
    return found
