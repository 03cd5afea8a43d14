"""Estimates with intervals: the percentile bootstrap (Efron and Tibshirani, 1993, chapter 13)."""

from collections.abc import Sequence
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


def middle(values: np.ndarray) -> tuple[float, float]:
    """The ends of the middle 95 % of values [draws]."""
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def estimate(values: Sequence[float] | np.ndarray, seed: int = 0) -> Estimate:
    """The mean of values that were drawn independently."""
    sample = np.asarray(values, float)
    drawn = resampled(len(sample), np.random.default_rng(seed))
    return Estimate(float(sample.mean()), *middle(drawn @ sample / len(sample)))
