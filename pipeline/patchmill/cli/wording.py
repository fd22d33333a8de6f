"""The library's sentences in the words of the command line: ``mode="resume"`` is ``--mode resume`` there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection

_CALLS = {"write_patches": "patchify", "ingest": "ingest", "plan": "plan", "verify": "verify", "open_patches": "info"}

_CALL = re.compile(rf"\b(?:patchmill\.)?(write_patches)\b|\bpatchmill\.({'|'.join(_CALLS)})\b(?!\()")

_ARGUMENT = re.compile(r"""(?<![\w'"./?&-])([a-z_]+)=("[^"]*"|[\w/]+|)(?![\w("'{\[])""")


def as_commands(text: str, options: Collection[str]) -> str:
    """`text` with arguments spelled as options, and calls as commands.

    Parameters
    ----------
    text : str
        A sentence for somebody who calls the library.
    options : collection of str
        Names of the arguments that are options of this command.

    Examples
    --------
    >>> as_commands('call write_patches again with mode="resume", or choose with variables=', {"mode", "variables"})
    'call patchmill patchify again with --mode resume, or choose with --variables'
    >>> as_commands('clip first, transform="clip(-128, 127)"', {"transform"})
    "clip first, --transform 'clip(-128, 127)'"
    """

    def option(found: re.Match[str]) -> str:
        name, value = found[1], found[2].strip('"')
        if name not in options:
            return found[0]
        value = value.lower() if value in {"True", "False"} else value
        return f"--{name.replace('_', '-')}" + (f" {shlex.quote(value)}" if value else "")

    return _ARGUMENT.sub(option, _CALL.sub(lambda found: f"patchmill {_CALLS[found[1] or found[2]]}", text))
