"""What a stage took and did, beside what was planned and allowed: rows for people, out of what was handed over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from patchmill.show.handed import Handed
from patchmill.types import shown_bytes, shown_rate


@dataclass(frozen=True, slots=True)
class Row:
    """One thing, as it was planned and as it came out.

    Parameters
    ----------
    what, planned, came : str
    note : str
        What explains a difference.
    fraction : float or None
        How much of the plan it came to, where that is to be seen at a glance.
    """

    what: str
    planned: str
    came: str
    note: str = ""
    fraction: float | None = None


@dataclass(frozen=True, slots=True)
class Flow:
    """Bytes that went through a stage: raw pixels that it wrote, or bytes that it read where it writes nothing."""

    nbytes: int
    rate: float | None
    """Bytes a second, over the time of these calls."""


def against_plan(handed: Handed) -> list[Row]:
    """What was cut, beside its plan; nothing where there is no plan.

    Parameters
    ----------
    handed : mapping
        With "plan" as `Plan` hands over, "patches" as `PatchSet` does, "cutting" as its progress does. Each may lack.

    Examples
    --------
    >>> handed = {"plan": {"patches": 172, "memory": 2**28}, "patches": {"patches": 172, "dropped": 0}}
    >>> [(row.what, row.planned, row.came) for row in against_plan(handed)]
    [('patches', '172', '172'), ('memory of the notebook', '256 MiB', 'not measured')]
    """
    plan, found, cutting = (_numbers(handed.get(name, {})) for name in ("plan", "patches", "cutting"))
    rows = [
        _counted("patches", plan, found, "patches", _dropped(handed)),
        _counted("images too small for a patch", plan, found, "too_small", ""),
        _written(plan, cutting, found.get("dropped", 0)),
        _memory(plan, cutting),
    ]
    return [row for row in rows if row is not None]


def flow(handed: Handed) -> Flow | None:
    """What went through all calls of a notebook that told how far they are; None where none did."""
    calls = [_numbers(each) for each in handed.values()]
    moved = [call for call in calls if call.get("bytes") and "megabytes_per_second" in call and "total" in call]
    if not moved:
        return None
    nbytes, seconds = sum(int(call["bytes"]) for call in moved), sum(call.get("seconds", 0.0) for call in moved)
    return Flow(nbytes, nbytes / seconds if seconds > 0 else None)


def shown_flow(flow: Flow | None) -> str:
    """For people: ``"68 MB at 120 MB/s"``; empty where there is none."""
    if flow is None:
        return ""
    return shown_bytes(flow.nbytes) + (f" at {shown_rate(flow.rate)}" if flow.rate else "")


def dropped_sentence(handed: Handed) -> str:
    """How many patches were dropped by `keep`, as a sentence; empty where none were."""
    found = _numbers(handed.get("patches", {}))
    if not found.get("dropped"):
        return ""
    return (
        f"{found['dropped']:,} of {found.get('positions', 0):,} patches were dropped"
        f"{_condition(handed)}; {found.get('patches', 0):,} were kept."
    )


def none_kept(patches: int, positions: int) -> str:
    """Where patches could be and none was kept, that; else empty.

    Examples
    --------
    >>> none_kept(0, 172), none_kept(89, 172)
    ('none of the 172 patches fulfills keep', '')
    """
    return f"none of the {positions:,} patches fulfills keep" if positions and not patches else ""


def nothing_kept(handed: Handed) -> str:
    """That no patch was kept, where that is so; else empty."""
    found = _numbers(handed.get("patches", {}))
    return none_kept(found.get("patches", 1), found.get("positions", 0))


def _dropped(handed: Handed) -> str:
    dropped = _numbers(handed.get("patches", {})).get("dropped")
    return f"{dropped:,} dropped{_condition(handed)}" if dropped else ""


def _condition(handed: Handed) -> str:
    keep = handed.get("patches", {}).get("keep")
    return f" by keep: {keep}" if keep else " by keep"


def _counted(what: str, plan: Mapping[str, Any], came: Mapping[str, Any], name: str, note: str) -> Row | None:
    if name not in plan or not (plan[name] or came.get(name)):
        return None
    return Row(what, f"{plan[name]:,}", f"{came[name]:,}" if name in came else "not told", note)


def _written(plan: Mapping[str, Any], cutting: Mapping[str, Any], dropped: int) -> Row | None:
    if "bytes_written" not in plan:
        return None
    came = cutting.get("bytes")
    note = ""
    if came is not None and came < plan["bytes_written"]:
        rest = "what is dropped takes no space" if dropped else "the rest was there already"
        note = "it was stopped" if cutting.get("stopped") else rest
    shown = "not told" if came is None else shown_bytes(came)
    return Row("pixels written, before compression", shown_bytes(plan["bytes_written"]), shown, note)


def _memory(plan: Mapping[str, Any], cutting: Mapping[str, Any]) -> Row | None:
    if not plan.get("memory"):
        return None
    peak = cutting.get("peak_bytes")
    allowed = f"{shown_bytes(plan['limit'])} allowed" if plan.get("limit") else ""
    return Row(
        "memory of the notebook",
        shown_bytes(plan["memory"]),
        shown_bytes(peak) if peak else "not measured",
        allowed,
        peak / plan["memory"] if peak else None,
    )


def allowed(memory: int | None, handed: Handed) -> int | None:
    """Bytes that each process of a stage could hold: as the run gave them, or as its plan says; None where unknown."""
    return memory or _numbers(handed.get("plan", {})).get("limit")


def _numbers(figures: Mapping[str, Any]) -> dict[str, Any]:
    # Anybody may write an executed notebook: what is no number there is not reckoned with.
    return {
        name: value
        for name, value in figures.items()
        if isinstance(value, int | float) and not (isinstance(value, float) and value != value)
    }
