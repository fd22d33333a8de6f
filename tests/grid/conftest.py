"""Small, related axes: patch, step and dilation of the size of the image, so that every case of the border occurs."""

from __future__ import annotations

from hypothesis import strategies as st

from patchmill.grid import Axis

EDGES = ("drop", "pad", "shift")

st.register_type_strategy(
    Axis,
    st.builds(
        Axis,
        n=st.integers(0, 30),
        patch=st.integers(1, 8),
        step=st.integers(1, 10),
        dilation=st.integers(1, 5),
        edge=st.sampled_from(EDGES),
    ),
)
