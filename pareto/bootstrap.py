"""The bootstrap over prompts and, where a point is a mean over several trainings, over their seeds."""

from dataclasses import dataclass

import numpy as np

from lm.statistics import DRAWS, middle, resampled


@dataclass(frozen=True)
class Draws:
    """Resampled prompts and seeds, the same for everything that is compared.

    prompts: share of each prompt [draws, prompts]; seeds: share of each seed [draws, seeds].
    """

    prompts: np.ndarray
    seeds: np.ndarray

    @classmethod
    def of(cls, seeds: int, prompts: int, seed: int = 0, draws: int = DRAWS) -> "Draws":
        """So many draws with replacement, at both levels."""
        dice = np.random.default_rng(seed)
        return cls(*(resampled(count, dice, draws) / count for count in (prompts, seeds)))

    def means(self, scores: np.ndarray) -> np.ndarray:
        """Means [draws, ...] of scores [seeds, prompts, ...]."""
        return np.einsum("bs,bp,sp...->b...", self.seeds, self.prompts, scores, optimize=True)


def interval(values: np.ndarray) -> list[float]:
    """The middle 95 % of bootstrap values [draws], as points of a front hold it."""
    return list(middle(values))


def estimate(scores: np.ndarray, seed: int = 0) -> tuple[float, list[float]]:
    """Mean of scores [seeds, prompts] and its 95 % interval, which counts both.

    With one seed the interval is that of the prompts alone.
    """
    return float(scores.mean()), interval(Draws.of(scores.shape[0], scores.shape[1], seed).means(scores))
