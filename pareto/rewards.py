"""The kinds of rewards, and which one a word of the command line means.
A new kind is a file and a line in KINDS.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lm import LanguageModel
from pareto.classifier import ClassifierReward, is_folder
from pareto.function import FunctionReward
from pareto.heads import (
    FOLDER,
    OBJECTIVES,
    TUNED,
    Head,
    HeadReward,
    heads,
    identified,
    pooled,
    scorer,
    sequences,
)
from pareto.reward import Reward, RewardError, checked

__all__ = [
    "FOLDER",
    "KINDS",
    "OBJECTIVES",
    "TUNED",
    "ClassifierReward",
    "FunctionReward",
    "Head",
    "HeadReward",
    "Kind",
    "Reward",
    "RewardError",
    "checked",
    "heads",
    "identified",
    "named",
    "pooled",
    "scorer",
    "sequences",
]


@dataclass(frozen=True)
class Kind:
    """A kind of reward. claims: whether a word means one; load: the reward that it means."""

    title: str
    claims: Callable[[str], bool]
    load: Callable[[str, LanguageModel], Head | Reward]


KINDS = (
    Kind(
        "a head (.safetensors)",
        lambda spec: spec.endswith(".safetensors"),
        lambda spec, model: Head.load(Path(spec)).of(model),
    ),
    Kind(
        "a tuned head's folder",
        lambda spec: (Path(spec) / TUNED).is_file(),
        lambda spec, model: HeadReward.tuned(Path(spec), model),
    ),
    Kind(
        "a function (module:name)",
        lambda spec: ":" in spec and not is_folder(spec),
        lambda spec, model: FunctionReward.named(spec),
    ),
    Kind(
        "a sequence classifier's folder or hub id (NAME, NAME#LABEL, NAME#-LABEL, NAME?form=answer#LABEL)",
        lambda spec: True,
        lambda spec, model: ClassifierReward(spec),
    ),
)
"""The first kind that claims a word has it."""


def named(spec: str, model: LanguageModel) -> Head | Reward:
    """The reward that a word means; see KINDS. Raises RewardError where it cannot be loaded."""
    if not spec.strip():
        raise RewardError(f"Reward {spec!r} is empty: give {', '.join(kind.title for kind in KINDS)}.")
    return next(kind for kind in KINDS if kind.claims(spec)).load(spec, model)
