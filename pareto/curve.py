"""Continuous preferences: one training whose adapter is a function of the preference.

The adapter's inner halves are shared, and its outer ones are affine in the preference: b(w) = sum_k w_k b_k.
So the change of a matrix, b(w) a, is the same mix of the ends' changes: each end is an ordinary checkpoint, a
mix of them at w (`first+second@w`, the page's slider) is exactly the policy that was trained at w, and no
step lies between moving the slider and the text. Each step answers at several preferences, takes the method's
own direction at each, and follows the chain rule to the ends.
"""

import numpy as np
import torch
from torch import Tensor

from common.jsons import JsonObject
from pareto import checkpoint, combine
from pareto.combiners import COMBINERS
from pareto.train import Trainer


def places(count: int, objectives: int, seed: int, step: int) -> Tensor:
    """Preferences of a step [count, objectives]: for two objectives one in each of `count` equal parts of the
    line, else even over the simplex.
    """
    dice = np.random.default_rng([seed, step, 1])
    if objectives == 2:
        first = (np.arange(count) + dice.random(count)) / count
        return torch.tensor(np.stack([first, 1 - first], 1))
    return torch.tensor(dice.dirichlet(np.ones(objectives), count))


class CurveTrainer(Trainer):
    """A run whose policy depends on the preference. theta [m * n]: the parameters of the m ends."""

    def _start(self) -> Tensor:
        return super()._start().repeat(len(self.rewards))

    @property
    def weights(self) -> Tensor:
        """Preferences of this step [j, m]."""
        return places(self.settings.positions, len(self.rewards), self.settings.seed, self.step)

    @property
    def ends(self) -> Tensor:
        """Parameters of the policy that is for one objective alone [m, n]."""
        return self.theta.detach().view(len(self.rewards), -1)

    @property
    def policies(self) -> Tensor:
        """Parameters at this step's preferences [j, n]."""
        return self.weights.to(self.ends) @ self.ends

    def _direction(self, gradients: Tensor, signal: Tensor, rewards: Tensor) -> tuple[Tensor, JsonObject]:
        """Of gradients [j, m, n] at the preferences: the method's unit direction at each,
        carried to the ends.
        """
        newest = torch.stack([combine.gram(own) for own in gradients]).mean(0).cpu()
        evidence, weights = self._evidence(newest, signal), self.weights
        chosen = torch.stack([COMBINERS[self.settings.method].coefficients(evidence, w) for w in weights])
        directions = torch.einsum("jm,jmn->jn", chosen.to(gradients), gradients)
        directions = torch.nn.functional.normalize(directions, dim=1)
        outer = weights.to(directions).T @ directions
        inner = directions.sum(0).expand_as(outer)
        moved = torch.where(self.shape.inner().to(outer.device), inner, outer)
        row = combine.summary(newest, evidence.gram, chosen.mean(0))
        return moved.flatten(), row | {"preferences": weights.tolist()}

    def _save(self) -> None:
        """A checkpoint an objective, below the folder."""
        for k, (name, theta) in enumerate(zip(self.rewards, self.ends.cpu(), strict=True)):
            alone = [float(k == other) for other in range(len(self.rewards))]
            card = self.card | {
                "name": f"{name} end of {self.card['name']}",
                "preference": alone,
                "steps": self.step,
            }
            checkpoint.save(self.folder / name, self.shape.adapter(theta), card, self.curves)

    def _finished(self) -> tuple[JsonObject, list[JsonObject]] | None:
        halves = [checkpoint.finished(self.folder / name) for name in self.rewards]
        first = halves[0]
        if first is None or not all(halves):
            return None
        return first[0] | {key: self.card[key] for key in ("name", "preference")}, first[1]
