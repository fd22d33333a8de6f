"""What the command line takes. Nothing heavy is imported to say so."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Iterator
from itertools import takewhile
from typing import Any

from patchmill import __version__
from patchmill.cli import commands, runs

_EPILOG = """\
exit codes: 0 done, 1 it failed or is damaged, 2 wrong usage or configuration, 75 somebody else holds it,
            124 a time limit, 130 and 143 interrupted, 137 a kernel was killed

to begin: patchmill run patchmill:demo, or for a project of your own: patchmill init NAME
"""

_FORCE = "--force"

_SOURCE = "a Zarr array or group, a NetCDF, HDF5 or GeoTIFF file: a path or URL"


def make_parser() -> argparse.ArgumentParser:
    """The parser; what it returns has `command`, a function that takes it and returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="patchmill",
        description="Cut images that do not fit in memory into overlapping patches, as notebooks a scheduler can run.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"patchmill {__version__}")
    parser.add_argument("--debug", action="store_true", help="show where an error came from")
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=_Verb)
    _add_init(verbs)
    _add_run(verbs)
    _add_runs(verbs)
    _add_ingest(verbs)
    _add_inspect(verbs)
    _add_plan(verbs)
    _add_patchify(verbs)
    _add_info(verbs)
    _add_verify(verbs)
    return parser


class _Verb(argparse.ArgumentParser):
    """The parser of one command."""

    mixed = False
    """Whether options may stand between its positional arguments, of which several then are optional."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        if not self.mixed:
            return super().parse_known_args(args, namespace)
        self.mixed = False  # what follows comes back here
        try:
            return self.parse_known_intermixed_args(list(_forced(args)), namespace)
        finally:
            self.mixed = True


def _forced(args: Iterable[str]) -> Iterator[str]:
    """``--force a b config.yaml`` as ``--force=a --force=b config.yaml``, ``--force config.yaml`` as ``--force=``.

    argparse would take all that follows for names of stages; but these have no dots, slashes, colons.
    """
    rest = list(args)
    while rest:
        one = rest.pop(0)
        if one != _FORCE:
            yield one
            continue
        named = list(takewhile(re.compile(r"[A-Za-z0-9][\w-]*").fullmatch, rest))
        yield from (f"{_FORCE}={name}" for name in named or [""])
        rest = rest[len(named) :]


def _add(verbs: Any, name: str, command: Any, summary: str, example: str) -> _Verb:
    verb: _Verb = verbs.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=f"example: patchmill {name} {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    # Accepted before and behind the command; here it must not undo what stands before.
    verb.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    verb.set_defaults(command=command)
    return verb


def _add_init(verbs: Any) -> None:
    verb = _add(
        verbs, "init", commands.init, "begin a project: a config, a notebook of your own, a place for images", "coast"
    )
    verb.add_argument("name", metavar="NAME", help="of the project and its folder, which is made here")


def _add_run(verbs: Any) -> None:
    verb = _add(
        verbs, "run", commands.run, "run the notebooks of a config, and write a report",
        "configs/demo.yaml patchify.step=64",
    )  # fmt: skip
    verb.mixed = True
    verb.add_argument(
        "config", metavar="CONFIG", help="a YAML file, or one that comes along: patchmill:demo, :pair, :large, :cluster"
    )
    verb.add_argument(
        "overrides", metavar="STAGE.PARAM=VALUE", nargs="*", help="values in place of the config's, in YAML"
    )
    verb.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="run up to N stages at a time that do not need each other"
    )
    for option, meaning in (
        ("from", "it and all that depend on it"), ("until", "it and all that it depends on"), ("only", "it alone"),
    ):  # fmt: skip
        verb.add_argument(
            f"--{option}", dest=f"{option}_stages", metavar="STAGE", action="append", default=[],
            help=f"run {meaning}; may be repeated",
        )  # fmt: skip
    verb.add_argument(
        _FORCE, metavar="STAGE", action="append", default=[],
        help="run these stages even if nothing has changed, all where none is named",
    )  # fmt: skip
    verb.add_argument(
        "--dry-run", action="store_true", help="say what would run and why, read, write and replace; write nothing"
    )


def _add_runs(verbs: Any) -> None:
    """What is asked about runs that were begun."""
    place = "a config, a record, a folder of records or a root; without, whatever lies around the current folder"
    verb = _add(verbs, "status", runs.status, "say how the latest run of a config is, stage by stage", "demo.yaml")
    verb.add_argument("where", metavar="CONFIG|FOLDER", nargs="?", help=place)
    verb.add_argument("--json", action="store_true", help="the record as JSON, and as `trouble` what it can't know")
    verb = _add(verbs, "logs", runs.logs, "print what the stages of the latest run said", "demo.yaml patchify")
    verb.add_argument("where", metavar="CONFIG|FOLDER", nargs="?", help=place)
    verb.add_argument("stage", metavar="STAGE", nargs="?", help="of this one only")
    verb.add_argument("--follow", action="store_true", help="go on with what they say until the run is over")
    verb = _add(
        verbs, "clean", runs.clean, "remove old records of runs, never data, and none that runs", "demo.yaml --keep 5"
    )
    verb.add_argument("where", metavar="CONFIG|FOLDER", nargs="?", help=place.replace("around", "below"))
    verb.add_argument("--keep", type=int, required=True, metavar="N", help="so many of the latest stay, of each config")


def _add_ingest(verbs: Any) -> None:
    verb = _add(
        verbs, "ingest", commands.ingest, "read image files into one Zarr store", "scenes/*.tif --target scenes.zarr"
    )
    verb.add_argument("images", metavar="IMAGES", nargs="+", help='files, a folder, a quoted pattern, or "sample:"')
    verb.add_argument("--target", required=True, help="the store to write")
    verb.add_argument(
        "--variable", metavar="NAME=PATTERN", action="append", default=[],
        help="a file to go with each image, such as mask=masks/{stem}.tif; may be repeated",
    )  # fmt: skip
    verb.add_argument(
        "--on-error", choices=["raise", "skip"], default="raise", help="what to do with a file that can't be used"
    )
    verb.add_argument(
        "--dims", nargs="+", metavar="AXIS=NAME", default=[],
        help="what the files call the axes image, channel, y, x, such as image=time",
    )  # fmt: skip
    verb.add_argument("--channels", nargs="+", metavar="NAME", help="names of the channels, in place of the files'")
    verb.add_argument("--memory", metavar="SIZE", help="what the process may hold, such as 4GiB")
    verb.add_argument("--workers", type=int, metavar="N", help="threads")
    verb.add_argument("--max-errors", type=int, metavar="N", help="with --on-error skip, stop after more than so many")
    verb.add_argument("--level", type=int, default=0, metavar="N", help="level of image pyramids; 0 is the full size")
    verb.add_argument(
        "--mode", choices=["create", "overwrite", "append", "auto"], default="create",
        help="what to do where the target exists: stop, replace it, or add the files that it does not hold yet; auto "
        "adds, and stops where old files have changed",
    )  # fmt: skip


def _add_inspect(verbs: Any) -> None:
    verb = _add(
        verbs, "inspect", commands.inspect, "say what is in a source: sizes, channels, exact statistics of every pixel",
        "scenes.zarr --json",
    )  # fmt: skip
    verb.add_argument("source", metavar="SOURCE", help=_SOURCE)
    _add_opening(verb)
    verb.add_argument("--json", action="store_true", help="as JSON, histograms included")


def _add_plan(verbs: Any) -> None:
    verb = _add(
        verbs, "plan", commands.plan, "say what cutting would do and cost, without doing it",
        "scenes.zarr --patch 256 256 --step 128",
    )  # fmt: skip
    verb.add_argument("source", metavar="SOURCE", help=_SOURCE)
    _add_cutting(verb)
    verb.add_argument("--json", action="store_true", help="as JSON")


def _add_patchify(verbs: Any) -> None:
    verb = _add(
        verbs, "patchify", commands.patchify, "cut large images into a patch set",
        "scenes.zarr patches.zarr --patch 256 256 --step 128",
    )  # fmt: skip
    verb.add_argument("source", metavar="SOURCE", help=_SOURCE)
    verb.add_argument("target", metavar="TARGET", help="the patch set to write")
    _add_cutting(verb)
    verb.add_argument(
        "--mode", choices=["resume", "create", "overwrite", "append", "auto"], default="resume",
        help="what to do where the target exists: go on with the same cut, stop, replace it, add new images; auto goes "
        "on or adds",
    )  # fmt: skip
    verb.add_argument(
        "--slice", metavar="I/N", help="only the I-th of N parts, from 0; whoever comes last completes the patch set"
    )
    _add_target_options(verb)


def _add_info(verbs: Any) -> None:
    verb = _add(verbs, "info", commands.info, "say what a patch set is", "patches.zarr")
    verb.add_argument("target", metavar="TARGET", help="a patch set, a path or URL")
    _add_target_options(verb)


def _add_verify(verbs: Any) -> None:
    verb = _add(
        verbs, "verify", commands.verify, "check every byte of a patch set or a source, and repair what is damaged",
        "patches.zarr --repair",
    )  # fmt: skip
    verb.add_argument("target", metavar="TARGET", help="a patch set, or a store that ingest wrote")
    verb.add_argument("--deep", action="store_true", help="compare pixels with the catalog too")
    verb.add_argument("--repair", action="store_true", help="make damaged and missing objects again from the source")
    verb.add_argument("--source", help="with --repair, where the source is by now")
    _add_target_options(verb)
    verb.add_argument(
        "--storage-options", nargs="+", metavar="KEY=VALUE", default=[], help="for a remote source; no secrets"
    )
    verb.add_argument("--memory", metavar="SIZE", help="what the process may hold, such as 4GiB")
    verb.add_argument("--workers", type=int, metavar="N", help="threads")
    verb.add_argument("--json", action="store_true", help="as JSON")


def _add_cutting(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--patch", type=int, nargs="+", required=True, metavar="N", help="pixels of a patch, y and x; one serves both"
    )
    verb.add_argument(
        "--step", type=int, nargs="+", metavar="N", help="pixels between neighboring patches; --patch where not given"
    )
    verb.add_argument(
        "--dilation", type=int, nargs="+", default=[1], metavar="N", help="pixels between those of one patch"
    )
    verb.add_argument(
        "--edge", choices=["drop", "pad", "shift"], default="drop", help="what to do where the last patch does not fit"
    )
    verb.add_argument(
        "--pad-mode", choices=["constant", "edge", "reflect", "symmetric"], default="constant",
        help="what continues an image, with --edge pad",
    )  # fmt: skip
    verb.add_argument("--pad-value", type=_number, default=0, metavar="VALUE", help="with --pad-mode constant")
    verb.add_argument(
        "--layout",
        choices=["patches", "canvas"],
        default="patches",
        help="store each patch in full, or each pixel once",
    )
    verb.add_argument("--dtype", metavar="TYPE", help="what to store; the source's where not given")
    verb.add_argument("--transform", metavar="HOW", help="such as 'clip(0, 10000) | scale(0.0001)', or MODULE:FUNCTION")
    verb.add_argument("--keep", metavar="CONDITION", help="such as 'valid_fraction >= 0.9', or MODULE:FUNCTION")
    verb.add_argument(
        "--statistics", action=argparse.BooleanOptionalAction,
        help="mean, deviation, least and greatest of each patch; where not given, if they are small beside the pixels",
    )  # fmt: skip
    _add_opening(verb)
    verb.add_argument(
        "--cluster", metavar="JSON", help='a Dask cluster to start, or "false" for threads although one is configured'
    )


def _add_opening(verb: argparse.ArgumentParser) -> None:
    """Which source it is, and what reading it may take."""
    verb.add_argument("--variables", nargs="+", metavar="NAME", help="which variables; all where not given")
    verb.add_argument("--channels", nargs="+", metavar="NAME", help="variables to take for the channels of one array")
    verb.add_argument(
        "--storage-options", nargs="+", metavar="KEY=VALUE", default=[], help="for a remote source; no secrets"
    )
    verb.add_argument(
        "--dims", nargs="+", metavar="AXIS=NAME", default=[],
        help="what the source calls the axes image, channel, y, x, such as image=time",
    )  # fmt: skip
    verb.add_argument("--memory", metavar="SIZE", help="what each process may hold, such as 4GiB")
    verb.add_argument("--workers", type=int, metavar="N", help="threads")


def _add_target_options(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--target-options", nargs="+", metavar="KEY=VALUE", default=[], help="for a remote target; no secrets"
    )


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)
