"""The second cell of every stage: ``patchmill.parameters(globals())``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from patchmill.errors import ConfigError
from patchmill.show.drawing import table_html
from patchmill.stages import samples
from patchmill.stages.coercing import coerced
from patchmill.stages.declared import Declaration, declarations, nearest, split_history
from patchmill.stages.places import TemporaryFolder, absolute, check_temporary, each_path
from patchmill.stages.secrecy import problem_of
from patchmill.types import shown_value

_PAPERMILLS_OWN = {"PAPERMILL_INPUT_PATH", "PAPERMILL_OUTPUT_PATH"}
"""What papermill itself injects with ``--inject-paths``."""


class ToldError(ConfigError):
    """What a notebook shows as the sentence it is."""

    def _render_traceback_(self) -> list[str]:
        # Asked by IPython: what the user did is no matter of a traceback.
        return [f"{type(self).__name__}: {self}"]


class ParameterError(ToldError):
    """Parameters that a notebook can't work with; the text has a sentence for each."""


class StageParameters(SimpleNamespace):
    """The parameters of a notebook by name; drawn as a table, for readers who do not see the code."""

    def _repr_html_(self) -> str:
        return table_html([(name, shown_value(value)) for name, value in vars(self).items()])


def parameters(namespace: dict[str, Any]) -> StageParameters:
    """Make what a notebook was given what its `parameters` cell declares. Call it in the cell behind that one.

    Texts that a scheduler sent become numbers, lists, truth values; paths marked ``in:`` and ``out:`` become absolute,
    relative ones being taken from the current folder; a path that begins with ``temp:`` goes to a new temporary folder,
    whose name is printed. The variables of the notebook are replaced by the result.

    Parameters
    ----------
    namespace : dict
        The notebook's ``globals()``.

    Returns
    -------
    StageParameters
        The same values, as attributes.

    Raises
    ------
    ParameterError
        If something was injected that the notebook does not declare, or a value has another type; one sentence each.

    Examples
    --------
    In a notebook::

        patch_shape: list[int] = [256, 256]  # pixels of one patch, (y, x)

        patchmill.parameters(globals())
    """
    source, given = split_history(executed_cells(namespace))
    if source is None:
        raise ParameterError(
            "patchmill.parameters found no declared parameters: the cell before it must hold typed literals only, "
            "such as `step: int = 128  # pixels between patches`"
        )
    try:
        declared = declarations(source)
    except ValueError as error:
        raise ParameterError(str(error)) from None
    values = {name: namespace.get(name, one.default) for name, one in declared.items()}
    folder = samples.use(TemporaryFolder())
    result = resolved(values, declared, given=given, base=os.getcwd(), folder=folder)
    namespace.update(result)
    return StageParameters(**result)


def resolved(
    values: dict[str, Any],
    declared: dict[str, Declaration],
    *,
    given: list[str],
    base: str,
    folder: TemporaryFolder,
) -> dict[str, Any]:
    """`values` as `declared`, paths absolute; names in `given` must be declared.

    Raises
    ------
    ParameterError
        With a sentence for each problem.
    """
    result, problems = coerced_all(values, declared, given)
    if problems:
        raise ParameterError("\n".join(problems))
    return {
        name: each_path(value, lambda path: absolute(folder.place(path), base)) if declared[name].way else value
        for name, value in result.items()
    }


def coerced_all(
    values: dict[str, Any], declared: dict[str, Declaration], given: list[str]
) -> tuple[dict[str, Any], list[str]]:
    """`values` as `declared`, and a sentence for each that can't be, that nobody declared, or that is a secret."""
    unknown = [name for name in dict.fromkeys(given) if name not in declared and name not in _PAPERMILLS_OWN]
    problems = [undeclared(name, declared) for name in unknown]
    result = {}
    for name, value in values.items():
        secret = problem_of(name, name, value)
        if secret:
            problems.append(secret)
            continue
        try:
            result[name] = coerced(value, declared[name])
            if declared[name].way:
                each_path(result[name], check_temporary)
        except ValueError as error:
            problems.append(str(error))
    return result, problems


def undeclared(name: str, declared: dict[str, Declaration]) -> str:
    """The sentence about a name that a notebook does not declare."""
    hint = nearest(name, declared) or f"; it declares {', '.join(declared) or 'none'}"
    # What is no name may be anything, lines included.
    return f"{name if name.isidentifier() else repr(name)} is no parameter of this notebook{hint}"


def executed_cells(namespace: Mapping[str, Any]) -> list[str]:
    """The cells of the running notebook that were executed before the one that runs, in the order of execution."""
    # IPython keeps what was executed, in every kernel and without the notebook's path; the running cell is the last.
    from IPython import get_ipython

    shell = get_ipython()
    if shell is None or shell.user_ns is not namespace:
        raise ParameterError(
            "patchmill.parameters belongs into the second cell of a notebook, called with globals(); "
            "in a program, call patchmill's functions with arguments"
        )
    return [str(cell) for cell in shell.history_manager.input_hist_parsed[:-1]]
