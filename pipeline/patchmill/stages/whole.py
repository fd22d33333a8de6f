"""A whole config from inside of a notebook: its state while it runs, its report, and an error where it failed."""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from typing import Any

from patchmill.errors import PatchmillError, exit_code
from patchmill.stages import samples
from patchmill.stages.entering import ToldError
from patchmill.stages.places import SAMPLE, TEMPORARY
from patchmill.stages.records import Run
from patchmill.stages.reporting import run_table
from patchmill.stages.running import failure_text, run


class RunFailedError(ToldError):
    """A run that did not end well; the text says which stage, where, and why."""


def config_or_sample(config: str, overrides: Sequence[str] = ()) -> tuple[str, list[str]]:
    """`config` and `overrides`, or where ``sample:`` stands for it, the packaged demo in a temporary folder."""
    if config != SAMPLE:
        return config, list(overrides)
    place = samples.place(f"{TEMPORARY}demo")
    return "patchmill:demo", [f"root={place}", *overrides]


def run_shown(config: str, overrides: Sequence[str] = (), **options: Any) -> Run:
    """`patchmill.run`, with a table of the stages that follows it; what fails is told by `check_run`.

    Parameters
    ----------
    config, overrides, **options
        As `patchmill.run` takes them.

    Raises
    ------
    RunFailedError
        If it could not be begun, or came to no end; with the exit code that `patchmill run` would have had.
    """
    from IPython.display import display

    handle: Any = None

    def watch(now: Run) -> None:
        nonlocal handle
        if handle is None:
            handle = display(run_table(now), display_id=True)  # type: ignore[no-untyped-call]
        else:
            handle.update(run_table(now))

    try:
        return run(config, overrides, check=False, watch=watch, **options)
    except (PatchmillError, ValueError, TypeError) as error:
        raise RunFailedError(f"exit code {exit_code(error)}: {error}") from None


def show_report(record: Run) -> None:
    """Display the report of a run, as it is in its file: apart from the notebook, and without any script.

    Where there is none, as on a full disk, a sentence says so: that a stage failed is for `check_run` to tell.
    """
    from IPython.display import HTML, display

    path = os.path.join(record.folder, "report.html")
    try:
        with open(path, encoding="utf-8") as file:
            content = html.escape(file.read())
    except OSError as error:
        print(f"The report {path} can't be read: {error.strerror}")  # noqa: T201 - for who reads the notebook
        return
    # No script may run. With an origin of its own a frame of this size stays empty in Chromium.
    frame = (
        '<iframe sandbox="allow-same-origin" style="width:100%;height:50em;border:1px solid #ccc" '
        f'srcdoc="{content}"></iframe>'
    )
    display(HTML(f"<p>The report is {html.escape(record.report)}</p>{frame}"))  # type: ignore[no-untyped-call]


def check_run(record: Run) -> None:
    """Raise if a run did not end well, so that whoever executes the notebook sees that it failed.

    Raises
    ------
    RunFailedError
        With the exit code that `patchmill run` would have had.
    """
    if record.exit_code:
        text = "" if record.failed is None else f": {failure_text(record.failed)}"
        raise RunFailedError(f"{record.name} {record.state}, exit code {record.exit_code}{text}")
