"""What only running can tell. Wrong arguments are ``ValueError`` and ``TypeError``, as everywhere in Python."""

from __future__ import annotations


class PatchmillError(Exception):
    """Anything patchmill refuses or finds while it runs; its text is one sentence that names the way out."""


class NotAPatchSetError(PatchmillError):
    """The place holds something else, or nothing at all."""


class IncompleteError(PatchmillError):
    """A patch set or a source that was begun and not finished."""


class TargetExistsError(PatchmillError, FileExistsError):
    """The target holds something that this call may not touch."""


class SourceError(PatchmillError):
    """A source that can't be read, or that changed or vanished while it was read."""


class MissingSourceError(SourceError, FileNotFoundError):
    """There is nothing at the place that a source names."""


class CorruptChunkError(PatchmillError):
    """Bytes in a store that do not decode, or a chunk that is missing where one must be."""


class StageError(PatchmillError):
    """A stage of a run that failed; the text names the stage, the cell and the executed notebook."""


class ConfigError(PatchmillError, ValueError):
    """A configuration that can't be run; the text lists every problem found."""
