"""The concept vectors of one model: shipped, cached, or trained on first use."""

import logging
import threading
from collections import ChainMap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from lm import LanguageModel
from lm.caller import heed
from lm.paths import lab_folder
from steering.cav import CAV, Settings, train
from steering.concepts import Concept, shipped
from steering.plan import PlanError

log = logging.getLogger(__name__)
SHIPPED = Path(__file__).parents[1] / "assets" / "vectors"


@dataclass
class _Turn:
    """The training of a concept, for which others wait, and how far it is."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    share: float = 0.0


class Library:
    """Concepts and their vectors for one model. `session()` gives a copy to which a visitor's own concepts
    are added.
    """

    def __init__(
        self, model: LanguageModel, concepts: dict[str, Concept] | None = None, *, ships: bool = True
    ):
        """ships: whether vectors that ship are taken, or all are made here."""
        self.model, self._ships = model, ships
        self.concepts = dict(shipped() if concepts is None else concepts)
        self._cavs: ChainMap[str, CAV] = ChainMap()
        self._turns: dict[str, _Turn] = {}

    def session(self) -> "Library":
        """A copy that shares all vectors, also those trained later, and keeps concepts that are added to it
        to itself.
        """
        other = Library(self.model, self.concepts, ships=self._ships)
        other._cavs, other._turns = self._cavs.new_child(), self._turns
        return other

    def ready(self, name: str) -> CAV | None:
        """A concept's vectors where they need no training."""
        if name not in self._cavs and (stored := self._stored(name)) is not None:
            self._cavs.maps[-1][name] = stored
        return self._cavs.get(name)

    def kept(self, name: str) -> CAV | None:
        """What `keep` wrote of a concept, or what ships."""
        return self._stored(name)

    def missing(self) -> list[str]:
        """Concepts whose vectors have yet to be trained for this model."""
        return [name for name in self.concepts if name not in self._cavs and self._stored(name) is None]

    def calibrated(self, name: str) -> bool:
        """Whether vectors with a calibration lie on disk."""
        stored = self._stored(name)
        return stored is not None and stored.calibration is not None

    def renew(self) -> None:
        """Takes in calibrations that were made since vectors were read."""
        shared = self._cavs.maps[-1]
        for name, cav in list(shared.items()):
            if cav.calibration is None and (stored := self._stored(name)) is not None:
                shared[name] = stored

    def add(self, concept: Concept, cav: CAV) -> None:
        """Adds a concept trained for this model. Raises PlanError where it was trained for another."""
        if cav.model_hash != self.model.hash:
            raise PlanError(
                f"The vector of {cav.concept!r} was made for {cav.model} ({cav.model_hash}), "
                f"not for {self.model.name} ({self.model.hash}): make it for this one."
            )
        self.concepts[concept.name], self._cavs[concept.name] = concept, cav

    def cav(
        self,
        name: str,
        *,
        progress: Callable[[float], None] | None = None,
        stop: threading.Event | None = None,
    ) -> CAV:
        """A concept's vectors; who asks for them while another session trains them waits for these. Raises
        PlanError where the concept is unknown, lm.Stopped.
        """
        if name not in self.concepts:
            raise PlanError(f"There is no concept {name!r}: give one of {', '.join(self.concepts)}.")
        if name in self._cavs:
            return self._cavs[name]
        report = progress or (lambda share: None)
        turn = self._turns.setdefault(name, _Turn())
        while not turn.lock.acquire(timeout=0.1):
            heed(stop)
            report(turn.share)
        try:
            if name not in self._cavs:
                self._cavs.maps[-1][name] = self._stored(name) or self._trained(name, turn, report, stop)
            return self._cavs[name]
        finally:
            turn.lock.release()

    def _trained(
        self, name: str, turn: _Turn, report: Callable[[float], None], stop: threading.Event | None
    ) -> CAV:
        def both(share: float) -> None:
            turn.share = share
            report(share)

        cav = train(self.model, self.concepts[name], progress=both, stop=stop)
        cav.save(self._cache(name))
        return cav

    def keep(self, name: str, cav: CAV) -> Path:
        """Replaces a concept's vectors here and in the user's cache; returns the file. Equal vectors keep
        their calibration.
        """
        stored = self._stored(name)
        if cav.calibration is None and stored is not None and stored.w.equal(cav.w):
            cav = replace(cav, calibration=stored.calibration)
        self.add(self.concepts[name], cav)
        path = self._cache(name)
        cav.save(path)
        return path

    def _cache(self, name: str) -> Path:
        return lab_folder(self.model.hash, "vectors") / f"{name}-{self.concepts[name].hash}.safetensors"

    def _stored(self, name: str) -> CAV | None:
        """The vectors that ship or that were kept, those with a calibration first."""
        stored = list(self._readable(name))
        return next((cav for cav in stored if cav.calibration), stored[0] if stored else None)

    def _readable(self, name: str) -> Iterator[CAV]:
        shipped = [SHIPPED / f"{name}.safetensors"] if self._ships else []
        for path in (*shipped, self._cache(name)):
            if path.exists():
                try:
                    cav = CAV.load(path)
                except ValueError as error:
                    log.warning("%s", error)
                    continue
                if (cav.model_hash, cav.concept_hash, cav.settings) == (
                    self.model.hash,
                    self.concepts[name].hash,
                    Settings(),
                ):
                    yield cav
