"""A command that the page starts in a process of its own. It may be stopped at any time, and writes its
progress to a file.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lm.paths import replacing

ROOT = Path(__file__).parents[1]
MAX_PROBLEM = 400


def write(file: Path, state: Mapping[str, Any]) -> None:
    """Writes a command's progress: replaces the file that `Process.progress` reads, atomically."""
    with replacing(file) as part:
        part.write_text(json.dumps(state))


class Process:
    """One command at a time. progress: the file in which it tells how far it is, as a JSON object."""

    def __init__(self, progress: Path):
        self.progress_file = progress
        self.problem = ""
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def start(self, arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> bool:
        """Starts `python ARGUMENTS` where nothing is under way; returns whether it did."""
        with self._lock:
            if self.running:
                return False
            self.problem = ""
            self.progress_file.unlink(missing_ok=True)
            self._process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=ROOT,
                env=os.environ | (environment or {}),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            threading.Thread(target=self._follow, args=(self._process,), daemon=True).start()
            return True

    def stop(self) -> None:
        """Ends it where it is under way."""
        with self._lock:
            if self._process is not None:
                self._process.terminate()

    @property
    def running(self) -> bool:
        """Whether it is under way."""
        return self._process is not None and self._process.poll() is None

    def progress(self) -> dict[str, Any]:
        """The progress that it wrote last; empty where there is none."""
        try:
            state: dict[str, Any] = json.loads(self.progress_file.read_text("utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            return {}
        return state

    def _follow(self, process: subprocess.Popen[str]) -> None:
        """Reads what the process writes, so that it never waits for a reader;
        its last line says why it failed.
        """
        last = ""
        for line in process.stderr or ():
            last = line.strip() or last
        if process.wait() > 0:
            problem = last[:MAX_PROBLEM].removeprefix("error: ")
            self.problem = problem[:1].upper() + problem[1:]
