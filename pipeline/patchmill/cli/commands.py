"""What each command does: one call of the library, then a few lines for people. Returns the exit code."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any


def run(given: argparse.Namespace) -> int:
    """Run a config."""
    import patchmill
    from patchmill.cli.watching import RunWatch

    watch = RunWatch()
    record = patchmill.run(given.config, given.overrides, check=False, watch=watch)
    watch.end(record)
    return record.exit_code


def ingest(given: argparse.Namespace) -> int:
    """Read image files."""
    import patchmill
    from patchmill.show.progress import reporter

    with reporter("reading", unit="images") as watch:
        report = patchmill.ingest(
            given.images if len(given.images) > 1 else given.images[0],
            given.target,
            variables=_named(given.variable, "--variable") or None,
            on_error=given.on_error,
            max_errors=given.max_errors,
            level=given.level,
            dims=_named(given.dims, "--dims") or None,
            channels=given.channels,
            memory=given.memory,
            workers=given.workers,
            mode=given.mode,
            progress=watch,
        )
    _print(report)
    for path, reason in report.skipped:
        sys.stderr.write(f"skipped {path}: {reason}\n")
    return 0


def plan(given: argparse.Namespace) -> int:
    """Print a plan."""
    import patchmill

    made = patchmill.plan(given.source, **_cutting(given))
    _print(made.to_json() if given.json else made)
    return 0


def patchify(given: argparse.Namespace) -> int:
    """Write a patch set."""
    import patchmill
    from patchmill.show.progress import reporter

    with reporter("cutting") as watch:
        patches = patchmill.write_patches(
            given.source,
            given.target,
            **_cutting(given),
            pad_mode=given.pad_mode,
            pad_value=given.pad_value,
            mode=given.mode,
            progress=watch,
        )
    _print(patches)
    _print(f"open it with patchmill.open_patches({given.target!r})")
    return 0


def info(given: argparse.Namespace) -> int:
    """Print what a patch set is."""
    import patchmill
    from patchmill.show.patchsets import rows_of

    patches = patchmill.open_patches(given.target)
    rows = rows_of(patches)
    width = max(len(label) for label, _ in rows)
    for label, text in rows:
        _print(f"{label:<{width}}  {text}")
    return 0


def _cutting(given: argparse.Namespace) -> dict[str, Any]:
    return {
        "patch_shape": _per_axis(given.patch),
        "step": _per_axis(given.step),
        "dilation": _per_axis(given.dilation),
        "edge": given.edge,
        "variables": given.variables,
        "dims": _named(given.dims, "--dims") or None,
        "memory": given.memory,
        "workers": given.workers,
    }


def _per_axis(numbers: Sequence[int] | None) -> int | Sequence[int] | None:
    return numbers[0] if numbers is not None and len(numbers) == 1 else numbers


def _named(texts: Sequence[str], option: str) -> Mapping[str, str]:
    found = dict(text.partition("=")[::2] for text in texts)
    for text in texts:
        if not all(text.partition("=")):
            raise ValueError(f"{option} takes NAME=VALUE, got {text!r}")
    return found


def _print(thing: Any) -> None:
    sys.stdout.write(f"{thing}\n")
