"""A reward head whose blocks are tuned with it: LoRA on the upper of the blocks that it reads."""

import math
import random
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from common.jsons import JsonObject
from lm import LanguageModel
from lm.adapter import MODULES
from lm.engines.torch.stack import unchanged
from pareto.features import lengths_of
from pareto.fit import longer, measures
from pareto.lowrank import Shape
from pareto.pairs import Pair, held_out
from pareto.rewards import Head, HeadReward, RewardError, sequences

READ_AT_ONCE, WARMUP = 16, 10
RANK, BATCH, FAIRNESS = 4, 16, 1.0


def tune(
    model: LanguageModel,
    pairs: Sequence[Pair],
    head: Head,
    *,
    first: int = 12,
    epochs: int = 2,
    lr: float = 5e-4,
    progress: Callable[[float], None] | None = None,
) -> tuple[HeadReward, JsonObject]:
    """Tunes LoRA on blocks `first` to the head's, and the head itself, from where `head` stands; measured on
    the held-out prompts.

    Bradley-Terry loss on the margins, plus FAIRNESS times their squared correlation with log-length
    differences in each batch of pairs, which stands for what `pareto.fit` projects out. lr: of Adam; it rises
    over the first steps and falls to 0.
    """
    if head.gate is not None:
        raise RewardError(
            "The head to tune has a gate, which tuning does not keep: fit one without --contrast."
        )
    stack = model.stack
    shape = Shape(stack, RANK, first, MODULES, head.block + 1)
    states, starts, ratios = _read(model, pairs, first)
    theta = shape.start(0).to(stack.device).requires_grad_()
    weight = (head.weight / head.std).to(stack.device).requires_grad_()
    optimizer = torch.optim.Adam(
        [{"params": [theta], "lr": lr}, {"params": [weight], "lr": lr * float(weight.detach().std())}]
    )
    out = [held_out(pair.prompt) for pair in pairs]
    train, test = ([i for i, held in enumerate(out) if held == side] for side in (False, True))
    steps = [part for epoch in range(epochs) for part in _batches(train, states, random.Random(epoch))]
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min((s + 1) / WARMUP, 1 - s / len(steps))
    )

    def scores(part: Sequence[int]) -> Tensor:
        """[pairs, 2] of chosen and rejected."""
        rows = [(states[i][side], starts[i][side]) for i in part for side in (0, 1)]
        hidden = pad_sequence([row.float() for row, _ in rows], batch_first=True).to(stack.device)
        top = stack.upper(hidden, first, shape.rows(theta.expand(len(rows), -1)), head.block + 1)
        pooled = torch.stack(
            [states[start : len(row)].mean(0) for states, (row, start) in zip(top, rows, strict=True)]
        )
        return torch.unflatten(pooled @ weight, 0, (-1, 2))

    for number, part in enumerate(steps, 1):
        scored = scores(part)
        margins = scored[:, 0] - scored[:, 1]
        loss = (
            F.softplus(-margins).mean()
            + FAIRNESS * _correlation(margins, torch.tensor(ratios[part], device=stack.device)) ** 2
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if progress:
            progress(number / len(steps))
    with torch.no_grad():
        scored = torch.cat([scores(test[at : at + BATCH]) for at in range(0, len(test), BATCH)])
    mean, std = float(scored.mean()), float(scored.std())
    judged = ((scored[:, 0] - scored[:, 1]) / std).cpu().numpy()
    report = measures(judged, ratios[test], [pairs[i].prompt for i in test])
    report |= {
        "first": first,
        "rank": RANK,
        "epochs": epochs,
        "lr": lr,
        "batch": BATCH,
        "fairness": FAIRNESS,
        "seed": 0,
        "trained_on": len(train),
    }
    tuned = Head(head.objective, head.model_hash, head.block, weight.detach().cpu(), mean, std)
    return HeadReward(model, tuned, shape.adapter(theta)), report


@torch.no_grad()
def _read(
    model: LanguageModel, pairs: Sequence[Pair], first: int
) -> tuple[list[list[Tensor]], list[list[int]], np.ndarray]:
    """Of each pair's two sides: the output of block first - 1 [positions, width] in half precision, and where
    the answer starts; and the log of how much longer the chosen answer is [n].
    """
    prompts = [pair.prompt for pair in pairs for _ in range(2)]
    answers = [answer for pair in pairs for answer in (pair.chosen, pair.rejected)]
    ids, starts = sequences(model, prompts, answers)
    lengths = lengths_of(ids, starts).reshape(-1, 2)
    states: list[Tensor] = [torch.empty(0)] * len(ids)
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    for at in range(0, len(ids), READ_AT_ONCE):
        part = order[at : at + READ_AT_ONCE]
        padded = pad_sequence([torch.tensor(ids[i]) for i in part], batch_first=True).to(model.stack.device)
        hidden = model.stack.upper(model.stack.embed(padded), 0, unchanged, first)
        for i, row in zip(part, hidden, strict=True):
            states[i] = row[: len(ids[i])].half().cpu()
    pick = range(0, len(ids), 2)
    return (
        [[states[i], states[i + 1]] for i in pick],
        [[starts[i], starts[i + 1]] for i in pick],
        longer(lengths).astype(np.float32),
    )


def _batches(pairs: Sequence[int], states: list[list[Tensor]], dice: random.Random) -> list[list[int]]:
    """Batches of pairs of like lengths, in random order."""
    order = sorted(pairs, key=lambda i: max(map(len, states[i])) + dice.random() * 20)
    batches = [order[at : at + BATCH] for at in range(0, len(order), BATCH)]
    dice.shuffle(batches)
    return batches


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    a, b = a - a.mean(), b - b.mean()
    cosine: Tensor = (a * b).sum() / (a.norm() * b.norm() + math.ulp(1.0))
    return cosine
