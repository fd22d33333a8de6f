"""What only running can tell. Wrong arguments are ``ValueError`` and ``TypeError``, as everywhere in Python."""

from __future__ import annotations

import signal

EXIT_FAILED = 1
EXIT_WRONG = 2
EXIT_HELD = 75

_BRINGS = {
    "images": ("PIL", "tifffile", "imagecodecs"),
    "notebooks": (
        *("omegaconf", "pydantic", "yaml", "papermill", "nbclient", "nbconvert", "nbformat", "ipykernel", "IPython"),
        *("jupyter_client", "jupyter_core", "traitlets", "zmq", "nh3", "markdown_it", "jinja2", "markupsafe", "rich"),
        *("psutil", "matplotlib", "skimage"),
    ),
    "geo": ("rasterio", "rioxarray", "pyproj", "h5netcdf", "h5py"),
    "cloud": ("s3fs", "gcsfs"),
    "lab": ("jupyterlab",),
    "cluster": ("distributed",),
    "fast": ("numba",),
}

_BROUGHT_BY = {module: extra for extra, modules in _BRINGS.items() for module in modules}
"""Which extra of patchmill brings a library, by the name that is imported."""


def missing_library(who: str, *names: str) -> str:
    """The sentence about libraries that are not installed, with the command that brings them.

    Parameters
    ----------
    who : str
        Who needs them.
    *names : str
        What would be imported, ``yaml`` or ``matplotlib.pyplot``.

    Examples
    --------
    >>> missing_library("this", "papermill", "rasterio.crs")
    "this needs papermill, rasterio, which are not installed: pip install 'patchmill[geo,notebooks]'"
    >>> missing_library("this", "jpeg_of_somebody")
    'this needs jpeg_of_somebody, which is not installed: pip install jpeg_of_somebody'
    """
    packages = list(dict.fromkeys(name.partition(".")[0] for name in names))
    extras = sorted({_BROUGHT_BY[name] for name in packages if name in _BROUGHT_BY})
    others = [name for name in packages if name not in _BROUGHT_BY]
    wanted = [f"'patchmill[{','.join(extras)}]'"] * bool(extras) + others
    which = "is" if len(packages) == 1 else "are"
    return f"{who} needs {', '.join(packages)}, which {which} not installed: pip install {' '.join(wanted)}"


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


class NotASourceError(SourceError):
    """The place holds something else than images, a patch set say."""


class CorruptChunkError(PatchmillError):
    """Bytes in a store that do not decode, or a chunk that is missing where one must be."""


class DiskFullError(PatchmillError):
    """The disk has no room for what is to be written."""


class MissingChunkError(CorruptChunkError):
    """A chunk that is not there, where one must be."""


class StageError(PatchmillError):
    """A stage of a run that failed; the text names the stage, the cell and the executed notebook."""


class ConfigError(PatchmillError, ValueError):
    """A configuration that can't be run; the text lists every problem found."""


class DoesNotFitError(PatchmillError, ValueError):
    """A value that the wanted dtype can't hold; the text names value, dtype and the way out."""


class HeldError(PatchmillError):
    """Somebody else writes to the target; the text names who, and since when."""


class LeaseLostError(HeldError):
    """The target was this call's to write and is no longer: it was silent for so long that somebody took over."""


class Interrupted(KeyboardInterrupt):
    """A signal asked for the end, and what was begun has ended in order.

    Parameters
    ----------
    text : str
        A sentence that says how far it came and how to go on.
    signal : int
        The number of the signal, SIGINT (Ctrl-C) or SIGTERM.
    """

    def __init__(self, text: str = "interrupted", signal: int = signal.SIGINT) -> None:
        super().__init__(text)
        self.signal = int(signal)


def exit_code(error: Exception) -> int:
    """Exit code of a command that ended with an error.

    Examples
    --------
    >>> exit_code(StageError()), exit_code(ConfigError()), exit_code(HeldError())
    (1, 2, 75)
    """
    if isinstance(error, HeldError):
        return EXIT_HELD
    wrong = ValueError | TypeError | FileNotFoundError | TargetExistsError | NotAPatchSetError | NotASourceError
    return EXIT_WRONG if isinstance(error, wrong) else EXIT_FAILED
