"""How long the preparation of a model takes, from a few measured seconds of each kind of work."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from lm import LanguageModel, Row, Sampling
from pareto.contrast import FOLDER as CONTRASTS
from pareto.contrast import read
from pareto.evaluate import ANSWER, alike_prompts, standard_prompts
from pareto.features import features
from pareto.fleet import Fleet, at_once, rows_at_once, together
from pareto.function import FunctionReward
from pareto.grid import UNTRAINED, Job
from pareto.prepare import block_of, head_pairs
from pareto.rewards import OBJECTIVES, Head, Reward
from pareto.settings import Settings
from pareto.train import Trainer
from steering.calibrate import DOSES, TRIED, Extent
from steering.concepts import Concept
from steering.plan import DIRECTIONS

TEXT = "The weather was fine, and so we walked along the river until the evening came. "
ROWS, TOKENS, DECODED, PAIRS = 24, 64, 12, 12
"""Of what is measured: rows, tokens of each that are read, tokens of each
that are decoded; pairs of answers.
"""
TOGETHER = 4
"""Runs of the measured step, where runs make their steps together."""
FITTING = 2.0
"""Seconds in which the classifiers of a concept are fitted to states that were read."""
METHODS = ("auto", "fixed")


@dataclass(frozen=True)
class Pace:
    """Seconds that a token takes to be read, or to be decoded in a batch; where they are asked for, also those
    of a pair of answers that a reward head learns from, and of a training step.
    """

    reading: float
    decoding: float
    pair: float | None = None
    step: float | None = None

    @classmethod
    def of(cls, model: LanguageModel, heads: bool, trains: bool) -> "Pace":
        """Measured on a model."""
        ids = model.text_ids(TEXT * 16)[:TOKENS]
        rows = [Row(tuple(ids), Sampling(0.7, seed, DECODED)) for seed in range(ROWS)]
        model.generate(rows[:2])
        reading = _timed(lambda: model.read([[*ids[:-1], seed % 64] for seed in range(ROWS)]))
        decoding = _timed(lambda: model.generate(rows))
        paces = reading / (ROWS * TOKENS), decoding / (ROWS * DECODED)
        return cls(*paces, _pair(model) if heads else None, _step(model) if trains else None)

    def concept(self, model: LanguageModel, concept: Concept) -> float:
        """Training and calibrating one concept."""
        extent, texts = Extent(), [*concept.positive, *concept.negative]
        tokens = sum(len(model.text_ids(text)) for text in texts)
        doses = sum(len(DOSES[method]) for method in METHODS)
        steered = len(DIRECTIONS) * (3 * len(TRIED) + doses)
        runs = extent.prompts * (1 + steered)
        length = extent.tokens + TOKENS / 2
        return (
            FITTING
            + tokens * self.reading
            + runs * (extent.tokens * self.decoding + 2 * length * self.reading)
        )

    def head(self, model: LanguageModel, objective: str) -> float:
        """Fitting one reward head."""
        pairs = len(head_pairs(model, objective)) + 2 * len(read(CONTRASTS / "train.jsonl"))
        return FITTING + pairs * (self.pair or 0.0)

    def training(self, job: Job, settings: Settings) -> float:
        """Training one job of the grid, if it has a training of its own."""
        return 0.0 if job.method in UNTRAINED else settings.steps * (self.step or 0.0)

    def scoring(self, samples: int) -> float:
        """Scoring one job of the grid."""
        answers = samples * len(standard_prompts()) + len(alike_prompts())
        return answers * ANSWER * (self.decoding + 4 * self.reading)


def _timed(work: Callable[[], object]) -> float:
    """Seconds of the quicker of two: the first warms up, for which a GPU takes seconds."""

    def once() -> float:
        began = time.monotonic()
        work()
        return time.monotonic() - began

    return min(once(), once())


def _length(prompt: object, answer: str) -> float:
    return float(len(answer))


def _words(prompt: object, answer: str) -> float:
    return float(answer.count(" "))


def _pair(model: LanguageModel) -> float:
    """Seconds in which a pair of answers is read."""
    pairs = head_pairs(model, OBJECTIVES[0])[:PAIRS]
    return _timed(lambda: features(model, pairs, block_of(model))) / PAIRS


def _step(model: LanguageModel) -> float:
    """Seconds of one step of the usual settings, on two cheap rewards; on a GPU, of one among TOGETHER."""
    rewards: dict[str, Reward | Head] = {
        "helpful": FunctionReward(_length),
        "harmless": FunctionReward(_words),
    }
    prompts = [text for _, text in standard_prompts()]
    first = block_of(model) + 1
    settings = Settings(steps=1, first=first)
    with tempfile.TemporaryDirectory() as folder:

        def trainer(settings: Settings) -> Trainer:
            at = Path(folder) / str(settings.seed)
            return Trainer(model, rewards, prompts, settings, at, {"name": "a step"})

        if together(model.stack):
            # The first step captures graphs.
            settings = replace(settings, steps=2, rows_at_once=rows_at_once(model.stack, first))
            count = min(TOGETHER, at_once(model.stack, settings))
            runs = [trainer(replace(settings, seed=seed)) for seed in range(count)]
            Fleet(runs).run()
        else:
            runs = [trainer(settings)]
            runs[0].run()
        return float(runs[0].curves[-1]["seconds"])
