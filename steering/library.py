"""The concept vectors of one model: shipped, cached, or trained on first use."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from lm import LanguageModel
from lm.paths import cache_folder
from steering.cav import CAV, Settings, train
from steering.concepts import Concept, shipped
from steering.plan import PlanError

log = logging.getLogger(__name__)
SHIPPED = Path(__file__).parents[1] / "assets" / "vectors"


class Library:
    """Concepts and their vectors for one model. `session()` gives a copy to which a visitor's own concepts are added."""

    def __init__(self, model: LanguageModel, concepts: dict[str, Concept] | None = None):
        self.model = model
        self.concepts = dict(shipped() if concepts is None else concepts)
        self._cavs: dict[str, CAV] = {}
        self._lock = threading.RLock()

    def session(self) -> "Library":
        """A library that shares what is there and keeps what is added to itself."""
        other = Library(self.model, self.concepts)
        other._cavs = dict(self._cavs)
        return other

    def names(self) -> list[str]:
        """Names of the concepts that can be steered."""
        return list(self.concepts)

    def missing(self) -> list[str]:
        """Concepts whose vectors have yet to be trained for this model."""
        return [name for name in self.concepts if name not in self._cavs and self._stored(name) is None]

    def add(self, concept: Concept, cav: CAV) -> None:
        """Adds a concept trained for this model. Raises PlanError where it was trained for another."""
        if cav.model_hash != self.model.hash:
            raise PlanError(
                f"the vector of {cav.concept!r} was made for {cav.model} ({cav.model_hash}), not for {self.model.name} ({self.model.hash})")
        self.concepts[concept.name], self._cavs[concept.name] = concept, cav

    def cav(self, name: str, *, progress: Callable[[float], None] | None = None, stop: threading.Event | None = None) -> CAV:
        """A concept's vectors. Raises PlanError where the concept is unknown."""
        if name not in self.concepts:
            raise PlanError(f"there is no concept {name!r}: give one of {', '.join(self.concepts)}")
        with self._lock:
            if name not in self._cavs:
                found = self._stored(name)
                if found is None:
                    found = train(self.model, self.concepts[name], progress=progress, stop=stop)
                    found.save(self._cache(name))
                self._cavs[name] = found
            return self._cavs[name]

    def _cache(self, name: str) -> Path:
        return cache_folder("vectors", self.model.hash) / f"{name}-{self.concepts[name].hash}.safetensors"

    def _stored(self, name: str) -> CAV | None:
        for path in (SHIPPED / f"{name}.safetensors", self._cache(name)):
            if path.exists():
                try:
                    cav = CAV.load(path)
                except ValueError as error:
                    log.warning("%s", error)
                    continue
                if (cav.model_hash, cav.concept_hash, cav.settings) == (self.model.hash, self.concepts[name].hash, Settings()):
                    return cav
        return None
