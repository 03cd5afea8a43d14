"""Answers sampled from a policy, with all that a training step needs, computed once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lm import Adapter, LanguageModel, Row, Run, Sampling
from lm.engines.torch.stack import LowRank, Stack, unchanged
from pareto.lowrank import Shape


@dataclass(frozen=True)
class Asked:
    """Of n answers that are wanted: prompts, seeds, and which policy gives each [n], in rising order. Answers
    to one prompt are neighbours.
    """

    prompts: list[str]
    seeds: list[int]
    places: Tensor


@dataclass(frozen=True)
class Rollout:
    """n answers. hidden: outputs of the block below the first that is trained [n, positions, width], padded
    at the end; where: positions whose state predicts each answer's tokens [n, t]; targets: those tokens [n,
    t]; logps: theirs under the policy that drew them [n, t]; mask: real ones [n, t]; temperature: at which
    they were drawn, and all log-probabilities are.
    """

    prompts: list[str]
    texts: list[str]
    hidden: Tensor
    where: Tensor
    targets: Tensor
    logps: Tensor
    mask: Tensor
    temperature: float

    @property
    def lengths(self) -> Tensor:
        """Tokens of each answer [n]."""
        return self.mask.sum(1)

    def pooled(self) -> Tensor:
        """Mean of hidden over each answer's tokens but the last (which was never fed) [n, width]."""
        inner = self.mask.clone()
        inner[torch.arange(len(inner)), self.lengths - 1] = self.lengths == 1
        taken = torch.where(
            self.lengths[:, None] == 1, self.where, (self.where + 1).clamp_max(self.hidden.shape[1] - 1)
        )
        inner, taken = inner.to(self.hidden.device), taken.to(self.hidden.device)
        states = self.hidden.gather(1, taken[..., None].expand(-1, -1, self.hidden.shape[2]))
        return (states * inner[..., None]).sum(1) / inner.sum(1, keepdim=True)

    def parts(self, size: int) -> Iterator["Rollout"]:
        """The rows in their order, `size` at a time."""
        for at in range(0, len(self.texts), size):
            yield self.part(slice(at, at + size))

    def part(self, rows: slice) -> "Rollout":
        """Some of the rows."""
        return Rollout(
            self.prompts[rows],
            self.texts[rows],
            self.hidden[rows],
            self.where[rows],
            self.targets[rows],
            self.logps[rows],
            self.mask[rows],
            self.temperature,
        )


def sample(
    model: LanguageModel,
    prompts: Sequence[str],
    adapter: Adapter | Sequence[Adapter] | None,
    *,
    block: int,
    seeds: Sequence[int],
    temperature: float,
    max_new_tokens: int,
) -> Rollout:
    """One answer a prompt and seed, in one decode that keeps the output of block `block`. adapter: one for
    all rows, or one a row.
    """
    adapters = adapter if isinstance(adapter, Sequence) else [adapter] * len(prompts)
    rows = [
        Row(tuple(model.chat_ids(prompt)), Sampling(temperature, seed, max_new_tokens), (), own, block)
        for prompt, seed, own in zip(prompts, seeds, adapters, strict=True)
    ]
    return collect(list(prompts), model.generate(rows), temperature)


def collect(prompts: list[str], runs: Sequence[Run], temperature: float) -> Rollout:
    """Runs that recorded a block, as padded tensors."""
    recorded = [run.hidden.float() for run in runs if run.hidden is not None]
    assert len(recorded) == len(runs)  # every run here recorded a block
    hidden = pad_sequence(recorded, batch_first=True)
    where = pad_sequence([torch.arange(len(run.ids)) + len(run.prompt) - 1 for run in runs], batch_first=True)
    targets = pad_sequence([torch.tensor(run.ids) for run in runs], batch_first=True)
    logps = pad_sequence([torch.tensor(run.logprobs) for run in runs], batch_first=True)
    mask = pad_sequence([torch.ones(len(run.ids), dtype=torch.bool) for run in runs], batch_first=True)
    return Rollout(prompts, [run.text for run in runs], hidden, where, targets, logps, mask, temperature)


def logprobs(stack: Stack, rollout: Rollout, first: int, low_rank: LowRank = unchanged) -> Tensor:
    """log pi of every token of the answers [n, t], zero where there is none; blocks below `first` are taken
    from the rollout.
    """
    device = stack.device
    top = stack.upper(rollout.hidden.to(device), first, low_rank)
    where, mask = rollout.where.to(device), rollout.mask.to(device)
    states = top.gather(1, where[..., None].expand(-1, -1, top.shape[2]))[mask]
    logits, targets = stack.logits(states) / rollout.temperature, rollout.targets.to(device)[mask]
    chosen = -torch.nn.functional.cross_entropy(logits, targets, reduction="none")
    return torch.zeros(mask.shape, device=device).masked_scatter(mask, chosen)


def gradients(
    stack: Stack,
    shape: Shape,
    policies: Tensor,
    places: Tensor,
    rollout: Rollout,
    signal: Tensor,
    rows_at_once: int,
) -> Tensor:
    """Gradient of each weighted sum of the answers' log-probabilities, in one backward pass for all of them.

    Parameters
    ----------
    policies : [j, parameters]; places : which of them gave each answer [n]; signal : weights of the answers
        [m, n].

    Returns
    -------
    [j, m, parameters].
    """
    total = policies.new_zeros(len(policies), len(signal), shape.count)
    for at in range(0, len(rollout.texts), rows_at_once):
        rows = slice(at, at + rows_at_once)
        part, own = rollout.part(rows), places[rows].to(policies.device)
        leaf = policies[own].clone().requires_grad_()
        logps = logprobs(stack, part, shape.first, shape.rows(leaf))
        one_hot = torch.nn.functional.one_hot(own, len(policies)).T.to(logps)
        weights = (one_hot[:, None] * signal[:, rows].to(logps)).flatten(0, 1)
        total += (weights @ torch.autograd.grad(logps.sum(), leaf)[0]).view_as(total)
    return total
