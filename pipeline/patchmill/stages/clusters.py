"""One Dask cluster for all stages of a run: started before the first that runs, closed at the end in every case.

::

    runner                    its host                       stages
    first stage --start-->    scheduler, workers
                <--address--
    begins them with DASK_SCHEDULER_ADDRESS  ------------>   write_patches finds it there
    is done, or gone: closes the host's stdin --> all ends

The cluster lives in a process of its own: the runner loads no Dask, and nothing is left where it is killed.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from patchmill.errors import PatchmillError
from patchmill.stages.processes import Child, end_all
from patchmill.stages.records import write_whole

_POLL_SECONDS = 0.05

_CLOSE_SECONDS = 10.0
"""What a host that was let go is given; by itself it ends a little sooner."""

LOG = "shared.cluster.log"
"""In the record, among the logs of stages, whose names have no dot: one may be called cluster."""


class SharedCluster:
    """The cluster of a run, if its config asks for one.

    Parameters
    ----------
    wanted : mapping, optional
        Class, arguments and scale; without, stages use threads, or what the environment names already.
    folder : str
        The record of the run.
    environment : callable
        Returns that of the stages' processes.
    beat : callable
        Called now and then while the cluster starts.
    """

    def __init__(
        self,
        wanted: Mapping[str, Any] | None,
        folder: str,
        environment: Callable[[], Mapping[str, str]],
        beat: Callable[[], None],
    ) -> None:
        self._wanted = wanted
        self._folder = folder
        self._environment = environment
        self._beat = beat
        self._host: Child | None = None
        self._address = ""

    def environment(self, look: Callable[[], None]) -> Mapping[str, str]:
        """The environment of a stage that begins now; the first one waits until there is a scheduler.

        Meanwhile `look` is called now and then; what it raises ends the waiting.

        Raises
        ------
        PatchmillError
            If the cluster can't be started; the text says why.
        """
        if self._wanted is None:
            return self._environment()
        if self._host is None:
            self._address = self._started(self._wanted, look)
        return {**self._environment(), "DASK_SCHEDULER_ADDRESS": self._address}

    def close(self) -> None:
        """Close it; nothing of it is left then."""
        if self._host is None:
            return
        host = self._host
        host.let_go()
        end = time.monotonic() + _CLOSE_SECONDS
        while host.poll() is None and time.monotonic() < end:
            self._beat()
            time.sleep(_POLL_SECONDS)
        end_all([host])
        for path in (self._job, self._answer):
            if os.path.exists(path):
                os.remove(path)

    @property
    def _job(self) -> str:
        return os.path.join(self._folder, "cluster.json")

    @property
    def _answer(self) -> str:
        return os.path.join(self._folder, "cluster.answer.json")

    def _started(self, wanted: Mapping[str, Any], look: Callable[[], None]) -> str:
        log = os.path.join(self._folder, "logs", LOG)
        write_whole(self._job, json.dumps({**wanted, "answer": self._answer}))
        self._host = Child("patchmill.stages.hosting", self._job, log=log, environment=self._environment())
        while not os.path.exists(self._answer):
            status = self._host.poll()
            if status is not None and not os.path.exists(self._answer):
                raise PatchmillError(
                    f"the cluster {wanted['class']} could not be started, its process ended with exit code {status}: "
                    f"the log {log} says more"
                )
            self._beat()
            look()
            time.sleep(_POLL_SECONDS)
        with open(self._answer, encoding="utf-8") as file:
            answer = json.load(file)
        if answer["error"]:
            raise PatchmillError(f"the cluster {wanted['class']} could not be started: {answer['error']}; see {log}")
        return str(answer["address"])
