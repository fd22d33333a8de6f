"""The lattice of patches over one image of any number of spatial axes."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

from patchmill.grid.axis import Axis, Halo
from patchmill.types import Edge, PerAxis, as_axes, as_edge, as_shape, shown_shape


@dataclass(frozen=True, slots=True, init=False)
class PatchGrid:
    """Where the patches of one image lie; frozen, hashable, pure integers.

    Parameters
    ----------
    shape : int or sequence of int
        Lengths of the spatial axes, in pixels, rows first: (y, x).
    patch_shape : int or sequence of int
        Pixels of one patch along each axis.
    step : int or sequence of int, optional
        Pixels between neighboring origins; None stands for `patch_shape`, patches side by side.
    dilation : int or sequence of int
        Pixels between neighboring pixels of one patch; 1 is dense.
    edge : {"drop", "pad", "shift"}
        What happens where the last patch does not fit: it is left out, filled, or moved back to end at the border.

    Raises
    ------
    TypeError, ValueError
        If a number is not a whole number of at least 1 (0 for `shape`), or the numbers of axes differ.

    Notes
    -----
    The arithmetic is that of a convolution's kernel and stride. With ``span = (patch - 1) * dilation + 1`` an axis of n
    pixels has

    - "drop": ``max(0, (n - span) // step + 1)`` positions,
    - "pad": ``min(ceil(max(n - span, 0) / step) + 1, ceil(n / step))``,
    - "shift": ``ceil((n - span) / step) + 1``, none where n < span.

    Examples
    --------
    >>> grid = PatchGrid((900, 1600), (256, 256), step=128, edge="shift")
    >>> grid.counts, len(grid)
    ((7, 12), 84)
    >>> grid.origin((6, 11))
    (644, 1344)
    >>> grid[0]
    (slice(0, 256, 1), slice(0, 256, 1))
    >>> grid.touching((0, 0), (130, 10))
    (range(0, 2), range(0, 1))
    """

    axes: tuple[Axis, ...]

    def __init__(
        self,
        shape: PerAxis,
        patch_shape: PerAxis,
        step: PerAxis | None = 1,
        dilation: PerAxis = 1,
        edge: Edge = "drop",
    ) -> None:
        lengths = as_shape(shape, "shape")
        patch = as_axes(patch_shape, "patch_shape", len(lengths))
        steps = patch if step is None else as_axes(step, "step", len(lengths))
        dilations = as_axes(dilation, "dilation", len(lengths))
        word = as_edge(edge)
        axes = tuple(Axis(*numbers, word) for numbers in zip(lengths, patch, steps, dilations, strict=True))
        object.__setattr__(self, "axes", axes)

    # -- what it was made of ----------------------------------------------------------------------------------------

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return len(self.axes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the image, in pixels."""
        return tuple(axis.n for axis in self.axes)

    @property
    def patch_shape(self) -> tuple[int, ...]:
        """Pixels of one patch."""
        return tuple(axis.patch for axis in self.axes)

    @property
    def step(self) -> tuple[int, ...]:
        """Pixels between neighboring origins."""
        return tuple(axis.step for axis in self.axes)

    @property
    def dilation(self) -> tuple[int, ...]:
        """Pixels between neighboring pixels of one patch."""
        return tuple(axis.dilation for axis in self.axes)

    @property
    def edge(self) -> Edge:
        """What happens where the last patch does not fit."""
        return self.axes[0].edge

    @property
    def span(self) -> tuple[int, ...]:
        """Pixels that a patch reaches over."""
        return tuple(axis.span for axis in self.axes)

    def resized(self, shape: PerAxis) -> PatchGrid:
        """The same cut of an image of another `shape`."""
        return PatchGrid(shape, self.patch_shape, self.step, self.dilation, self.edge)

    def to_dict(self) -> dict[str, Any]:
        """As plain data for JSON; ``PatchGrid(**grid.to_dict()) == grid``."""
        return {
            "shape": list(self.shape),
            "patch_shape": list(self.patch_shape),
            "step": list(self.step),
            "dilation": list(self.dilation),
            "edge": self.edge,
        }

    # -- positions --------------------------------------------------------------------------------------------------

    @property
    def counts(self) -> tuple[int, ...]:
        """Positions along each axis: the lengths of grid_y, grid_x."""
        return tuple(len(axis) for axis in self.axes)

    def __len__(self) -> int:
        return prod(self.counts)

    def __getitem__(self, i: int) -> tuple[slice, ...]:
        """Pixels of the i-th patch, row-major: ``image[(..., *grid[i])]`` is that patch, cut off at the border."""
        return self.pixels(self.index(i))

    def __iter__(self) -> Iterator[tuple[slice, ...]]:
        return (self.pixels(index) for index in self.indices())

    def indices(self) -> Iterator[tuple[int, ...]]:
        """Every position, row-major: (grid_y, grid_x)."""
        return product(*(range(count) for count in self.counts))

    def index(self, i: int) -> tuple[int, ...]:
        """Position of the i-th patch, row-major; negative i counts from the end."""
        i, count = operator.index(i), len(self)
        if not -count <= i < count:
            raise IndexError(f"patch {i} is outside a grid of {count} patches")
        i %= count
        position = []
        for length in reversed(self.counts):
            i, along = divmod(i, length)
            position.append(along)
        return tuple(reversed(position))

    def pixels(self, index: Sequence[int]) -> tuple[slice, ...]:
        """Pixels of the patch at position `index` that lie inside the image, one slice an axis."""
        return tuple(axis.pixels(i) for axis, i in zip(self.axes, index, strict=True))

    def origin(self, index: Sequence[int]) -> tuple[int, ...]:
        """First pixel of the patch at position `index`."""
        return tuple(axis[i] for axis, i in zip(self.axes, index, strict=True))

    def locate(self, pixel: Sequence[int]) -> list[tuple[int, ...]]:
        """Positions whose patches hold `pixel`, row-major."""
        return list(product(*(axis.locate(p) for axis, p in zip(self.axes, pixel, strict=True))))

    def touching(self, start: Sequence[int], stop: Sequence[int]) -> tuple[range, ...]:
        """Positions whose patches reach over the region [start, stop), a range an axis."""
        return tuple(axis.touching(a, b) for axis, a, b in zip(self.axes, start, stop, strict=True))

    def source(self, start: Sequence[int], stop: Sequence[int]) -> tuple[slice, ...]:
        """Region of the image that the positions [start, stop) reach over."""
        return tuple(slice(*axis.source(a, b)) for axis, a, b in zip(self.axes, start, stop, strict=True))

    def blocks(self, size: PerAxis) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
        """The grid as rectangles of at most `size` positions, row-major: (start, stop) of each."""
        sizes = as_axes(size, "size", self.ndim)
        starts = (range(0, count, length) for count, length in zip(self.counts, sizes, strict=True))
        for start in product(*starts):
            yield start, tuple(min(a + n, count) for a, n, count in zip(start, sizes, self.counts, strict=True))

    def halo(self) -> tuple[Halo, ...]:
        """Pixels that blocks which begin at multiples of step need of their neighbors."""
        return tuple(axis.halo() for axis in self.axes)

    # -- coverage ---------------------------------------------------------------------------------------------------

    @property
    def covered(self) -> int:
        """Pixels of the image that at least one patch holds."""
        return prod(axis.covered for axis in self.axes)

    @property
    def uncovered(self) -> int:
        """Pixels of the image that no patch holds."""
        return prod(self.shape) - self.covered

    @property
    def overlaps(self) -> bool:
        """Whether any pixel belongs to two patches."""
        return len(self) > 0 and any(axis.overlaps for axis in self.axes)

    @property
    def overlap_factor(self) -> float:
        """Pixels of all patches / pixels of the image; 0 for an image without pixels."""
        return len(self) * prod(self.patch_shape) / max(1, prod(self.shape))

    def __repr__(self) -> str:
        dilation = "" if set(self.dilation) == {1} else f", dilation {shown_shape(self.dilation)}"
        return (
            f"PatchGrid({shown_shape(self.counts)} patches of {shown_shape(self.patch_shape)}, "
            f"step {shown_shape(self.step)}{dilation}, edge {self.edge!r}, over {shown_shape(self.shape)} pixels)"
        )
