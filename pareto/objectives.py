"""What each objective wants of a batch: the weight of every row's, or every token's, log-probability.

The gradient of an objective is sum_i w_i grad log pi(y_i | x_i). Where the weights are one a row (RLOO, DPO),
all objectives share one backward pass, since a row's gradient is the same for each of them; PPO weighs
tokens, and takes one pass an objective. Rows of a group (answers to one prompt) are neighbours: [n] is
[prompts * group].
"""

import torch
from torch import Tensor


def leave_one_out(rewards: Tensor, group: int) -> Tensor:
    """Each reward minus the mean of the others of its group: advantages like rewards [..., n]. RLOO (arXiv
    2402.14740).
    """
    grouped = torch.unflatten(rewards, -1, (-1, group))
    return ((grouped - grouped.mean(-1, keepdim=True)) * (group / (group - 1))).flatten(-2)


def rloo(rewards: Tensor, kl: Tensor, group: int, beta: float) -> Tensor:
    """Row weights [m, n] of REINFORCE with a leave-one-out baseline.

    rewards: [m, n]; kl: log pi / pi_ref of each row [n], taken off every objective's reward (beta 0: none).
    """
    return leave_one_out(rewards - beta * kl, group) / rewards.shape[-1]


def dpo(rewards: Tensor, logps: Tensor, reference: Tensor, group: int, beta: float) -> Tensor:
    """Row weights [m, n] of DPO (arXiv 2305.18290) on each group's best and worst answer by each objective's
    reward.

    logps, reference: [n] under the policy and the base model. A group of equal rewards has no pair, and
    weight zero.
    """
    grouped = torch.unflatten(rewards, -1, (-1, group))
    ratio = torch.unflatten(logps - reference, -1, (-1, group)).expand(len(rewards), -1, -1)
    best, worst = grouped.argmax(-1, keepdim=True), grouped.argmin(-1, keepdim=True)
    margin = beta * (ratio.gather(-1, best) - ratio.gather(-1, worst))
    pull = beta * torch.sigmoid(-margin) * (grouped.amax(-1, keepdim=True) > grouped.amin(-1, keepdim=True))
    weights = torch.zeros_like(grouped).scatter_add(-1, best, pull).scatter_add(-1, worst, -pull)
    return weights.flatten(-2) / grouped.shape[1]


def gae(rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float) -> Tensor:
    """Generalised advantages (arXiv 1506.02438) [m, n, t] of per-token rewards and values [m, n, t]; mask [n,
    t]: real tokens.
    """
    following = torch.cat([values[..., 1:] * mask[:, 1:], torch.zeros_like(values[..., :1])], -1)
    delta = (rewards + gamma * following - values) * mask
    advantages = torch.zeros_like(values)
    running = torch.zeros_like(values[..., 0])
    for t in reversed(range(values.shape[-1])):
        running = delta[..., t] + gamma * lam * running
        advantages[..., t] = running
    return advantages * mask


def ppo(logps: Tensor, old: Tensor, advantages: Tensor, mask: Tensor, clip: float) -> Tensor:
    """Token weights [m, n, t] of PPO's clipped surrogate (arXiv 1707.06347): its derivative by the
    log-probabilities.

    logps, old: [n, t]; advantages: [m, n, t]; mask: [n, t]. A token whose ratio has left [1 - clip, 1 + clip]
    in the direction of its advantage weighs nothing.
    """
    ratio = (logps - old).exp()
    left = torch.where(advantages > 0, ratio > 1 + clip, ratio < 1 - clip)
    return advantages * ratio * mask * ~left / mask.sum()
