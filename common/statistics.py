"""Estimates with intervals: the percentile bootstrap (Efron and Tibshirani, 1993, chapter 13)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

DRAWS, LEVEL = 2_000, 0.95


class Estimate(NamedTuple):
    """A mean and its 95 % interval."""

    mean: float
    low: float
    high: float


def resampled(count: int, dice: np.random.Generator, draws: int = DRAWS) -> np.ndarray:
    """How often each of `count` is drawn, with replacement, in each of so many draws: [draws, count]."""
    return dice.multinomial(count, np.full(count, 1 / count), draws)


def middle(values: np.ndarray) -> np.ndarray:
    """The ends of the middle 95 % of values [draws, ...]: [2, ...]."""
    ends: np.ndarray = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return ends


@dataclass(frozen=True)
class Draws:
    """Resampled prompts and seeds, the same for everything that is compared.

    prompts: how often each prompt is drawn [draws, prompts]; seeds: how often each seed [draws, seeds].
    """

    prompts: np.ndarray
    seeds: np.ndarray

    @classmethod
    def of(cls, seeds: int, prompts: int, seed: int = 0, draws: int = DRAWS) -> "Draws":
        """So many draws with replacement, at both levels."""
        return _drawn(seeds, prompts, seed, draws)

    def means(self, scores: np.ndarray) -> np.ndarray:
        """Means [draws, ...] of scores [seeds, prompts, ...]."""
        sums: np.ndarray = np.einsum("bs,bp,sp...->b...", self.seeds, self.prompts, scores, optimize=True)
        return sums / np.prod(scores.shape[:2])


@lru_cache(maxsize=32)
def _drawn(seeds: int, prompts: int, seed: int, draws: int) -> Draws:
    """Draws.of, once for all scores of one shape: it takes longer than what is computed with it."""
    dice = np.random.default_rng(seed)
    drawn = Draws(resampled(prompts, dice, draws), resampled(seeds, dice, draws))
    for counts in (drawn.prompts, drawn.seeds):
        counts.flags.writeable = False
    return drawn


def estimate(values: Sequence[float] | np.ndarray, seed: int = 0) -> Estimate:
    """The mean of values [n] that were drawn independently, or of scores [seeds, prompts] of several
    trainings: the interval counts both.
    """
    scores = np.atleast_2d(np.asarray(values, float))
    seeds, prompts = scores.shape
    low, high = middle(Draws.of(seeds, prompts, seed).means(scores))
    return Estimate(float(scores.mean()), float(low), float(high))
