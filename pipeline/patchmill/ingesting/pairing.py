"""From files to candidates: an image with the scenes of its partners, such as its mask, found by name."""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from string import Formatter
from typing import Any

from patchmill.ingesting.finding import File, split_variable
from patchmill.ingesting.kinds import open_scenes
from patchmill.ingesting.limits import Limits, refuse_large
from patchmill.ingesting.recognizing import Mark, mark_of
from patchmill.ingesting.scenes import Reading, Scene, UnfitError
from patchmill.ingesting.whereabouts import Own
from patchmill.sources.coordinates import is_own_name
from patchmill.types import shown_shape

IMAGE = "image"

_FIELDS = ("stem", "name", "parent")
# Of this store, beside those that the patch sets have which are cut from it.
_TAKEN = frozenset(("image", "affine", "provenance"))
_PREFIXES = ("nodata_", "scale_", "offset_")


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """What may become one image of the store.

    Parameters
    ----------
    file : File
    label : str
        What tells the image from others in its file.
    scenes : dict
        Name of a variable to its scene; "image" comes first.
    marks : dict
        Name of a variable to what its file is known by later.
    """

    file: File
    label: str
    scenes: Mapping[str, Scene]
    marks: Mapping[str, Mark] = field(default_factory=dict)

    @property
    def shown(self) -> str:
        """How reports name it."""
        return self.file.given + self.label

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from other images: path, variable and label."""
        return self.file.path, self.file.variable, self.label


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """An image, or a whole file, that is not taken, and why."""

    shown: str
    reason: str


def as_patterns(variables: Any) -> dict[str, str]:
    """Further variables and the patterns of their files, checked.

    Raises
    ------
    TypeError
        If `variables` is no mapping of texts.
    ValueError
        If a name can't be an array's, or a pattern has an unknown placeholder.
    """
    if variables is None:
        return {}
    if not isinstance(variables, Mapping):
        what = type(variables).__name__
        raise TypeError(f'variables must map names to patterns, as {{"mask": "masks/{{stem}}.tif"}} does, got {what}')
    return {_checked_name(name): _checked_pattern(name, pattern) for name, pattern in variables.items()}


def _checked_name(name: Any) -> str:
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(f"a variable's name must be a plain word such as mask, got {name!r}")
    if is_own_name(name) or name in _TAKEN or name.startswith(_PREFIXES):
        raise ValueError(f"variables must not be called as an array of the store itself, got {name!r}: choose another")
    return name


def _checked_pattern(name: str, pattern: Any) -> str:
    if not isinstance(pattern, str | os.PathLike) or not os.fspath(pattern):
        raise TypeError(f"the pattern of {name!r} must be a text such as masks/{{stem}}.tif, got {pattern!r}")
    text = os.path.expanduser(os.fspath(pattern))
    try:
        fields = [field for _, field, _, _ in Formatter().parse(text) if field is not None]
    except ValueError as error:
        raise ValueError(f"the pattern of {name!r} can't be understood, got {text!r}: {error}") from error
    wrong = [field for field in fields if field not in _FIELDS]
    if wrong:
        allowed = ", ".join(f"{{{field}}}" for field in _FIELDS)
        raise ValueError(f"the pattern of {name!r} may hold {allowed}, got {{{wrong[0]}}}")
    return text


def partner_of(file: File, name: str, pattern: str) -> File:
    """The one file that belongs to `file` as variable `name`.

    Raises
    ------
    UnfitError
        If there is none, or where the pattern has wildcards, more than one.
    """
    base = os.path.basename(file.path)
    values = {"stem": os.path.splitext(base)[0], "name": base, "parent": file.folder}
    path, variable = split_variable(pattern.format_map(values))
    if os.path.lexists(path):
        return File.at(path, variable)
    if glob.has_magic(pattern):
        escaped = {field: glob.escape(value) for field, value in values.items()}
        matches = glob.glob(pattern.format_map(escaped), recursive=True)
        if len(matches) == 1:
            return File.at(matches[0])
        if matches:
            raise UnfitError(f"has {len(matches)} partners for {name!r}: {', '.join(sorted(matches)[:3])}")
    raise UnfitError(f"missing partner for {name!r}: {path} is not there")


def candidates_of(
    file: File, patterns: Mapping[str, str], readings: Mapping[str, Reading], limits: Limits, own: Own
) -> list[Candidate | Problem]:
    """The images of a file, in its order, each with its partners, or why it is not taken."""
    try:
        _check_name(file)
        scenes = {IMAGE: open_scenes(file.path, file.variable, readings[IMAGE])}
        files = {IMAGE: file}
        for name, pattern in patterns.items():
            files[name] = partner_of(file, name, pattern)
            scenes[name] = _partners(files[name], name, scenes[IMAGE], readings[name], own)
        for name, each in files.items():
            _about(name, files, lambda each=each, name=name: refuse_large(each.path, scenes[name], limits))
        marks = {name: mark_of(each) for name, each in files.items()}
    except UnfitError as error:
        return [Problem(_printable(file.given), str(error))]
    except OSError as error:
        return [Problem(file.given, f"can't be read: {error.strerror}")]
    return [
        _candidate(file, {name: every[at] for name, every in scenes.items()}, files, marks, limits)
        for at in range(len(scenes[IMAGE]))
    ]


def _check_name(file: File) -> None:
    """Refuse what no store can keep: names are texts there."""
    if _printable(file.path) != file.path:
        raise UnfitError("has a path that is not UTF-8: rename it")


def _printable(text: str) -> str:
    """With bytes that are no UTF-8 as escapes."""
    return text.encode(errors="backslashreplace").decode()


def _about(name: str, files: Mapping[str, File], check: Any) -> None:
    """Run a check; what it finds about a partner says so."""
    try:
        check()
    except UnfitError as error:
        if name == IMAGE:
            raise
        raise UnfitError(f"its partner for {name!r}, {files[name].given}, {error}") from error


def _partners(file: File, name: str, images: Sequence[Scene], reading: Reading, own: Own) -> list[Scene]:
    if own.holds(file.path):
        raise ValueError(f"partners must lie outside of the target {own.url}, got {file.given!r} for {name!r}")
    try:
        scenes = open_scenes(file.path, file.variable, reading)
    except UnfitError as error:
        raise UnfitError(f"its partner for {name!r}, {file.given}, {error}") from error
    if len(scenes) != len(images):
        raise UnfitError(f"holds {len(images)} images, and its partner for {name!r}, {file.given}, {len(scenes)}")
    return scenes


def _candidate(
    file: File, scenes: Mapping[str, Scene], files: Mapping[str, File], marks: Mapping[str, Mark], limits: Limits
) -> Candidate | Problem:
    first = scenes[IMAGE]
    shown = file.given + first.label
    for name, scene in scenes.items():
        where = "" if name == IMAGE else f"its partner for {name!r}, {files[name].given}, "
        reason = limits.reason_against(scene)
        if reason is None and (scene.height, scene.width) != (first.height, first.width):
            sizes = [shown_shape((each.height, each.width)) for each in (scene, first)]
            reason = f"has {sizes[0]} pixels, and the image {sizes[1]}"
        if reason is not None:
            return Problem(shown, where + reason)
    reason = limits.reason_for_memory(scenes.values())
    return Problem(shown, reason) if reason is not None else Candidate(file, first.label, scenes, marks)
