"""Faults of a concept's examples: copies, near copies, and sides that single words tell apart."""

import re
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from steering import logistic
from steering.concepts import Concept

ALIKE = 0.7
"""Share of three-letter sequences in common (Jaccard) from which on two texts are near copies."""
MIN_TRUSTED = 30
"""Texts a side below which held-out accuracy and strengths are rough."""
SURFACE = 0.9
"""Held-out accuracy of a bag of words from which on a person is warned."""
WORDS_PENALTY = 1.0


def _letters(text: str) -> str:
    """A text without case, punctuation and spacing: copies agree in it."""
    return " ".join(re.findall(r"\w+", text.casefold())) or text.strip()


def distinct(texts: Sequence[str]) -> tuple[str, ...]:
    """The texts without copies; texts that differ in case, punctuation or spacing alone are copies."""
    return tuple({_letters(text): text for text in reversed(texts)}.values())[::-1]


def _shared(texts: Sequence[str], features: Callable[[str], frozenset[str]]) -> Tensor:
    """How many features each two texts share, float64 [texts, texts]; features(text) gives a text's own."""
    from scipy.sparse import csr_array  # imported late, since the app's start does not need it

    sets = [sorted(features(text)) for text in texts]
    column = {feature: i for i, feature in enumerate(sorted({feature for each in sets for feature in each}))}
    columns = [column[feature] for each in sets for feature in each]
    ends = np.cumsum([0, *(len(each) for each in sets)])
    bags = csr_array((np.ones(len(columns)), columns, ends), shape=(len(texts), len(column)))
    return torch.from_numpy((bags @ bags.T).toarray())


def _trigrams(text: str) -> frozenset[str]:
    padded = f" {_letters(text)} "
    return frozenset(padded[i : i + 3] for i in range(max(1, len(padded) - 2)))


def _words(text: str) -> frozenset[str]:
    return frozenset(_letters(text).split())


def near_copies(texts: Sequence[str]) -> list[tuple[int, int]]:
    """The pairs of texts that share at least ALIKE of their three-letter sequences."""
    shared = _shared(texts, _trigrams)
    own = shared.diagonal()
    alike = shared >= ALIKE * (own[:, None] + own - shared)
    return [(a, b) for a, b in alike.triu(1).nonzero().tolist()]


def _groups(count: int, links: Sequence[tuple[int, int]]) -> list[int]:
    """The group of each of `count` texts, where linked texts are in one group."""
    parent = list(range(count))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = i = parent[parent[i]]
        return i

    for a, b in links:
        parent[root(a)] = root(b)
    return [root(i) for i in range(count)]


def folds(positive: Sequence[str], negative: Sequence[str], count: int, seed: int) -> Tensor:
    """The fold of each text, positive ones first: near copies share one, and so do the two texts of a pair.

    Where pairs would tie nearly everything together, because the copies of a text are paired with many
    others, only near copies share a fold.
    """
    texts = [*positive, *negative]
    pairs = [(i, len(positive) + i) for i in range(min(len(positive), len(negative)))]
    links = near_copies(texts)
    groups = _groups(len(texts), links + pairs)
    if len(set(groups)) < count:
        groups = _groups(len(texts), links)
    sizes = Counter(groups)
    names = list(sizes)
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(seed)).tolist()
    filled, fold_of = [0] * count, {}
    for name in sorted((names[i] for i in order), key=lambda name: -sizes[name]):
        fold_of[name] = filled.index(min(filled))
        filled[fold_of[name]] += sizes[name]
    return torch.tensor([fold_of[group] for group in groups])


def words_accuracy(concept: Concept, count: int = 5, seed: int = 0) -> float:
    """Held-out accuracy of a logistic regression on which words a text has."""
    fold = folds(concept.positive, concept.negative, count, seed)
    labels = torch.tensor([1.0] * len(concept.positive) + [0.0] * len(concept.negative)).double()
    gram = _shared([*concept.positive, *concept.negative], _words)
    return float(held_out(gram, labels[None], fold, count, WORDS_PENALTY)[0])


def held_out(gram: Tensor, labels: Tensor, fold: Tensor, count: int, penalty: float) -> Tensor:
    """Accuracy [p] over folds of logistic regressions to labels [p, n] of
    examples with the Gram matrix [n, n].

    A fold whose training part lacks a side counts as chance.
    """
    right = torch.zeros(len(labels))
    for k in range(count):
        inside, outside = fold != k, fold == k
        if not one_of_each(labels[:, inside]):
            right += outside.sum() / 2
            continue
        alpha, bias = logistic.fit(gram[inside][:, inside], labels[:, inside], penalty)
        z = alpha @ gram[inside][:, outside] + bias[:, None]
        right += ((z > 0) == labels[:, outside].bool()).sum(-1)
    return right / labels.shape[1]


def one_of_each(labels: Tensor) -> bool:
    """Whether each row of 0/1 labels [p, n] holds both."""
    return labels.numel() > 0 and bool(((labels.amax(-1) == 1) & (labels.amin(-1) == 0)).all())


def remarks(concept: Concept) -> list[str]:
    """Sentences on what is wrong with examples: copies, near copies, too few, told apart by single words."""
    sentences = []
    texts = [*concept.positive, *concept.negative]
    different = len(distinct(concept.positive)) + len(distinct(concept.negative))
    if different < len(texts):
        sentences.append(
            f"Of {len(texts)} examples only {different} differ: copies count once, so give more that differ."
        )
    for side in ("positive", "negative"):
        own = getattr(concept, side)
        kinds = len(set(_groups(len(own), near_copies(own))))
        if kinds <= len(own) / 2:
            sentences.append(
                f"Many {side} examples are near "
                f"copies of each other ({kinds} kinds in {len(own)} texts): give more varied ones."
            )
    fewer = min(len(distinct(concept.positive)), len(distinct(concept.negative)))
    if fewer < MIN_TRUSTED:
        sentences.append(
            f"{fewer} examples a side are few: accuracy is rough, and {MIN_TRUSTED} or more steer better."
        )
    accuracy = words_accuracy(concept)
    if accuracy >= SURFACE:
        sentences.append(
            f"Single words tell {100 * accuracy:.0f} % of the examples apart: "
            "the vector may have learned those words; give pairs that differ in the concept alone."
        )
    return sentences
