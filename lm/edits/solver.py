"""The strengths of an edit: a small linear program whose vertices are known before any read-out is."""

from itertools import combinations
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

SLACK = 1e-4
"""How far from its goal a read-out may end, as a share of 1 + |goal|."""
MIN_SINGULAR = 1e-12
"""Least singular value of the cosines of targets and directions; below it no strengths tell them apart."""


class Program(NamedTuple):
    """argmin sum_j |eps_j| subject to sense_i (z_i + sum_j gram_ij eps_j - goal_i) >= 0 for every i, as a
    function of z.

    The optimum lies at a vertex, where as many constraints are tight as strengths differ from zero, so that
    eps = vertices[v] @ (goal - z) for one of at most 19 matrices (three targets), in float64. All fields may
    have further dimensions in front, one program each.

    Attributes
    ----------
    goal, sense : [k]
    slack : [k], how far from its goal a read-out may end
    gram : [k, k], how much a unit of strength j moves read-out i
    vertices : [v, k, k]; one that is not a number reaches no goal
    """

    goal: Tensor
    sense: Tensor
    slack: Tensor
    gram: Tensor
    vertices: Tensor

    @classmethod
    def of(cls, read: Tensor, push: Tensor, goal: Tensor, sense: Tensor) -> "Program":
        """The program of read-outs and directions [k, width]."""
        read, push, goal, sense = (part.detach().cpu().double() for part in (read, push, goal, sense))
        gram, sizes = read @ push.T, read.norm(dim=1)[:, None] * push.norm(dim=1)
        cosines = gram / torch.where(sizes > 0, sizes, 1.0)
        vertices = _vertices(gram.numpy(), cosines.numpy(), np.flatnonzero(sense.numpy()))
        return cls(goal, sense, SLACK * (1 + goal.abs()), gram, torch.from_numpy(vertices))

    def to(self, device: torch.device) -> "Program":
        """The same on a device."""
        return Program(*(part.to(device) for part in self))

    def strengths(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """eps [..., k] of read-outs z [..., k], float64, and whether every goal can be reached [...].

        Everything is computed on the device, so a CUDA graph can capture it; what has one part is not reduced,
        since each call is a kernel of a GPU.
        """
        gap = self.goal - z
        met = _all(~(self.sense * gap > 0))
        if not self.vertices.shape[-3]:
            return torch.zeros_like(z), met
        trials = _sum(self.vertices * gap[..., None, None, :])
        short = gap[..., None, :] - _sum(self.gram[..., None, :, :] * trials[..., None, :])
        sense, slack = self.sense[..., None, :], self.slack[..., None, :]
        reached = _all((sense * short <= slack) | (sense == 0))
        costs = torch.where(reached, _sum(trials.abs()), torch.inf)
        if costs.shape[-1] == 1:
            cost, eps = costs.squeeze(-1), trials.squeeze(-2)
        else:
            cost, best = costs.min(-1)
            eps = trials.gather(-2, best[..., None, None].expand(*best.shape, 1, z.shape[-1])).squeeze(-2)
        solved = cost.isfinite()
        return torch.where((solved & ~met)[..., None], eps, 0.0), solved | met


def _sum(x: Tensor) -> Tensor:
    return x.squeeze(-1) if x.shape[-1] == 1 else x.sum(-1)


def _all(x: Tensor) -> Tensor:
    return x.squeeze(-1) if x.shape[-1] == 1 else x.all(-1)


def _vertices(gram: np.ndarray, cosines: np.ndarray, free: np.ndarray) -> np.ndarray:
    """[v, k, k]: eps = vertex @ (goal - z) for each choice of tight constraints and of strengths in use, both
    among the `free` targets, that is not singular.
    """
    k, parts = len(gram), [np.zeros((0, len(gram), len(gram)))]
    for size in range(1, len(free) + 1):
        chosen = list(combinations(free, size))
        tight = np.array([t for t in chosen for _ in chosen])
        used = np.array([u for _ in chosen for u in chosen])
        rows, columns = tight[:, :, None], used[:, None, :]
        regular = np.linalg.svd(cosines[rows, columns], compute_uv=False)[:, -1] > MIN_SINGULAR
        part = np.zeros((regular.sum(), k, k))
        inverses = np.linalg.inv(gram[rows, columns][regular])
        part[np.arange(len(part))[:, None, None], used[regular][:, :, None], tight[regular][:, None, :]] = (
            inverses
        )
        parts.append(part)
    return np.concatenate(parts)
