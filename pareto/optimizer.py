"""Steps of a set length along the combined direction, and averages over steps of what the combination sees.

Adam divides every parameter's step by its own second moment after the objectives are combined, so that what
is applied has a cosine of .3 with what was combined. Here the length of a step is set and its direction is
the method's, but for the momentum.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Ascent:
    """Normalised gradient ascent: each step has the length that is asked for, along an exponential average of
    unit directions.

    momentum: the average's decay; directions that have nothing to do with each other leave a cosine of
    sqrt(1 - momentum^2) between the step and the newest direction. average: of the directions so far [n].
    """

    momentum: float
    average: Tensor

    def step(self, direction: Tensor, length: float) -> tuple[Tensor, float]:
        """The step [n] for a direction [n] (maximized), and the cosine between the two; none where the
        direction vanishes.
        """
        unit = torch.nn.functional.normalize(direction, dim=0)
        if not unit.any():
            return torch.zeros_like(unit), 0.0
        self.average = self.momentum * self.average + unit
        applied = torch.nn.functional.normalize(self.average, dim=0)
        return length * applied, float(applied @ unit)


@dataclass
class MovingGram:
    """Exponential average over steps of the Gram matrix [m, m], corrected for its start at zero.

    memory: its decay; 0 gives the newest matrix. A norm or cosine that is read from one batch is mostly
    noise. An average of positive semidefinite matrices is one.
    """

    memory: float
    total: Tensor
    weight: float = 0.0

    def add(self, gram: Tensor) -> Tensor:
        """The average with one more matrix."""
        self.total = self.memory * self.total + gram
        self.weight = self.memory * self.weight + 1
        return self.total / self.weight


def slow(beta: float, kl: float, target: float, start: float) -> float:
    """The KL weight of the next step: at most 5 % off the last one, and from a quarter to four times where it
    started, so that it cannot outrun the policy; unchanged where there is no target (0).
    """
    if not target:
        return beta
    factor = min(max(kl / target, 1 / 1.05), 1.05)
    return min(max(beta * factor, start / 4), start * 4)
