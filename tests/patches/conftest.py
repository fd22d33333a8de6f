"""Small grids with at least one patch; patch, step and dilation of the size of the image, so that borders occur."""

from __future__ import annotations

from hypothesis import strategies as st

from patchmill.grid import PatchGrid

EDGES = ("drop", "pad", "shift")


@st.composite
def grids(draw: st.DrawFn) -> PatchGrid:
    ndim = draw(st.integers(1, 3))
    edge = draw(st.sampled_from(EDGES))
    longest = (24, 13, 7)[ndim - 1]

    def numbers(most: int) -> list[int]:
        return draw(st.lists(st.integers(1, most), min_size=ndim, max_size=ndim))

    patch, step, dilation = numbers(5), numbers(7), numbers(3)
    span = [(p - 1) * d + 1 for p, d in zip(patch, dilation, strict=True)]
    least = [1 if edge == "pad" else n for n in span]
    shape = [draw(st.integers(n, max(n, longest))) for n in least]
    return PatchGrid(shape, patch, step, dilation, edge)


st.register_type_strategy(PatchGrid, grids())
