"""What the command line takes. Nothing heavy is imported to say so."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Sequence
from typing import Any

from patchmill import __version__
from patchmill.cli import commands, runs
from patchmill.cli.parsing import NAMES, NUMBERS, PAIRS, STAGES, Parser, Verb

_EPILOG = """\
exit codes: 0 done, 1 it failed or is damaged, 2 wrong usage or configuration, 75 somebody else holds it,
            124 a time limit, 129, 130 and 143 interrupted, 137 a kernel was killed

to begin: patchmill run patchmill:demo, or for a project of your own: patchmill init NAME
"""

_SOURCE = "a Zarr array or group, a NetCDF, HDF5 or GeoTIFF file: a path or URL"


def make_parser() -> Parser:
    """The parser; what it returns has `command`, a function that takes it and returns the exit code."""
    parser = Parser(
        prog="patchmill",
        description="Cut images that do not fit in memory into overlapping patches, as notebooks a scheduler can run.",
        epilog=_EPILOG,
    )
    parser.example = "run patchmill:demo"
    parser.add_argument("--version", action="version", version=f"patchmill {__version__}")
    parser.add_argument("--debug", action="store_true", help="show where an error came from")
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=Verb)
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


def _add(verbs: Any, name: str, command: Any, summary: str, example: str) -> Verb:
    verb: Verb = verbs.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=f"example: patchmill {name} {example}",
    )
    verb.example = example
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
        "--jobs", type=_whole, default=1, metavar="N",
        help="run up to N stages at a time that do not need each other; default: 1",
    )  # fmt: skip
    for option, meaning in (
        ("from", "it and all that depend on it"), ("until", "it and all that it depends on"), ("only", "it alone"),
    ):  # fmt: skip
        verb.add_argument(
            f"--{option}", dest=f"{option}_stages", metavar="STAGE", action="append", default=[],
            help=f"run {meaning}; may be repeated",
        )  # fmt: skip
    verb.add_several(
        "--force", several=STAGES, metavar="STAGE", default=[],
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
    verb.add_argument(
        "--keep", type=_whole, required=True, metavar="N", help="so many of the latest stay, of each config"
    )


def _add_ingest(verbs: Any) -> None:
    verb = _add(
        verbs, "ingest", commands.ingest, "read image files into one Zarr store", "scenes/*.tif --target scenes.zarr"
    )
    verb.mixed, verb.meant = True, _with_target
    verb.add_argument("images", metavar="IMAGES", nargs="+", help='files, a folder, a quoted pattern, or "sample:"')
    verb.add_argument("--target", required=True, help="the store to write")
    verb.add_argument(
        "--variable", metavar="NAME=PATTERN", action="append", default=[],
        help="a file to go with each image, such as mask=masks/{stem}.tif; may be repeated",
    )  # fmt: skip
    verb.add_argument(
        "--on-error", choices=["raise", "skip"], default="raise",
        help="what to do with a file that can't be used; default: raise",
    )  # fmt: skip
    verb.add_several(
        "--dims", several=PAIRS, metavar="AXIS=NAME", default=[],
        help="what the files call the axes image, channel, y, x, such as image=time",
    )  # fmt: skip
    verb.add_several("--channels", several=NAMES, metavar="NAME", help="names of the channels, in place of the files'")
    _add_means(verb, "the process")
    verb.add_argument(
        "--max-errors", type=_whole, metavar="N",
        help="with --on-error skip, stop after more than so many; never where not given",
    )  # fmt: skip
    verb.add_argument(
        "--level", type=_whole, default=0, metavar="N", help="level of image pyramids; default: 0, the full size"
    )
    verb.add_argument(
        "--mode", choices=["create", "overwrite", "append", "auto"], default="create",
        help="what to do where the target exists: stop, replace it, or add the files that it does not hold yet; auto "
        "adds, and stops where old files have changed; default: create",
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
        help="what to do where the target exists: go on with the same cut, stop, replace it, add new images (not where "
        "the source's canvas has grown); auto goes on or adds; default: resume",
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
    _add_source_options(verb)
    _add_means(verb, "the process")
    verb.add_argument("--json", action="store_true", help="as JSON")


def _add_cutting(verb: Verb) -> None:
    verb.add_several(
        "--patch", "--patch-shape", several=NUMBERS, type=_numbers, required=True, metavar="N",
        help="pixels of a patch, y and x, such as 64, 64 32 or 64x32; one serves both",
    )  # fmt: skip
    verb.add_several(
        "--step", several=NUMBERS, type=_numbers, metavar="N",
        help="pixels between neighboring patches; --patch where not given",
    )  # fmt: skip
    verb.add_several(
        "--dilation", several=NUMBERS, type=_numbers, default=[1], metavar="N",
        help="pixels between those of one patch; default: 1",
    )  # fmt: skip
    verb.add_argument(
        "--edge", choices=["drop", "pad", "shift"], default="drop",
        help="what to do where the last patch does not fit; default: drop",
    )  # fmt: skip
    verb.add_argument(
        "--pad-mode", choices=["constant", "edge", "reflect", "symmetric"], default="constant",
        help="what continues an image, with --edge pad; default: constant",
    )  # fmt: skip
    verb.add_argument(
        "--pad-value", type=_number, default=0, metavar="VALUE", help="with --pad-mode constant; default: 0"
    )
    verb.add_argument(
        "--layout", choices=["patches", "canvas"], default="patches",
        help="store each patch in full, or each pixel once; default: patches",
    )  # fmt: skip
    verb.add_argument(
        "--dtype",
        metavar="TYPE",
        help='what to store, or by variable \'{"mask": "bool"}\'; the source\'s where not given',
    )
    verb.add_argument(
        "--transform", metavar="HOW",
        help="such as 'clip(0, 10000) | scale(0.0001)', or MODULE:FUNCTION, or by variable '{\"image\": \"scale(2)\"}'",
    )  # fmt: skip
    verb.add_argument(
        "--keep", metavar="CONDITION", help="such as 'valid_fraction >= 0.9', or MODULE:FUNCTION; all where not given"
    )
    verb.add_argument(
        "--statistics", action=argparse.BooleanOptionalAction,
        help="mean, deviation, least and greatest of each patch; where not given, if they are small beside the pixels",
    )  # fmt: skip
    _add_opening(verb)
    verb.add_argument(
        "--cluster", metavar="JSON", help='a Dask cluster to start, or "false" for threads although one is configured'
    )


def _add_opening(verb: Verb) -> None:
    """Which source it is, and what reading it may take."""
    verb.add_several("--variables", several=NAMES, metavar="NAME", help="which variables; all where not given")
    verb.add_several(
        "--channels", several=NAMES, metavar="NAME",
        help="variables to take for the channels of one array, or labels of the channels to take, in this order",
    )  # fmt: skip
    _add_source_options(verb)
    verb.add_several(
        "--dims", several=PAIRS, metavar="AXIS=NAME", default=[],
        help="what the source calls the axes image, channel, y, x, such as image=time",
    )  # fmt: skip
    _add_means(verb, "each process")


def _add_means(verb: Verb, who: str) -> None:
    verb.add_argument(
        "--memory", metavar="SIZE", help=f"what {who} may hold, such as 4GiB; half of the machine where not given"
    )
    verb.add_argument("--workers", type=_whole, metavar="N", help="threads; all CPUs where not given")


def _add_source_options(verb: Verb) -> None:
    verb.add_several(
        "--storage-options", several=PAIRS, metavar="KEY=VALUE", default=[], help="for a remote source; no secrets"
    )


def _add_target_options(verb: Verb) -> None:
    verb.add_several(
        "--target-options", several=PAIRS, metavar="KEY=VALUE", default=[], help="for a remote target; no secrets"
    )


def _with_target(words: Sequence[str]) -> str:
    """Of an ingest without ``--target`` what was meant, if the store stands where it would be in other commands."""
    if len(words) < 2 or not words[-1].endswith(".zarr"):
        return ""
    return shlex.join([*words[:-1], "--target", words[-1]])


# -- values ------------------------------------------------------------------------------------------------------------


def _numbers(text: str) -> list[int]:
    try:
        return [int(word) for word in re.split("[x,]+", text.rstrip(","))]
    except ValueError:
        raise argparse.ArgumentTypeError(f"takes whole numbers such as 64, 64 32 or 64x32, got {text!r}") from None


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"takes a whole number, got {text!r}") from None


def _number(text: str) -> int | float:
    try:
        return int(text) if text.lstrip("+-").isdigit() else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"takes a number, got {text!r}") from None
