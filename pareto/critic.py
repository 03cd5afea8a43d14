"""PPO's value heads, one an objective: linear in the state that predicts a token,
and learned beside the policy.
"""

import torch
from torch import Tensor

from pareto import objectives
from pareto.rollout import Rollout

LR = 1e-2
MOMENTS = ("step", "exp_avg", "exp_avg_sq")


class Critic:
    """Value heads with their optimizer. weights: [m, width + 1], the last column a constant."""

    def __init__(self, objectives: int, width: int):
        self.weights = torch.nn.Parameter(torch.zeros(objectives, width + 1))
        self._optimizer = torch.optim.Adam([self.weights], lr=LR)
        self._returns = torch.empty(0)

    def values(self, batch: Rollout) -> Tensor:
        """What the heads expect from each token on [m, n, t]."""
        states = batch.hidden.gather(1, batch.where[..., None].expand(-1, -1, batch.hidden.shape[2]))
        states = torch.nn.functional.normalize(states, dim=-1) * states.shape[-1] ** 0.5
        return torch.einsum("ntw,mw->mnt", torch.nn.functional.pad(states, (0, 1), value=1.0), self.weights)

    def advantages(self, batch: Rollout, rewards: Tensor, gae_lambda: float) -> Tensor:
        """Generalised advantages of rewards a token [m, n, t], whose returns the heads learn next."""
        values = self.values(batch).detach()
        advantages = objectives.gae(rewards, values, batch.mask, 1.0, gae_lambda)
        self._returns = advantages + values
        return advantages

    def gradient(self, batch: Rollout, tokens: float) -> Tensor:
        """Of the squared error over all tokens, of which a batch may be a part: like weights."""
        error = ((self.values(batch) - self._returns) * batch.mask).pow(2).sum() / tokens
        return torch.autograd.grad(error, self.weights)[0]

    def step(self, gradient: Tensor) -> None:
        """One step of Adam down a gradient."""
        self.weights.grad = gradient.to(self.weights)
        self._optimizer.step()

    def state(self) -> dict[str, Tensor]:
        """What `resume` takes."""
        moments = self._optimizer.state[self.weights]
        return {"critic": self.weights, **{f"critic.{key}": moments[key] for key in MOMENTS}}

    def resume(self, tensors: dict[str, Tensor]) -> None:
        """Goes on from a state."""
        self.weights.data.copy_(tensors["critic"])
        self._optimizer.state[self.weights] = {key: tensors[f"critic.{key}"] for key in MOMENTS}
