"""Drawing one token from a row of logits."""

from functools import lru_cache

import numpy as np

from lm.rows import Sampling

LEAST_NOISE = np.float32(2**-24)
"""numpy's float32 exponential is 0 once in some 2^23 draws, which would let any token win: half of its smallest step instead."""


def draw(logits: np.ndarray, sampling: Sampling, step: int) -> tuple[int, float]:
    """The next token id and its log-probability at temperature 1.

    logits: float32 [vocabulary]. The draw is argmax(logits / T + Gumbel noise), and the noise depends on (seed, step)
    alone: rows with one seed meet the same noise, so texts part only where their distributions do.
    """
    top = logits.max()
    weights = logits - top
    np.exp(weights, out=weights)
    total = float(top) + float(np.log(weights.sum(dtype=np.float32)))
    if sampling.temperature == 0:
        choice = int(logits.argmax())
    else:
        scaled = logits / np.float32(sampling.temperature)
        if sampling.top_p < 1:
            scaled = _nucleus(scaled, sampling.top_p)
        scaled += _gumbel(sampling.seed, step, len(logits))
        choice = int(scaled.argmax())
    return choice, float(logits[choice]) - total


@lru_cache(maxsize=2)
def _gumbel(seed: int, step: int, size: int) -> np.ndarray:
    """The noise of one step; rows that share a seed, as in a sweep, share the array."""
    noise = np.random.Generator(np.random.Philox(key=[seed, step])).standard_exponential(size, dtype=np.float32)
    return -np.log(np.maximum(noise, LEAST_NOISE))


def _nucleus(scaled: np.ndarray, top_p: float) -> np.ndarray:
    """-inf for tokens outside the smallest set whose probability reaches top_p."""
    order = np.argsort(-scaled, kind="stable")
    weights = np.exp(scaled[order] - scaled[order[0]])
    keep = int(np.searchsorted(np.cumsum(weights), top_p * weights.sum())) + 1
    result = np.full_like(scaled, -np.inf)
    result[order[:keep]] = scaled[order[:keep]]
    return result
