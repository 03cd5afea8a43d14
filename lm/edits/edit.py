"""Edits of the residual stream: the smallest push that moves affine read-outs to their goals."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from lm.edits.push import Operands, apply
from lm.edits.solver import Program
from lm.edits.trace import MAX_TARGETS

MAX_PUSH = 10.0
"""Longest push for several targets without a cap, as a share of |e|. Directions that are all but parallel
need longer ones where their goals are opposed, and e would be lost in them: such goals count as out of reach.
"""


@dataclass(frozen=True, eq=False)
class Edit:
    """What is applied to one row's residual stream e after layer `layer`.

    Read-outs are z_i = read_i . e + bias_i. With sense +1 the goal is z_i >= goal_i, with -1 z_i <= goal_i,
    with 0 the read-out is traced only. Of all pushes sum_j eps_j push_j that reach every goal the one with
    the least sum |eps_j| is added to e: none where the goals hold already, (goal - z) / (read . push) for
    one target, the optimum of a linear program for several. Nothing is added where the program has no
    solution, or only one beyond MAX_PUSH.

    Attributes
    ----------
    layer : number of the layer whose output is edited, from 0
    read, push : [k, width], 1 <= k <= MAX_TARGETS
    bias, goal, sense : [k]
    fixed : [k] or None, strengths eps that are always applied, whatever the read-outs say
    cap : longest push as a share of |e|, or None
    answer_only : spares the prompt but for its last token, which predicts the first token of the answer
    start : positions at the beginning that are spared: the chat template, and the first token, an attention sink
    """

    layer: int
    read: Tensor
    bias: Tensor
    push: Tensor
    goal: Tensor
    sense: Tensor
    fixed: Tensor | None = None
    cap: float | None = None
    answer_only: bool = False
    start: int = 0

    def __post_init__(self) -> None:
        k = self.read.shape[0]
        if not 1 <= k <= MAX_TARGETS:
            raise ValueError(f"Read has {k} rows: give 1 to {MAX_TARGETS}, one for each target.")
        numbers = {"bias": self.bias, "goal": self.goal, "sense": self.sense, "fixed": self.fixed}
        for name, value in numbers.items():
            if value is not None and value.shape != (k,):
                raise ValueError(
                    f"{name.capitalize()} has shape {tuple(value.shape)}: "
                    f"give ({k},), one number for each target."
                )
        if self.push.shape != self.read.shape:
            raise ValueError(
                f"Push has shape {tuple(self.push.shape)}: give read's, {tuple(self.read.shape)}."
            )
        if self.cap is not None and not self.cap > 0:
            raise ValueError(f"Cap is {self.cap}: give a positive share of |e|, or None.")
        for name, value in {"read": self.read, "push": self.push, **numbers}.items():
            if value is not None and not torch.isfinite(value).all():
                raise ValueError(f"{name.capitalize()} has values that are not finite: give finite numbers.")

    @cached_property
    def gram(self) -> Tensor:
        """float64 [k, k]: how much a unit of push_j moves read-out i."""
        return self.read.double() @ self.push.double().T

    @cached_property
    def program(self) -> Program:
        """The strengths as a function of the read-outs, solved as far as it depends on the edit alone."""
        return Program.of(self.read, self.push, self.goal, self.sense)

    def first(self, answer_from: int) -> int:
        """The first position that may be pushed, in a row whose last prompt token stands at `answer_from`."""
        return answer_from if self.answer_only else min(self.start, answer_from)

    @cached_property
    def reads_only(self) -> bool:
        """Whether it traces and never pushes."""
        return not (self.sense if self.fixed is None else self.fixed).any()

    @property
    def max_push(self) -> float:
        """Longest push as a share of |e| that counts as a solution."""
        return MAX_PUSH if self.fixed is None and self.cap is None and len(self.read) > 1 else torch.inf

    def strengths(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """eps [n, k] for read-outs z [n, k], before any cap, and whether every goal can be reached [n]."""
        if self.fixed is not None:
            return self.fixed.to(z).expand_as(z), torch.ones(len(z), dtype=torch.bool, device=z.device)
        eps, solved = self.program.to(z.device).strengths(z.double())
        return eps.to(z), solved

    def operands(self, device: torch.device) -> Operands:
        """The edit as lm.edits.push.apply takes it, for one row; kept for each device."""
        if device not in self._operands:
            fixed = torch.zeros(len(self.read)) if self.fixed is None else self.fixed
            self._operands[device] = Operands(
                read=self.read.detach()[None].to(device, torch.float32),
                push=self.push.detach()[None].to(device, torch.float32),
                bias=self.bias.detach()[None, None].to(device, torch.float32),
                fixed=fixed.detach()[None, None].to(device, torch.float32),
                is_fixed=torch.tensor([[self.fixed is not None]], device=device),
                cap=torch.tensor([[self.cap or torch.inf]], device=device),
                max_push=torch.tensor([[self.max_push]], device=device),
                program=Program(*(part[None, None].to(device) for part in self.program)),
            )
        return self._operands[device]

    @cached_property
    def _operands(self) -> dict[torch.device, Operands]:
        return {}

    def apply(self, x: Tensor, active: Tensor) -> tuple[Tensor, Tensor]:
        """lm.edits.push.apply for the positions of one row: x [positions, width], active [positions]."""
        x, trace = apply(x[None], active[None], self.operands(x.device))
        return x[0], trace[0]
