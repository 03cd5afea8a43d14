"""A Python function as a reward."""

import importlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pareto.pairs import Prompt
from pareto.reward import RewardError, checked


@dataclass(frozen=True)
class FunctionReward:
    """A Python function (prompt, answer) -> number."""

    function: Callable[[Prompt, str], float]

    @classmethod
    def named(cls, spec: str) -> "FunctionReward":
        """The function module:name. Raises RewardError where there is none."""
        module, _, name = spec.partition(":")
        try:
            function = getattr(importlib.import_module(module), name)
        except Exception as error:  # whatever a module of the user's does while it is imported
            raise RewardError(
                f"Reward {spec} cannot be imported ({type(error).__name__}: {error}): "
                "give --reward module:name of a function that Python finds from here."
            ) from None
        if not callable(function) or not _takes_two(function):
            raise RewardError(
                f"Reward {spec} is no function of (prompt, answer): give --reward one that returns a number."
            )
        return cls(function)

    @property
    def identity(self) -> str:
        """module:name, as --reward takes it."""
        return f"{self.function.__module__}:{self.function.__qualname__}"

    def score(self, prompts: Sequence[Prompt], answers: Sequence[str]) -> Tensor:
        """What the function says, float32 [n]. Raises RewardError where it fails or gives no number."""
        values = [self._value(prompt, answer) for prompt, answer in zip(prompts, answers, strict=True)]
        return checked(torch.tensor(values), self.identity)

    def _value(self, prompt: Prompt, answer: str) -> float:
        try:
            return float(self.function(prompt, answer))
        except Exception as error:  # of whatever the function does
            raise RewardError(
                f"Reward {self.identity} fails on {answer[:40]!r} ({type(error).__name__}: {error}): make it give a number."
            ) from error


def _takes_two(value: Callable[..., object]) -> bool:
    try:
        inspect.signature(value).bind("prompt", "answer")
    except TypeError:
        return False
    except ValueError:  # a built-in that does not tell its parameters
        return True
    return True
