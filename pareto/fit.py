"""Fitting a reward head on preference pairs, with the direction that goes with answer length projected out."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from lm import LanguageModel
from pareto.corruptions import spoiled
from pareto.pairs import Pair, PairError, Prompt, held_out
from pareto.rewards import Head, Reward, pooled, sequences

PENALTIES = (3e-5, 1e-4, 3e-4, 1e-3, 3e-3)
"""Inverse L2 strengths of the logistic regression on standardised features; cross-validation picks one."""
FOLDS, MATCHED, ALSO_WEIGHT, SPOILED_WEIGHT = 5, 0.1, 0.2, 0.3
"""MATCHED: answers are of one length where the logs of their lengths differ by less. The weights are those of
pairs of another kind and of spoiled ones, where a pair of the first kind counts 1.
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


def accuracy(
    margins: np.ndarray, prompts: Sequence[Prompt], seed: int = 0, draws: int = 2000
) -> Accuracy | None:
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
    model: LanguageModel,
    pairs: Sequence[Pair],
    objective: str,
    block: int,
    *,
    also: Sequence[Pair] = (),
    cut: int | None = None,
    spoil: int = 0,
    progress: Callable[[float], None] | None = None,
) -> tuple[Head, dict]:
    """A head for `objective` that reads block `block`, and its measures on the fifth of prompts that it never
    saw.

    also: pairs of another kind, learned from beside the first, and measured apart. cut: answers are read up
    to so many tokens, as policies that are trained give them. spoil: so many chosen answers are learned from
    against themselves spoiled, see pareto.corruptions. Raises PairError where there are too few prompts.
    """
    if cut:
        pairs, also = ([shortened(model, pair, cut) for pair in given] for given in (pairs, also))
        pairs, also = ([pair for pair in given if pair.chosen != pair.rejected] for given in (pairs, also))
    worse = spoiled(pairs, spoil)
    states, lengths = features(model, [*pairs, *also, *(pair for _, pair in worse)], block, progress)
    first, other, spoilt = np.split(states, [len(pairs), len(pairs) + len(also)])
    lessons = [
        Lesson([pair.prompt for pair in also], other, ALSO_WEIGHT),
        Lesson([pair.prompt for _, pair in worse], spoilt, SPOILED_WEIGHT),
    ]
    given = [lesson for lesson in lessons if lesson.prompts]
    head, report = fit_states(model, pairs, first, lengths[: len(pairs)], objective, block, given)
    weight = head.weight.double().numpy()
    if also:
        report["accuracy_also"] = _held_out_accuracy([pair.prompt for pair in also], other @ weight)
    if worse:
        report |= {"spoiled": spoil, "accuracy_spoiled": _by_way(worse, spoilt @ weight)}
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
) -> tuple[Head, dict]:
    """`fit` on features that are there already: states [n, 2, width], lengths [n, 2].

    Bradley-Terry: P(chosen) = sigmoid(w . (f_chosen - f_rejected)), with w orthogonal to the covariance of
    feature and log-length differences, so that margins do not go with length.
    """
    longer = np.log(lengths[:, 0]) - np.log(lengths[:, 1])
    test = np.array([held_out(pair.prompt) for pair in pairs])
    if test.sum() < 10 or (~test).sum() < 50:
        raise PairError(
            f"{len(pairs)} pairs, {test.sum()} of them held out: give at least 50 to train on and 10 held-out ones"
        )
    scale = states[~test].reshape(-1, states.shape[-1]).std(0)
    length_way = longer[~test] @ ((states[:, 0] - states[:, 1]) / scale)[~test]
    if size := np.linalg.norm(length_way):
        length_way /= size
    input_parts, weight_parts, prompts = [], [], []
    for lesson in (Lesson([pair.prompt for pair in pairs], states, 1.0), *lessons):
        difference = (lesson.states[:, 0] - lesson.states[:, 1]) / scale
        keep = np.array([not held_out(prompt) for prompt in lesson.prompts])
        input_parts.append((difference - np.outer(difference @ length_way, length_way))[keep])
        weight_parts.append(np.full(keep.sum(), lesson.weight))
        prompts += [prompt for prompt, kept in zip(lesson.prompts, keep, strict=True) if kept]
    inputs, weights = np.concatenate(input_parts), np.concatenate(weight_parts)
    folds = np.array([int(1e6 * _hash(prompt)) % FOLDS for prompt in prompts])
    left_out = {
        penalty: _left_out(inputs, weights, folds, int((~test).sum()), penalty) for penalty in PENALTIES
    }
    penalty = max(PENALTIES, key=lambda penalty: _likelihood(left_out[penalty]))
    weight = _regress(inputs, weights, penalty)
    weight = (weight - length_way * (weight @ length_way)) / scale
    scores = states @ weight
    head = Head(
        objective,
        model.hash,
        block,
        torch.from_numpy(weight).float(),
        float(scores[test].mean()),
        float(scores[test].std()),
    )
    margins = (scores[:, 0] - scores[:, 1]) / head.std
    slope = _slope(left_out[penalty]) * head.std
    report = measures(
        margins[test], longer[test], [pair.prompt for pair, out in zip(pairs, test, strict=True) if out]
    )
    return head, report | {
        "slope": slope,
        "calibration_error": _calibration(slope * margins[test]),
        "penalty": penalty,
        "trained_on": int((~test).sum()),
        "prompts": len({repr(pair.prompt) for pair in pairs}),
    }


def shortened(model: LanguageModel, pair: Pair, most: int) -> Pair:
    """The pair with answers of at most so many tokens."""

    def short(text: str) -> str:
        return model.tokenizer.decode(model.codec.answer_ids(text)[:most])

    return replace(pair, chosen=short(pair.chosen), rejected=short(pair.rejected))


def _held_out_accuracy(prompts: Sequence[Prompt], scores: np.ndarray) -> dict | None:
    """Of scores [n, 2], preferred answers first: the accuracy on held-out prompts."""
    keep = [i for i, prompt in enumerate(prompts) if held_out(prompt)]
    found = accuracy(scores[keep, 0] - scores[keep, 1], [prompts[i] for i in keep])
    return None if found is None else asdict(found)


def _by_way(worse: Sequence[tuple[str, Pair]], scores: np.ndarray) -> dict[str, dict | None]:
    """How often a held-out prompt's answer beats what it was spoiled to, by the way."""
    ways = np.array([way for way, _ in worse])
    prompts = [pair.prompt for _, pair in worse]
    return {
        way: _held_out_accuracy([prompts[i] for i in np.flatnonzero(ways == way)], scores[ways == way])
        for way in dict.fromkeys(ways.tolist())
    }


def measures(margins: np.ndarray, longer: np.ndarray, prompts: Sequence[Prompt]) -> dict:
    """Accuracy on all pairs and on length-matched ones, that of length alone, and how margins go with length."""
    matched = np.abs(longer) < MATCHED
    same = [prompt for prompt, keep in zip(prompts, matched, strict=True) if keep]
    found = {
        "accuracy": accuracy(margins, prompts),
        "accuracy_length_matched": accuracy(margins[matched], same),
        "accuracy_length_alone": accuracy(longer, prompts),
    }
    correlation = (
        float(np.corrcoef(margins, longer)[0, 1])
        if len(margins) > 2 and longer.std() > 0 < margins.std()
        else 0.0
    )
    return {name: value and asdict(value) for name, value in found.items()} | {
        "correlation_with_length": correlation
    }


def score_pairs(model: LanguageModel, reward: Reward, pairs: Sequence[Pair]) -> dict:
    """The same measures for any reward model."""
    prompts = [pair.prompt for pair in pairs]
    both = [
        reward.score(prompts, [getattr(pair, side) for pair in pairs]).numpy()
        for side in ("chosen", "rejected")
    ]
    lengths = [
        lengths_of(*sequences(model, prompts, [getattr(pair, side) for pair in pairs]))
        for side in ("chosen", "rejected")
    ]
    return measures(both[0] - both[1], np.log(lengths[0]) - np.log(lengths[1]), prompts)


def features(
    model: LanguageModel,
    pairs: Sequence[Pair],
    block: int,
    progress: Callable[[float], None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Pooled states [n, 2, width] of block `block`, in half precision, and answer lengths in tokens [n, 2];
    each prompt and answer is read once.
    """
    answers: dict[Prompt, dict[str, int]] = {}
    for pair in pairs:
        for answer in (pair.chosen, pair.rejected):
            answers.setdefault(pair.prompt, {}).setdefault(answer, 0)
    states: list[torch.Tensor] = []
    lengths: list[float] = []
    for done, (prompt, asked) in enumerate(answers.items(), 1):
        for answer in asked:
            asked[answer] = len(lengths)
            lengths.append(0)
        states.append(pooled(model, [prompt] * len(asked), list(asked), block + 1)[:, block].half())
        lengths[-len(asked) :] = lengths_of(*sequences(model, [prompt] * len(asked), list(asked)))
        if progress:
            progress(done / len(answers))
    rows = np.array(
        [[answers[pair.prompt][answer] for answer in (pair.chosen, pair.rejected)] for pair in pairs]
    )
    return torch.cat(states).double().numpy()[rows], np.array(lengths)[rows]


def lengths_of(ids: Sequence[Sequence[int]], starts: Sequence[int]) -> np.ndarray:
    """Tokens of each answer [n]."""
    return np.array([len(row) - start for row, start in zip(ids, starts, strict=True)], float)


def _signed(differences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.r_[differences, -differences], np.r_[np.ones(len(differences)), np.zeros(len(differences))]


def _regress(inputs: np.ndarray, weights: np.ndarray, penalty: float) -> np.ndarray:
    found = LogisticRegression(C=penalty, fit_intercept=False, max_iter=1000).fit(
        *_signed(inputs), np.r_[weights, weights]
    )
    return found.coef_[0]


def _left_out(
    inputs: np.ndarray, weights: np.ndarray, folds: np.ndarray, judged: int, penalty: float
) -> np.ndarray:
    """Margins of the judged pairs, which come first, each by a fit that did not see its fold."""
    margins = np.zeros(judged)
    for k in range(FOLDS):
        out = folds == k
        margins[out[:judged]] = inputs[:judged][out[:judged]] @ _regress(inputs[~out], weights[~out], penalty)
    return margins


def _slope(margins: np.ndarray) -> float:
    """What margins are multiplied by to be log-odds."""
    return float(LogisticRegression(C=1e6, fit_intercept=False).fit(*_signed(margins[:, None])).coef_[0, 0])


def _likelihood(margins: np.ndarray) -> float:
    """Mean log-likelihood of margins as log-odds, at the scale that suits them best."""
    return float(-np.logaddexp(0, -_slope(margins) * margins).mean())


def _calibration(logits: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error of P(chosen) = sigmoid(logits), each pair seen from both sides."""
    logits, truth = _signed(logits)
    chance = 1 / (1 + np.exp(-logits))
    which = np.minimum((chance * bins).astype(int), bins - 1)
    return float(
        sum(
            abs(chance[which == b].mean() - truth[which == b].mean()) * (which == b).mean()
            for b in set(which)
        )
    )


def _hash(prompt: Prompt) -> float:
    return int.from_bytes(hashlib.sha256(b"fold" + repr(prompt).encode()).digest()[:4], "big") / 2**32
