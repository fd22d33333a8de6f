"""A plan as HTML."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from patchmill.show.drawing import card_html, grid_figure
from patchmill.show.handed import figures_of

if TYPE_CHECKING:
    from patchmill.planning import Plan


def plan_html(plan: Plan) -> str:
    """The figures of a plan beside a picture of its grid."""
    chunk = plan.variables[0].source_chunk[-plan.grid.ndim :]
    return card_html("Plan", plan.rows(), grid_figure(plan.grid, chunk))


def plan_figures(plan: Plan) -> dict[str, Any]:
    """What a plan hands to whoever runs the notebook that shows it."""
    numbers = ("images", "too_small", "patches", "uncovered", "pixels", "shards", "tasks", "workers", "limit")
    return figures_of(
        "plan",
        {
            "layout": plan.layout,
            **{name: getattr(plan, name) for name in numbers},
            "bytes_source": plan.bytes_source,
            "bytes_read": plan.bytes_read,
            "bytes_written": plan.bytes_written,
            "memory": plan.memory,
            "overlap_factor": plan.overlap_factor,
        },
    )
