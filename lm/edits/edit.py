"""Edits of the residual stream: the smallest write that moves affine read-outs to their goals."""

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

MAX_TARGETS = 4
TRACE = 2 * MAX_TARGETS + 2
"""Numbers a trace holds: z before (4), eps (4), |e|, flag (0 met, 1 capped, 2 no solution)."""
MOST_PUSH = 10.0
"""Longest write for several targets without a cap, in |e|. Directions that are all but parallel need longer
ones where their goals are opposed, and e would be lost in them: such goals count as out of reach.
"""

SLACK = 1e-4
"""How far from its goal a read-out may stay, as a share of 1 + |goal|, where a linear program is solved."""


@dataclass(frozen=True, eq=False)
class Edit:
    """What is applied to one row's residual stream e after block `layer`.

    Read-outs are z_i = read_i . e + bias_i. With sense +1 the goal is z_i >= goal_i, with -1 z_i <= goal_i,
    with 0 the read-out is traced only. The write e + sum_j eps_j write_j has the least sum |eps_j| that
    reaches all goals: zero where they hold already, (goal - z) / (read . write) for one target, a linear
    program for several, solved in float64. Nothing is written where it has no solution, or only one beyond
    MOST_PUSH.

    read, write: [k, width], bias, goal, sense, fixed: [k], k <= 4. fixed: strengths eps to be written always,
    whatever the read-outs say. cap: largest |write| as a share of |e|. answer_only: leave the prompt alone
    but for its last token, which predicts the first token of the answer. start: positions at the beginning that
    are left alone (the chat template, and the first token, an attention sink).
    """

    layer: int
    read: Tensor
    bias: Tensor
    write: Tensor
    goal: Tensor
    sense: Tensor
    fixed: Tensor | None = None
    cap: float | None = None
    answer_only: bool = False
    start: int = 0

    def __post_init__(self) -> None:
        k = self.read.shape[0]
        if not 1 <= k <= MAX_TARGETS:
            raise ValueError(f"read has {k} rows: an edit takes 1 to {MAX_TARGETS} targets")
        for name in ("bias", "goal", "sense", *(["fixed"] if self.fixed is not None else [])):
            if getattr(self, name).shape != (k,):
                raise ValueError(
                    f"{name} has shape {tuple(getattr(self, name).shape)}: expected ({k},), one number a target"
                )
        if self.write.shape != self.read.shape:
            raise ValueError(
                f"write has shape {tuple(self.write.shape)}: expected read's, {tuple(self.read.shape)}"
            )
        if self.cap is not None and not self.cap > 0:
            raise ValueError(f"cap is {self.cap}: give a positive share of |e|, or None")
        values = [self.read, self.bias, self.write, self.goal] + (
            [self.fixed] if self.fixed is not None else []
        )
        if not all(torch.isfinite(value).all() for value in values):
            raise ValueError("an edit has values that are not finite")

    @cached_property
    def gram(self) -> Tensor:
        """float64 [k, k]: how much a unit of write_j moves read-out i."""
        return self.read.double() @ self.write.double().T

    def first(self, answer_from: int) -> int:
        """The first position that may be written, in a row whose last prompt token stands at `answer_from`."""
        return answer_from if self.answer_only else min(self.start, answer_from)

    @cached_property
    def reads_only(self) -> bool:
        """Whether it traces and never writes."""
        return self.fixed is None and not self.sense.any()

    def strengths(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """eps [n, k] for read-outs z [n, k], and whether a solution exists [n]."""
        if self.fixed is not None:
            return self.fixed.to(z).expand_as(z), torch.ones(len(z), dtype=torch.bool, device=z.device)
        eps, solved = least_write(
            z.double(), *(part.to(z.device, torch.float64) for part in (self.gram, self.goal, self.sense))
        )
        return eps.to(z), solved

    def apply(self, e: Tensor, active: Tensor) -> tuple[Tensor, Tensor]:
        """e' [n, width] and traces [n, TRACE] of positions e [n, width]; only rows where `active` [n] are
        written.
        """
        e32 = e.float()
        z = e32 @ self.read.to(e32).T + self.bias.to(e32)
        eps, solved = self.strengths(z)
        norm, size = e32.norm(dim=1), (eps @ self.write.to(e32)).norm(dim=1)
        if self.fixed is None and self.cap is None and len(self.read) > 1:
            solved &= size <= MOST_PUSH * norm
        eps = torch.where((active & solved)[:, None], eps, 0.0)
        limit = norm * self.cap if self.cap is not None else torch.full_like(norm, torch.inf)
        capped = active & solved & (size > limit)
        eps = eps * torch.where(capped, limit / size, 1.0)[:, None]
        trace = e32.new_zeros(len(e), TRACE)
        trace[:, : z.shape[1]] = z
        trace[:, MAX_TARGETS : MAX_TARGETS + z.shape[1]] = eps
        trace[:, -2] = norm
        trace[:, -1] = torch.where(active & ~solved, 2, capped.int())
        written = (eps != 0).any(1)
        return torch.where(written[:, None], (e32 + eps @ self.write.to(e32)).to(e.dtype), e), trace


def least_write(z: Tensor, gram: Tensor, goal: Tensor, sense: Tensor) -> tuple[Tensor, Tensor]:
    """argmin sum_j |eps_j| s.t. sense_i (z_i + sum_j gram_ij eps_j - goal_i) >= 0, for every row of z [n, k].

    A linear program whose optimum lies at a vertex, where as many constraints are tight as strengths differ
    from zero: all vertices are tried. Returns eps [n, k] and whether the row is feasible [n].
    """
    free = [i for i, s in enumerate(sense.tolist()) if s]
    eps = torch.zeros_like(z)
    best = torch.where(((z - goal) * sense >= 0).all(1), 0.0, torch.inf)
    slack = SLACK * (1 + goal.abs())
    for size in range(1, len(free) + 1):
        for tight in combinations(free, size):
            for used in combinations(free, size):
                square = gram[list(tight)][:, list(used)]
                solution, info = torch.linalg.solve_ex(
                    square.expand(len(z), -1, -1), (goal - z)[:, list(tight)]
                )
                trial = torch.zeros_like(z)
                trial[:, list(used)] = solution
                ok = (info == 0) & torch.isfinite(solution).all(1)
                ok &= ((z + trial @ gram.T - goal) * sense >= -slack)[:, free].all(1)
                cost = trial.abs().sum(1)
                better = ok & (cost < best)
                eps, best = torch.where(better[:, None], trial, eps), torch.where(better, cost, best)
    return eps, torch.isfinite(best)


@dataclass(frozen=True)
class Trace:
    """What one edit read and wrote at one position: z_i before, eps_i, |e|; `flag` is 1 where the cap held it
    back.
    """

    before: tuple[float, ...]
    eps: tuple[float, ...]
    norm: float
    flag: int


def traces(rows: np.ndarray) -> tuple[Trace, ...]:
    """Trace objects of an array [edits, TRACE]."""
    return tuple(
        Trace(tuple(row[:MAX_TARGETS]), tuple(row[MAX_TARGETS : 2 * MAX_TARGETS]), row[-2], int(row[-1]))
        for row in rows.tolist()
    )
