"""A preparation that the page starts: a process of its own, which may be stopped at any time and goes on when it is started again."""

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from lab.lacking import PARTS, PROGRESS, lacking
from lm import LanguageModel
from lm.paths import lab_folder
from steering import Library

ROOT = Path(__file__).parents[1]
MAX_PROBLEM = 400


class Preparer:
    """The preparation of the served model. allowed: whether visitors may start it; more: arguments of the command."""

    def __init__(self, library: Library, name: str | None, *, allowed: bool, more: tuple[str, ...] = ()):
        self.library, self.allowed = library, allowed
        self._command = [sys.executable, "-m", "lab", *([name] if name else []), *more]
        self._process: subprocess.Popen[str] | None = None
        self._problem, self._renewed = "", False
        self._lock = threading.Lock()
        self.lacked = tuple(lacking(library.model))

    @property
    def model(self) -> LanguageModel:
        """The served model."""
        return self.library.model

    def start(self) -> None:
        """Starts it where it is allowed and not under way."""
        with self._lock:
            if not self.allowed or self._running():
                return
            self._problem = ""
            (lab_folder(self.model.hash) / PROGRESS).unlink(missing_ok=True)
            self._process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            threading.Thread(target=self._follow, args=(self._process,), daemon=True).start()

    def stop(self) -> None:
        """Stops it; what is done stays done."""
        with self._lock:
            if self.allowed and self._process is not None:
                self._process.terminate()

    def state(self, part: str) -> dict[str, Any]:
        """What the banner of a tab shows."""
        running = self._running()
        missing = lacking(self.model, (part,))
        progress = self._progress() if running else {}
        return {
            "part": part,
            "model": self.model.name,
            "missing": bool(missing),
            "lacked": part in self.lacked,
            "allowed": self.allowed,
            "running": running,
            "fraction": progress.get("fraction"),
            "seconds_left": progress.get("seconds_left"),
            "note": progress.get("note", "Measuring how long it takes"),
            "problem": self._problem,
        }

    def renewed(self) -> bool:
        """Takes in the calibrations that were made meanwhile; whether there are any that the app did not begin with."""
        self.library.renew()
        return PARTS[0] in self.lacked and not lacking(self.model, PARTS[:1])

    def _running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _follow(self, process: subprocess.Popen[str]) -> None:
        """Reads what the process writes, so that it never waits for a reader; its last line says why it failed."""
        last = ""
        for line in process.stderr or ():
            last = line.strip() or last
        if process.wait() > 0:
            self._problem = last[:MAX_PROBLEM].removeprefix("error: ").capitalize()

    def _progress(self) -> dict[str, Any]:
        try:
            progress: dict[str, Any] = json.loads((lab_folder(self.model.hash) / PROGRESS).read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return {}
        return progress
