"""Settings of a training run, with their bounds."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from common.bounds import MAX_SEED
from pareto import combine
from pareto.combiners import COMBINERS
from pareto.rewards import OBJECTIVES

ALGORITHMS = ("rloo", "ppo", "dpo")
CHOICES: dict[str, Collection[str]] = {
    "method": COMBINERS,
    "algorithm": ALGORITHMS,
    "kl": ("inside", "outside"),
    "gradients": ("full", "last"),
}
BOUNDS: dict[str, tuple[float, float]] = {
    "p": (0, 4),
    "steps": (1, 100_000),
    "prompts": (1, 4096),
    "group": (2, 256),
    "max_new_tokens": (2, 2048),
    "temperature": (0.05, 10),
    "rank": (1, 256),
    "first": (1, 1000),
    "lr": (1e-8, 1),
    "momentum": (0, 0.99),
    "memory": (0, 0.99),
    "warmup": (1, 100_000),
    "beta": (0, 100),
    "kl_target": (0, 1000),
    "guard": (0, 100),
    "clip": (1e-6, 1),
    "gae_lambda": (0, 1),
    "epochs": (1, 16),
    "rows_at_once": (1, 4096),
    "positions": (0, 64),
    "seed": (0, MAX_SEED),
}
"""Least and most of every number; the command line reads them too."""


def ordered(objectives: Sequence[str]) -> list[str]:
    """Objectives in the order of a preference: helpful, harmless, then the others as they are given."""
    return sorted(
        objectives, key=lambda name: OBJECTIVES.index(name) if name in OBJECTIVES else len(OBJECTIVES)
    )


class SettingsError(ValueError):
    """A setting that cannot be trained with."""


@dataclass(frozen=True)
class Settings:
    """One training run.

    Parameters
    ----------
    method, p
        combiner (see `pareto.combiners`), and GAPO's exponent.
    preference
        a weight an objective, in the order of `ordered`; None where the method takes none.
    prompts, group
        prompts of a step, and answers to each.
    rank, first
        of the adapter, and the lowest block that it changes (None: the block above the reward heads').
    lr
        root mean square of a step's changes, the same for every method; it rises over `warmup` steps, and
        falls to 0 in a line.
    momentum, memory
        decays of the direction's average, and of that of the Gram matrix from which norms and cosines are
        read.
    kl, beta, kl_target
        the KL penalty "inside" every objective (paper) or "outside", as one more gradient; its weight; and
        the nats an answer towards which the weight moves slowly (0: it stays).
    temperature
        of the policy: answers are drawn, and all log-probabilities taken, at it.
    guard
        what a text of nothing but repeated 3-grams loses on every objective, since heads are fooled by such
        texts.
    gradients
        "full", or "last", the paper's substitute: coefficients from the last block's gradients alone.
    clip, gae_lambda, epochs
        of PPO.
    positions
        preferences of a step along a curve (see `pareto.curve`); 0: there is one, `preference`.
    """

    method: str = "pgapo"
    preference: tuple[float, ...] | None = (0.5, 0.5)
    algorithm: str = "rloo"
    p: float = 2.0
    steps: int = 72
    prompts: int = 24
    group: int = 4
    max_new_tokens: int = 40
    temperature: float = 0.7
    rank: int = 4
    first: int | None = None
    lr: float = 7.5e-4
    momentum: float = 0.5
    memory: float = 0.8
    warmup: int = 5
    kl: str = "inside"
    beta: float = 0.05
    kl_target: float = 0.0
    guard: float = 2.0
    gradients: str = "full"
    clip: float = 0.1
    gae_lambda: float = 0.95
    epochs: int = 1
    rows_at_once: int = 16
    positions: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise SettingsError(f"{name} is {getattr(self, name)!r}: give {', '.join(allowed)}.")
        for name, (low, high) in BOUNDS.items():
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and low <= value <= high):
                raise SettingsError(f"{name} is {value}: give a number from {low:g} to {high:g}.")
        if self.epochs > 1 and self.algorithm != "ppo":
            raise SettingsError(
                f"Epochs is {self.epochs}: {self.algorithm} takes each batch once; give 1, or ppo."
            )
        if self.kl == "outside" and self.algorithm == "ppo":
            raise SettingsError("KL is outside: ppo takes it inside, token by token; give inside.")
        if self.positions:
            self._check_curve()
        elif (self.preference is not None) != COMBINERS[self.method].takes_preference:
            raise SettingsError(
                f"Preference is {self.preference}: {self.method} takes {'none' if self.preference else 'one'}."
            )
        if self.preference is not None:
            combine.preference(self.preference, len(self.preference))

    @property
    def suit_curves(self) -> bool:
        """Whether a curve can be trained so: see pareto.curve."""
        return self.algorithm != "ppo" and self.kl == "inside" and self.gradients == "full"

    def _check_curve(self) -> None:
        if self.preference is not None or not COMBINERS[self.method].takes_preference:
            raise SettingsError(
                f"Positions is {self.positions}: leave the preference out, and give a method that takes one."
            )
        if not self.suit_curves:
            raise SettingsError(
                f"Positions is {self.positions}: a curve takes rloo or dpo, kl inside and full gradients."
            )
        if self.prompts % self.positions:
            raise SettingsError(
                f"Prompts is {self.prompts}: give a multiple of the {self.positions} positions."
            )
