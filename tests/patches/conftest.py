"""Small grids with at least one patch, in which overlaps, gaps, dilation and every kind of border occur often."""

from __future__ import annotations

from hypothesis import strategies as st

from patchmill.grid import PatchGrid

EDGES = ("shift", "pad", "drop", "pad")


@st.composite
def grids(draw: st.DrawFn) -> PatchGrid:
    """Of a few positions an axis: independent numbers give one mostly, and a moved last position once in 20 times."""
    ndim, edge = draw(st.sampled_from([2, 1, 3])), draw(st.sampled_from(EDGES))
    steps = st.sampled_from([2, 1, 3, 4, 6][: 6 - ndim])
    dilations = st.sampled_from([1, 1, 2, 3][: 5 - ndim])
    axes = []
    for _ in range(ndim):
        patch, step, dilation = draw(st.sampled_from([3, 2, 4, 5, 1])), draw(steps), draw(dilations)
        span = (patch - 1) * dilation + 1
        if edge == "pad" and draw(st.integers(0, 4)) == 4:
            n = draw(st.integers(1, max(1, span - 1)))  # smaller than a patch
        else:
            n = (
                span
                + draw(st.sampled_from([2, 1, 3, 0, 6][: 6 - ndim])) * step
                + draw(st.sampled_from([*range(1, step), 0]))
            )
        axes.append((n, patch, step, dilation))
    return PatchGrid(*zip(*axes, strict=True), edge)


st.register_type_strategy(PatchGrid, grids())
