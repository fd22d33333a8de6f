"""Real Airflow: a folder of DAGs, and DAGs run as by its scheduler."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from stages.other_environments import AIRFLOW, environment, kernel_for_others


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

    def say(*words: str, **variables: str) -> str:
        ended = subprocess.run(
            [programs / "airflow", *words],
            cwd=folder,
            env=base | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout[-5000:]
        return ended.stdout

    def run(name: str, variables: dict[str, str]) -> str:
        say("db", "migrate")
        say("dags", "reserialize", **variables)
        return say("dags", "test", name, **variables)

    return run
