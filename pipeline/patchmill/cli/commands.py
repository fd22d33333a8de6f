"""What each command does: one call of the library, then a few lines for people. Returns the exit code."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from patchmill.cli.output import complain, say, unheard
from patchmill.cli.wording import as_commands

if TYPE_CHECKING:
    from patchmill.stages import Run

_WARNED = 20

_AXES = ("image", "channel", "y", "x")


def run(given: argparse.Namespace) -> int:
    """Run a config."""
    import patchmill
    from patchmill.cli.watching import RunWatch

    how = {
        "jobs": given.jobs,
        "from_stages": given.from_stages,
        "until_stages": given.until_stages,
        "only_stages": given.only_stages,
        "force": "" in given.force or given.force,
    }
    if given.dry_run:
        from patchmill.stages.rehearsing import rehearse

        for line in rehearse(given.config, given.overrides, **how):
            say(line)
        return 0
    watch = RunWatch()

    def tell(record: Run) -> None:
        with unheard():
            watch(record)

    record = patchmill.run(given.config, given.overrides, **how, check=False, watch=tell)
    with unheard():
        watch.end(record)
    return record.exit_code or 0


def init(given: argparse.Namespace) -> int:
    """Begin a project."""
    from patchmill.stages.starting import start_project

    files = start_project(given.name)
    say(f"{given.name} is there:")
    for path in files:
        say(f"  {given.name}/{path}")
    say("now run it:")
    say(f"  cd {given.name}")
    say(f"  patchmill run configs/{given.name}.yaml")
    say("it works on photographs that come along until there are images in data; notebooks/measure.ipynb is your own")
    return 0


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
            dims=_dims(given.dims),
            channels=given.channels,
            memory=given.memory,
            workers=given.workers,
            mode=given.mode,
            progress=watch,
        )
    _say_rows([(label, as_commands(text, vars(given))) for label, text in report.rows()])
    for path, reason in report.skipped:
        complain(f"skipped {path}: {reason}")
    _warn(report.warnings())
    return 0


def _warn(sentences: Sequence[str]) -> None:
    """Files that are no longer what was ingested of them."""
    for sentence in sentences[:_WARNED]:
        complain(f"warning: {sentence}")
    if len(sentences) > _WARNED:
        complain(f"warning: and {len(sentences) - _WARNED:,} more")
    if sentences:
        complain("the store keeps what was ingested of these; --mode overwrite makes it anew from what is there")


def inspect(given: argparse.Namespace) -> int:
    """Print what is in a source."""
    import patchmill
    from patchmill.show.progress import reporter

    with reporter("inspecting", unit="pixels") as watch:
        report = patchmill.inspect(given.source, **_opening(given), progress=watch)
    say(report.to_json() if given.json else "\n".join(report.lines()))
    return 0


def plan(given: argparse.Namespace) -> int:
    """Print a plan."""
    import patchmill

    made = patchmill.plan(given.source, **_cutting(given))
    say(made.to_json() if given.json else made)
    return 0


def patchify(given: argparse.Namespace) -> int:
    """Write a patch set."""
    import patchmill
    from patchmill.show.patchsets import rows_of
    from patchmill.show.picks import without_patches
    from patchmill.show.progress import reporter

    said: list[str] = []
    with reporter("cutting") as watch:
        patches = patchmill.write_patches(
            given.source,
            given.target,
            **_cutting(given),
            mode=given.mode,
            slice=given.slice,
            target_options=_options(given.target_options, "--target-options"),
            progress=watch,
            say=said.append,
        )
    for sentence in said:
        say(sentence)
    if patches is None:
        say(f"slice {given.slice} is done")
        return 0
    if watch.last is None or watch.last.idle:  # of a set that is whole nothing is told
        say("all patches were there already, nothing was cut")
    _say_rows(rows_of(patches))
    for sentence in without_patches(patches):
        complain(f"patchmill: {sentence}")
    say(f"open it with patchmill.open_patches({given.target!r})")
    return 0


def info(given: argparse.Namespace) -> int:
    """Print what a patch set is."""
    import patchmill
    from patchmill.show.patchsets import rows_of

    options = _options(given.target_options, "--target-options")
    patches = patchmill.open_patches(given.target, storage_options=options)
    _say_rows(rows_of(patches))
    return 0


def verify(given: argparse.Namespace) -> int:
    """Check a store, and print what was found."""
    import patchmill
    from patchmill.errors import IncompleteError, NotAPatchSetError
    from patchmill.show.progress import reporter

    if given.source is not None and not given.repair:
        raise ValueError("--source is what a repair reads, got no --repair: give both, or leave it out")
    try:
        with reporter("verifying", unit="objects") as watch:
            report = patchmill.verify(
                given.target,
                repair=given.repair,
                source=given.source,
                deep=given.deep,
                memory=given.memory,
                workers=given.workers,
                storage_options=_options(given.storage_options, "--storage-options"),
                target_options=_options(given.target_options, "--target-options"),
                progress=watch,
            )
    except IncompleteError as error:  # begun and not finished, so not a set yet: exit code 2 like any other
        raise NotAPatchSetError(str(error)) from error
    say(report.to_json() if given.json else "\n".join(report.lines()))
    return 0 if report.ok else 1


def _say_rows(rows: Sequence[tuple[str, str]]) -> None:
    width = max(len(label) for label, _ in rows)
    for label, text in rows:
        say(f"{label:<{width}}  {text}")


def _cutting(given: argparse.Namespace) -> dict[str, Any]:
    return {
        "patch_shape": _per_axis(given.patch),
        "step": _per_axis(given.step),
        "dilation": _per_axis(given.dilation),
        "edge": given.edge,
        "pad_mode": given.pad_mode,
        "pad_value": given.pad_value,
        "layout": given.layout,
        "dtype": _per_variable(given.dtype, "--dtype"),
        "transform": _per_variable(given.transform, "--transform"),
        "keep": given.keep,
        "statistics": given.statistics,
        **_opening(given),
        "cluster": None if given.cluster is None else _json(given.cluster, "--cluster"),
    }


def _opening(given: argparse.Namespace) -> dict[str, Any]:
    """Which source it is, and what reading it may take."""
    return {
        "variables": given.variables,
        "channels": given.channels,
        "storage_options": _options(given.storage_options, "--storage-options"),
        "dims": _dims(given.dims),
        "memory": given.memory,
        "workers": given.workers,
    }


def _per_axis(numbers: Sequence[int] | None) -> int | Sequence[int] | None:
    return numbers[0] if numbers is not None and len(numbers) == 1 else numbers


def _named(texts: Sequence[str], option: str, what: str = "NAME=VALUE") -> Mapping[str, str]:
    found = dict(text.partition("=")[::2] for text in texts)
    for text in texts:
        if not all(text.partition("=")):
            raise ValueError(f"{option} takes {what}, got {text!r}")
    return found


def _dims(texts: Sequence[str]) -> Mapping[str, str] | None:
    found = _named(texts, "--dims", "AXIS=NAME")
    for axis, name in found.items():
        if axis not in _AXES and name in _AXES:
            raise ValueError(f"--dims takes AXIS=NAME, got '{axis}={name}': the other way round, {name}={axis}")
    return found or None


def _per_variable(text: str | None, option: str) -> Any:
    """A text for all variables, or JSON such as {"image": "float32"}."""
    return _json(text, option) if text is not None and text.lstrip().startswith("{") else text


def _options(texts: Sequence[str], option: str) -> dict[str, Any] | None:
    """Storage options: true, false, numbers and mappings as JSON has them, anything else as text."""
    found: dict[str, Any] = dict(_named(texts, option))
    for key, text in found.items():
        with suppress(ValueError):
            found[key] = json.loads(text)
    return found or None


def _json(text: str, option: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{option} takes JSON, got {text!r}: {error}") from None
