"""Small, related axes: patch, step and dilation of the size of the image, so that every case of the border occurs."""

from __future__ import annotations

from hypothesis import strategies as st

from patchmill.grid import Axis

EDGES = ("drop", "pad", "shift")


@st.composite
def axes(draw: st.DrawFn) -> Axis:
    """Of a few positions mostly: independent numbers give one or none, and a moved last position once in 50 times."""
    edge = draw(st.sampled_from(EDGES))
    patch, step, dilation = (
        draw(st.integers(1, 6)),
        draw(st.sampled_from([2, 3, 1, 5, 7])),
        draw(st.sampled_from([1, 1, 2, 3, 5])),
    )
    span = (patch - 1) * dilation + 1
    if draw(st.integers(0, 5)) == 0:
        return Axis(draw(st.integers(0, span)), patch, step, dilation, edge)
    return Axis(
        span + draw(st.sampled_from([2, 1, 0, 4])) * step + draw(st.sampled_from([*range(1, step), 0])),
        patch,
        step,
        dilation,
        edge,
    )


st.register_type_strategy(Axis, axes())
