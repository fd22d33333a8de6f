"""Real Airflow: a folder of DAGs, and DAGs run as by its scheduler."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from stages.other_environments import AIRFLOW, environment, kernel_for_others, say


def airflow(folder: Path, dag: str) -> Callable[[str, dict[str, str]], str]:
    """An Airflow that knows the DAG of which `dag` is the text; a function that runs it by its name.

    What it says is returned, and an error where the run does not succeed.
    """
    programs = environment("airflow", AIRFLOW)
    home = folder / "airflow"
    (home / "dags").mkdir(parents=True)
    (home / "dags" / "one.py").write_text(dag)
    settings = {"AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    base = kernel_for_others(folder) | settings | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}

    def run(name: str, variables: dict[str, str]) -> str:
        command = programs / "airflow"
        say(command, "db", "migrate", cwd=folder, env=base)
        say(command, "dags", "reserialize", cwd=folder, env=base | variables)
        return say(command, "dags", "test", name, cwd=folder, env=base | variables)

    return run
