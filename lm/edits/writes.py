"""Edits of rows that have one each, as one computation that never asks the CPU what to do."""

from itertools import combinations
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lm.edits.edit import MAX_TARGETS, MOST_PUSH, SLACK

COLUMNS = {
    "bias": MAX_TARGETS,
    "goal": MAX_TARGETS,
    "sense": MAX_TARGETS,
    "fixed": MAX_TARGETS,
    "gram": MAX_TARGETS**2,
    "is_fixed": 1,
    "cap": 1,
    "bounded": 1,
}
"""Numbers of an edit. cap: 0 where there is none; bounded: whether MOST_PUSH is its bound."""


class Vertices(NamedTuple):
    """Which constraints may be tight and which strengths used, in k targets: all v choices, as indices.

    cells: [v * k * k], of a system's cells in gram's, a zero and a one; tight: [v * k], of its right sides in
    the targets' and a zero; used: [v * k], likewise of its unknowns; back: [v, k], of each target's strength
    in the unknowns and a zero.
    """

    cells: Tensor
    tight: Tensor
    used: Tensor
    back: Tensor


def vertices(k: int, device: torch.device) -> Vertices:
    """The choices that lm.edits.edit.least_write tries, in its order. Systems of fewer than k unknowns have
    ones on the rest of the diagonal.
    """
    choices = [
        (t, u)
        for size in range(1, k + 1)
        for t in combinations(range(k), size)
        for u in combinations(range(k), size)
    ]
    cells, tight, used, back = [], [], [], []
    for t, u in choices:
        size = len(t)
        cells += [
            t[i] * k + u[j] if max(i, j) < size else k * k + (i == j) for i in range(k) for j in range(k)
        ]
        tight += [*t, *[k] * (k - size)]
        used += [*u, *[k] * (k - size)]
        back.append([u.index(j) if j in u else k for j in range(k)])
    return Vertices(*(torch.tensor(part, device=device) for part in (cells, tight, used, back)))


def write(
    x: Tensor, active: Tensor, places: Tensor, vectors: Tensor, numbers: Tensor, choices: Vertices | None
) -> tuple[Tensor, Tensor]:
    """Edit.apply for rows with an edit each: x [n, width] after it, and traces [n, lm.edits.edit.TRACE].

    active: bool [n]; places: int64 [n], in `vectors` and `numbers` of an EditTable, vectors cut to the most
    targets k that the rows' edits have; choices: vertices(k), None for k = 1.
    """
    read, push = vectors.index_select(0, places).unbind(1)
    k, active = read.shape[1], active.unsqueeze(1)
    *targets, gram, is_fixed, cap, bounded = numbers.index_select(0, places).split(list(COLUMNS.values()), 1)
    bias, goal, sense, fixed = (part.narrow(1, 0, k) for part in targets)
    gram = gram.unflatten(1, (MAX_TARGETS, MAX_TARGETS)).narrow(1, 0, k).narrow(2, 0, k)
    z = (read @ x.unsqueeze(2)).squeeze(2) + bias.float()
    eps, solved = least_writes(z.double(), gram, goal, sense, choices)
    eps, solved = torch.where(is_fixed > 0, fixed, eps).float(), (is_fixed > 0) | solved
    norm, size = x.norm(dim=1, keepdim=True), _sum(eps, push).norm(dim=1, keepdim=True)
    solved &= (bounded == 0) | (size <= MOST_PUSH * norm)
    eps = torch.where(active & solved, eps, 0.0)
    limit = norm * cap.float()
    capped = active & solved & (cap > 0) & (size > limit)
    eps = eps * torch.where(capped, limit / size, 1.0)
    flag = torch.where(active & ~solved, 2.0, capped.float())
    trace = torch.cat([F.pad(z, (0, MAX_TARGETS - k)), F.pad(eps, (0, MAX_TARGETS - k)), norm, flag], 1)
    return torch.where((eps != 0).any(1, keepdim=True), x + _sum(eps, push), x), trace


def _sum(eps: Tensor, push: Tensor) -> Tensor:
    """sum_j eps_j push_j [n, width] of eps [n, k], push [n, k, width]."""
    return (eps.unsqueeze(1) @ push).squeeze(1)


def least_writes(
    z: Tensor, gram: Tensor, goal: Tensor, sense: Tensor, choices: Vertices | None
) -> tuple[Tensor, Tensor]:
    """lm.edits.edit.least_write for rows with a program each, in float64: z, goal, sense [n, k], gram [n, k,
    k].

    Returns eps [n, k] and whether the row is feasible [n, 1].
    """
    free = sense != 0
    if choices is None:
        trial, allowed = ((goal - z) / gram.squeeze(2)).unsqueeze(1), free
    else:
        trial, allowed = _trials(z, gram, goal, sense, choices)
    after = z.unsqueeze(1) + trial @ gram.mT
    reached = (
        (after - goal.unsqueeze(1)) * sense.unsqueeze(1) >= -SLACK * (1 + goal.abs()).unsqueeze(1)
    ) | ~free.unsqueeze(1)
    cost = torch.where(allowed & torch.isfinite(trial).all(2) & reached.all(2), trial.abs().sum(2), torch.inf)
    best = cost.argmin(1, keepdim=True)
    found = cost.gather(1, best).isfinite()
    met = ((z - goal) * sense >= 0).all(1, keepdim=True)
    eps = trial.gather(1, best.unsqueeze(2).expand(-1, -1, z.shape[1])).squeeze(1)
    return torch.where(found & ~met, eps, 0.0), found | met


def _trials(z: Tensor, gram: Tensor, goal: Tensor, sense: Tensor, choices: Vertices) -> tuple[Tensor, Tensor]:
    """The strengths at all vertices [n, v, k], and whether they are vertices of the row's own targets [n, v]."""
    k = z.shape[1]
    cells = F.pad(F.pad(gram.flatten(1), (0, 1)), (0, 1), value=1.0)
    systems = cells.index_select(1, choices.cells).unflatten(1, (-1, k, k))
    right = F.pad(goal - z, (0, 1)).index_select(1, choices.tight).unflatten(1, (-1, k))
    own = F.pad(sense.abs(), (0, 1), value=1.0)
    allowed = (
        (own.index_select(1, choices.tight) * own.index_select(1, choices.used)).unflatten(1, (-1, k)) > 0
    ).all(2)
    return F.pad(_solve(systems, right), (0, 1)).gather(2, choices.back.expand(len(z), -1, -1)), allowed


def _solve(a: Tensor, b: Tensor) -> Tensor:
    """x [..., k] of a x = b, by elimination with partial pivoting, which a graph can hold; not finite where a
    is singular.
    """
    k = b.shape[-1]
    rows = torch.arange(k, device=a.device)
    m = torch.cat([a, b.unsqueeze(-1)], -1)
    for i in range(k):
        top, here = m.narrow(-2, i, 1), (rows == i).unsqueeze(1)
        best = m.select(-1, i).abs().masked_fill(rows < i, -1.0).argmax(-1, keepdim=True)
        pivot = m.gather(-2, best.unsqueeze(-1).expand(*best.shape, k + 1))
        m = torch.where((rows == best).unsqueeze(-1), top, m)
        m = torch.where(here, pivot, m - m.narrow(-1, i, 1) / pivot.narrow(-1, i, 1) * pivot)
    return m.select(-1, k) / m.diagonal(dim1=-2, dim2=-1)
