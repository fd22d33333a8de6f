"""Executes one notebook with papermill, in a process of its own: ``python -m patchmill.stages.executing JOB.json``.

papermill changes the current folder of its process, and its notebook claims that the cell in which a kernel was killed
completed. So each stage has its process, and the truth goes into the answer file, written before and after each cell.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import warnings
from dataclasses import dataclass, field
from typing import Any

from patchmill.show.executed import uncolored
from patchmill.show.sparing import without_grammars
from patchmill.stages.processes import adopt, end_here, end_rest, reap_adopted, signal_name, wait_for_parent
from patchmill.stages.pulse import Pulse, longest_silence
from patchmill.stages.records import write_whole
from patchmill.stages.sockets import socket_folder

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be executed, and where the answer goes."""

    notebook: str
    executed: str
    parameters: dict[str, Any]
    cwd: str
    imports: str
    """A folder to import from, or "": that of the notebook, as by hand."""
    answer: str


@dataclass
class Answer:
    """How it went, as far as is known by now."""

    path: str
    state: str = "running"
    index: int | None = None
    """Which of the executed notebook's cells ran last."""
    kind: str = ""
    sentence: str = ""
    status: int | None = field(default=None)
    """Exit status of a kernel that died: minus the signal, where one killed it."""
    silent: int | None = None
    """Seconds that a kernel had not answered when it was killed for that."""

    def write(self) -> None:
        """Write what is known, whole."""
        write_whole(self.path, json.dumps({key: value for key, value in vars(self).items() if key != "path"}))


def execute(job: Job) -> Answer:
    """Execute a notebook; the answer says how it ended, and is in the answer file."""
    with without_grammars():
        from nbclient.exceptions import DeadKernelError
        from papermill.exceptions import PapermillExecutionError

    answer = Answer(job.answer)
    answer.write()
    try:
        _execute(job, answer)
        answer.state = "done"
    except PapermillExecutionError as error:
        answer.state, answer.kind, answer.sentence = "failed", error.ename, error.evalue
        # papermill puts it into the notebook alone.
        _log.error("%s", uncolored("\n".join(error.traceback)))
    except DeadKernelError:
        answer.state, answer.sentence = _death(answer)
        _log.error("%s", answer.sentence)
        _mark_dead(job.executed, answer)
    except Exception as error:  # noqa: BLE001 - whatever it is, the run must say so
        _log.exception("the notebook could not be executed")
        answer.state, answer.kind, answer.sentence = "failed", type(error).__name__, str(error)
        if answer.status is not None and answer.status < 0:  # while it began
            answer.kind, (answer.state, answer.sentence) = "", _death(answer)
    answer.write()
    return answer


def _execute(job: Job, answer: Answer) -> None:
    import papermill
    from traitlets.config import Config

    if job.imports:
        known = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join([job.imports, known] if known else [job.imports])

    def began(cell_index: int, **_: Any) -> None:
        answer.index = cell_index
        answer.write()

    patience = longest_silence()
    with socket_folder() as runtime:
        os.environ["JUPYTER_RUNTIME_DIR"] = runtime
        papermill.execute_notebook(
            _as_it_is(job.notebook),
            _as_it_is(job.executed),
            parameters=job.parameters,
            cwd=job.cwd,
            progress_bar=False,
            log_output=True,
            # Of a cell that printed very much, the last comes long after its end.
            iopub_timeout=120,
            kernel_manager_class=_watching(answer, patience),
            # Ports of TCP collide when many kernels start at once, and anybody on the machine can knock. Sockets lie
            # beside the connection file, with the key in it, and both go with the folder.
            config=Config(KernelManager={"transport": "ipc", "connection_file": os.path.join(runtime, "kernel.json")}),
            on_cell_execute=began,
        )


def _as_it_is(path: str) -> str:
    # papermill puts parameters into paths, by str.format.
    return path.replace("{", "{{").replace("}", "}}")


def _watching(answer: Answer, patience: float) -> type:
    from jupyter_client.manager import AsyncKernelManager

    class WatchingManager(AsyncKernelManager):  # type: ignore[misc, unused-ignore]
        """Remembers what a kernel that died said last, and ends one that says nothing any more."""

        pulse: Pulse | None = None

        async def _async_is_alive(self) -> bool:
            """Asked about once a second while a cell runs."""
            kernel = self.provisioner
            if kernel is None or not self.has_kernel:
                return False
            answer.status = await kernel.poll()
            silence = self._silence() if answer.status is None else 0.0
            reap_adopted({kernel.pid} if hasattr(kernel, "pid") else ())
            if silence > patience:
                answer.silent = round(silence)
                await kernel.kill()
                answer.status = await kernel.wait()
            return answer.status is None

        is_alive = _async_is_alive

        def _silence(self) -> float:
            self.pulse = self.pulse or Pulse(self._make_url("hb"))
            return self.pulse.silence()

        async def _async_cleanup_resources(self, restart: bool = False) -> None:  # noqa: FBT001, FBT002 - jupyter's own
            if self.pulse is not None:
                self.pulse.close()
                self.pulse = None
            await super()._async_cleanup_resources(restart)

        cleanup_resources = _async_cleanup_resources

    return WatchingManager


def _death(answer: Answer) -> tuple[str, str]:
    status = answer.status
    if answer.silent is not None:
        return "killed", f"the kernel did not answer for {answer.silent} s while the cell ran, and was killed"
    if status is not None and status >= 0:
        return "failed", f"the kernel ended by itself, with exit code {status}, while the cell ran"
    likely = "; most often memory ran out" if status in {None, -signal.SIGKILL} else ""
    name = "" if status is None else f" by signal {-status} ({signal_name(-status)})"
    return "killed", f"the kernel was killed{name} while the cell ran{likely}"


def _mark_dead(executed: str, answer: Answer) -> None:
    # In the executed notebook too, the cell that killed its kernel shall not read as completed.
    import nbformat

    if answer.index is None or not os.path.isfile(executed):
        return
    notebook = nbformat.read(executed, as_version=4)
    for index, cell in enumerate(notebook.cells[answer.index :]):
        cell.metadata.get("papermill", {})["status"] = "pending" if index else "failed"
    cell = notebook.cells[answer.index]
    cell.metadata.get("papermill", {})["exception"] = True
    cell.outputs.append(
        nbformat.v4.new_output("error", ename="DeadKernel", evalue=answer.sentence, traceback=[answer.sentence])
    )
    write_whole(executed, nbformat.writes(notebook))


def _end_with_parent() -> None:
    wait_for_parent()  # without the runner nobody waits for this notebook
    end_here()


def main() -> int:
    """Execute the job of the file that is named on the command line."""
    with open(sys.argv[1], encoding="utf-8") as file:
        job = Job(**json.load(file))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stdout)
    warnings.filterwarnings("ignore", module="papermill|nbclient|jupyter_client|zmq|traitlets")
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    adopt()
    try:
        return 0 if execute(job).state == "done" else 1
    finally:
        end_rest()  # what a notebook left running has nobody who looks after it


if __name__ == "__main__":
    sys.exit(main())
