"""Fitting a gate: a probe of the states as they are, or LoRA on the blocks below the head's, tuned until the
last token of a prompt tells whether it is unsafe.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lm import Adapter, LanguageModel
from lm.adapter import MODULES
from lm.engines.torch.stack import unchanged
from pareto.contrast import MORE_TWINS, prompt_files
from pareto.gate import Gate, asked
from pareto.lowrank import Shape
from pareto.pairs import Prompt, held_out, messages, read_prompts

Progress = Callable[[float], None]
PENALTY, TWIN_WEIGHT, PROBE_FOLDS = 1e-2, 4.0, 5
"""Of a probe: inverse L2 strength on standardised states; a prompt of a pair of twins counts four times."""
RANK, DEPTH, EPOCHS, RATE, BATCH, WARMUP, TUNED_FOLDS = 8, 8, 4, 1e-3, 16, 20, 2
"""Of tuning. DEPTH: blocks that are tuned, the head's the highest of them."""


class Learner(Protocol):
    """A way to learn a gate from prompts that are there already."""

    def learned(self, rows: Sequence[int], progress: Progress) -> Gate:
        """A gate of these of the prompts."""
        ...


@dataclass(frozen=True)
class Gating:
    """A gate with what it says of prompts; of those that it learned from, by a gate that did not see them."""

    model: LanguageModel
    gate: Gate
    crossed: Mapping[Prompt, float]

    @classmethod
    def fit(
        cls, model: LanguageModel, block: int, tuned: bool, progress: Progress = lambda share: None
    ) -> "Gating":
        """On the training part of the twins and of the ordinary prompts that ship: one gate of all, and one
        without each fold, in which twins stay together. tuned: by tuning, from further twins, too.
        """
        files = [prompt_files("train")[0], *([MORE_TWINS] if tuned else [])]
        twins = [row for file in files for row in read_prompts(file)]
        plain = [row for row in read_prompts(prompt_files("train")[1]) if not held_out(row[1])]
        prompts, unsafe = (
            [prompt for _, prompt in twins + plain],
            [kind == "unsafe" for kind, _ in twins + plain],
        )
        learner: Learner = (
            Tuning.read(model, block, prompts, unsafe)
            if tuned
            else Probe.read(model, block, prompts, unsafe, len(twins))
        )
        return cls(model, *crossed(model, learner, prompts, TUNED_FOLDS if tuned else PROBE_FOLDS, progress))

    def of(self, prompts: Sequence[Prompt]) -> Tensor:
        """float32 [n]."""
        unseen = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self.crossed]
        known = {**self.crossed, **dict(zip(unseen, self.gate.of(self.model, unseen).tolist(), strict=True))}
        return torch.tensor([known[prompt] for prompt in prompts])


def crossed(
    model: LanguageModel, learner: Learner, prompts: Sequence[Prompt], folds: int, progress: Progress
) -> tuple[Gate, dict[Prompt, float]]:
    """A gate of all prompts, and each prompt's value by one that did not see its fold. Neighbours, two and
    two, are in one fold.
    """
    values: dict[Prompt, float] = {}
    for fold in range(folds):
        out = [i for i in range(len(prompts)) if i // 2 % folds == fold]
        seen = [i for i in range(len(prompts)) if i // 2 % folds != fold]
        gate = learner.learned(seen, lambda share, fold=fold: progress((fold + share) / (folds + 1)))  # type: ignore[misc]
        unseen = [prompts[i] for i in out]
        values |= dict(zip(unseen, gate.of(model, unseen).tolist(), strict=True))
    whole = learner.learned(range(len(prompts)), lambda share: progress((folds + share) / (folds + 1)))
    return whole, values


@dataclass(frozen=True)
class Probe:
    """Logistic regression on the prompts' last states [n, width]. unsafe: which are [n]; weights: what each
    counts [n].
    """

    block: int
    states: np.ndarray
    unsafe: np.ndarray
    weights: np.ndarray

    @classmethod
    def read(
        cls, model: LanguageModel, block: int, prompts: Sequence[Prompt], unsafe: Sequence[bool], twins: int
    ) -> "Probe":
        """twins: so many of the prompts, the first, are of pairs."""
        weights = np.where(np.arange(len(prompts)) < twins, TWIN_WEIGHT, 1.0)
        return cls(block, asked(model, prompts, block).numpy(), np.array(unsafe), weights)

    def learned(self, rows: Sequence[int], progress: Progress) -> Gate:
        """See Learner."""
        from sklearn.linear_model import LogisticRegression  # imported late: it takes a second

        states, rows = self.states[list(rows)], list(rows)
        mean, scale = states.mean(0), states.std(0) + 1e-6
        regression = LogisticRegression(C=PENALTY, max_iter=1000)
        regression.fit((states - mean) / scale, self.unsafe[rows], sample_weight=self.weights[rows])
        weight = regression.coef_[0] / scale
        progress(1.0)
        return Gate(
            self.block, torch.from_numpy(weight).float(), float(regression.intercept_[0] - mean @ weight)
        )


@dataclass(frozen=True)
class Tuning:
    """Prompts as the first tuned block reads them, states [positions, width] of each, and which are unsafe
    [n].
    """

    model: LanguageModel
    block: int
    states: Sequence[Tensor]
    unsafe: Tensor

    @classmethod
    @torch.no_grad()
    def read(
        cls, model: LanguageModel, block: int, prompts: Sequence[Prompt], unsafe: Sequence[bool]
    ) -> "Tuning":
        """Raises ValueError where the model's layers cannot be trained."""
        stack = model.stack
        states: list[Tensor] = []
        for at in range(0, len(prompts), BATCH):
            ids = [torch.tensor(model.chat_ids(messages(prompt))) for prompt in prompts[at : at + BATCH]]
            padded = pad_sequence(ids, batch_first=True).to(stack.device)
            hidden = stack.upper(stack.embed(padded), 0, unchanged, _first(block))
            states += [row[: len(own)].clone() for row, own in zip(hidden, ids, strict=True)]
        return cls(model, block, states, torch.tensor(unsafe, dtype=torch.float32, device=stack.device))

    def learned(self, rows: Sequence[int], progress: Progress) -> Gate:
        """See Learner. Logistic loss, AdamW, a rate that rises over WARMUP steps and falls to 0; the adapter
        that is kept has 16 bits.
        """
        stack, first = self.model.stack, _first(self.block)
        shape = Shape(stack, RANK, first, MODULES, self.block + 1)
        theta = shape.start(0).to(stack.device).requires_grad_()
        weight = torch.zeros(stack.width, device=stack.device, requires_grad=True)
        bias = torch.zeros(1, device=stack.device, requires_grad=True)
        groups: list[dict[str, Any]] = [
            {"params": [theta], "weight_decay": 0.0},
            {"params": [weight, bias]},
        ]
        optimizer = torch.optim.AdamW(groups, RATE)
        batches = [part for epoch in range(EPOCHS) for part in self._batches(rows, random.Random(epoch))]
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: min((step + 1) / WARMUP, 1 - step / len(batches))
        )
        for number, part in enumerate(batches, 1):
            hidden = pad_sequence([self.states[i] for i in part], batch_first=True)
            ends = torch.tensor([len(self.states[i]) - 1 for i in part], device=stack.device)
            changes = shape.groups(theta[None].to(stack.dtype))
            top = stack.upper(hidden, first, changes, self.block + 1)
            last = top[torch.arange(len(part), device=stack.device), ends]
            loss = F.binary_cross_entropy_with_logits(last @ weight + bias, self.unsafe[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            progress(number / len(batches))
        tuned = shape.adapter(theta.detach().cpu()).parts
        kept = {key: (a.half().float(), b.half().float()) for key, (a, b) in tuned.items()}
        return Gate(self.block, weight.detach().cpu(), bias.item(), Adapter(kept))

    def _batches(self, rows: Sequence[int], dice: random.Random) -> list[list[int]]:
        """Of prompts of like lengths, in random order."""
        order = sorted(rows, key=lambda i: len(self.states[i]) + dice.random() * 20)
        batches = [order[at : at + BATCH] for at in range(0, len(order), BATCH)]
        dice.shuffle(batches)
        return batches


def _first(block: int) -> int:
    """The lowest block that is tuned."""
    return max(0, block + 1 - DEPTH)
