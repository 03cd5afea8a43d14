"""One token for each of a fixed number of rows, in memory that stays where it is, so that a GPU can replay it
as one graph.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import sdpa_kernel

from lm.adapter import Adapter
from lm.edits.push import apply
from lm.edits.table import EditTable, Placed, take
from lm.edits.trace import TRACE, TRACE_SIZE
from lm.engines.base import Feed
from lm.engines.torch.drawing import chosen
from lm.engines.torch.graphs.adapter_table import AdapterTable, Halves, bucket, change
from lm.engines.torch.graphs.cuda_graphs import Replay
from lm.engines.torch.stack import KERNELS, Stack
from lm.rows import Sampling

MAX_ROWS = 64
"""Rows of one step; their number is filled up to a power of two."""
MIN_KEYS = 128
"""Positions that rows attend to are filled up to a power of two, to this at least."""
_FIELDS = 4
"""Numbers that every row has: token, position, cache, adapter. Two for each site follow: the edit's place,
and whether it may write; and where tokens are drawn, _DRAW more.
"""
_DRAW = 3
"""Seed, step, and the bits of the temperature."""
Draw = tuple[Sampling, int]
"""A row's sampling and step."""


class Pool(Protocol):
    """Caches of rows."""

    data: Tensor
    """[layers, 2, rows, kv_heads, positions, head_width]"""

    def take(self) -> int:
        """A row that is nobody's."""
        ...


@dataclass(frozen=True)
class Row:
    """A slot as a step sees it: where its cache, adapter and edits are."""

    cache: int
    adapter: int
    edits: Placed


@dataclass(frozen=True)
class Variant:
    """What sets the computation of a step, and so its graph: how many rows and keys, where any row has edits,
    of how many targets at most, whether any row has an adapter, which layers' outputs are kept, and whether
    tokens are drawn.
    """

    rows: int
    keys: int
    sites: tuple[tuple[int, int], ...]
    targets: int
    adapted: bool
    recorded: tuple[int, ...]
    drawn: bool


class Step:
    """Advances slots of `pool` by a token each. Rows beyond those that are fed write to a row of the pool
    that is nobody's.
    """

    def __init__(self, stack: Stack, pool: Pool, edits: EditTable, replay: Replay):
        self._stack, self._pool, self._edits, self._replay = stack, pool, edits, replay
        self._spare = pool.take()
        self._adapters = AdapterTable()
        self._memory = self._tensors()

    def row(
        self, cache: int, edits: Placed, adapter: Adapter | None, halves: dict[tuple[int, str], Halves]
    ) -> Row:
        """Puts a slot's adapter into the table, and clears its cache: infinities left there would turn masked
        values into NaN. halves: see AdapterTable.place.
        """
        self._pool.data[:, :, cache] = 0
        return Row(cache, 0 if adapter is None else self._adapters.place(adapter, halves), edits)

    def __call__(self, feeds: Sequence[Feed]) -> list[tuple[Tensor, np.ndarray]]:
        """Advances up to MAX_ROWS slots, whose `state.row` is theirs. Returns logits [want, vocabulary], on
        the device, and traces of each.
        """
        computed, variant = self._advanced(feeds, ())
        vocabulary = self._stack.vocabulary
        logits = computed[:, :vocabulary].clone()  # the next step writes where this one did
        traces = self._rest(variant, feeds, computed[:, vocabulary:].cpu().numpy())
        return [
            (row[None][: feed.want], trace) for feed, row, trace in zip(feeds, logits, traces, strict=True)
        ]

    def draw(
        self, feeds: Sequence[Feed], draws: Sequence[Draw]
    ) -> tuple[list[tuple[int, float]], list[np.ndarray]]:
        """The same for slots that want one row of logits each, from which a token is drawn, of all tokens;
        returns tokens with log-probabilities, and traces.
        """
        computed, variant = self._advanced(feeds, draws)
        values = computed.cpu().numpy()
        ids, logprobs = values[:, 0].view(np.int32).tolist(), values[:, 1].tolist()
        return list(zip(ids, logprobs, strict=True)), self._rest(variant, feeds, values[:, 2:])

    def _advanced(self, feeds: Sequence[Feed], draws: Sequence[Draw]) -> tuple[Tensor, Variant]:
        """What `_compute` makes of these rows, without those that fill up."""
        rows: list[Row] = [feed.slot.state.row for feed in feeds]
        variant = Variant(
            bucket(len(feeds)),
            bucket(1 + max(feed.slot.length for feed in feeds), MIN_KEYS),
            tuple(sorted({site for row in rows for site in row.edits.sites})),
            max(row.edits.targets for row in rows),
            any(row.adapter for row in rows),
            tuple(sorted({feed.record for feed in feeds if feed.hidden is not None})),
            bool(draws),
        )
        memory = self._tensors()
        if any(a is not b for a, b in zip(memory, self._memory, strict=True)):
            self._memory = memory
            self._replay.forget()
        numbers = self._numbers(variant, feeds, rows, draws)
        with sdpa_kernel(KERNELS):
            computed = self._replay.run(variant, partial(self._compute, variant), numbers)
        return computed[: len(feeds)], variant

    def _tensors(self) -> tuple[Tensor | dict[tuple[int, str], Halves], ...]:
        """What graphs know by its address."""
        return self._pool.data, self._edits.vectors, self._adapters.parts

    def _numbers(
        self, variant: Variant, feeds: Sequence[Feed], rows: Sequence[Row], draws: Sequence[Draw]
    ) -> Tensor:
        """All that the device is told: int64 [fields, rows]."""
        sites = {site: i for i, site in enumerate(variant.sites)}
        size = _FIELDS + 2 * len(sites)
        numbers = torch.zeros(
            size + _DRAW * variant.drawn,
            variant.rows,
            dtype=torch.long,
            pin_memory=self._stack.device.type == "cuda",
        )
        table = numbers.numpy()
        table[2] = self._spare
        own = [
            (feed.ids[0], feed.slot.length, row.cache, row.adapter)
            for feed, row in zip(feeds, rows, strict=True)
        ]
        table[:_FIELDS, : len(rows)] = np.array(own).T
        places, active = table[_FIELDS:size:2], table[_FIELDS + 1 : size : 2]
        for i, (feed, row) in enumerate(zip(feeds, rows, strict=True)):
            if row.edits.sites:
                at = [sites[site] for site in row.edits.sites]
                places[at, i], active[at, i] = (
                    row.edits.places,
                    feed.slot.length >= np.array(row.edits.starts),
                )
        if draws:
            table[size : size + 2, : len(rows)] = np.array([(drawn.seed, step) for drawn, step in draws]).T
            temperatures = np.array([drawn.temperature for drawn, _ in draws], np.float32)
            table[size + 2, : len(rows)] = temperatures.view(np.int32)
        return numbers

    def _rest(self, variant: Variant, feeds: Sequence[Feed], values: np.ndarray) -> list[np.ndarray]:
        """Traces of the feeds, of their values [n, traces + kept outputs]; what they ask to keep is kept."""
        traces, hidden = np.split(values, [len(variant.sites) * TRACE_SIZE], 1)
        records = np.ascontiguousarray(traces).reshape(len(feeds), -1, TRACE_SIZE).view(TRACE)[..., 0]
        outputs = torch.from_numpy(hidden).unflatten(1, (-1, self._stack.width)) if variant.recorded else None
        found = []
        for i, feed in enumerate(feeds):
            if feed.hidden is not None and outputs is not None:
                feed.hidden[:1] = outputs[i, variant.recorded.index(feed.record)]
            feed.slot.length += 1
            sites = feed.slot.state.row.edits.sites
            own = (
                records[i]
                if sites == variant.sites
                else records[i][[variant.sites.index(site) for site in sites]]
            )
            found.append(own[None][: feed.want])
        return found

    def _compute(self, variant: Variant, numbers: Tensor) -> Tensor:
        """The pass: float32 [rows, vocabulary + traces + kept outputs]; where tokens are drawn, these (the bits of
        an int32) and their log-probabilities stand in the vocabulary's place.
        """
        stack = self._stack
        ids, positions, caches, adapters, *_ = numbers.unbind(0)
        positions = positions.unsqueeze(1)
        size = _FIELDS + 2 * len(variant.sites)
        places, active = (
            numbers[_FIELDS:size:2].flatten(),
            (numbers[_FIELDS + 1 : size : 2] > 0).unsqueeze(2),
        )
        edits = take(self._edits.vectors, self._edits.numbers, places, variant.targets)
        rotary = stack.rotary(positions)
        mask = torch.where(stack.mask(positions, variant.keys), 0.0, -torch.inf).to(stack.dtype)
        x = stack.embed(ids.unsqueeze(1))
        traces, hidden = [], []
        for layer, weights in enumerate(stack.weights):
            low_rank = partial(change, self._adapters.layer(layer) if variant.adapted else {}, adapters)
            q, k, v = stack.begin(weights, x, rotary, low_rank)
            attended = self._attend(self._pool.data[layer], caches, positions, q, k, v, mask)
            x = stack.end(weights, x, attended, low_rank)
            for i, (at, _) in enumerate(variant.sites):
                if at == layer:
                    x, trace = apply(x, active[i], edits.rows(i * variant.rows, variant.rows))
                    traces.append(trace.squeeze(1))
            if layer in variant.recorded:
                hidden.append(x.squeeze(1))
        logits = stack.logits(x.squeeze(1))
        if not variant.drawn:
            return torch.cat([logits, *traces, *hidden], 1)
        seeds, temperatures = numbers[size : size + 2].T, numbers[size + 2].int().view(torch.float32)
        choices, logprobs = chosen(logits, seeds, temperatures.unsqueeze(1))
        return torch.cat([choices.int().view(torch.float32), logprobs, *traces, *hidden], 1)

    def _attend(
        self, cache: Tensor, rows: Tensor, positions: Tensor, q: Tensor, k: Tensor, v: Tensor, mask: Tensor
    ) -> Tensor:
        """Attention to the first keys of rows of cache [2, rows, kv_heads, positions, w], where k and v are
        put first.
        """
        cache.permute(1, 3, 0, 2, 4).index_put_(
            (rows, positions.squeeze(1)), torch.stack([k, v], 1).squeeze(3)
        )
        keys, values = cache.narrow(3, 0, mask.shape[-1]).index_select(1, rows).unbind(0)
        return self._stack.grouped(q, keys, values, mask)
