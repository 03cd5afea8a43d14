"""Applies edits to positions of rows, in PyTorch: one rule for every engine but the native one."""

from typing import NamedTuple

import torch
from torch import Tensor

from lm.edits.solver import Program
from lm.edits.trace import CAPPED, MAX_TARGETS, UNREACHABLE


class Operands(NamedTuple):
    """The edits of n rows, one each, of k targets; see lm.edits.edit.Edit.

    Attributes
    ----------
    read, push : float32 [n, k, width]
    bias, fixed : float32 [n, 1, k]
    is_fixed : bool [n, 1]
    cap, max_push : float32 [n, 1], shares of |e|; infinite where there is none
    program : of [n, 1] programs
    """

    read: Tensor
    push: Tensor
    bias: Tensor
    fixed: Tensor
    is_fixed: Tensor
    cap: Tensor
    max_push: Tensor
    program: Program

    def rows(self, at: int, count: int) -> "Operands":
        """Those of `count` rows from row `at`."""
        program = Program(*(part.narrow(0, at, count) for part in self.program))
        own = {name: part.narrow(0, at, count) for name, part in self._asdict().items() if name != "program"}
        return Operands(**own, program=program)


def apply(x: Tensor, active: Tensor, edits: Operands) -> tuple[Tensor, Tensor]:
    """The residual stream after its edits, and what they did.

    Parameters
    ----------
    x : [n, positions, width]
    active : bool [n, positions], where an edit may push; it reads everywhere
    edits : of n rows, or of one that serves all

    Returns
    -------
    x after the edits, bit for bit the same where nothing is pushed, and float32 [n, positions, TRACE_SIZE]
    for lm.edits.trace.records. Nothing waits for the CPU, so a CUDA graph can capture it.
    """
    e = x.float()
    z = e @ edits.read.mT + edits.bias
    eps, solved = edits.program.strengths(z.double())
    eps, solved = torch.where(edits.is_fixed[..., None], edits.fixed, eps.float()), edits.is_fixed | solved
    norm, size = e.norm(dim=-1), (eps @ edits.push).norm(dim=-1)
    solved = solved & ~(size > edits.max_push * norm)
    eps = torch.where((active & solved)[..., None], eps, 0.0)
    limit = edits.cap * norm
    capped = active & solved & (size > limit)
    eps = eps * torch.where(capped, limit / size, 1.0)[..., None]
    outcome = torch.where(active & ~solved, UNREACHABLE, torch.where(capped, CAPPED, 0)).float()
    none = z.new_zeros(*z.shape[:-1], MAX_TARGETS - z.shape[-1])
    trace = torch.cat([z, none, eps, none, norm[..., None], outcome[..., None]], -1)
    return torch.where((eps != 0).any(-1, keepdim=True), (e + eps @ edits.push).to(x.dtype), x), trace
