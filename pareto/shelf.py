"""What lies on disk for a model, its front and its checkpoints, read again when somebody has added to it."""

from pathlib import Path

from lm import LanguageModel
from pareto.checkpoint import CARD, Checkpoint, folders, shipped
from pareto.front import Front, own_points, places, stored

Stamp = tuple[tuple[str, int, int], ...]


class Shelf:
    """Front and checkpoints of one model."""

    def __init__(self, model: LanguageModel, folder: Path):
        """folder: of the checkpoints."""
        self.model, self.folder = model, folder
        self.seen: Stamp | None = None

    def changed(self) -> tuple[Front, list[Checkpoint]] | None:
        """Front and checkpoints as they are now; None where they are the same as at the last call."""
        stamp = self._stamp()
        if stamp == self.seen:
            return None
        contents = stored(self.model), shipped(self.model, self.folder)
        self.seen = stamp
        return contents

    def _stamp(self) -> Stamp:
        cards = [card for folder in folders(self.model, self.folder) for card in folder.glob(f"*/{CARD}")]
        files = [*places(self.model), *own_points(self.model), *sorted(cards)]
        stats = [(str(file), file.stat()) for file in files if file.exists()]
        return tuple((name, stat.st_mtime_ns, stat.st_size) for name, stat in stats)
