"""Measures what steering a concept costs and does, and chooses what "auto" steers
with, on the model's own answers.

The prompts are training prompts (assets/prompts/train.jsonl); evaluations use others.
"""

import dataclasses
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from lm import Edit, LanguageModel, Row, Run, Sampling
from lm.compared import Compared, compared
from lm.metrics import repetition
from lm.prompts import prompt_ids
from steering.calibration import Calibration, Curve, Point, breaks
from steering.cav import CAV, logits
from steering.concepts import Concept
from steering.edits import calibrated_layers, steering
from steering.library import Library
from steering.plan import DIRECTIONS, Plan, Target, sense_of
from steering.prompt_sets import training
from steering.scorers import scorer

DOSES = {"auto": (0.0, 2.0, 4.0, 7.0, 11.0), "gcav": (0.0, 3.0, 7.0, 12.0), "fixed": (0.15, 0.3, 0.6, 1.0)}
TRIED = (2.0, 5.0)
"""Doses at which candidates are compared."""
COMPARED = 0.15
"""KL, nats a token, at which the effects of candidates are compared."""
CERTAIN = 2.0
"""Standard errors by which a candidate must be ahead of the one that is taken without evidence."""
SPREAD_FLOOR = 0.1
"""Least standard deviation of a reading, as a share of the distance between the sides."""
SEED = 1000
UNCOMPARED = "taken without a comparison"
"""How direction and layers were chosen where nothing was compared."""


@dataclasses.dataclass(frozen=True)
class Extent:
    """How much is measured: prompts of `tokens` tokens each, at a temperature."""

    prompts: int = 12
    tokens: int = 32
    temperature: float = 0.7


@dataclasses.dataclass(frozen=True)
class Answers:
    """Runs at one dose; of each text KL to the base model, NLL under it, repetition, independent score."""

    kl: np.ndarray
    nll: np.ndarray
    repetition: np.ndarray
    score: np.ndarray | None
    runs: tuple[Run, ...]


class Bench:
    """One concept on a model's own answers to fixed prompts, with fixed seeds."""

    def __init__(
        self,
        model: LanguageModel,
        concept: Concept,
        cav: CAV,
        extent: Extent = Extent(),
        stop: threading.Event | None = None,
    ):
        self.concept, self.extent, self._model, self._stop = concept, extent, model, stop
        self._rows = [
            Row(prompt_ids(model, prompt), Sampling(extent.temperature, SEED + i, extent.tokens))
            for i, prompt in enumerate(training(concept, extent.prompts))
        ]
        self._judge = scorer(concept.scorer) if concept.scorer else None
        [self.base] = self.measure([()])
        answers = [[*run.prompt, *run.ids] for run in self.base.runs]
        starts = [len(run.prompt) for run in self.base.runs]
        readings = logits(cav, model.read(answers, pool="mean", starts=starts))
        floor = SPREAD_FLOOR * cav.gap * (cav.w * cav.diffmean).sum(1).abs()
        self.mean, self.spread = readings.mean(0), torch.maximum(readings.std(0), floor)
        self.cav = dataclasses.replace(cav, calibration=self._bare(cav))

    def _bare(self, cav: CAV) -> Calibration:
        mean, spread = ([round(float(value), 4) for value in values] for values in (self.mean, self.spread))
        return Calibration(
            "diffmean",
            calibrated_layers(dataclasses.replace(cav, calibration=None)),
            tuple(mean),
            tuple(spread),
            {},
            **dataclasses.asdict(self.extent),
            base=None if self.base.score is None else round(float(self.base.score.mean()), 4),
        )

    def try_with(self, direction: str, layers: tuple[int, ...]) -> None:
        """Takes a direction and layers for "auto" from here on."""
        known = self.cav.calibration or self._bare(self.cav)
        self.cav = dataclasses.replace(
            self.cav, calibration=dataclasses.replace(known, direction=direction, layers=layers)
        )

    def measure(self, steered: Sequence[tuple[Edit, ...]]) -> list[Answers]:
        """Answers with each of several steerings, all in one decode. Raises lm.Stopped."""
        rows = [dataclasses.replace(row, edits=edits) for row in self._rows for edits in steered]
        answers = compared(self._model, rows, [row.prompt for row in rows], stop=self._stop)
        return [self._texts(answers[i :: len(steered)]) for i in range(len(steered))]

    def _texts(self, answers: Sequence[Compared]) -> Answers:
        runs = tuple(answer.run for answer in answers)
        return Answers(
            np.array([np.mean(answer.kl) for answer in answers]),
            np.array([np.mean(answer.nll) for answer in answers]),
            np.array([repetition(run.ids) for run in runs]),
            None if self._judge is None else np.array([self._judge(run.text) for run in runs]),
            runs,
        )

    def point(self, dose: float, texts: Answers) -> Point:
        """What a dose costs and does: a point of the curve."""
        worse = texts.nll - self.base.nll
        broken = breaks(texts.repetition, self.base.repetition, worse)
        kl, nll, repeated, share = (
            round(float(values.mean()), 4) for values in (texts.kl, worse, texts.repetition, broken)
        )
        score = None if texts.score is None else round(float(texts.score.mean()), 4)
        return Point(dose, kl, nll, repeated, share, score)

    def at(self, method: str, direction: str, doses: Sequence[float], **plan: Any) -> list[Answers]:
        """Answers at several doses of a method; plan: its other fields."""
        return self.measure([self.edits(method, direction, dose, **plan) for dose in doses])

    def edits(self, method: str, direction: str, dose: float, **plan: Any) -> tuple[Edit, ...]:
        """The edits of a dose: a plan whose budget is bought at it."""
        through = Curve((Point(dose, 1.0, 0.0, 0.0, 0.0),))
        known = self.cav.calibration or self._bare(self.cav)
        bought = dataclasses.replace(known, curves={f"{method} {direction}": through})
        library = Library(self._model, {})
        library.add(self.concept, dataclasses.replace(self.cav, calibration=bought))
        target = Target(self.concept.name, direction)
        return steering(Plan((target,), method=method, budget=1.0, **plan), library).edits


def candidates(cav: CAV) -> list[tuple[str, tuple[int, ...]]]:
    """What "auto" may steer with: a direction and layers. The first is taken where nothing is
    clearly better: the difference of means from half to two thirds of the model, which cost least
    for the same effect over concepts.
    """
    count = cav.w.shape[0]
    middle = calibrated_layers(dataclasses.replace(cav, calibration=None))
    lower = tuple(range(round(count / 3), middle[0]))
    upper = tuple(layer for layer in range(middle[-1] + 1, round(0.8 * count)))
    bands = [middle, *(band for band in (lower, upper) if band)]
    return [(direction, band) for band in bands for direction in ("diffmean", "gcav")]


def effect(bench: Bench, direction: str, tried: Sequence[Answers]) -> np.ndarray:
    """The gain in score of each text at a KL of COMPARED, interpolated from the base text over the doses."""
    assert bench.base.score is not None
    sense = sense_of(direction)
    roots = np.sqrt([0.0, *(texts.kl.mean() for texts in tried)])
    gains = np.stack(
        [np.zeros(len(bench.base.score)), *(sense * (t.score - bench.base.score) for t in tried)]
    )
    return np.array([np.interp(np.sqrt(COMPARED), roots, gain) for gain in gains.T])


def choose(bench: Bench, step: Callable[[], None]) -> tuple[str, tuple[int, ...], str]:
    """Direction and layers of "auto", and a sentence on how they were chosen."""
    options = candidates(bench.cav)
    if bench.base.score is None:
        return *options[0], f"{UNCOMPARED}: no independent scorer judges this concept"
    gains = []
    for direction, layers in options:
        bench.try_with(direction, layers)
        effects = [effect(bench, way, bench.at("auto", way, TRIED, layers=layers)) for way in DIRECTIONS]
        gains.append(np.concatenate(effects))
        step()
    best = max(
        (i for i, gain in enumerate(gains) if i == 0 or _clearly_ahead(gain - gains[0])),
        key=lambda i: (i > 0, gains[i].mean()),
    )
    compared = ", ".join(
        f"{direction} {layers[0]}-{layers[-1]} {gain.mean():+.3f}"
        for (direction, layers), gain in zip(options, gains, strict=True)
    )
    why = "clearly ahead" if best else "no other is clearly ahead"
    direction, layers = options[best]
    return direction, layers, f"mean gain in score at {COMPARED} nats a token: {compared}; {direction}, {why}"


def _clearly_ahead(difference: np.ndarray) -> bool:
    """Whether the mean of a difference [texts] lies CERTAIN standard errors above 0."""
    error = difference.std(ddof=1) / len(difference) ** 0.5
    return bool(difference.mean() > CERTAIN * error > 0)


def calibrate(
    library: Library,
    name: str,
    *,
    methods: Sequence[str] = ("auto", "fixed"),
    extent: Extent = Extent(),
    directions: Sequence[str] = DIRECTIONS,
    search: bool = True,
    progress: Callable[[float], None] | None = None,
    stop: threading.Event | None = None,
) -> CAV:
    """A concept's vectors with their calibration. Raises lm.Stopped.

    search: compare candidates for "auto" by their effect at equal KL; else the first is taken.
    """
    cav = library.cav(name)
    bench = Bench(library.model, library.concepts[name], cav, extent, stop)
    steps = itertools.count(1)
    total = 1 + len(candidates(cav)) * search + len(methods) * len(directions)

    def step() -> None:
        if progress is not None:
            progress(min(1.0, next(steps) / total))

    step()
    direction, layers, chosen = choose(bench, step) if search else (*candidates(cav)[0], UNCOMPARED)
    assert bench.cav.calibration is not None
    known = dataclasses.replace(bench.cav.calibration, direction=direction, layers=layers, chosen=chosen)
    bench.cav = dataclasses.replace(cav, calibration=known)
    curves = {}
    for method in methods:
        for direction in directions:
            curves[f"{method} {direction}"] = curve(bench, method, direction)
            step()
    return dataclasses.replace(cav, calibration=dataclasses.replace(known, curves=curves))


def trial(
    library: Library,
    name: str,
    *,
    progress: Callable[[float], None] | None = None,
    stop: threading.Event | None = None,
) -> CAV:
    """A quick calibration of a concept that a person taught: what amplifying it costs, on twelve prompts."""
    return calibrate(
        library,
        name,
        methods=["auto"],
        directions=["amplify"],
        extent=Extent(prompts=12, tokens=24),
        search=False,
        progress=progress,
        stop=stop,
    )


def curve(bench: Bench, method: str, direction: str) -> Curve:
    """The curve of a method, from off to the dose at which the text breaks, or to the last of DOSES."""
    points = list(_points(bench, method, direction))
    return Curve(tuple(points), 0.0) if method == "fixed" else Curve(tuple(points))


def _points(bench: Bench, method: str, direction: str) -> Iterator[Point]:
    doses = DOSES[method]
    for part in (doses[:2], doses[2:]):
        points = [
            bench.point(dose, texts)
            for dose, texts in zip(part, bench.at(method, direction, part), strict=True)
        ]
        yield from points
        if points[-1].broken > 0.5:
            return
