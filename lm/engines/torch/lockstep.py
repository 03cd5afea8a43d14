"""Many rows decoded in lockstep: every row one token further at once, in memory that stays where it is.

What a training on a GPU asks for: thousands of answers of one length, low-rank changes that take
turns with the rows, nothing read back before the last token. One step is one function of tensors,
captured as a graph where that works.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.attention import sdpa_kernel

from lm.engines.torch.drawing import uniform
from lm.engines.torch.graphs.cuda_graphs import Replay
from lm.engines.torch.stack import KERNELS, LowRank, Stack


@dataclass(frozen=True)
class Answers:
    """Of n rows: ids and log-probabilities [n, t]; mask: which of them came before a row's end [n, t]; where:
    positions whose state predicts each [n, t]; hidden: outputs of the recorded layer [n, positions, width],
    which the next run overwrites.
    """

    ids: Tensor
    logps: Tensor
    mask: Tensor
    where: Tensor
    hidden: Tensor


class Lockstep:
    """Memory for `rows` answers of `answer` tokens to prompts of up to `prompt` tokens.

    low_rank: changes of the matrices, which read the same tensors in every run; group: how many neighbouring
    rows answer one prompt under the same change; record: the layer whose output is kept.
    """

    def __init__(
        self, stack: Stack, low_rank: LowRank, *, rows: int, group: int, prompt: int, answer: int, record: int
    ):
        self._stack, self._low_rank, self._group, self._record = stack, low_rank, group, record
        self._prompt, self._answer, device = prompt, answer, stack.device
        keys = prompt + answer - 1

        def zeros(*shape: int, dtype: torch.dtype) -> Tensor:
            return torch.zeros(*shape, dtype=dtype, device=device)

        self._cache = zeros(stack.layers, 2, rows, stack.kv_heads, keys, stack.head_width, dtype=stack.dtype)
        self._hidden = zeros(rows, keys, stack.width, dtype=torch.float32)
        self._ids, self._seeds = (zeros(rows, n, dtype=torch.long) for n in (answer, 1))
        self._logps = zeros(rows, answer, dtype=torch.float32)
        self._lengths = zeros(rows, dtype=torch.long)
        self._rows = torch.arange(rows, device=device)
        self._temperature = zeros(1, dtype=torch.float32)
        self._heads = torch.arange(stack.kv_heads, device=device)
        self._replay = Replay.on(device)

    @torch.no_grad()
    def run(
        self,
        prompts: Sequence[Sequence[int]],
        seeds: Sequence[int],
        temperature: float,
        stop_ids: frozenset[int],
    ) -> Answers:
        """One answer a row. prompts: of every group; seeds: of every row, which alone decides what
        is drawn from its distributions.
        """
        device = self._stack.device
        ids = torch.zeros(len(prompts), self._prompt, dtype=torch.long)
        for row, prompt in zip(ids, prompts, strict=True):
            row[: len(prompt)] = torch.tensor(prompt)
        lengths = torch.tensor([len(prompt) for prompt in prompts])
        self._lengths.copy_(lengths.repeat_interleave(self._group))
        self._seeds.copy_(torch.tensor(seeds)[:, None])
        self._temperature.fill_(temperature)
        self._read(ids.to(device), lengths.to(device))
        with sdpa_kernel(KERNELS):
            for number in range(1, self._answer):
                self._replay.run("step", self._step, torch.tensor([number]))
        return self._answers(stop_ids)

    def _read(self, ids: Tensor, lengths: Tensor) -> None:
        """Takes in the prompts, once a group, and draws the first tokens."""
        stack, shape = self._stack, (self._group, 0)
        positions = torch.arange(self._prompt, device=ids.device).expand(len(ids), -1)
        rotary, mask = stack.rotary(positions), stack.mask(positions, self._prompt)

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            for half, values in enumerate((k, v)):
                self._cache[layer, half, :, :, : self._prompt] = values.repeat_interleave(*shape)
            return stack.grouped(q, k, v, mask)

        x = stack.embed(ids)
        for layer in range(stack.layers):
            x = stack.layer(layer, x, rotary, attend, self._low_rank)
            if layer == self._record:
                self._hidden[:, : self._prompt] = x.repeat_interleave(*shape)
        last = x[torch.arange(len(x), device=x.device), lengths - 1]
        self._draw(
            stack.logits(last).repeat_interleave(*shape), torch.zeros(1, dtype=torch.long, device=ids.device)
        )

    def _step(self, number: Tensor) -> Tensor:
        """Takes in each row's token number - 1, and draws its token `number` [1]; twice, it does the same."""
        stack = self._stack
        positions = (self._lengths + number - 1)[:, None]
        mask = stack.mask(positions, self._cache.shape[4])

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            for half, values in enumerate((k, v)):
                self._cache[layer, half].index_put_(
                    (self._rows[:, None], self._heads, positions), values[:, :, 0]
                )
            return stack.grouped(q, self._cache[layer, 0], self._cache[layer, 1], mask)

        x, rotary = stack.embed(self._ids.index_select(1, number - 1)), stack.rotary(positions)
        for layer in range(stack.layers):
            x = stack.layer(layer, x, rotary, attend, self._low_rank)
            if layer == self._record:
                self._hidden.index_put_((self._rows, positions[:, 0]), x[:, 0])
        return self._draw(stack.logits(x[:, 0]), number)

    def _draw(self, logits: Tensor, number: Tensor) -> Tensor:
        """Token `number` of each row, by its distribution's inverse."""
        scaled = (logits - logits.max(1, keepdim=True).values) / self._temperature
        summed = scaled.exp().cumsum(1)
        total = summed[:, -1:]
        chosen = torch.searchsorted(summed, uniform(self._seeds, number) * total, right=True)
        self._ids.index_copy_(1, number, chosen)
        self._logps.index_copy_(1, number, scaled.gather(1, chosen) - total.log())
        return chosen

    def _answers(self, stop_ids: frozenset[int]) -> Answers:
        stops = torch.isin(self._ids, torch.tensor(sorted(stop_ids), device=self._ids.device))
        before = stops.cumsum(1) - stops.long()
        where = (self._lengths - 1)[:, None] + torch.arange(self._answer, device=self._ids.device)
        return Answers(self._ids.clone(), self._logps.clone(), before == 0, where, self._hidden)
