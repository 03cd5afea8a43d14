"""Tokens drawn where the logits are: what lm.sampling.draw does, for many rows at once."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lm.rows import Sampling

_MIX, _REMIX, _STRIDE = (
    value - 2**64 for value in (0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0x9E3779B97F4A7C15)
)
"""Constants of SplitMix64, as signed integers: PyTorch multiplies no unsigned ones."""


@torch.inference_mode()
def draw_rows(logits: Tensor, draws: Sequence[tuple[Sampling, int]]) -> list[tuple[int, float]]:
    """One token of each row, with its log-probability; see lm.sampling.draw.

    logits: float32 [n, vocabulary]; draws: a row's sampling and step.
    """
    if not draws:  # a part of a prompt is read, and nothing drawn
        return []
    device = logits.device
    temperatures = torch.tensor([sampling.temperature for sampling, _ in draws], device=device)[:, None]
    seeds = torch.tensor([[sampling.seed, step] for sampling, step in draws], device=device)
    top_p = [sampling.top_p for sampling, _ in draws] if any(s.top_p < 1 for s, _ in draws) else None
    choices, logprobs = chosen(logits, seeds, temperatures, top_p)
    return list(zip(choices.squeeze(1).tolist(), logprobs.squeeze(1).tolist(), strict=True))


def chosen(
    logits: Tensor, seeds: Tensor, temperatures: Tensor, top_p: Sequence[float] | None = None
) -> tuple[Tensor, Tensor]:
    """`draw_rows` in tensors alone: ids and log-probabilities [n, 1].

    seeds: seed and step, int64 [n, 2]; temperatures: float32 [n, 1]; top_p: a number a row, or None for 1.
    """
    best = logits.max(1, keepdim=True)
    scaled = (logits - best.values) / temperatures.where(temperatures > 0, 1.0)
    noise = gumbel(seeds, logits.shape[1])
    if top_p is not None:
        noise = noise.masked_fill(~_nuclei(scaled, top_p), -torch.inf)
    noisy = (scaled + noise).argmax(1, keepdim=True)
    choices = noisy.where(temperatures > 0, best.indices)
    logprobs = scaled.gather(1, choices) - scaled.exp().sum(1, keepdim=True).log()
    broken = ~best.values.isfinite()
    return best.indices.where(broken, choices), logprobs.masked_fill(broken, torch.nan)


def _nuclei(scaled: Tensor, top_p: Sequence[float]) -> Tensor:
    """Which tokens [n, vocabulary] may be drawn; see lm.sampling.nucleus."""
    ordered, order = scaled.sort(dim=1, descending=True, stable=True)
    weights = ordered.double().exp()
    reached = torch.tensor(top_p, dtype=torch.float64, device=scaled.device)[:, None]
    inside = (weights.cumsum(1) - weights < reached * weights.sum(1, keepdim=True)) | (reached == 1)
    inside[:, 0] = True
    return torch.zeros_like(inside).scatter(1, order, inside)


def gumbel(seeds: Tensor, vocabulary: int) -> Tensor:
    """Standard Gumbel noise, float64 [n, vocabulary]; seeds: seed and step, int64 [n, 2]; see lm.sampling."""
    start = _mix(_mix(seeds[:, :1]) + seeds[:, 1:])
    tokens = torch.arange(1, vocabulary + 1, device=seeds.device) * _STRIDE
    bits = _shifted(_mix(start + tokens), 32)
    return -(-((bits.double() + 0.5) / 2**32).log()).log()


def uniform(seeds: Tensor, step: Tensor) -> Tensor:
    """A number between 0 and 1 of each seed int64 [n, 1] at a step int64 [1]: float32 [n, 1], never either
    end, nor so near to 1 that its product with a total is that total.
    """
    bits = _shifted(_mix(_mix(seeds) + step), 41)
    return (bits.float() + 0.5) / 2**23


def _mix(x: Tensor) -> Tensor:
    x = (x ^ _shifted(x, 30)) * _MIX
    x = (x ^ _shifted(x, 27)) * _REMIX
    return x ^ _shifted(x, 31)


def _shifted(x: Tensor, places: int) -> Tensor:
    """x >> places, as of an unsigned integer."""
    return (x >> places) & ((1 << (64 - places)) - 1)
