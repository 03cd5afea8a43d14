"""Fitting a reward head on preference pairs, with the direction that goes
with answer length projected out.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy.special import expit

from common import digests
from common.jsons import JsonObject
from common.statistics import middle, resampled
from lm import LanguageModel
from pareto.contrast import PARTS, Contrast, prompt_files
from pareto.contrast import pairs as answered
from pareto.corruptions import spoiled
from pareto.features import features, lengths_of
from pareto.gating import Gating
from pareto.pairs import Pair, Prompt, check_enough, held_out, read_prompts
from pareto.rewards import Head, Reward, sequences

PENALTIES = (3e-5, 1e-4, 3e-4, 1e-3, 3e-3)
"""Inverse L2 strengths of the logistic regression on standardised features; cross-validation picks one."""
DRAWS, BINS = 2000, 10
"""Draws of the bootstrap, and bins of the calibration error."""
GATE_SHARE = 0.9
"""Of the time that a head with a tuned gate takes."""
FOLDS, MATCHED, ALSO_WEIGHT, SPOILED_WEIGHT, CONTRAST_WEIGHT = 5, 0.1, 0.2, 0.3, 2.0
"""MATCHED: answers are of one length where the logs of their lengths differ by less. The weights are those of
pairs of another kind, of spoiled ones and of answers against refusals, where a pair of the first kind counts
1.
"""


@dataclass(frozen=True)
class Accuracy:
    """Share of pairs in which the preferred answer scores higher (a tie is half), with a 95% bootstrap
    interval over prompts.
    """

    value: float
    low: float
    high: float
    pairs: int


def accuracy(margins: np.ndarray, prompts: Sequence[Prompt]) -> Accuracy | None:
    """Of margins [n] (preferred minus other); None where there are no pairs."""
    if not len(margins):
        return None
    right = (margins > 0) + 0.5 * (margins == 0)
    _, group = np.unique([repr(prompt) for prompt in prompts], return_inverse=True)
    sums, counts = np.bincount(group, right), np.bincount(group)
    drawn = resampled(len(sums), np.random.default_rng(0), DRAWS)
    low, high = middle((drawn @ sums) / (drawn @ counts))
    return Accuracy(float(right.mean()), float(low), float(high), len(margins))


def fit(
    model: LanguageModel,
    pairs: Sequence[Pair],
    objective: str,
    block: int,
    *,
    also: Sequence[Pair] = (),
    cut: int | None = None,
    spoil: int = 0,
    contrasts: Sequence[Contrast] = (),
    tune_gate: bool = False,
    progress: Callable[[float], None] | None = None,
    kept: Path | None = None,
) -> tuple[Head, JsonObject]:
    """A head for `objective` that reads block `block`, and its measures on the fifth of prompts that it never
    saw.

    also: pairs of another kind, learned from beside the first, and measured apart. cut: answers are read up
    to so many tokens, as policies that are trained give them. spoil: so many chosen answers are learned from
    against themselves spoiled, see pareto.corruptions. contrasts: answers against refusals, see
    pareto.contrast; a head for harmlessness that learns from them has a gate, since it prefers refusals to
    some prompts and answers to others. tune_gate: the gate's blocks are tuned, see pareto.gating. kept: where
    what is read of the answers stays, see `features`. Raises PairError where there are too few prompts.
    """
    if cut:
        pairs, also = (shortened(model, pairs, cut), shortened(model, also, cut))
    check_enough(pairs)
    worse, against = spoiled(pairs, spoil), answered(model, contrasts, objective)
    groups = [pairs, also, [pair for _, pair in worse], against]
    wants_gate = bool(against) and objective == "harmless"
    tuning, reading = _shares(
        progress or (lambda share: None), GATE_SHARE if wants_gate and tune_gate else 0.0
    )
    gate = Gating.fit(model, block, tune_gate, tuning) if wants_gate else None
    states, lengths = features(model, [pair for group in groups for pair in group], block, reading, kept)
    first, other, spoilt, refused = np.split(states, np.cumsum([len(group) for group in groups])[:-1])
    lessons = [
        Lesson([pair.prompt for pair in group], part, weight)
        for group, part, weight in zip(
            groups[1:], (other, spoilt, refused), (ALSO_WEIGHT, SPOILED_WEIGHT, CONTRAST_WEIGHT), strict=True
        )
        if group
    ]
    head, report = fit_states(model, pairs, first, lengths[: len(pairs)], objective, block, lessons, gate)
    if also:
        prompts = [pair.prompt for pair in also]
        out = [i for i, prompt in enumerate(prompts) if held_out(prompt)]
        scores = scored(head, model, [prompts[i] for i in out], other[out])
        measured = measures(
            scores[:, 0] - scores[:, 1], longer(lengths[len(pairs) :])[out], [prompts[i] for i in out]
        )
        report |= {
            "accuracy_also": measured["accuracy"],
            "accuracy_also_length_matched": measured["accuracy_length_matched"],
        }
    if worse:
        scores = scored(head, model, [pair.prompt for _, pair in worse], spoilt)
        report |= {"spoiled": spoil, "accuracy_spoiled": _by_way(worse, scores)}
    return head, report | {"cut": cut}


@dataclass(frozen=True)
class Lesson:
    """Further pairs that a head learns from, and is not judged by: states [n, 2, width], each pair with a
    weight.
    """

    prompts: Sequence[Prompt]
    states: np.ndarray
    weight: float


def fit_states(
    model: LanguageModel,
    pairs: Sequence[Pair],
    states: np.ndarray,
    lengths: np.ndarray,
    objective: str,
    block: int,
    lessons: Sequence[Lesson] = (),
    gate: Gating | None = None,
) -> tuple[Head, JsonObject]:
    """`fit` on features that are there already: states [n, 2, width], lengths [n, 2].

    Bradley-Terry: P(chosen) = sigmoid(w . (f_chosen - f_rejected)), with w orthogonal to the covariance of
    feature and log-length differences, so that margins do not go with length.
    """
    check_enough(pairs)
    longer_by = longer(lengths)
    test = np.array([held_out(pair.prompt) for pair in pairs])
    scale = states[~test].reshape(-1, states.shape[-1]).std(0)
    length_way = longer_by[~test] @ ((states[:, 0] - states[:, 1]) / scale)[~test]
    if size := np.linalg.norm(length_way):
        length_way /= size
    input_parts, weight_parts, prompts = [], [], []
    for lesson in (Lesson([pair.prompt for pair in pairs], states, 1.0), *lessons):
        keep = np.array([not held_out(prompt) for prompt in lesson.prompts])
        learned = [prompt for prompt, keeps in zip(lesson.prompts, keep, strict=True) if keeps]
        difference = ((lesson.states[:, 0] - lesson.states[:, 1]) / scale)[keep]
        difference = difference - np.outer(difference @ length_way, length_way)
        if gate is not None:
            opened = gate.of(learned).double().numpy()
            difference = np.concatenate([difference, opened[:, None] * difference], 1)
        input_parts.append(difference)
        weight_parts.append(np.full(len(learned), lesson.weight))
        prompts += learned
    inputs, weights = np.concatenate(input_parts), np.concatenate(weight_parts)
    folds = np.array([int(1e6 * _hash(prompt)) % FOLDS for prompt in prompts])
    left_out = {
        penalty: _left_out(inputs, weights, folds, int((~test).sum()), penalty) for penalty in PENALTIES
    }
    penalty = max(PENALTIES, key=lambda penalty: _likelihood(left_out[penalty]))
    parts = _regress(inputs, weights, penalty).reshape(-1, states.shape[-1])
    parts = (parts - np.outer(parts @ length_way, length_way)) / scale
    weight, *gated = (torch.from_numpy(part).float() for part in parts)
    raw = Head(objective, model.hash, block, weight, 0.0, 1.0, None if gate is None else gate.gate, *gated)
    of_test = [pair.prompt for pair, out in zip(pairs, test, strict=True) if out]
    scores = scored(raw, model, of_test, states[test])
    head = replace(raw, mean=float(scores.mean()), std=float(scores.std()))
    margins = (scores[:, 0] - scores[:, 1]) / head.std
    slope = _slope(left_out[penalty]) * head.std
    report = measures(margins, longer_by[test], of_test)
    return head, report | {
        "slope": slope,
        "calibration_error": _calibration(slope * margins),
        "penalty": penalty,
        "trained_on": int((~test).sum()),
        "prompts": len({repr(pair.prompt) for pair in pairs}),
    }


def longer(lengths: np.ndarray) -> np.ndarray:
    """Of lengths [n, 2]: the log of how much longer the first is."""
    ratio: np.ndarray = np.log(lengths[:, 0]) - np.log(lengths[:, 1])
    return ratio


def scored(head: Head, model: LanguageModel, prompts: Sequence[Prompt], states: np.ndarray) -> np.ndarray:
    """The head's scores [n, 2] of states [n, 2, width]."""
    sides = [head.of_pooled(model, prompts, torch.from_numpy(states[:, side])) for side in range(2)]
    return torch.stack(sides, 1).double().numpy()


def contrast_accuracy(
    model: LanguageModel, reward: Reward, contrasts: Sequence[Contrast]
) -> dict[str, JsonObject | None]:
    """How often a reward prefers the answer on safe prompts, and the refusal on unsafe ones, at equal length:
    on the twins that sound alike, and on ordinary prompts.
    """
    twins = {prompt for part in PARTS for _, prompt in read_prompts(prompt_files(part)[0])}
    report = {}
    for name, kind, alike in (
        ("safe", "helpful", True),
        ("unsafe", "unsafe", True),
        ("safe, ordinary", "helpful", False),
        ("unsafe, ordinary", "unsafe", False),
    ):
        chosen = [
            contrast
            for contrast in contrasts
            if contrast.kind == kind and (contrast.prompt in twins) == alike
        ]
        pairs = answered(model, chosen, "harmless")
        prompts = [pair.prompt for pair in pairs]
        better, worse = (
            reward.score(prompts, texts).double().numpy() if texts else np.zeros(0) for texts in _sides(pairs)
        )
        measured = accuracy(better - worse, prompts)
        report[name] = None if measured is None else asdict(measured)
    return report


def _sides(pairs: Sequence[Pair]) -> tuple[list[str], list[str]]:
    """The chosen answers, and the rejected ones."""
    return [pair.chosen for pair in pairs], [pair.rejected for pair in pairs]


def shortened(model: LanguageModel, pairs: Sequence[Pair], most: int) -> list[Pair]:
    """Pairs with answers of at most so many tokens, without those whose answers are equal then."""

    def short(text: str) -> str:
        return str(model.tokenizer.decode(model.codec.answer_ids(text)[:most]))

    cut = [replace(pair, chosen=short(pair.chosen), rejected=short(pair.rejected)) for pair in pairs]
    return [pair for pair in cut if pair.chosen != pair.rejected]


def _held_out_accuracy(prompts: Sequence[Prompt], scores: np.ndarray) -> JsonObject | None:
    """Of scores [n, 2], preferred answers first: the accuracy on held-out prompts."""
    keep = [i for i, prompt in enumerate(prompts) if held_out(prompt)]
    measured = accuracy(scores[keep, 0] - scores[keep, 1], [prompts[i] for i in keep])
    return None if measured is None else asdict(measured)


def _by_way(worse: Sequence[tuple[str, Pair]], scores: np.ndarray) -> dict[str, JsonObject | None]:
    """How often a held-out prompt's answer beats its spoiled form, by the way in which it was spoiled."""
    ways = np.array([way for way, _ in worse])
    prompts = [pair.prompt for _, pair in worse]
    return {
        way: _held_out_accuracy([prompts[i] for i in np.flatnonzero(ways == way)], scores[ways == way])
        for way in dict.fromkeys(ways.tolist())
    }


def measures(margins: np.ndarray, longer: np.ndarray, prompts: Sequence[Prompt]) -> JsonObject:
    """Accuracy on all pairs and on length-matched ones, that of length alone,
    and how margins go with length.
    """
    matched = np.abs(longer) < MATCHED
    same = [prompt for prompt, keep in zip(prompts, matched, strict=True) if keep]
    accuracies = {
        "accuracy": accuracy(margins, prompts),
        "accuracy_length_matched": accuracy(margins[matched], same),
        "accuracy_length_alone": accuracy(longer, prompts),
    }
    correlation = (
        float(np.corrcoef(margins, longer)[0, 1])
        if len(margins) > 2 and longer.std() > 0 < margins.std()
        else 0.0
    )
    return {name: value and asdict(value) for name, value in accuracies.items()} | {
        "correlation_with_length": correlation
    }


def score_pairs(model: LanguageModel, reward: Reward, pairs: Sequence[Pair]) -> JsonObject:
    """The same measures for any reward model."""
    prompts, sides = [pair.prompt for pair in pairs], _sides(pairs)
    better, worse = (reward.score(prompts, texts).numpy() for texts in sides)
    lengths = [lengths_of(*sequences(model, prompts, texts)) for texts in sides]
    return measures(better - worse, longer(np.stack(lengths, 1)), prompts)


def _signed(differences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.r_[differences, -differences], np.r_[np.ones(len(differences)), np.zeros(len(differences))]


def _regress(inputs: np.ndarray, weights: np.ndarray, penalty: float) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression  # imported late: it takes a second

    regression = LogisticRegression(C=penalty, fit_intercept=False, max_iter=1000).fit(
        *_signed(inputs), np.r_[weights, weights]
    )
    return np.asarray(regression.coef_[0])


def _left_out(
    inputs: np.ndarray, weights: np.ndarray, folds: np.ndarray, judged: int, penalty: float
) -> np.ndarray:
    """Margins of the judged pairs, each by a fit that did not see its fold. The judged pairs come first."""
    margins = np.zeros(judged)
    for k in range(FOLDS):
        out = folds == k
        margins[out[:judged]] = inputs[:judged][out[:judged]] @ _regress(inputs[~out], weights[~out], penalty)
    return margins


def _slope(margins: np.ndarray) -> float:
    """What margins are multiplied by to be log-odds."""
    return float(_regress(margins[:, None], np.ones(len(margins)), 1e6)[0])


def _likelihood(margins: np.ndarray) -> float:
    """Mean log-likelihood of margins as log-odds, at the scale that suits them best."""
    return float(-np.logaddexp(0, -_slope(margins) * margins).mean())


def _calibration(logits: np.ndarray) -> float:
    """Expected calibration error of P(chosen) = sigmoid(logits), each pair seen from both sides."""
    logits, truth = _signed(logits)
    chance = expit(logits)
    which = np.minimum((chance * BINS).astype(int), BINS - 1)
    return float(
        sum(
            abs(chance[which == b].mean() - truth[which == b].mean()) * (which == b).mean()
            for b in set(which)
        )
    )


def _shares(
    progress: Callable[[float], None], first: float
) -> tuple[Callable[[float], None], Callable[[float], None]]:
    """Progress of two pieces of work, of which the first is so large a share."""
    return lambda done: progress(first * done), lambda done: progress(first + (1 - first) * done)


def _hash(prompt: Prompt) -> float:
    return digests.share(b"fold" + repr(prompt).encode())
