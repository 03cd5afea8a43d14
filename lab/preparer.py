"""A preparation that the page starts: a process of its own, which goes on
where it was stopped when it is started again.
"""

import shlex
from typing import Any

from lab.lacking import PARTS, PROGRESS, STEER, lacking, uncalibrated
from lab.process import Process
from lm import LanguageModel
from lm.engines.geometry import FAMILIES
from lm.paths import lab_folder
from lm.sources import is_path
from steering import Library


class Preparer:
    """The preparation of the served model. name: as the command line has it;
    allowed: whether visitors may start it.
    """

    def __init__(self, library: Library, name: str | None, *, allowed: bool):
        self.library, self.allowed = library, allowed
        self._words = [name] if name else []
        self._process = Process(lab_folder(library.model.hash) / PROGRESS)
        self.lacked = tuple(lacking(library.model))

    @property
    def model(self) -> LanguageModel:
        """The served model."""
        return self.library.model

    def start(self) -> None:
        """Starts it, where that is allowed and none is under way."""
        if self.allowed:
            self._process.start(["-m", "lab", *self._words])

    def stop(self) -> None:
        """Stops it; what is done stays done."""
        if self.allowed:
            self._process.stop()

    def state(self, part: str) -> dict[str, Any]:
        """What the banner of a tab shows."""
        running = self._process.running
        missing = lacking(self.model, (part,))
        progress = self._process.progress() if running else {}
        return {
            "part": part,
            "model": self.model.name,
            "command": shlex.join(["tradewind", "prepare", *map(self._told, self._words)]),
            "missing": bool(missing),
            "concepts": self._concepts() if part == STEER else [],
            "makes": part == STEER or self.model.family in FAMILIES,
            "lacked": part in self.lacked,
            "allowed": self.allowed,
            "running": running,
            "fraction": progress.get("fraction"),
            "seconds_left": progress.get("seconds_left"),
            "note": progress.get("note", "Measuring how long it takes"),
            "problem": self._process.problem,
        }

    def _told(self, name: str) -> str:
        """A model's name without the folder in which its owner keeps it."""
        return f"path/to/{self.model.name}" if is_path(name) else name

    def _concepts(self) -> list[str]:
        """Those that lack calibrated vectors, where others have them."""
        lack = uncalibrated(self.model)
        return lack if len(lack) < len(self.library.concepts) else []

    def renewed(self) -> bool:
        """Takes in the calibrations that were made meanwhile; whether there are any
        that the app did not begin with.
        """
        self.library.renew()
        return PARTS[0] in self.lacked and not lacking(self.model, PARTS[:1])
