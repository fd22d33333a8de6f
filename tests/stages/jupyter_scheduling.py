"""Real jupyter-scheduler, in a Jupyter server that is asked as JupyterLab asks it."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stages.other_environments import SCHEDULER, environment, kernel_for_others


class Server:
    """A server with a scheduler."""

    def __init__(self, address: str) -> None:
        self._address = address

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": "token tests", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self._address}/scheduler/{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def ended(self, job: str, seconds: float = 300) -> dict[str, Any]:
        """A job once it has ended."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = self.ask("GET", f"jobs/{job}")
            if found["status"] in {"COMPLETED", "FAILED"}:
                return found
            time.sleep(0.3)
        raise TimeoutError(job)

    def run(self, notebook: str, parameters: dict[str, str]) -> dict[str, Any]:
        """Run a notebook of the server's folder once."""
        body = {
            "name": notebook,
            "input_uri": notebook,
            "runtime_environment_name": "python3",
            "output_formats": ["ipynb"],
            "parameters": parameters,
        }
        return self.ended(self.ask("POST", "jobs", body)["job_id"])


@contextmanager
def jupyter_scheduler(folder: Path) -> Iterator[Server]:
    """A server whose folder is ``served`` in `folder`; where jobs are executed is ``data/scheduler_staging_area``."""
    programs = environment("jupyter-scheduler", SCHEDULER)
    places = {name: folder / name for name in ("served", "data", "settings", "runtime")}
    for place in places.values():
        place.mkdir(exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    variables = {
        "JUPYTER_DATA_DIR": str(places["data"]),
        "JUPYTER_CONFIG_DIR": str(places["settings"]),
        "JUPYTER_RUNTIME_DIR": str(places["runtime"]),
    }
    command = [
        programs / "jupyter-server", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1", f"--port={port}",
        "--ServerApp.port_retries=0", f"--ServerApp.root_dir={places['served']}", "--IdentityProvider.token=tests",
    ]  # fmt: skip
    with open(folder / "server.log", "w") as log:
        process = subprocess.Popen(command, env=kernel_for_others(folder) | variables, stdout=log, stderr=log)
    server = Server(f"http://127.0.0.1:{port}")
    try:
        _wait(server, process, folder / "server.log")
        yield server
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            server.ask("GET", "runtime_environments")
        except (urllib.error.URLError, ConnectionError):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.2)
        else:
            return
