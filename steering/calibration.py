"""What steering a concept costs in one model: curves from a dose to KL and to what becomes of the text."""

import itertools
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from common.jsons import is_number

REPETITION, SURPRISE = 0.1, 1.0
"""A text breaks where more than this share of its 3-grams come back, or where the base model is this many
nats a token more surprised by it than by its own answer.
"""
MAX_BROKEN = 0.2
"""Share of broken texts up to which a dose counts as fluent."""
OFF = -4.0
"""Dose of a gate at which the model's own answers are never pushed, in standard deviations."""


def breaks(repetition: Any, usual: Any, worse: Any) -> Any:
    """Whether texts break. It takes numbers, or arrays of them: the share of repeated 3-grams of a text and
    of the base model's own, and how much more the text surprises the base model, nats a token.
    """
    return (repetition > np.maximum(REPETITION, usual)) | (worse > SURPRISE)


@dataclass(frozen=True)
class Point:
    """One dose, as mean over texts.

    kl: to the base model, nats a token. nll: above the base model's own answers, nats a token.
    repetition: share of 3-grams that come back. broken: share of texts that broke. score: the
    independent scorer's, where there is one.
    """

    dose: float
    kl: float
    nll: float
    repetition: float
    broken: float
    score: float | None = None


@dataclass(frozen=True)
class Curve:
    """Points by rising dose. For a gated method the dose is how many standard deviations the goal lies beyond
    the mean reading of the model's own answers, in the target's sense; for "fixed" it is the strength.
    """

    points: tuple[Point, ...]
    off: float = OFF

    def _lines(self) -> tuple[np.ndarray, np.ndarray]:
        """Doses and the square root of KL, which is about linear in the push; made monotone, so that KL never
        falls.
        """
        doses = np.array([self.off, *(point.dose for point in self.points)])
        return doses, np.sqrt(np.maximum.accumulate([0.0, *(max(0.0, point.kl) for point in self.points)]))

    @property
    def max_budget(self) -> float:
        """The largest KL that was measured."""
        return max(point.kl for point in self.points)

    def dose(self, kl: float) -> float:
        """The dose that costs `kl`; that of the largest measured KL for more."""
        doses, roots = self._lines()
        steps = [0, *(i for i in range(1, len(roots)) if roots[i] > roots[i - 1])]
        return float(np.interp(np.sqrt(kl), roots[steps], doses[steps]))

    @property
    def whole(self) -> float:
        """The largest measured KL up to which no text broke."""
        unbroken = itertools.takewhile(lambda point: not point.broken, self.points)
        return max((point.kl for point in unbroken), default=0.0)

    @property
    def fluent(self) -> float:
        """The KL at which a share of MAX_BROKEN breaks, or the largest measured one where fewer do."""
        before = (0.0, 0.0)
        for point in self.points:
            if point.broken > MAX_BROKEN:
                share = (MAX_BROKEN - before[1]) / (point.broken - before[1])
                return before[0] + share * (max(point.kl, before[0]) - before[0])
            before = (max(before[0], point.kl), point.broken)
        return before[0]


@dataclass(frozen=True)
class Calibration:
    """What was measured for a concept on the model's own answers, and what was chosen by it.

    direction, layers: of the method "auto". mean, spread: of the classifier's reading of the model's own
    answers, a number a layer. curves: by "method direction", such as "auto amplify". prompts, tokens,
    temperature: of the measurement. base: the independent score of the model's own answers. chosen: how
    direction and layers were chosen, a sentence.
    """

    direction: str
    layers: tuple[int, ...]
    mean: tuple[float, ...]
    spread: tuple[float, ...]
    curves: Mapping[str, Curve]
    prompts: int
    tokens: int
    temperature: float
    base: float | None = None
    chosen: str = ""

    def curve(self, method: str, direction: str) -> Curve | None:
        """The curve of a method that amplifies or removes, if it was measured."""
        return self.curves.get(f"{method} {direction}")

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; `from_dict` gives it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Calibration":
        """Reads what `to_dict` gave. Raises TypeError, KeyError, AttributeError or ValueError where it is
        something else.
        """
        fields = dict(data)
        fields["layers"] = tuple(fields["layers"])
        if not fields["layers"] or any(type(layer) is not int for layer in fields["layers"]):
            raise ValueError(f"layers are {data['layers']!r:.60}")
        for name in ("mean", "spread"):
            fields[name] = tuple(map(_number, fields[name]))
        for name in ("prompts", "tokens", "temperature"):
            _number(fields[name])
        fields["curves"] = {name: _curve(curve) for name, curve in fields["curves"].items()}
        return cls(**fields)


def _curve(data: Mapping[str, Any]) -> Curve:
    if not data["points"]:
        raise ValueError("a curve has no points")
    for point in data["points"]:
        for name, value in point.items():
            if name != "score" or value is not None:
                _number(value)
    return Curve(tuple(Point(**point) for point in data["points"]), _number(data["off"]))


def _number(value: object) -> float:
    """The value, where it is a finite number."""
    if not is_number(value):
        raise ValueError(f"{value!r:.40} is no finite number")
    return value
