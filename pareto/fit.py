"""Fitting a reward head on preference pairs, with the direction that goes with answer length projected out."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from lm import LanguageModel
from pareto.pairs import Pair, PairError, Prompt, held_out
from pareto.rewards import Head, Reward, pooled, sequences

PENALTIES = (3e-5, 1e-4, 3e-4, 1e-3, 3e-3)
"""Inverse L2 strengths of the logistic regression on standardised features; cross-validation picks one."""
FOLDS, MATCHED = 5, 0.1
"""MATCHED: answers are of one length where the logs of their lengths differ by less."""


@dataclass(frozen=True)
class Accuracy:
    """Share of pairs in which the preferred answer scores higher (a tie is half), with a 95% bootstrap interval over prompts."""

    value: float
    low: float
    high: float
    pairs: int


def accuracy(margins: np.ndarray, prompts: Sequence[Prompt], seed: int = 0, draws: int = 2000) -> Accuracy | None:
    """Of margins [n] (preferred minus other); None where there are no pairs."""
    if not len(margins):
        return None
    right = (margins > 0) + 0.5 * (margins == 0)
    _, group = np.unique([repr(prompt) for prompt in prompts], return_inverse=True)
    sums, counts = np.bincount(group, right), np.bincount(group)
    drawn = np.random.default_rng(seed).integers(len(sums), size=(draws, len(sums)))
    low, high = np.quantile(sums[drawn].sum(1) / counts[drawn].sum(1), [0.025, 0.975])
    return Accuracy(float(right.mean()), float(low), float(high), len(margins))


def fit(
    model: LanguageModel, pairs: Sequence[Pair], objective: str, block: int, *, progress: Callable[[float], None] | None = None,
) -> tuple[Head, dict]:
    """A head for `objective` that reads block `block`, and its measures on the fifth of prompts that it never saw.

    Bradley-Terry: P(chosen) = sigmoid(w . (f_chosen - f_rejected)), with w orthogonal to the covariance of feature and
    log-length differences, so that margins do not go with length. Raises PairError where there are too few prompts.
    """
    return fit_states(model, pairs, *features(model, pairs, block, progress), objective, block)


def fit_states(
    model: LanguageModel, pairs: Sequence[Pair], states: np.ndarray, lengths: np.ndarray, objective: str, block: int,
) -> tuple[Head, dict]:
    """`fit` on features that are there already: states [n, 2, width], lengths [n, 2]."""
    difference, longer = states[:, 0] - states[:, 1], np.log(lengths[:, 0]) - np.log(lengths[:, 1])
    test = np.array([held_out(pair.prompt) for pair in pairs])
    if test.sum() < 10 or (~test).sum() < 50:
        raise PairError(f"{len(pairs)} pairs, {test.sum()} of them held out: give at least 50 to train on and 10 held-out ones")
    scale = states[~test].reshape(-1, states.shape[-1]).std(0)
    inputs = difference / scale
    length_way = longer[~test] @ inputs[~test]
    length_way /= np.linalg.norm(length_way)
    inputs -= np.outer(inputs @ length_way, length_way)
    folds = np.array([int(1e6 * _hash(pair.prompt)) % FOLDS for pair in pairs])
    penalty = max(PENALTIES, key=lambda c: _cross_validated(inputs[~test], folds[~test], c))
    weight = _regress(inputs[~test], penalty)
    weight = (weight - length_way * (weight @ length_way)) / scale
    scores = states @ weight
    head = Head(objective, model.hash, block, torch.from_numpy(weight).float(), float(scores[test].mean()), float(scores[test].std()))
    margins = (scores[:, 0] - scores[:, 1]) / head.std
    slope = LogisticRegression(C=1e6, fit_intercept=False).fit(*_signed(margins[~test, None])).coef_[0, 0]
    report = measures(margins[test], longer[test], [pair.prompt for pair, out in zip(pairs, test, strict=True) if out])
    return head, report | {
        "slope": float(slope), "calibration_error": _calibration(slope * margins[test]), "penalty": penalty,
        "trained_on": int((~test).sum()), "prompts": len({repr(pair.prompt) for pair in pairs})}


def measures(margins: np.ndarray, longer: np.ndarray, prompts: Sequence[Prompt]) -> dict:
    """Accuracy on all pairs and on length-matched ones, that of length alone, and how margins go with length."""
    matched = np.abs(longer) < MATCHED
    same = [prompt for prompt, keep in zip(prompts, matched, strict=True) if keep]
    found = {
        "accuracy": accuracy(margins, prompts), "accuracy_length_matched": accuracy(margins[matched], same),
        "accuracy_length_alone": accuracy(longer, prompts),
    }
    correlation = float(np.corrcoef(margins, longer)[0, 1]) if len(margins) > 2 and longer.std() > 0 < margins.std() else 0.0
    return {name: value and asdict(value) for name, value in found.items()} | {"correlation_with_length": correlation}


def score_pairs(model: LanguageModel, reward: Reward, pairs: Sequence[Pair]) -> dict:
    """The same measures for any reward model."""
    prompts = [pair.prompt for pair in pairs]
    both = [reward.score(prompts, [getattr(pair, side) for pair in pairs]).numpy() for side in ("chosen", "rejected")]
    lengths = [lengths_of(*sequences(model, prompts, [getattr(pair, side) for pair in pairs])) for side in ("chosen", "rejected")]
    return measures(both[0] - both[1], np.log(lengths[0]) - np.log(lengths[1]), prompts)


def features(
    model: LanguageModel, pairs: Sequence[Pair], block: int, progress: Callable[[float], None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Pooled states [n, 2, width] of block `block`, in half precision, and answer lengths in tokens [n, 2]; each answer is read once."""
    asked = [(pair.prompt, answer) for pair in pairs for answer in (pair.chosen, pair.rejected)]
    place = {key: index for index, key in enumerate(dict.fromkeys(asked))}
    prompts, answers = zip(*place, strict=True)
    states: Tensor = pooled(model, prompts, answers, block + 1, progress=progress)[:, block].half()
    rows = np.array([place[key] for key in asked]).reshape(-1, 2)
    return states.double().numpy()[rows], lengths_of(*sequences(model, prompts, answers))[rows]


def lengths_of(ids: Sequence[Sequence[int]], starts: Sequence[int]) -> np.ndarray:
    """Tokens of each answer [n]."""
    return np.array([len(row) - start for row, start in zip(ids, starts, strict=True)], float)


def _signed(differences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.r_[differences, -differences], np.r_[np.ones(len(differences)), np.zeros(len(differences))]


def _regress(inputs: np.ndarray, penalty: float) -> np.ndarray:
    return LogisticRegression(C=penalty, fit_intercept=False, max_iter=1000).fit(*_signed(inputs)).coef_[0]


def _cross_validated(inputs: np.ndarray, folds: np.ndarray, penalty: float) -> float:
    """Mean log-likelihood of the left-out folds."""
    found = [inputs[folds == k] @ _regress(inputs[folds != k], penalty) for k in range(FOLDS)]
    return float(-np.logaddexp(0, -np.concatenate(found)).mean())


def _calibration(logits: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error of P(chosen) = sigmoid(logits), each pair seen from both sides."""
    logits, truth = _signed(logits)
    chance = 1 / (1 + np.exp(-logits))
    which = np.minimum((chance * bins).astype(int), bins - 1)
    return float(sum(abs(chance[which == b].mean() - truth[which == b].mean()) * (which == b).mean() for b in set(which)))


def _hash(prompt: Prompt) -> float:
    return int.from_bytes(hashlib.sha256(b"fold" + repr(prompt).encode()).digest()[:4], "big") / 2**32
