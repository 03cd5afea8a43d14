"""What every reward is: something that scores answers."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from pareto.pairs import Prompt


class RewardError(ValueError):
    """A reward model that cannot be used, or that returned no valid reward."""


class Reward(Protocol):
    """Anything that scores answers. identity: tells it from other rewards, also in another process."""

    @property
    def identity(self) -> str: ...

    def score(self, prompts: Sequence[Prompt], answers: Sequence[str]) -> Tensor:
        """float32 [n], larger is better."""
        ...


def checked(rewards: Tensor, name: str) -> Tensor:
    """The rewards, unless one is no finite number: then RewardError."""
    if bad := int((~torch.isfinite(rewards)).sum()):
        raise RewardError(
            f"Reward {name} gave {bad} of {len(rewards)} values that are no finite numbers: check its weights and input."
        )
    return rewards
