"""Independent scores of a text, so that a steered text is never judged by the vector that steered it.

All return a number from 0 to 1, higher for more of the concept. A scorer is a function of this file, in
SCORERS; a head on a sentence encoder: a file of assets/scorers, which `python -m steering scorer` writes; or
a sequence classifier of transformers, NAME#LABEL with its folder or hub id. concepts.json names it, or
`--scorer` on the command line.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.special import expit

from lm.classifier import Classifier, ClassifierError, split
from steering import logistic
from steering.concepts import Concept
from steering.encoder import embed
from steering.examples import folds, held_out

if TYPE_CHECKING:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

Score = Callable[[str], float]
HEADS = Path(__file__).parents[1] / "assets" / "scorers"
PENALTY, FOLDS = 0.1, 5
"""Of the heads: |w|^2 beside the sum of log losses, on unit vectors; folds of their held-out accuracy."""


@dataclass(frozen=True)
class Head:
    """A logistic regression on a text's point in the sentence encoder.

    data: what it was fitted on; n: how many texts; accuracy: held out, near copies and pairs kept together.
    """

    name: str
    data: str
    n: int
    accuracy: float
    weights: tuple[float, ...]
    bias: float

    def __call__(self, text: str) -> float:
        """P(concept) of a text; .5 for an empty one."""
        if not text.strip():
            return 0.5
        return float(expit(embed([text])[0] @ np.array(self.weights) + self.bias))

    def save(self, folder: Path = HEADS) -> Path:
        """Writes NAME.json."""
        path = folder / f"{self.name}.json"
        path.write_text(json.dumps(asdict(self)) + "\n")
        return path

    @classmethod
    def load(cls, name: str) -> "Head":
        """Reads a head of assets/scorers."""
        fields = json.loads((HEADS / f"{name}.json").read_text("utf-8"))
        return cls(**fields | {"weights": tuple(fields["weights"])})


class Judge:
    """A sequence classifier's probability of a label: of one among several, or, where each label is a
    question of its own, of that one alone. Raises lm.classifier.ClassifierError.
    """

    def __init__(self, spec: str):
        """spec: NAME#LABEL, or NAME where the classifier has one label."""
        name, label = split(spec)
        if label.startswith("?"):
            raise ClassifierError(f"Scorer {spec!r} cannot be read: give NAME, or NAME#LABEL.")
        self._classifier = Classifier(name)
        self._label = self._classifier.label(label.removeprefix("#"))

    def __call__(self, text: str) -> float:
        """P(label) of a text; .5 for an empty one."""
        if not text.strip():
            return 0.5
        [logits] = self._classifier.logits([self._classifier.encode(text)])
        chances = logits.sigmoid() if self._classifier.independent else logits.softmax(0)
        return float(chances[self._label])


def fit_head(name: str, positive: Sequence[str], negative: Sequence[str], data: str) -> Head:
    """A head that tells positive from negative texts, with its held-out accuracy."""
    x = torch.from_numpy(embed([*positive, *negative]).astype(np.float64))
    labels = torch.tensor([1.0] * len(positive) + [0.0] * len(negative), dtype=torch.float64)
    gram = x @ x.T
    fold = folds(positive, negative, FOLDS, 0)
    accuracy = float(held_out(gram, labels[None], fold, FOLDS, PENALTY)[0])
    alpha, bias = logistic.fit(gram, labels, PENALTY)
    weights = tuple(round(float(value), 4) for value in alpha @ x)
    return Head(name, data, len(labels), round(accuracy, 3), weights, round(float(bias), 4))


def sentiment(text: str) -> float:
    """VADER's compound score mapped to 0..1. Sees words and negation; misses irony, and plots told in neutral
    words.
    """
    return (float(_vader().polarity_scores(text)["compound"]) + 1) / 2


def toxicity(text: str) -> float:
    """Probability of profanity or insult by alt-profanity-check's linear model. Misses threats and contempt
    in clean words.
    """
    from profanity_check import predict_prob

    return float(predict_prob([text])[0])


@cache
def _vader() -> "SentimentIntensityAnalyzer":
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    return SentimentIntensityAnalyzer()


SCORERS: dict[str, Score] = {"vader": sentiment, "profanity": toxicity}


@cache
def scorer(name: str) -> Score:
    """The scorer of a name: one of SCORERS, a head, or a classifier. Raises lm.classifier.ClassifierError."""
    if name in SCORERS:
        return SCORERS[name]
    return Head.load(name) if name in heads() else Judge(name)


def heads() -> list[str]:
    """The names of the heads that ship."""
    return sorted(path.stem for path in HEADS.glob("*.json"))


def scores(text: str, concepts: Sequence[Concept]) -> dict[str, float]:
    """Independent scores of a text for those concepts that have a scorer."""
    return {concept.name: scorer(concept.scorer)(text) for concept in concepts if concept.scorer}
