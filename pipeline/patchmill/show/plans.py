"""A plan as HTML."""

from __future__ import annotations

from typing import TYPE_CHECKING

from patchmill.show.drawing import card_html, grid_svg

if TYPE_CHECKING:
    from patchmill.planning import Plan


def plan_html(plan: Plan) -> str:
    """The figures of a plan beside a picture of its grid."""
    chunk = plan.variables[0].source_chunk[-plan.grid.ndim :]
    return card_html("Plan", plan.rows(), grid_svg(plan.grid, chunk))
