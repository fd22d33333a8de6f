"""What to do about files that can't be taken: stop at the first, or list them and go on, up to so many."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from patchmill.errors import SourceError

OnError = Literal["raise", "skip"]

_NAMED = 5


def refuse_problems(
    problems: Mapping[tuple[int, int], tuple[str, str]], *, on_error: OnError, max_errors: int | None
) -> None:
    """Raise where there are more problems than the user allows.

    Parameters
    ----------
    problems : mapping
        Place in the list of files and images, to what is not taken and why.
    on_error : {"raise", "skip"}
    max_errors : int, optional
        With "skip", how many are too few to stop.

    Raises
    ------
    SourceError
        With the reasons.
    """
    if not problems:
        return
    ordered = [problems[place] for place in sorted(problems)]
    if on_error == "raise":
        shown, reason = ordered[0]
        raise SourceError(f'{shown} {reason}; on_error="skip" lists such files and goes on')
    if max_errors is not None and len(ordered) > max_errors:
        raise SourceError(f"more than max_errors={max_errors} files can't be taken: {listed(ordered)}")


def listed(problems: list[tuple[str, str]]) -> str:
    """The first few problems in one line."""
    named = "; ".join(f"{shown} {reason}" for shown, reason in problems[:_NAMED])
    more = len(problems) - _NAMED
    return f"{named}; and {more:,} more" if more > 0 else named
