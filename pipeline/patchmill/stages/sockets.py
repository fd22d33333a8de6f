"""Folders for the sockets of kernels, of one stage's process each. What a killed one leaves, the next run removes.

::

    /tmp/pm-x7k2b9qa/          short: the address of a socket has at most 107 bytes
      owner.json               whose it is: a `Runner`
      kernel.json, ...         jupyter's, with the key of its messages
"""

from __future__ import annotations

import glob
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

from patchmill.stages.records import Runner, checked, this_runner, write_whole

_PREFIX = "pm-"

_OWNER = "owner.json"


@contextmanager
def socket_folder() -> Iterator[str]:
    """A folder for the sockets of this process, gone at the end."""
    folder = tempfile.mkdtemp(prefix=_PREFIX, dir=_short_folder())
    try:
        write_whole(os.path.join(folder, _OWNER), json.dumps(asdict(this_runner())))
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_left() -> None:
    """Remove the folders of processes of ours that are gone; one that does not say whose it is stays."""
    for folder in glob.glob(os.path.join(glob.escape(_short_folder()), f"{_PREFIX}*")):
        if _is_left(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _is_left(folder: str) -> bool:
    from patchmill.cutting.identity import is_gone, this_place

    try:
        if os.lstat(folder).st_uid != os.getuid():
            return False
        with open(os.path.join(folder, _OWNER), encoding="utf-8") as file:
            owner = checked(Runner, json.load(file))
        return owner.place != "" and owner.place == this_place() and is_gone(owner.pid, owner.began)
    except (OSError, ValueError, OverflowError):
        return False


def _short_folder() -> str:
    # Temporary folders of schedulers can be longer than an address may be.
    short = "/tmp"  # noqa: S108
    return short if os.path.isdir(short) and os.access(short, os.W_OK) else tempfile.gettempdir()
