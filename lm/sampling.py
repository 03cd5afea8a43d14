"""Drawing one token from a row of logits."""

import numpy as np

from lm.rows import Sampling

MAX_NOISE = 33 * np.log(2)
"""Largest value of `gumbel`: no token further below the best one can win."""
_STRIDE = np.uint64(0x9E3779B97F4A7C15)


def draw(logits: np.ndarray, sampling: Sampling, step: int) -> tuple[int, float]:
    """The next token id and its log-probability under softmax(logits / T), of the
    whole vocabulary; greedy: T = 1.

    The log-probability is not a number where the best logit is not finite.
    native/sampling.h does the same in C.

    logits: float32 [vocabulary]. The draw is argmax(logits / T + Gumbel noise), and the noise depends on
    (seed, step, token) alone: rows with one seed meet the same noise, so texts part only where their
    distributions do.
    """
    best = int(logits.argmax())
    if not np.isfinite(logits[best]):
        return best, np.nan
    temperature = np.float32(sampling.temperature)
    with np.errstate(over="ignore"):
        scaled = (logits - logits[best]) / (temperature or np.float32(1))
    total = float(np.log(np.exp(scaled).sum(dtype=np.float32)))
    if temperature == 0:
        return best, -total
    if sampling.top_p < 1:
        likely = nucleus(scaled, sampling.top_p)
    else:
        reached = gumbel(sampling.seed, step, np.array([best]))[0]
        likely = np.flatnonzero(scaled >= reached - MAX_NOISE)
    choice = int(likely[(scaled[likely] + gumbel(sampling.seed, step, likely)).argmax()])
    return choice, float(scaled[choice]) - total


def nucleus(scaled: np.ndarray, top_p: float) -> np.ndarray:
    """The likeliest tokens, the likeliest first, up to that with which their
    probability reaches top_p; see Sampling.

    scaled: logits / T, float32 [vocabulary], of which the largest is 0. Tokens that have less than an equal
    share of 1 - top_p together have less than that, so none of them is in the nucleus.
    """
    weights = np.exp(scaled)
    total = weights.sum(dtype=np.float64)
    candidates = np.flatnonzero(weights >= (1 - top_p) * total / len(weights))
    order = candidates[np.argsort(-scaled[candidates], kind="stable")]
    before = np.cumsum(weights[order], dtype=np.float64) - weights[order]
    return order[: max(1, np.count_nonzero(before < top_p * total))]


def gumbel(seed: int, step: int, tokens: np.ndarray) -> np.ndarray:
    """Standard Gumbel noise, float64, of each token id of a step: a hash of the three (SplitMix64), so that
    it is worked out only for tokens that can win.
    """
    start = _mix(_mix(np.array([seed], np.uint64)) + np.uint64(step))
    bits = _mix(start + (tokens.astype(np.uint64) + np.uint64(1)) * _STRIDE) >> np.uint64(32)
    return -np.log(-np.log((bits + 0.5) / 2**32))


def _mix(x: np.ndarray) -> np.ndarray:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return x
