"""``%load_ext patchmill`` and then ``%patchmill``: runs and their stages, from inside of a notebook."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from patchmill.errors import PatchmillError, missing_library
from patchmill.stages.declared import nearest
from patchmill.stages.entering import ToldError
from patchmill.types import shown_value

if TYPE_CHECKING:
    from patchmill.stages.loading import Value

USAGE = """\
Runs of patchmill and their stages, in a notebook.

%patchmill status [CONFIG or FOLDER]
    How the latest run goes or went: its stages and why they ran, the cell that failed, and where the executed
    notebooks are.

%patchmill load STAGE [--config CONFIG | --run FOLDER] [PARAM=VALUE ...]
    Put the parameters of a stage into the variables of this notebook, as the latest run had them or a config gives
    them, and show them. It belongs behind the parameters cell.

CONFIG is a YAML file or patchmill:demo; FOLDER is a record, a folder of records, or the root in which that lies.
Without either, what lies around is looked at: this folder, runs, and the configs here, in configs and in ../configs.

    %patchmill load patchify
    %patchmill load patchify --config ../configs/demo.yaml step=64
"""

Shell: TypeAlias = Any
"""IPython's InteractiveShell, which is there wherever this is used."""


@dataclass(slots=True)
class Session:
    """An IPython, and what of its notebook is remembered from one line to the next."""

    shell: Shell
    seen: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    """By stage and origin of what was loaded: what the `parameters` cell said the first time."""


class RequestError(ToldError):
    """What was asked of ``%patchmill`` can't be done."""


def register(shell: Shell) -> None:
    """Make ``%patchmill`` known to an IPython, with the completion of its words."""
    session = Session(shell)

    def patchmill(line: str) -> None:
        obey(line, session)

    patchmill.__doc__ = USAGE
    shell.register_magic_function(patchmill, "line", "patchmill")
    shell.set_hook("complete_command", _complete, str_key="%patchmill")


def obey(line: str, session: Session) -> None:
    """Do what a line says, and display the result.

    Raises
    ------
    RequestError
        If it can't be done; IPython shows the sentence without a traceback.
    """
    with _told():
        words = shlex.split(line)
        name = words[0] if words else ""
        if name not in _COMMANDS:
            _refuse_command(name)
        _display(_COMMANDS[name](words[1:], session))


@contextmanager
def _told() -> Iterator[None]:
    """What the user did is one sentence."""
    try:
        yield
    except ToldError:
        raise
    except ModuleNotFoundError as error:
        raise RequestError(missing_library("this", str(error.name))) from None
    except (PatchmillError, ValueError, OSError) as error:
        raise RequestError(str(error)) from None


def _refuse_command(name: str) -> NoReturn:
    if not name:
        raise RequestError(f"%patchmill takes {' or '.join(_COMMANDS)}, got nothing; %patchmill? says more")
    hint = nearest(name, _COMMANDS) or f"; there are {' and '.join(_COMMANDS)}"
    raise RequestError(f"%patchmill has no {name}{hint}")


class _Parser(argparse.ArgumentParser):
    """One that raises where others end the process."""

    def __init__(self, command: str, usage: str) -> None:
        super().__init__(prog=f"%patchmill {command}", usage=f"%patchmill {command} {usage}", add_help=False)

    def error(self, message: str) -> NoReturn:
        raise RequestError(f"{self.prog}: {message}; it is used as {self.usage}")


def _status(words: list[str], _: Session) -> Any:
    from patchmill.stages.finding import latest_run
    from patchmill.stages.reporting import run_table

    parser = _Parser("status", "[CONFIG or FOLDER]")
    parser.add_argument("place", nargs="?", default="")
    given = parser.parse_args(words)
    return run_table(latest_run(given.place))


def _load(words: list[str], session: Session) -> Any:
    from patchmill.stages import loading
    from patchmill.storage.makers import work_for

    given = _load_parser().parse_intermixed_args(words)
    values = loading.scheduled(session.shell.user_ns)
    if values:
        note = "A scheduler gave this notebook its parameters, in the cell behind them, so nothing was loaded."
        return _value_table(f"{given.stage}, as scheduled", values, note)
    if given.config:
        found = loading.given_by_config(given.stage, given.config, given.overrides)
    else:
        found = loading.given_by_run(given.stage, given.run, given.overrides)
    seen = session.seen.setdefault((found.stage, found.origin), {})
    values = loading.put(found, session.shell.user_ns, seen)
    # What is loaded is the stage's, its outputs too: with another value it may write them again, as the next run may.
    work_for(f"{found.pipeline}/{found.stage}")
    return _value_table(f"{found.stage}, as of {found.origin}", values, _how_to_change(values))


def _how_to_change(values: Sequence[Value]) -> str:
    from patchmill.stages.loading import EDITED

    edited = [each.name for each in values if each.origin == EDITED]
    if edited:
        return (
            f"Until this kernel ends, the parameters cell decides on {', '.join(edited)}; on the line it would stay so."
        )
    name = values[-1].name if values else "PARAM"
    return f"To change a value, put it on the line, such as {name}=VALUE, or assign it in a cell behind."


def _value_table(title: str, values: Sequence[Value], note: str) -> Any:
    from patchmill.show.runs import ValueTable

    return ValueTable(title, [(each.name, shown_value(each.value), each.origin) for each in values], note)


def _load_parser() -> argparse.ArgumentParser:
    parser = _Parser("load", "STAGE [--config CONFIG | --run FOLDER] [PARAM=VALUE ...]")
    parser.add_argument("stage", metavar="STAGE")
    parser.add_argument("overrides", nargs="*", default=[])
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--config", default="")
    where.add_argument("--run", default="")
    return parser


_COMMANDS: dict[str, Callable[[list[str], Session], Any]] = {"status": _status, "load": _load}


def _display(thing: Any) -> None:
    # Not returned: it shall be seen wherever in its cell the line stands.
    from IPython.display import display

    display(thing)  # type: ignore[no-untyped-call]


def _complete(_: Shell, event: Any) -> list[str]:
    """Commands, stages of what lies around, options. Anything else is a path, which IPython completes by itself."""
    from IPython.core.error import TryNext

    words = event.text_until_cursor.split()
    before = words if event.text_until_cursor[-1:].isspace() else words[:-1]
    if len(before) == 1:
        return list(_COMMANDS)
    if before[1:] == ["load"]:
        return _stages_around()
    if before[1:2] == ["load"] and event.symbol.startswith("-"):
        return ["--config", "--run"]
    raise TryNext


def _stages_around() -> list[str]:
    """Names of the stages that could be loaded; who asks is typing, and wants no errors."""
    from patchmill.stages.around import configs_around
    from patchmill.stages.config import read_config
    from patchmill.stages.finding import latest_run

    names: list[str] = []
    with suppress(PatchmillError, FileNotFoundError):
        names += [stage.name for stage in latest_run().stages]
    for config in configs_around():
        with suppress(PatchmillError):
            names += read_config(config).model.stages
    return list(dict.fromkeys(names))
