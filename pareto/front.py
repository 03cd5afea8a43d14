"""Fronts: points of (helpful, harmless), what dominates what, and numbers that compare whole fronts."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import moocore
import numpy as np

from lm import LanguageModel

FOLDER = Path(__file__).parents[1] / "assets" / "fronts"
REFERENCE = (-2.0, -2.0)
"""Reference point of fronts of our own, in standard deviations of the reward heads; the paper's front is
stored with its own.
"""


def nondominated(points: np.ndarray) -> np.ndarray:
    """Which of points [n, m] (larger is better) no other point dominates; of equal points all."""
    return moocore.is_nondominated(np.asarray(points, float), maximise=True, keep_weakly=True)


def hypervolume(points: np.ndarray, reference: Sequence[float]) -> float:
    """Volume between points [n, m] and a reference that lies below them; points not above it add nothing."""
    above = np.asarray(points, float)
    above = above[(above > np.asarray(reference)).all(1)]
    return float(moocore.hypervolume(above, ref=list(reference), maximise=True)) if len(above) else 0.0


def inner_product(points: np.ndarray, preferences: np.ndarray) -> float:
    """Mean of lambda . reward over points [n, m] trained at preferences [n, m]."""
    return float((np.asarray(points, float) * np.asarray(preferences, float)).sum(1).mean())


def _gaps(points: np.ndarray) -> np.ndarray:
    front = np.asarray(points, float)[nondominated(points)]
    return np.diff(front[np.argsort(front[:, 0], kind="stable")], axis=0)


def sparsity(points: np.ndarray) -> float:
    """Mean squared distance between neighbours of the front, objective by objective; smaller is denser. 0 for
    one point.
    """
    gaps = _gaps(points)
    return float((gaps**2).sum() / len(gaps)) if len(gaps) else 0.0


def spacing(points: np.ndarray) -> float:
    """Standard deviation of the distances between neighbours of the front; 0 where they are even."""
    gaps = _gaps(points)
    return float(np.linalg.norm(gaps, axis=1).std()) if len(gaps) else 0.0


class FrontError(ValueError):
    """A front file that cannot be read."""


@dataclass(frozen=True)
class Front:
    """Scored policies of one model. reference: of the hypervolume, fixed when the front was first written.

    points: with at least id, method, helpful and harmless; about: rewards' hashes and constants, prompts,
    command.
    """

    model: str
    model_hash: str
    reference: tuple[float, float]
    points: tuple[dict, ...] = ()
    about: dict = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path | str) -> "Front":
        """Reads what `save` wrote. Raises FrontError."""
        try:
            read = json.loads(Path(path).read_text())
            return cls(
                read["model"],
                read["model_hash"],
                tuple(read["reference"]),
                tuple(read["points"]),
                read.get("about", {}),
            )
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise FrontError(
                f"{path} is no front ({type(error).__name__}: {error}): give a file that "
                "python -m pareto evaluate --add wrote"
            ) from None

    def save(self, path: Path | str) -> None:
        """Writes the front, replaced at once."""
        path = Path(path)
        part = path.with_name(path.name + ".part")
        part.write_text(json.dumps(self.to_dict(), indent=1) + "\n")
        part.replace(path)

    def with_point(self, point: dict) -> "Front":
        """The front with a point more; one of the same id is replaced where it stands."""
        ids = [known["id"] for known in self.points]
        points = [point if known["id"] == point["id"] else known for known in self.points]
        return replace(self, points=tuple(points if point["id"] in ids else [*points, point]))

    def xy(self) -> np.ndarray:
        """(helpful, harmless) of the points [n, 2]."""
        return np.array([[point["helpful"], point["harmless"]] for point in self.points], float).reshape(
            -1, 2
        )

    def to_dict(self) -> dict:
        """All of it as JSON, with what is computed: which points are dominated, and measures a method."""
        xy = self.xy()
        best: list[bool] = nondominated(xy).tolist() if len(xy) else []
        points = [point | {"dominated": not ok} for point, ok in zip(self.points, best, strict=True)]
        methods = dict.fromkeys(point["method"] for point in self.points)
        return {
            "model": self.model,
            "model_hash": self.model_hash,
            "reference": list(self.reference),
            "points": points,
            "hypervolume": {method: hypervolume(self._of(method), self.reference) for method in methods},
            "measures": {method: self._measures(method) for method in methods},
            "about": self.about,
        }

    def _of(self, method: str) -> np.ndarray:
        return self.xy()[[point["method"] == method for point in self.points]]

    def _measures(self, method: str) -> dict:
        xy = self._of(method)
        with_preference = [p for p in self.points if p["method"] == method and p.get("preference")]
        found = {"points": len(xy), "sparsity": sparsity(xy), "spacing": spacing(xy)}
        if with_preference:
            scored = np.array([[p["helpful"], p["harmless"]] for p in with_preference])
            found["inner_product"] = inner_product(
                scored, np.array([p["preference"] for p in with_preference])
            )
        return found


def path_of(model_name: str) -> Path:
    """Where the front of a model lies."""
    return FOLDER / f"{re.sub(r'[^a-z0-9.]+', '-', model_name.lower())}.json"


def stored(model: LanguageModel) -> Front:
    """The front of a model; an empty one where there is none for these weights."""
    path = path_of(model.name)
    if path.exists() and (front := Front.load(path)).model_hash == model.hash:
        return front
    return Front(model.name, model.hash, REFERENCE)
