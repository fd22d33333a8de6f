"""`main`: a command line in, an exit code out. What the user did wrong is one sentence, never a traceback."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence

from patchmill.cli.arguments import make_parser
from patchmill.errors import ConfigError, NotAPatchSetError, PatchmillError, TargetExistsError

EXIT_FAILED = 1
EXIT_WRONG = 2
EXIT_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Without the program's name; by default those of this process.

    Returns
    -------
    int
        0 done, 1 it failed, 2 wrong usage or configuration, 130 and 143 interrupted, 137 a kernel was killed.

    Examples
    --------
    >>> main(["--version"])
    patchmill ...
    0
    """
    try:
        parsed = make_parser().parse_args(arguments)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else EXIT_FAILED
    warnings.showwarning = lambda message, *_, **__: _say(f"warning: {message}")
    try:
        return int(parsed.command(parsed))
    except KeyboardInterrupt:
        _say("interrupted")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough; the interpreter shall not complain on its way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except Exception as error:
        if parsed.debug:
            raise
        return _explain(error)


def _explain(error: Exception) -> int:
    text = str(error).strip()
    if isinstance(error, PatchmillError | ValueError | TypeError | FileNotFoundError) and text:
        _say(text)
        return EXIT_WRONG if _is_wrong_request(error) else EXIT_FAILED
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.partition(".")[0]
        _say(f"this needs {package}, which is not installed: pip install 'patchmill[all]' brings all that can be used")
        return EXIT_FAILED
    _say(f"{type(error).__name__}: {text.partition(chr(10))[0]} (patchmill --debug shows where)")
    return EXIT_FAILED


def _is_wrong_request(error: Exception) -> bool:
    wrong = ValueError | TypeError | FileNotFoundError | ConfigError | TargetExistsError | NotAPatchSetError
    return isinstance(error, wrong)


def _say(text: str) -> None:
    sys.stdout.flush()
    sys.stderr.write(f"patchmill: {text}\n")
