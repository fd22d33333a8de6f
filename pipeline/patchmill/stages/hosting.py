"""Hosts the Dask cluster of a run, in a process of its own that lives as long as its stdin is open."""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
import time
from contextlib import ExitStack

from patchmill.stages.processes import end_here, wait_for_parent
from patchmill.stages.records import write_whole

_log = logging.getLogger(__name__)

_END_SECONDS = 8.0
"""From the moment when nobody needs the cluster until all that is left of it is killed."""


def main() -> int:
    """Start the cluster of the file that is named on the command line, and close it when nobody needs it."""
    with open(sys.argv[1], encoding="utf-8") as file:
        wanted = json.load(file)
    answer = wanted.pop("answer")
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    threading.Thread(target=_watch, args=(over,), daemon=True).start()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stdout)
    with ExitStack() as stack:
        try:
            from patchmill.cutting.clients import deployed

            made = deployed(wanted, stack)
            address = str(made.scheduler_address)
        except Exception as error:  # noqa: BLE001 - whatever it is, the run must say so
            _log.exception("the cluster could not be started")
            _tell(answer, error=f"{type(error).__name__}: {error}".partition("\n")[0])
            return 1
        _log.info("the scheduler is at %s, its dashboard at %s", address, getattr(made, "dashboard_link", "none"))
        _tell(answer, address=address)
        over.wait()
        _log.info("the cluster is closed")
    return 0


def _tell(answer: str, *, address: str = "", error: str = "") -> None:
    write_whole(answer, json.dumps({"address": address, "error": error}))


def _watch(over: threading.Event) -> None:
    """Wait until the runner lets go, or is gone; what does not end then is killed, so that nothing is left."""
    wait_for_parent()
    over.set()
    time.sleep(_END_SECONDS)
    end_here()
