"""Fronts: points of two or more rewards, what dominates what, and numbers that compare whole fronts."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from common.fronts import nondominated
from common.jsons import JsonObject, is_number
from lm import LanguageModel
from lm.paths import lab_folder, replacing
from pareto.compare import attainment, hypervolume, monotone, seeds, values, volumes
from pareto.rewards import OBJECTIVES

FOLDER = Path(__file__).parents[1] / "assets" / "fronts"
LOWEST = -2.0
"""Of a reference point where no base model has been scored, in standard deviations of the reward heads."""
MEASURES = (
    "kl",
    "length",
    "repetition",
    "refusal_unsafe",
    "refusal_safe",
    "refusal_unsafe_alike",
    "refusal_safe_alike",
    "toxicity",
)
"""What is measured of a point beside its objectives."""


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


def _are_numbers(values: Sequence[object], count: int) -> bool:
    return len(values) == count and all(map(is_number, values))


class FrontError(ValueError):
    """A front file that cannot be read."""


@dataclass(frozen=True)
class Front:
    """Scored policies of one model.

    Parameters
    ----------
    reference
        of the hypervolume [m]: the base model's point where it has been scored.
    points
        with at least id, method and a mean an objective.
    about
        rewards' hashes and constants, prompts, command.
    objectives
        names of the rewards, in the order of preferences [m].
    missing
        why there are no points, a sentence that no file keeps.
    """

    model: str
    model_hash: str
    reference: tuple[float, ...]
    points: tuple[JsonObject, ...] = ()
    about: JsonObject = field(default_factory=JsonObject)
    objectives: tuple[str, ...] = OBJECTIVES
    missing: str = ""

    @classmethod
    def load(cls, path: Path | str) -> "Front":
        """Reads what `save` wrote. Raises FrontError."""
        try:
            content = json.loads(Path(path).read_text("utf-8"))
            front = cls(
                content["model"],
                content["model_hash"],
                tuple(content["reference"]),
                tuple(content["points"]),
                content.get("about", {}),
                tuple(content.get("objectives", OBJECTIVES)),
            )
            front._check()
            return front
        except (OSError, AttributeError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise FrontError(
                f"{path} is no front ({type(error).__name__}: {error}): give a file that "
                "python -m pareto evaluate --add wrote."
            ) from None

    def _check(self) -> None:
        """Raises ValueError where its numbers cannot be computed with."""
        count = len(self.objectives)
        if not all(isinstance(name, str) for name in (self.model, self.model_hash, *self.objectives)):
            raise ValueError("a name is no text")
        if not _are_numbers(self.reference, count):
            raise ValueError(f"reference is {[*self.reference]!r:.60}, not {count} numbers")
        for place, point in enumerate(self.points, 1):
            named = isinstance(point.get("id"), str) and isinstance(point.get("method"), str)
            preference = point.get("preference")
            if not named or not _are_numbers([point.get(name) for name in self.objectives], count):
                raise ValueError(f"point {place} lacks id, method or one of {', '.join(self.objectives)}")
            if preference is not None and not _are_numbers(preference, count):
                raise ValueError(f"preference of point {place} is {preference!r:.60}, not {count} numbers")

    def save(self, path: Path | str) -> None:
        """Writes the front, replaced at once: a line a point, so that a new point adds one line."""
        path = Path(path)
        content = self.to_dict()
        points = ",\n".join(json.dumps(point) for point in content["points"])
        rest = json.dumps(content | {"points": []}, indent=1)
        with replacing(path) as part:
            part.write_text(rest.replace('"points": []', f'"points": [\n{points}\n ]', 1) + "\n")

    def with_point(self, point: JsonObject) -> "Front":
        """The front with a point more; one of the same id is replaced where it stands."""
        ids = [known["id"] for known in self.points]
        points = [point if known["id"] == point["id"] else known for known in self.points]
        return replace(self, points=tuple(points if point["id"] in ids else [*points, point]))

    @property
    def origin(self) -> tuple[float, ...]:
        """Where hypervolumes start: the base model's point, else the stored reference."""
        base = [point for point in self.points if point["method"] == "base"]
        return tuple(values(base, self.objectives)[0].tolist()) if base else self.reference

    def to_dict(self) -> JsonObject:
        """The front as JSON, with `summary`, and for each point whether it is dominated and the seeds of its
        trainings.
        """
        where = values(self.points, self.objectives)
        best: list[bool] = nondominated(where).tolist() if len(where) else []
        points = [
            point | {"dominated": not undominated, "seeds": seeds(point)}
            for point, undominated in zip(self.points, best, strict=True)
        ]
        return {
            "model": self.model,
            "model_hash": self.model_hash,
            "objectives": list(self.objectives),
            "reference": list(self.origin),
            "points": points,
            "about": self.about,
            **self.summary,
        }

    def without_scores(self) -> JsonObject:
        """A front's JSON without the scores of single prompts."""

        def short(run: JsonObject) -> JsonObject:
            return {key: value for key, value in run.items() if key != "scores"}

        content = self.to_dict()
        points = [
            short(point) | ({"runs": [short(run) for run in point["runs"]]} if "runs" in point else {})
            for point in content["points"]
        ]
        return content | {"points": points}

    @cached_property
    def summary(self) -> JsonObject:
        """Numbers of whole methods: hypervolume of a method's own points; comparison, the same at equal
        positions (see `pareto.compare.volumes`); attainment; monotone; and measures.
        """
        methods = dict.fromkeys(point["method"] for point in self.points)
        own = {method: [p for p in self.points if p["method"] == method] for method in methods}
        return {
            "hypervolume": {
                method: hypervolume(values(points, self.objectives), self.origin)
                for method, points in own.items()
            },
            "comparison": volumes(self.points, self.objectives, self.origin),
            "attainment": attainment(self.points, self.objectives),
            "monotone": monotone(self.points, self.objectives),
            "measures": {method: self._measures(points) for method, points in own.items()},
        }

    def _measures(self, points: Sequence[JsonObject]) -> JsonObject:
        where = values(points, self.objectives)
        numbers = {"points": len(where), "sparsity": sparsity(where), "spacing": spacing(where)}
        preferred = [point for point in points if point.get("preference")]
        if preferred:
            preferences = np.array([point["preference"] for point in preferred])
            numbers["inner_product"] = inner_product(values(preferred, self.objectives), preferences)
        return numbers


def path_of(model_name: str) -> Path:
    """Where the front of a model lies."""
    return FOLDER / f"{re.sub(r'[^a-z0-9.]+', '-', model_name.lower())}.json"


def places(model: LanguageModel) -> tuple[Path, Path]:
    """Where the front of a model may lie: among those that ship, and where one was made here."""
    return path_of(model.name), lab_folder(model.hash) / "front.json"


def own_points(model: LanguageModel) -> list[Path]:
    """The files of points that were made here beside a front, oldest first."""
    return sorted(lab_folder(model.hash, "points").glob("*.json"), key=lambda file: file.stat().st_mtime)


def put_own(model: LanguageModel, point: JsonObject) -> None:
    """Puts a point on the model's front as it is seen here; what ships stays as it is."""
    with replacing(lab_folder(model.hash, "points") / f"{point['id']}.json") as part:
        part.write_text(json.dumps(point))


def stored(model: LanguageModel) -> Front:
    """The front of a model, with the points that were put on it here; see `filed`."""
    front = filed(model)
    for file in own_points(model):
        front = front.with_point(json.loads(file.read_text("utf-8")))
    return front


def filed(model: LanguageModel) -> Front:
    """The front file of a model; where there is none for these weights, an empty one that says why."""
    why = f"No front of {model.name} is stored."
    for path in places(model):
        if path.exists():
            front = Front.load(path)
            if front.model_hash == model.hash:
                return front
            why = f"The stored front is of {front.model} with other weights ({front.model_hash}; these are {model.hash})."
    return Front(model.name, model.hash, (LOWEST,) * len(OBJECTIVES), missing=why)
