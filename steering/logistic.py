"""Many small logistic regressions at once, exactly, through their Gram matrices."""

import torch
from torch import Tensor

MAX_STEPS = 60


def fit(gram: Tensor, labels: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
    """Minimizes, a problem, the sum of log losses + penalty/2 |w|^2 over w = sum_i alpha_i x_i and a free
    intercept.

    gram: float64 [..., n, n] of the examples x; labels: 0 or 1 [..., n]. Returns alpha [..., n] and the
    intercept [...]. Newton's method: each step is a weighted least-squares problem, solved in the n examples
    instead of the width.
    """
    shape = torch.broadcast_shapes(gram.shape[:-1], labels.shape)
    labels = labels.to(gram).expand(shape)
    alpha, bias = gram.new_zeros(shape), gram.new_zeros(shape[:-1])
    ones = torch.ones_like(alpha)
    value = _loss(gram, labels, alpha, bias, penalty)
    for _ in range(MAX_STEPS):
        z = _times(gram, alpha) + bias[..., None]
        p = z.sigmoid()
        weight = (p * (1 - p)).clamp_min(1e-9)
        system = gram + torch.diag_embed(penalty / weight)
        target = z + (labels - p) / weight
        solved = torch.cholesky_solve(torch.stack([target, ones], -1), torch.linalg.cholesky(system))
        new_bias = solved[..., 0].sum(-1) / solved[..., 1].sum(-1)
        step = solved[..., 0] - new_bias[..., None] * solved[..., 1] - alpha
        turn = new_bias - bias
        size = torch.ones_like(bias)
        for _ in range(30):
            trial = _loss(gram, labels, alpha + size[..., None] * step, bias + size * turn, penalty)
            worse = trial > value + 1e-9
            if not worse.any():
                break
            size = torch.where(worse, size / 2, size)
        alpha, bias = alpha + size[..., None] * step, bias + size * turn
        gain, value = value - trial, trial
        if gain.max() < 1e-6:
            break
    return alpha, bias


def _times(gram: Tensor, alpha: Tensor) -> Tensor:
    return (gram @ alpha[..., None])[..., 0]


def _loss(gram: Tensor, labels: Tensor, alpha: Tensor, bias: Tensor, penalty: float) -> Tensor:
    inner = _times(gram, alpha)
    z = inner + bias[..., None]
    log_loss = torch.nn.functional.softplus(z) - labels * z
    return log_loss.sum(-1) + penalty / 2 * (alpha * inner).sum(-1)
