"""Scores of texts as sequences of tokens, and of distributions over them."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def _grams(ids: Sequence[int], n: int) -> list[tuple[int, ...]]:
    return [tuple(ids[i : i + n]) for i in range(len(ids) - n + 1)]


def log_probabilities(logits: np.ndarray, temperature: float = 1.0) -> Tensor:
    """Log-probabilities of logits [..., vocabulary] at a temperature above 0: float32 [..., vocabulary]."""
    return (torch.from_numpy(np.ascontiguousarray(logits)) / temperature).log_softmax(-1)


def kl(own: Tensor, base: Tensor) -> Tensor:
    """KL(own || base) of each token, nats [...]. own, base: log-probabilities [..., vocabulary] at one
    temperature.
    """
    return (own.exp() * (own - base)).sum(-1).clamp_min(0)


def repetition(ids: Sequence[int], n: int = 3) -> float:
    """Share of n-grams that occurred before in the text; 0 for texts shorter than n."""
    grams = _grams(ids, n)
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def distinct(ids: Sequence[int], n: int = 2) -> float:
    """Share of distinct n-grams; 1 for texts shorter than n."""
    grams = _grams(ids, n)
    return len(set(grams)) / len(grams) if grams else 1.0
