"""Drawing one token from a row of logits."""

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
    total = float(top) + float(np.log(np.exp(logits - top).sum(dtype=np.float32)))
    if sampling.temperature == 0:
        choice = int(logits.argmax())
    else:
        scaled = logits / np.float32(sampling.temperature)
        if sampling.top_p < 1:
            scaled = _nucleus(scaled, sampling.top_p)
        noise = np.random.Generator(np.random.Philox(key=[sampling.seed, step])).standard_exponential(len(logits), dtype=np.float32)
        choice = int((scaled - np.log(np.maximum(noise, LEAST_NOISE))).argmax())
    return choice, float(logits[choice]) - total


def _nucleus(scaled: np.ndarray, top_p: float) -> np.ndarray:
    """-inf for tokens outside the smallest set whose probability reaches top_p."""
    order = np.argsort(-scaled, kind="stable")
    weights = np.exp(scaled[order] - scaled[order[0]])
    keep = int(np.searchsorted(np.cumsum(weights), top_p * weights.sum())) + 1
    result = np.full_like(scaled, -np.inf)
    result[order[:keep]] = scaled[order[:keep]]
    return result
