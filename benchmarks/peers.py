"""Peers that can't share our environment: each gets a venv of its own, made when it is first needed.

`peers/<name>.txt` says what to install, `peers/with_<name>.py` is run there and prints JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent / "peers"


@dataclass
class Peers:
    """Environments of peers, in a folder that outlives a run.

    Parameters
    ----------
    folder : Path
    wanted : bool
        False skips them all.
    """

    folder: Path
    wanted: bool = True
    notes: dict[str, str] = field(default_factory=dict)

    def python(self, name: str) -> Path | None:
        """The interpreter of a peer's venv; None, with a note, where it can't be made."""
        if not self.wanted:
            self.notes[name] = "left out"
        if name in self.notes:
            return None
        place, asked = self.folder / name, HERE / f"{name}.txt"
        python, stamp = place / "bin" / "python", place / asked.name
        if stamp.exists() and stamp.read_text() == asked.read_text():
            return python
        print(f"  making an environment for {name}", flush=True)
        for command in (
            [sys.executable, "-m", "venv", "--clear", str(place)],
            [str(python), "-m", "pip", "--disable-pip-version-check", "-q", "install", "-r", str(asked)],
        ):
            made = subprocess.run(command, capture_output=True, text=True, check=False)
            if made.returncode:
                last = (made.stderr.strip().splitlines() or ["no reason given"])[-1]
                self.notes[name] = f"could not be installed: {last[:200]}"
                return None
        stamp.write_text(asked.read_text())
        return python

    def run(self, name: str, *arguments: object) -> dict:
        """What a peer's script prints.

        Raises
        ------
        RuntimeError
            With the last line that it said, where it fails.
        """
        command = [str(self.python(name)), str(HERE / f"with_{name}.py"), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError((done.stderr.strip().splitlines() or ["no reason given"])[-1][:200])
        return json.loads(done.stdout.splitlines()[-1])

    def versions(self) -> dict[str, str]:
        """What is installed of the peers themselves."""
        found = {}
        for asked in sorted(HERE.glob("*.txt")):
            python = self.folder / asked.stem / "bin" / "python"
            if python.exists():
                what = f"import importlib.metadata as m; print(m.version({asked.stem!r}))"
                done = subprocess.run([str(python), "-c", what], capture_output=True, text=True, check=False)
                found[asked.stem] = done.stdout.strip()
        return found
